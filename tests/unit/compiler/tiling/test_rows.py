"""Rows of a micro-batch: samples times positions; a model without a batch axis has one row."""

import pytest

from snncc.compiler.ir.core import Block, Location, Type, op
from snncc.compiler.passes.tiling.kit.task import TaskBuilder
from snncc.compiler.passes.tiling.templates.dispatch import rows_per_microbatch
from snncc.compiler.passes.tiling.templates.sums import RowChunks


@pytest.mark.parametrize(
    ("shape", "microbatch", "rows"),
    [((4, 10), None, 4), ((4, 10), 2, 2), ((4, 7, 10), 2, 14), ((10,), None, 1), ((10,), 10, 1)],
)
def test_rows_of_a_microbatch(shape: tuple[int, ...], microbatch: int | None, rows: int) -> None:
    gradient = Block().add_arg(Type("seq", (5, *shape), "f16"), "g")
    result = Type("tensor", (8, 10), "f16")
    made = op("phase.linear_dw", [gradient, gradient], types=[result])
    if microbatch is not None:
        made.attrs["microbatch"] = microbatch
    assert rows_per_microbatch(made, gradient) == rows


@pytest.mark.parametrize(
    ("steps", "rows", "micro", "limit", "size"),
    [
        (5, 16, 16, 16, 16),  # one step fits
        (5, 16, 16, 50, 48),  # three of them
        (5, 16, 16, 999, 80),  # all of them
        (5, 16, 16, 10, 10),  # not even one: parts of a step
        (5, 16, 4, 999, 4),  # a micro-batch is summed over all steps before the next one
        (5, 16, 4, 3, 3),
        (5, 16, 16, 0, 1),  # never nothing
    ],
)
def test_rows_that_are_summed_in_one_instruction(
    steps: int, rows: int, micro: int, limit: int, size: int
) -> None:
    """Whole steps together where the micro-batch is the whole batch, so that few loads do."""
    task = TaskBuilder("sums", "fc", "wg", Location("test:1"))
    assert RowChunks(task, steps, rows, micro, limit).size == size

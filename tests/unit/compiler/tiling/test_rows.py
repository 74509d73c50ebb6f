"""Rows of a micro-batch: samples times positions; a model without a batch axis has one row."""

import pytest

from snncc.compiler.ir.core import Block, Type, op
from snncc.compiler.passes.tiling.templates.dispatch import rows_per_microbatch


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

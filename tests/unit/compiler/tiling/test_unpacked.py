"""Which moves and reductions of packed spikes are done with numbers: only those that must be."""

from __future__ import annotations

import pytest

from made_steps import Made
from snncc.compiler.ir.core import Attribute, tensor
from snncc.compiler.passes.tiling.templates.unpacked import unpack_moves

CASES: list[tuple[str, tuple[int, ...], dict[str, Attribute], tuple[int, ...], bool]] = [
    # the largest of one spike is that spike
    ("reduce", (1, 4, 32), {"kind": "max", "axes": (1,)}, (2, 1, 4, 32), False),
    ("reduce", (3, 4, 32), {"kind": "max", "axes": (1,)}, (2, 1, 4, 32), True),
    # parts that begin at whole words of 16 spikes
    ("slice", (48,), {"starts": (0, 16), "ends": (2, 48)}, (2, 32), False),
    ("slice", (48,), {"starts": (0, 8), "ends": (2, 48)}, (2, 40), True),
    ("slice", (48,), {"starts": (0, 0), "ends": (2, 48), "strides": (1, 2)}, (2, 24), True),
    ("slice", (48,), {"starts": (1, 16), "ends": (2, 48)}, (1, 32), False),  # of the samples
    ("pad", (16,), {"low": (0, 16), "high": (0, 3)}, (2, 35), False),
    ("pad", (16,), {"low": (0, 3), "high": (0, 0)}, (2, 19), True),
]


@pytest.mark.parametrize(("kind", "shape", "attrs", "result", "unpacked"), CASES)
def test_moves_of_spikes(
    kind: str, shape: tuple[int, ...], attrs: dict[str, Attribute], result: tuple[int, ...],
    unpacked: bool,
) -> None:  # fmt: skip
    made = Made()
    x = made.input("x", tensor((2, *shape), "bit"))
    made.b.op(f"phase.{kind}", x, types=[tensor(result, "bit")], attrs=attrs)
    assert unpack_moves(made.block) is unpacked
    names = [op.name for op in made.block.ops]
    assert (names == [f"phase.{kind}"]) is not unpacked


@pytest.mark.parametrize(
    ("sizes", "unpacked"), [((16, 5), False), ((32, 16, 1), False), ((5, 16), True), ((8, 8), True)]
)
def test_spikes_that_are_joined(sizes: tuple[int, ...], unpacked: bool) -> None:
    """Only the last part may end within a word."""
    made = Made()
    parts = [made.input(f"x{i}", tensor((2, n), "bit")) for i, n in enumerate(sizes)]
    made.b.op("phase.concat", *parts, types=[tensor((2, sum(sizes)), "bit")], attrs={"axis": 1})
    assert unpack_moves(made.block) is unpacked

"""Moves of tensors against numpy: in pieces, turned, with tails, on one and on several cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from made_steps import Made
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Value
from whole_stack import check_fitting

Array = npt.NDArray[Any]
MACHINES = ((1, 1024), (3, 2048), (4, 1 << 16))
"""Cores, and bytes of scratchpad at least."""


def agrees(made: Made, wanted: Array) -> None:
    """Compare the interpreter with numpy, and the chip with the interpreter."""
    found = evaluate(made.module, "step", made.inputs)["y"]
    np.testing.assert_array_equal(np.asarray(found, np.float32), np.asarray(wanted, np.float32))
    for cores, scratchpad in MACHINES:
        check_fitting(made.module, made.inputs, cores, scratchpad, races=False)


def given(made: Made, name: str = "x") -> Array:
    """Return an input as the chip holds it."""
    array = made.inputs[name]
    (value,) = (v for v in made.block.args if v.name == name)
    return array.astype(np.float16).astype(np.float32) if value.type.dtype == "f16" else array


@pytest.mark.parametrize("dtype", ["f16", "bit", "f32"])
@pytest.mark.parametrize(
    ("shape", "perm"),
    [
        ((2, 5, 37), (0, 2, 1)),
        ((2, 70, 40), (0, 2, 1)),  # more than a block of 32 x 32
        ((2, 3, 20, 18), (0, 2, 3, 1)),
        ((2, 20, 3, 18), (0, 3, 1, 2)),
        ((2, 4, 3, 16), (0, 2, 1, 3)),
        ((2, 1, 33), (0, 2, 1)),
        ((2, 33, 1), (0, 2, 1)),
    ],
    ids=str,
)
def test_axes_change_places(shape: tuple[int, ...], perm: tuple[int, ...], dtype: str) -> None:
    made = Made(3, shape[0])
    x = made.seq("x", *shape[1:], dtype=dtype)
    y = made.b.one("phase.transpose", x, perm=perm)
    made.output(y=y)
    agrees(made, given(made).transpose(0, *(a + 1 for a in perm)))


@pytest.mark.parametrize("dtype", ["f16", "bit", "f32"])
@pytest.mark.parametrize("shape", [(37, 5), (40, 70), (3, 16)], ids=str)
def test_turned_and_straight_operands_meet(shape: tuple[int, int], dtype: str) -> None:
    """One of three must be turned in memory before they are added, or joined."""
    made = Made(2, 2)
    straight = made.seq("x", *shape, dtype=dtype), made.seq("z", *shape, dtype=dtype)
    turned = made.b.one("phase.transpose", made.seq("w", *shape[::-1], dtype=dtype), perm=(0, 2, 1))

    def total(e: Builder, args: list[Value]) -> list[Value]:
        name = "ew.or" if dtype == "bit" else "ew.add"
        return [e.one(name, e.one(name, args[0], args[1]), args[2])]

    made.output(y=made.region("map", [*straight, turned], [turned.type], total)[0])
    exact = {"f16": "float16", "f32": "float32", "bit": "bool"}[dtype]
    arrays = [given(made, name).astype(exact) for name in "xzw"]
    agrees(made, arrays[0] + arrays[1] + arrays[2].swapaxes(-1, -2))


@pytest.mark.parametrize(
    ("starts", "ends", "strides"),
    [
        ((0, 1, 2), (2, 6, 30), (1, 1, 1)),
        ((0, 0, 0), (2, 7, 40), (1, 2, 1)),
        ((1, 3, 5), (2, 4, 40), (1, 1, 3)),
        ((0, 2, 39), (2, 7, 40), (1, 4, 1)),
        ((0, 0, 0), (2, 7, 40), (1, 1, 1)),
    ],
)
def test_slices(starts: tuple[int, ...], ends: tuple[int, ...], strides: tuple[int, ...]) -> None:
    made = Made(3, 2)
    x = made.seq("x", 7, 40)
    y = made.b.one("phase.slice", x, starts=starts, ends=ends, strides=strides)
    made.output(y=y)
    cut = tuple(slice(*each) for each in zip(starts, ends, strides, strict=True))
    agrees(made, given(made)[:, *cut])


@pytest.mark.parametrize(("first", "last"), [(0, 16), (16, 48), (32, 50), (16, 17)])
def test_slices_of_packed_spikes(first: int, last: int) -> None:
    """Rows of 50 spikes are cut at whole units of 16."""
    made = Made(3, 2)
    x = made.seq("x", 3, 50, dtype="bit")
    y = made.b.one("phase.slice", x, starts=(0, 0, first), ends=(2, 3, last), strides=(1, 1, 1))
    made.output(y=y)
    agrees(made, given(made)[..., first:last])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", ["f16", "bit"])
def test_joined(axis: int, dtype: str) -> None:
    made = Made(3, 2)
    x, z = made.seq("x", 4, 32, dtype=dtype), made.seq("z", 4, 32, dtype=dtype)
    joined = made.b.one("phase.concat", x, z, x, axis=axis)
    made.output(y=joined)
    at = axis if axis < 0 else axis + 1
    agrees(made, np.concatenate([given(made), given(made, "z"), given(made)], at))


@pytest.mark.parametrize(
    ("low", "high", "value"),
    [((0, 1, 2), (0, 2, 1), 0.0), ((0, 0, 5), (0, 0, 0), 1.5), ((1, 0, 0), (0, 3, 0), -0.25)],
)
def test_frames(low: tuple[int, ...], high: tuple[int, ...], value: float) -> None:
    made = Made(3, 2)
    x = made.seq("x", 5, 21)
    y = made.b.one("phase.pad", x, low=low, high=high, value=value)
    made.output(y=y)
    widths = [(0, 0), *zip(low, high, strict=True)]
    agrees(made, np.pad(given(made), widths, constant_values=value))


@pytest.mark.parametrize("dtype", ["f16", "bit"])
@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((1, 40), (7, 40)), ((5, 1), (5, 40)), ((1, 1), (5, 33)), ((5, 40), (5, 40))],
    ids=str,
)
def test_repeats(shape: tuple[int, ...], wanted: tuple[int, ...], dtype: str) -> None:
    made = Made(3, 2)
    x = made.seq("x", *shape, dtype=dtype)
    made.output(y=made.b.one("phase.expand", x, shape=(2, *wanted)))
    agrees(made, np.broadcast_to(given(made), (3, 2, *wanted)))


LONG: dict[str, Callable[[Made, Value], Value]] = {
    "joined": lambda made, x: made.b.one("phase.concat", x, x, axis=0),
    "framed": lambda made, x: made.b.one("phase.pad", x, low=(0, 0), high=(1, 0), value=0.5),
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("columns", [511, 512, 1600, 5000])
def test_rows_longer_than_the_scratchpad_move_in_pieces(name: str, columns: int) -> None:
    """Pieces of half the scratchpad in whole 64 bytes, and what is left of them."""
    made = Made(1, 3)
    y = LONG[name](made, made.seq("x", columns))
    made.output(y=y)
    x = given(made)
    framed = np.concatenate([x, np.full((1, 1, columns), 0.5)], 1)
    agrees(made, np.concatenate([x, x], 1) if name == "joined" else framed)

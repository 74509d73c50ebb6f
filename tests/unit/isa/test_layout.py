"""Where tensors lie in memory, and moving them in and out of arrays."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.isa.program.layout import (
    LayoutDim,
    LayoutError,
    TensorEntry,
    check_layout,
    dense,
    extent,
    loops_of,
    read_tensor,
    write_tensor,
)

SIZE = {"f16": 2, "f32": 4, "i32": 4}


def entry(dtype: str, shape: tuple[int, ...], layout: tuple[LayoutDim, ...] = ()) -> TensorEntry:
    return TensorEntry("t", "other", dtype, shape, 64, layout)


@st.composite
def tensors(draw: st.DrawFn) -> TensorEntry:
    """Tensors with permuted axes, blocked axes, padded rows, sometimes backwards."""
    dtype = draw(st.sampled_from(["f16", "f32", "i32", "bit"]))
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    loops: list[tuple[int, int, int]] = []
    for axis, length in enumerate(shape):
        block = draw(st.integers(min(2, length), length))
        loops.append((axis, block, 1))
        if block < length:
            loops.append((axis, -(-length // block), block))
    loops = draw(st.permutations(loops))
    if dtype == "bit":
        unit = next(i for i, loop in enumerate(loops) if loop[2] == 1)
        loops.append(loops.pop(unit))
    # Loops over one axis must be ordered from the outer (large step) to the inner.
    for axis in range(len(shape)):
        places = [i for i, loop in enumerate(loops) if loop[0] == axis]
        ordered = sorted((loops[i] for i in places), key=lambda loop: -loop[2])
        for place, loop in zip(places, ordered, strict=True):
            loops[place] = loop
    out: list[LayoutDim] = []
    stride = SIZE.get(dtype, 0)
    for axis, size, step in reversed(loops):
        out.append(LayoutDim(axis, size, step, stride))
        if dtype == "bit" and stride == 0:
            stride = 2 * -(-size // 16)
        else:
            stride = stride * size + draw(st.sampled_from([0, 4]))
    return entry(dtype, shape, tuple(reversed(out)))


def place(tensor: TensorEntry, index: tuple[int, ...]) -> tuple[int, int]:
    """Byte address and bit of an element, by going through all turns of all loops."""
    loops = loops_of(tensor)
    for turns in itertools.product(*(range(loop.size) for loop in loops)):
        where = [0] * len(index)
        for loop, turn in zip(loops, turns, strict=True):
            where[loop.axis] += turn * loop.step
        if tuple(where) == index:
            address = tensor.address
            address += sum(d.stride * i for d, i in zip(loops, turns, strict=True))
            bit = turns[-1] if tensor.dtype == "bit" else 0
            return address + bit // 8, bit % 8
    raise AssertionError


@given(tensors(), st.integers(0, 2**32))
def test_read_undoes_write_and_elements_lie_where_the_layout_says(
    tensor: TensorEntry, seed: int
) -> None:
    memory = np.zeros(1 << 14, np.uint8)
    values = np.random.default_rng(seed).integers(-99, 99, tensor.shape)
    if tensor.dtype == "bit":
        values = values & 1
    write_tensor(tensor, memory, values)
    assert (read_tensor(tensor, memory) == values).all()
    low, high = extent(tensor)
    assert not memory[:low].any()
    assert not memory[high:].any()
    index = tuple(int(i) for i in np.random.default_rng(seed).integers(0, tensor.shape))
    address, bit = place(tensor, index)
    found: int | float
    if tensor.dtype == "bit":
        found = int(memory[address]) >> bit & 1
    else:
        dtype = {"f16": "<f2", "f32": "<f4", "i32": "<i4"}[tensor.dtype]
        found = np.frombuffer(memory.tobytes(), dtype, 1, address)[0]
    assert found == values[index]


def test_a_transposed_matrix_by_hand() -> None:
    tensor = entry("f16", (2, 3), (LayoutDim(1, 3, 1, 8), LayoutDim(0, 2, 1, 2)))
    memory = np.zeros(128, np.uint8)
    write_tensor(tensor, memory, np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    words = memory[64:96].view("<f2").astype(float).tolist()
    assert words == [1, 4, 0, 0, 2, 5, 0, 0, 3, 6, 0, 0, 0, 0, 0, 0]
    assert extent(tensor) == (64, 84)


def test_dense_layouts() -> None:
    assert dense("f16", (2, 3)) == (LayoutDim(0, 2, 1, 6), LayoutDim(1, 3, 1, 2))
    assert dense("bit", (4, 17)) == (LayoutDim(0, 4, 1, 4), LayoutDim(1, 17, 1, 0))
    assert dense("f32", (2, 3), 64) == (LayoutDim(0, 2, 1, 64), LayoutDim(1, 3, 1, 4))
    assert extent(entry("f32", ())) == (64, 68)


def test_values_are_rounded_to_binary16() -> None:
    memory = np.zeros(128, np.uint8)
    tensor = entry("f16", (2,))
    write_tensor(tensor, memory, np.array([0.1, 1e9]))
    result: npt.NDArray[np.float32] = read_tensor(tensor, memory)
    assert result.dtype == np.float32
    assert result.tolist() == [float(np.float16(0.1)), float("inf")]


def test_raw_bits_pass_unchanged() -> None:
    """uint16 values are bits already: NaN with a payload, infinity, subnormals, -0."""
    bits = np.array([0x7D01, 0xFE55, 0x7C00, 0x0001, 0x8000, 0x3C00], np.uint16)
    memory = np.zeros(128, np.uint8)
    tensor = entry("f16", (6,))
    write_tensor(tensor, memory, bits)
    assert memory[64:76].view("<u2").tolist() == bits.tolist()
    write_tensor(tensor, memory, bits.astype(np.float32))  # numbers, however large
    assert memory[64:76].view("<u2")[-1] == np.float16(0x3C00).view(np.uint16)


@pytest.mark.parametrize(
    ("dtype", "loops", "values", "after"),
    [
        # rows of 3 in loops of 4: the fourth is padding; the gap behind a row belongs to nobody
        ("i32", ((0, 2, 1, 20), (1, 4, 1, 4)), [[1, 2, 3], [4, 5, 6]],
         [1, 2, 3, 0, -1, 4, 5, 6, 0, -1]),
        # blocks of 2 over an axis of 3: the second block is half padding
        ("i32", ((0, 2, 1, 16), (1, 2, 2, 8), (1, 2, 1, 4)), [[1, 2, 3], [4, 5, 6]],
         [1, 2, 3, 0, 4, 5, 6, 0, -1, -1]),
        # a row more than there is
        ("i32", ((0, 3, 1, 12), (1, 3, 1, 4)), [[1, 2, 3], [4, 5, 6]],
         [1, 2, 3, 4, 5, 6, 0, 0, 0, -1]),
    ],
)  # fmt: skip
def test_padding_is_cleared_and_gaps_are_not_touched(
    dtype: str, loops: tuple[tuple[int, int, int, int], ...], values: list[Any], after: list[int]
) -> None:
    tensor = entry(dtype, (2, 3), tuple(LayoutDim(*each) for each in loops))
    memory = np.full(128, 0xFF, np.uint8)
    write_tensor(tensor, memory, np.array(values))
    assert memory[64:104].view("<i4").tolist() == after
    assert read_tensor(tensor, memory).tolist() == values
    assert (memory[:64] == 0xFF).all()


def test_the_padding_of_packed_rows_is_cleared() -> None:
    """17 spikes take 4 bytes: 15 bits of padding in each row."""
    tensor = entry("bit", (2, 17))
    memory = np.full(128, 0xFF, np.uint8)
    write_tensor(tensor, memory, np.ones((2, 17)))
    assert memory[64:72].tolist() == [0xFF, 0xFF, 1, 0] * 2
    assert memory[72] == 0xFF
    longer = entry("bit", (2, 3), (LayoutDim(0, 2, 1, 4), LayoutDim(1, 17, 1, 0)))
    write_tensor(longer, memory, np.ones((2, 3)))
    assert memory[64:72].tolist() == [7, 0, 0, 0] * 2


def test_backwards_rows() -> None:
    tensor = entry("i32", (2, 2), (LayoutDim(0, 2, 1, -8), LayoutDim(1, 2, 1, 4)))
    memory = np.zeros(128, np.uint8)
    write_tensor(tensor, memory, np.array([[1, 2], [3, 4]]))
    assert memory[56:72].view("<i4").tolist() == [3, 4, 1, 2]
    assert read_tensor(tensor, memory).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "f64"}, "no element type 'f64'"),
        ({"space": "tape"}, "no memory 'tape'"),
        ({"shape": (1 << 50,)}, "absurd shape"),
        ({"shape": (1 << 30, 1 << 30)}, "absurd shape"),
        ({"shape": (-1,)}, "absurd shape"),
        ({"shape": (1,) * 9}, "too many dimensions"),
        ({"address": -1}, "absurd address"),
        ({"layout": (LayoutDim(0, 4, 1, 3),)}, "bad stride 3"),
        ({"layout": (LayoutDim(0, 3, 1, 2),)}, "axis 0: 3 places for 4"),
        ({"layout": (LayoutDim(0, 4, 2, 2),)}, "axis 0 has a loop of wrong step"),
        ({"layout": (LayoutDim(0, 4, 0, 2),)}, "axis 0 has a loop of wrong step"),
        (  # both loops count the elements 0 and 1
            {"layout": (LayoutDim(0, 2, 1, 4), LayoutDim(0, 2, 1, 2))},
            "axis 0 has a loop of wrong step",
        ),
        (  # the outer loop begins a step before the inner one ends
            {"shape": (5,), "layout": (LayoutDim(0, 2, 2, 6), LayoutDim(0, 3, 1, 2))},
            "axis 0 has a loop of wrong step",
        ),
        (  # and the order matters
            {"layout": (LayoutDim(0, 2, 1, 2), LayoutDim(0, 2, 2, 4))},
            "axis 0 has a loop of wrong step",
        ),
        ({"layout": (LayoutDim(1, 4, 1, 2), LayoutDim(0, 4, 1, 2))}, "axis that is not there"),
        ({"layout": (LayoutDim(0, -4, 1, 2),)}, "bad loop"),
        ({"dtype": "bit", "layout": (LayoutDim(0, 4, 1, 2),)}, "does not count packed bits"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], message: str) -> None:
    tensor = dataclasses.replace(entry("f16", (4,)), **changes)  # type: ignore[arg-type]
    with pytest.raises(LayoutError, match=message):
        check_layout(tensor)


def test_memory_bounds() -> None:
    memory = np.zeros(70, np.uint8)
    with pytest.raises(LayoutError, match=r"covers bytes 64\.\.72 of a memory of 70"):
        read_tensor(entry("f16", (4,)), memory)
    huge = entry("f16", (1 << 30,), (LayoutDim(0, 1 << 30, 1, 0),))
    with pytest.raises(LayoutError, match="more elements than its memory holds"):
        read_tensor(huge, memory)
    with pytest.raises(LayoutError, match=r"has shape \(4,\), got \(3,\)"):
        write_tensor(entry("f16", (4,)), memory, np.zeros(3))

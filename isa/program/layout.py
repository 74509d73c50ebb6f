"""Tensors in memory: where the elements of a tensor lie, and moving them in and out of arrays.

A tensor's layout is a list of loops, outermost first.  Loop ``d`` counts ``size`` times; each turn
advances logical axis ``axis`` by ``step`` and the address by ``stride`` bytes.  So a plain
``[N, K]`` matrix with padded rows is ``(axis 0, size N, step 1, stride row)``,
``(axis 1, size K, step 1, stride 2)``, a transposed one swaps the axes, and channels in blocks of
16 use two loops over the channel axis, with steps 16 and 1 in this order.  Loops may reach beyond
the logical shape: what lies there is padding.

Packed spikes (dtype ``bit``): the innermost loop counts bits of a row (stride 0); the other loops
have strides in bytes.  All others: the stride of every loop is in bytes and a multiple of the
element's size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.numbers import fp16

Memory: TypeAlias = npt.NDArray[np.uint8]

DTYPES: Final = {"f16": 2, "f32": 4, "i32": 4, "bit": 0}
"""Element types and their sizes in bytes (bits are packed)."""

_NUMPY: Final[Mapping[str, np.dtype[Any]]] = {
    "f16": np.dtype("<u2"),
    "f32": np.dtype("<f4"),
    "i32": np.dtype("<i4"),
}
MAX_RANK: Final = 8
MAX_LOOPS: Final = 16


class LayoutError(ValueError):
    """A layout contradicts itself or its memory."""


@dataclass(frozen=True)
class LayoutDim:
    """One loop of a layout; ``stride`` in bytes."""

    axis: int
    size: int
    step: int
    stride: int


@dataclass(frozen=True)
class TensorEntry:
    """A tensor that the outside may read or write, and where its bits lie.

    ``role`` is one of input, target, param, grad, state, output, logits, loss, spikes, other;
    ``space`` is dram or sram (then ``core`` says whose).  ``file_name`` is its name in the model
    file (empty: it has none); ``transposed`` tells that the file holds it with its two axes
    swapped.  An empty ``layout`` is dense row-major (rows of bits padded to 16).
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...]
    address: int
    layout: tuple[LayoutDim, ...] = ()
    file_name: str = ""
    transposed: bool = False
    space: str = "dram"
    core: int = -1

    @property
    def elements(self) -> int:
        """Number of logical elements."""
        return math.prod(self.shape)


def dense(dtype: str, shape: Sequence[int], row_stride: int = 0) -> tuple[LayoutDim, ...]:
    """Return the row-major layout of a shape; rows lie ``row_stride`` bytes apart (0: dense)."""
    if not shape:
        return (LayoutDim(0, 1, 1, DTYPES[dtype]),)
    row = fp16.packed_bytes(shape[-1]) if dtype == "bit" else shape[-1] * DTYPES[dtype]
    stride = row_stride or row
    loops = [LayoutDim(len(shape) - 1, shape[-1], 1, DTYPES[dtype])]
    for axis in range(len(shape) - 2, -1, -1):
        loops.append(LayoutDim(axis, shape[axis], 1, stride))
        stride *= shape[axis]
    return tuple(reversed(loops))


def loops_of(tensor: TensorEntry) -> tuple[LayoutDim, ...]:
    """Return the layout, spelled out when it is dense."""
    return tensor.layout or dense(tensor.dtype, tensor.shape)


def check_layout(tensor: TensorEntry) -> None:
    """Raise LayoutError unless the layout places every element once or more, in bounded space."""
    if tensor.dtype not in DTYPES:
        raise LayoutError(f"tensor {tensor.name}: no element type '{tensor.dtype}'")
    if tensor.space not in ("dram", "sram"):
        raise LayoutError(f"tensor {tensor.name}: no memory '{tensor.space}'")
    loops = loops_of(tensor)
    if len(tensor.shape) > MAX_RANK or len(loops) > MAX_LOOPS:
        raise LayoutError(f"tensor {tensor.name}: too many dimensions")
    if any(not 0 <= size < 1 << 40 for size in tensor.shape) or tensor.elements >= 1 << 40:
        raise LayoutError(f"tensor {tensor.name}: absurd shape {list(tensor.shape)}")
    if not 0 <= tensor.address < 1 << 62:
        raise LayoutError(f"tensor {tensor.name}: absurd address {tensor.address}")
    size = DTYPES[tensor.dtype]
    for loop in loops:
        if not (0 <= loop.size < 1 << 40 and 0 <= loop.step < 1 << 40 and loop.axis >= 0):
            raise LayoutError(f"tensor {tensor.name}: bad loop {loop}")
        if abs(loop.stride) >= 1 << 40 or (size and loop.stride % size):
            raise LayoutError(f"tensor {tensor.name}: bad stride {loop.stride}")
    if tensor.dtype == "bit" and (loops[-1].step != 1 or loops[-1].stride):
        raise LayoutError(f"tensor {tensor.name}: the innermost loop does not count packed bits")
    for axis, length in enumerate(tensor.shape or (1,)):
        reach = 1
        for loop in reversed([d for d in loops if d.axis == axis]):
            if loop.step != reach:
                raise LayoutError(f"tensor {tensor.name}: axis {axis} has a loop of wrong step")
            reach *= loop.size
        if reach < length:
            raise LayoutError(f"tensor {tensor.name}: axis {axis}: {reach} places for {length}")
    if any(loop.axis >= max(1, len(tensor.shape)) for loop in loops):
        raise LayoutError(f"tensor {tensor.name}: a loop over an axis that is not there")


def extent(tensor: TensorEntry) -> tuple[int, int]:
    """Return the first byte that the tensor touches and the one after the last."""
    loops = loops_of(tensor)
    if any(loop.size == 0 for loop in loops):
        return tensor.address, tensor.address
    low = high = tensor.address
    tail = DTYPES[tensor.dtype]
    if tensor.dtype == "bit":
        tail = fp16.packed_bytes(loops[-1].size)
        loops = loops[:-1]
    for loop in loops:
        span = loop.stride * (loop.size - 1)
        low, high = low + min(span, 0), high + max(span, 0)
    return low, high + tail


def _view(tensor: TensorEntry, memory: Memory) -> npt.NDArray[Any]:
    """Return a view of memory with one axis per loop (bytes in the last one for packed bits)."""
    check_layout(tensor)
    low, high = extent(tensor)
    if low < 0 or high > memory.size:
        raise LayoutError(
            f"tensor {tensor.name} covers bytes {low}..{high} of a memory of {memory.size}"
        )
    loops = loops_of(tensor)
    sizes = [loop.size for loop in loops]
    strides = [loop.stride for loop in loops]
    if math.prod(sizes) > 8 * memory.size:
        raise LayoutError(f"tensor {tensor.name} has more elements than its memory holds")
    dtype = _NUMPY.get(tensor.dtype, np.dtype(np.uint8))
    if tensor.dtype == "bit":
        sizes[-1], strides[-1] = fp16.packed_bytes(sizes[-1]), 1
    buffer = memory[low:high]
    return np.ndarray(sizes, dtype, buffer, tensor.address - low, strides)


def _order(tensor: TensorEntry) -> tuple[list[int], list[int]]:
    """Return loops grouped by logical axis (outer first) and the padded logical shape."""
    loops = loops_of(tensor)
    order: list[int] = []
    padded: list[int] = []
    for axis in range(max(1, len(tensor.shape))):
        mine = [i for i, loop in enumerate(loops) if loop.axis == axis]
        order += mine
        padded.append(math.prod(loops[i].size for i in mine))
    return order, padded


def read_tensor(tensor: TensorEntry, memory: Memory) -> npt.NDArray[Any]:
    """Return a tensor as an array of its logical shape: float32, int32, or uint8 for bits."""
    stored = _view(tensor, memory)
    if tensor.dtype == "bit":
        count = loops_of(tensor)[-1].size
        stored = np.unpackbits(
            np.ascontiguousarray(stored), axis=-1, count=count, bitorder="little"
        )
    order, padded = _order(tensor)
    array = stored.transpose(order).reshape(padded)
    array = array[tuple(slice(n) for n in tensor.shape or (1,))].reshape(tensor.shape)
    if tensor.dtype == "f16":
        return fp16.from_bits(np.array(array, np.uint16))
    return np.array(array)


def write_tensor(tensor: TensorEntry, memory: Memory, values: npt.NDArray[Any]) -> None:
    """Put an array of the logical shape into memory; padding becomes 0.

    float32 values are rounded to binary16 where the tensor holds that; bits take truth values.
    """
    if values.shape != tensor.shape:
        raise LayoutError(f"tensor {tensor.name} has shape {tensor.shape}, got {values.shape}")
    stored = _view(tensor, memory)
    loops = loops_of(tensor)
    order, padded = _order(tensor)
    raw: npt.NDArray[Any]
    if tensor.dtype == "f16":
        raw = values if values.dtype == np.uint16 else fp16.to_bits(values.astype(np.float32))
    elif tensor.dtype == "bit":
        raw = values != 0
    else:
        raw = values.astype(_NUMPY[tensor.dtype])
    full = raw = raw.reshape(tensor.shape or (1,))
    if raw.shape != tuple(padded):
        full = np.zeros(padded, raw.dtype)
        full[tuple(slice(n) for n in raw.shape)] = raw
    full = full.reshape([loops[i].size for i in order]).transpose(np.argsort(order))
    if tensor.dtype == "bit":
        packed = np.packbits(np.ascontiguousarray(full), axis=-1, bitorder="little")
        stored[...] = 0
        stored[..., : packed.shape[-1]] = packed
    else:
        stored[...] = full

"""Tile operations on buffers, one function per instruction; lane operations are in tile_lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.tile_memory import Dims, Halves, Memory, TileError
from snncc.compiler.ir.core import Op
from snncc.isa.numbers import accumulators, fp16

Floats: TypeAlias = npt.NDArray[np.float32]
Bits: TypeAlias = npt.NDArray[np.bool_]
ALIGN = {"f16": 2, "f32": 4, "bit": 2}


@dataclass(frozen=True)
class Place:
    """A buffer and an offset in bytes."""

    memory: Memory
    at: int

    def halves(self, dims: Dims, n: int) -> Floats:
        """Return rows of ``n`` binary16 numbers."""
        return fp16.from_bits(self.memory.read(self.at, dims, 2 * n))

    def floats(self, dims: Dims, n: int) -> Floats:
        """Return rows of ``n`` binary32 numbers."""
        return _f32(self.memory.read(self.at, dims, 4 * n, 4))

    def bits(self, dims: Dims, n: int) -> Bits:
        """Return rows of ``n`` packed spikes."""
        raw = self.memory.read(self.at, dims, fp16.packed_bytes(n))
        return fp16.unpack_bits(raw.view(np.uint8), n)

    def put_halves(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary16 numbers."""
        self.memory.write(self.at, dims, fp16.to_bits(values))

    def put_floats(self, dims: Dims, values: Floats) -> None:
        """Write rows of binary32 numbers."""
        raw = np.ascontiguousarray(fp16.canonical_f32(values))
        self.memory.write(self.at, dims, raw.view(np.uint16), 4)

    def put_bits(self, dims: Dims, values: Bits) -> None:
        """Write rows of packed spikes."""
        self.memory.write(self.at, dims, fp16.pack_bits(values).view(np.uint16))


def _f32(raw: Halves) -> Floats:
    shape = (*raw.shape[:-1], raw.shape[-1] // 2)
    return np.ascontiguousarray(raw).view(np.float32).reshape(shape)


@dataclass(frozen=True)
class Call:
    """One execution of an operation: where its address operands point now."""

    op: Op
    places: Mapping[str, Place]

    def __getitem__(self, name: str) -> int:
        """Return an integer operand."""
        return self.op.int_attr(name)

    def word(self, name: str) -> str:
        """Return an operand that is one of a list of words."""
        return self.op.str_attr(name)

    def place(self, name: str) -> Place:
        """Return an address operand."""
        found = self.places.get(name)
        if found is None:
            raise TileError(f"operand {name} is not bound to a buffer")
        return found


def _copy(c: Call) -> None:
    source, target = c.place("src"), c.place("dst")
    spaces = {"ld": ("dram", "sram"), "st": ("sram", "dram"), "copy": ("sram", "sram")}
    if (source.memory.space, target.memory.space) != spaces[c.op.name.partition(".")[2]]:
        raise TileError(f"copies from {source.memory.space} to {target.memory.space}")
    n0, n1 = c["n0"], c["n1"]
    rows = source.memory.read(source.at, [(n0, c["src0"]), (n1, c["src1"])], c["bytes"])
    target.memory.write(target.at, [(n0, c["dst0"]), (n1, c["dst1"])], rows)


def _fill(c: Call) -> None:
    target = c.place("dst")
    rows = np.full((c["n0"], c["bytes"] // 2), c["pattern"], np.uint16)
    target.memory.write(target.at, [(c["n0"], c["dst0"])], rows)


def start(c: Call, rows: int, n: int, stride: int) -> Floats:
    """Return the accumulators that ``init`` asks for."""
    match c.word("init"):
        case "keep":
            return accumulators.load_acc(c.place("acc").floats([(rows, stride)], n))
        case "bias":
            row = accumulators.load_acc(c.place("bias").halves([], n))
            return np.repeat(row[None], rows, axis=0)
        case _:
            return np.zeros((rows, n), np.float32)


def flag(c: Call, name: str) -> bool:
    """Return a flag operand, off when the instruction has none."""
    return bool(c.op.int_attr(name, 0))


def _mac(c: Call) -> None:
    rows, k, n, stride = c["rows"], c["k"], c["n"], c["acc_stride"]
    if not rows or not n:
        return
    first = start(c, rows, n, stride)
    lines = [(rows, c["a_stride"])]
    if flag(c, "trans"):
        w = c.place("w").halves([(n, c["w_stride"])], k).T
    else:
        w = c.place("w").halves([(k, c["w_stride"])], n)
    if c.op.name == "tile.gacc":
        total = accumulators.gated_mac_ordered(c.place("a").bits(lines, k), w, first)
    else:
        total = accumulators.mac_ordered(c.place("a").halves(lines, k), w, first, flag(c, "skip"))
    if flag(c, "masked") and k:
        mask = c.place("mask").bits([(rows, c["mask_stride"])], n)
        total = np.where(mask, total, first)
    c.place("acc").put_floats([(rows, stride)], total)


def _outer(c: Call) -> None:
    rows, k, n, stride = c["rows"], c["k"], c["n"], c["acc_stride"]
    if c.word("init") == "bias":
        raise TileError("an outer product has no bias")
    if not k or not n:
        return
    first = start(c, k, n, stride)
    lines = [(rows, c["a_stride"])]
    g = c.place("g").halves([(rows, c["g_stride"])], n)
    if c.op.name == "tile.gouter":
        total = accumulators.gated_mac_ordered(c.place("a").bits(lines, k).T, g, first)
    else:
        total = accumulators.mac_ordered(c.place("a").halves(lines, k).T, g, first, flag(c, "skip"))
    c.place("acc").put_floats([(k, stride)], total)


def elements(place: Place, kind: str, dims: Dims, n: int) -> Floats:
    """Return rows of an element type as numbers."""
    if kind == "f16":
        return place.halves(dims, n)
    if kind == "f32":
        return place.floats(dims, n)
    return place.bits(dims, n).astype(np.float32)


def _rowred(c: Call) -> None:
    rows, n = c["rows"], c["n"]
    if not rows or not n:
        return
    x = elements(c.place("x"), c.word("type"), [(rows, c["x_stride"])], n)
    target, lines = c.place("dst"), [(rows, c["dst_stride"])]
    if c.word("op") == "max":
        best = x[:, 0]
        for j in range(1, n):
            best = fp16.maximum(best, x[:, j])
        target.put_halves(lines, best[:, None])
        return
    total = accumulators.ordered_sum(np.ascontiguousarray(x), axis=1)[:, None]
    if c.word("op") == "sum32":
        target.put_floats(lines, total)
    else:
        target.put_halves(lines, accumulators.writeback(total))


def _colsum(c: Call) -> None:
    rows, n = c["rows"], c["n"]
    if c.word("init") == "bias":
        raise TileError("a column sum has no bias")
    if not n:
        return
    first = start(c, 1, n, 0)[0]
    x = elements(c.place("x"), c.word("type"), [(rows, c["x_stride"])], n)
    total = accumulators.ordered_sum(np.ascontiguousarray(x), axis=0, acc=first)
    c.place("acc").put_floats([], total)


OPS: dict[str, Callable[[Call], None]] = {
    "ld": _copy,
    "st": _copy,
    "copy": _copy,
    "fill": _fill,
    "gacc": _mac,
    "mac": _mac,
    "bmac": _mac,
    "gouter": _outer,
    "outer": _outer,
    "rowred": _rowred,
    "colsum": _colsum,
}

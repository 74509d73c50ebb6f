"""Lane operations: a microprogram over steps x rows x columns of streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.tile_memory import Dims, TileError
from snncc.compiler.interp.tile_ops import Floats, Place
from snncc.isa.microprograms.table import MicroInst, MicroProgram
from snncc.isa.numbers import accumulators, fp16, rng, tables

Lane: TypeAlias = npt.NDArray[Any]
"""One register: [rows, cols] or what broadcasts to it."""

_WRAP = (1 << 64) - 1


@dataclass(frozen=True)
class Stream:
    """A descriptor: a buffer and an offset (or, without a buffer, a counter), and distances."""

    place: Place | None
    base: int
    step: int
    row: int


@dataclass(frozen=True)
class LaneCall:
    """One lane operation: what runs over what."""

    program: MicroProgram
    streams: Sequence[Stream]
    steps: int
    rows: int
    cols: int
    seed: int

    def memory(self, inst: MicroInst, t: int) -> tuple[Place, Dims]:
        """Return where an instruction's stream points at a step, and its rows."""
        stream = self.streams[inst.imm]
        if stream.place is None:
            raise TileError(f"{inst.op.name} of stream {inst.imm}, which is a counter")
        place = Place(stream.place.memory, stream.place.at + t * stream.step)
        return place, [(self.rows, stream.row)]

    def counter(self, inst: MicroInst, t: int) -> npt.NDArray[np.uint64]:
        """Return base + t*step + r*row + c, modulo 2**64."""
        s = self.streams[inst.imm]
        if s.place is not None:
            raise TileError(f"{inst.op.name} of stream {inst.imm}, which is memory")
        rows = [(s.base + t * s.step + r * s.row) & _WRAP for r in range(self.rows)]
        first = np.array(rows, np.uint64)
        return np.asarray(first[:, None] + np.arange(self.cols, dtype=np.uint64))


def _single(f: Callable[..., Any]) -> Callable[..., Floats]:
    """Compute in binary32 with the canonical NaN."""
    return lambda *args: fp16.canonical_f32(np.asarray(f(*args), np.float32))


_ARITHMETIC: Mapping[str, Callable[..., Lane]] = {
    "add.h": fp16.add,
    "sub.h": fp16.sub,
    "mul.h": fp16.mul,
    "div.h": fp16.div,
    "sqrt.h": fp16.sqrt,
    "min.h": fp16.minimum,
    "max.h": fp16.maximum,
    "neg.h": fp16.neg,
    "abs.h": fp16.absolute,
    "trunc.h": _single(np.trunc),
    "floor.h": _single(np.floor),
    "add.f": _single(np.add),
    "sub.f": _single(np.subtract),
    "mul.f": _single(np.multiply),
    "div.f": _single(np.divide),
    "sqrt.f": _single(np.sqrt),
    "neg.f": _single(np.negative),
    "h2f": np.asarray,
    "f2h": fp16.round_f16,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "sel.h": np.where,
    "sel.f": np.where,
}


def _load(c: LaneCall, inst: MicroInst, t: int) -> Lane:
    place, rows = c.memory(inst, t)
    match inst.op.name:
        case "ld.h" | "state.h":
            return place.halves(rows, c.cols)
        case "ld.f" | "state.f":
            return place.floats(rows, c.cols)
        case "ld.acc":
            return accumulators.writeback(place.floats(rows, c.cols))
        case "ld.row.h":
            return place.halves(rows, 1)
        case "ld.row.f":
            return place.floats(rows, 1)
        case "ld.row.i":
            return place.floats(rows, 1).view(np.int32).astype(np.float32)
        case _:
            return place.bits(rows, c.cols)


def _value(c: LaneCall, inst: MicroInst, args: Sequence[Lane], t: int) -> Lane:
    """Return what one micro-operation gives at a step."""
    name, imm = inst.op.name, inst.imm
    found = _ARITHMETIC.get(name)
    if found is not None:
        return np.asarray(found(*args))
    match name:
        case "const.h":
            return fp16.from_bits(np.array([[imm]], np.uint16))
        case "const.f":
            return np.array([[imm]], np.uint32).view(np.float32)
        case "tab.h":
            return tables.apply(imm, args[0])
        case "iota":
            return c.counter(inst, t).view(np.int64).astype(np.float32)
        case "rand":
            return rng.random_u32(c.seed & _WRAP, 0, c.counter(inst, t))
        case "i2h":
            return (args[0] >> np.uint32(21)).astype(np.float32) / np.float32(2048)
        case "srnd":
            return fp16.stochastic_round(args[0], args[1] >> np.uint32(19))
        case _:
            return _load(c, inst, t)


def _store(c: LaneCall, inst: MicroInst, value: Lane, t: int) -> None:
    place, rows = c.memory(inst, t)
    whole = np.broadcast_to(value, (c.rows, c.cols))
    match inst.op.name:
        case "st.h" | "state.h":
            place.put_halves(rows, whole)
        case "st.f" | "state.f":
            place.put_floats(rows, whole)
        case _:
            place.put_bits(rows, whole)


def run_lanes(c: LaneCall) -> None:
    """Run the microprogram over all steps; state lives in registers between them."""
    if not (c.steps and c.rows and c.cols):
        return
    code = c.program.code
    initial = [i for i in code if i.op.name.startswith("state.")]
    after = {i.args[0]: i.args[1] for i in code if i.op.name == "next"}
    states = {i.dst: _load(c, i, 0) for i in initial}
    for t in range(c.steps):
        registers: dict[int, Lane] = dict(states)
        stores: list[tuple[MicroInst, Lane]] = []
        for inst in code:
            name = inst.op.name
            if name.startswith("st."):
                stores.append((inst, registers[inst.args[0]]))
            elif name != "next" and inst.dst not in states:
                registers[inst.dst] = _value(c, inst, [registers[a] for a in inst.args], t)
        for inst, value in stores:
            _store(c, inst, value, t)
        states = {s: registers[v] for s, v in after.items()}
    for inst in initial:
        _store(c, inst, states[inst.dst], 0)

"""The oracle's lane stage: a microprogram over whole steps, one numpy operation per micro-op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.isa.microprograms.table import MicroInst
from snncc.isa.numbers import accumulators, fp16, rng, tables
from snncc.isasim.engines.base import Activity, Resolved, Sram
from snncc.isasim.engines.lanes import LaneProgram

Floats: TypeAlias = npt.NDArray[np.float32]
Lane: TypeAlias = npt.NDArray[Any]  # float32 (h, f), bool (m) or uint32 (i), shape [rows, cols]

_WRAP = (1 << 64) - 1


class _Step:
    """Access to memory at one time step."""

    def __init__(self, op: Resolved, program: LaneProgram, sram: Sram, t: int) -> None:
        self.op, self.program, self.sram, self.t = op, program, sram, t
        _, _, self.rows, self.cols, _ = op.values

    def view(
        self, stream: int, dtype: type[np.generic], n: int, *, state: bool = False
    ) -> npt.NDArray[Any]:
        """Return the stream's rows of ``n`` elements at this step, without copying."""
        base, step, row = self.op.streams[self.program.slot(stream)]
        kind = np.dtype(dtype).newbyteorder("<")
        offset = base if state else base + self.t * step
        return np.ndarray((self.rows, n), kind, self.sram, offset, (row, kind.itemsize))

    def load(self, kind: str, stream: int, n: int, *, state: bool = False) -> Lane:
        """Return a copy of a step of h, f or m elements."""
        if kind == "h":
            return fp16.from_bits(self.view(stream, np.uint16, n, state=state).astype(np.uint16))
        if kind == "f":
            return self.view(stream, np.float32, n, state=state).astype(np.float32)
        packed = self.view(stream, np.uint8, fp16.packed_bytes(n), state=state)
        return fp16.unpack_bits(np.ascontiguousarray(packed), n)

    def store(self, kind: str, stream: int, value: Lane, *, state: bool = False) -> None:
        """Write a step of h, f or m elements, rows ascending."""
        bits: Lane
        if kind == "h":
            bits = fp16.to_bits(value)
            target = self.view(stream, np.uint16, self.cols, state=state)
        elif kind == "f":
            target = self.view(stream, np.float32, self.cols, state=state)
            bits = fp16.canonical_f32(value)
        else:
            bits = fp16.pack_bits(value)
            target = self.view(stream, np.uint8, bits.shape[1], state=state)
        for row, row_bits in zip(target, bits, strict=True):
            row[...] = row_bits

    def counter(self, stream: int) -> npt.NDArray[np.uint64]:
        """Return base + t*step + r*row + c of every element, modulo 2**64."""
        base, step, row = self.op.streams[self.program.slot(stream)]
        first = np.array(
            [(base + self.t * step + r * row) & _WRAP for r in range(self.rows)], np.uint64
        )
        return np.asarray(first[:, None] + np.arange(self.cols, dtype=np.uint64))


_BINARY: dict[str, Callable[[Floats, Floats], Lane]] = {
    "add.h": fp16.add,
    "sub.h": fp16.sub,
    "mul.h": fp16.mul,
    "div.h": fp16.div,
    "min.h": fp16.minimum,
    "max.h": fp16.maximum,
    "add.f": np.add,
    "sub.f": np.subtract,
    "mul.f": np.multiply,
    "div.f": np.divide,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "and": np.logical_and,
    "or": np.logical_or,
}
_UNARY: dict[str, Callable[[Floats], Lane]] = {
    "sqrt.h": fp16.sqrt,
    "neg.h": fp16.neg,
    "abs.h": fp16.absolute,
    "trunc.h": np.trunc,
    "floor.h": np.floor,
    "sqrt.f": np.sqrt,
    "neg.f": np.negative,
    "not": np.logical_not,
    "h2f": np.array,
    "f2h": fp16.round_f16,
}
_ROUNDING = frozenset(
    ("add.h", "sub.h", "mul.h", "div.h", "sqrt.h", "f2h", "srnd", "tab.h", "ld.acc")
)


def _value(step: _Step, inst: MicroInst, args: list[Lane]) -> Lane:
    """Return what one micro-operation computes for all elements of a step."""
    name, imm = inst.op.name, inst.imm
    if name in _BINARY:
        return _BINARY[name](args[0], args[1])
    if name in _UNARY:
        return _UNARY[name](args[0])
    if name in ("sel.h", "sel.f"):
        return np.where(args[0], args[1], args[2])
    if name in ("ld.h", "ld.f", "ld.m"):
        return step.load(name[3:], imm, step.cols)
    if name == "ld.acc":
        return accumulators.writeback(step.load("f", imm, step.cols))
    if name in ("ld.row.h", "ld.row.f"):
        return step.load(name[7:], imm, 1)
    if name == "ld.row.i":
        return step.view(imm, np.int32, 1).astype(np.float32)
    if name == "iota":
        return step.counter(imm).view(np.int64).astype(np.float32)
    if name == "rand":
        return rng.random_u32(step.op.seed & _WRAP, 0, step.counter(imm))
    if name == "const.h":
        return fp16.from_bits(np.array([[imm]], np.uint16))
    if name == "const.f":
        return np.array([[imm]], np.uint32).view(np.float32)
    if name == "tab.h":
        return tables.apply(imm, args[0])
    if name == "srnd":
        return fp16.stochastic_round(args[0], args[1] >> np.uint32(19))
    if name == "i2h":
        return (args[0] >> np.uint32(21)).astype(np.float32) / np.float32(2048)
    raise NotImplementedError(name)


def _whole(step: _Step, value: Lane) -> Lane:
    return np.broadcast_to(value, (step.rows, step.cols))


def run_lanes(op: Resolved, sram: Sram, *, saturate: bool) -> Activity:
    """Run the microprogram of a checked lane instruction."""
    _, steps, rows, cols, _ = op.values
    program = op.micro
    if program is None or not steps * rows * cols:
        return Activity(0, 0)
    stored = 0
    with np.errstate(all="ignore"):
        states = _load_states(program, _Step(op, program, sram, 0))
        for t in range(steps):
            step = _Step(op, program, sram, t)
            registers = dict(states)
            stores: list[tuple[str, int, Lane]] = []
            for inst in program.code:
                name = inst.op.name
                args = [registers[arg] for arg in inst.args]
                if name in ("st.h", "st.f", "st.m"):
                    stores.append((name[3:], inst.imm, _whole(step, args[0])))
                elif name != "next" and inst.dst not in states:
                    value = _value(step, inst, args)
                    if saturate and name in _ROUNDING:
                        value = fp16.saturate(value)
                    registers[inst.dst] = value
            for kind, stream, value in stores:
                step.store(kind, stream, value)
                stored += int(value.sum()) if kind == "m" else 0
            states = {s: registers[program.nexts[s]] for s in states}
        _store_states(program, _Step(op, program, sram, 0), states)
    elements = steps * rows * cols
    return Activity(elements, elements, stored)


def _load_states(program: LaneProgram, step: _Step) -> dict[int, Lane]:
    return {
        inst.dst: step.load(inst.op.result, inst.imm, step.cols, state=True)
        for inst in program.states
    }


def _store_states(program: LaneProgram, step: _Step, states: dict[int, Lane]) -> None:
    for inst in program.states:
        step.store(inst.op.result, inst.imm, _whole(step, states[inst.dst]), state=True)

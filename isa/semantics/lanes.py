"""Lane instructions: a microprogram over whole steps, one numpy operation per micro-operation."""

from __future__ import annotations

import numpy as np

from snncc.isa.microprograms.code import is_state, is_store
from snncc.isa.microprograms.meaning import WRAP
from snncc.isa.microprograms.table import MicroInst
from snncc.isa.numbers import fp16
from snncc.isa.semantics.activity import NOTHING, Activity
from snncc.isa.semantics.call import Call, Lane, Streams


def run(c: Call) -> Activity:
    """Run the microprogram over all steps; state lives in registers between them."""
    o, streams = c.operands, c.streams
    if streams is None or not (o.steps and o.rows and o.cols):
        return NOTHING
    code, stored = c.code, 0
    initial = [i for i in code if is_state(i.op)]
    after = {i.args[0]: i.args[1] for i in code if i.op.name == "next"}
    with np.errstate(all="ignore"):
        states = {i.dst: streams.load(i.imm, 0, i.op.result, o.cols) for i in initial}
        for t in range(o.steps):
            registers: dict[int, Lane] = dict(states)
            stores: list[tuple[MicroInst, Lane]] = []
            for inst in code:
                if is_store(inst.op):
                    stores.append((inst, registers[inst.args[0]]))
                elif inst.op.meaning is not None:
                    value = _value(c, streams, inst, [registers[a] for a in inst.args], t)
                    if c.numerics.saturate and inst.op.rounds:
                        value = fp16.saturate(value)
                    registers[inst.dst] = value
            for inst, value in stores:
                kind = inst.op.name[-1]
                whole = np.broadcast_to(value, (o.rows, o.cols))
                streams.store(inst.imm, t, kind, whole)
                stored += int(whole.sum()) if kind == "m" else 0
            states = {state: registers[value] for state, value in after.items()}
        for inst in initial:
            whole = np.broadcast_to(states[inst.dst], (o.rows, o.cols))
            streams.store(inst.imm, 0, inst.op.result, whole)
    elements = o.steps * o.rows * o.cols
    return Activity(elements, elements, stored)


def _value(c: Call, streams: Streams, inst: MicroInst, args: list[Lane], t: int) -> Lane:
    """Return what one micro-operation gives at a step."""
    op, imm, o = inst.op, inst.imm, c.operands
    assert op.meaning is not None
    value: Lane
    match op.source:
        case "":
            value = op.meaning(*args)
        case "immediate":
            value = op.meaning(imm, *args)
        case "counter":
            value = op.meaning(streams.counter(imm, t), o.seed & WRAP)
        case _:
            n = 1 if op.per_row else o.cols
            value = op.meaning(streams.load(imm, t, op.source, n))
    return value

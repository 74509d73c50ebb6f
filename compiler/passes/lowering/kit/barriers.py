"""Barriers: messages of no bytes between cores."""

from __future__ import annotations

from snncc.compiler.passes.lowering.kit.instructions import InstructionWriter
from snncc.compiler.passes.lowering.kit.scalars import CORE, between, compute

BARRIER_TAG = 0
ARITY = 4
"""Of how many others a core hears at a barrier."""


def write_barrier(writer: InstructionWriter, cores: int) -> None:
    """Write a barrier: arrivals climb a tree, the root releases all.

    A core hears of few others, so that its messages fit the network unit's queue and the
    sequencer can go on issuing what needs not wait.
    """
    below = compute("add", compute("mul", CORE, ARITY), 1)
    others = between(CORE, 0, 1)
    mask = (1 << cores) - 2
    writer.registers.locked.clear()
    for i in range(min(ARITY, cores - 1)):
        child = compute("add", below, i)
        there = writer.kept(between(compute("sub", cores, child), 0, 1))
        register = writer.kept(child)
        with writer.loop(there):
            _message(writer, "recv", core=register, dst=0)
    parent = writer.kept(compute("div", compute("sub", CORE, 1), ARITY))
    with writer.loop(writer.kept(others)):
        _message(writer, "send", core=parent, src=0)
        _message(writer, "recv", core=0, dst=0)
    all_others = writer.kept(mask if mask < 1 << 63 else mask - (1 << 64))
    with writer.loop(writer.kept(compute("sub", 1, others))):
        _message(writer, "mcast", mask=all_others, src=0)


def _message(writer: InstructionWriter, mnemonic: str, **operands: int) -> None:
    """Write a token to or from a core."""
    writer.emit(mnemonic, tag=BARRIER_TAG, bytes=0, **operands)

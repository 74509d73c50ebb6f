"""Microprograms made ready for execution: checked once, with what every engine wants to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from snncc.isa.microprograms.code import MicroError, is_load, is_state, is_store, validate
from snncc.isa.microprograms.table import MicroInst, MicroProgram
from snncc.isasim.faults import Trap

__all__ = ["ELEMENT_BYTES", "LaneProgram", "Use", "prepare"]

ELEMENT_BYTES = {"h": 2, "f": 4}


class Use(NamedTuple):
    """One access of a microprogram to memory.

    ``slot``: position of the stream in :attr:`LaneProgram.streams`; ``element``: ``h`` (2 bytes),
    ``f`` (4 bytes) or ``m`` (packed spikes); ``per_row``: one value per row instead of one per
    element; ``state``: read at the first and written after the last step, without step distance.
    """

    slot: int
    element: str
    reads: bool
    writes: bool
    per_row: bool
    state: bool


@dataclass(frozen=True, eq=False)
class LaneProgram:
    """A checked microprogram.

    ``streams``: the numbers of the streams it uses, ascending; captured descriptors come in this
    order.  ``uses``: its memory accesses in program order.  ``nexts``: state register to value
    register.  ``states``: the ``state`` operations.  ``widths``: pairs of a slot and what a row of
    its stream consists of: elements h, f, m, ``counter`` (iota, rand) or ``row`` (one value).
    ``scratch``: an engine's own translation.
    """

    name: str
    code: tuple[MicroInst, ...]
    streams: tuple[int, ...]
    uses: tuple[Use, ...]
    nexts: dict[int, int]
    states: tuple[MicroInst, ...]
    widths: tuple[tuple[int, str], ...]
    scratch: dict[str, object] = field(default_factory=dict[str, object], repr=False)

    def slot(self, stream: int) -> int:
        """Return the position of a stream among the captured descriptors."""
        return self.streams.index(stream)


def element(inst: MicroInst) -> str:
    """Return what a load, store or state moves: h, f or m."""
    kind = inst.op.name.split(".")[-1]
    return "f" if kind in ("acc", "i") else kind


def prepare(program: MicroProgram) -> LaneProgram:
    """Check a microprogram and return its prepared form; a bad one is a ``microprogram`` trap."""
    try:
        validate(program)
    except MicroError as error:
        place = f"[{error.index}]" if error.index >= 0 else ""
        raise Trap("microprogram", f"{program.name}{place}: {error}") from error
    code = program.code
    streams = tuple(sorted({inst.imm for inst in code if inst.op.imm == "stream"}))
    uses = [
        Use(
            streams.index(inst.imm),
            element(inst),
            not is_store(inst.op),
            not is_load(inst.op),
            ".row." in inst.op.name,
            is_state(inst.op),
        )
        for inst in code
        if is_load(inst.op) or is_store(inst.op) or is_state(inst.op)
    ]
    nexts = {inst.args[0]: inst.args[1] for inst in code if inst.op.name == "next"}
    states = tuple(inst for inst in code if is_state(inst.op))
    widths = {(use.slot, "row" if use.per_row else use.element) for use in uses}
    widths |= {(streams.index(i.imm), "counter") for i in code if i.op.name in ("iota", "rand")}
    return LaneProgram(
        program.name, code, streams, tuple(uses), nexts, states, tuple(sorted(widths))
    )

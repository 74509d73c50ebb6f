"""Microprograms made ready for execution: checked once, with what every engine wants to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from snncc.isa.micro import MicroInst, MicroProgram
from snncc.isa.spec import STREAMS
from snncc.isa.tables import UNARY_NAMES
from snncc.isasim.engines.traps import Trap

__all__ = ["ELEMENT_BYTES", "LaneProgram", "Use", "prepare"]


class Use(NamedTuple):
    """One access of a microprogram to memory through a stream.

    ``element``: ``h`` (2 bytes), ``f`` (4 bytes) or ``m`` (packed spikes); ``per_row``: one value
    per row instead of one per element; ``state``: read at the first and written after the last
    step, without a step distance.
    """

    stream: int
    element: str
    reads: bool
    writes: bool
    per_row: bool = False
    state: bool = False


ELEMENT_BYTES = {"h": 2, "f": 4}

_LOADS = {
    "ld.h": ("h", False),
    "ld.f": ("f", False),
    "ld.acc": ("f", False),
    "ld.m": ("m", False),
    "ld.row.h": ("h", True),
    "ld.row.f": ("f", True),
    "ld.row.i": ("f", True),
}
_STORES = {"st.h": "h", "st.f": "f", "st.m": "m"}
_STATES = {"state.h": "h", "state.f": "f", "state.m": "m"}


@dataclass(frozen=True, eq=False)
class LaneProgram:
    """A checked microprogram.

    ``uses``: its memory accesses in program order; ``nexts``: state register to value register;
    ``counters``: streams that only number elements (iota, rand); ``scratch`` is where an engine
    keeps its own translation.
    """

    name: str
    code: tuple[MicroInst, ...]
    uses: tuple[Use, ...]
    counters: tuple[int, ...]
    nexts: dict[int, int]
    kinds: dict[int, str]
    scratch: dict[str, object] = field(default_factory=dict[str, object], repr=False)


def _use(inst: MicroInst) -> Use | None:
    name = inst.op.name
    if name in _LOADS:
        element, per_row = _LOADS[name]
        return Use(inst.imm, element, True, False, per_row)
    if name in _STORES:
        return Use(inst.imm, _STORES[name], False, True)
    if name in _STATES:
        return Use(inst.imm, _STATES[name], True, True, state=True)
    return None


def _accepts(letter: str, kind: str) -> bool:
    return letter == kind or (letter == "n" and kind in "hf") or letter in "sx"


def prepare(program: MicroProgram) -> LaneProgram:
    """Check a microprogram and return its prepared form; raise Trap("microprogram") if it is bad.

    Every register must be assigned once and before it is used, kinds must fit, and each state has
    at most one ``next``, of its own kind.
    """
    kinds: dict[int, str] = {}
    states: set[int] = set()
    nexts: dict[int, int] = {}
    uses: list[Use] = []
    counters: list[int] = []
    for place, inst in enumerate(program.code):

        def bad(why: str, place: int = place, inst: MicroInst = inst) -> Trap:
            return Trap("microprogram", f"{program.name}[{place}] {inst.op.name}: {why}")

        op = inst.op
        if len(inst.args) != len(op.args):
            raise bad(f"takes {len(op.args)} operands, has {len(inst.args)}")
        for letter, arg in zip(op.args, inst.args, strict=True):
            if arg not in kinds:
                raise bad(f"register {arg} is used before it is set")
            if not _accepts(letter, kinds[arg]):
                raise bad(f"register {arg} has kind {kinds[arg]}, not {letter}")
        if op.name == "next":
            state, value = inst.args
            if state not in states:
                raise bad(f"register {state} is not a state")
            if state in nexts:
                raise bad(f"state {state} has two next values")
            if kinds[state] != kinds[value]:
                raise bad(f"state of kind {kinds[state]} cannot take kind {kinds[value]}")
            nexts[state] = value
        if op.imm == "stream" and not 0 <= inst.imm < STREAMS:
            raise bad(f"there is no stream {inst.imm}")
        if op.imm == "table" and not 0 <= inst.imm < len(UNARY_NAMES):
            raise bad(f"there is no table {inst.imm}")
        use = _use(inst)
        if use is not None:
            uses.append(use)
        elif op.imm == "stream":
            counters.append(inst.imm)
        if op.result != "-":
            if inst.dst in kinds:
                raise bad(f"register {inst.dst} is set twice")
            kinds[inst.dst] = op.result
            if use is not None and use.state:
                states.add(inst.dst)
    return LaneProgram(
        program.name, program.code, tuple(uses), tuple(counters), nexts, kinds
    )

"""Random instructions and microprograms for property tests."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from snncc.isa.instructions.table import TABLE
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.random_programs.instructions import bounds, random_micro
from snncc.isa.spec import Inst

rows = st.sampled_from(TABLE)

INPUTS = ["ld.h", "ld.f", "ld.acc", "ld.m", "ld.row.h", "ld.row.f", "ld.row.i", "rand", "iota"]


@st.composite
def insts(draw: st.DrawFn) -> Inst:
    """Instructions with any values that their fields hold."""
    row = draw(rows)
    return Inst(row, tuple(draw(st.integers(*bounds(f.kind))) for f in row.operands))


@st.composite
def microprograms(draw: st.DrawFn) -> MicroProgram:
    """Valid microprograms."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    inputs = draw(st.lists(st.sampled_from(INPUTS), max_size=6))
    states = draw(st.lists(st.sampled_from(["state.h", "state.f", "state.m"]), max_size=3))
    outputs = draw(st.lists(st.sampled_from(["st.h", "st.f", "st.m"]), max_size=4))
    return random_micro(rng, "p", inputs, states, outputs, draw(st.integers(0, 30)))

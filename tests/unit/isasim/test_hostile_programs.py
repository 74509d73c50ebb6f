"""Random instructions with random operands: they stop in one of the four ways, never otherwise."""

import random
from collections import Counter

import pytest

from snncc.isa.instructions.encoding import make
from snncc.isa.microprograms.code import MicroBuilder
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.random_programs.instructions import random_inst
from snncc.isa.spec import Inst
from snncc.isasim.faults import TRAP_KINDS
from snncc.isasim.system import RunOptions, System
from unit.isasim.programs import HALT, program

VALUES = (0, 1, 2, 3, 4, 8, 16, 64, 100, 300, -1, -16, 1 << 40, -(1 << 62))


def micro() -> list[MicroProgram]:
    b = MicroBuilder("copy")
    b.emit("st.h", [b.emit("ld.h", imm=1)], imm=2)
    return [b.build()]


def hostile(seed: int) -> dict[int, list[Inst]]:
    rng = random.Random(seed)
    codes: dict[int, list[Inst]] = {}
    for core in range(rng.randint(1, 4)):
        code = [
            make("li", rd=r, imm=rng.choice(VALUES) if rng.random() < 0.7 else rng.randrange(256))
            for r in range(1, 64)
        ]
        for _ in range(rng.randint(1, 30)):
            inst = random_inst(rng)
            values = list(inst.values)
            for i, operand in enumerate(inst.insn.operands):
                if operand.name == "prog":
                    values[i] = 0
                elif operand.name == "end":
                    values[i] = len(code) + rng.randint(1, 6)
                elif operand.name == "count" and operand.kind.name == "trip count":
                    values[i] = rng.randint(0, 50)
            code.append(Inst(inst.insn, tuple(values)))
        codes[core] = [*code, HALT]
    return codes


@pytest.mark.parametrize("start", [0, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_run_stops_properly(start: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(start, start + (60 if start < 10_000 else 5000)):
        file = program(hostile(seed), micro=micro())
        rng = random.Random(seed)
        reports: list[str] = []
        for timing in (True, False):
            options = RunOptions(
                engine="reference", timing=timing, strict_init=rng.random() < 0.3,
                check_races=rng.random() < 0.3, max_instructions=5000,
            )  # fmt: skip
            result = System(file, options).run()
            seen[result.fault.kind if result.fault else "halt"] += 1
            assert result.stats["instructions"] >= 0
            reports.append(str(result.fault))
        assert all(reports)
    assert set(seen) <= {*TRAP_KINDS, "halt", "limit", "deadlock"}
    assert len(seen) > 4

"""Random programs have windows of every kind that convolutions use."""

from __future__ import annotations

from snncc.isa.machine.machine import load_machine
from snncc.isa.random_programs.programs import random_program


def test_strides_padding_and_dilation_occur() -> None:
    seen: set[tuple[str, int]] = set()
    uneven = False
    for seed in range(12):
        for core in random_program(seed, load_machine("small"), windows=True).cores:
            for inst in core.code:
                if inst.insn.mnemonic == "winmap":
                    uneven |= inst["step_h"] != inst["step_w"]
                    for operand, value in zip(inst.insn.operands, inst.values, strict=True):
                        seen.add((operand.name, value))
    for name in ("mul_h", "mul_w", "step_h", "step_w"):
        assert {(name, 1), (name, 2)} <= seen, name
    assert {("base_h", 0), ("base_h", -1)} <= seen
    assert uneven

"""Texts and modules that are refused, word by word."""

from __future__ import annotations

import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.ir.core import Attribute, Block, Func, Module, op, tensor
from snncc.compiler.ir.verify import verify


def test_a_barrier_has_no_operands() -> None:
    body = Block()
    x = body.append(op("tile.dram", [], [tensor((2,))], {"name": "x", "role": "temp"})).result
    body.append(op("tile.barrier", [x]))
    body.append(op("tile.return"))
    attrs: dict[str, Attribute] = {"stage": "mapped", "steps": 1, "batch": 1, "cores": 1}
    with pytest.raises(CompileError, match=r"tile\.barrier.*operand"):
        verify(Module("m", attrs, {}, {"step": Func("step", body)}))

"""Texts and modules that are refused, word by word."""

from __future__ import annotations

import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.ir.core import Attribute, Block, Func, Module, op, tensor
from snncc.compiler.ir.parser import parse_module
from snncc.compiler.ir.verify import verify


@pytest.mark.parametrize(("size", "shown"), [(40, "x" * 40), (41, "x" * 40 + "...")])
def test_a_long_word_in_the_wrong_place_is_cut(size: int, shown: str) -> None:
    with pytest.raises(CompileError) as caught:
        parse_module("x" * size, "m.snnir")
    assert f"found {shown}\n" in f"{caught.value.diagnostics[0].message}\n"


def test_a_reduction_names_its_axes() -> None:
    body = Block()
    x = body.add_arg(tensor((2, 3)), "x")
    body.append(op("graph.reduce", [x], [tensor((2,))], {"kind": "sum"}))
    with pytest.raises(CompileError, match="axes"):
        verify(Module("m", {"stage": "graph"}, {}, {"main": Func("main", body)}))


def test_a_barrier_has_no_operands() -> None:
    body = Block()
    x = body.append(op("tile.dram", [], [tensor((2,))], {"name": "x", "role": "temp"})).result
    body.append(op("tile.barrier", [x]))
    body.append(op("tile.return"))
    attrs: dict[str, Attribute] = {"stage": "mapped", "steps": 1, "batch": 1, "cores": 1}
    with pytest.raises(CompileError, match=r"tile\.barrier.*operand"):
        verify(Module("m", attrs, {}, {"step": Func("step", body)}))

"""What a text declares is found in its import, and nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.dsl.parse import parse
from snncc.compiler.frontend.import_dsl import import_program
from snncc.compiler.ir.core import op
from snncc.compiler.validate.dsl.check import check_dsl

TEXT = "input(4, steps=3) d1 = dense(5) lif d2 = dense(2)"


def test_a_parameter_that_the_file_does_not_have() -> None:
    program = parse(TEXT, "net.snn")
    module, _ = import_program(program, Path("net.snn"))
    check_dsl(module, program, lambda batch, steps: module)
    body = module.func("main").body
    old = next(each for each in body.ops if each.name == "graph.param")
    attrs = {**old.attrs, "name": "another"}
    body.ops.insert(0, op("graph.param", [], [old.result.type], attrs, loc=old.loc))
    with pytest.raises(CompileError, match="the import has a parameter 'another'"):
        check_dsl(module, program, lambda batch, steps: module)

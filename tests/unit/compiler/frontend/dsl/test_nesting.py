"""Deep nesting and long networks: refused in one line, or imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.import_dsl import import_dsl

START = "network n\ninput(8, steps=2)\n"
NESTED = {
    "blocks": ("residual { ", "dense(8) lif ", "} "),
    "lists": ("train { x = ", "1", " }"),
    "arguments": ("dense(", "1", ")"),
    "brackets": ("[", "1", "]"),
}


def text(kind: str, depth: int) -> str:
    opening, inside, closing = NESTED[kind]
    if kind == "brackets":
        return f"train {{ x = {'[' * depth}1{']' * depth} }}"
    if kind == "lists":
        return f"train {{ x = {'f(a=' * depth}1{')' * depth} }}"
    return opening * depth + inside + closing * depth


@pytest.mark.parametrize("depth", [60, 500, 5000])
@pytest.mark.parametrize("kind", NESTED)
def test_too_deep(tmp_path: Path, kind: str, depth: int) -> None:
    path = tmp_path / "net.snn"
    path.write_text(START + text(kind, depth))
    with pytest.raises(CompileError, match=r"E0120.*nested too deeply") as caught:
        import_dsl(path)
    assert len(caught.value.diagnostics) == 1
    assert str(caught.value).count("\n") < 6


def test_nesting_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.snn"
    path.write_text(START + text("blocks", 30))
    module = import_dsl(path)[0]
    assert sum(op.name == "graph.add" for op in module.walk()) == 30


def test_many_residual_blocks(tmp_path: Path) -> None:
    path = tmp_path / "net.snn"
    path.write_text(START + "residual { dense(8) lif }\n" * 500)
    module = import_dsl(path)[0]
    assert sum(op.name == "graph.neuron" for op in module.walk()) == 500


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "net.snn"
    path.write_text("#" * (3 << 20))
    with pytest.raises(CompileError, match="E0120"):
        import_dsl(path)

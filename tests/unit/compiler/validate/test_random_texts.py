"""Random .snn networks and NIR graphs are compared with their imports without a false alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from random_nir import DT, random_nir
from random_texts import random_text
from snncc.compiler.diag import CompileError, DiagnosticSink
from snncc.compiler.frontend.dsl.parse import parse
from snncc.compiler.frontend.import_dsl import import_program
from snncc.compiler.frontend.import_nir import import_graph
from snncc.compiler.ir.core import Module
from snncc.compiler.validate.compare import Report
from snncc.compiler.validate.dsl.check import check_dsl
from snncc.compiler.validate.nir.check import check_nir

FULL = Report(smooth=2, hard=2)


def compared_text(seed: int) -> Report:
    path = Path("net.snn")
    program = parse(random_text(seed), str(path))

    def build(batch: int | None = None, steps: int | None = None) -> Module:
        return import_program(program, path, batch=batch, steps=steps)[0]

    return check_dsl(build(), program, build)


def compared_graph(seed: int) -> Report | None:
    """Compare a graph; None where its import is refused."""
    graph, path = random_nir(seed), Path("net.nir")

    def build(batch: int, steps: int) -> Module:
        sink = DiagnosticSink()
        return import_graph(graph, "1.0", path, batch=batch, steps=steps, dt=DT, sink=sink)

    try:
        module = build(2, 5)
    except CompileError:
        return None
    return check_nir(module, str(path), graph, build, DT)


@pytest.mark.parametrize("seed", range(15))
def test_some_networks(seed: int) -> None:
    assert compared_text(seed) == FULL


@pytest.mark.parametrize("seed", [*range(15), 1155])  # 1155: a threshold feeds another one
def test_some_graphs(seed: int) -> None:
    assert compared_graph(seed) == FULL


@pytest.mark.slow
def test_many_networks() -> None:
    assert [compared_text(seed) for seed in range(1000, 1200)] == [FULL] * 200


@pytest.mark.slow
def test_many_graphs() -> None:
    found = [compared_graph(seed) for seed in range(1000, 1200)]
    assert found.count(FULL) >= 190
    assert found.count(FULL) + found.count(None) == 200

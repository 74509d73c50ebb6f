"""Operands and results of every op are those that docs/design/ir.md lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snncc.compiler.ir import dialect_core, dialect_ew, dialect_graph, dialect_phase, dialect_tile
from snncc.compiler.ir.opdef import REGISTRY, Count

ROOT = Path(__file__).resolve().parents[4]
TEXT = (ROOT / "docs" / "design" / "ir.md").read_text(encoding="utf-8")
assert all((dialect_core, dialect_ew, dialect_graph, dialect_phase, dialect_tile))


def counted(text: str) -> Count:
    """Count ``x, w[, b]`` as 2 or 3, ``x..`` as 1 or more."""
    text = text.split("->")[0]
    always = [word for word in re.sub(r"\[[^\]]*\]", "", text).split(",") if word.strip()]
    options = [word for part in re.findall(r"\[([^\]]*)\]", text) for word in part.split(",")]
    open_ended = ".." in text
    return len(always), None if open_ended else len(always) + len([o for o in options if o.strip()])


def graph_rows() -> dict[str, tuple[str, str]]:
    """Return operands and results by op, from the table of the graph stage."""
    table = TEXT.partition("| op | operands -> results |")[2].partition("\n\n")[0]
    found: dict[str, tuple[str, str]] = {}
    for row in table.splitlines()[2:]:
        names, both, *_ = row.strip("|").split(" | ")
        operands, _, results = both.partition("->")
        shapes = re.compile(r"\[(?!,)[^\]]*,[^\]]*\]")  # x[B,C,spatial]; not [, b]
        for name in re.split("[,;]", names):
            found[name.strip()] = (shapes.sub("", operands), results.strip())
    return found


GRAPH = graph_rows()
OPTIONAL = {"delay": (0, 1), "neuron": (1, None)}  # written as `[init]` and `[, constants]`


def test_the_table_lists_every_op_of_the_graph() -> None:
    assert {f"graph.{name}" for name in GRAPH} == {n for n in REGISTRY if n.startswith("graph.")}


@pytest.mark.parametrize("name", GRAPH)
def test_operands_of_the_graph(name: str) -> None:
    operands, results = GRAPH[name]
    found = REGISTRY[f"graph.{name}"]
    assert found.operands == OPTIONAL.get(name, counted(operands.replace("(bits)", "")))
    wanted = len([r for r in results.split(",") if r.strip()])
    if name == "neuron":
        assert found.results == (1, 2)  # a leaky integrator has its membrane only
    else:
        assert found.results == (wanted, wanted)


def test_operands_of_the_phases() -> None:
    """Each is written as a call: ``phase.pool_dx(g[, x, y])``."""
    table = TEXT.partition("| op | meaning |")[2].partition("\n\n")[0]
    calls = re.findall(r"phase\.(\w+)\(([^)]*)\)", table)
    assert len(calls) > 15
    for name, operands in calls:
        if name not in ("scan", "map"):
            assert REGISTRY[f"phase.{name}"].operands == counted(operands), name
    structural = TEXT.partition("exist under the same names")[2].partition("everything element")[0]
    same = re.findall(r"phase\.(\w+)`", structural)
    assert len(same) > 12
    for name in same:
        graph, phase = REGISTRY[f"graph.{name}"], REGISTRY[f"phase.{name}"]
        assert (phase.operands, phase.results) == (graph.operands, graph.results), name


def test_results_of_the_phases() -> None:
    two = ("argmax_time", "bn_stats", "bn_sums", "softmax_ce")
    none = ("store", "output", "yield", "seed")
    for name, found in REGISTRY.items():
        dialect, _, op = name.partition(".")
        if dialect == "phase" and op not in ("map", "scan"):
            wanted = 2 if op in two else 0 if op in none else 1
            assert found.results == (wanted, wanted), name


ELEMENTWISE = {
    0: "const rand iota",
    1: "abs cast expand floor neg not sqrt srnd stop_gradient table trunc",
    2: "add sub mul div min max and or eq ge gt le lt spike",
    3: "select",
}


def test_elementwise_operands() -> None:
    wanted = {f"ew.{op}": n for n, ops in ELEMENTWISE.items() for op in ops.split()}
    assert wanted.keys() == {n for n in REGISTRY if n.startswith("ew.")}
    for name, count in wanted.items():
        assert REGISTRY[name].operands == (count, count), name
        assert REGISTRY[name].results == (1, 1), name


def test_tasks_and_instructions_yield_no_values() -> None:
    """Only memory is a value there; control has no operands either."""
    for name, found in REGISTRY.items():
        dialect, _, op = name.partition(".")
        if dialect in ("tile", "core"):
            wanted = 1 if name in ("tile.dram", "tile.sram") else 0
            assert found.results == (wanted, wanted), name
        control = op in ("barrier", "loop", "parallel", "return", "steps", "task", "dram", "sram")
        if dialect == "core" or (dialect == "tile" and control):
            assert found.operands == (0, 0), name

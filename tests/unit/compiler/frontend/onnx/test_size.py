"""Long, wide and deep files: the work of an import grows with the number of nodes, no faster."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnx_models import Graph, load
from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.onnx import build as onnx_build
from snncc.compiler.frontend.time.merge_nodes import stable_classes
from work import growth

SHAPE = [4, 8]


def relus(g: Graph, n: int, x: str = "x") -> str:
    for _ in range(n):
        x = g.op("Relu", x)
    return x


def residuals(g: Graph, n: int) -> str:
    x = "x"
    for _ in range(n):
        x = g.op("Add", x, g.op("Tanh", x))
    return x


def layers(g: Graph, n: int) -> str:
    x = "x"
    for i in range(n):
        weight = np.full((8, 8), i, np.float32)
        x = g.op("Relu", g.op("Add", g.op("MatMul", x, g.const(weight)), g.const(np.ones(8))))
    return x


def branches(g: Graph, n: int) -> str:
    parts = [g.op("MatMul", "x", g.const(np.full((8, 1), i, np.float32))) for i in range(n)]
    return g.op("Concat", *parts, axis=1)


def views(g: Graph, n: int) -> str:
    x, shapes = "x", [g.const(np.array(s, np.int64)) for s in ([8, 4], [4, 1, 8], [4, 8])]
    for i in range(n):
        x = g.op("Relu", g.op("Reshape", x, shapes[i % 3]))
    return x


def spiking(g: Graph, n: int, steps: int = 3) -> str:
    """``n`` layers of leaky neurons, ``steps`` steps unrolled."""
    beta, theta, zero = g.const(0.9), g.const(1.0), g.const(np.array([0], np.int64))
    weights = [g.const(np.full((8, 8), i, np.float32)) for i in range(n)]
    held, last = [""] * n, list[str]()
    for _ in range(steps):
        x = "x"
        for i in range(n):
            h = g.op("MatMul", x, weights[i])
            h = g.op("Add", g.op("Mul", held[i], beta), h) if held[i] else h
            x = g.op("Cast", g.op("Greater", h, theta), to=1)
            held[i] = g.op("Sub", h, g.op("Mul", x, theta))
        last.append(g.op("Unsqueeze", x, zero))
    return g.op("Concat", *last, axis=0)


def importing(folder: Path, make: Callable[[Graph, int], str]) -> Callable[[int], Any]:
    def of_size(n: int) -> Callable[[], object]:
        g = Graph()
        g.op("Identity", make(g, n), out="y")
        path = g.save(folder / f"{n}.onnx", {"x": SHAPE}, {"y": SHAPE})
        return lambda: load(path)

    return of_size


@pytest.mark.parametrize("make", [relus, residuals, layers, branches, views, spiking])
def test_work_grows_with_the_nodes(tmp_path: Path, make: Callable[[Graph, int], str]) -> None:
    assert growth(importing(tmp_path, make), 15 if make is spiking else 60) < 2.5


def test_nodes_in_reverse_order(tmp_path: Path) -> None:
    def of_size(n: int) -> Callable[[], object]:
        g = Graph()
        g.op("Identity", relus(g, n), out="y")
        g.nodes.reverse()
        path = g.save(tmp_path / f"{n}.onnx", {"x": SHAPE}, {"y": SHAPE})
        return lambda: load(path)

    assert growth(of_size, 60) < 2.5
    assert sum(op.name == "graph.relu" for op in load(tmp_path / "120.onnx").walk()) == 120


def test_states_of_a_step_graph(tmp_path: Path) -> None:
    def of_size(n: int) -> Callable[[], object]:
        g = Graph()
        for i in range(n):
            g.op("Add", g.op("Mul", f"s{i}", g.const(0.5)), "x" if i == 0 else f"o{i - 1}",
                 out=f"o{i}")  # fmt: skip
        names = [*(f"s{i}" for i in range(n))]
        outs = {f"o{i}": SHAPE for i in range(n)}
        path = g.save(tmp_path / f"{n}.onnx", {"x": SHAPE, **dict.fromkeys(names, SHAPE)}, outs)
        return lambda: load(path)

    assert growth(of_size, 20) < 3


# ------------------------------------------------------------------------------------ functions
def functions(path: Path, calls: dict[str, list[str]], root: str) -> Path:
    """Write a file whose functions call one another in a row; a leaf is a Relu."""
    made: list[onnx.FunctionProto] = []
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]
    for name, called in calls.items():
        nodes: list[onnx.NodeProto] = []
        for i, other in enumerate(called):
            domain = "d" if other in calls else ""
            out = "y" if i == len(called) - 1 else f"t{i}"
            nodes.append(
                helper.make_node(
                    other, ["x" if i == 0 else f"t{i - 1}"], [out], f"c{i}", domain=domain
                )
            )
        made.append(helper.make_function("d", name, ["x"], ["y"], nodes, opsets))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(root, ["x"], ["y"], "root", domain="d")], "g",
        [info("x", 1, SHAPE)], [info("y", 1, SHAPE)],
    )  # fmt: skip
    model = helper.make_model(graph, functions=made, opset_imports=opsets, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def doubled(n: int) -> dict[str, list[str]]:
    return {"F0": ["Relu"], **{f"F{i}": [f"F{i - 1}"] * 2 for i in range(1, n + 1)}}


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(CompileError) as caught:
        load(path)
    (said,) = caught.value.diagnostics
    return said.code, said.message


@pytest.mark.parametrize("depth", [2, 41, 300, 500])
def test_a_chain_of_calls_that_ends_is_not_recursive(tmp_path: Path, depth: int) -> None:
    chain = {"F0": ["Tanh"], **{f"F{i}": [f"F{i - 1}"] for i in range(1, depth)}}
    module = load(functions(tmp_path / "m.onnx", chain, f"F{depth - 1}"))
    (op,) = (op for op in module.walk() if op.name == "graph.unary")
    assert op.str_attr("fn") == "tanh"


def test_calls_too_deep(tmp_path: Path) -> None:
    chain = {"F0": ["Tanh"], **{f"F{i}": [f"F{i - 1}"] for i in range(1, 5000)}}
    code, message = refusal(functions(tmp_path / "m.onnx", chain, "F4999"))
    assert code == "E0109"
    assert "nested" in message


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    ring = {"A": ["B", "Relu"], "B": ["C"], "C": ["Relu", "A"]}
    code, message = refusal(functions(tmp_path / "m.onnx", ring, "A"))
    assert code == "E0106"
    assert "d::A -> d::B -> d::C -> d::A" in message


def test_doubled_calls(tmp_path: Path) -> None:
    def of_size(n: int) -> Callable[[], object]:
        path = functions(tmp_path / f"{n}.onnx", doubled(n.bit_length()), f"F{n.bit_length()}")
        return lambda: load(path)

    assert growth(of_size, 32) < 2.5


@pytest.mark.parametrize("n", [19, 40, 400])
def test_too_many_nodes_are_refused_before_they_are_made(tmp_path: Path, n: int) -> None:
    code, message = refusal(functions(tmp_path / "m.onnx", doubled(n), f"F{n}"))
    assert code == "E0109"
    assert str(onnx_build.MAX_NODES) in message


def test_work_without_nodes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop whose body folds to nothing makes no node; reading it again and again ends."""
    monkeypatch.setattr(onnx_build, "MAX_NODES", 500)
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["a"], ["b"])],
        "body",
        [onnx.ValueInfoProto(name=n) for n in ("i", "c", "a")],
        [onnx.ValueInfoProto(name=n) for n in ("d", "b")],
    )
    g = Graph()
    trips, go = g.const(np.array(1000, np.int64)), g.const(np.array(True))
    g.op("Loop", trips, go, "x", out="y", body=body)
    path = g.save(tmp_path / "m.onnx", {"x": SHAPE}, {"y": SHAPE})
    assert refusal(path)[0] == "E0109"


# -------------------------------------------------------------------------------------- merging
def coarsest(colours: list[int], operands: list[list[int]]) -> list[int]:
    """The definition: split until equals have equal operands."""
    while True:
        keys = [(c, *(colours[j] for j in row)) for c, row in zip(colours, operands, strict=True)]
        names = {k: i for i, k in enumerate(dict.fromkeys(keys))}
        new = [names[k] for k in keys]
        if len(set(new)) == len(set(colours)):
            return new
        colours = new


@pytest.mark.parametrize("seed", range(60))
def test_classes_are_the_coarsest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    arity = [int(rng.integers(0, 3)) for _ in range(n)]
    operands = [[int(rng.integers(0, n)) for _ in range(k)] for k in arity]
    colours = [k * 3 + int(rng.integers(0, 2)) for k in arity]
    names = {c: i for i, c in enumerate(dict.fromkeys(colours))}
    colours = [names[c] for c in colours]
    found, want = stable_classes(colours, operands), coarsest(colours, operands)
    for i, j in product(range(n), repeat=2):
        assert (found[i] == found[j]) == (want[i] == want[j])


@pytest.mark.parametrize(("calls", "code"), [(1, ""), (2, ""), (3, "E0109")])
def test_graphs_within_graphs(calls: int, code: str, tmp_path: Path) -> None:
    """A file holds some thirty graphs within each other; functions that call each other, more.

    Twenty branches in each function, decided at import time; the innermost calls the next one.
    """
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("my.lab", 1)]
    made: list[onnx.FunctionProto] = []
    same = helper.make_node("Identity", ["x"], ["y"])
    inner = helper.make_node("Relu", ["x"], ["y"])
    for call in range(calls):
        for _ in range(20):
            inner = helper.make_node(
                "If", ["yes"], ["y"], then_branch=graph_of(inner), else_branch=graph_of(same)
            )
        yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
        nodes = [helper.make_node("Constant", [], ["yes"], value=yes), inner]
        made.append(helper.make_function("my.lab", f"F{call}", ["x"], ["y"], nodes, opset))
        inner = helper.make_node(f"F{call}", ["x"], ["y"], domain="my.lab")
    graph = graph_of(inner)
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4]))
    path = tmp_path / "m.onnx"
    model = helper.make_model(graph, functions=made, opset_imports=opset)
    path.write_bytes(model.SerializeToString())
    if not code:
        assert [op.name for op in load(path, steps=1).walk()] == ["graph.relu", "graph.output"]
        return
    with pytest.raises(CompileError, match="graphs are nested too deeply") as caught:
        load(path, steps=1)
    assert [d.code for d in caught.value.diagnostics] == [code]


def graph_of(node: onnx.NodeProto) -> onnx.GraphProto:
    """A graph of one node, which gives y."""
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])]
    return helper.make_graph([node], "g", [], out)

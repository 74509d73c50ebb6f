"""Steps that cannot be taken apart, time axes that are not what was said: one clear error each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnx_models import Graph, agree, load, run_file, run_module
from snncc.compiler.diag import CompileError, DiagnosticSink
from snncc.compiler.frontend.import_onnx import import_onnx

STEPS, BATCH, WIDTH = 4, 3, 5
SHAPE = [STEPS, BATCH, WIDTH]


def index(*values: int) -> Any:
    return np.array(values, np.int64)


def at(g: Graph, base: str, step: int, axis: int = 0) -> str:
    """One step of a sequence."""
    return g.op("Gather", base, g.const(np.array(step, np.int64)), axis=axis)


def joined(g: Graph, rows: list[str], out: str = "y") -> None:
    axes = g.const(index(0))
    g.op("Concat", *[g.op("Unsqueeze", row, axes) for row in rows], out=out, axis=0)


def refused(path: Path, code: str, **options: Any) -> str:
    with pytest.raises(CompileError) as caught:
        load(path, **options)
    assert caught.value.diagnostics[0].code == code, str(caught.value)
    return str(caught.value)


def computes(path: Path, shape: list[int], name: str, axis: int = 0) -> None:
    """The import computes what the file computes."""
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (found,) = run_module(load(path, steps=STEPS, time_axis=axis), x).values()
    np.testing.assert_allclose(found, run_file(path, x)[name], rtol=1e-5, atol=1e-6)


def right_or_refused(path: Path, shape: list[int], name: str, axis: int = 0) -> bool:
    """The import computes that, or says why not; return whether it does."""
    try:
        load(path, steps=STEPS, time_axis=axis)
    except CompileError as error:
        codes = {d.code for d in error.diagnostics}
    else:
        computes(path, shape, name, axis)
        return True
    assert codes <= {"E0104", "E0106", "E0107", "E0108", "E0114"}
    return False


@pytest.mark.parametrize(
    "kinds", [["Tanh", "Tanh", "Tanh", "Relu"], ["Relu", "Tanh", "Abs", "Exp"]]
)
def test_steps_that_differ_are_compiled_one_by_one(tmp_path: Path, kinds: list[str]) -> None:
    g = Graph()
    joined(g, [g.op(kind, at(g, "x", t)) for t, kind in enumerate(kinds)])
    path = g.save(tmp_path / "m.onnx", {"x": SHAPE}, {"y": SHAPE})
    computes(path, SHAPE, "y")
    sink = DiagnosticSink()
    import_onnx(path, steps=STEPS, time_axis=0, sink=sink)
    (said,) = [d for d in sink.diagnostics if d.code == "E0111"]
    assert "each is compiled by itself" in said.message


def test_steps_that_differ_in_a_file_of_another_length(tmp_path: Path) -> None:
    """Five steps are held, four are asked for: which ones is a question to the user."""
    g = Graph()
    kinds = ("Tanh", "Tanh", "Tanh", "Tanh", "Relu")
    joined(g, [g.op(kind, at(g, "x", t)) for t, kind in enumerate(kinds)])
    shape = [5, *SHAPE[1:]]
    path = g.save(tmp_path / "m.onnx", {"x": shape}, {"y": shape})
    text = refused(path, "E0107", steps=4, time_axis=0)
    assert "the last two of 5 steps compute different things (Tanh and Relu)" in text
    assert "timesteps" in text


@pytest.mark.parametrize("first", [0.0, 1.0, -2.0])
def test_another_first_step_is_a_first_state(tmp_path: Path, first: float) -> None:
    """x + 1 at the first step and 0.5*v + x later: v begins as 2; without it, as 0."""
    g = Graph()
    rows: list[str] = []
    state = ""
    for t in range(STEPS):
        x = at(g, "x", t)
        if t == 0:
            state = g.op("Add", x, g.const(first)) if first else x
        else:
            state = g.op("Add", g.op("Mul", state, g.const(0.5)), x)
        rows.append(g.op("Tanh", state))
    joined(g, rows)
    computes(g.save(tmp_path / "m.onnx", {"x": SHAPE}, {"y": SHAPE}), SHAPE, "y")


@pytest.mark.parametrize("spikes", [False, True])
def test_a_first_step_that_no_state_explains(tmp_path: Path, spikes: bool) -> None:
    """x*x + x at the first step: the recurrence is rolled up, and its first value is the file's."""
    g = Graph()
    rows: list[str] = []
    state = ""
    for t in range(STEPS):
        x = at(g, "x", t)
        half = g.op("Mul", state, g.const(0.5)) if state else g.op("Mul", x, x)
        h = g.op("Add", half, x)
        bit = g.op("Cast", g.op("Greater", h, g.const(0.5)), to=TensorProto.FLOAT)
        state = g.op("Sub", h, bit) if spikes else h
        rows.append(bit if spikes else g.op("Tanh", h))
    joined(g, rows)
    path = g.save(tmp_path / "m.onnx", {"x": SHAPE}, {"y": SHAPE})
    computes(path, SHAPE, "y")
    ops = [op.name for op in load(path, steps=STEPS, time_axis=0).walk()]
    assert ops.count("graph.delay") == 1
    assert ops.count("graph.spike") <= 2


def test_a_state_that_starts_from_the_input(tmp_path: Path) -> None:
    """The first membrane is a layer of the first frame."""
    g = Graph()
    w = g.const(np.random.default_rng(2).normal(size=(WIDTH, WIDTH)).astype(np.float32), "w")
    state = g.op("Tanh", g.op("MatMul", at(g, "x", 0), w))
    rows: list[str] = []
    for t in range(STEPS):
        h = g.op("Add", g.op("Mul", state, g.const(0.5)), at(g, "x", t))
        bit = g.op("Cast", g.op("Greater", h, g.const(0.5)), to=TensorProto.FLOAT)
        state = g.op("Sub", h, bit)
        rows.append(bit)
    joined(g, rows)
    computes(g.save(tmp_path / "m.onnx", {"x": SHAPE}, {"y": SHAPE}), SHAPE, "y")


@pytest.mark.parametrize("wrong", [1, 2])
def test_the_time_axis_is_another_one(tmp_path: Path, wrong: int) -> None:
    """All axes have the length of time, so that only the model says which one it is."""
    g = Graph()
    joined(g, [g.op("Tanh", at(g, "x", t)) for t in range(STEPS)])
    path = g.save(tmp_path / "m.onnx", {"x": [4, 4, 4]}, {"y": [4, 4, 4]})
    computes(path, [4, 4, 4], "y")
    text = refused(path, "E0108", steps=4, time_axis=wrong)
    assert "the model uses axis 0" in text
    assert "time_axis = 0" in text


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_time_is_found_on_any_axis(tmp_path: Path, axis: int) -> None:
    g = Graph()
    shape = [BATCH, WIDTH]
    shape.insert(axis, STEPS)
    weight = g.const(np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32), "w")
    rows: list[str] = []
    state = ""
    for t in range(STEPS):
        x = at(g, "x", t, axis)
        x = g.op("MatMul", weight, x)  # batch 3 is mixed: no axis may be mistaken for another
        state = g.op("Add", g.op("Mul", state, g.const(0.5)), x) if state else x
        rows.append(g.op("Tanh", state))
    axes = g.const(index(axis))
    g.op("Concat", *[g.op("Unsqueeze", r, axes) for r in rows], out="y", axis=axis)
    path = g.save(tmp_path / "m.onnx", {"x": shape}, {"y": shape})
    right_or_refused(path, shape, "y", axis)


@pytest.mark.parametrize("late", [1, 2])
def test_inputs_of_earlier_steps(tmp_path: Path, late: int) -> None:
    """A step that also reads the input of one or two steps before, which is zero at first."""
    g = Graph()
    rows: list[str] = []
    zero = g.const(np.zeros((BATCH, WIDTH), np.float32))
    for t in range(STEPS):
        before = at(g, "x", t - late) if t >= late else zero
        rows.append(g.op("Tanh", g.op("Sub", at(g, "x", t), before)))
    joined(g, rows)
    path = g.save(tmp_path / "m.onnx", {"x": SHAPE}, {"y": SHAPE})
    assert right_or_refused(path, SHAPE, "y") or late > 1


def whole_sequence(kind: str) -> tuple[Graph, list[int]]:
    """Ops over the stacked steps; the result is stacked, too."""
    g = Graph()
    if kind == "softmax over time":
        g.op("Softmax", "x", out="y", axis=0)
    elif kind == "sum over time, per step":
        total = g.op("ReduceSum", "x", g.const(index(0)), keepdims=1)
        g.op("Add", "x", total, out="y")
    elif kind == "backwards":
        back = g.op("Slice", "x", g.const(index(-1)), g.const(index(-99)), g.const(index(0)),
                    g.const(index(-1)))  # fmt: skip
        g.op("Add", "x", back, out="y")
    elif kind == "turned":
        front = g.op("Slice", "x", g.const(index(2)), g.const(index(4)), g.const(index(0)))
        rear = g.op("Slice", "x", g.const(index(0)), g.const(index(2)), g.const(index(0)))
        g.op("Concat", front, rear, out="y", axis=0)
    elif kind == "time and features exchanged":
        g.op("Reshape", g.op("Transpose", "x", perm=[2, 1, 0]), g.const(index(*SHAPE)), out="y")
    elif kind == "mixed by a matrix":
        mix = g.const(np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32))
        rows = g.op("MatMul", mix, g.op("Reshape", "x", g.const(index(4, 15))))
        g.op("Reshape", rows, g.const(index(*SHAPE)), out="y")
    else:
        raise AssertionError(f"no such kind: {kind}")
    return g, SHAPE


KINDS = (
    *("softmax over time", "sum over time, per step", "backwards", "turned"),
    *("time and features exchanged", "mixed by a matrix"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_what_mixes_steps_is_right_or_refused(tmp_path: Path, kind: str) -> None:
    """The steps are cut afterwards, so that they are steps."""
    g, shape = whole_sequence(kind)
    state, rows = "", list[str]()
    for t in range(STEPS):
        x = at(g, "y", t)
        state = g.op("Add", g.op("Mul", state, g.const(0.5)), x) if state else x
        rows.append(state)
    joined(g, rows, "z")
    path = g.save(tmp_path / "m.onnx", {"x": shape}, {"z": shape})
    right_or_refused(path, shape, "z")


def test_an_input_at_one_step_only(tmp_path: Path) -> None:
    """Every step but the last takes a step of x; the last one takes another input whole."""
    g = Graph()
    rows = [g.op("Tanh", at(g, "x", t)) for t in range(3)]
    rows.append(g.op("Tanh", "late"))
    joined(g, rows)
    path = g.save(
        tmp_path / "m.onnx", {"x": [3, BATCH, WIDTH], "late": [BATCH, WIDTH]}, {"y": SHAPE}
    )
    refused(path, "E0107", steps=4, time_axis=0)


def test_gates_are_no_steps(tmp_path: Path) -> None:
    """A cell that cuts a product into as many gates as the file has steps."""
    steps, batch, width = 4, 2, 3
    rng = np.random.default_rng(2)
    g = Graph()
    w = g.const(rng.normal(size=(width, 4 * width)).astype(np.float32), "cell.weight")
    r = g.const(rng.normal(size=(width, 4 * width)).astype(np.float32), "cell.recurrent")
    h = c = g.const(np.zeros((batch, width), np.float32), "onnx::Mul_1")
    rows: list[str] = []
    for t in range(steps):
        x = g.op("Gather", "x", g.const(np.array(t)), axis=0)
        total = g.op("Add", g.op("MatMul", x, w), g.op("MatMul", h, r))
        names = [f"gate{k}.{t}" for k in range(4)]
        node = helper.make_node("Split", [total], names, f"/split{t}", axis=1, num_outputs=4)
        g.nodes.append(node)
        i, f, cell, o = names
        c = g.op("Add", g.op("Mul", g.op("Sigmoid", f), c),
                 g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", cell)))  # fmt: skip
        h = g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", c))
        rows.append(g.op("Unsqueeze", h, g.const(np.array([0]))))
    g.op("Concat", *rows, out="out", axis=0)
    shape = [steps, batch, width]
    path = g.save(tmp_path / "m.onnx", {"x": shape}, {"out": shape})
    given = rng.normal(size=shape).astype(np.float32)
    agree(run_module(load(path, steps=steps), given), run_file(path, given))


def test_axes_that_were_attributes(tmp_path: Path) -> None:
    """Before opset 13 Unsqueeze has its axes as an attribute, and one input."""
    g = Graph()
    rows = [g.op("Unsqueeze", at(g, "x", t), axes=[0]) for t in range(STEPS)]
    g.op("Concat", *rows, out="out", axis=0)
    path = g.save(tmp_path / "m.onnx", {"x": SHAPE}, {"out": SHAPE}, opset=11)
    given = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    agree(run_module(load(path, steps=STEPS), given), {"out": given})

"""Spikes written as a sum that other data only seem to enter, as ``(spike - soft) + soft``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_models import Graph
from snncc.compiler.frontend.flat.exporter_names import FileNames
from snncc.compiler.frontend.onnx.file import TensorReader
from snncc.compiler.validate.onnx.replay import Replay
from snncc.compiler.validate.onnx.tape import Scope, Tape

Write = Callable[[Graph, str, str], str]


def sub(g: Graph, a: str, b: str) -> str:
    return g.op("Sub", a, b)


def add(g: Graph, a: str, b: str) -> str:
    return g.op("Add", a, b)


SAME: dict[str, Write] = {
    "(s - y) + y": lambda g, s, y: add(g, sub(g, s, y), y),
    "y + (s - y)": lambda g, s, y: add(g, y, sub(g, s, y)),
    "(s + y) - y": lambda g, s, y: sub(g, add(g, s, y), y),
    "(y + s) - y": lambda g, s, y: sub(g, add(g, y, s), y),
    "y - (y - s)": lambda g, s, y: sub(g, y, sub(g, y, s)),
}
OTHERS: dict[str, Write] = {
    "(y - s) + y": lambda g, s, y: add(g, sub(g, y, s), y),
    "(s - y) - y": lambda g, s, y: sub(g, sub(g, s, y), y),
    "(s + y) + y": lambda g, s, y: add(g, add(g, s, y), y),
    "y - (s - y)": lambda g, s, y: sub(g, y, sub(g, s, y)),
    "(y - s) - y": lambda g, s, y: sub(g, sub(g, y, s), y),  # -s: no spike
    "y - (s + y)": lambda g, s, y: sub(g, y, add(g, s, y)),  # -s
    "y - (y + s)": lambda g, s, y: sub(g, y, add(g, y, s)),  # -s
}


def made_of_spikes(path: Path, write: Write) -> bool:
    """Whether a file's output is known as made of spikes alone."""
    g = Graph()
    spikes = g.op("Cast", g.op("Greater", "x", g.const(0.5)), to=onnx.TensorProto.FLOAT)
    g.op("Identity", write(g, spikes, g.op("Sigmoid", "x")), out="out")
    g.save(path, {"x": [2, 4]}, {"out": [2, 4]})
    model = onnx.ModelProto.FromString(path.read_bytes())
    tape, scope = Tape(model, TensorReader(path), FileNames(model, ())), Scope({})
    scope.env["x"] = tape.feed("x", np.linspace(-1, 2, 8).reshape(2, 4))
    (output,) = tape.graph(model.graph, scope)
    assert isinstance(output, int)
    return bool(Replay(tape, {"out": output}, {}).resets.made.get(output))


@pytest.mark.parametrize("form", SAME)
def test_other_data_only_seem_to_enter(form: str, tmp_path: Path) -> None:
    assert made_of_spikes(tmp_path / "m.onnx", SAME[form])


@pytest.mark.parametrize("form", OTHERS)
def test_other_data_enter(form: str, tmp_path: Path) -> None:
    assert not made_of_spikes(tmp_path / "m.onnx", OTHERS[form])

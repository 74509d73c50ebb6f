"""What the comparison with the texts found wrong in the importers, and what they now refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from random_nir import Array, node
from snncc.compiler.config.config import Config
from snncc.compiler.diag import CompileError, DiagnosticSink
from snncc.compiler.export.nir import export_nir
from snncc.compiler.frontend.dsl.parse import parse
from snncc.compiler.frontend.import_dsl import import_program
from snncc.compiler.frontend.import_nir import import_graph
from snncc.compiler.frontend.nir.file import NirGraph, NirNode
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.core import Module, Op
from snncc.compiler.passes.graph.configure import configure
from snncc.compiler.validate.compare import Report
from snncc.compiler.validate.nir.check import check_nir


def neurons(text: str) -> tuple[Module, list[Op]]:
    module, _ = import_program(parse(text, "net.snn"), Path("net.snn"))
    return module, [op for op in module.walk() if op.name == "graph.neuron"]


def test_detach_of_a_text_is_kept() -> None:
    module, found = neurons("input(1) lif(detach=false) lif(detach=true) lif")
    configure(module, Config())
    kept = [op.attrs["reset_gradient"] for op in found]
    assert kept == ["attached", "detached", "detached"]


def test_lower_bound_of_zero() -> None:
    module, _ = neurons("input(1, steps=2) if(v_min=0)")
    x = np.asarray([-5.0, 1.5])[:, None, None]
    assert evaluate(module, "main", {"x": x}, "float64")["out/out"].ravel().tolist() == [0, 1]


def test_arguments_without_a_name_win_over_the_abbreviation() -> None:
    _, found = neurons("input(1) let fire = lif(0.5, threshold=2) fire(0.25) fire fire(beta=0.75)")
    assert [(op.attrs["beta"], op.attrs["threshold"]) for op in found] == [
        (0.25, 2.0), (0.5, 2.0), (0.75, 2.0),
    ]  # fmt: skip


def test_values_of_other_shapes_are_not_added() -> None:
    """Trailing axes would have paired a batch of 4 with 4 features."""
    text = "input(4x4, batch=4) flat = flatten d = dense(4) from x add(d)"
    with pytest.raises(CompileError, match="4x4 and 4 cannot be added"):
        neurons(text)
    neurons("input(4) d = dense(1) from x add(d)")


def test_lower_bound_of_zero_cannot_be_written_to_nir(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    module, _ = neurons("input(1) if(reset=hard, v_min=0)")
    with pytest.raises(CompileError, match="v_min"):
        export_nir(module, tmp_path / "net.nir")


def graph(nodes: dict[str, NirNode], *edges: tuple[str, str]) -> NirGraph:
    return NirGraph(nodes, list(edges))


def imported(text: NirGraph, sink: DiagnosticSink | None = None) -> Module:
    return import_graph(text, "1.0", Path("net.nir"), batch=1, steps=3, dt=0.1, sink=sink)


def shape(*sizes: int) -> Array:
    return np.asarray(sizes)


def test_nir_loop_without_input_has_the_shape_of_its_parameters() -> None:
    """The bias drives it: v = 0.8, then 1.6, a spike; its echo gives 2 * 0.8, a spike again."""
    text = graph(
        {
            "input": node("Input", shape=shape(2)), "output": node("Output", shape=shape(2)),
            "cell": node("IF", r=np.full(2, 8.0), v_threshold=np.ones(2)),
            "back": node("Affine", weight=np.eye(2), bias=np.ones(2)),
        },
        ("input", "output"), ("cell", "back"), ("back", "cell"), ("cell", "output"),
    )  # fmt: skip
    module = imported(text)
    found = evaluate(module, "main", {"input": np.zeros((3, 1, 2))}, "float64")
    assert np.asarray(found["out/output"])[:, 0].tolist() == [[0, 0], [1, 1], [1, 1]]

    def again(batch: int, steps: int) -> Module:
        sink = DiagnosticSink()
        return import_graph(text, "1.0", Path("net.nir"), batch=batch, steps=steps, dt=0.1,
                            sink=sink)  # fmt: skip

    assert check_nir(module, "net.nir", text, again, 0.1) == Report(smooth=2, hard=2)


def test_nir_loop_that_nothing_says_the_shape_of() -> None:
    text = graph(
        {
            "input": node("Input", shape=shape(2)), "output": node("Output", shape=shape(2)),
            "cell": node("IF", r=np.ones(()), v_threshold=np.ones(())),
            "back": node("Scale", scale=np.ones(())),
        },
        ("input", "output"), ("cell", "back"), ("back", "cell"), ("cell", "output"),
    )  # fmt: skip
    with pytest.raises(CompileError, match="no parameter says the shape"):
        imported(text)


def test_nir_input_without_a_batch_axis_is_told() -> None:
    text = graph(
        {"input": node("Input", shape=shape(3, 4)), "output": node("Output", shape=shape(3, 4))},
        ("input", "output"),
    )
    with pytest.raises(CompileError, match=r"x of shape \[5, 3, 4\] has no batch axis"):
        import_graph(text, "1.0", Path("net.nir"), x_shape=(5, 3, 4), dt=0.1)


def test_nir_image_of_one_channel_before_a_pool() -> None:
    """A first axis of 1 is a batch that a writer left only where it is not a channel."""
    two: dict[str, Any] = {
        "kernel_size": shape(2, 2),
        "stride": shape(2, 2),
        "padding": shape(0, 0),
    }
    text = graph(
        {
            "input": node("Input", shape=shape(1, 4, 4)), "output": node("Output", shape=shape(1)),
            "pool": node("SumPool2d", **two),
        },
        ("input", "pool"), ("pool", "output"),
    )  # fmt: skip
    (output,) = (op for op in imported(text).walk() if op.name == "graph.output")
    assert output.operands[0].type.shape == (3, 1, 1, 2, 2)


@pytest.mark.parametrize(("delay", "warned"), [(0.2, False), (0.25, True), (0.3, False)])
def test_nir_delay_of_a_part_of_a_step_is_told(delay: float, warned: bool) -> None:
    text = graph(
        {
            "input": node("Input", shape=shape(2)), "output": node("Output", shape=shape(2)),
            "late": node("Delay", delay=np.asarray([0.1, delay])),
        },
        ("input", "late"), ("late", "output"),
    )  # fmt: skip
    sink = DiagnosticSink()
    imported(text, sink)
    found = [w for w in sink.warnings if "nearest step" in w.message]
    assert bool(found) == warned
    assert all("2.5 steps of 0.1" in w.message for w in found)


def test_nir_flatten_without_axes_keeps_the_first() -> None:
    text = graph(
        {
            "input": node("Input", shape=shape(2, 3, 3)), "output": node("Output", shape=shape(2)),
            "flat": node("Flatten"),
        },
        ("input", "flat"), ("flat", "output"),
    )  # fmt: skip
    (output,) = (op for op in imported(text).walk() if op.name == "graph.output")
    assert output.operands[0].type.shape == (3, 1, 2, 9)

"""Planted misreadings of NIR graphs: every one is found, and the sound import is not blamed."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import planted
from random_nir import Array, node
from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.import_nir import import_graph
from snncc.compiler.frontend.nir.file import NirGraph
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.verify import verify
from snncc.compiler.validate.compare import CODE
from snncc.compiler.validate.nir.check import check_nir

DT = 0.01
RNG = np.random.default_rng(8)


def made(*shape: int) -> Array:
    return RNG.normal(size=shape) * 1.4 / math.sqrt(max(1, math.prod(shape[1:])))


def graph() -> NirGraph:
    """Images, neurons of each kind, a delay, two ways that are added, and a loop."""
    spread = np.linspace(0.05, 0.2, 6)
    one, six = np.ones(6), np.ones((3, 4, 4))
    nodes = {
        "input": node("Input", shape=np.asarray([2, 8, 8])),
        "conv": node("Conv2d", texts={"padding": "same"}, weight=made(3, 2, 2, 2), bias=made(3),
                     stride=1, dilation=1, groups=1),
        "pool": node("SumPool2d", kernel_size=np.asarray([2, 2]), stride=np.asarray([2, 2]),
                     padding=np.asarray([0, 0])),
        "lif": node("LIF", tau=six * 0.05, r=six, v_leak=six * 0.2, v_threshold=six * 0.3,
                    v_reset=six * -0.1),
        "again": node("Conv2d", weight=made(3, 3, 3, 3), padding=1, stride=1, dilation=1, groups=1),
        "scale": node("Scale", scale=made(3, 4, 4)),
        "mean": node("AvgPool2d", kernel_size=np.asarray([2, 2]), stride=np.asarray([2, 2]),
                     padding=np.asarray([1, 1])),
        "if": node("IF", r=np.ones((3, 3, 3)) * 80, v_threshold=np.ones((3, 3, 3)) * 0.4),
        "flat": node("Flatten", start_dim=0, end_dim=-1),
        "fc": node("Affine", weight=made(6, 27), bias=made(6)),
        "cuba": node("CubaLIF", tau_mem=spread, tau_syn=one * 0.04, r=spread / DT, v_leak=one * 0,
                     v_threshold=spread * 3, v_reset=one * 0, w_in=one * 4),
        "back": node("Affine", weight=made(6, 6), bias=made(6)),
        "late": node("Delay", delay=np.asarray([0, 0.01, 0.02, 0.01, 0, 0.02])),
        "other": node("Linear", weight=made(6, 6)),
        "last": node("LI", tau=spread, r=one * 3, v_leak=one * 0.1),
        "output": node("Output", shape=np.asarray([6])),
    }  # fmt: skip
    for name, each in nodes.items():
        each.name = name
    names = ["input", "conv", "pool", "lif", "again", "scale", "mean", "if", "flat", "fc", "cuba",
             "late", "last", "output"]  # fmt: skip
    edges = list(pairwise(names))
    edges += [("cuba", "back"), ("back", "cuba"), ("cuba", "other"), ("other", "last")]
    return NirGraph(nodes, edges)


FAULTS: dict[str, planted.Fault] = {
    "bias of a convolution lost": planted.without_bias_at("conv", 0),
    "bias of a dense layer lost": planted.without_bias_at("linear", 0),
    "bias in the loop lost": planted.without_bias_at("linear", 1),
    "weights exchanged": planted.swapped("back.weight", "other.weight"),
    "weights tied": planted.tied("back.weight", "other.weight"),
    "square weights transposed": planted.values("other.weight", lambda w: w.T),
    "other weights": planted.values("again.weight", lambda w: w * 1.001),
    "a weight renamed": planted.renamed("fc.weight", "fc2.weight"),
    "a weight frozen": planted.trained("conv.weight", False),
    "a time constant trained": planted.trained("cuba.beta", True),
    "padding on the other side": planted.nth("conv", 0, "padding", (1, 1, 0, 0)),
    "mean taken for sum": planted.nth("pool", 0, "kind", "avg"),
    "sum taken for mean": planted.nth("pool", 1, "kind", "sum"),
    "padding not counted": planted.nth("pool", 1, "count_pad", False),
    "rate": planted.attribute("lif", "rate", 0.21),
    "threshold": planted.attribute("lif", "threshold", 0.31),
    "leak voltage lost": planted.attribute("lif", "v_rest", None),
    "reset value lost": planted.attribute("lif", "reset_value", 0.0),
    "reset subtracts": planted.attribute("lif", "reset", "subtract"),
    "several spikes": planted.nth("neuron", 1, "reset", "none"),
    "at the threshold too": planted.attribute("if", "compare", "non_strict"),
    "synaptic decay": planted.attribute("cuba", "a_syn", 0.76),
    "synapse scaled": planted.attribute("cuba", "synapse", "scaled"),
    "leak of other neurons": planted.values("cuba.beta", lambda b: b[::-1]),
    "gain lost": planted.bypass("mul", 1),
    "gain of the current lost": planted.bypass("mul", 2),
    "scale lost": planted.bypass("mul", 0),
    "the other way lost": planted.bypass("add", -1),
    "loop open": planted.bypass("add", 0),
    "rows and columns exchanged": planted.behind(
        "neuron", 1, lambda b, x: b.one("graph.transpose", x, perm=(0, 1, 3, 2))
    ),
    "spikes a step late": planted.step_late("neuron", 0),
    "a path detached": planted.behind(
        "neuron", 0, lambda b, x: b.one("graph.stop_gradient", x)
    ),
    "something added to an output": planted.behind(
        "neuron", -1, lambda b, x: b.one("graph.relu", x)
    ),
}  # fmt: skip


def imported(text: NirGraph, batch: int = 2, steps: int = 5) -> Module:
    return import_graph(text, "1.0", Path("net.nir"), batch=batch, steps=steps, dt=DT)


def check(module: Module, text: NirGraph) -> None:
    check_nir(module, "net.nir", text, lambda batch, steps: imported(text, batch, steps), DT)


def test_sound_import_passes() -> None:
    text = graph()
    check(imported(text), text)
    check(imported(text, batch=50, steps=20), text)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_planted_fault_is_found(fault: planted.Fault) -> None:
    text = graph()
    module = imported(text)
    fault(module)
    verify(module)
    with pytest.raises(CompileError) as raised:
        check(module, text)
    assert [d.code for d in raised.value.diagnostics] == [CODE]


def test_time_step_that_the_user_said() -> None:
    text = graph()
    module = imported(text)
    with pytest.raises(CompileError, match=r"steps of 0.01, not of 0.02"):
        check_nir(module, "net.nir", text, lambda batch, steps: module, 0.02)

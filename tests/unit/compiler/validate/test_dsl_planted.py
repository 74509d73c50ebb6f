"""Planted misreadings of .snn files: every one is found, and the sound import is not blamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import planted
from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.dsl.parse import Program, parse
from snncc.compiler.frontend.import_dsl import import_program
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.verify import verify
from snncc.compiler.validate.compare import CODE
from snncc.compiler.validate.dsl.check import check_dsl

TEXT = """
input(4x6x6, steps=4, batch=2)
init(gain=1.6)
let fire = lif(beta=0.8, threshold=0.6)
c1 = conv(4, padding=same, kernel=2)  bn(eps=0.01)  a1 = fire(v_min=-0.2, v_rest=0.1)
maxpool(2, stride=2)
c2 = conv(4, padding=1, groups=2)  a2 = lif(tau=2.5, reset=hard, reset_value=-0.1, detach=false)
avgpool(2, stride=1, padding=1)
residual(mode=add) { c3 = conv(4, padding=same)  bn  relu }
scale(1.3)
branch = fire(surrogate=sigmoid(alpha=3))
residual(mode=iand) { c4 = conv(4, kernel=1) b1 = fire } { c5 = conv(4, kernel=1) b2 = if }
concat { relu } { c6 = conv(3, kernel=1, bias=false) li(beta=0.7) }
dropout(0.25)  dropout(0.5)
flatten
d1 = dense(6)  r1 = synaptic(alpha=0.6, beta=0.9, norm_input=true, recurrent=true, learn=true)
d2 = dense(6)  m1 = fire(compare=multi, delay=true)
d3 = dense(6)  n1 = if(compare=non_strict, threshold=0.5, reset=none)
vote(2)
output(votes)
from n1
output(spikes)
"""
ATTENTION = """
input(4x5, steps=3, batch=2, static=true)
init(gain=2)
position(0.2)
attention(heads=2, scale=0.3) { lif(threshold=0.3, beta=0.7) }
globalpool(mean)
dense(4)
"""
FAULTS: dict[str, planted.Fault] = {
    "bias of a convolution lost": planted.without_bias("c1", "conv"),
    "bias of a dense layer lost": planted.without_bias("d2", "linear"),
    "weights exchanged": planted.swapped("c4.weight", "c5.weight"),
    "weights tied": planted.tied("d2.weight", "d3.weight"),
    "biases tied": planted.tied("c1.bias", "c2.bias"),
    "square weights transposed": planted.values("r1.recurrent", lambda w: w.T),
    "other first weights": planted.values("c6.weight", lambda w: w * 1.01),
    "a weight renamed": planted.renamed("d1.weight", "fc.weight"),
    "a weight frozen": planted.trained("c5.weight", False),
    "statistics trained": planted.trained("bn1.running_var", True),
    "mean and variance exchanged": planted.exchanged("batchnorm", 0, 3, 4),
    "scale and shift exchanged": planted.exchanged("batchnorm", 0, 1, 2),
    "eps": planted.nth("batchnorm", 0, "eps", 1e-5),
    "momentum": planted.nth("batchnorm", 1, "momentum", 0.9),
    "dropout rates": planted.nth("dropout", 0, "rate", 0.5),
    "one dropout for two": planted.nth("dropout", 1, "stream", 1),
    "beta": planted.attribute("a1", "beta", 0.81),
    "threshold": planted.attribute("a1", "threshold", 1.0),
    "resting potential lost": planted.attribute("a1", "v_rest", None),
    "lower bound lost": planted.attribute("a1", "v_min", None),
    "tau": planted.attribute("a2", "tau", 2.0),
    "reset value": planted.attribute("a2", "reset_value", 0.1),
    "reset of another kind": planted.attribute("a2", "reset", "subtract"),
    "reset lost": planted.attribute("m1", "reset", "none"),
    "reset in the same step": planted.attribute("m1", "delay", False),
    "reset a step late": planted.attribute("branch", "delay", True),
    "reset detached": planted.attribute("a2", "reset_gradient", "detached"),
        "strict comparison": planted.attribute("n1", "compare", "strict"),
    "surrogate lost": planted.attribute("branch", "surrogate", None),
    "surrogate of another kind": planted.attribute(
        "branch", "surrogate", {"name": "atan", "alpha": 3.0}
    ),
    "surrogate of another width": planted.attribute(
        "branch", "surrogate", {"name": "sigmoid", "alpha": 4.0}
    ),
    "input not scaled": planted.attribute("r1", "norm_input", None),
    "synapse scaled": planted.attribute("r1", "synapse", "scaled"),
    "synaptic decay": planted.attribute("r1", "a_syn", 0.8),
    "iand the wrong way round": planted.exchanged("iand", 0),
    "relu lost": planted.bypass("relu", 0),
    "factor lost": planted.bypass("mul", 0),
    "shortcut lost": planted.bypass("add", 0),
    "batch norm lost": planted.bypass("batchnorm", 1),
    "mean taken for sum": planted.nth("pool", 1, "kind", "sum"),
    "padding not counted": planted.nth("pool", 1, "count_pad", False),
    "padding on the other side": planted.nth("conv", 0, "padding", (1, 1, 0, 0)),
    "concatenation the wrong way round": planted.exchanged("concat", 0),
    "rows and columns exchanged": planted.behind(
        "dropout", 1, lambda b, x: b.one("graph.transpose", x, perm=(0, 1, 3, 2))
    ),
    "positions reversed": planted.behind(
        "pool", 0, lambda b, x: b.one("graph.relu", b.one("graph.unary", x, fn="neg"))
    ),
    "a path detached": planted.behind(
        "neuron", 1, lambda b, x: b.one("graph.stop_gradient", x)
    ),
    "a layer a step late": planted.step_late("linear", 0),
    "spikes a step late": planted.step_late("neuron", 0),
    "membrane for spikes": planted.another_result(1, "neuron", -1, 1),
    "an output of another layer": planted.another_result(1, "neuron", -2),
}  # fmt: skip
ATTENTION_FAULTS: dict[str, planted.Fault] = {
    "queries and keys exchanged": planted.exchanged("matmul", 0),
    "scores not transposed": planted.nth("matmul", 1, "transpose_b", False),
    "scale": planted.nth("const", 0, "value", 0.25),
    "mean taken for sum": planted.nth("reduce", 0, "kind", "sum"),
    "position lost": planted.bypass("add", 0),
    "projection tied to the values": planted.tied(
        "attention1.v.weight", "attention1.proj.weight"
    ),
}  # fmt: skip


def imported(text: str) -> tuple[Module, Program]:
    program = parse(text, "net.snn")
    module, _ = import_program(program, Path("net.snn"))
    return module, program


def check(module: Module, program: Program) -> None:
    def build(batch: int, steps: int) -> Module:
        raise AssertionError("small enough as it is")

    check_dsl(module, program, build)


@pytest.mark.parametrize("text", [TEXT, ATTENTION])
def test_sound_imports_pass(text: str) -> None:
    check(*imported(text))


def planted_in(text: str, fault: planted.Fault) -> str:
    module, program = imported(text)
    fault(module)
    verify(module)
    with pytest.raises(CompileError) as raised:
        check(module, program)
    assert [d.code for d in raised.value.diagnostics] == [CODE]
    return str(raised.value)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_planted_fault_is_found(fault: planted.Fault) -> None:
    planted_in(TEXT, fault)


@pytest.mark.parametrize("fault", ATTENTION_FAULTS.values(), ids=ATTENTION_FAULTS.keys())
def test_planted_fault_in_attention_is_found(fault: planted.Fault) -> None:
    planted_in(ATTENTION, fault)


def test_message_names_the_layer() -> None:
    lines = TEXT.splitlines()
    for fault, line, word in (
        ("tau", "c2 =", "neuron of layer 'a2'"),
        ("eps", "c1 =", "batchnorm of layer 'bn1'"),
        ("iand the wrong way round", "residual(mode=iand)", "iand"),
    ):
        message = planted_in(TEXT, FAULTS[fault])
        number = next(i for i, text in enumerate(lines, 1) if text.startswith(line))
        assert message.startswith(f"net.snn:{number}:")
        assert f"the first value that the file does not have is that of {word}" in message
    assert "net.snn:branch: " in planted_in(TEXT, FAULTS["surrogate lost"])
    assert "net.snn:c6.weight: " in planted_in(TEXT, FAULTS["other first weights"])


def test_a_parameter_more_is_named() -> None:
    def another(module: Module) -> None:
        first = planted.ops(module, "param")[0]
        attrs = {**first.attrs, "name": "spare.weight"}
        assert first.parent is not None
        Builder(first.parent, first.loc, first).op(
            "graph.param", types=[first.result.type], names=["spare"], attrs=attrs
        )

    message = planted_in(TEXT, another)
    assert "the import has a parameter 'spare.weight', the file has none of this name" in message


def test_weights_of_a_file_are_compared(tmp_path: Path) -> None:
    arrays = {"fc.weight": np.arange(12.0).reshape(3, 4), "fc.bias": np.ones(3)}
    np.savez(tmp_path / "w.npz", allow_pickle=False, **arrays)
    program = parse('input(4, steps=2) weights("w.npz") fc = dense(3) lif', "net.snn")
    module, _ = import_program(program, tmp_path / "net.snn")
    check_dsl(module, program, lambda batch, steps: module, arrays)
    module.resources["fc.weight"] = np.asarray(module.resources["fc.weight"])[::-1].copy()
    with pytest.raises(CompileError, match=r"first values of fc\.weight"):
        check_dsl(module, program, lambda batch, steps: module, arrays)

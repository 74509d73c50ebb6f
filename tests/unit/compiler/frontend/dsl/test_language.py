"""The network language: what lines become, and what faults look like."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.compiler.diag import CompileError, DiagnosticSink
from snncc.compiler.driver import api
from snncc.compiler.frontend.dsl.parse import parse
from snncc.compiler.frontend.import_dsl import Said, import_dsl
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.verify import verify

ROOT = Path(__file__).resolve().parents[5]
EXAMPLES = sorted((ROOT / "models").glob("*.snn"))


def load(
    folder: Path, text: str, x_shape: tuple[int, ...] | None = None
) -> tuple[Module, list[Said]]:
    path = folder / "net.snn"
    path.write_text(text)
    module, said = import_dsl(path, x_shape=x_shape)
    verify(module)
    return module, said


def ops(module: Module) -> list[str]:
    quiet = ("param", "const")
    names = [op.name.removeprefix("graph.") for op in module.walk()]
    return [n for n in names if n not in quiet]


def refused(folder: Path, text: str) -> str:
    with pytest.raises(CompileError) as raised:
        load(folder, text)
    return str(raised.value)


def test_ten_lines_are_a_network(tmp_path: Path) -> None:
    text = "network net\ninput(64, steps=10)\nfc = dense(20)\nlif(beta=0.5)\ndense(10) lif"
    module, _ = load(tmp_path, text, (10, 7, 64))
    assert ops(module) == ["linear", "neuron", "linear", "neuron", "output"]
    assert (module.name, module.steps, module.batch) == ("net", 10, 7)
    assert [n for n in module.resources] == ["fc.weight", "fc.bias", "dense1.weight", "dense1.bias"]
    assert module.resources["fc.weight"].shape == (64, 20)
    neurons = [op for op in module.walk() if op.name == "graph.neuron"]
    assert [op.attrs["beta"] for op in neurons] == [0.5, 0.9]
    assert [op.attrs["layer"] for op in neurons] == ["lif1", "lif2"]


def test_every_layer(tmp_path: Path) -> None:
    text = """
    input(4x8x8, steps=3)
    conv(8, 3x3, stride=2, padding=1, groups=2, bias=false) bn(eps=1e-4) relu scale(0.5)
    deconv(4, kernel=2, stride=2) lif(tau=2, learn=true) maxpool avgpool(2, stride=1) sumpool(2)
    position tokens conv(6, kernel=1, padding=same) if(compare=multi, reset=subtract)
    reshape(3x2) flatten dropout(0.1) dense(12) synaptic(alpha=0.5, recurrent=true) vote(4) li
    output(a) globalpool_free = dense(2) output(b)
    """
    module, _ = load(tmp_path, text)
    assert [op.str_attr("name") for op in module.walk() if op.name == "graph.output"] == ["a", "b"]
    found = ops(module)
    for name in ("conv", "batchnorm", "relu", "mul", "conv_transpose", "pool", "reshape", "delay",
                 "delay_next", "dropout", "reduce", "linear", "neuron", "add"):  # fmt: skip
        assert name in found
    trained = [op.str_attr("name") for op in module.walk() if op.attrs.get("train") is True]
    assert "lif1.tau" in trained
    assert "synaptic1.recurrent" in trained


def test_branches(tmp_path: Path) -> None:
    text = """input(2x4x4, steps=2)
    let fire = lif(beta=0.5, threshold=1)
    a = conv(2, padding=same) fire
    residual { conv(2, padding=same) fire(threshold=2) }
    fire
    residual(mode=iand) { conv(2, padding=same) fire } { conv(2, kernel=1) fire }
    repeat(2) { conv(2, padding=same) fire }
    b = concat { maxpool } { avgpool }
    from a maxpool add(b_side) output(late)
    """
    text = text.replace("b = concat", "b_side = maxpool from b_side c = concat")
    text = text.replace("{ maxpool } { avgpool }", "{ relu } { relu }")
    module, _ = load(tmp_path, text)
    found = ops(module)
    assert found.count("neuron") == 7
    assert "iand" in found
    assert "concat" in found
    thresholds = [op.attrs["threshold"] for op in module.walk() if op.name == "graph.neuron"]
    assert thresholds.count(2.0) == 1


def test_settings(tmp_path: Path) -> None:
    text = """input(4, steps=2) dense(2) train {
    loss = mse; optimizer = adam(lr=0.01, betas=[0.9, 0.99]) readout = mean batch = 8
    loss.scale = 256; optimizer.nesterov = false parameters.train = ["*.beta"] }"""
    _, said = load(tmp_path, text)
    assert {s.path: s.value for s in said} == {
        "loss.name": "mse", "optimizer.name": "adam", "optimizer.lr": 0.01,
        "optimizer.betas": (0.9, 0.99), "readout.reduce": "mean", "training.batch": 8,
        "loss.scale": 256, "optimizer.nesterov": False, "parameters.train": ("*.beta",),
    }  # fmt: skip


FAULTS = {
    "lif(bta=0.9)": ("E0121", "did you mean beta?"),
    "lift": ("E0121", "did you mean lif?"),
    "dense": ("E0121", "dense needs out"),
    "dense(2.5)": ("E0122", "whole number"),
    "dense(0)": ("E0122", "at least 1"),
    "dense(1, out=2)": ("E0121", "twice"),
    "dense(2) { relu }": ("E0120", "takes no block"),
    "lif(reset=soft)": ("E0122", "subtract, hard, none"),
    "lif(surrogate=arc)": ("E0122", "there are atan"),
    "lif(beta=0.5, tau=2)": ("E0121", "tau and beta"),
    "lif(beta=0.5, beta=0.6)": ("E0121", "twice"),
    "from nowhere": ("E0123", "no 'nowhere' above"),
    "let dense = lif": ("E0123", "a layer's name already"),
    "conv(2)": ("E0124", "spatial"),
    "reshape(3x3)": ("E0124", "cannot be reshaped"),
    "residual { dense(3) }": ("E0124", "the branch gives 3, the shortcut 4"),
    "residual(mode=and) { relu }": ("E0124", "joins spikes"),
    "repeat(2)": ("E0120", "takes 1 block"),
    "concat": ("E0121", "names or blocks"),
    "add": ("E0121", "name of a value"),
    "vote(3)": ("E0124", "do not divide"),
    "dropout(1)": ("E0122", "below 1"),
    "repeat(1) { input(3) }": ("E0120", "at the top"),
    "input(3)": ("E0123", "already"),
    "output(a) output(a)": ("E0123", "already"),
    "train { 3 }": ("E0120", "no place here"),
    "train(3)": ("E0120", "one block"),
    'weights("../../etc/passwd")': ("E0125", "outside"),
    'weights("gone.npz")': ("E0125", "cannot read"),
    "dense(2": ("E0120", "ends too early"),
    "dense(2))": ("E0120", "no place here"),
    "dense($)": ("E0120", "'$'"),
    "reshape(1x2x2) conv(1, 1, padding=99999999)": ("E0124", "gives samples of shape"),
    "dense(999999999999)": ("E0124", "parameters"),
    "x = 3": ("E0120", "needs a layer"),
    "attention(heads=3) { lif }": ("E0124", "CxN"),
}


@pytest.mark.parametrize("line", FAULTS)
def test_faults_have_code_line_and_caret(tmp_path: Path, line: str) -> None:
    code, words = FAULTS[line]
    said = refused(tmp_path, f"input(4, steps=2)\n\n{line}")
    assert code in said
    assert words in said
    assert re.search(r"net\.snn:3:\d+", said), said
    assert "^" in said


def test_several_faults_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, "input(4, steps=2)\ndens(3)\nlif(bta=1)\nfrom x2\nconv(out=a)")
    assert said.count("error[") == 4


def test_the_input_is_needed(tmp_path: Path) -> None:
    assert "no input" in refused(tmp_path, "dense(3)")


def test_deep_nesting_is_bounded(tmp_path: Path) -> None:
    assert "E0120" in refused(tmp_path, "input(4)" + "repeat(1) {" * 400 + "}" * 400)
    text = "input(4)" + "repeat(30) {" * 12 + "relu" + "}" * 12
    assert "E0124" in refused(tmp_path, text)


@given(st.text(st.sampled_from('dense(3)lif{}=,;[]"#x \n.-01'), max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(CompileError):
        parse(text, "any.snn")


def test_first_weights_depend_on_seed_and_name_only(tmp_path: Path) -> None:
    a, _ = load(tmp_path, "input(50) fc = dense(40)")
    b, _ = load(tmp_path, "input(50) relu other = dense(50) fc = dense(40) init(seed=0)")
    c, _ = load(tmp_path, "input(50) fc = dense(40) init(seed=1, gain=2)")
    w = np.asarray(a.resources["fc.weight"])
    assert np.array_equal(w, b.resources["fc.weight"])
    assert not np.array_equal(w, c.resources["fc.weight"])
    assert np.abs(w).max() <= np.sqrt(3 / 50)
    assert np.isclose(w.std() * np.sqrt(50), 1, atol=0.03)
    assert np.isclose(np.asarray(c.resources["fc.weight"]).std() * np.sqrt(50), 2, atol=0.06)
    assert w[0, :2].tolist() == pytest.approx(w.T.reshape(-1)[[0, 50]].tolist())


def test_weights_from_a_file(tmp_path: Path) -> None:
    arrays = {"param/fc.weight": np.arange(8.0).reshape(2, 4), "fc.bias": np.ones(2)}
    np.savez(tmp_path / "w.npz", allow_pickle=False, **arrays)
    module, _ = load(tmp_path, 'input(4) weights("w.npz") fc = dense(2)')
    assert np.array_equal(module.resources["fc.weight"], arrays["param/fc.weight"].T)
    assert "shape" in refused(tmp_path, 'input(5) weights("w.npz") fc = dense(2)')
    assert "holds no" in refused(tmp_path, 'input(4) weights("w.npz") fc2 = dense(2)')


# ---------------------------------------------------------------------- examples
def blocks() -> list[str]:
    return re.findall(r"```snn\n(.*?)```", (ROOT / "docs/dsl.md").read_text("utf-8"), re.S)


@pytest.mark.parametrize("number", range(len(blocks())))
def test_examples_of_the_manual(tmp_path: Path, number: int) -> None:
    load(tmp_path, blocks()[number])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example_models(path: Path) -> None:
    sink = DiagnosticSink()
    module, settings = import_dsl(path, batch=2, sink=sink)
    verify(module)
    assert not sink.warnings
    assert settings
    assert (module.steps, module.batch) == (10 if path.stem == "lif_mlp" else 4, 2)


def test_training_on_the_chip_follows_float64() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 64)).astype(np.float32), np.arange(4)
    model = api.load(ROOT / "models/lif_mlp.snn", x_shape=x.shape)
    chip, exact = api.run(model, x, y), api.run(model, x, y, numerics="float64")
    want = exact["grad/dense1.weight"]
    assert want.shape == (100, 64)
    assert np.abs(want).max() > 0
    assert np.allclose(chip["grad/dense1.weight"], want, atol=0.05 * np.abs(want).max())
    assert "param/dense1.weight" in chip

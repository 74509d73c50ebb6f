"""Networks written by hand in PyTorch 2.13 and exported: values, loss and gradients are PyTorch's.

Each has 8 inputs, 5 classes and 3 samples; spikes are ``Greater`` in the file, in PyTorch with the
derivative of ``atan`` (alpha 2); resets are detached.  The loss is the cross-entropy of the outputs
summed over the steps.  The files stand in tests/data/onnx/framework.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lowered import phased
from snncc.compiler.config.config import load_config
from snncc.compiler.driver.build import Request, import_model
from snncc.compiler.interp import evaluate
from snncc.compiler.passes.graph.configure import configure

FOLDER = Path(__file__).parents[4] / "data" / "onnx" / "framework"
MODELS = {
    "where_input": "x = where(x > 0.2, x, 0.1*x): what chooses gets no gradient",
    "where_floor": "v = where(v < -0.5, -0.5, v)",
    "masked_fill": "v = v.masked_fill(spikes > 0, 0.1)",
    "eq_max": "spikes times (v == max(v)): the winner, to which no gradient passes",
    "argmax_onehot": "spikes times one_hot(argmax(v)), and only winners are reset",
    "topk_wta": "spikes times (v >= the second of topk(v, 2)): no surrogate there",
    "refrac": "a counter that spikes set holds the input back",
    "ttfs": "spikes times 1 - f, where f is 1 after the first spike: fires once",
    "delta_mod": "sign(d)*(|d| > 0.5) of the change d of the input",
    "burst": "g = where(spikes > 0, 1.5*g + 0.1, 0.1); the output is spikes*g",
    "recur_gate": "v = f*v + (1 - f)*i, f = sigmoid(W s + b); at step 0 the exporter folded f",
    "sig_gain": "the input current times sigmoid of one trained number",
    "exp_tau": "v = exp(-1/exp(lt))*v + i, lt one number that the configuration trains",
    "attn": "spiking attention over four tokens of repeated features",
    "window": "spikes while 0.2 < v < 1: a product of two spike functions of one membrane",
    "hysteresis": "the threshold is 0.1 after a spike and 0.5 else",
    "lstm_spk": "an LSTM whose four gates are spikes",
    "mem_and_spk": "the output is spikes + 0.1*tanh(v)",
    "min_reset": "v = min(v, 0.4) - 0.4*spikes: fires like a hard reset, other gradients",
    "tied_auto": "x @ W.T, later s @ W: the exporter wrote the transpose beside the weight",
    "double_exp": "the difference of two leaky traces: at step 0 exactly zero",
    "psn": "membranes are a product over the steps with one weight and bias (parallel neurons)",
    "lateral": "spikes feed one relay neuron each, whose spikes inhibit them: no reset, a synapse",
    "relay_step": "u = 0.6*u + spikes, u = u*(1 - q): the reset of a neuron fed by spikes alone",
    "stack3": "three layers of neurons without weights between them",
    "glob_inh": "one inhibition for the layer, fed by the weighted sum of its spikes",
    "index_gather": "spikes in another order, and rolled by one",
}


def test_every_file_has_a_row() -> None:
    assert {p.stem for p in FOLDER.glob("*.onnx")} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_step(name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    with np.load(path.with_suffix(".npz")) as held:
        want = {k: np.asarray(held[k], np.float64) for k in held.files}
    x, y = want.pop("x"), want.pop("y")
    config = load_config(path.with_suffix(".toml"))
    imported = import_model(path, Request(config))
    assert imported.verdict.validated
    assert not imported.verdict.other_gradients
    assert ("E0117" in {w.code for w in imported.warnings}) == (name == "min_reset")
    module = imported.module
    turned = {op.str_attr("name") for op in module.walk() if op.attrs.get("transpose")}
    configure(module, config)
    found = evaluate(phased(module), "step", {"x": x.astype(np.float32), "y": y}, "float64")
    names = {k for k in want if k.startswith("grad/")}
    assert names - found.keys() == set()
    for key, value in want.items():
        mine = np.asarray(found[key])
        mine = mine.T if key.removeprefix("grad/") in turned else mine
        np.testing.assert_allclose(mine.reshape(value.shape), value, rtol=1e-3, atol=2e-4,
                                   err_msg=key)  # fmt: skip

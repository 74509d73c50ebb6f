"""NIR networks on the simulated chip: inference and a training step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nir_files import Node, chain, port, write
from snncc.compiler.config.config import Config, parse_config
from snncc.compiler.driver import api

RNG = np.random.default_rng(1)


def test_inference_and_training(tmp_path: Path) -> None:
    size = 8
    neuron: Node = {"type": "LIF", "tau": np.full(size, 2e-3), "r": np.full(size, 2.0),
                    "v_leak": np.zeros(size), "v_threshold": np.full(size, 0.5)}  # fmt: skip
    first: Node = {"type": "Affine", "weight": RNG.normal(size=(size, 6)), "bias": np.zeros(size)}
    last: Node = {"type": "Linear", "weight": RNG.normal(size=(size, size))}
    path = write(tmp_path / "net.nir", *chain([6], first, neuron, last, neuron))
    x = (RNG.random((5, 4, 6)) < 0.4).astype(np.float32)
    y = np.arange(4)
    config = Config().override({"readout.reduce": "sum"})
    model = api.load(path, config=config, x_shape=x.shape, dt=1e-3)
    plain = api.run(model, x)["out/output"]
    assert plain.shape == (5, 4, size)
    assert 0 < plain.mean() < 1
    chip = api.run(model, x, y)
    exact = api.run(model, x, y, numerics="float64")
    assert chip["grad/0.weight"].shape == (size, 6)
    assert np.abs(exact["grad/0.weight"]).max() > 0
    for name in ("grad/0.weight", "grad/0.bias", "grad/2.weight"):
        scale = np.abs(exact[name]).max()
        assert np.allclose(chip[name], exact[name], atol=0.02 * scale + 1e-3)


def test_a_threshold_resets_nothing(tmp_path: Path) -> None:
    """A threshold feeds another one directly: an edge of the file, which passes its gradient.

    With y = w*x, a = [y > 0.5] and out = [y + a > 2.2], and a derivative of 1 for both spikes, the
    loss is (out - 1)^2 for the only class, so dw = 2*(out - 1) * (x + x).
    """
    nodes: dict[str, Node] = {
        "input": port("Input", 1), "w": {"type": "Linear", "weight": np.full((1, 1), 1.0)},
        "a": {"type": "Threshold", "threshold": np.full(1, 0.5)},
        "b": {"type": "Threshold", "threshold": np.full(1, 2.2)}, "output": port("Output", 1),
    }  # fmt: skip
    edges = [("input", "w"), ("w", "a"), ("w", "b"), ("a", "b"), ("b", "output")]
    path = write(tmp_path / "net.nir", nodes, edges)
    text = '[surrogate]\nname = "straight-through"\n[reset]\ngradient = "detached"\n'
    config = parse_config(f'{text}[loss]\nname = "mse"\nscale = 1.0\n[readout]\nreduce = "last"\n')
    x = np.asarray([[[0.75]]], np.float32)
    model = api.load(path, config=config, x_shape=x.shape, dt=1e-3)
    found = api.run(model, x, np.zeros(1, np.int64), numerics="float64")
    assert found["logits"] == 0
    assert found["grad/w.weight"] == 2 * -1 * 2 * 0.75

"""Other people's NIR files: the platform traces and networks that were published with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nir_files import Array, load
from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.nir.file import read_nir
from snncc.compiler.interp.evaluate import evaluate
from snncc.models.events import load_recordings

pytestmark = pytest.mark.needs_corpus
PAPER = "nir/third_party/paper"


def evaluated(path: Path, x: Array, dt: float | None = None, numerics: str = "float32") -> Array:
    module, _ = load(path, x, dt)
    found = evaluate(module, "main", {module.func("main").body.args[0].name: x}, numerics)
    return np.asarray(next(iter(found.values())))


@pytest.mark.parametrize("numerics", ["float32", "fp16"])
def test_norse_trace(corpus: Path, numerics: str) -> None:
    table = np.loadtxt(corpus / PAPER / "01_lif/lif_norse.csv", delimiter=",")
    path = corpus / PAPER / "01_lif/lif_norse.nir"
    got = evaluated(path, table[:, :1, None], 1e-4, numerics).reshape(-1)
    assert np.array_equal(np.nonzero(got)[0], np.nonzero(table[:, 2])[0])


def braille(path: Path, x: Array) -> Array:
    """Compute the recurrent networks of 03_rnn in float64."""
    nodes = read_nir(path)[0].nodes

    def get(name: str, key: str) -> Array:
        return np.asarray(nodes[name].values.get(key, np.zeros(())), np.float64)

    def affine(name: str, value: Array) -> Array:
        product: Array = np.matmul(value, get(name, "weight").T)
        return product + get(name, "bias")

    batch, states = x.shape[1], dict[str, tuple[Array, Array, Array]]()
    for name in ("lif1.lif", "lif2"):
        zero = np.zeros((batch, get(name, "r").shape[0]))
        states[name] = (zero, zero, zero)

    def step(name: str, current: Array) -> Array:
        i, v, _ = states[name]
        i = i + 1e-4 / get(name, "tau_syn") * (get(name, "w_in") * current - i)
        v = v + 1e-4 / get(name, "tau_mem") * (get(name, "r") * i - v)
        s = np.asarray(v > get(name, "v_threshold"), np.float64)
        states[name] = (i, v * (1 - s), s)
        return s

    out: list[Array] = []
    for sample in x:
        current = affine("fc1", sample) + affine("lif1.w_rec", states["lif1.lif"][2])
        out.append(step("lif2", affine("fc2", step("lif1.lif", current))))
    return np.stack(out)


@pytest.mark.parametrize("name", ["braille_noDelay_bias_zero", "braille_noDelay_noBias_subtract"])
def test_braille_networks(corpus: Path, name: str) -> None:
    x = (np.random.default_rng(0).random((256, 4, 12)) < 0.05).astype(np.float32)
    path = corpus / PAPER / f"03_rnn/{name}.nir"
    want = braille(path, x)
    assert want.sum() > 100
    assert np.array_equal(evaluated(path, x), want)


def test_nested_braille_files_are_refused_with_the_reason(corpus: Path) -> None:
    for path in sorted((corpus / PAPER / "03_rnn/extras").glob("*_subgraph.nir")):
        with pytest.raises(CompileError, match="names the node 'lif', which does not exist"):
            load(path, np.zeros((2, 1, 12)))


def test_malformed_files(corpus: Path) -> None:
    files = sorted((corpus / "nir/malformed").glob("*.nir"))
    assert len(files) == 3
    for path in files:
        with pytest.raises(CompileError, match="written half"):
            load(path, np.zeros((2, 1, 64)), 1e-3)


def test_every_other_file_imports(corpus: Path) -> None:
    for path in sorted((corpus / "nir").rglob("*.nir")):
        if "malformed" not in path.parts and "extras" not in path.parts:
            graph = read_nir(path)[0]
            shape = graph.nodes["input" if "input" in graph.nodes else "in"].values["shape"]
            load(path, np.zeros((2, 1, *shape)), 1e-3)


def test_sinabs_network_on_recordings(corpus: Path) -> None:
    data = load_recordings(corpus / "datasets/nmnist_small/nmnist_small.npz")
    which = np.nonzero(~data.train)[0][:10]
    x = data.frames(which, window=3000, steps=113)
    counts = evaluated(corpus / PAPER / "02_cnn/cnn_sinabs.nir", x).sum(0)
    assert (counts.argmax(1) == data.label[which]).mean() >= 0.9

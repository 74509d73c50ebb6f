"""Reference models of real frameworks: the same outputs, loss and gradients as PyTorch computed."""

import json
from pathlib import Path

import numpy as np
import pytest

from e2e.common import snncc

pytestmark = pytest.mark.needs_corpus

CASES = [
    ("snntorch", "mlp_leaky.unroll25.dyn", "mlp_leaky"),
    ("snntorch", "mlp_leaky.unroll25.ts", "mlp_leaky"),
    ("snntorch", "mlp_leaky_zero.unroll10.dyn", "mlp_leaky_zero"),
    ("snntorch", "mlp_synaptic.unroll8.ts", "mlp_synaptic"),
    ("norse", "mlp_lif.unroll12.dyn", "mlp_lif"),
    ("norse", "mlp_lif.unroll12.ts", "mlp_lif"),
    ("norse", "mlp_lifbox.unroll12.dyn", "mlp_lifbox"),
]
LIMITS = {"float32": (0.002, 0.001, 0.999), "fp16": (0.15, 0.1, 0.97)}


def run(folder: Path, model: str, reference: str, out: Path, *words: str) -> None:
    done = snncc(
        "run", folder / f"{model}.onnx", "--config", folder / f"{reference}.toml",
        "--inputs", folder / f"{reference}.npz", "-o", out, *words,
    )  # fmt: skip
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("numerics", LIMITS)
@pytest.mark.parametrize(("library", "model", "reference"), CASES, ids=[c[1] for c in CASES])
def test_one_step(
    corpus: Path, tmp_path: Path, library: str, model: str, reference: str, numerics: str
) -> None:
    folder, out = corpus / "onnx" / library, tmp_path / "out.npz"
    run(folder, model, reference, out, "--numerics", numerics)
    logits, loss, cosine = LIMITS[numerics]
    names = json.loads((folder / f"{model}.json").read_text())["param_map"]
    compared = 0
    with np.load(out) as ours, np.load(folder / f"{reference}.npz") as theirs:
        want = theirs["out/logits"]
        assert ours["logits"].shape == want.shape
        assert np.linalg.norm(ours["logits"] - want) <= logits * max(
            float(np.linalg.norm(want)), 1e-9
        )
        assert abs(float(ours["loss"]) - float(theirs["loss"])) <= loss
        for name, (initializer, _) in ((k, v) for k, v in names.items() if v):
            grad = theirs[f"grad/{name}"] if f"grad/{name}" in theirs else np.zeros(1)
            if grad.size < 2 or not grad.any():
                continue
            found = ours[f"grad/{initializer}"]
            assert found.shape == grad.shape
            a, b = found.ravel().astype(float), grad.ravel().astype(float)
            assert a @ b >= cosine * np.linalg.norm(a) * np.linalg.norm(b), name
            compared += 1
    assert compared >= 4


def test_bits_do_not_depend_on_cores_or_memory(corpus: Path, tmp_path: Path) -> None:
    folder = corpus / "onnx" / "norse"
    half = tmp_path / "half.toml"
    lines = snncc("targets", "multicore20").stdout.splitlines()
    section = ""
    for i, line in enumerate(lines):
        section = line if line.startswith("[") else section
        if section == "[scratchpad]" and line.startswith("bytes = "):
            lines[i] = f"bytes = {int(line.split()[2]) // 2}"
    half.write_text("\n".join(lines))
    found: dict[str, bytes] = {}
    for name, words in {
        "1": ("--cores", "1"),
        "4": ("--cores", "4"),
        "20": ("--cores", "20"),
        "half": ("--target", str(half)),
        "small": ("--target", "small"),
        "reference": ("--engine", "reference", "--cores", "2"),
    }.items():
        out = tmp_path / f"{name}.npz"
        run(folder, "mlp_lif.unroll12.dyn", "mlp_lif", out, *words)
        found[name] = out.read_bytes()
    assert len(set(found.values())) == 1, [n for n, b in found.items() if b != found["1"]]

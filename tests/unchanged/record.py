"""Record what the shipped models compile to and compute, as digests: proof that nothing moved.

    python tests/unchanged/record.py recorded.json              write the digests
    python tests/unchanged/record.py --against recorded.json    compare with them; exit code 1

Through the command line only, so that it runs on any state of the sources.  Per model and number of
cores: instructions and tables of the program, results, statistics, and the trace of small ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CORES = (1, 4, 20)
FIRE = "let fire = lif(beta=0.5, threshold=1, surrogate=fast_sigmoid(slope=25))\n"
TRAIN = "train { optimizer = sgd(lr=0.1)  readout = sum }\n"
WRITTEN = {
    "dense-784-100-10": "network a\ninput(784, steps=6, static=false)\n" + FIRE
    + "dense(100) fire\ndense(10) fire\noutput(spk)\n" + TRAIN,
    "csnn": "network b\ninput(1x28x28, steps=3, static=false)\n" + FIRE
    + "conv(12, kernel=5) fire maxpool\nconv(32, kernel=5) fire maxpool\nflatten\n"
    "dense(10) fire\noutput(spk)\n" + TRAIN,
    "recurrent": "network c\ninput(12, steps=9, static=false)\n" + FIRE
    + "dense(32) fire(recurrent=true)\ndense(4) fire\noutput(spk)\n" + TRAIN,
}  # fmt: skip
"""Networks like the benchmark's, besides those in models/."""
BATCH = 2
UNTRACED = {"resnet", "spikformer", "vgg"}  # their traces have millions of lines


def snncc(*words: str | Path, cwd: Path) -> bytes:
    """Run a command of snncc and return what it prints on stdout."""
    command = [sys.executable, "-m", "snncc.compiler.cli.entry", *map(str, words)]
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE).stdout


def models(folder: Path) -> dict[str, tuple[Path, list[str]]]:
    """Return the models by name, with the options that they need."""
    found: dict[str, tuple[Path, list[str]]] = {}
    for file in sorted((ROOT / "models").glob("*.snn")):
        found[file.stem] = file, []
    found["mlp_digits"] = (
        ROOT / "models/mlp_digits.onnx",
        ["--config", str(ROOT / "models/mlp_digits.toml")],
    )
    for name, text in WRITTEN.items():
        file = folder / f"{name}.snn"
        file.write_text(text, encoding="utf-8")
        found[name] = file, []
    return found


def without_versions(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Drop what may differ between two states of the sources: version numbers."""
    return {key: value for key, value in pairs if key not in ("versions", "version")}


def digest(data: bytes) -> str:
    """Return 16 hexadecimal digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def digest_json(data: bytes) -> str:
    """Return the digest of a JSON text, whatever its versions."""
    found = json.loads(data, object_pairs_hook=without_versions)
    return digest(json.dumps(found, sort_keys=True).encode())


def digest_arrays(path: Path) -> str:
    """Return the digest of the arrays of an npz file, names, shapes and bits."""
    whole = hashlib.sha256()
    with np.load(path) as arrays:
        for name in sorted(arrays.files):
            whole.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
            whole.update(np.ascontiguousarray(arrays[name]).tobytes())
    return whole.hexdigest()[:16]


def record_one(
    model: Path, options: list[str], cores: int, traced: bool, at: Path
) -> dict[str, str]:
    """Compile and run one model; return its digests."""
    snncc("compile", model, *options, "--batch", str(BATCH), "--cores", str(cores), "-o", "p.snnx",
          "--target", "multicore20", cwd=at)  # fmt: skip
    listing: dict[str, Any] = json.loads(snncc("dis", "p.snnx", "--json", cwd=at))
    rng = np.random.Generator(np.random.PCG64(7))
    shapes: dict[str, tuple[int, ...]] = {
        t["role"]: tuple(t["shape"]) for t in reversed(listing["tensors"])
    }
    x = (rng.random(shapes["input"]) < 0.3).astype(np.float32)
    y = rng.integers(0, 4, shapes["target"])
    np.savez(at / "in.npz", x=x, y=y)
    words = ["run", "p.snnx", "--inputs", "in.npz", "-o", "out.npz", "--stats", "stats.json"]
    snncc(*words, *(["--trace", "trace.txt"] if traced else []), cwd=at)
    found = {
        "program": digest_json(json.dumps(listing).encode()),
        "results": digest_arrays(at / "out.npz"),
        "statistics": digest_json((at / "stats.json").read_bytes()),
    }
    if traced:
        found["trace"] = digest((at / "trace.txt").read_bytes())
    return found


def record() -> dict[str, dict[str, str]]:
    """Return the digests of all models on 1, 4 and 20 cores."""
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, (path, options) in models(folder).items():
            for cores in CORES:
                here = folder / f"{model}-{cores}"
                here.mkdir()
                key = f"{model}, {cores} cores"
                found[key] = record_one(path, options, cores, model not in UNTRACED, here)
                print(key, *found[key].values(), file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--against", type=Path)
    given = parser.parse_args()
    found = record()
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not given.against:
        return 0
    before = json.loads(given.against.read_text(encoding="utf-8"))
    different = [
        f"{key}: {what}"
        for key, parts in before.items()
        for what, value in parts.items()
        if found.get(key, {}).get(what) != value
    ]
    print(*different, f"{len(different)} differences", sep="\n")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())

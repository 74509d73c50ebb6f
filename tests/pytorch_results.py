"""What PyTorch and its frameworks compute, stored, so that no test needs them installed.

A test hands over its inputs and a function that computes the result with PyTorch.  As a rule the
function does not run: the result is read from ``tests/data/pytorch``, one file for a test module.
``pytest --pytorch record`` runs it and writes the file, ``--pytorch compare`` runs it and compares
with what the file holds; ``tests/data/pytorch/make.py`` does both for all modules.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, Any]
Compute: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""From the module torch to named results, each a number, an array or a tensor."""

FOLDER = Path(__file__).parent / "data" / "pytorch"
MODES = ("stored", "record", "compare")


def digest(inputs: Mapping[str, Any]) -> str:
    """Return a short hash of inputs; the last bits of a random draw may differ between machines."""
    found = hashlib.sha256()
    for name in sorted(inputs):
        array = np.asarray(inputs[name], np.float64)
        found.update(f"{name}{array.shape}".encode())
        found.update((np.round(array, 6) + 0.0).tobytes())  # + 0.0: no negative zeros
    return found.hexdigest()[:12]


def with_gradients(loss: Any, leaves: Mapping[str, Any]) -> Arrays:
    """Differentiate a loss; return it and the gradient of every leaf, zeros where there is none."""
    loss.backward()
    found: Arrays = {"loss": loss.item()}
    for name, leaf in leaves.items():
        found[f"grad/{name}"] = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
    return found


class Results:
    """The stored results of a test module: named float64 arrays under a key for each question."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict[str, Arrays] = {}
        self.digests: dict[str, str] = {}

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read a file; see ``write``."""
        results = cls(path)
        with np.load(path, allow_pickle=False) as file:
            values, index = file["values"], json.loads(file["index"].tobytes())
        start = 0
        for key, (said, shapes) in index.items():
            results.digests[key] = said
            results.values[key] = {}
            for name, shape in shapes:
                size = math.prod(shape)
                results.values[key][name] = values[start : start + size].reshape(shape)
                start += size
        return results

    def write(self) -> None:
        """Write all numbers as one array, and an index: key -> digest of inputs, names, shapes."""
        keys = sorted(self.values)
        index = {
            key: [self.digests[key], [[n, np.shape(a)] for n, a in self.values[key].items()]]
            for key in keys
        }
        parts = [np.ravel(a) for key in keys for a in self.values[key].values()]
        text = np.frombuffer(json.dumps(index).encode(), np.uint8)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.path, values=np.concatenate(parts), index=text)

    def stored(self, key: str, inputs: Mapping[str, Any]) -> Arrays:
        """Return what was stored for these inputs."""
        again = "run tests/data/pytorch/make.py, which needs PyTorch"
        assert key in self.values, f"{self.path.name} has no result for {key}: {again}"
        assert self.digests[key] == digest(inputs), f"{key} has other inputs now: {again}"
        return self.values[key]


class PyTorch:
    """Answers what PyTorch computes; the n-th question of a test has the key ``TEST/n``."""

    def __init__(self, results: Results, test: str, mode: str) -> None:
        self.results, self.test, self.mode = results, test, mode
        self.asked = 0

    def __call__(self, inputs: Mapping[str, Any], compute: Compute) -> Arrays:
        """Return the named results for the inputs as float64 arrays."""
        key = f"{self.test}/{self.asked}"
        self.asked += 1
        if self.mode == "stored":
            return self.results.stored(key, inputs)
        found = {
            name: np.asarray(value.detach() if hasattr(value, "detach") else value, np.float64)
            for name, value in compute(importlib.import_module("torch")).items()
        }
        if self.mode == "record":
            self.results.values[key], self.results.digests[key] = found, digest(inputs)
            return found
        held = self.results.stored(key, inputs)
        assert list(held) == list(found)
        for name, value in found.items():
            np.testing.assert_allclose(held[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
        return held

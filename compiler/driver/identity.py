"""What makes a training run the run that it is: contents, never names or places of files.

Two runs with equal identities give equal bits.  What a resumed run may change (learning rate,
cores, target, test samples) is kept beside it, so that a difference can be told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.config.config import Config
from snncc.compiler.config.schema import KEYS
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import UNKNOWN, Module, sha256_of
from snncc.compiler.ir.printer import print_module
from snncc.isa.machine.machine import Machine

Array: TypeAlias = npt.NDArray[Any]
Facts: TypeAlias = Mapping[str, Any]
FREE = ("optimizer.lr", "machine.target", "machine.cores", "training.batch")
"""Configuration that a resumed run may change, or that is compared as what it leads to."""
_NAMES = {
    "model": "the model's contents",
    "data": "the training samples",
    "arithmetic": "the machine's arithmetic",
    "test data": "the test samples",
}


@dataclass(frozen=True)
class Identity:
    """Facts that must be equal, and facts that may differ."""

    fixed: Facts = field(default_factory=dict[str, Any])
    free: Facts = field(default_factory=dict[str, Any])

    def as_json(self) -> dict[str, Any]:
        """Return plain data for a checkpoint."""
        return {"fixed": dict(self.fixed), "free": dict(self.free)}


def identity_of(
    graph: Module, config: Config, machine: Machine, train: Sequence[Array], test: Sequence[Array]
) -> Identity:
    """Return the identity of a run: imported graph, configuration, machine, samples and labels."""
    values = {key.path: _plain(config.get(key.path).value) for key in KEYS}
    layers: dict[str, Any] = {
        f"surrogate of {layer}": [rule.name, dict(rule.params)]
        for layer, rule in config.surrogates.items()
    }
    layers |= {f"reset gradient of {layer}": said.value for layer, said in config.resets.items()}
    return Identity(
        {
            "model": model_hash(graph),
            "data": data_hash(train),
            "arithmetic": [machine.accumulator, machine.saturate],
            "batch": graph.batch,
            **{path: value for path, value in values.items() if path not in FREE},
            **layers,
        },
        {
            "optimizer.lr": values["optimizer.lr"],
            "target": machine.name,
            "cores": machine.cores,
            "test data": data_hash(test),
        },
    )


def differences(there: Facts, here: Facts) -> list[str]:
    """Return in words how two sets of facts differ, the first being the checkpoint's."""
    found: list[str] = []
    for name in dict.fromkeys((*there, *here)):
        before, now = there.get(name), here.get(name)
        if before == now:
            continue
        if name in _NAMES:
            found.append(f"{_NAMES[name]} differ")
        else:
            found.append(f"{name} was {_word(before)}, is {_word(now)}")
    return found


def model_hash(graph: Module) -> str:
    """Return a digest of what a graph computes: names of files and places in them do not count."""
    bare = clone(graph)
    bare.name = "model"
    bare.attrs.pop("source", None)
    for op in bare.walk():
        op.loc = UNKNOWN
    return hashlib.sha256(print_module(bare, sha256_of).encode()).hexdigest()


def data_hash(arrays: Sequence[Array]) -> str:
    """Return a digest of the numbers in arrays; their element type does not count."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        for start in range(0, len(array), 4096):
            part = array[start : start + 4096]
            digest.update(np.ascontiguousarray(part, dtype="<f4").tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Return a value as it comes back from JSON."""
    return json.loads(json.dumps(value, default=str))


def _word(value: Any) -> str:
    return "not said" if value is None else json.dumps(value)

"""The network under construction: values and layers by name, parameters, first weights."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import DiagnosticSink, Span, fail
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Block, Location, Module, Value, tensor

Array: TypeAlias = npt.NDArray[Any]
TRAINED = ("weight", "bias", "scale", "shift")
MAX_WEIGHTS = 1 << 28


def uniform(name: str, seed: int, shape: Sequence[int], bound: float) -> Array:
    """Return numbers in -bound..bound that depend on name, seed and shape only.

    The generator is PCG64, seeded with the SHA-256 of ``seed:name``; the upper 53 bits of each
    word, so the numbers are the same with every version of numpy.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    words = np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw(math.prod(shape))
    unit = (np.asarray(words, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return ((2 * unit - 1) * bound).astype(np.float32).reshape(tuple(shape))


@dataclass(slots=True)
class Net:
    """What all layers need."""

    module: Module
    steps: int
    sink: DiagnosticSink
    seed: int = 0
    gain: float = 1.0
    weights: dict[str, Array] = field(default_factory=dict[str, Array])
    """First values by parameter name; the initialiser makes the others."""
    weights_file: str = ""
    block: Block = field(default_factory=Block)
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    taken: set[str] = field(default_factory=set[str])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    drawn: int = 0
    streams: int = 0

    def builder(self, span: Span, layer: str = "") -> Builder:
        """Return a builder that knows the place, and the layer if it has a name."""
        where = Location(str(span))
        return Builder(self.block, where, layer=layer) if layer else Builder(self.block, where)

    def name(self, wanted: str, kind: str) -> str:
        """Return a layer name of its own: the wanted one, or kind and number."""
        if not wanted:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            wanted = f"{kind}{self.counts[kind]}"
        made, n = wanted, 1
        while made in self.taken:
            n += 1
            made = f"{wanted}_{n}"
        self.taken.add(made)
        return made

    def param(
        self,
        b: Builder,
        span: Span,
        name: str,
        shape: Sequence[int],
        role: str,
        *,
        bound: float = 0.0,
        fill: float | None = None,
        swap: bool = False,
        train: bool | None = None,
    ) -> Value:
        """Emit a parameter; ``shape`` is the file's, ``swap``: the op takes the transpose."""
        shape = tuple(shape)
        self.drawn += math.prod(shape)
        if self.drawn > MAX_WEIGHTS:
            fail("E0124", f"more than {MAX_WEIGHTS} parameters", span)
        array = self.weights.get(name)
        if array is not None:
            if array.shape != shape:
                text = f"{name} has shape {list(array.shape)} in the weights, {list(shape)} here"
                fail("E0125", text, span)
            array = array.astype(np.float32)
        elif fill is not None:
            array = np.full(shape, fill, np.float32)
        else:
            array = uniform(name, self.seed, shape, bound * self.gain)
        if self.weights and name not in self.weights and role not in ("mean", "var"):
            fail("E0125", f"{self.weights_file} holds no {name}", span,
                 help=f"it holds {', '.join(sorted(self.weights)[:12])}")  # fmt: skip
        if swap:
            array = np.ascontiguousarray(array.T)
        self.module.resources[name] = array
        attrs: dict[str, Attribute] = {
            "name": name,
            "resource": name,
            "role": role,
            "train": role in TRAINED if train is None else train,
        }
        if swap:
            attrs["transpose"] = True
        return b.op("graph.param", types=[tensor(array.shape)], attrs=attrs, names=(name,)).result

    def number(self, b: Builder, value: float) -> Value:
        """Emit a constant."""
        return b.op("graph.const", types=[tensor(())], attrs={"value": value}).result

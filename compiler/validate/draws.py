"""Points at which a file and its import are compared: random inputs and moved parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from snncc.compiler.ir.build import flag
from snncc.compiler.ir.core import Module, Op, Type
from snncc.compiler.validate.arithmetic import STEP, Array

MOVE = 0.05
"""By how much of its size a parameter is moved."""


class HasParameters(Protocol):
    """The part of a reference that is needed here."""

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Parameters by name, as the file has them."""
        ...


@dataclass(frozen=True)
class Shared:
    """Parameters that both sides name: as the file has them, and the ops of the import."""

    arrays: Mapping[str, Array]
    ops: Mapping[str, Op]


@dataclass(frozen=True)
class Point:
    """Inputs in the import's layout and the parameters of both sides."""

    inputs: Mapping[str, Array]
    file_parameters: Mapping[str, Array]
    module_parameters: Mapping[str, Array]
    words: str


def shared_parameters(module: Module, reference: HasParameters) -> Shared:
    """Find the parameters that a prepared module takes from the file as they are."""
    ops = {op.str_attr("name"): op for op in module.walk() if op.name == "graph.param"}
    arrays: dict[str, Array] = {}
    for name, op in ops.items():
        base = name.partition("#")[0]
        if base in reference.parameters:
            arrays[base] = np.asarray(reference.parameters[base], np.float64)
    return Shared(arrays, {n: op for n, op in ops.items() if n.partition("#")[0] in arrays})


def in_module_layout(op: Op, array: Array) -> Array | None:
    """Return a file's array as a parameter op holds it; None where the sizes do not fit."""
    if flag(op.attrs, "transpose"):
        array = array.T
    shape = op.results[0].type.shape
    if array.shape == shape:
        return array
    if array.size == int(np.prod(shape)):
        return array.reshape(shape)
    return array.reshape(()) if array.size == 1 else None


def draw(module: Module, shared: Shared, scale: float, seed: int, *, derivatives: bool) -> Point:
    """Draw inputs of a scale; move the parameters, and give everything a derivative if asked."""
    rng = np.random.default_rng(seed)
    inputs = {
        arg.name: _input(rng, arg.type, scale, derivatives) for arg in module.func("main").body.args
    }
    moved = {
        name: _moved(rng, array, derivatives) if derivatives else array
        for name, array in sorted(shared.arrays.items())
    }
    placed: dict[str, Array] = {}
    for name, op in shared.ops.items():
        array = in_module_layout(op, moved[name.partition("#")[0]])
        if array is not None:
            placed[name] = array
    words = (
        f"the smooth comparison (seed {seed})"
        if derivatives
        else f"a comparison at inputs of scale {scale:g} (seed {seed})"
    )
    return Point(inputs, moved, placed, words)


def _input(rng: np.random.Generator, type_: Type, scale: float, derivatives: bool) -> Array:
    shape = type_.shape
    bits = (rng.random(shape) < 0.5).astype(np.float64)
    if type_.dtype == "bit":
        return bits
    values = rng.standard_normal(shape) * scale
    if not derivatives:
        return np.where(rng.random(shape) < 0.25, bits, values)
    return values + 1j * STEP * rng.standard_normal(shape)


def _moved(rng: np.random.Generator, array: Array, derivatives: bool) -> Array:
    """Move every element by a part of its own size and of the tensor's typical one."""
    size = float(np.sqrt(np.mean(array * array))) if array.size else 0.0
    step = MOVE * (np.abs(array) + size) / 2 if size else np.full(array.shape, MOVE)
    moved = array + step * rng.uniform(-1, 1, array.shape)
    return moved + 1j * STEP * (size or 1.0) * rng.standard_normal(array.shape)

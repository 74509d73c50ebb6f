"""Points at which a file and its import are compared: random inputs and moved parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from snncc.compiler.ir.build import flag
from snncc.compiler.ir.core import Module, Op, Type
from snncc.compiler.validate.arithmetic import STEP, Array

FREE = ("weight", "bias", "shift", "mean")
MOVE, FAR = 0.05, 0.6
"""By how much of its size a parameter is moved: weights and offsets go far, all others stay near.

Half of the weights change their sign, too: both sides stay one function, and membranes of either
sign are seen.
"""


class HasParameters(Protocol):
    """The part of a reference that is needed here."""

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Parameters by name, as the file has them."""
        ...

    @property
    def constants(self) -> frozenset[str]:
        """Names among them that stand for plain numbers."""
        ...


@dataclass(frozen=True)
class Shared:
    """Parameters that both sides name: as the file has them, and the ops of the import."""

    arrays: Mapping[str, Array]
    ops: Mapping[str, Op]
    free: frozenset[str]
    """Names of weights, biases and offsets, which may have any values."""


@dataclass(frozen=True)
class Point:
    """Inputs in the import's layout and the parameters of both sides."""

    inputs: Mapping[str, Array]
    file_parameters: Mapping[str, Array]
    module_parameters: Mapping[str, Array]
    words: str


def shared_parameters(module: Module, reference: HasParameters) -> Shared:
    """Find the parameters that a prepared module takes from the file as they are.

    Numbers that are not trained stay what they are: exporters merge equal ones, so a name does not
    say which of them is meant.
    """
    ops = {op.str_attr("name"): op for op in module.walk() if op.name == "graph.param"}
    arrays: dict[str, Array] = {}
    constants = reference.constants
    for name, each in ops.items():
        base = name.partition("#")[0]
        if base not in reference.parameters:
            continue
        array = np.asarray(reference.parameters[base], np.float64)
        number = base in constants and array.size == 1
        if (flag(each.attrs, "train") and not number) or not is_uniform(array):
            arrays[base] = array
    held = {n: op for n, op in ops.items() if n.partition("#")[0] in arrays}
    free = {n.partition("#")[0] for n, op in held.items() if op.attrs.get("role") in FREE}
    return Shared(arrays, held, frozenset(free))


def is_uniform(array: Array) -> bool:
    """Whether all elements are equal."""
    return not array.size or bool(np.all(array == array.reshape(-1)[0]))


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


def draw(
    module: Module, shared: Shared, scale: float, seed: int, *, derivatives: bool,
    kinds: Mapping[str, str],
) -> Point:  # fmt: skip
    """Draw inputs of a scale; move the parameters, and give everything a derivative if asked.

    ``kinds``: ``integer``, ``integer<N`` (from 0 to N-1) or ``truth`` for the inputs that are no
    real numbers.
    """
    rng = np.random.default_rng(seed)
    inputs = {
        arg.name: _input(rng, arg.type, scale, derivatives, kinds.get(arg.name, ""))
        for arg in module.func("main").body.args
    }
    moved = {
        name: _moved(rng, array, name in shared.free, min(scale, 1.5)) if derivatives else array
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


def _input(
    rng: np.random.Generator, type_: Type, scale: float, derivatives: bool, kind: str
) -> Array:
    shape = type_.shape
    bits = (rng.random(shape) < 0.5).astype(np.float64)
    if type_.dtype == "bit" or kind == "truth":
        return bits
    if kind.startswith("integer"):
        below = int(kind.partition("<")[2] or 3)
        return rng.integers(0, below, shape).astype(np.float64)
    values = rng.standard_normal(shape) * scale
    if not derivatives:
        return np.where(rng.random(shape) < 0.25, bits, values)
    return values + 1j * STEP * rng.standard_normal(shape)


def _moved(rng: np.random.Generator, array: Array, free: bool, reach: float) -> Array:
    """Move every element by a part of the tensor's typical size.

    ``free``: weights, biases and the offsets of a normalisation, which move as far as ``reach``
    says and may change their sign; a gain, a variance or a leak stays near and positive.  Without
    free offsets the membranes behind a normalisation would all have the sign of its shift.  A
    square matrix whose diagonal is zero keeps it: such recurrent weights are masked in training (no
    neuron feeds itself), and exporters leave the zeros of the product, not the mask.
    """
    size = (float(np.sqrt(np.mean(array * array))) if array.size else 0.0) or 1.0
    step = np.full(array.shape, (FAR * reach if free else MOVE) * size)
    signs = np.where(rng.random(array.shape) < 0.5, -1.0, 1.0)
    if not free:
        signs = np.ones(array.shape)
        if bool(np.all(array > 0)):
            step = np.minimum(step, MOVE * array)
    rate = np.full(array.shape, size)
    if array.ndim == 2 and array.shape[0] == array.shape[1] > 1 and not array.diagonal().any():
        off = ~np.eye(array.shape[0], dtype=np.bool_)
        step, rate = step * off, rate * off
    moved = signs * array + step * rng.uniform(-1, 1, array.shape)
    return moved + 1j * STEP * rate * rng.standard_normal(array.shape)

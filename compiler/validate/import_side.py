"""The import evaluated in the arithmetics of :mod:`snncc.compiler.validate.arithmetic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.evaluate import Machine
from snncc.compiler.interp.layout import in_file_layout
from snncc.compiler.interp.numerics import Native
from snncc.compiler.interp.region import Elementwise
from snncc.compiler.ir.build import text
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Module, Op
from snncc.compiler.ir.neuron_constants import promote
from snncc.compiler.passes.graph._resets import detach_resets
from snncc.compiler.validate.arithmetic import ROUNDINGS, Arithmetic, Array

FUNCTION = "main"


class Numbers(Native):
    """The interpreter's numbers: those of an arithmetic."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        """Compute in float64, with derivatives where the arithmetic has them."""
        super().__init__(np.float64)
        self.arithmetic = arithmetic

    def value(self, array: npt.ArrayLike, dtype: str) -> Array:
        """Keep numbers with derivatives, which stand for bits too."""
        a = np.asarray(array)
        return a if np.iscomplexobj(a) else super().value(a, dtype)

    def round(self, a: Array, dtype: str) -> Array:
        """Nothing is rounded."""
        return a if np.iscomplexobj(a) else super().round(a, dtype)

    def binary(self, name: str, a: Array, b: Array, dtype: str) -> Array:
        """Order is that of the values."""
        if name == "max":
            return self.arithmetic.maximum(a, b)
        if name == "min":
            return self.arithmetic.minimum(a, b)
        return super().binary(name, a, b, dtype)

    def unary(self, name: str, a: Array, dtype: str) -> Array:
        """Functions of the values, with their derivatives."""
        if name == "neg":
            return -a
        if name == "abs":
            return self.arithmetic.absolute(a)
        if name in ROUNDINGS:
            return self.arithmetic.rounding(name, a)
        return self.arithmetic.function(name, a)

    def table(self, fn: str, a: Array) -> Array:
        """Functions of the values, with their derivatives."""
        return self.arithmetic.function(fn, a)


class Ops(Elementwise):
    """Element-wise ops in an arithmetic: spikes are numbers, not bits."""

    def __init__(self, numbers: Numbers) -> None:
        """No op draws random bits in a validation."""
        super().__init__(numbers, 0)
        self.arithmetic = numbers.arithmetic

    def __call__(self, op: Op, args: Sequence[Array], step: int) -> Array:
        """Evaluate one op; comparisons are of values, logic is arithmetic of 0 and 1."""
        if not self.arithmetic.smooth:
            return super().__call__(op, args, step)
        match op.name[3:]:
            case "gt" | "ge" | "lt" | "le" | "eq":
                return super().__call__(op, [self.arithmetic.real(a) for a in args], step)
            case "and" if _numbers(args):
                return self.num.number(args[0]) * self.num.number(args[1])
            case "or" if _numbers(args):
                a, b = (self.num.number(x) for x in args)
                return a + b - a * b
            case "not" if _numbers(args):
                return 1 - args[0]
            case "select":
                return self.arithmetic.where(args[0], *(self.num.number(x) for x in args[1:]))
            case "stop_gradient":
                return self.arithmetic.detach(args[0])
            case _:
                return super().__call__(op, args, step)

    def spike(self, op: Op, args: Sequence[Array]) -> Array:
        """A spike function of the arithmetic."""
        if not self.arithmetic.smooth:
            return super().spike(op, args)
        kind = text(op.attrs, "compare")
        if kind in ("strict", "non_strict"):
            return self.arithmetic.spike(args[0], args[1], kind == "strict")
        if kind == "multi":
            return self.arithmetic.spikes(args[0], args[1])
        raise NotImplementedError(f"spikes that compare by {kind!r}")


def _numbers(args: Sequence[Array]) -> bool:
    return any(np.iscomplexobj(a) for a in args)


def prepared(module: Module, *, detached: bool, batch_statistics: bool) -> Module:
    """Return a copy in which every named constant is a parameter and the resets are decided.

    Neurons whose file says itself what becomes of the gradient of their reset keep it.
    """
    copy = clone(module)
    promote(copy, lambda name: True)
    for op in copy.walk():
        if op.name in ("graph.neuron", "graph.spike") and not _decided(op):
            op.attrs["reset_gradient"] = "detached" if detached else "attached"
    for function in copy.funcs.values():
        detach_resets(function.body, lambda op: op.attrs.get("reset_gradient") == "detached")
    statistics = "batch" if batch_statistics else "running"
    copy.attrs["training"] = {"batchnorm": {"statistics": statistics}}
    return copy


def _decided(op: Op) -> bool:
    explicit = op.attrs.get("explicit")
    return isinstance(explicit, tuple) and "reset_gradient" in explicit


def evaluate_import(
    module: Module,
    inputs: Mapping[str, Array],
    parameters: Mapping[str, Array],
    arithmetic: Arithmetic,
) -> dict[str, Array]:
    """Evaluate a prepared module; return its outputs by name, in the file's layout.

    ``inputs`` by argument name, sequences with time first; ``parameters`` by the name of the op.
    """
    numbers = Numbers(arithmetic)
    machine = Machine(module, numbers, parameters, 0)
    statistics = machine.ew.batch_statistics
    machine.ew = Ops(numbers)
    machine.ew.batch_statistics = statistics
    found = in_file_layout(module.func(FUNCTION), machine.run(FUNCTION, inputs))
    return {name.removeprefix("out/"): a for name, a in found.items() if name.startswith("out/")}

"""The import evaluated in the arithmetics of :mod:`snncc.compiler.validate.arithmetic`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.evaluate import Interpreter
from snncc.compiler.interp.layout import in_file_layout
from snncc.compiler.interp.numerics import Native
from snncc.compiler.interp.region import Elementwise
from snncc.compiler.ir.build import stairs_of, text
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Attribute, Module, Op, Value
from snncc.compiler.ir.core import op as new_op
from snncc.compiler.ir.neuron_constants import promote
from snncc.compiler.passes.graph.kit.reset_paths import detach_resets
from snncc.compiler.validate.arithmetic import ROUNDINGS, Arithmetic, Array
from snncc.compiler.validate.draws import Point

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
        self.compared: tuple[bool, ...] = (True, False)
        """Which sides of the spike function that is evaluated are data; a neuron's is the left."""

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
                return np.asarray(a + b - a * b)
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
            data = [x for x, moves in zip(args, self.compared, strict=True) if moves]
            return self.arithmetic.spike(args[0], args[1], kind == "strict", data)
        if kind == "multi":
            return self.arithmetic.spikes(args[0], args[1])
        if kind == "stairs":
            h = self.arithmetic.real(args[0])
            steps = stairs_of(op.attrs)
            for level, _ in steps:
                self.arithmetic.approach(h, np.asarray(level))
            count = super().spike(op, [h, self.arithmetic.real(args[1])])
            return self.arithmetic.fired(args[:1], args[0] - args[1], count, count=len(steps) > 1)
        raise AssertionError(f"nobody said how spikes compare by {kind!r}")


class Side(Interpreter):
    """The interpreter in an arithmetic."""

    def __init__(
        self, module: Module, parameters: Mapping[str, Array], arithmetic: Arithmetic
    ) -> None:
        """``parameters`` by the name of the op."""
        numbers = Numbers(arithmetic)
        super().__init__(module, numbers, parameters, 0)
        statistics = self.ew.batch_statistics
        self.ew = Ops(numbers)
        self.ew.batch_statistics = statistics
        self.fixed = _fixed(module)
        self.arithmetic = arithmetic

    def run_op(self, op: Op, args: Sequence[Array], seqs: Sequence[bool], step: int) -> list[Array]:
        """Evaluate one op; a derivative stops where the op says so."""
        if op.name == "graph.stop_gradient":
            return [self.arithmetic.detach(args[0])]
        assert isinstance(self.ew, Ops)
        moving = tuple(v not in self.fixed for v in op.operands)
        self.ew.compared = moving if op.name == "graph.spike" else (True, False)
        return super().run_op(op, args, seqs, step)


def _fixed(module: Module) -> frozenset[Value]:
    """Return what is computed from parameters and constants alone."""
    found = set[Value]()
    for op in module.walk():
        alone = op.operands and op.name != "graph.delay" and all(v in found for v in op.operands)
        if op.name in ("graph.const", "graph.param") or alone:
            found.update(op.results)
    return frozenset(found)


def _numbers(args: Sequence[Array]) -> bool:
    """Whether truth values are numbers, as spikes are, with derivatives or detached."""
    return any(a.dtype.kind in "fc" for a in args)


def prepared(module: Module, *, detached: bool | None, batch_statistics: bool) -> Module:
    """Return a copy of a module to be evaluated.

    ``detached`` decides about the resets of a module that no configuration was applied to, except
    where the file says itself what becomes of their gradient, and makes a parameter of every
    constant that has a name; None takes a configured module as it is.
    """
    copy = clone(module)
    if detached is not None:
        promote(copy, lambda name: True)
        for op in copy.walk():
            if op.name in ("graph.neuron", "graph.spike") and not _decided(op):
                op.attrs["reset_gradient"] = "detached" if detached else "attached"
        for function in copy.funcs.values():
            detach_resets(function.body)
    _without_conventions(copy)
    statistics = "batch" if batch_statistics else "running"
    copy.attrs["training"] = {"batchnorm": {"statistics": statistics}}
    return copy


def _without_conventions(module: Module) -> None:
    """Take out what a framework does to gradients beside what the file says, as the import noted.

    Like the surrogate itself it is no part of the file, so it cannot be compared with it.
    """
    for op in list(module.walk()):
        origin = op.attrs.get("origin")
        if op.name == "graph.stop_gradient" and isinstance(origin, Mapping):
            if "gradient" in origin:
                op.result.replace_by(op.operands[0])
                op.erase()


def _decided(op: Op) -> bool:
    explicit, origin = op.attrs.get("explicit"), op.attrs.get("origin")
    if isinstance(origin, Mapping) and origin.get("reset_gradient") == "file":
        return True
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
    machine = Side(module, parameters, arithmetic)
    found = in_file_layout(module.func(FUNCTION), machine.run(FUNCTION, inputs))
    return {name.removeprefix("out/"): a for name, a in found.items() if name.startswith("out/")}


@dataclass(frozen=True)
class Spikes:
    """What a layer of the import fires at a point: one array, steps first, and its reset.

    ``compare``: how the layer compares (``strict``, ``non_strict``, ``multi``).
    """

    values: Array
    timed: bool
    detached: bool
    compare: str


def _resetting(op: Op) -> bool:
    if op.name == "graph.spike":
        return True
    return op.name == "graph.neuron" and text(op.attrs, "compare", "strict") != "none"


def reset_modes(module: Module) -> set[str]:
    """Return what becomes of the gradients of a module's resets."""
    return {
        text(op.attrs, "reset_gradient", "detached")
        for op in module.walk()
        if _resetting(op) and op.attrs.get("reset") != "none"
    }


def spikes_of(module: Module, point: Point, arithmetic: Arithmetic) -> list[Spikes]:
    """Evaluate what every layer fires, with whether its reset is detached."""
    copy = clone(module)
    body = copy.func(FUNCTION).body
    layers = [op for op in list(body.ops) if _resetting(op)]
    for k, layer in enumerate(layers):
        name: Mapping[str, Attribute] = {"name": f"spikes {k}"}
        body.append(new_op("graph.output", [layer.results[0]], [], name, loc=layer.loc))
    with np.errstate(all="ignore"):
        found = Side(copy, point.module_parameters, arithmetic).run(FUNCTION, point.inputs)
    return [
        Spikes(
            found[f"out/spikes {k}"],
            layer.results[0].type.kind == "seq",
            text(layer.attrs, "reset_gradient", "detached") == "detached",
            text(layer.attrs, "compare", "strict"),
        )
        for k, layer in enumerate(layers)
    ]

"""Element-wise ops and the regions that hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.interp.numerics import Array, Fp16, Numerics
from snncc.compiler.ir.build import integer, number, stairs_of, text
from snncc.compiler.ir.core import Op, Type, Value
from snncc.isa.microprograms.code import meaning_of
from snncc.isa.numbers import fp16, rng

_COMPARE = frozenset(("gt", "ge", "lt", "le", "eq"))
_BITS = frozenset(("and", "or", "not"))
_BINARY = frozenset(("add", "sub", "mul", "div", "min", "max"))
_UNARY = frozenset(("neg", "abs", "sqrt", "trunc", "floor"))


class Elementwise:
    """Evaluates ew ops at one time step."""

    def __init__(self, num: Numerics, seed: int) -> None:
        """``seed`` is the run's seed for random bits."""
        self.num, self.seed = num, seed
        self.batch_statistics = False

    def __call__(self, op: Op, args: Sequence[Array], step: int) -> Array:
        """Evaluate one op."""
        name = op.name[3:]
        out = op.results[0].type
        if name in _BINARY:
            return self.num.binary(name, args[0], args[1], out.dtype)
        if name in _COMPARE:
            with np.errstate(invalid="ignore"):
                return np.asarray(meaning_of(name)(args[0], args[1]))
        if name in _BITS:
            return np.asarray(meaning_of(name)(*args))
        if name in _UNARY:
            return self.num.unary(name, args[0], out.dtype)
        return self.other(name, op, args, step, out)

    def other(self, name: str, op: Op, args: Sequence[Array], step: int, out: Type) -> Array:
        """Evaluate the remaining ops."""
        match name:
            case "select":
                return np.asarray(np.where(args[0], args[1], args[2]))
            case "const":
                value = np.float64(number(op.attrs, "value"))
                return self.num.value(value, text(op.attrs, "dtype", "f16"))
            case "cast":
                return self.num.round(self.num.number(args[0]), out.dtype)
            case "table":
                return self.num.table(text(op.attrs, "fn"), args[0])
            case "stop_gradient":
                return args[0]
            case "expand":
                return np.broadcast_to(args[0], out.shape)
            case "spike":
                return self.spike(op, args)
            case "rand":
                words = self.words(op, out.shape, step)
                return np.asarray(
                    (words >> np.uint32(21)).astype(self.num.real) / 2048, self.num.real
                )
            case "srnd":
                if isinstance(self.num, Fp16):
                    bits = self.words(op, out.shape, step) >> np.uint32(19)
                    return fp16.stochastic_round(args[0], bits)
                return args[0]
            case "iota":
                return self.iota(integer(op.attrs, "axis"), out.shape, step)
            case _:
                raise AssertionError(f"nobody said what {op.name} computes")

    def spike(self, op: Op, args: Sequence[Array]) -> Array:
        """Threshold: the same micro-operations as after legalize-ew."""
        h, theta = args
        with np.errstate(invalid="ignore"):
            match text(op.attrs, "compare"):
                case "strict":
                    return np.asarray(h > theta)
                case "non_strict":
                    return np.asarray(h >= theta)
                case "stairs":
                    count = np.zeros(h.shape, h.dtype)
                    for each, strict in stairs_of(op.attrs):
                        level = np.asarray(each, h.dtype)
                        count += h > level if strict else h >= level
                    return count
                case _:
                    count = self.num.unary("trunc", self.num.binary("div", h, theta, "f16"), "f16")
                    return np.asarray(np.where(h > 0, count, np.zeros((), self.num.real)))

    def words(self, op: Op, shape: tuple[int, ...], step: int) -> Array:
        """Random words of the elements at a step."""
        size = int(np.prod(shape))
        first = (integer(op.attrs, "stream") << 40) + step * size
        return rng.random_range(self.seed, 0, first, size).reshape(shape)

    def iota(self, axis: int, shape: tuple[int, ...], step: int) -> Array:
        """Index along an axis, or the time step."""
        if axis < 0:
            return np.full(shape, step, self.num.real)
        along = np.arange(shape[axis], dtype=self.num.real)
        return np.broadcast_to(along.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape)


def shaped(array: Array, type_: Type) -> Array:
    """Broadcast a step value to its type's shape (constants may be scalars)."""
    return array if array.shape == type_.shape else np.broadcast_to(array, type_.shape)


def yielded(op: Op) -> list[Value]:
    """Return what a region yields."""
    return op.regions[0].terminator.operands

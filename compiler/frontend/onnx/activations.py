"""Activation functions as arithmetic: one row per operator of ONNX, its formula.

Shapes, time, gradients and the chip follow from the operators that a formula is made of.  Each is
written so that its derivative is the function's everywhere, also where two pieces meet (``Clip``
passes the derivative at its upper bound, ``Relu`` none at 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.flat import Val, attr_float, attr_str
from snncc.compiler.frontend.onnx.build import RULES, Bound, Call, GraphBuilder, rule

Formula: TypeAlias = Callable[[Call, Val], Val]
MAX_PRODUCT = 16
"""Greatest whole exponent that is written as a product."""


def _gelu(c: Call, x: Val) -> Val:
    """x * Phi(x), or its approximation by tanh."""
    if attr_str(c.attrs, "approximate", "none") == "tanh":
        cube = c.one("Mul", c.one("Mul", c.one("Mul", x, x), x), 0.044715)
        inner = c.one("Mul", c.one("Add", x, cube), math.sqrt(2 / math.pi))
        bent = c.one("Tanh", inner)
    else:
        bent = c.one("Erf", c.one("Mul", x, math.sqrt(0.5)))
    return c.one("Mul", c.one("Mul", x, 0.5), c.one("Add", bent, 1.0))


def _swish(c: Call, x: Val) -> Val:
    """x * sigmoid(alpha*x)."""
    alpha = attr_float(c.attrs, "alpha", 1.0)
    inner = x if alpha == 1.0 else c.one("Mul", x, alpha)
    return c.one("Mul", x, c.one("Sigmoid", inner))


def _below(c: Call, x: Val, scale: float) -> Val:
    """scale*(exp(x) - 1) where x <= 0, else 0."""
    negative = c.one("Clip", x, max=0.0)
    fall = c.one("Sub", c.one("Exp", negative), 1.0)
    return fall if scale == 1.0 else c.one("Mul", fall, scale)


def _elu(c: Call, x: Val) -> Val:
    """x, and alpha*(exp(x) - 1) below 0."""
    return c.one("Add", c.one("Relu", x), _below(c, x, attr_float(c.attrs, "alpha", 1.0)))


def _selu(c: Call, x: Val) -> Val:
    """gamma * elu(x)."""
    alpha = attr_float(c.attrs, "alpha", 1.6732632423543772)
    bent = c.one("Add", c.one("Relu", x), _below(c, x, alpha))
    return c.one("Mul", bent, attr_float(c.attrs, "gamma", 1.0507009873554805))


def _celu(c: Call, x: Val) -> Val:
    """x, and alpha*(exp(x/alpha) - 1) below 0."""
    alpha = attr_float(c.attrs, "alpha", 1.0)
    inner = x if alpha == 1.0 else c.one("Div", x, alpha)
    return c.one("Add", c.one("Relu", x), _below(c, inner, alpha))


def _softsign(c: Call, x: Val) -> Val:
    """x / (1 + |x|)."""
    return c.one("Div", x, c.one("Add", c.one("Abs", x), 1.0))


def _hard_sigmoid(c: Call, x: Val) -> Val:
    """alpha*x + beta between 0 and 1."""
    line = c.one("Mul", x, attr_float(c.attrs, "alpha", 0.2))
    line = c.one("Add", line, attr_float(c.attrs, "beta", 0.5))
    return c.one("Clip", line, min=0.0, max=1.0)


def _hard_swish(c: Call, x: Val) -> Val:
    """x * (x/6 + 1/2, between 0 and 1)."""
    line = c.one("Add", c.one("Mul", x, 1 / 6), 0.5)
    return c.one("Mul", x, c.one("Clip", line, min=0.0, max=1.0))


def _mish(c: Call, x: Val) -> Val:
    """x * tanh(softplus(x))."""
    return c.one("Mul", x, c.one("Tanh", c.one("Softplus", x)))


def _leaky_relu(c: Call, x: Val) -> Val:
    """max(x, 0) + slope*min(x, 0)."""
    return _two_slopes(c, x, c.builder.scalar(attr_float(c.attrs, "alpha", 0.01)))


def _prelu(c: Call, x: Val) -> Val:
    """As LeakyRelu, with a slope per channel."""
    return _two_slopes(c, x, c.val(1))


def _two_slopes(c: Call, x: Val, slope: Val) -> Val:
    return c.one("Add", c.one("Relu", x), c.one("Mul", c.one("Clip", x, max=0.0), slope))


FORMULAS: dict[str, Formula] = {
    "Gelu": _gelu,
    "Swish": _swish,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "Softsign": _softsign,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Mish": _mish,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
}
"""Operator -> what it computes of its first operand."""


def _register(op: str, formula: Formula) -> None:
    def write(b: GraphBuilder, c: Call) -> Sequence[Bound]:
        return [formula(c, c.val(0))]

    RULES[op] = write


for _op, _formula in FORMULAS.items():
    _register(_op, _formula)


@rule("Pow")
def power(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Products and roots; other powers of positive numbers through the logarithm.

    ``exp(k*log(x))`` of a negative number is no number, as in ONNX unless ``k`` is whole.
    """
    x, k = c.val(0), c.val(1)
    exponent = k.const
    if x.dtype.kind != "f" or (x.const is not None and not x.trained and exponent is not None):
        return c.add("Pow", [x, k])
    if exponent is not None and not k.trained and bool((exponent == exponent.flat[0]).all()):
        shape = np.broadcast_shapes(x.shape, k.shape)
        y = _uniform_power(c, x, float(exponent.flat[0]))
        if y is not None:
            return [y if y.shape == shape else c.one("Expand", y, c.ints(*shape))]
        if float(exponent.flat[0]).is_integer():
            fail("E0104", f"Pow with the exponent {exponent.flat[0]:g}", b.where(c.name),
                 help=f"supported: whole exponents from -{MAX_PRODUCT} to {MAX_PRODUCT}, and "
                 "others of positive numbers")  # fmt: skip
    return [c.one("Exp", c.one("Mul", k, c.one("Log", x)))]


def _uniform_power(c: Call, x: Val, k: float) -> Val | None:
    """x to a whole or half-whole power as products; None for others."""
    whole, half = divmod(abs(k), 1.0)
    if half not in (0.0, 0.5) or whole > MAX_PRODUCT or k == 0.0:
        return None
    y = c.one("Sqrt", x) if half else None
    for _ in range(int(whole)):
        y = x if y is None else c.one("Mul", y, x)
    assert y is not None
    return c.one("Reciprocal", y) if k < 0 else y

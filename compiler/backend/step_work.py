"""What a training step has to do, whatever the program: terms of its products, bytes at least.

Counted in the phased module, before anything is tiled, so a program can be judged by it
(:mod:`snncc.compiler.driver.step_bound`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from snncc.compiler.ir.core import Module, Op, Type, Value
from snncc.isa.program.model import Json

KEY: Final = "step"
"""The metadata of an object file that hold it."""
ENGINES: Final = ("fp", "bp", "wg")
"""Phases whose products run on MAC arrays of their own."""
_BITS: Final = {"bit": 1, "f16": 16, "f32": 32, "i32": 32}


@dataclass(frozen=True, slots=True)
class PhaseProducts:
    """The products of a layer in a phase: ``terms`` multiply-accumulates, none outside an image."""

    layer: str
    phase: str
    terms: int


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a step has to do.

    ``compulsory`` bytes pass the DRAM bus however much is kept on chip: trained parameters read and
    written, their gradients, the input once.  ``recomputing`` bytes pass it where only spikes are
    kept there between the passes: parameters for the forward, the backward pass and the update, and
    their new values, the input and every spike train written and read once, spikes as bits.
    """

    products: tuple[PhaseProducts, ...]
    compulsory: int
    recomputing: int

    def as_json(self) -> Json:
        """Return it as the object file keeps it."""
        return {
            "products": [
                {"layer": p.layer, "phase": p.phase, "terms": p.terms} for p in self.products
            ],
            "compulsory_bytes": self.compulsory,
            "recomputing_bytes": self.recomputing,
        }

    @classmethod
    def from_json(cls, found: Any) -> StepWork:
        """Read what :meth:`as_json` wrote; anything else is a ValueError, TypeError or KeyError."""
        products = tuple(
            PhaseProducts(str(p["layer"]), str(p["phase"]), int(p["terms"]))
            for p in found["products"]
        )
        return cls(products, int(found["compulsory_bytes"]), int(found["recomputing_bytes"]))


def step_work(module: Module) -> StepWork:
    """Count the work of a phased module."""
    terms: dict[tuple[str, str], int] = {}
    weights = spikes = 0
    for op, steps in _ops(module):
        phase = str(op.attrs.get("phase", ""))
        found = steps * _terms(op)
        if found and phase in ENGINES:
            key = (str(op.attrs.get("layer", "")), phase)
            terms[key] = terms.get(key, 0) + found
        if op.name == "phase.param" and op.bool_attr("train", False):
            weights += _bytes(op.results[0].type)
        if op.name == "phase.scan":
            spikes += sum(_bytes(r.type) for r in op.results if r.type.dtype == "bit")
    func = next(iter(module.funcs.values()))
    inputs = _bytes(func.body.args[0].type) if func.body.args else 0
    products = tuple(PhaseProducts(layer, phase, n) for (layer, phase), n in terms.items())
    return StepWork(products, 3 * weights + inputs, 4 * weights + 2 * (inputs + spikes))


def _ops(module: Module) -> Iterator[tuple[Op, int]]:
    """Yield every op and how often it is executed."""
    for func in module.funcs.values():
        yield from _inside(func.body.ops, 1)


def _inside(ops: Sequence[Op], times: int) -> Iterator[tuple[Op, int]]:
    for op in ops:
        yield op, times
        again = times * op.int_attr("steps", 1) if op.name == "phase.scan" else times
        for region in op.regions:
            yield from _inside(region.ops, again)


def _bytes(kind: Type) -> int:
    return -(-math.prod(kind.shape) * _BITS[kind.dtype] // 8)


def _size(value: Value) -> int:
    return math.prod(value.type.shape)


def _terms(op: Op) -> int:
    """Return the multiply-accumulates of one execution of an op."""
    match op.name.removeprefix("phase."):
        case "linear" | "linear_dx":
            return _size(op.results[0]) * op.operands[0].type.shape[-1]
        case "linear_dw":
            x, g = (v.type.shape for v in op.operands)
            return max(math.prod(x[:-1]), math.prod(g[:-1])) * x[-1] * g[-1]
        case "matmul":
            return _size(op.results[0]) * _reduced(op)
        case "conv":
            return _convolution(op, op.operands[0], op.operands[1].type.shape, op.results[0])
        case "conv_dx":
            return _convolution(op, op.results[0], op.operands[1].type.shape, op.operands[0])
        case "conv_dw":
            return _convolution(op, op.operands[0], op.results[0].type.shape, op.operands[1])
        case "conv_transpose":  # the terms of the convolution that it is the transpose of
            return _convolution(op, op.results[0], op.operands[1].type.shape, op.operands[0])
    return 0


def _reduced(op: Op) -> int:
    shape = op.operands[0].type.shape
    return shape[-2] if op.bool_attr("transpose_a", False) else shape[-1]


def _convolution(op: Op, image: Value, weight: Sequence[int], out: Value) -> int:
    """Return the terms of a convolution from an image to ``out``: pairs of pixels times channels.

    ``weight`` is [out channels, channels of a group, kernel...]; taps in the padding are no terms.
    """
    rank = len(weight) - 2
    sizes, outs = image.type.shape[-rank:], out.type.shape[-rank:]
    images = max(math.prod(v.type.shape[: -rank - 1]) for v in (image, out))
    ones = (1,) * rank
    stride, dilation = op.ints_attr("stride", ones), op.ints_attr("dilation", ones)
    padding = op.ints_attr("padding", (0,) * (2 * rank))
    pairs = math.prod(
        _pairs(sizes[i], outs[i], weight[2 + i], stride[i], dilation[i], padding[i])
        for i in range(rank)
    )
    return images * pairs * weight[0] * weight[1]


def _pairs(size: int, out: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    """Count the pairs of an output position and a tap that read a pixel, along one axis."""
    return sum(
        0 <= position * stride + tap * dilation - padding < size
        for position in range(out)
        for tap in range(kernel)
    )

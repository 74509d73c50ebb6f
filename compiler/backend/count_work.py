"""Counting what a training step has to do in its phased module."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from snncc.compiler.ir.core import Module, Op, Type, Value
from snncc.isa.cost.step_work import ENGINES, PhaseProducts, StepWork

_BITS: Final = {"bit": 1, "f16": 16, "f32": 32, "i32": 32}


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
        case _:
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

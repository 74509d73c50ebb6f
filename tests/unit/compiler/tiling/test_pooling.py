"""Padded pooling and its gradients, against numpy, whole and in bands, on every engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from made_steps import Made
from snncc.compiler.diag import CompileError
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Attribute, seq
from whole_stack import check_all, compiled, machine

SIZE, CHANNELS = 12, 16
Pads = tuple[int, int, int, int]


def outputs(kernel: int, stride: int, pads: Pads) -> tuple[int, int]:
    """Rows and columns of the result; ``pads``: low and high of rows, low and high of columns."""
    rows = (SIZE + pads[0] + pads[2] - kernel) // stride + 1
    return rows, (SIZE + pads[1] + pads[3] - kernel) // stride + 1


def windows(x: Any, kernel: int, stride: int, pads: Pads, fill: float) -> Any:
    """Return [..., oh, ow, kh, kw] of the padded [T, B, C, H, W]."""
    padded = np.pad(
        x, [(0, 0)] * 3 + [(pads[0], pads[2]), (pads[1], pads[3])], constant_values=fill
    )
    view = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(3, 4))
    return view[:, :, :, ::stride, ::stride]


def average(x: Any, kernel: int, stride: int, pads: Pads) -> Any:
    """The mean over all taps, padding counted as zero."""
    return windows(x, kernel, stride, pads, 0.0).mean((-1, -2))


def spread(g: Any, kernel: int, stride: int, pads: Pads) -> Any:
    """The average's gradient: every output's share goes to each of its taps."""
    out = np.zeros((*g.shape[:3], SIZE + pads[0] + pads[2], SIZE + pads[1] + pads[3]))
    for y in range(g.shape[3]):
        for x in range(g.shape[4]):
            at = (slice(y * stride, y * stride + kernel), slice(x * stride, x * stride + kernel))
            out[:, :, :, *at] += g[:, :, :, y, x, None, None] / kernel**2
    return out[:, :, :, pads[0] : pads[0] + SIZE, pads[1] : pads[1] + SIZE]


def routed(x: Any, g: Any, kernel: int, stride: int, pads: Pads) -> Any:
    """The maximum's gradient: all of it to the first largest tap."""
    best = windows(x, kernel, stride, pads, -np.inf)
    flat = best.reshape(*best.shape[:5], -1).argmax(-1)
    out = np.zeros((*g.shape[:3], SIZE + pads[0] + pads[2], SIZE + pads[1] + pads[3]))
    for index in np.ndindex(*g.shape):
        y, column = divmod(int(flat[index]), kernel)
        out[*index[:3], index[3] * stride + y, index[4] * stride + column] += g[index]
    return out[:, :, :, pads[0] : pads[0] + SIZE, pads[1] : pads[1] + SIZE]


def step(kind: str, kernel: int, stride: int, pads: Pads) -> Made:
    """A pooling layer and its gradient."""
    made = Made(2, 2)
    x = made.seq("x", CHANNELS, SIZE, SIZE)
    attrs: dict[str, Attribute] = {
        "kind": kind, "kernel": (kernel, kernel), "stride": (stride, stride), "padding": pads,
    }  # fmt: skip
    y = made.b.op("phase.pool", x, attrs=attrs).result
    g = made.input("g", seq(y.type.shape))
    operands = (g, x, y) if kind == "max" else (g,)
    attrs["shape"] = x.type.step_shape
    result = made.b.op("phase.pool_dx", *operands, types=[x.type], attrs=attrs).result
    made.output(y=y, dx=result)
    for name in ("x", "g"):  # small whole numbers: sums are exact in any order
        shape = made.inputs[name].shape
        made.inputs[name] = made.rng.integers(-9, 10, shape).astype(np.float32)
    return made


CASES: list[tuple[int, int, Pads]] = [
    (2, 2, (0, 0, 0, 0)),
    (2, 2, (1, 1, 1, 1)),  # apart, but the first band begins in the padding
    (3, 2, (1, 1, 1, 1)),
    (3, 3, (1, 0, 2, 0)),
    (2, 1, (0, 1, 1, 0)),
]


@pytest.mark.parametrize("scratchpad", [8192, 1 << 16], ids=["bands", "whole"])
@pytest.mark.parametrize(("kernel", "stride", "pads"), CASES)
def test_average(kernel: int, stride: int, pads: Pads, scratchpad: int) -> None:
    made = step("avg", kernel, stride, pads)
    found = evaluate(clone(made.module), "step", made.inputs, "float64")
    x, g = (made.inputs[name].astype(np.float64) for name in ("x", "g"))
    np.testing.assert_allclose(found["y"], average(x, kernel, stride, pads), rtol=1e-12)
    np.testing.assert_allclose(found["dx"], spread(g, kernel, stride, pads), rtol=1e-12, atol=1e-12)
    check_all(made.module, made.inputs, machine(1, scratchpad))


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize(("kernel", "stride", "pads"), CASES)
def test_maximum(kernel: int, stride: int, pads: Pads, cores: int) -> None:
    made = step("max", kernel, stride, pads)
    found = evaluate(clone(made.module), "step", made.inputs, "float64")
    x, g = (made.inputs[name].astype(np.float64) for name in ("x", "g"))
    np.testing.assert_array_equal(
        found["y"], windows(x, kernel, stride, pads, -np.inf).max((-1, -2))
    )
    np.testing.assert_array_equal(found["dx"], routed(x, g, kernel, stride, pads))
    check_all(made.module, made.inputs, machine(cores, 1 << 16))


@pytest.mark.parametrize(("kernel", "stride", "pads"), CASES)
def test_a_gradient_of_maxima_that_does_not_fit_is_cut_right_or_refused(
    kernel: int, stride: int, pads: Pads
) -> None:
    """Bands where windows are apart and there is no padding above; else an image must fit."""
    made = step("max", kernel, stride, pads)
    target = machine(1, 11 * 1024)  # an image needs 9216 bytes, its outputs 1600 or more
    if kernel <= stride and pads[0] == 0:
        check_all(made.module, made.inputs, target)
        return
    with pytest.raises(CompileError) as caught:
        compiled(made.module, target)
    assert {d.code for d in caught.value.diagnostics} == {"E0401"}

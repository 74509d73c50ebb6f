"""Moves and what reads moved data: turned kernels, repacked spikes, sums in parts."""

from __future__ import annotations

import numpy as np
import pytest

from made_steps import Made
from snncc.compiler.diag import CompileError
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Value, seq, tensor
from whole_stack import check_all, compiled, machine


@pytest.mark.parametrize(
    ("outputs", "channels", "taps"),
    [(32, 16, (1, 1)), (37, 21, (1, 1)), (16, 5, (1, 1)), (83, 3, (2, 2)), (64, 18, (2, 2))],
)
def test_kernels_are_turned_by_taps_or_by_blocks(
    outputs: int, channels: int, taps: tuple[int, int]
) -> None:
    """More blocks of outputs than taps: one load per tap; else one per block."""
    made = Made(2, 2)
    h, w = 5, 4
    g = made.seq("g", outputs, h - taps[0] + 1, w - taps[1] + 1)
    kernel = made.param("w", outputs, channels, *taps)
    attrs = {"shape": (2, channels, h, w)}
    made.output(dx=made.b.op("phase.conv_dx", g, kernel, attrs=attrs).result)
    for scratchpad in (1 << 13, 1 << 16):
        check_all(made.module, made.inputs, machine(2, scratchpad), races=False)


def repacked() -> Made:
    """Rows of 40 spikes become rows of 30: 30 of them per sample become 40."""
    made = Made(2, 3)
    spikes = made.seq("x", 30, 40, dtype="bit")
    made.output(y=made.b.one("phase.reshape", spikes, shape=(3, 40, 30)))
    return made


def test_rows_of_spikes_change_their_length() -> None:
    made = repacked()
    found = evaluate(made.module, "step", made.inputs)["y"]
    assert np.array_equal(np.asarray(found), made.inputs["x"].reshape(2, 3, 40, 30))
    # 30 rows of 48 bits are 180 bytes, 40 of 32 bits 160, 1200 numbers 2400: in whole 64 bytes
    # 192 + 192 + 2432.
    with pytest.raises(CompileError, match="a reshape of spikes needs 2816 bytes") as caught:
        compiled(made.module, machine(2, 2752))
    assert [d.code for d in caught.value.diagnostics] == ["E0401"]
    check_all(made.module, made.inputs, machine(2, 4096))


@pytest.mark.parametrize("columns", [1, 16, 100, 600])
@pytest.mark.parametrize("dtype", ["f16", "bit"])
def test_sums_of_more_columns_than_fit(columns: int, dtype: str) -> None:
    """One core sums all columns; 600 sums and results of 4 bytes take more than it has."""
    made = Made(2, 3)
    made.output(y=made.b.one("phase.sum_rows", made.seq("g", columns, dtype=dtype)))
    check_all(made.module, made.inputs, machine(1, 2048))


@pytest.mark.parametrize(
    "small", [(6, 5, 4), (1, 6, 5, 4), (6, 1, 1), (1, 5, 4), (1,), (3, 6, 5, 4)]
)
def test_operands_of_less_axes_lie_as_the_full_ones(small: tuple[int, ...]) -> None:
    """A convolution's result lies channels last; what is added to it must lie so, too."""
    made = Made(2, 3)
    x, w = made.seq("x", 2, 5, 4), made.param("w", 6, 2, 1, 1)
    y = made.b.op("phase.conv", x, w, attrs={"padding": (0, 0, 0, 0)}).result
    bias = made.input("bias", tensor(small))

    def add(e: Builder, args: list[Value]) -> list[Value]:
        return [e.one("ew.add", *args)]

    made.output(z=made.region("map", [y, bias], [seq((2, 3, 6, 5, 4))], add)[0])
    check_all(made.module, made.inputs, machine(2, 1 << 14))


@pytest.mark.parametrize("channels", [5, 16, 21, 48])
@pytest.mark.parametrize("taps", [(1, 1), (3, 2)])
def test_kernels_change_their_order(channels: int, taps: tuple[int, int]) -> None:
    """A matrix becomes a kernel in blocks of 16 channels, and the gradient of one a matrix."""
    made = Made(2, 2)
    x = made.seq("x", channels, 4, 3)
    columns = channels * taps[0] * taps[1]
    w = made.b.one("phase.reshape", made.param("w", 7, columns), shape=(7, channels, *taps))
    y = made.b.op("phase.conv", x, w, attrs={"padding": (0, 0, 0, 0)}).result
    g = made.seq("g", 7, 5 - taps[0], 4 - taps[1])
    dw = made.b.op("phase.conv_dw", x, g, attrs={"shape": (7, channels, *taps)}).result
    made.output(y=y, dw=made.b.one("phase.reshape", dw, shape=(7, columns)))
    check_all(made.module, made.inputs, machine(2, 1 << 14), races=False)

"""Products of activations against numpy: numbers so small that every order gives the same sums."""

from __future__ import annotations

import re

import numpy as np
import pytest

from made_steps import Made
from snncc.compiler.diag import CompileError
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.core import Attribute, Value, seq, tensor
from whole_stack import check_all, check_fitting, compiled, machine

T = 3


def operand(made: Made, name: str, shape: tuple[int, ...], dtype: str, *, timed: bool) -> Value:
    """Add an input of small whole numbers, or of spikes."""
    value = made.input(name, seq((T, *shape), dtype) if timed else tensor(shape, dtype))
    if dtype == "f16":
        array = made.rng.integers(-4, 5, value.type.shape)
        made.inputs[name] = array.astype(np.float32)
    return value


def agrees(
    a: tuple[int, ...], b: tuple[int, ...], dtypes: tuple[str, str] = ("f16", "f16"),
    phase: str = "fp", *, turned: bool = False,
) -> None:  # fmt: skip
    """Multiply matrices of these shapes; ``turned``: the file holds the second one turned."""
    made = Made(T, 2)
    x = operand(made, "x", a, dtypes[0], timed=True)
    shape = (*b[:-2], b[-1], b[-2]) if turned else b
    z = operand(made, "z", shape, dtypes[1], timed=len(b) > 2 and b[0] > 1)
    attrs: dict[str, Attribute] = {"transpose_b": turned, "phase": phase}
    made.output(y=made.b.op("phase.matmul", x, z, attrs=attrs).result)
    left, right = (made.inputs[n].astype(np.float64) for n in "xz")
    wanted = left @ (right.swapaxes(-1, -2) if turned else right)
    found = evaluate(made.module, "step", made.inputs)["y"]
    np.testing.assert_array_equal(np.asarray(found, np.float64), wanted)
    check_fitting(made.module, made.inputs, 3, 1024, races=False)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 5, 7), (2, 7, 3)),
        ((2, 3, 5, 7), (1, 3, 7, 4)),  # the same matrices for every sample
        ((1, 3, 5, 7), (2, 1, 7, 4)),
        ((2, 3, 5, 7), (7, 4)),
        ((2, 1, 1), (2, 1, 1)),
        ((2, 40, 33), (2, 33, 17)),
    ],
    ids=str,
)
def test_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    agrees(a, b)


@pytest.mark.parametrize("dtypes", [("f16", "f16"), ("bit", "f16"), ("f16", "bit"), ("bit", "bit")])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("phase", ["fp", "bp"])
def test_numbers_and_spikes(dtypes: tuple[str, str], turned: bool, phase: str) -> None:
    agrees((2, 3, 5, 20), (2, 3, 20, 18), dtypes, phase, turned=turned)


def test_the_smallest_scratchpad_that_will_do() -> None:
    """33 x 17 weights of 2 bytes, a row of 33 numbers, 17 sums and results: 1806 bytes with 512."""
    made = Made(T, 2)
    x = operand(made, "x", (2, 40, 33), "f16", timed=True)
    z = operand(made, "z", (2, 33, 17), "f16", timed=True)
    made.output(y=made.b.op("phase.matmul", x, z).result)
    needed = 33 * 17 * 2 + 33 * 2 + 17 * (4 + 2) + 512
    with pytest.raises(CompileError) as caught:
        compiled(made.module, machine(2, 1024))
    said = str(caught.value.diagnostics[0].message)
    assert re.search(r"a product of 40x33 and 33x17 activations needs (\d+) bytes", said)
    assert f"needs {needed} bytes" in said
    check_all(made.module, made.inputs, machine(2, -(-needed // 4) * 4), races=False)

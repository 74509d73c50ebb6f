"""Tasks fit into the scratchpad: what they say that they need is what they take."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from made_steps import Made, dense
from snncc.compiler.diag import CompileError
from snncc.compiler.ir.core import Attribute, seq
from whole_stack import check_all, compiled, machine

GEOMETRY: dict[str, Attribute] = {"stride": (1, 1), "padding": (1, 1, 1, 1)}


def kernel_gradient() -> Made:
    """Its images take more than the sums."""
    made = Made(3, 2)
    x, g = made.seq("x", 3, 14, 12, dtype="bit"), made.seq("g", 17, 14, 12)
    attrs = {"shape": (17, 3, 3, 3), **GEOMETRY}
    made.output(dw=made.b.op("phase.conv_dw", x, g, attrs=attrs).result)
    return made


def convolution() -> Made:
    made = Made(3, 2)
    x, w = made.seq("x", 21, 6, 5, dtype="bit"), made.param("w", 24, 21, 3, 3)
    made.output(y=made.b.op("phase.conv", x, w, attrs=GEOMETRY).result)
    return made


def pooling(kind: str, *, backward: bool) -> Callable[[], Made]:
    def make() -> Made:
        made = Made(2, 2)
        attrs: dict[str, Attribute] = {"kind": kind, "kernel": (3, 3), "stride": (2, 2)}
        x = made.seq("x", 40, 11, 11)
        if not backward:
            made.output(y=made.b.op("phase.pool", x, attrs=attrs).result)
            return made
        g = made.input("g", seq((2, 2, 40, 5, 5)))
        attrs["shape"] = x.type.step_shape
        made.output(dx=made.b.op("phase.pool_dx", g, types=[x.type], attrs=attrs).result)
        return made

    return make


def flattening() -> Made:
    made = Made(2, 3)
    spikes = made.seq("x", 21, 4, 5, dtype="bit")
    made.output(y=made.b.one("phase.reshape", spikes, shape=(3, 420)))
    return made


KINDS: dict[str, Callable[[], Made]] = {
    "dense": lambda: dense(3, 4, 100, 60),
    "convolution": convolution,
    "gradient of a kernel": kernel_gradient,
    "average": pooling("avg", backward=False),
    "largest": pooling("max", backward=False),
    "gradient of an average": pooling("avg", backward=True),
    "gradient of a sum": pooling("sum", backward=True),
    "flattening": flattening,
}


def needs(made: Made, scratchpad: int) -> int:
    """Return how much the compiler asks for, 0 when what is there will do."""
    try:
        compiled(made.module, machine(2, scratchpad))
    except CompileError as error:
        (found,) = error.diagnostics
        assert found.code == "E0401", found
        number = re.search(r"needs (\d+) bytes", found.message)
        assert number, found
        return int(number[1])
    return 0


def whole(size: int) -> int:
    """Return the next size that a machine may have."""
    return -(-size // 4) * 4


@pytest.mark.parametrize("kind", KINDS)
def test_every_scratchpad_above_the_smallest_will_do(kind: str) -> None:
    made = KINDS[kind]()
    smallest, refused = 256, 0
    while needed := needs(made, smallest):
        assert needed > smallest
        smallest, refused = whole(needed), refused + 1
    assert 1 <= refused <= 4
    for more in (smallest, *(smallest * part // 32 * 4 for part in (9, 11, 13, 16, 20, 26, 32))):
        assert needs(made, more) == 0, more
    check_all(made.module, made.inputs, machine(2, smallest), races=False)

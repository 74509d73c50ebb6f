"""Small hand-made steps for tests of tiling, mapping and lowering."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import (
    Attribute,
    Block,
    Func,
    Location,
    Module,
    Type,
    Value,
    seq,
    tensor,
)
from snncc.compiler.ir.opdef import load_dialects

load_dialects()
Inputs = dict[str, npt.NDArray[Any]]


class Made:
    """A step under construction."""

    def __init__(self, steps: int = 2, batch: int = 2) -> None:
        self.steps, self.batch = steps, batch
        self.module = Module("step", {"stage": "phased", "steps": steps, "batch": batch})
        self.block = Block()
        self.b = Builder(self.block, Location("test:1"), phase="fp", layer="fc")
        self.rng = np.random.default_rng(7)
        self.inputs: Inputs = {}
        self.module.funcs["step"] = Func("step", self.block)

    def input(self, name: str, type_: Type) -> Value:
        """Add an argument with random contents."""
        if type_.dtype == "bit":
            self.inputs[name] = self.rng.random(type_.shape) < 0.3
        elif type_.dtype == "i32":
            self.inputs[name] = self.rng.integers(0, 2, type_.shape).astype(np.int32)
        else:
            self.inputs[name] = self.rng.normal(size=type_.shape).astype(np.float32)
        return self.block.add_arg(type_, name)

    def seq(self, name: str, *shape: int, dtype: str = "f16") -> Value:
        """Add an argument with a time axis."""
        return self.input(name, seq((self.steps, self.batch, *shape), dtype))

    def param(self, name: str, *shape: int, kind: str = "param") -> Value:
        """Add a parameter or a state."""
        self.module.resources[name] = self.rng.normal(size=shape).astype(np.float32)
        attrs: Mapping[str, Attribute] = {"name": name, "resource": name}
        return self.b.op(f"phase.{kind}", types=[tensor(shape)], names=[name], attrs=attrs).result

    def region(
        self, kind: str, operands: list[Value], types: list[Type],
        body: Callable[[Builder, list[Value]], list[Value]], **attrs: Attribute,
    ) -> list[Value]:  # fmt: skip
        """Add a map or scan whose region ``body`` fills."""
        block = Block()
        args = [block.add_arg(tensor(v.type.step_shape, v.type.dtype)) for v in operands]
        e = Builder(block, Location("test:2"))
        e.op("phase.yield", *body(e, args))
        made = self.b.op(
            f"phase.{kind}", *operands, types=types, regions=[block], attrs=dict(attrs)
        )
        return made.results

    def output(self, **values: Value) -> None:
        """Name results."""
        for name, value in values.items():
            self.b.op("phase.output", value, attrs={"name": name})

    def store(self, name: str, value: Value, kind: str = "param") -> None:
        """Store a value."""
        self.b.op("phase.store", value, attrs={"name": name, "kind": kind})


def dense(steps: int, batch: int, k: int, n: int, dtype: str = "bit") -> Made:
    """Return forward, input gradient, weight gradient and bias gradient of a dense layer."""
    made = Made(steps, batch)
    x, g = made.seq("x", k, dtype=dtype), made.seq("g", n)
    w, bias = made.param("w", k, n), made.param("b", n)
    b = made.b
    made.output(
        y=b.one("phase.linear", x, w, bias),
        dx=b.one("phase.linear_dx", g, w),
        dw=b.one("phase.linear_dw", x, g),
        db=b.one("phase.sum_rows", g),
    )
    return made

"""Graph modules for tests: a small builder, and random networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Block, Func, Location, Module, Value, seq, tensor

LEAKY: Mapping[str, Attribute] = {
    "dynamics": "leaky",
    "beta": 0.9,
    "threshold": 1.0,
    "compare": "strict",
    "reset": "subtract",
    "delay": False,
    "reset_gradient": "detached",
    "surrogate": {"name": "atan", "alpha": 2.0},
}


class Net:
    """Builds a graph module layer by layer."""

    def __init__(self, steps: int, batch: int, name: str = "net") -> None:
        self.module = Module(name, {"stage": "graph", "steps": steps, "batch": batch})
        self.func = Func("main", Block())
        self.module.funcs["main"] = self.func
        self.b = Builder(self.func.body, Location("test"))
        self.steps, self.batch = steps, batch
        self.count = 0

    def input(self, shape: Sequence[int], *, static: bool = False, dtype: str = "f16") -> Value:
        """Add the argument x; ``shape`` without batch and time."""
        full = (self.batch, *shape)
        type_ = tensor(full, dtype) if static else seq((self.steps, *full), dtype)
        return self.func.body.add_arg(type_, "x")

    def param(
        self, name: str, array: npt.ArrayLike, role: str = "weight", train: bool = True,
        transpose: bool = False,
    ) -> Value:  # fmt: skip
        """Add a parameter in the canonical layout."""
        value = np.asarray(array, np.float32)
        self.module.resources[name] = value
        made = self.b.op(
            "graph.param", types=[tensor(value.shape)], names=[name.replace(".", "_")],
            name=name, resource=name, role=role, train=train, transpose=transpose,
        )  # fmt: skip
        return made.result

    def linear(
        self, x: Value, name: str, w: npt.ArrayLike, b: npt.ArrayLike | None = None
    ) -> Value:
        """Add a dense layer; ``w`` is [in, out]."""
        self.b.common["layer"] = name
        operands = [x, self.param(f"{name}.weight", w, transpose=True)]
        if b is not None:
            operands.append(self.param(f"{name}.bias", b, "bias"))
        return self.b.one("graph.linear", *operands)

    def conv(
        self, x: Value, name: str, w: npt.ArrayLike, b: npt.ArrayLike | None = None,
        **attrs: Attribute,
    ) -> Value:  # fmt: skip
        """Add a convolution; ``w`` is [out, in/groups, k...]."""
        self.b.common["layer"] = name
        rank = np.asarray(w).ndim - 2
        operands = [x, self.param(f"{name}.weight", w)]
        if b is not None:
            operands.append(self.param(f"{name}.bias", b, "bias"))
        return self.b.op("graph.conv", *operands, attrs={"rank": rank, **attrs}).result

    def neuron(
        self, x: Value, name: str, constants: Mapping[str, Value] | None = None,
        **attrs: Attribute,
    ) -> tuple[Value, Value]:  # fmt: skip
        """Add a neuron layer; returns spikes (the membrane for compare = none) and membrane."""
        self.b.common["layer"] = name
        all_attrs = {**LEAKY, **attrs}
        if constants:
            all_attrs = {k: v for k, v in all_attrs.items() if k not in constants}
            all_attrs["params"] = tuple(constants)
        if x.type.kind == "tensor":
            all_attrs["steps"] = self.steps
        made = self.b.op("graph.neuron", x, *(constants or {}).values(), attrs=all_attrs)
        return made.results[0], made.results[-1]

    def output(self, value: Value, name: str = "out") -> None:
        """Name a result."""
        self.b.op("graph.output", value, name=name, axis=0 if value.type.kind == "seq" else -1)

    def train(
        self, output: str = "out", reduce: str = "sum", loss: str = "cross-entropy",
        scale: float = 1.0, optimizer: Mapping[str, Attribute] | None = None,
        **more: Attribute,
    ) -> Module:  # fmt: skip
        """Add the training attributes and return the module."""
        training: dict[str, Attribute] = {
            "mode": "train",
            "loss": {"name": loss, "scale": scale},
            "readout": {"output": output, "reduce": reduce, "axis": 0},
            **more,
        }
        if optimizer is not None:
            training["optimizer"] = dict(optimizer)
        self.module.attrs["training"] = training
        return self.module

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


SURROGATE_NAMES = (
    *("atan", "fast_sigmoid", "super_spike", "sigmoid", "exponential", "periodic_exponential"),
    *("gaussian", "rectangular", "triangular", "straight_through"),
)


class RandomNetwork:
    """Draws a network; every choice comes from one generator."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.net = Net(int(self.rng.integers(1, 6)), int(self.rng.integers(1, 5)), f"random{seed}")
        self.layer = 0

    def pick(self, *choices: Attribute) -> Attribute:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def weights(self, *shape: int) -> npt.NDArray[np.float64]:
        fan = max(int(np.prod(shape[:-1])) if len(shape) == 2 else int(np.prod(shape[1:])), 1)
        return np.asarray(self.rng.normal(size=shape) * 1.5 / fan**0.5)

    def name(self, kind: str) -> str:
        self.layer += 1
        return f"{kind}{self.layer}"

    def neuron_attrs(self) -> dict[str, Attribute]:
        attrs: dict[str, Attribute] = {
            "dynamics": self.pick("leaky", "decay_input", "integrate"),
            "beta": self.pick(0.5, 0.9, 0.95),
            "threshold": self.pick(0.5, 1.0, 0.3),
            "compare": self.pick("strict", "strict", "non_strict", "multi"),
            "reset": self.pick("subtract", "hard", "none"),
            "reset_value": self.pick(0.0, 0.0, -0.25),
            "delay": self.chance(0.3),
            "reset_gradient": self.pick("attached", "detached"),
            "synapse": self.pick("none", "none", "before", "after", "scaled"),
            "a_syn": 0.75,
            "v_rest": self.pick(0.0, 0.0, 0.125),
            "surrogate": {"name": self.pick(*SURROGATE_NAMES)},
        }
        if attrs["dynamics"] == "decay_input":
            attrs[str(self.pick("tau", "rate"))] = self.pick(2.0, 0.75)
        if self.chance(0.2):
            attrs["v_min"] = -0.5
        return attrs

    def neuron(self, x: Value) -> Value:
        name, attrs = self.name("lif"), self.neuron_attrs()
        constants: dict[str, Value] = {}
        if self.chance(0.3):
            shape = x.type.step_shape[1:2] + (1,) * (len(x.type.step_shape) - 2)
            for key in ("threshold", *(k for k in ("beta", "tau", "rate") if k in attrs)):
                base = attrs[key]
                assert isinstance(base, float)
                value = base * self.rng.uniform(0.9, 1.1, shape if self.chance(0.7) else ())
                constants[key] = self.net.param(f"{name}.{key}", value, key)
        if attrs["dynamics"] == "leaky" and self.chance(0.2):
            attrs["norm_input"] = True
        spikes, membrane = self.net.neuron(x, name, constants, **attrs)
        return membrane if self.chance(0.1) else spikes

    def dense(self, x: Value, width: int) -> Value:
        name = self.name("fc")
        bias = self.rng.normal(size=width) * 0.3 if self.chance(0.7) else None
        return self.net.linear(x, name, self.weights(x.type.step_shape[-1], width), bias)

    def recurrent(self, x: Value) -> Value:
        """A neuron layer whose spikes come back through a weight."""
        net, name = self.net, self.name("rec")
        batch, width = x.type.step_shape
        attrs = {**self.neuron_attrs(), "compare": "strict"}
        back = net.b.one(
            "graph.delay", state=name, shape=(batch, width), dtype="bit", steps=net.steps
        )
        total = net.b.one(
            "graph.add", x, net.linear(back, f"{name}.back", self.weights(width, width))
        )
        spikes, _ = net.neuron(total, name, None, **attrs)
        net.b.op("graph.delay_next", spikes, state=name)
        return spikes

    def normalised(self, x: Value) -> Value:
        channels, name = x.type.step_shape[1], self.name("bn")
        parts = [
            self.net.param(f"{name}.{role}", values, role, train=role in ("scale", "shift"))
            for role, values in (
                ("scale", self.rng.uniform(0.5, 1.5, channels)),
                ("shift", self.rng.normal(size=channels) * 0.3),
                ("mean", self.rng.normal(size=channels) * 0.3),
                ("var", self.rng.uniform(0.5, 1.5, channels)),
            )
        ]
        return self.net.b.one("graph.batchnorm", x, *parts, eps=1e-5, axis=1, momentum=0.1,
                              per_step=self.chance(0.5))  # fmt: skip

    def images(self, x: Value) -> Value:
        """Convolutional layers, flattened at the end."""
        net = self.net
        for _ in range(int(self.rng.integers(1, 3))):
            channels, out = x.type.step_shape[1], int(self.rng.integers(1, 5))
            kernel = int(self.rng.integers(1, min(4, *(d + 1 for d in x.type.step_shape[2:]))))
            pad, stride = int(self.rng.integers(0, 2)), int(self.rng.integers(1, 3))
            w = self.weights(out, channels, kernel, kernel)
            bias = self.rng.normal(size=out) * 0.3 if self.chance(0.5) else None
            x = net.conv(x, self.name("conv"), w, bias, padding=(pad,) * 4, stride=(stride, stride))
            if self.chance(0.4):
                x = self.normalised(x)
            x = self.neuron(x)
            if min(x.type.step_shape[2:]) >= 2 and self.chance(0.5):
                kind = self.pick("max", "avg", "sum")
                x = net.b.one("graph.pool", x, kind=kind, kernel=(2, 2), stride=(2, 2))
        return net.b.one("graph.reshape", x, shape=(net.batch, x.type.size // net.batch
                         // (x.type.shape[0] if x.type.kind == "seq" else 1)))  # fmt: skip

    def build(self, training: bool) -> Module:
        net, static = self.net, self.chance(0.3)
        dtype = "f16" if static else str(self.pick("f16", "bit"))
        if self.chance(0.4):
            x = self.images(net.input((int(self.rng.integers(1, 4)), 5, 6), static=static,
                                      dtype=dtype))  # fmt: skip
        else:
            x = net.input((int(self.rng.integers(1, 9)),), static=static, dtype=dtype)
        for _ in range(int(self.rng.integers(1, 3))):
            before, x = x, self.dense(x, int(self.rng.integers(1, 9)))
            x = self.recurrent(x) if self.chance(0.2) else self.neuron(x)
            if before.type.step_shape == x.type.step_shape and self.chance(0.7):
                x = net.b.one("graph.add", before, x)
        x = self.dense(x, int(self.rng.integers(2, 5)))
        if self.chance(0.8):
            x = self.neuron(x)
        net.output(x)
        return self.finish(training)

    def finish(self, training: bool) -> Module:
        """Draw the training settings."""
        net = self.net
        if not training:
            return net.module
        optimizers: tuple[dict[str, Attribute] | None, ...] = (
            None,
            {"name": "sgd", "lr": 0.125},
            {"name": "momentum", "lr": 0.1, "momentum": 0.9, "nesterov": True},
            {"name": "adam", "lr": 0.01, "weights": "fp32-master", "weight_decay": 0.01},
        )
        return net.train(
            reduce=str(self.pick("sum", "mean", "max", "last", "per-step")),
            loss=str(self.pick("cross-entropy", "mse")),
            scale=float(2.0 ** self.rng.integers(0, 11)),
            optimizer=optimizers[int(self.rng.integers(len(optimizers)))],
            rounding=self.pick("nearest", "stochastic"),
            batchnorm={"statistics": self.pick("batch", "running")},
            microbatch=int(self.pick(1, net.batch)),  # type: ignore[arg-type]
        )


def random_network(seed: int, *, training: bool = True) -> Module:
    """Return a small random network as a graph module (with training attributes)."""
    return RandomNetwork(seed).build(training)


def random_inputs(module: Module, seed: int) -> dict[str, npt.NDArray[np.generic]]:
    """Return inputs for a network: x, and labels y."""
    rng = np.random.default_rng(seed + 1)
    (x,) = (a for a in module.func("main").body.args if a.name == "x")
    out = next(o for o in module.walk() if o.name == "graph.output")
    classes = out.operands[0].type.step_shape[-1]
    if x.type.dtype == "bit":
        data: npt.NDArray[np.generic] = rng.random(x.type.shape) < 0.4
    else:
        data = rng.normal(size=x.type.shape).astype(np.float32)
    return {"x": data, "y": rng.integers(0, classes, module.batch)}

"""Typed view of ``module.attrs["training"]`` (docs/design/training-config.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snncc.compiler.ir.build import flag, integer, number, text
from snncc.compiler.ir.core import Attribute, Module


@dataclass(frozen=True)
class Optimizer:
    """How parameters are updated."""

    name: str
    lr: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    master: bool = False  # FP32 master weights
    wide_state: bool = True  # momentum and moments in FP32


@dataclass(frozen=True)
class Training:
    """What the phase passes need to know."""

    train: bool
    loss: str
    scale: float
    output: str
    reduce: str
    axis: int
    microbatch: int | None
    batch_statistics: bool
    stochastic: bool
    optimizer: Optimizer | None
    dynamic_scale: bool = False  # ``scale`` is where it starts


def _section(value: Attribute) -> Mapping[str, Attribute]:
    return value if isinstance(value, Mapping) else {}


def _optimizer(value: Attribute) -> Optimizer | None:
    o = _section(value)
    if not o or text(o, "name", "none") == "none":
        return None
    name = text(o, "name")
    if name not in ("sgd", "momentum", "adam"):
        raise ValueError(f"unknown optimizer {name!r}; known: sgd, momentum, adam")
    betas = o.get("betas", (0.9, 0.999))
    pair = tuple(float(b) for b in betas if isinstance(b, (int, float))) if isinstance(
        betas, tuple
    ) else ()  # fmt: skip
    if len(pair) != 2:
        raise ValueError(f"optimizer.betas is {betas!r}, not two numbers")
    return Optimizer(
        name,
        number(o, "lr"),
        number(o, "momentum", 0.9 if name == "momentum" else 0.0),
        flag(o, "nesterov"),
        number(o, "weight_decay", 0.0),
        (pair[0], pair[1]),
        number(o, "eps", 1e-8),
        text(o, "weights", "fp16").replace("_", "-") == "fp32-master",
        text(o, "state", "fp32") == "fp32",
    )


def training_of(module: Module) -> Training:
    """Read the training attributes of a module."""
    t = _section(module.attrs.get("training"))
    loss, readout = _section(t.get("loss")), _section(t.get("readout"))
    train = bool(loss) and text(t, "mode", "train") == "train"
    statistics = text(_section(t.get("batchnorm")), "statistics", "batch" if train else "running")
    micro = t.get("microbatch")
    return Training(
        train,
        text(loss, "name", "cross-entropy").replace("_", "-"),
        number(loss, "scale", 1.0),
        text(readout, "output", ""),
        text(readout, "reduce", "sum").replace("_", "-"),
        integer(readout, "axis", 0),
        micro if isinstance(micro, int) and micro != module.batch else None,
        statistics == "batch",
        text(t, "rounding", "nearest") == "stochastic",
        _optimizer(t.get("optimizer")) if train else None,
        flag(loss, "dynamic"),
    )


def uses_batch_statistics(module: Module) -> bool:
    """Whether batch normalisation uses the statistics of the batch."""
    return training_of(module).batch_statistics


def training_seed(module: Module) -> int:
    """Return the seed of stochastic rounding and dropout."""
    return integer(_section(module.attrs.get("training")), "seed", 0)

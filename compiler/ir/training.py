"""Typed view of ``module.attrs["training"]`` (docs/design/training-config.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snncc.compiler.ir.build import flag, integer, ints, number, text
from snncc.compiler.ir.core import Attribute, Module
from snncc.compiler.ir.losses import CLASSES, CROSS_ENTROPY, LOSSES, LossRule
from snncc.compiler.ir.optimizers import OPTIMIZERS, OptimizerRule, numbers


@dataclass(frozen=True)
class Optimizer:
    """How parameters are updated: the rule, its settings, where weights and states live."""

    rule: OptimizerRule
    lr: float
    weight_decay: float
    settings: Mapping[str, Attribute]
    master: bool
    """FP32 master weights."""
    wide_state: bool
    """States in FP32."""


@dataclass(frozen=True)
class TrainingSettings:
    """What the phase passes need to know."""

    train: bool
    loss: LossRule
    loss_settings: Mapping[str, float]
    targets: str
    """What the loss is compared with (``losses.TARGETS``)."""
    target_steps: bool
    """Whether targets have a time axis of their own."""
    scale: float
    output: str
    reduce: str
    axis: int
    steps: tuple[int, ...]
    """The steps that are read; empty: all."""
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
    rule = OPTIMIZERS.get(text(o, "name"))
    if rule is None:
        raise ValueError(f"unknown optimizer {text(o, 'name')!r}; known: {', '.join(OPTIMIZERS)}")
    settings = {key: o.get(key, default) for key, default in rule.settings.items()}
    if rule.powers and len(numbers(settings, rule.powers)) != len(
        numbers(rule.settings, rule.powers)
    ):
        raise ValueError(f"optimizer.{rule.powers} is {settings[rule.powers]!r}: too few or many")
    return Optimizer(
        rule,
        number(o, "lr"),
        number(o, "weight_decay", 0.0),
        settings,
        text(o, "weights", "fp16").replace("_", "-") == "fp32-master",
        text(o, "state", "fp32") == "fp32",
    )


def _loss(loss: Mapping[str, Attribute]) -> LossRule:
    name = text(loss, "name", CROSS_ENTROPY).replace("_", "-")
    rule = LOSSES.get(name)
    if rule is None:
        raise ValueError(f"unknown loss {name!r}; known: {', '.join(LOSSES)}")
    return rule


def training_of(module: Module) -> TrainingSettings:
    """Read the training attributes of a module."""
    t = _section(module.attrs.get("training"))
    loss, readout = _section(t.get("loss")), _section(t.get("readout"))
    rule = _loss(loss)
    train = bool(loss) and text(t, "mode", "train") == "train"
    statistics = text(_section(t.get("batchnorm")), "statistics", "batch" if train else "running")
    micro = t.get("microbatch")
    return TrainingSettings(
        train,
        rule,
        {key: number(loss, key, default) for key, default in rule.settings.items()},
        text(loss, "targets", CLASSES),
        flag(loss, "target_steps"),
        number(loss, "scale", 1.0),
        text(readout, "output", ""),
        text(readout, "reduce", "sum").replace("_", "-"),
        integer(readout, "axis", 0),
        ints(readout, "steps", ()),
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

"""What a model's loss is compared with: from the configuration, and from the targets themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.config.config import Config
from snncc.compiler.config.schema import Value
from snncc.compiler.diag import DiagnosticSink, fail
from snncc.compiler.driver.target_layout import TargetLayout
from snncc.compiler.ir.core import Module, Type
from snncc.compiler.ir.losses import LOSSES, VALUES, LossRule, target_of, usual_targets
from snncc.compiler.passes.graph.configure import readout_of

Array: TypeAlias = npt.NDArray[Any]
_WHOLE = ("per-step", "none")


def target_layout(graph: Module, config: Config) -> TargetLayout | None:
    """Return how the targets of a model lie; None where configuration and model do not fit."""
    rule = LOSSES[config.text("loss.name")]
    kind = config.text("loss.targets") or usual_targets(rule)
    return _layout(graph, config, kind, config.flag("loss.target_steps"))


def fit_to_targets(
    graph: Module, config: Config, y: Array, where: str, samples_first: bool = False
) -> Config:
    """Return the configuration with what it leaves open about targets filled in as ``y`` looks.

    ``samples_first``: ``y`` holds any number of samples, as training data do.
    """
    tried: list[str] = []
    for said, layout in _candidates(graph, config, y):
        if layout.takes_samples(y.shape) if samples_first else layout.takes(y.shape):
            return config.override(said, "data")
        words = layout.words
        if samples_first:
            inner = "".join(f", {n}" for n in layout.sample_shape)
            words = f"[samples{inner}]{words[words.index(']') + 1 :]}"
        if words not in tried:
            tried.append(words)
    if tried:
        shown = f"[{', '.join(map(str, y.shape))}]"
        fail("E0022", f"y has shape {shown}, expected {', or '.join(tried)}", where)
    return config


def _candidates(
    graph: Module, config: Config, y: Array
) -> Iterator[tuple[dict[str, Value], TargetLayout]]:
    rule = LOSSES[config.text("loss.name")]
    reductions: list[str | None] = [None]
    if not config.said("readout.reduce") and not config.flag("loss.per_step"):
        reductions.append("none")
    timed: tuple[bool, ...] = (False, True)
    if config.get("loss.target_steps").value is not None:
        timed = (config.flag("loss.target_steps"),)
    for reduce in reductions:
        chosen = config.override({"readout.reduce": reduce}) if reduce else config
        for kind in _kinds(rule, config, y):
            for steps in timed:
                layout = _layout(graph, chosen, kind, steps)
                if layout is None or (steps and layout.time_axis < 0) or (reduce and not steps):
                    continue
                said: dict[str, Value] = {"loss.targets": kind, "loss.target_steps": steps}
                if reduce:
                    said["readout.reduce"] = reduce
                yield said, layout


def _kinds(rule: LossRule, config: Config, y: Array) -> tuple[str, ...]:
    """Return what the targets may be, the likelier first."""
    if config.text("loss.targets"):
        return (config.text("loss.targets"),)
    if VALUES not in rule.targets:
        return rule.targets
    others = tuple(kind for kind in rule.targets if kind != VALUES)
    whole = y.dtype.kind in "iu" or bool(y.size and np.all(y == np.floor(y)))
    if y.dtype.kind in "iu":
        return (*others, VALUES)
    return (VALUES, *others) if whole else (VALUES,)


def _layout(graph: Module, config: Config, kind: str, timed: bool) -> TargetLayout | None:
    readout = readout_of(graph, config, DiagnosticSink())
    outputs = {op.str_attr("name"): op for op in graph.walk() if op.name == "graph.output"}
    output = outputs.get(str(readout.get("output")))
    if output is None:
        return None
    type_, axis = output.operands[0].type, readout["axis"]
    assert isinstance(axis, int)
    read = type_
    if readout["reduce"] not in _WHOLE:
        shape = type_.step_shape
        if type_.kind == "tensor":
            shape = shape[:axis] + shape[axis + 1 :]
        read = Type("tensor", shape, type_.dtype)
    try:
        target = target_of(read, kind, timed, graph.batch)
    except ValueError:
        return None
    return TargetLayout(target.shape, target.classes, axis if target.timed else -1)


def is_scored(layout: TargetLayout | None) -> bool:
    """Whether an accuracy makes sense: the targets are classes."""
    return layout is not None and layout.classes > 1

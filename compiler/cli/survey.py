"""What `snncc check` finds out, as data, text and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snncc.compiler.cli.build import Request, import_model, lower
from snncc.compiler.cli.interface import mapping
from snncc.compiler.config import Config
from snncc.compiler.config_schema import KEYS
from snncc.compiler.diag import CompileError, Diagnostic
from snncc.compiler.ir.core import Attribute, Module, Op
from snncc.isa.machine import Machine

PIPELINE = "frontend,phases,tile"
COLUMNS = 4
CONSTANTS = ("beta", "tau", "rate", "a_syn", "threshold", "reset_value", "v_rest", "v_min")
WORDS = ("dynamics", "synapse", "compare", "reset", "delay", "norm_input", "reset_gradient")
# What the neuron dialect takes an absent attribute for; not worth a column.
SILENT = {"synapse": "none", "delay": False, "norm_input": False, "v_rest": 0.0, "reset_value": 0.0}


@dataclass(frozen=True, slots=True)
class NodeLine:
    """One node: where it is, what it became, why not."""

    place: str
    op: str
    ok: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A value and where it came from."""

    value: Attribute
    origin: str


@dataclass(slots=True)
class Survey:
    """Everything that is known about a model."""

    model: str
    module: Module | None = None
    nodes: list[NodeLine] = field(default_factory=list[NodeLine])
    neurons: dict[str, dict[str, Value]] = field(default_factory=dict[str, dict[str, Value]])
    training: dict[str, Value] = field(default_factory=dict[str, Value])
    errors: list[Diagnostic] = field(default_factory=list[Diagnostic])
    warnings: list[Diagnostic] = field(default_factory=list[Diagnostic])


def survey(
    model: str, config: Config, machine: Machine, batch: int | None = None, dt: float | None = None
) -> Survey:
    """Import a model, configure it, and try the passes that may refuse it."""
    found = Survey(model)
    try:
        imported = import_model(Path(model), Request(config, batch, None, dt))
        found.warnings += imported.warnings
        config = imported.config
        found.module, _ = lower(imported.module, "configure", config=config, mode="train")
        found.nodes = [_line(op) for op in found.module.walk() if op.name not in _QUIET]
        found.neurons = {
            _layer(op): _neuron(op, found.module)
            for op in found.module.walk()
            if op.name == "graph.neuron"
        }
        found.training = _training(found.module, config)
        _, sink = lower(imported.module, PIPELINE, config=config, mode="train", machine=machine)
        found.warnings += sink.warnings
    except CompileError as error:
        found.errors += error.diagnostics
        found.nodes += [
            NodeLine(str(d.where), "", False, f"{d.code}: {d.message}") for d in error.diagnostics
        ]
    return found


_QUIET = ("graph.param", "graph.const", "graph.output")


def as_text(found: Survey) -> str:
    """Return the tables for people."""
    lines: list[str] = []
    if found.module is not None:
        m = found.module
        lines += [f"{found.model}: {m.steps} time steps, batch {m.batch}", ""]
    places = [n.place.removeprefix(f"{found.model}:") for n in found.nodes]
    width = min(60, max(map(len, places), default=0))
    for node, place in zip(found.nodes, places, strict=True):
        verdict = "ok" if node.ok else "ERROR"
        lines.append(f"{place:{width}}  {verdict:5}  {node.op:12} {node.note}".rstrip())
    if found.neurons:
        lines += ["", "neurons (value, origin)"]
        lines += _neuron_table(found.neurons)
    if found.training:
        lines += ["", "training"]
        wide = max(map(len, found.training))
        for name, value in found.training.items():
            lines.append(f"  {name:{wide}}  {_show(value.value)} ({value.origin})")
    lines += [f"warning[{w.code}]: {w.where}: {w.message}" for w in found.warnings]
    if not found.errors:
        lines += ["", "ok: it compiles"]
    return "\n".join(lines)


def as_json(found: Survey) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "model": found.model,
        "ok": not found.errors,
        "steps": found.module.steps if found.module else None,
        "batch": found.module.batch if found.module else None,
        "nodes": [{"place": n.place, "op": n.op, "ok": n.ok, "note": n.note} for n in found.nodes],
        "neurons": {
            layer: {k: {"value": _plain(v.value), "origin": v.origin} for k, v in values.items()}
            for layer, values in found.neurons.items()
        },
        "training": {
            k: {"value": _plain(v.value), "origin": v.origin} for k, v in found.training.items()
        },
        "diagnostics": [d.as_json() for d in (*found.errors, *found.warnings)],
    }


def _line(op: Op) -> NodeLine:
    shapes = ", ".join(str(r.type) for r in op.results)
    kind = op.name.removeprefix("graph.")
    return NodeLine(str(op.loc), kind, True, f"-> {shapes}" if shapes else "")


def _layer(op: Op) -> str:
    layer = op.attrs.get("layer")
    return layer if isinstance(layer, str) else str(op.loc)


def _neuron(op: Op, module: Module) -> dict[str, Value]:
    known = mapping(op.attrs.get("origin"))
    values: dict[str, Value] = {}
    operands = dict(zip(op.strs_attr("params", ()), op.operands[1:], strict=False))
    for key in (*WORDS[:1], *CONSTANTS, *WORDS[1:], "surrogate"):
        if key in operands:
            value: Attribute = _constant(operands[key].owner, module)
        elif key in op.attrs and op.attrs[key] != SILENT.get(key):
            value = op.attrs[key]
        else:
            continue
        values[key] = Value(value, str(known.get(key, "pattern")))
    return values


def _constant(owner: object, module: Module) -> str:
    """Describe a constant that comes as an operand: one number, or a range."""
    if not isinstance(owner, Op):
        return "computed"
    name = owner.attrs.get("resource")
    if not isinstance(name, str):
        return str(owner.attrs.get("value", "computed"))
    array = np.asarray(module.resources[name])
    low, high = float(array.min()), float(array.max())
    return f"{low:g}" if low == high else f"{low:g}..{high:g} {list(array.shape)}"


def _training(module: Module, config: Config) -> dict[str, Value]:
    """Return readout, loss, optimizer and trained parameters with their origins."""
    found: dict[str, Value] = {}
    training = module.attrs.get("training")
    readout = training.get("readout") if isinstance(training, Mapping) else None
    for key in KEYS:
        setting = config.get(key.path)
        value: Attribute = setting.value
        origin: str = setting.origin
        section, _, name = key.path.rpartition(".")
        if section == "readout" and isinstance(readout, Mapping) and not config.said(key.path):
            value, origin = readout.get(name), "pattern" if name == "axis" else "default"
        if value is None or (origin == "default" and section not in ("readout", "loss")):
            continue
        found[key.path] = Value(value, origin)
    trained = [
        op.str_attr("name")
        for op in module.walk()
        if op.name == "graph.param" and op.attrs.get("train") is True
    ]
    said = any(config.said(p) for p in ("parameters.train", "parameters.freeze"))
    found["trained"] = Value(tuple(trained), "config" if said else "default")
    return found


def _neuron_table(neurons: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """Return tables of at most four layers side by side."""
    names = list(neurons)
    lines: list[str] = []
    for start in range(0, len(names), COLUMNS):
        part = names[start : start + COLUMNS]
        keys = list(dict.fromkeys(k for name in part for k in neurons[name]))
        rows: list[Sequence[str]] = [["", *part]]
        for key in keys:
            found = [neurons[name].get(key) for name in part]
            cells = [f"{_show(v.value)} ({v.origin})" if v else "-" for v in found]
            rows.append([key, *cells])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines += [
            "  " + "  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
    return lines


def _show(value: Attribute) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        rest = ", ".join(f"{k}={_show(v)}" for k, v in value.items() if k != "name")
        return f"{value.get('name', '')}({rest})" if rest else str(value.get("name", ""))
    if isinstance(value, tuple):
        return ", ".join(_show(v) for v in value)
    return str(value)


def _plain(value: Attribute) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value

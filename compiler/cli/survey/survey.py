"""What `snncc check` finds out, as data, text and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snncc.compiler.cli.survey.survey_tables import ShownValue, neuron_table, show
from snncc.compiler.cli.survey.trial import densities, silent
from snncc.compiler.config.config import Config
from snncc.compiler.config.loss_scale import DYNAMIC_KEYS, loss_scale
from snncc.compiler.config.schema import KEYS
from snncc.compiler.diag import CompileError, Diagnostic, fail
from snncc.compiler.driver.build import Request, import_model, lower
from snncc.compiler.driver.doubts import doubts
from snncc.compiler.driver.files import read_npz
from snncc.compiler.driver.interface import Array, mapping
from snncc.compiler.ir.core import Attribute, Module, Op
from snncc.compiler.pipeline.manager import PassFailure
from snncc.compiler.validate.verdict import SWITCHED_OFF, Verdict
from snncc.isa.diagnostics.printable import bounded, printable
from snncc.isa.machine.machine import Machine

PIPELINE = "frontend,phases,tile"
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


@dataclass(slots=True)
class Survey:
    """Everything that is known about a model."""

    model: str
    module: Module | None = None
    nodes: list[NodeLine] = field(default_factory=list[NodeLine])
    """Every node of an ONNX file; empty for other kinds of models."""
    ops: list[NodeLine] = field(default_factory=list[NodeLine])
    """Every op of the graph."""
    density: dict[str, float] = field(default_factory=dict[str, float])
    """Fraction of neurons that fire per step in the trial run, by layer; empty without a run."""
    neurons: dict[str, dict[str, ShownValue]] = field(
        default_factory=dict[str, dict[str, ShownValue]]
    )
    training: dict[str, ShownValue] = field(default_factory=dict[str, ShownValue])
    not_trained: tuple[str, ...] = ()
    """Initializers that were taken for settings, or for numbers of the exporter, by their names."""
    verdict: Verdict = SWITCHED_OFF
    """Whether the import was compared with the file."""
    errors: list[Diagnostic] = field(default_factory=list[Diagnostic])
    warnings: list[Diagnostic] = field(default_factory=list[Diagnostic])


def survey(
    model: str,
    config: Config,
    machine: Machine,
    batch: int | None = None,
    dt: float | None = None,
    inputs: str | None = None,
    validate: bool = True,
) -> Survey:
    """Import a model, configure it, try the passes that may refuse it, and look for doubts.

    ``inputs``: an npz file whose ``x`` is used to find silent layers.
    """
    found = Survey(model)
    path = Path(model)
    x = _input(inputs) if inputs else None
    shape = x.shape if x is not None else None
    request = Request(config, batch, shape, dt, nodes=True, validate=validate)
    try:
        imported = import_model(path, request)
    except CompileError as error:
        found.errors += error.diagnostics
        found.nodes = _refused(path, error)
        return found
    found.warnings += imported.warnings
    found.verdict = imported.verdict
    found.nodes = [NodeLine(f"{model}:{n.name}", n.op, n.ok, n.note) for n in imported.nodes]
    config = imported.config
    try:
        found.module, _ = lower(imported.module, "configure", config=config, mode="train")
        found.ops = [_line(op) for op in found.module.walk() if op.name not in _QUIET]
        found.neurons = _neurons(found.module)
        found.training = _training(found.module, config)
        found.not_trained = _names(found.module.attrs.get("not_trained"))
        largest = float(np.abs(x).max()) if x is not None and x.size else 1.0
        found.warnings += doubts(found.module, config, model, largest)
        tried = densities(found.module, x, inputs or model)
        if tried is not None:
            found.density = tried
            found.warnings += silent(tried, x is not None, model)
        _, sink = lower(
            imported.module, PIPELINE, config=config, mode="train", machine=machine,
            verify_each=False,
        )  # fmt: skip
        found.warnings += sink.warnings
    except PassFailure:
        raise  # our bug, not the model's
    except CompileError as error:
        found.errors += error.diagnostics
    return found


def _input(path: str) -> Array:
    arrays = read_npz(path, ("x",))
    if "x" not in arrays:
        fail("E0021", "there is no array x", path)
    return arrays["x"]


def _refused(path: Path, error: CompileError) -> list[NodeLine]:
    """Return verdicts on a file that cannot be imported."""
    lines: list[NodeLine] = []
    if path.suffix.lower() == ".onnx":
        from snncc.compiler.frontend.node_report import refused_nodes

        lines = [
            NodeLine(f"{path}:{n.name}", n.op, n.ok, n.note) for n in refused_nodes(path, error)
        ]
    return lines or [
        NodeLine(str(d.where), "", False, f"{d.code}: {d.message}") for d in error.diagnostics
    ]


_QUIET = ("graph.param", "graph.const", "graph.output")


def as_text(found: Survey, short: bool = False) -> str:
    """Return the tables for people; ``short``: ops of the graph, not nodes of the file."""
    lines: list[str] = []
    if found.module is not None:
        m = found.module
        lines += [f"{found.model}: {m.steps} time steps, batch {m.batch}", _validation(found), ""]
    shown = found.ops if found.ops and (short or not found.nodes) else found.nodes
    shown = [
        NodeLine(
            bounded(_inside(n.place, found.model)),
            bounded(n.op),
            n.ok,
            bounded(n.note),
        )
        for n in shown
    ]
    places = [n.place for n in shown]
    width = min(60, max(map(len, places), default=0))
    kinds = max([12, *(len(n.op) for n in shown)])
    for node, place in zip(shown, places, strict=True):
        verdict = "ok" if node.ok else "ERROR"
        lines.append(f"{place:{width}}  {verdict:5}  {node.op:{kinds}} {node.note}".rstrip())
    if found.neurons:
        lines += ["", "neurons (value, origin)"]
        lines += neuron_table(found.neurons)
    if found.density:
        lines += ["", "spikes per neuron and step in a float32 trial run"]
        density = {printable(name): value for name, value in found.density.items()}
        wide = max(map(len, density))
        lines += [f"  {name:{wide}}  {value:.4f}" for name, value in density.items()]
    if found.training:
        lines += ["", "training"]
        wide = max(map(len, found.training))
        for name, value in found.training.items():
            lines.append(f"  {name:{wide}}  {show(value.value)} ({value.origin})")
    if found.not_trained:
        lines += ["", _not_trained(found.not_trained)]
    if found.warnings:
        lines += ["", *map(str, found.warnings)]
    if not found.errors:
        lines += ["", "ok: it compiles"]
    return "\n".join(lines)


def _validation(found: Survey) -> str:
    cost = f", {found.verdict.seconds:.2g} s" if found.verdict.validated else ""
    return f"{found.verdict.words}{cost}"


def _names(value: Attribute) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, tuple) else ()


def _not_trained(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more (--json lists them)" if len(names) > 5 else ""
    shown = ", ".join(printable(n) for n in names[: 4 if more else 5])
    return (
        f"taken for settings or for numbers of the exporter, not trained: {shown}{more}\n"
        f'  [parameters] train = ["{printable(names[0])}"] makes one a parameter'
    )


def _inside(place: str, model: str) -> str:
    """Return a place without the model's name in front."""
    return place.removeprefix(f"{model}:").removeprefix(f"{Path(model).name}:")


def as_json(found: Survey) -> dict[str, Any]:
    """Return everything as plain data."""
    return {
        "model": found.model,
        "ok": not found.errors,
        "steps": found.module.steps if found.module else None,
        "batch": found.module.batch if found.module else None,
        "validation": found.verdict.as_json(),
        "nodes": _lines(found.nodes or found.ops),
        "ops": _lines(found.ops),
        "density": found.density,
        "neurons": {
            layer: {k: {"value": _plain(v.value), "origin": v.origin} for k, v in values.items()}
            for layer, values in found.neurons.items()
        },
        "training": {
            k: {"value": _plain(v.value), "origin": v.origin} for k, v in found.training.items()
        },
        "not_trained": list(found.not_trained),
        "diagnostics": [d.as_json() for d in (*found.errors, *found.warnings)],
    }


def _lines(nodes: Sequence[NodeLine]) -> list[dict[str, Any]]:
    return [{"place": n.place, "op": n.op, "ok": n.ok, "note": n.note} for n in nodes]


def _line(op: Op) -> NodeLine:
    shapes = ", ".join(str(r.type) for r in op.results)
    kind = op.name.removeprefix("graph.")
    return NodeLine(str(op.loc), kind, True, f"-> {shapes}" if shapes else "")


def _layer(op: Op) -> str:
    layer = op.attrs.get("layer")
    return layer if isinstance(layer, str) else str(op.loc)


def _neurons(module: Module) -> dict[str, dict[str, ShownValue]]:
    """Return what is known of every neuron, and of every spike function left as arithmetic."""
    found: dict[str, dict[str, ShownValue]] = {}
    for op in module.walk():
        if op.name in ("graph.neuron", "graph.spike"):
            name, n = _layer(op), 1
            while name in found:
                n += 1
                name = f"{_layer(op)} ({n})"
            found[name] = _neuron(op, module)
    return found


def _neuron(op: Op, module: Module) -> dict[str, ShownValue]:
    known = mapping(op.attrs.get("origin"))
    values: dict[str, ShownValue] = {}
    operands = dict(zip(op.strs_attr("params", ()), op.operands[1:], strict=False))
    if op.name == "graph.spike":
        values["dynamics"] = ShownValue("as written", "file")
        operands = {"threshold": op.operands[1]}
    for key in (*WORDS[:1], *CONSTANTS, *WORDS[1:], "surrogate"):
        if key in operands:
            value: Attribute = _constant(operands[key].owner, module)
        elif key in op.attrs and op.attrs[key] != SILENT.get(key):
            value = op.attrs[key]
        else:
            continue
        values[key] = ShownValue(value, str(known.get(key, "pattern")))
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


def _training(module: Module, config: Config) -> dict[str, ShownValue]:
    """Return readout, loss, optimizer and trained parameters with their origins."""
    found: dict[str, ShownValue] = {}
    training = module.attrs.get("training")
    readout = training.get("readout") if isinstance(training, Mapping) else None
    hidden = () if loss_scale(config).dynamic else DYNAMIC_KEYS
    for key in KEYS:
        if key.path in hidden:
            continue
        setting = config.get(key.path)
        value: Attribute = setting.value
        origin: str = setting.origin
        section, _, name = key.path.rpartition(".")
        if section == "readout" and isinstance(readout, Mapping) and not config.said(key.path):
            value, origin = readout.get(name), "pattern" if name == "axis" else "default"
        if value is None or (origin == "default" and section not in ("readout", "loss")):
            continue
        found[key.path] = ShownValue(value, origin)
    trained = [
        op.str_attr("name")
        for op in module.walk()
        if op.name == "graph.param" and op.attrs.get("train") is True
    ]
    said = any(config.said(p) for p in ("parameters.train", "parameters.freeze"))
    found["trained"] = ShownValue(tuple(trained), "config" if said else "default")
    return found


def _plain(value: Attribute) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value

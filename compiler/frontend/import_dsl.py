"""Importing .snn files: the entry of the network language (docs/dsl.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from snncc.compiler.diag import DiagnosticSink, Span, fail
from snncc.compiler.frontend.dsl.build import INIT, INPUT, WEIGHTS, Walker, find, placed
from snncc.compiler.frontend.dsl.net import Array, Net
from snncc.compiler.frontend.dsl.parse import (
    Call,
    Items,
    Number,
    Program,
    Text,
    Value,
    read_program,
)
from snncc.compiler.frontend.dsl.weights import read_weights
from snncc.compiler.ir.core import Func, Module, seq, tensor

Plain: TypeAlias = "int | float | bool | str | tuple[str, ...] | tuple[float, ...]"
SHORT = {
    "loss": "loss.name",
    "optimizer": "optimizer.name",
    "readout": "readout.reduce",
    "weights": "weights.format",
    "lr": "optimizer.lr",
    "batch": "training.batch",
    "seed": "training.seed",
    "steps": "timesteps",
}
MAX_ELEMENTS = 1 << 30


@dataclass(frozen=True, slots=True)
class Said:
    """A training setting of the file: a key of the configuration, its value and place."""

    path: str
    value: Plain
    span: Span
    key: Span


def import_dsl(
    path: Path,
    *,
    steps: int | None = None,
    batch: int | None = None,
    x_shape: Sequence[int] | None = None,
    sink: DiagnosticSink | None = None,
) -> tuple[Module, list[Said]]:
    """Read a .snn file into a graph-stage module and the training settings in it.

    ``steps`` and ``batch`` win over the file's; ``x_shape`` is the shape of the input that will be
    given.  Warnings go to ``sink``; faults raise ``CompileError``.
    """
    return import_program(
        read_program(path), path, steps=steps, batch=batch, x_shape=x_shape, sink=sink
    )


def import_program(
    program: Program,
    path: Path,
    *,
    steps: int | None = None,
    batch: int | None = None,
    x_shape: Sequence[int] | None = None,
    sink: DiagnosticSink | None = None,
) -> tuple[Module, list[Said]]:
    """Make a module of a parsed file, as :func:`import_dsl`; ``path`` is where the file lies."""
    sink = sink if sink is not None else DiagnosticSink()
    settings = training(program)
    given = placed(program, "input", INPUT)
    if given is None:
        fail("E0121", "the network has no input", Span(program.source, 0, 1),
             help="begin with a line such as input(2x34x34, steps=10)")  # fmt: skip
    shape = given.get("shape")
    sample = shape if isinstance(shape, tuple) else ()
    static = given.flag("static")
    lead = 1 if static else 2
    if x_shape is not None and len(x_shape) == len(sample) + lead:
        batch = batch or x_shape[lead - 1]
        steps = steps or (None if static else x_shape[0])
    steps = steps or given.whole("steps") or _setting(settings, "timesteps")
    if not steps:
        sink.warning("E0111", "nothing says how many time steps to run; 1 is assumed",
                     given.span(), help="input(..., steps=10)")  # fmt: skip
        steps = 1
    batch = batch or given.whole("batch") or 1
    if steps * batch * math.prod(sample) > MAX_ELEMENTS:
        fail("E0124", f"an input of {steps} steps and batch {batch} is absurd", given.span())
    module = Module(_name(program, path))
    weights, file = first_weights(program, path)
    net = Net(module, steps, sink, weights=weights, weights_file=file)
    start = placed(program, "init", INIT)
    if start is not None:
        net.seed, net.gain = start.whole("seed"), start.float("gain")
    name = given.word("name")
    type_ = tensor((batch, *sample)) if static else seq((steps, batch, *sample))
    x = net.block.add_arg(type_, name)
    net.values[name] = x
    Walker(net).run(program, x)
    module.funcs["main"] = Func("main", net.block)
    module.attrs.update(
        {
            "stage": "graph",
            "steps": steps,
            "batch": batch,
            "source": path.name,
            "producer": "snn",
            "inputs": {name: {"axis": -1 if static else 0}},
            "states": (),
        }
    )
    if given.flag("spikes"):
        where = given.span("spikes")
        settings.append(Said("input.spikes", True, where, where))
    return module, settings


def _name(program: Program, path: Path) -> str:
    named = [i for i in program.items if i.kind == "network"]
    if len(named) > 1:
        fail("E0123", "the network has a name already", named[1].span)
    return named[0].name if named else path.stem


def first_weights(program: Program, path: Path) -> tuple[dict[str, Array], str]:
    """Return the arrays of the npz that a file names, and its name."""
    args = placed(program, "weights", WEIGHTS)
    if args is None:
        return {}, ""
    return read_weights(args, path.parent), args.word("file")


def _setting(settings: Sequence[Said], path: str) -> int:
    found = [s.value for s in settings if s.path == path]
    return found[-1] if found and isinstance(found[-1], int) else 0


def training(program: Program) -> list[Said]:
    """Return the settings of the ``train`` block."""
    call = find(program, "train")
    if call is None:
        return []
    if len(call.blocks) != 1 or call.args:
        fail("E0120", "train takes one block: train { optimizer = adam(lr=0.001) }", call.span)
    found: list[Said] = []
    for item in call.blocks[0]:
        if item.kind != "assign" or item.value is None:
            fail("E0120", "a setting is KEY = VALUE", item.span)
        path = SHORT.get(item.name, item.name)
        value = item.value
        found.append(Said(path, _plain(value), value.span, item.span))
        if isinstance(value, Call) and value.args:
            section = path.rpartition(".")[0] or path
            for key, inner in value.args:
                if not key:
                    fail("E0120", f"{value.name} takes KEY=VALUE", inner.span)
                found.append(Said(f"{section}.{key}", _plain(inner), inner.span, inner.span))
    return found


def _plain(value: Value) -> Plain:
    if isinstance(value, (Number, Text)):
        return value.value
    if isinstance(value, Items):
        parts = [_plain(v) for v in value.value]
        if all(isinstance(p, (int, float)) for p in parts):
            return tuple(float(p) for p in parts if isinstance(p, (int, float)))
        return tuple(str(p) for p in parts)
    if isinstance(value, Call):
        if value.blocks:
            fail("E0120", "a setting takes no block", value.span)
        return {"true": True, "false": False}.get(value.name, value.name)
    return "x".join(map(str, value.value))

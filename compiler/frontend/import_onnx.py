"""Importing ONNX models: the entry of the frontend (docs/design/frontend.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import onnx

from snncc.compiler.diag import DiagnosticSink, fail
from snncc.compiler.frontend.flat.exporter_names import FileNames
from snncc.compiler.frontend.flat.flat import FlatGraph, Shape, Val, prod
from snncc.compiler.frontend.flat.shapes import MAX_FOLD
from snncc.compiler.frontend.neurons.fuse import place_neurons
from snncc.compiler.frontend.neurons.metadata import Namer
from snncc.compiler.frontend.node_report import NodeTrace
from snncc.compiler.frontend.onnx import activations as onnx_activations
from snncc.compiler.frontend.onnx import builtins
from snncc.compiler.frontend.onnx import einsum as onnx_einsum
from snncc.compiler.frontend.onnx import images as onnx_images
from snncc.compiler.frontend.onnx import indices as onnx_indices
from snncc.compiler.frontend.onnx import loops as onnx_loops
from snncc.compiler.frontend.onnx import recurrent as onnx_recurrent
from snncc.compiler.frontend.onnx import reductions as onnx_reductions
from snncc.compiler.frontend.onnx import rules as onnx_rules
from snncc.compiler.frontend.onnx import volumes as onnx_volumes
from snncc.compiler.frontend.onnx.build import Bound, Env, GraphBuilder, Scope
from snncc.compiler.frontend.onnx.file import TensorReader, np_dtype, read_model
from snncc.compiler.frontend.onnx.inputs import Wanted, batch_in, input_shapes
from snncc.compiler.frontend.time.rolled import reachable
from snncc.compiler.frontend.time.unroll import Rolled, roll_model
from snncc.compiler.frontend.writer.base import TRAINED
from snncc.compiler.frontend.writer.batch import BatchAxes, is_one_sample
from snncc.compiler.frontend.writer.time import emit_module
from snncc.compiler.ir.core import Attribute, Module

_RULES = (  # importing them registers their operators
    *(builtins, onnx_activations, onnx_einsum, onnx_images, onnx_indices, onnx_loops),
    *(onnx_reductions, onnx_recurrent, onnx_rules, onnx_volumes),
)


def import_onnx(
    path: Path,
    *,
    steps: int | None = None,
    time_axis: int | None = None,
    batch: int | None = None,
    x_shape: Sequence[int] | None = None,
    batch_in_time_axis: bool = False,
    trained: Collection[str] = (),
    as_arithmetic: bool = False,
    sink: DiagnosticSink | None = None,
    trace: NodeTrace | None = None,
) -> Module:
    """Read an ONNX file into a graph-stage module.

    ``steps`` and ``time_axis`` are the configuration's ``timesteps`` and ``time_axis`` (None: the
    file says it, or the input is the same at every step), ``batch`` the wanted batch size (None:
    that of ``x_shape``, the shape of the first input as the user has it, along the axis that turns
    out to hold the samples; without it, or where it does not fit, the file's).  ``trained`` names
    initializers that are parameters whatever they look like.  ``as_arithmetic`` leaves neurons as
    they are written.  Warnings go to ``sink``; faults raise ``CompileError``.  ``trace`` learns
    what became of each node of the file.
    """
    sink = sink if sink is not None else DiagnosticSink()
    model = read_model(path)
    reader = TensorReader(path)
    dims = input_shapes(
        path, model, Wanted(steps, time_axis, batch, batch_in_time_axis, tuple(x_shape or ()))
    )
    names = FileNames(model, trained)
    flat, read = build(str(path), model, reader, dims, names)
    for name, weight in flat.copies:
        sink.warning(
            "E0111",
            f"{name} is the transpose of {weight}: taken for the same parameter",
            f"{path}:{name}",
            help="exporters write x @ w.T so; if the two are trained apart, let them differ",
        )
    if not flat.inputs:
        fail("E0105", "the model has no data input", str(path))
    rolled = roll_model(flat, steps, time_axis, batch_in_time_axis, sink)
    total = steps or rolled.steps
    if steps is None and rolled.steps == 1:
        sink.warning(
            "E0111",
            "the file holds one step and nothing says how many to run; 1 is assumed",
            str(path),
            help="set timesteps in the configuration",
        )
    elif steps is not None and rolled.steps not in (1, steps):
        sink.warning(
            "E0111",
            f"the file holds {rolled.steps} steps; {steps} are run, as the configuration says",
            str(path),
        )
    layers = place_neurons(rolled.outputs, as_arithmetic)
    old = _batch_of(flat.inputs[0], rolled, time_axis, batch_in_time_axis)
    said = batch
    if batch is None and x_shape is not None:
        batch = batch_in(tuple(x_shape), flat.inputs[0], rolled, batch_in_time_axis)
    one = is_one_sample((o.node for o in rolled.outputs), old)
    if one:
        if said not in (None, 1):
            fail(
                "E0105",
                f"the model has no batch axis: its input of shape {list(flat.inputs[0].shape)} is "
                f"one sample, not {said}",
                str(path),
                help="export it with a batch axis behind the time axis, or leave the batch out",
            )
        batch = old
    batches = BatchAxes(old, batch or old, batch_in_time_axis)
    module = emit_module(
        path.stem, rolled, rolled.outputs, layers, str(path), total, batches, Namer(), sink
    )
    if trace is not None:
        trace.conclude(read, flat, rolled)
    module.attrs.update(
        {
            "stage": "graph",
            "steps": total,
            "batch": 1 if one else batch or old,
            "source": path.name,
            "producer": model.producer_name,
            "inputs": _inputs(rolled, batch_in_time_axis),
            "states": tuple(o.name for o in rolled.outputs if o.state),
        }
    )
    held = [op for op in module.walk() if op.name == "graph.param"]
    known = {op.str_attr("name") for op in held}
    frozen = [op for op in held if op.attrs["role"] in TRAINED and not op.attrs["train"]]
    doubtful = tuple(name for name in names.doubtful() if name not in known)
    doubtful += tuple(dict.fromkeys(op.str_attr("name").partition("#")[0] for op in frozen))
    if doubtful:
        module.attrs["not_trained"] = doubtful
    return module


def build(
    file: str,
    model: onnx.ModelProto,
    reader: TensorReader,
    dims: Mapping[str, Shape],
    names: FileNames,
) -> tuple[FlatGraph, list[tuple[str, str, tuple[Bound, ...]]]]:
    """Build the flat graph, and the list of what was read: name, operator, results of each node.

    ``dims`` are the concrete shapes of the data inputs.
    """
    builder = GraphBuilder(file, model, reader, names)
    graph = model.graph
    env: Env = {}
    builder.initializers(graph, env)
    for info in graph.input:
        if info.name in env:
            continue
        where = builder.where(info.name)
        shape = dims[info.name]
        if any(d < 0 for d in shape) or prod(shape) > MAX_FOLD:
            fail("E0103", f"input of shape {list(shape)} is not possible", where)
        v = builder.value(shape, np_dtype(info.type.tensor_type.elem_type, where), info.name)
        env[info.name] = v
        builder.flat.inputs.append(v)
    builder.run(graph.node, Scope(env))
    for out in graph.output:
        found = env.get(out.name)
        if not isinstance(found, Val):
            fail("E0105", f"output {out.name!r} is not defined", builder.where(out.name))
        builder.flat.outputs.append(found)
        builder.flat.output_names.append(out.name)
    return builder.flat, builder.read


def _inputs(rolled: Rolled, merged: bool) -> dict[str, Attribute]:
    """Return how the file lays out its inputs: the place of the time axis, -1 for none."""
    out: dict[str, Attribute] = {}
    for node in reachable(o.node for o in rolled.outputs):
        if node.op not in ("Input", "SeqInput") or node.val is None:
            continue
        lay = rolled.time_inputs.get(node.val.id)
        info: dict[str, Attribute] = {"axis": lay.axis if lay is not None else -1}
        if lay is not None and (merged or not lay.pure):
            info["batch_in_time"] = True
        out[node.val.name] = info
    return out


def _batch_of(x: Val, rolled: Rolled, time_axis: int | None, merged: bool) -> int:
    lay = rolled.time_inputs.get(x.id)
    if lay is not None and (rolled.steps > 1 or rolled.single):
        rest = [d for i, d in enumerate(x.shape) if i != lay.axis]
        return lay.outer * lay.inner if not lay.pure or merged else rest[0] if rest else 1
    return x.shape[0] if x.shape else 1

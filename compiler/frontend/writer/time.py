"""Writing neurons and delays, and the module as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snncc.compiler.diag import DiagnosticSink
from snncc.compiler.frontend.flat.elementwise import COMPARE
from snncc.compiler.frontend.flat.flat import Arr, attr_int
from snncc.compiler.frontend.neurons.fuse import Layer
from snncc.compiler.frontend.neurons.metadata import Namer
from snncc.compiler.frontend.neurons.neuron_attrs import neuron_attributes
from snncc.compiler.frontend.time.rolled import RNode, resolve
from snncc.compiler.frontend.time.timing import Lay
from snncc.compiler.frontend.time.unroll import Output, Rolled
from snncc.compiler.frontend.writer import basic as emit_basic
from snncc.compiler.frontend.writer import comparisons as emit_comparisons
from snncc.compiler.frontend.writer import layers as emit_layers
from snncc.compiler.frontend.writer import logic as emit_logic
from snncc.compiler.frontend.writer.base import Emitter, constant_node, emits, hint
from snncc.compiler.frontend.writer.batch import BatchAxes
from snncc.compiler.ir.core import Attribute, Func, Module, Value

_WRITERS = (
    emit_basic,
    emit_comparisons,
    emit_layers,
    emit_logic,
)  # importing them registers their operators


@emits("Delay")
def delay(e: Emitter, node: RNode) -> Value:
    """The value one step before."""
    state = f"{e.namer.scope(node) or 'state'}.{len(e.delays)}"
    shape = e.shape(node)
    dtype = "bit" if is_bit(e, node.ins[0]) else "f16"
    attrs: dict[str, Attribute] = {
        "state": state,
        "shape": shape,
        "steps": e.steps,
        "dtype": dtype,
    }
    operands: list[Value] = []
    if len(node.ins) > 1:
        operands.append(e.fit(e.value(node.ins[1]), node, shape))
    elif node.init is not None:
        first = constant_node(node.init)
        number = first.uniform
        if number is None:
            operands.append(e.const(first))
        else:
            attrs["init"] = number
        e.sink.warning("E0110", "a state starts from a value other than zero", e.where(node))
    elif dtype == "f16":
        attrs["init"] = 0.0
    e.delays.append((node, state))
    return e.builder(node).op("graph.delay", *operands, attrs=attrs).result


@emits("TimeToAxis")
def time_to_axis(e: Emitter, node: RNode) -> Value:
    """All steps as one tensor, in the file's layout: steps may share their axis with samples."""
    lay, shape = _steps_axis(e, node), e.shape(node.ins[0])
    inner = e.batches.inner(node.ins[0], lay)
    b, x = e.builder(node), e.value(node.ins[0])
    x = e.fit(x, node, shape)
    if x.type.kind == "seq":
        x = b.one("graph.time_to_axis", x)
    else:  # the same at every step
        x = b.one("graph.expand", b.one("graph.reshape", x, shape=(1, *shape)),
                  shape=(e.steps, *shape))  # fmt: skip
    k = lay.axis
    x = e.reshaped(x, (e.steps, *shape[:k], shape[k] // inner, inner, *shape[k + 1 :]))
    if shape[:k] or shape[k] != inner:
        rank = len(x.type.shape)
        x = b.one("graph.transpose", x, perm=(*range(1, k + 2), 0, *range(k + 2, rank)))
    return e.reshaped(x, e.shape(node))


@emits("StepOf")
def step_of(e: Emitter, node: RNode) -> Value:
    """One step of a sequence."""
    _refuse_other_steps(e, node)
    x, b, t = e.value(node.ins[0]), e.builder(node), attr_int(node.attrs, "step", 0)
    if x.type.kind != "seq":
        return x
    shape = x.type.step_shape
    x = b.one("graph.time_to_axis", x)
    x = b.one("graph.slice", x, starts=(t, *(0 for _ in shape)), ends=(t + 1, *shape))
    return e.reshaped(x, shape)


@emits("AxisToTime")
def axis_to_time(e: Emitter, node: RNode) -> Value:
    """The steps that lie along an axis of a tensor."""
    lay, shape = _steps_axis(e, node), e.shape(node)
    inner = e.batches.inner(node, lay)
    b, x, k = e.builder(node), e.value(node.ins[0]), lay.axis
    x = e.reshaped(x, (*shape[:k], shape[k] // inner, e.steps, inner, *shape[k + 1 :]))
    if shape[:k] or shape[k] != inner:
        rank = len(x.type.shape)
        x = b.one("graph.transpose", x, perm=(k + 1, *range(k + 1), *range(k + 2, rank)))
    return b.one("graph.axis_to_time", e.reshaped(x, (e.steps, *shape)))


def _steps_axis(e: Emitter, node: RNode) -> Lay:
    """Return how the file lays out steps that an operator takes together."""
    _refuse_other_steps(e, node)
    lay = node.attrs["lay"]
    assert isinstance(lay, Lay)
    return lay


def _refuse_other_steps(e: Emitter, node: RNode) -> None:
    """Refuse to run another number of steps than the file has."""
    if e.steps != e.rolled.steps:
        e.unsupported(
            node,
            f"this takes all {e.rolled.steps} steps of the file together, {e.steps} are asked for",
            f"set timesteps = {e.rolled.steps}, or export the model for {e.steps} steps",
        )


@emits("Neuron")
def neuron(e: Emitter, node: RNode) -> None:
    """A layer of neurons."""
    layer = e.layers[node.id]
    attrs, arrays = neuron_attributes(layer, e.namer)
    x = e.fit(e.value(node.ins[0]), node, e.shape(node))
    if x.type.kind == "tensor":
        attrs["steps"] = e.steps  # the same input at every step
    _warn_about_start(e, node, attrs, {name: array for name, array, _ in arrays})
    operands = [x]
    for name, array, source in arrays:
        slot = len(operands)
        label = source or f"{attrs['layer']}.{name}"
        operands.append(e.param(label, array, name, False, slot, array.shape))
    made = e.builder(node).op("graph.neuron", *operands, attrs=attrs)
    for result, tail in zip(reversed(made.results), ("v", "s"), strict=False):
        result.name = f"{hint(str(attrs['layer']))}.{tail}"
    e.results[node.id] = made


def _warn_about_start(
    e: Emitter, node: RNode, attrs: Mapping[str, Attribute], arrays: Mapping[str, Arr]
) -> None:
    """Warn of a membrane or current that starts elsewhere than at rest."""
    rest = attrs.get("v_rest", 0.0)
    for key, what in (("v_init", "membrane"), ("i_init", "current")):
        array = arrays.get(key)
        if array is not None:
            value = f"values from {array.min():.4g} to {array.max():.4g}"
        elif attrs.get(key, 0.0) in (0.0, rest if key == "v_init" else 0.0):
            continue
        else:
            value = f"{attrs[key]:.4g}"
        e.sink.warning(
            "E0110",
            f"the {what} of {attrs['layer']} starts from {value} that the exporter baked in",
            e.where(node),
            help="usually the state left over from a run before the export; reset the network "
            "before you export it",
        )


@emits("Spikes")
def spikes(e: Emitter, node: RNode) -> Value:
    """The first result of a neuron."""
    return e.results[node.ins[0].id].results[0]


@emits("Membrane")
def membrane(e: Emitter, node: RNode) -> Value:
    """The last result of a neuron."""
    return e.results[node.ins[0].id].results[-1]


def is_bit(e: Emitter, node: RNode, seen: frozenset[int] = frozenset()) -> bool:
    """Whether a node's value will be a bit."""
    node = resolve(node)
    if node.op == "Delay":
        return node.id not in seen and is_bit(e, node.ins[0], seen | {node.id})
    if node.op == "Spikes":
        return not node.attrs.get("multi")
    if node.op in COMPARE or node.op in ("And", "Or"):
        return True
    same = node.op in ("View", "Transpose", "Slice", "Expand", "Cast", "Take")
    same = same or (node.op == "Pool" and node.attrs.get("kind") == "max")
    if node.op == "Concat":
        return all(is_bit(e, i, seen) for i in node.ins)
    return same and is_bit(e, node.ins[0], seen)


def emit_module(
    name: str,
    rolled: Rolled,
    outputs: Sequence[Output],
    layers: Sequence[Layer],
    file: str,
    steps: int,
    batches: BatchAxes,
    namer: Namer,
    sink: DiagnosticSink,
) -> Module:
    """Write the module."""
    module = Module(name)
    table = {layer.node.id: layer for layer in layers}
    emitter = Emitter(module, rolled, file, steps, batches, table, namer, sink)
    emitter.run(outputs)
    rolled.written = emitter.done
    module.funcs["main"] = Func("main", emitter.block)
    return module

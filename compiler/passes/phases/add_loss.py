"""Add the readout, the loss and its gradient to a training step.

Reads ``training`` (docs/design/training-config.md): the named output is reduced over time to the
logits, ``phase.softmax_ce`` or ``phase.mse`` gives the loss and the seed of the backward pass,
multiplied by the loss scale: a number, or where it is dynamic the state ``loss#scale``.  The label
argument ``y`` is added to ``@step``: class indices.  Does nothing in inference.
"""

from __future__ import annotations

from snncc.compiler.diag import fail
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Func, Module, Op, Value, tensor
from snncc.compiler.ir.training import TrainingSettings, training_of
from snncc.compiler.passes.phases.kit.emit import map_one
from snncc.compiler.passes.phases.kit.loss_scale import add_scale_state
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass


@compiler_pass(takes="phased")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Add the readout and the loss with its seed gradient."""
    training = training_of(module)
    func = module.func("step")
    if not training.train or any(o.name in ("phase.softmax_ce", "phase.mse") for o in func.walk()):
        return False
    output = _find(func, training)
    b = Builder(func.body, output.loc, None, phase="fp", layer="readout")
    logits = _flat(b, _readout(b, output.operands[0], training, output))
    rows = logits.type.step_shape[0]
    y = next((a for a in func.body.args if a.name == "y"), None)
    if y is None:
        y = func.body.add_arg(tensor((rows,), "i32"), "y")
    name = "phase.softmax_ce" if training.loss == "cross-entropy" else "phase.mse"
    scale = training.scale
    factors: list[Value] = []
    if training.dynamic_scale:
        factors, scale = [add_scale_state(b, training.scale)], 1.0
    loss = b.op(name, logits, y, *factors, names=["loss", "seed"], scale=scale, batch=rows)
    b.op("phase.output", logits, name="logits", axis=0 if logits.type.kind == "seq" else -1)
    b.op("phase.output", loss.results[0], name="loss", axis=-1)
    return True


def _find(func: Func, training: TrainingSettings) -> Op:
    outputs = [o for o in func.body.ops if o.name == "phase.output"]
    named = {o.str_attr("name").removeprefix("out/"): o for o in outputs}
    found = named.get(training.output) if training.output else next(iter(named.values()), None)
    if found is None:
        known = ", ".join(named) or "none"
        fail("E0354", f"the model has no output {training.output!r}", help=f"its outputs: {known}")
    return found


def _readout(b: Builder, x: Value, training: TrainingSettings, output: Op) -> Value:
    """Return the logits: a tensor, or a seq for a loss per step."""
    kind = training.reduce
    if kind == "per-step" or (kind == "none" and x.type.kind == "tensor"):
        return _number(b, x)
    if kind == "none":
        fail(
            "E0354",
            f"readout.reduce is none, but output {output.attrs['name']!r} has a time axis",
            where=str(output.loc),
            help="choose sum, mean, max or last, or a loss per step",
        )
    if x.type.kind == "seq":
        more: dict[str, Attribute] = {"ties": "first"} if kind == "max" else {}
        return _number(b, b.op("phase.reduce_time", x, attrs={"kind": kind, **more}).result)
    return _folded(b, x, training)


def _folded(b: Builder, x: Value, training: TrainingSettings) -> Value:
    """Reduce an axis of an output whose time the model folded into its shape."""
    shape, axis = x.type.shape, training.axis
    if training.reduce in ("sum", "mean", "max"):
        more: dict[str, Attribute] = {"ties": "first"} if training.reduce == "max" else {}
        attrs: dict[str, Attribute] = {"kind": training.reduce, "axes": (axis,), **more}
        return _number(b, b.op("phase.reduce", x, attrs=attrs).result)
    starts = tuple(shape[axis] - 1 if i == axis else 0 for i in range(len(shape)))
    last = b.one("phase.slice", x, starts=starts, ends=shape)
    return _number(b, b.one("phase.reshape", last, shape=shape[:axis] + shape[axis + 1 :]))


def _number(b: Builder, x: Value) -> Value:
    if x.type.dtype != "bit":
        return x
    return map_one(b, [x], lambda inner, a: inner.one("ew.cast", a[0], to="f16"))


def _flat(b: Builder, x: Value) -> Value:
    """Return logits as [batch, classes] per step."""
    shape = x.type.step_shape
    if len(shape) == 2:
        return x
    classes = x.type.size // shape[0] // (x.type.shape[0] if x.type.kind == "seq" else 1)
    return b.one("phase.reshape", x, shape=(shape[0], classes))

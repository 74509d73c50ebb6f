"""Add the readout, the loss and its gradient to a training step.

Reads ``training`` (docs/design/training-config.md): the named output is reduced over time to the
logits, the loss compares them with the targets, and ``phase.seed`` says its gradient by the logits,
multiplied by the loss scale: a number, or where it is dynamic the state ``loss#scale``.  The
argument ``y`` of ``@step`` holds the targets.  Does nothing in inference.
"""

from __future__ import annotations

from snncc.compiler.diag import fail
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Func, Module, Op, Value
from snncc.compiler.ir.training import TrainingSettings, training_of
from snncc.compiler.passes.phases.kit.emit import map_one
from snncc.compiler.passes.phases.kit.loss_terms import add_terms
from snncc.compiler.passes.phases.kit.read_steps import chosen_steps, reduced
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass


@compiler_pass(takes="phased")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Add the readout and the loss with its seed gradient."""
    training = training_of(module)
    func = module.func("step")
    outputs = [o for o in func.body.ops if o.name == "phase.output"]
    if not training.train or any(o.attrs.get("name") == "loss" for o in outputs):
        return False
    output = _find(func, training)
    b = Builder(func.body, output.loc, None, phase="fp", layer="readout")
    read = _readout(b, module, output.operands[0], training, output)
    timed = read.type.kind == "seq"
    steps = chosen_steps(training.steps, read.type.shape[0]) if timed else ()
    logits, loss = add_terms(b, module, read, training, steps, str(output.loc))
    b.op("phase.output", logits, name="logits", axis=max(training.axis, 0) if timed else -1)
    b.op("phase.output", loss, name="loss", axis=-1)
    return True


def _find(func: Func, training: TrainingSettings) -> Op:
    outputs = [o for o in func.body.ops if o.name == "phase.output"]
    named = {o.str_attr("name").removeprefix("out/"): o for o in outputs}
    found = named.get(training.output) if training.output else next(iter(named.values()), None)
    if found is None:
        known = ", ".join(named) or "none"
        fail("E0354", f"the model has no output {training.output!r}", help=f"its outputs: {known}")
    return found


def _readout(b: Builder, module: Module, x: Value, training: TrainingSettings, output: Op) -> Value:
    """Return the logits: a tensor, or a seq for a loss of every step."""
    kind = training.reduce
    if x.type.kind == "seq":
        if kind in ("per-step", "none"):
            return _number(b, x)
        return reduced(b, module, x, kind, chosen_steps(training.steps, x.type.shape[0]))
    if training.steps:
        fail(
            "E0354",
            f"readout.steps: output {output.attrs['name']!r} has no time axis to choose from",
            where=str(output.loc),
        )
    if kind in ("per-step", "none"):
        return _number(b, x)
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

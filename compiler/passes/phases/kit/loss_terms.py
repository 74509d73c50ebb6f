"""The loss of what was read: its terms, their sum, and the gradient where back-propagation begins.

The loss is the mean over all elements (rows, for cross-entropy) of the batch.  Of logits at every
step it is the sum over the steps of their means (``per-step``), or the mean over all steps too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snncc.compiler.diag import fail
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Func, Module, Type, Value
from snncc.compiler.ir.losses import CLASSES, PIXELS, VALUES, Emit, Errors, target_of
from snncc.compiler.ir.training import TrainingSettings
from snncc.compiler.passes.phases.kit.emit import build_map, region_const
from snncc.compiler.passes.phases.kit.loss_scale import add_scale_state
from snncc.compiler.passes.phases.kit.read_steps import mask_of, masked

TARGET = "y"


@dataclass(frozen=True)
class _Scale:
    """What gradients are multiplied by: a number, times the dynamic scale where there is one."""

    fixed: float
    dynamic: tuple[Value, ...]


def add_terms(
    b: Builder, module: Module, read: Value, training: TrainingSettings, steps: Sequence[int],
    where: str,
) -> tuple[Value, Value]:  # fmt: skip
    """Add target, loss and seed; return the logits as they are reported, and the loss.

    ``steps``: those of the sequence ``read`` that count; empty: all.
    """
    try:
        target = target_of(read.type, training.targets, training.target_steps, module.batch)
    except ValueError as error:
        fail("E0354", f"loss.targets is {training.targets}: {error}", where)
    func = module.func("step")
    if target.kind == CLASSES and target.classes > 1 and len(read.type.step_shape) == 1:
        read = b.one("phase.reshape", read, shape=(1, target.classes))  # no batch axis
    logits, shown = _in_rows(b, read, training.targets)
    count = logits.type.step_shape[0]
    if training.reduce == "none" and read.type.kind == "seq":
        count *= len(steps) or read.type.shape[0]
    scale = _Scale(training.scale, ())
    if training.dynamic_scale:
        scale = _Scale(1.0, (add_scale_state(b, training.scale),))
    rule = training.loss
    if rule.emit is None:
        rows = logits.type.step_shape[0]
        front = target.shape[:1] if target.timed else ()
        y = _argument(func, _type((*front, rows), "i32", target.timed))
        smoothing = training.loss_settings["label_smoothing"]
        attrs: dict[str, Attribute] = {"scale": scale.fixed, "batch": count}
        if smoothing:
            attrs["smoothing"] = smoothing
        made = b.op("phase.softmax_ce", logits, y, *scale.dynamic, names=["terms", "seed"],
                    attrs=attrs)  # fmt: skip
        terms, gradient = made.results
    else:
        y = _argument(func, _type(target.shape, target.dtype, target.timed))
        if target.kind != VALUES:
            y = b.one("phase.reshape", y, shape=(*y.type.step_shape, 1))
        for size in logits.type.step_shape[1:]:
            count *= size
        terms, gradient = _errors(b, logits, y, rule.emit, training, scale, count)
    if steps:
        rank = len(logits.type.step_shape)
        shape = logits.type.shape
        gradient = masked(b, gradient, mask_of(b, module, steps, shape[0], rank), 0.0)
        rank = len(terms.type.step_shape)
        terms = masked(b, terms, mask_of(b, module, steps, shape[0], rank), 0.0)
    loss = b.one("phase.total", terms, hint="loss", factor=1 / count)
    b.op("phase.seed", logits, gradient)
    return shown, loss


def _type(shape: tuple[int, ...], dtype: str, timed: bool) -> Type:
    return Type("seq" if timed else "tensor", shape, dtype)


def _argument(func: Func, type_: Type) -> Value:
    for arg in func.body.args:
        if arg.name == TARGET:
            return arg
    return func.body.add_arg(type_, TARGET)


def _in_rows(b: Builder, read: Value, targets: str) -> tuple[Value, Value]:
    """Return logits with the classes last, and as they are reported."""
    shape = read.type.step_shape
    if targets == VALUES or (targets == CLASSES and len(shape) == 2):
        return read, read
    if targets == CLASSES:
        size = 1
        for d in shape[1:]:
            size *= d
        flat = b.one("phase.reshape", read, shape=(shape[0], size))
        return flat, flat
    assert targets == PIXELS
    order = (0, *range(2, len(shape)), 1)
    turned = b.one("phase.transpose", read, perm=order)
    rows = 1
    for axis in order[:-1]:
        rows *= shape[axis]
    return b.one("phase.reshape", turned, shape=(rows, shape[1])), read


def _errors(
    b: Builder, z: Value, y: Value, emit: Emit, training: TrainingSettings, scale: _Scale,
    count: int,
) -> tuple[Value, Value]:  # fmt: skip
    """Return the terms of a loss of errors (f32) and its gradient."""

    def body(inner: Builder, a: list[Value]) -> list[Value]:
        wanted = a[1]
        if wanted.type.dtype == "i32":
            shape = a[0].type.shape
            index = inner.one("ew.iota", shape=shape, axis=len(shape) - 1)
            hot = inner.one("ew.eq", inner.one("ew.cast", wanted, to="f32"), index)
            wanted = inner.one("ew.cast", hot, to="f16")
        d = inner.one("ew.sub", a[0], wanted)
        term = emit(Errors(inner, d, training.loss_settings))
        k = region_const(inner, term.factor * scale.fixed / count, "f32")
        if scale.dynamic:
            k = inner.one("ew.mul", k, a[2])
        product = inner.one("ew.mul", term.slope, k)
        return [term.value, inner.one("ew.cast", product, to="f16")]

    made = build_map(b, [z, y, *scale.dynamic], body, names=["terms", "seed"])
    return made.results[0], made.results[1]

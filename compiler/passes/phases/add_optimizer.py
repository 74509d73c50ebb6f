"""Add the parameter updates to a training step.

One ``phase.map`` with ``phase = update`` per trained parameter, in f32 (w the weight or its FP32
master copy, g the unrounded quotient gradient/scale, d = g + weight_decay*w), by the rules of
:mod:`snncc.compiler.ir.optimizers`.  FP16 weights are rounded to nearest even, or stochastically by
the counter generator (stream: 2^20 + position of the parameter); an FP32 master is a state
``NAME#master`` that starts as the parameter, and the FP16 weight is its nearest value.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Module, Op, Type, Value, tensor
from snncc.compiler.ir.optimizers import Update, Wide, numbers
from snncc.compiler.ir.training import Optimizer, TrainingSettings, training_of
from snncc.compiler.passes.phases.kit.emit import build_map, region_const
from snncc.compiler.passes.phases.kit.loss_scale import scale_state
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

STREAM = 1 << 20
"""First random stream of the updates; smaller numbers belong to dropout."""


@compiler_pass(takes="phased")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Add the updates of the trained parameters."""
    training = training_of(module)
    func = module.func("step")
    done = any(o.name == "phase.store" and o.attrs.get("phase") == "update"
               and str(o.attrs.get("name")).endswith("#step") for o in func.body.ops)  # fmt: skip
    stored = {
        o.str_attr("name") for o in func.body.ops
        if o.name == "phase.store" and o.attrs.get("kind") == "param"
    }  # fmt: skip
    params = {
        o.str_attr("name"): o
        for o in func.body.ops
        if o.name == "phase.param" and o.attrs.get("train") is True
    }
    if training.optimizer is None or done or stored & set(params):
        return False
    gradients = {
        o.str_attr("name").removeprefix("grad/"): o
        for o in func.body.ops
        if o.name == "phase.output" and o.str_attr("name").startswith("grad/")
    }
    update = _Update(module, training, training.optimizer)
    for i, (name, param) in enumerate(params.items()):
        if name in gradients:
            update.parameter(i, name, param, gradients[name])
    update.finish()
    return bool(gradients)


@dataclass
class _State:
    """A state op and its step value in the region."""

    name: str
    outer: Value


class _Update:
    def __init__(self, module: Module, training: TrainingSettings, optimizer: Optimizer) -> None:
        self.module, self.training, self.o = module, training, optimizer
        self.body = module.func("step").body
        self.scale = scale_state(module.func("step"))
        self.powers: list[Value] = []

    def builder(self, op: Op) -> Builder:
        common: dict[str, Attribute] = {"phase": "update"}
        if isinstance(op.attrs.get("layer"), str):
            common["layer"] = op.attrs["layer"]
        return Builder(self.body, op.loc, None, **common)

    def state(self, b: Builder, name: str, type_: Type, init: Attribute = 0.0) -> Value:
        """Add a state; ``init`` is a number or the name of a resource."""
        key = "resource" if isinstance(init, str) else "init"
        return b.op("phase.state", types=[type_], attrs={"name": name, key: init}).result

    def parameter(self, index: int, name: str, param: Op, gradient: Op) -> None:
        """Add one parameter's update."""
        b, o = self.builder(param), self.o
        w = param.result
        shape, wide = w.type.shape, "f32" if o.wide_state else "f16"
        kept: list[tuple[str, Value]] = []
        if o.master:
            key, init = f"{name}#master", param.str_attr("resource")
            kept.append((key, self.state(b, key, tensor(shape, "f32"), init)))
        for slot in o.rule.slots:
            key = f"{name}#{slot}"
            kept.append((key, self.state(b, key, tensor(shape, wide))))
        if o.rule.powers and not self.powers:
            for i in range(len(numbers(o.settings, o.rule.powers))):
                key = f"{o.rule.name}#power{i + 1}"
                self.powers.append(self.state(b, key, tensor((), "f32"), 1.0))
        raw, divided = self.raw_gradient(gradient)
        operands = [w, raw, *(v for _, v in kept), *self.powers]
        scaled = divided and self.scale is not None
        if divided and self.scale is not None:
            operands.append(self.scale)

        def body(inner: Builder, a: list[Value]) -> list[Value]:
            scale: Value | None = None
            if scaled:
                a, scale = a[:-1], a[-1]
            elif divided:
                scale = Wide(inner).c(self.training.scale)
            return _region(inner, a, o, self.training, scale, STREAM + index)

        made = build_map(b, operands, body)
        transpose: dict[str, Attribute] = (
            {"transpose": True} if param.attrs.get("transpose") else {}
        )
        b.op("phase.store", made.results[0], attrs={"name": name, "kind": "param", **transpose})
        for (key, _), value in zip(kept, made.results[1:], strict=True):
            b.op("phase.store", value, name=key, kind="state")

    def raw_gradient(self, output: Op) -> tuple[Value, bool]:
        """Return the gradient before the division by the loss scale, and whether it was divided."""
        g = output.operands[0]
        owner = g.owner
        scaled = self.training.scale != 1.0 or self.scale is not None
        if scaled and isinstance(owner, Op) and owner.name == "phase.map":
            return owner.operands[0], True
        return g, False

    def finish(self) -> None:
        """Advance the powers."""
        for i, power in enumerate(self.powers):
            owner = power.owner
            if not isinstance(owner, Op):
                continue
            beta = numbers(self.o.settings, self.o.rule.powers)[i]
            b = self.builder(owner)

            def grow(inner: Builder, a: list[Value], beta: float = beta) -> list[Value]:
                return [inner.one("ew.mul", a[0], region_const(inner, beta, "f32"))]

            made = build_map(b, [power], grow)
            b.op("phase.store", made.result, name=owner.str_attr("name"), kind="state")


def _region(
    b: Builder,
    args: list[Value],
    o: Optimizer,
    t: TrainingSettings,
    scale: Value | None,
    stream: int,
) -> list[Value]:
    """New weight, then new states in the order of the operands; ``scale`` divides the gradient."""
    e, (w, g), rest = Wide(b), args[:2], args[2:]
    master = rest.pop(0) if o.master else None
    at = w if master is None else master
    d = e.f("div", g, scale) if scale is not None else g
    if o.weight_decay:
        d = e.f("add", d, e.f("mul", e.c(o.weight_decay), at))
    slots = o.rule.slots
    old = dict(zip(slots, rest[: len(slots)], strict=True))
    update = Update(b, d, o.lr, o.settings, old, tuple(rest[len(slots) :]))
    new = e.f("sub", at, o.rule.emit(update))
    if set(update.new) != set(slots):
        kept = ", ".join(update.new) or "nothing"
        raise ValueError(f"optimizer {o.rule.name}: it keeps {kept}, its slots are {slots}")
    states = [update.new[slot] for slot in slots]
    if not o.wide_state:
        states = [_half(b, v) for v in states]
    if master is not None:
        return [_half(b, new), new, *states]
    rounded = b.one("ew.srnd", new, stream=stream) if t.stochastic else _half(b, new)
    return [rounded, *states]


def _half(b: Builder, v: Value) -> Value:
    return b.one("ew.cast", v, to="f16")

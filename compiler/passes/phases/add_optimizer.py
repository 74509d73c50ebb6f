"""Add the parameter updates to a training step.

One ``phase.map`` with ``phase = update`` per trained parameter, in f32 (w the weight or its FP32
master copy, g the unrounded quotient gradient/scale, d = g + weight_decay*w):

* SGD: ``w -= lr*d``
* momentum: ``m = momentum*m + d``, ``w -= lr*m``; Nesterov ``w -= lr*(d + momentum*m)``
* Adam: ``m = b1*m + (1-b1)*d``, ``v = b2*v + (1-b2)*(d*d)``,
  ``w -= lr*(m/(1-p1)) / (sqrt(v/(1-p2)) + eps)``, p1, p2 the powers of b1, b2 (states, f32)

as PyTorch defines them.  FP16 weights are rounded to nearest even, or stochastically by the counter
generator (stream: 2^20 + position of the parameter); an FP32 master is a state
``NAME#master`` that starts as the parameter, and the FP16 weight is its nearest value.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Module, Op, Type, Value, tensor
from snncc.compiler.ir.training import Optimizer, Training, training_of
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
    def __init__(self, module: Module, training: Training, optimizer: Optimizer) -> None:
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
            resource = param.attrs.get("resource")
            init = resource if isinstance(resource, str) else 0.0
            kept.append((f"{name}#master", self.state(b, f"{name}#master", tensor(shape, "f32"),
                                                      init)))  # fmt: skip
        slots = {"adam": ("m", "v"), "momentum": ("momentum",)}.get(
            o.name, ("momentum",) if o.momentum else ()
        )
        for slot in slots:
            key = f"{name}#{slot}"
            kept.append((key, self.state(b, key, tensor(shape, wide))))
        if o.name == "adam" and not self.powers:
            for i in range(2):
                self.powers.append(self.state(b, f"adam#power{i + 1}", tensor((), "f32"), 1.0))
        raw, divided = self.raw_gradient(gradient)
        operands = [w, raw, *(v for _, v in kept), *(self.powers if o.name == "adam" else [])]
        scaled = divided and self.scale is not None
        if divided and self.scale is not None:
            operands.append(self.scale)

        def body(inner: Builder, a: list[Value]) -> list[Value]:
            scale: Value | None = None
            if scaled:
                a, scale = a[:-1], a[-1]
            elif divided:
                scale = _F(inner).c(self.training.scale)
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
        """Advance Adam's powers."""
        for i, power in enumerate(self.powers):
            owner = power.owner
            if not isinstance(owner, Op):
                continue
            b, beta = self.builder(owner), self.o.betas[i]

            def grow(inner: Builder, a: list[Value], beta: float = beta) -> list[Value]:
                return [inner.one("ew.mul", a[0], region_const(inner, beta, "f32"))]

            made = build_map(b, [power], grow)
            b.op("phase.store", made.result, name=owner.str_attr("name"), kind="state")


class _F:
    """f32 arithmetic in a region."""

    def __init__(self, b: Builder) -> None:
        self.b = b

    def c(self, value: float) -> Value:
        return region_const(self.b, value, "f32")

    def f(self, name: str, *operands: Value) -> Value:
        return self.b.op(f"ew.{name}", *operands, wide=True).result

    def mix(self, rate: float, old: Value, new: Value) -> Value:
        """rate*old + (1-rate)*new."""
        return self.f("add", self.f("mul", self.c(rate), old), self.f("mul", self.c(1 - rate), new))

    def half(self, v: Value) -> Value:
        return self.b.one("ew.cast", v, to="f16")


def _region(
    b: Builder, args: list[Value], o: Optimizer, t: Training, scale: Value | None, stream: int
) -> list[Value]:
    """New weight, then new states in the order of the operands; ``scale`` divides the gradient."""
    e, (w, g), rest = _F(b), args[:2], args[2:]
    master = rest.pop(0) if o.master else None
    at = w if master is None else master
    d = e.f("div", g, scale) if scale is not None else g
    if o.weight_decay:
        d = e.f("add", d, e.f("mul", e.c(o.weight_decay), at))
    new_states: list[Value] = []
    if o.name == "adam":
        m, v, p1, p2 = rest
        m, v = e.mix(o.betas[0], m, d), e.mix(o.betas[1], v, e.f("mul", d, d))
        new_states = [m, v]
        one1 = e.f("sub", e.c(1.0), e.f("mul", p1, e.c(o.betas[0])))
        one2 = e.f("sub", e.c(1.0), e.f("mul", p2, e.c(o.betas[1])))
        size = e.f("add", e.f("sqrt", e.f("div", v, one2)), e.c(o.eps))
        change = e.f("mul", e.c(o.lr), e.f("div", e.f("div", m, one1), size))
    elif rest:
        m = e.f("add", e.f("mul", e.c(o.momentum), rest[0]), d)
        new_states = [m]
        step = e.f("add", d, e.f("mul", e.c(o.momentum), m)) if o.nesterov else m
        change = e.f("mul", e.c(o.lr), step)
    else:
        change = e.f("mul", e.c(o.lr), d)
    new = e.f("sub", at, change)
    if not o.wide_state:
        new_states = [e.half(v) for v in new_states]
    if master is not None:
        return [e.half(new), new, *new_states]
    rounded = b.one("ew.srnd", new, stream=stream) if t.stochastic else e.half(new)
    return [rounded, *new_states]

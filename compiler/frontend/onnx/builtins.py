"""Neuron functions of the domain ``ai.snncc`` for files that use them without a function body.

``LIFStep(x, v) -> (s, v')`` is one step, ``LIF(x_seq, v0) -> (s_seq, v_T)`` all of them (time axis
first).  Attributes: ``beta``, ``threshold``, ``reset`` (subtract, zero, none), ``compare`` (ge, gt)
and the training information ``surrogate``, ``surrogate_alpha``, ``detach_reset``.  Domains below
``ai.snncc.`` hold the neurons of SpikingJelly: ``IF``, ``LIF``, ``PLIF`` with its parameter names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from snncc.compiler.frontend.flat.flat import BOOL, I64, Attrs, Val, attr_float, attr_int, attr_str
from snncc.compiler.frontend.onnx.build import (
    EXPANDERS,
    TRAINING_HINTS,
    Bound,
    Call,
    GraphBuilder,
    Scope,
)

Step: TypeAlias = Callable[[Val, Val], tuple[Val, Val]]


class _Emit:
    """Adds nodes of one neuron."""

    def __init__(self, builder: GraphBuilder, name: str, scope: Scope) -> None:
        self.builder, self.name, self.scope = builder, name, scope

    def f(self, op: str, *ins: Val | float, **attrs: object) -> Val:
        like = next(v.dtype for v in ins if isinstance(v, Val))
        vals = [v if isinstance(v, Val) else self.builder.scalar(v, like) for v in ins]
        return self.builder.one(op, *vals, name=self.name, scope=self.scope, **attrs)

    def fire(self, h: Val, theta: float, strict: bool) -> Val:
        mask = self.f("Greater" if strict else "GreaterOrEqual", h, theta)
        assert mask.dtype == BOOL
        return self.f("Cast", mask, to=h.dtype)

    def reset(self, h: Val, s: Val, kind: str, theta: float, value: float) -> Val:
        if kind in ("subtract", "soft"):
            return self.f("Sub", h, self.f("Mul", s, theta))
        if kind in ("zero", "hard"):
            kept = self.f("Mul", self.f("Sub", 1.0, s), h)
            return self.f("Add", self.f("Mul", s, value), kept) if value else kept
        return h


def _snncc_step(e: _Emit, at: Attrs) -> Step:
    beta, theta = attr_float(at, "beta", 0.9), attr_float(at, "threshold", 1.0)
    kind, strict = attr_str(at, "reset", "subtract"), attr_str(at, "compare", "ge") == "gt"

    def step(x: Val, v: Val) -> tuple[Val, Val]:
        h = e.f("Add", e.f("Mul", v, beta), x)
        s = e.fire(h, theta, strict)
        return s, e.reset(h, s, kind, theta, attr_float(at, "v_reset", 0.0))

    return step


def _jelly_step(e: _Emit, op: str, at: Attrs, rate: Val | None) -> Step:
    theta, rest = attr_float(at, "v_threshold", 1.0), attr_float(at, "v_reset", 0.0)
    kind = attr_str(at, "reset", "hard")
    rest = rest if kind in ("hard", "zero") else 0.0
    tau, decay_input = attr_float(at, "tau", 2.0), bool(attr_int(at, "decay_input", 1))

    def leak(d: Val) -> Val:
        return e.f("Mul", d, rate) if rate is not None else e.f("Div", d, tau)

    def step(x: Val, v: Val) -> tuple[Val, Val]:
        off = e.f("Sub", v, rest) if rest else v
        if op == "IF":
            h = e.f("Add", v, x)
        elif decay_input:
            h = e.f("Add", v, leak(e.f("Sub", x, off)))
        else:
            h = e.f("Add", e.f("Sub", v, leak(off)), x)
        s = e.fire(h, theta, False)
        return s, e.reset(h, s, kind, theta, rest)

    return step


def _over_time(e: _Emit, step: Step, xs: Val, v: Val) -> list[Bound]:
    spikes: list[Val] = []
    states: list[Val] = []
    for t in range(xs.shape[0]):
        index = e.builder.const(np.array(t, I64))
        s, v = step(e.f("Gather", xs, index, axis=0), v)
        spikes.append(s)
        states.append(v)
    stack = e.builder.stack
    return [stack(spikes, 0, e.name, e.scope), v, stack(states, 0, e.name, e.scope)]


def expand(builder: GraphBuilder, c: Call) -> Sequence[Bound] | None:
    """Return the outputs of a known function, or None."""
    domain, op, attrs = c.proto.domain, c.proto.op_type, c.attrs
    ins = [v for v in c.ins if isinstance(v, Val)]
    hints = {**c.scope.hints, **{k: v for k, v in attrs.items() if k in TRAINING_HINTS}}
    e = _Emit(builder, c.name, replace(c.scope, hints=hints))
    if domain == "ai.snncc" and op == "LIFStep" and len(ins) >= 2:
        return list(_snncc_step(e, attrs)(ins[0], ins[1]))
    if not ins:
        return None
    x = ins[0]
    v0 = ins[1] if len(ins) > 1 else builder.const(np.zeros(x.shape[1:], x.dtype))
    if domain == "ai.snncc" and op == "LIF":
        return _over_time(e, _snncc_step(e, attrs), x, v0)[:2]
    if domain.startswith("ai.snncc.") and op in ("IF", "LIF", "PLIF"):
        rate = e.f("Sigmoid", ins[2]) if op == "PLIF" and len(ins) > 2 else None
        step = _jelly_step(e, op, attrs, rate)
        return list(step(x, v0)) if v0.shape == x.shape else _over_time(e, step, x, v0)
    return None


EXPANDERS.append(expand)

"""One time step of a neuron layer as element-wise ops: the definition of the arithmetic.

The graph interpreter evaluates a ``graph.neuron`` through the ops emitted here and the phase pass
puts the same ops into a scan, so both have the same bits.  Every op rounds once to binary16; the
order (docs/design/ir.md gives the equations) is the order of emission:

1. the synapse: ``mul(a_syn, i)``, ``add`` (before); ``add``, ``mul`` (after, scaled)
2. ``norm_input``: ``mul(sub(1, beta), c)``
3. a delayed hard reset: ``select(r, reset_value, v)``, ``r = spike(v, theta)``
4. the dynamics: leaky ``add(mul(beta, v), c)``, with a resting potential
   ``add(add(mul(beta, sub(v, v_rest)), v_rest), c)``; decay_input ``add(v, div(d, tau))`` or
   ``add(v, mul(rate, d))``, ``d = sub(c, v)`` or ``sub(c, sub(v, v_rest))``; integrate
   ``add(v, c)``
5. a delayed subtracting reset: ``sub(h, select(r, theta, 0))`` (multi: ``sub(h, mul(r, theta))``)
6. the spike, then the reset of the same step and the lower bound ``max(v, v_min)``

The state is the membrane ``v`` and, with a synapse, the current ``i``; a delayed reset compares the
carried membrane again instead of carrying the spikes, so both start consistently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snncc.compiler.ir.build import Attrs, Builder, flag, number, text
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.surrogate import constant, normal


@dataclass(frozen=True)
class NeuronStep:
    """What a step yields: spikes (None for a leaky integrator), membrane, next states."""

    spikes: Value | None
    membrane: Value
    states: tuple[Value, ...]


def param_names(attrs: Attrs) -> tuple[str, ...]:
    """Return the constants that are operands after x."""
    names = attrs.get("params", ())
    return tuple(str(n) for n in names) if isinstance(names, tuple) else ()


def state_names(attrs: Attrs) -> tuple[str, ...]:
    """Return the states in order: the membrane, then the synaptic current if there is one."""
    return ("v",) if text(attrs, "synapse", "none") == "none" else ("v", "i")


def initial_state(op: Op, state: str) -> Value | float:
    """Return the initial value of a state: an operand or a number."""
    names = param_names(op.attrs)
    if f"{state}_init" in names:
        return op.operands[1 + names.index(f"{state}_init")]
    return number(op.attrs, f"{state}_init", 0.0)


def step_params(attrs: Attrs) -> tuple[str, ...]:
    """Return the operand constants that a step uses (initial states are not)."""
    return tuple(n for n in param_names(attrs) if not n.endswith("_init"))


class _Step:
    def __init__(self, b: Builder, attrs: Attrs, params: Mapping[str, Value]) -> None:
        self.b, self.attrs, self.params = b, attrs, params
        self.detached = text(attrs, "reset_gradient", "detached") == "detached"
        self.compare = text(attrs, "compare", "strict")
        self.multi = self.compare == "multi"

    def f(self, name: str, *operands: Value) -> Value:
        return self.b.one(f"ew.{name}", *operands)

    def get(self, name: str, default: float | None = None) -> Value:
        """Return a constant: an operand, an attribute or the default."""
        if name in self.params:
            return self.params[name]
        return constant(self.b, number(self.attrs, name, default))

    def has(self, name: str) -> bool:
        """Whether a constant is an operand or not zero."""
        return name in self.params or bool(self.attrs.get(name))

    def spike(self, h: Value) -> Value:
        spec = normal(self.attrs.get("surrogate"))
        theta = self.get("threshold")
        return self.b.one("ew.spike", h, theta, compare=self.compare, surrogate=spec)

    def fired(self, s: Value) -> Value:
        """Return the spikes as the reset sees them."""
        return self.b.one("ew.stop_gradient", s) if self.detached else s

    def subtract(self, h: Value, s: Value) -> Value:
        theta = self.get("threshold")
        if self.multi:
            return self.f("sub", h, self.f("mul", s, theta))
        return self.f("sub", h, self.f("select", s, theta, constant(self.b, 0.0)))

    def hard(self, h: Value, s: Value) -> Value:
        value = self.get("reset_value", 0.0)
        if self.multi:
            return self.f("select", self.f("eq", s, constant(self.b, 0.0)), h, value)
        return self.f("select", s, value, h)

    def synapse(self, x: Value, i: Value | None) -> tuple[Value, Value | None]:
        """Return the current that the membrane sees and the next synaptic current."""
        order = text(self.attrs, "synapse", "none")
        if order == "none" or i is None:
            return x, None
        if order == "before":
            now = self.f("add", self.f("mul", self.get("a_syn"), i), x)
            return now, now
        total = self.f("add", i, x)
        decayed = self.f("mul", self.get("a_syn"), total)
        return (total if order == "after" else decayed), decayed

    def dynamics(self, v: Value, c: Value) -> Value:
        kind = text(self.attrs, "dynamics")
        if kind == "integrate":
            return self.f("add", v, c)
        off = self.f("sub", v, self.get("v_rest")) if self.has("v_rest") else v
        if kind == "leaky":
            decayed = self.f("mul", self.get("beta"), off)
            if self.has("v_rest"):
                decayed = self.f("add", decayed, self.get("v_rest"))
            return self.f("add", decayed, c)
        d = self.f("sub", c, off)
        if "rate" in self.params or "rate" in self.attrs:
            return self.f("add", v, self.f("mul", self.get("rate"), d))
        return self.f("add", v, self.f("div", d, self.get("tau")))


def build_neuron_step(
    b: Builder, attrs: Attrs, x: Value, states: Sequence[Value], params: Mapping[str, Value]
) -> NeuronStep:
    """Emit one step: ``x`` and ``states`` are step values, ``params`` the operand constants."""
    s = _Step(b, attrs, params)
    if x.type.dtype == "bit":
        x = b.one("ew.cast", x, to="f16")
    v, i = states[0], states[1] if len(states) > 1 else None
    reset = text(attrs, "reset", "none") if s.compare != "none" else "none"
    delayed = flag(attrs, "delay") and reset != "none"
    c, next_i = s.synapse(x, i)
    if flag(attrs, "norm_input"):
        c = s.f("mul", s.f("sub", constant(b, 1.0), s.get("beta")), c)
    before = s.fired(s.spike(v)) if delayed else None
    if before is not None and reset == "hard":
        v = s.hard(v, before)
    h = s.dynamics(v, c)
    if before is not None and reset == "subtract":
        h = s.subtract(h, before)
    spikes = None if s.compare == "none" else s.spike(h)
    out = h
    if spikes is not None and not delayed and reset != "none":
        fired = s.fired(spikes)
        out = s.subtract(h, fired) if reset == "subtract" else s.hard(h, fired)
    if "v_min" in params or attrs.get("v_min") is not None:
        out = s.f("max", out, s.get("v_min"))
    return NeuronStep(spikes, out, (out,) if next_i is None else (out, next_i))

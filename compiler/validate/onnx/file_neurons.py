"""Neuron functions of custom domains that a file uses without defining them.

What they mean is not in the file but in docs/onnx-functions.md and in the conventions of the
frameworks, so it is written here a second time, from that description: ``ai.snncc::LIFStep`` and
``LIF``, and ``IF``, ``LIF``, ``PLIF`` of the domains below ``ai.snncc.`` (SpikingJelly's neurons).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from snncc.compiler.validate.arithmetic import Array
from snncc.compiler.validate.onnx.operators import UnknownOperator


class Tape(Protocol):
    """What runs and records operators; value numbers stand for arrays."""

    value: list[Array]

    def new(self, array: Array) -> int:
        """Number a value."""
        ...

    def run(
        self, op: str, ins: Sequence[int | None], attributes: Mapping[str, Any], name: str
    ) -> list[int]:
        """Execute an operator."""
        ...

    def picked(self, x: int, t: int, axis: int, name: str) -> int:
        """Take one element along an axis."""
        ...

    def joined(self, items: Sequence[int], axis: int, new: bool, name: str) -> int:
        """Join values along an axis, or along a new one."""
        ...


Neuron: TypeAlias = Callable[[int, int], tuple[int, int]]
"""From input and membrane to spikes and next membrane, as value numbers."""


class _Writer:
    """Runs operators under the name of the function's node."""

    def __init__(self, tape: Tape, name: str) -> None:
        self.tape, self.name = tape, name

    def __call__(self, op: str, *ins: int | float, **attributes: Any) -> int:
        held = [self.tape.new(np.asarray(i)) if isinstance(i, float) else i for i in ins]
        return self.tape.run(op, held, attributes, self.name)[0]

    def spike(self, h: int, theta: float, strict: bool) -> int:
        fired = self("Greater" if strict else "GreaterOrEqual", h, theta)
        return self("Cast", fired, to=np.dtype(np.float64))

    def hard(self, h: int, s: int, value: float) -> int:
        kept = self("Mul", self("Sub", 1.0, s), h)
        return self("Add", kept, self("Mul", s, value)) if value else kept

    def soft(self, h: int, s: int, theta: float) -> int:
        return self("Sub", h, self("Mul", s, theta))


def _own(w: _Writer, at: Mapping[str, Any]) -> Neuron:
    """The neuron of ``ai.snncc``: leak, then input; ``>=`` and a subtracting reset by default."""
    theta, kind = float(at.get("threshold", 1.0)), at.get("reset", "subtract")

    def step(x: int, v: int) -> tuple[int, int]:
        h = w("Add", w("Mul", v, float(at.get("beta", 0.9))), x)
        s = w.spike(h, theta, at.get("compare", "ge") == "gt")
        if kind in ("subtract", "soft"):
            return s, w.soft(h, s, theta)
        if kind in ("zero", "hard"):
            return s, w.hard(h, s, float(at.get("v_reset", 0.0)))
        return s, h

    return step


def _jelly(w: _Writer, op: str, at: Mapping[str, Any], rate: int | None) -> Neuron:
    """SpikingJelly's neurons; ``rate`` is 1/tau of a parametric one."""
    theta, kind = float(at.get("v_threshold", 1.0)), at.get("reset", "hard")
    hard = kind in ("hard", "zero")
    rest = float(at.get("v_reset", 0.0)) if hard else 0.0

    def leak(d: int) -> int:
        return w("Mul", d, rate) if rate is not None else w("Div", d, float(at.get("tau", 2.0)))

    def step(x: int, v: int) -> tuple[int, int]:
        away = w("Sub", v, rest) if rest else v
        if op == "IF":
            h = w("Add", v, x)
        elif at.get("decay_input", 1):
            h = w("Add", v, leak(w("Sub", x, away)))
        else:
            h = w("Add", w("Sub", v, leak(away)), x)
        s = w.spike(h, theta, False)
        if kind in ("subtract", "soft"):
            return s, w.soft(h, s, theta)
        return s, w.hard(h, s, rest) if hard else h

    return step


def _over_time(w: _Writer, step: Neuron, xs: int, v: int) -> list[int]:
    spikes: list[int] = []
    states: list[int] = []
    for t in range(w.tape.value[xs].shape[0]):
        s, v = step(w.tape.picked(xs, t, 0, w.name), v)
        spikes.append(s)
        states.append(v)
    join = w.tape.joined
    return [join(spikes, 0, True, w.name), v, join(states, 0, True, w.name)]


def expand(
    tape: Tape, domain: str, op: str, at: Mapping[str, Any], ins: Sequence[int], name: str
) -> list[int]:
    """Run a function of a custom domain; UnknownOperator for any other."""
    w = _Writer(tape, name)
    own = domain == "ai.snncc" and op in ("LIF", "LIFStep")
    jelly = domain.startswith("ai.snncc.") and op in ("IF", "LIF", "PLIF")
    if not (own or jelly) or not ins:
        raise UnknownOperator(f"function {domain}::{op}")
    x = ins[0]
    shape = tape.value[x].shape
    v = ins[1] if len(ins) > 1 else tape.new(np.zeros(shape[1:]))
    if own:
        step = _own(w, at)
        return list(step(x, v)) if op == "LIFStep" else _over_time(w, step, x, v)[:2]
    rate = w("Sigmoid", ins[2]) if op == "PLIF" and len(ins) > 2 else None
    step = _jelly(w, op, at, rate)
    once = tape.value[v].shape == shape
    return list(step(x, v)) if once else _over_time(w, step, x, v)

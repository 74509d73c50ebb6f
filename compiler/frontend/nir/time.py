"""NIR neurons in discrete time: the step ``dt`` and what it makes of the constants.

NIR gives differential equations.  They are integrated with the forward Euler rule, as every
framework that writes NIR does: ``v += dt/tau * ((v_leak - v) + R*I)``, then the spike ``v > thr``,
then ``v = v_reset`` in the same step.  No file says ``dt``; :func:`find_dt` holds the rule.

Files carry float32, so quotients such as ``dt/tau`` come out as 0.10000002.  A quotient that is
within 5e-7 (relative) of a number with six digits is taken for that number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from snncc.compiler.diag import DiagnosticSink, fail
from snncc.compiler.frontend.nir.file import Array, NirNode
from snncc.compiler.frontend.nir.graph import SPIKING
from snncc.compiler.frontend.nir.layers import need
from snncc.compiler.ir.core import Attribute

TAU = {"LI": "tau", "LIF": "tau", "CubaLI": "tau_mem", "CubaLIF": "tau_mem"}
CLOSE = 5e-7


@dataclass(slots=True)
class Step:
    """A neuron as ``graph.neuron`` has it; ``gain`` multiplies its input (None: 1)."""

    attrs: dict[str, Attribute] = field(default_factory=dict[str, Attribute])
    arrays: dict[str, Array] = field(default_factory=dict[str, Array])
    gain: Array | None = None
    origin: dict[str, Attribute] = field(default_factory=dict[str, Attribute])


def rounded(value: Array) -> Array:
    """Remove what float32 added to numbers with few digits."""
    value = np.asarray(value, np.float64)
    flat = [float(f"{v:.6g}") for v in value.reshape(-1).tolist()]
    short = np.asarray(flat, np.float64).reshape(value.shape)
    return np.where(np.abs(short - value) <= CLOSE * np.abs(value), short, value)


def tidied(value: Array) -> Array:
    """Remove what float64 arithmetic added to numbers with 15 digits."""
    value = np.asarray(value, np.float64)
    flat = [float(f"{v:.15g}") for v in value.reshape(-1).tolist()]
    return np.asarray(flat, np.float64).reshape(value.shape)


def uniform(value: Array) -> float | None:
    """Return the only value of an array."""
    flat = np.asarray(value).reshape(-1)
    return float(flat[0]) if flat.size and bool(np.all(flat == flat[0])) else None


def find_dt(
    nodes: Iterable[tuple[str, NirNode]], given: float | None, file: str, sink: DiagnosticSink
) -> tuple[float, str]:
    """Return the time step and where it comes from.

    1. ``--dt``.  2. Writers that scale with dt leave it behind: tau/r of a neuron whose r is not 1,
    1/r of an IF or I.  3. Time constants of one and more count steps: 1.  4. Otherwise, with time
    constants in the file, it must be given.
    """
    if given is not None:
        if not (np.isfinite(given) and given > 0):
            fail("E0113", f"dt is {given:g}; it must be positive", "--dt")
        return given, "flag"
    votes: dict[float, str] = {}
    taus: list[float] = []
    fires: list[tuple[float, str]] = []
    for name, node in nodes:
        key = TAU.get(node.kind)
        r = uniform(node.values["r"]) if "r" in node.values else None
        if key is not None and key in node.values:
            tau = float(np.mean(node.values[key]))
            taus.append(tau)
            ratio = rounded(need(node, key, name) / node.values["r"]) if "r" in node.values else tau
            dt = uniform(np.asarray(ratio))
            if dt is not None and r != 1.0 and dt > 0:
                votes.setdefault(dt, f"tau/r of {name}")
        elif node.kind in ("IF", "I") and r is not None and r > 0:
            fires.append((float(rounded(np.asarray(1 / r))), f"1/r of {name}"))
        elif node.kind == "Delay":
            taus.append(0.0)
    if not taus:
        votes.update({dt: why for dt, why in reversed(fires)})
        if not votes:
            return 1.0, "default"
        if set(votes) == {1.0}:
            return 1.0, "file"
    if not votes and taus and min(taus) >= 1:
        votes[1.0] = "the time constants seem to count steps"
    if not votes:
        fail("E0113", "the file does not say how long a time step is", file,
             help="give --dt in the unit of the time constants, such as --dt 1e-4")  # fmt: skip
    dt, why = next(iter(votes.items()))
    text = f"dt = {dt:g} is assumed: {why}"
    if len(votes) > 1:
        text += f"; but {', '.join(f'{v} gives {k:g}' for k, v in list(votes.items())[1:4])}"
    sink.warning("E0111", text, file, help="give --dt to be sure")
    return dt, f"guessed ({why})"


def neuron(node: NirNode, dt: float, where: str) -> Step:
    """Return the step of a neuron."""
    step = Step()
    timed = f"file, dt {dt:g}"
    r = np.asarray(need(node, "r", where), np.float64)
    spiking = node.kind in SPIKING
    step.attrs["compare"] = "strict" if spiking else "none"
    step.origin["compare"] = step.origin["dynamics"] = "NIR"
    if node.kind in TAU:
        _leaky(node, step, r, dt, timed, where)
    else:
        step.attrs["dynamics"] = "integrate"
        step.gain = rounded(r * dt)
    if spiking:
        _put(step, "threshold", need(node, "v_threshold", where), "file")
        step.attrs |= {"reset": "hard", "delay": False}
        step.origin["reset"] = "NIR"
        if "v_reset" in node.values:
            _put(step, "reset_value", node.values["v_reset"], "file")
        else:
            step.attrs["reset_value"] = 0.0
            step.origin["reset_value"] = "default (old file)"
    if step.gain is not None and uniform(step.gain) == 1.0:
        step.gain = None
    step.attrs["params"] = tuple(step.arrays)
    return step


def _leaky(node: NirNode, step: Step, r: Array, dt: float, timed: str, where: str) -> None:
    """Fill in a leak: as multiplication when the input needs no factor, else as a rate."""
    rate = _quotient(node, TAU[node.kind], dt, where)
    gain = rounded(rate * r)
    into = np.ones(())
    if node.kind.startswith("Cuba"):
        fast = _quotient(node, "tau_syn", dt, where)
        step.attrs["synapse"] = "before"
        _put(step, "a_syn", tidied(1 - fast), timed)
        w_in = np.asarray(node.values.get("w_in", np.ones(())), np.float64)
        into = rounded(fast * w_in)
    if uniform(r) == 1.0 and uniform(gain) != 1.0:
        step.attrs["dynamics"] = "decay_input"
        _put(step, "rate", rate, timed)
        step.gain = into
    else:
        step.attrs["dynamics"] = "leaky"
        _put(step, "beta", tidied(1 - rate), timed)
        step.gain = tidied(into * gain)
    if "v_leak" in node.values:
        _put(step, "v_rest", node.values["v_leak"], "file")


def _quotient(node: NirNode, key: str, dt: float, where: str) -> Array:
    tau = np.asarray(need(node, key, where), np.float64)
    if not np.all(tau > 0):
        fail("E0105", f"{key} must be positive", where)
    return rounded(dt / tau)


def _put(step: Step, key: str, value: Array, origin: str) -> None:
    """Set a constant: an attribute when it is the same for every neuron, else an operand."""
    value = np.asarray(value, np.float64)
    one = uniform(value)
    step.origin[key] = origin
    if one is not None:
        step.attrs[key] = one
        return
    step.arrays[key] = value.astype(np.float32)

"""Neurons of .snn files, step by step, by the equations of docs/dsl.md and docs/design/ir.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.dsl.options import Meant


@dataclass(frozen=True, slots=True)
class Leak:
    """What is left of the membrane: ``beta`` of it, or all but ``1/tau``."""

    beta: Array | None = None
    tau: Array | None = None


@dataclass(slots=True)
class NeuronLayer:
    """A layer and its state; ``current`` is the synaptic current, ``spikes`` those before."""

    arithmetic: Arithmetic
    meant: Meant
    leak: Leak
    detached: bool
    membrane: Array
    current: Array
    spikes: Array
    feedback: Callable[[Array], Array] | None = None
    """Makes an input of the spikes of the step before."""

    def step(self, x: Array) -> Array:
        """Take one step; return the spikes, or the membrane of a leaky integrator."""
        if self.feedback is not None:
            x = x + self.feedback(self.spikes)
        if self.meant.kind == "li":
            self.membrane = self._leaked(self.membrane, x)
            return self.membrane
        if self.meant.kind == "synaptic":
            self.current = self.meant.number("alpha") * self.current + x
            x = self.current
        reset, late = self.meant.options["reset"], self.meant.options["delay"] is True
        before, fired = self.membrane, None
        if late and reset != "none":
            fired = self._fired(self._compare(before))
            if reset == "hard":
                before = self._set(before, fired)
        reached = self._leaked(before, x)
        if fired is not None and reset == "subtract":
            reached = reached - fired * self.meant.number("threshold")
        spikes = self._compare(reached)
        after = reached
        if not late and reset == "subtract":
            after = reached - self._fired(spikes) * self.meant.number("threshold")
        elif not late and reset == "hard":
            after = self._set(reached, self._fired(spikes))
        if self.meant.options["v_min"] is not None:
            floor = self.arithmetic.constant(self.meant.number("v_min"))
            after = self.arithmetic.maximum(after, floor)
        self.membrane, self.spikes = after, spikes
        return spikes

    def _leaked(self, v: Array, x: Array) -> Array:
        """The membrane after the leak and the input."""
        beta, tau = self.leak.beta, self.leak.tau
        if tau is None and beta is None:
            return v + x
        rest = self.meant.number("v_rest")
        if tau is not None:
            return v + (x - (v - rest)) / tau
        assert beta is not None
        if self.meant.options["norm_input"] is True:
            x = (1 - beta) * x
        return beta * (v - rest) + rest + x

    def _compare(self, h: Array) -> Array:
        theta = self.arithmetic.constant(self.meant.number("threshold"))
        if self.meant.options["compare"] == "multi":
            return self.arithmetic.spikes(h, theta)
        return self.arithmetic.spike(h, theta, self.meant.options["compare"] == "strict")

    def _fired(self, spikes: Array) -> Array:
        """The spikes as the reset sees them."""
        return self.arithmetic.detach(spikes) if self.detached else spikes

    def _set(self, v: Array, fired: Array) -> Array:
        value = self.arithmetic.constant(self.meant.number("reset_value"))
        if self.meant.options["compare"] == "multi":
            return np.asarray(np.where(self.arithmetic.real(fired) != 0, value, v))
        return self.arithmetic.where(fired, value, v)

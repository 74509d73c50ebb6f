"""The nodes of NIR as NIR's own equations have them, in steps of ``dt`` (docs/nir.md).

A neuron's numbers are worked out here: ``dt/tau``, ``R*dt/tau`` and so on, each taken for a number
with six digits that is within 5e-7 of it, as the file's float32 does not tell them apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from snncc.compiler.frontend.nir.file import NirNode
from snncc.compiler.validate import array_layers
from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.array_layers import SlidingWindow
from snncc.compiler.validate.compare import NotValidated

CLOSE = 5e-7
Step: TypeAlias = Callable[[Array], Array]


def six_digits(x: Array) -> Array:
    """Take numbers for the one with six digits that is within ``CLOSE`` of them."""
    x = np.asarray(x, np.float64)
    size = np.where(x == 0, 1.0, np.abs(x))
    places = 5 - np.floor(np.log10(size))
    short = np.where(
        places >= 0, np.rint(x * 10.0 ** np.abs(places)) / 10.0 ** np.abs(places),
        np.rint(x / 10.0 ** np.abs(places)) * 10.0 ** np.abs(places),
    )  # fmt: skip
    return np.where(np.abs(short - x) <= CLOSE * np.abs(x), short, x)


def constants(node: NirNode, dt: float) -> dict[str, Array]:
    """Return what the equations of a neuron need.

    ``beta`` is ``1 - dt/tau``, ``a_syn`` is ``1 - dt/tau_syn``.  ``rate``, in the place of
    ``beta`` where ``R = 1``, is ``dt/tau`` and drives the input too; otherwise ``gain`` does, which
    is in front of a synapse as good as behind it.
    """
    found: dict[str, Array] = {}
    given = {k: np.asarray(v, np.float64) for k, v in node.values.items()}
    gain = six_digits(given["r"] * dt)
    if "tau" in given or "tau_mem" in given:
        rate = six_digits(dt / given.get("tau", given.get("tau_mem", np.ones(()))))
        gain = six_digits(rate * given["r"])
        if np.all(given["r"] == 1) and not np.all(gain == 1):
            found["rate"], gain = rate, np.ones(())
        else:
            found["beta"] = 1 - rate
        found["v_rest"] = given.get("v_leak", np.zeros(()))
    if "tau_syn" in given:
        fast = six_digits(dt / given["tau_syn"])
        found["a_syn"] = 1 - fast
        gain = gain * six_digits(fast * given.get("w_in", np.ones(())))
    found["gain"] = gain
    if "v_threshold" in given:
        found["threshold"] = given["v_threshold"]
        found["reset_value"] = given.get("v_reset", np.zeros(()))
    return {name: kept(value) for name, value in found.items()}


def kept(value: Array) -> Array:
    """Return a constant as an import keeps it: one number, or float32 where neurons differ."""
    if value.size and np.all(value == value.flat[0]):
        return np.asarray(value.flat[0])
    return value.astype(np.float32).astype(np.float64)


def fitted(array: Array, sample: tuple[int, ...]) -> Array:
    """Return a constant that broadcasts to samples: by its last axes, else one per channel."""
    while array.ndim > len(sample) and array.shape[0] == 1:
        array = array[0]
    tail = sample[len(sample) - array.ndim :]
    if array.ndim <= len(sample) and all(
        a in (1, b) for a, b in zip(array.shape, tail, strict=True)
    ):
        return array
    if array.ndim == 1 and sample and array.shape[0] == sample[0]:
        return array_layers.per_channel(array, len(sample) - 1)
    raise NotValidated(f"constants of shape {array.shape} for neurons of shape {sample}")


def whole(node: NirNode, key: str, rank: int, default: int | None = None) -> tuple[int, ...]:
    """Return a number per spatial axis; a scalar stands for all."""
    array = node.values.get(key)
    if array is None or array.size == 0:
        if default is None:
            raise NotValidated(f"{node.kind} {node.name} without {key}")
        return (default,) * rank
    flat = [int(v) for v in array.reshape(-1)]
    return tuple(flat * rank if len(flat) == 1 else flat)


@dataclass(slots=True)
class Neuron:
    """A neuron and its state."""

    arithmetic: Arithmetic
    kind: str
    numbers: Mapping[str, Array]
    detached: bool
    membrane: Array
    current: Array

    def step(self, x: Array) -> Array:
        """Take one step of ``dt``; return the spikes, or the membrane of an integrator."""
        n, v = self.numbers, self.membrane
        x = n["gain"] * x
        if "a_syn" in n:  # i += dt/tau_syn * (w_in*S - i)
            x = self.current = n["a_syn"] * self.current + x
        if "rate" in n:  # v += dt/tau * ((v_leak - v) + R*I), R = 1
            v = v + n["rate"] * ((n["v_rest"] - v) + x)
        elif "beta" in n:  # v += dt/tau * (v_leak - v) + dt/tau * R*I
            v = v + (1 - n["beta"]) * (n["v_rest"] - v) + x
        else:  # v += dt * R*I
            v = v + x
        if "threshold" not in n:
            self.membrane = v
            return v
        spikes = self.arithmetic.spike(v, n["threshold"], True)
        fired = self.arithmetic.detach(spikes) if self.detached else spikes
        self.membrane = self.arithmetic.where(fired, n["reset_value"], v)
        return spikes


def delay(node: NirNode, dt: float, sample: tuple[int, ...]) -> Step:
    """``y(t) = x(t - delay)``, each element its own, to the nearest step."""
    steps = np.rint(six_digits(np.asarray(node.values["delay"], np.float64) / dt))
    steps = np.broadcast_to(fitted(steps, sample), sample)
    counts = [int(c) for c in np.unique(steps)]
    past: deque[Array] = deque()

    def step(x: Array) -> Array:
        past.append(x)
        y = np.zeros(x.shape, x.dtype)
        for count in counts:
            if count < len(past):
                y = np.where(steps == count, past[-1 - count], y)
        return y

    return step


def convolution_window(node: NirNode, rank: int) -> SlidingWindow:
    """Return how the kernel of a convolution moves."""
    kernel = node.values["weight"].shape[2:]
    dilation = whole(node, "dilation", rank, 1)
    mode = node.texts.get("padding", "")
    low = high = whole(node, "padding", rank, 0)
    if mode == "same":
        reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        low, high = tuple(r // 2 for r in reach), tuple(r - r // 2 for r in reach)
    elif mode == "valid":
        low = high = (0,) * rank
    elif mode:
        raise NotValidated(f"{node.kind} {node.name} with padding {mode!r}")
    groups = whole(node, "groups", 1, 1)[0]
    return SlidingWindow(whole(node, "stride", rank, 1), low, high, dilation, groups)


def flattened(node: NirNode, x: Array) -> Array:
    """Join the axes ``start_dim`` to ``end_dim`` of the samples."""
    sample = x.shape[1:]
    start = whole(node, "start_dim", 1, 1)[0] % len(sample)
    end = whole(node, "end_dim", 1, -1)[0] % len(sample)
    return x.reshape(x.shape[0], *sample[:start], -1, *sample[end + 1 :])

"""The nodes of NIR as NIR's own equations have them, in steps of ``dt`` (docs/nir.md).

A neuron's numbers are worked out here: ``dt/tau``, ``R*dt/tau`` and so on, each taken for a number
with six digits that is within 5e-7 of it, as the file's float32 does not tell them apart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from snncc.compiler.frontend.nir_file import NirNode
from snncc.compiler.validate import array_layers
from snncc.compiler.validate.arithmetic import Arithmetic, Array
from snncc.compiler.validate.array_layers import Window
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


@dataclass(slots=True)
class Constants:
    """A neuron's numbers by the names that parameters have; what is one number is of no shape."""

    values: dict[str, Array] = field(default_factory=dict[str, Array])

    def put(self, name: str, value: Array) -> None:
        """Keep a constant; one that differs among the neurons is kept in float32."""
        value = np.asarray(value, np.float64)
        if value.size and np.all(value == value.flat[0]):
            value = np.asarray(value.flat[0])
        else:
            value = value.astype(np.float32).astype(np.float64)
        self.values[name] = value


def constants(node: NirNode, dt: float) -> Constants:
    """Return what the equations of a neuron need."""
    found = Constants()
    given = {k: np.asarray(v, np.float64) for k, v in node.values.items()}
    found_gain = six_digits(given["r"] * dt)
    if "tau" in given or "tau_mem" in given:
        rate = six_digits(dt / given.get("tau", given.get("tau_mem", np.ones(()))))
        found_gain = six_digits(rate * given["r"])
        plain = np.all(given["r"] == 1) and not np.all(found_gain == 1)
        found.put("rate" if plain else "beta", rate if plain else 1 - rate)
        found.put("v_rest", given.get("v_leak", np.zeros(())))
        found.values["plain"] = np.asarray(plain)
    if "tau_syn" in given:
        fast = six_digits(dt / given["tau_syn"])
        found.put("a_syn", 1 - fast)
        found.put("into", six_digits(fast * given.get("w_in", np.ones(()))))
    found.put("gain", found_gain)
    if "v_threshold" in given:
        found.put("threshold", given["v_threshold"])
        found.put("reset_value", given.get("v_reset", np.zeros(())))
    return found


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
        n = self.numbers
        if "a_syn" in n:  # i += dt/tau_syn * (w_in*S - i)
            self.current = n["a_syn"] * self.current + n["into"] * x
            x = self.current
        v = self.membrane
        if "v_rest" in n:  # v += dt/tau * ((v_leak - v) + R*I)
            rate = n["rate"] if "rate" in n else 1 - n["beta"]
            drive = rate if "rate" in n else n["gain"]
            v = v + rate * (n["v_rest"] - v) + drive * x
        else:  # v += dt * R*I
            v = v + n["gain"] * x
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


def convolution_window(node: NirNode, rank: int) -> Window:
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
    return Window(whole(node, "stride", rank, 1), low, high, dilation, groups)


def flattened(node: NirNode, x: Array) -> Array:
    """Join the axes ``start_dim`` to ``end_dim`` of the samples."""
    sample = x.shape[1:]
    start = whole(node, "start_dim", 1, 1)[0] % len(sample)
    end = whole(node, "end_dim", 1, -1)[0] % len(sample)
    return x.reshape(x.shape[0], *sample[:start], -1, *sample[end + 1 :])

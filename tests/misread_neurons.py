"""Neurons that are misread: constants, resets, synapses, which result is used."""

from __future__ import annotations

from collections.abc import Callable

from planted_misreadings import attribute, kind, used, word
from snncc.compiler.ir.build import flag
from snncc.compiler.ir.core import Module, Op

CHANGES: dict[str, Callable[[float], float]] = {
    "beta": lambda v: v * 0.97 + 0.001,
    "tau": lambda v: v * 1.05,
    "rate": lambda v: v * 1.05,
    "a_syn": lambda v: v * 0.97,
    "threshold": lambda v: v * 1.03 + 0.001,
    "reset_value": lambda v: v + 0.05,
    "v_rest": lambda v: v + 0.05,
    "v_init": lambda v: v + 0.05,
    "v_min": lambda v: v - 0.3,
}
for _key, _change in CHANGES.items():
    attribute("neuron", _key, _change)
word("neuron", "compare", "strict", "non_strict")
word("neuron", "compare", "non_strict", "strict")
word("neuron", "reset", "subtract", "hard")
word("neuron", "reset", "hard", "subtract")
word("neuron", "reset", "subtract", "none")
word("neuron", "reset", "hard", "none")
word("neuron", "synapse", "scaled", "before")


@kind("a leak is dropped")
def _no_leak(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or each.attrs.get("dynamics") != "leaky":
        return False
    if "beta" not in each.attrs or float(str(each.attrs["beta"])) == 1.0:
        return False
    if do:
        each.attrs["dynamics"] = "integrate"
        each.attrs.pop("norm_input", None)
    return True


@kind("a decay of the input is read as a leak")
def _other_dynamics(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or each.attrs.get("dynamics") != "decay_input":
        return False
    if "rate" not in each.attrs:
        return False
    if do:
        each.attrs["dynamics"], each.attrs["beta"] = "leaky", 1 - float(str(each.attrs["rate"]))
    return True


@kind("the delay of a reset is turned")
def _delay(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or each.attrs.get("reset") != "subtract":
        return False  # a hard reset at the end of a step, or at the start of the next: the same
    if do:
        each.attrs["delay"] = not flag(each.attrs, "delay")
    return True


@kind("the synapse is dropped")
def _no_synapse(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or each.attrs.get("synapse", "none") == "none":
        return False
    if do:
        each.attrs["synapse"] = "none"
    return True


@kind("the input is normalised")
def _norm_input(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or each.attrs.get("dynamics") != "leaky":
        return False
    if do:
        each.attrs["norm_input"] = not flag(each.attrs, "norm_input")
    return True


@kind("a lower bound is invented")
def _bound(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or each.attrs.get("v_min") is not None:
        return False
    if do:
        each.attrs["v_min"] = -0.05
    return True


@kind("a lower bound is lost")
def _no_bound(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or each.attrs.get("v_min") is None:
        return False
    if do:
        del each.attrs["v_min"]
    return True


@kind("the membrane is taken for the spikes")
def _membrane(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.neuron" or len(each.results) < 2 or not used(each.results[0]):
        return False
    users = [u for u, _ in each.results[0].uses]
    if any(u.name not in ("graph.linear", "graph.conv") for u in users):
        return False
    if do:
        for user, index in list(each.results[0].uses):
            user.set_operand(index, each.results[1])
    return True

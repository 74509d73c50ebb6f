"""Faults that are planted in imported modules: each changes one thing, as a misreading would."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Module, Op, Value, op

Fault: TypeAlias = Callable[[Module], None]


def ops(module: Module, name: str) -> list[Op]:
    """Return the ops of a name, such as ``conv``."""
    return [o for o in module.walk() if o.name == f"graph.{name}"]


def of_layer(module: Module, layer: str, name: str = "neuron") -> Op:
    """Return the only op of a name in a layer."""
    (found,) = (o for o in ops(module, name) if o.attrs.get("layer") == layer)
    return found


def param(module: Module, name: str) -> Op:
    """Return a parameter."""
    (found,) = (o for o in ops(module, "param") if o.attrs["name"] == name)
    return found


def attribute(layer: str, key: str, value: Attribute, name: str = "neuron") -> Fault:
    """Another value of an attribute; None drops it."""

    def plant(module: Module) -> None:
        target = of_layer(module, layer, name)
        assert target.attrs.get(key) != value
        target.attrs[key] = value
        if value is None:
            del target.attrs[key]

    return plant


def nth(name: str, index: int, key: str, value: Attribute) -> Fault:
    """Another value of an attribute of the index-th op of a name."""

    def plant(module: Module) -> None:
        target = ops(module, name)[index]
        assert target.attrs[key] != value
        target.attrs[key] = value

    return plant


def bypass(name: str, index: int = 0) -> Fault:
    """An op is left out."""

    def plant(module: Module) -> None:
        target = ops(module, name)[index]
        target.results[0].replace_by(target.operands[0])

    return plant


def without_bias(layer: str, name: str) -> Fault:
    """A bias is lost."""

    def plant(module: Module) -> None:
        drop_bias(of_layer(module, layer, name))

    return plant


def exchanged(name: str, index: int, a: int = 0, b: int = 1) -> Fault:
    """Two operands change places."""

    def plant(module: Module) -> None:
        target = ops(module, name)[index]
        first, second = target.operands[a], target.operands[b]
        target.set_operand(a, second)
        target.set_operand(b, first)

    return plant


def tied(one: str, other: str) -> Fault:
    """Two parameters become one."""

    def plant(module: Module) -> None:
        param(module, other).result.replace_by(param(module, one).result)

    return plant


def swapped(one: str, other: str) -> Fault:
    """Two parameters of one shape change places."""

    def plant(module: Module) -> None:
        first, second = param(module, one), param(module, other)
        assert first.result.type == second.result.type
        for key in ("name", "resource"):
            first.attrs[key], second.attrs[key] = second.attrs[key], first.attrs[key]

    return plant


def values(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    """A parameter holds other values."""

    def plant(module: Module) -> None:
        target = param(module, name)
        held = np.asarray(module.resources[target.str_attr("resource")])
        changed = np.ascontiguousarray(change(held)).astype(held.dtype)
        assert changed.shape == held.shape
        assert not np.array_equal(changed, held)
        module.resources[target.str_attr("resource")] = changed

    return plant


def behind(name: str, index: int, make: Callable[[Builder, Value], Value]) -> Fault:
    """Something more happens to the first result of an op."""

    def plant(module: Module) -> None:
        target = ops(module, name)[index]
        result = target.results[0]
        users = list(result.uses)
        block = target.parent
        assert block is not None
        after = block.ops[block.ops.index(target) + 1]
        made = make(Builder(block, target.loc, after), result)
        for user, i in users:
            user.set_operand(i, made)

    return plant


def late(module: Module, value: Value) -> Value:
    """A step late: a register behind a value, which all users read."""
    target = value.owner
    assert isinstance(target, Op)
    block = target.parent
    assert block is not None
    users = list(value.uses)
    type_ = value.type
    attrs: dict[str, Attribute] = {
        "state": "planted", "shape": type_.step_shape, "steps": type_.shape[0],
        "dtype": type_.dtype,
    }  # fmt: skip
    if type_.dtype != "bit":
        attrs["init"] = 0.0
    register = Builder(block, target.loc, target).op("graph.delay", attrs=attrs)
    for user, i in users:
        user.set_operand(i, register.result)
    block.insert_before(
        block.ops[block.ops.index(target) + 1],
        op("graph.delay_next", [value], [], {"state": "planted"}, loc=target.loc),
    )
    return register.result


def step_late(name: str, index: int = 0) -> Fault:
    """The first result of an op comes a step late."""

    def plant(module: Module) -> None:
        late(module, ops(module, name)[index].results[0])

    return plant


def another_result(output: int, name: str, index: int, result: int = 0) -> Fault:
    """An output gives another value."""

    def plant(module: Module) -> None:
        target = ops(module, "output")[output]
        target.set_operand(0, ops(module, name)[index].results[result])

    return plant


def renamed(name: str, new: str) -> Fault:
    """A parameter has another name."""

    def plant(module: Module) -> None:
        param(module, name).attrs["name"] = new

    return plant


def trained(name: str, train: bool) -> Fault:
    """A parameter is trained, or no more."""

    def plant(module: Module) -> None:
        assert param(module, name).attrs["train"] is not train
        param(module, name).attrs["train"] = train

    return plant


def without_bias_at(name: str, index: int) -> Fault:
    """The bias of the index-th op of a name is lost."""

    def plant(module: Module) -> None:
        drop_bias(ops(module, name)[index])

    return plant


def drop_bias(target: Op) -> None:
    """Take the bias from a layer."""
    assert len(target.operands) == 3
    bias = target.operands.pop()
    bias.uses.remove((target, 2))
    if not bias.uses and isinstance(bias.owner, Op):
        bias.owner.erase()

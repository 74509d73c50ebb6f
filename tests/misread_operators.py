"""Operators and parameters that are misread, swapped, left out, or lose their gradient."""

from __future__ import annotations

import numpy as np

from planted_misreadings import attribute, kind, ops, put_behind, used, word
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Module, Op, Value, op

attribute("const", "value", lambda v: v * 1.02 + 0.01)
attribute("clip", "low", lambda v: v - 0.2)
attribute("clip", "high", lambda v: v + 0.2)
attribute("pad", "value", lambda v: v + 0.5)
word("spike", "compare", "strict", "non_strict")
word("spike", "compare", "non_strict", "strict")
word("pool", "kind", "max", "avg")
word("pool", "kind", "avg", "sum")
word("reduce", "kind", "mean", "sum")
word("reduce", "kind", "max", "mean")
word("reduce_time", "kind", "sum", "mean")
word("reduce_time", "kind", "mean", "last")
word("reduce_time", "kind", "max", "sum")
word("unary", "fn", "abs", "neg")
word("unary", "fn", "neg", "abs")
word("unary", "fn", "sigmoid", "tanh")
word("unary", "fn", "tanh", "sigmoid")
word("unary", "fn", "sqrt", "abs")


@kind("a bias is dropped")
def _no_bias(each: Op, module: Module, do: bool) -> bool:
    if each.name not in ("graph.linear", "graph.conv", "graph.conv_transpose"):
        return False
    if len(each.operands) < 3:
        return False
    if do:
        last = each.operands.pop()
        last.uses.remove((each, 2))
    return True


@kind("two parameters of one shape are swapped")
def _swap(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.param":
        return False
    for other in ops(module):
        if other is each or other.name != "graph.param":
            continue
        if other.result.type != each.result.type or other.attrs["role"] != each.attrs["role"]:
            continue
        if ops(module).index(other) < ops(module).index(each):
            continue
        if do:
            mine, theirs = list(each.result.uses), list(other.result.uses)
            for user, index in mine:
                user.set_operand(index, other.result)
            for user, index in theirs:
                user.set_operand(index, each.result)
            block = each.parent
            assert block is not None
            block.ops.remove(other)
            block.ops.insert(block.ops.index(each), other)
        return True
    return False


@kind("a parameter has the name of none")
def _renamed(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.param" or each.attrs.get("train") is not True:
        return False
    if do:
        each.attrs["name"] = "made.up"
    return True


@kind("a parameter is folded into a constant")
def _folded(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.param" or each.attrs.get("train") is not True:
        return False
    if do:
        assert each.parent is not None
        held = op("graph.const", [], [each.result.type], {"resource": each.str_attr("resource")})
        each.parent.insert_before(each, held)
        each.result.replace_by(held.result)
        each.erase()
    return True


@kind("a parameter has other values")
def _values(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.param":
        return False
    if do:
        name = each.str_attr("resource")
        module.resources[name] = np.asarray(module.resources[name], np.float64) * 1.01 + 0.001
    return True


@kind("a square weight is transposed")
def _turned(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.linear" or len(set(each.operands[1].type.shape)) != 1:
        return False
    if do:
        assert each.parent is not None
        b = Builder(each.parent, each.loc, each)
        each.set_operand(1, b.one("graph.transpose", each.operands[1], perm=(1, 0)))
    return True


@kind("a difference is turned round")
def _turned_sub(each: Op, module: Module, do: bool) -> bool:
    if each.name not in ("graph.sub", "graph.div", "graph.spike"):
        return False
    a, b = each.operands
    if each.name == "graph.div" and isinstance(a.owner, Op) and a.owner.name == "graph.const":
        return False
    if do:
        each.set_operand(0, b)
        each.set_operand(1, a)
    return True


@kind("a branch is dropped")
def _one_branch(each: Op, module: Module, do: bool) -> bool:
    if each.name not in ("graph.add", "graph.sub", "graph.mul") or not used(each.result):
        return False
    if each.operands[0].type != each.result.type:
        return False
    if do:
        each.result.replace_by(each.operands[0])
    return True


@kind("a sum is taken for a product")
def _product(each: Op, module: Module, do: bool) -> bool:
    if each.name not in ("graph.add", "graph.mul"):
        return False
    if do:
        each.name = "graph.mul" if each.name == "graph.add" else "graph.add"
    return True


@kind("an operator is skipped")
def _skipped(each: Op, module: Module, do: bool) -> bool:
    if each.name not in ("graph.relu", "graph.clip", "graph.unary", "graph.softmax"):
        return False
    if each.operands[0].type != each.result.type:
        return False
    if do:
        each.result.replace_by(each.operands[0])
    return True


@kind("a rectifier is read as the absolute value")
def _absolute(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.relu":
        return False
    if do:
        each.name, each.attrs["fn"] = "graph.unary", "abs"
    return True


SHIFTED = ("graph.linear", "graph.conv", "graph.neuron", "graph.spike", "graph.add", "graph.pool")


@kind("a layer comes a step late")
def _late(each: Op, module: Module, do: bool) -> bool:
    if each.name not in SHIFTED or each.results[0].type.kind != "seq" or not used(each.results[0]):
        return False
    if do:
        type_ = each.results[0].type
        assert each.parent is not None
        attrs: dict[str, Attribute] = {
            "state": "late", "shape": type_.step_shape, "dtype": type_.dtype,
            "steps": type_.shape[0], "init": 0.0,
        }  # fmt: skip

        def shift(b: Builder, value: Value) -> Value:
            made = b.op("graph.delay", types=[type_], attrs=attrs).result
            b.op("graph.delay_next", value, attrs={"state": "late"})
            return made

        put_behind(each, shift)
    return True


@kind("a delay starts with another value")
def _init(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.delay" or each.operands:
        return False
    if each.attrs.get("dtype", "f16") == "bit":
        return False
    if do:
        each.attrs["init"] = float(str(each.attrs.get("init", 0.0))) + 0.25
    return True


@kind("a path passes no gradient")
def _stopped(each: Op, module: Module, do: bool) -> bool:
    if each.name not in ("graph.linear", "graph.conv", "graph.neuron", "graph.spike", "graph.add"):
        return False
    if not used(each.results[0]):
        return False
    if do:
        put_behind(each, lambda b, v: b.op("graph.stop_gradient", v, types=[v.type]).result)
    return True


@kind("a cut path passes the gradient")
def _attached(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.stop_gradient" or "origin" in each.attrs:
        return False
    if do:
        each.result.replace_by(each.operands[0])
    return True


@kind("two axes of a size are swapped")
def _axes(each: Op, module: Module, do: bool) -> bool:
    if each.name not in ("graph.conv", "graph.pool", "graph.neuron", "graph.add"):
        return False
    shape = each.results[0].type.step_shape
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] == 1 or not used(each.results[0]):
        return False
    if do:
        put_behind(each, lambda b, v: b.one("graph.transpose", v, perm=(0, 1, 3, 2)))
    return True


@kind("a window sits elsewhere")
def _padding(each: Op, module: Module, do: bool) -> bool:
    pads = each.attrs.get("padding")
    if each.name not in ("graph.conv", "graph.pool") or not isinstance(pads, tuple):
        return False
    n = len(pads) // 2
    if not any(pads) or n != 2 or int(str(pads[0])) < 1:
        return False
    if do:
        low, high = [int(str(p)) for p in pads[:n]], [int(str(p)) for p in pads[n:]]
        low[0], high[0] = low[0] - 1, high[0] + 1
        each.attrs["padding"] = (*low, *high)
    return True


@kind("the sides of a concatenation are swapped")
def _concat(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.concat" or len(each.operands) < 2:
        return False
    a, b = each.operands[:2]
    if a.type != b.type or a is b:
        return False
    if do:
        each.set_operand(0, b)
        each.set_operand(1, a)
    return True


@kind("a normalisation has another epsilon")
def _eps(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.batchnorm":
        return False
    if do:
        each.attrs["eps"] = float(str(each.attrs["eps"])) * 30 + 0.01
    return True


@kind("scale and shift of a normalisation are swapped")
def _scale(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.batchnorm":
        return False
    if do:
        scale, shift = each.operands[1:3]
        each.set_operand(1, shift)
        each.set_operand(2, scale)
    return True


@kind("the branches of a choice are swapped")
def _choice(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.select":
        return False
    if do:
        a, b = each.operands[1:3]
        each.set_operand(1, b)
        each.set_operand(2, a)
    return True


@kind("a shared parameter becomes two")
def _untied(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.param" or len(each.result.uses) < 2:
        return False
    if do:
        assert each.parent is not None
        name = {**each.attrs, "name": f"{each.str_attr('name')}#2"}
        copy = op("graph.param", [], [each.result.type], name, loc=each.loc)
        each.parent.insert_before(each, copy)
        user, index = each.result.uses[-1]
        user.set_operand(index, copy.result)
    return True


@kind("an output shows another value")
def _output(each: Op, module: Module, do: bool) -> bool:
    if each.name != "graph.output":
        return False
    type_ = each.operands[0].type
    others = [
        r
        for o in ops(module)
        if o.name not in ("graph.const", "graph.param", "graph.delay")
        for r in o.results
        if r.type == type_ and r is not each.operands[0]
    ]
    if not others:
        return False
    if do:
        each.set_operand(0, others[0])
    return True

"""Neuron constants as parameters: ``beta = 0.9`` of an attribute becomes a trainable operand.

Importers write scalar constants as attributes of ``graph.neuron`` and keep the file's names in
``sources`` (attribute -> name).  A constant that the configuration wants to train is promoted: it
becomes a ``graph.param`` operand.  A name that serves several neurons is numbered as weights are:
``NAME``, ``NAME#2``, ... in graph order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Attribute, Module, Op, tensor


def constants(module: Module) -> Iterator[tuple[str, Op, str]]:
    """Yield (parameter name, neuron, attribute) of every constant that the file names."""
    count: dict[str, int] = {}
    for op in module.walk():
        if op.name == "graph.param":
            base = op.str_attr("name").partition("#")[0]
            count[base] = count.get(base, 0) + 1
    for op in list(module.walk()):
        sources = op.attrs.get("sources")
        if op.name != "graph.neuron" or not isinstance(sources, Mapping):
            continue
        for key, source in sources.items():
            if key not in op.attrs or not isinstance(source, str):
                continue
            count[source] = count.get(source, 0) + 1
            yield source if count[source] == 1 else f"{source}#{count[source]}", op, key


def promote(module: Module, wanted: Callable[[str], bool]) -> list[Op]:
    """Turn the constants whose names are wanted into parameters; return these."""
    made: list[Op] = []
    for name, op, key in list(constants(module)):
        if not wanted(name):
            continue
        value = op.float_attr(key)
        resource = f"{op.attrs.get('layer', 'neuron')}.{key}"
        module.resources[resource] = np.asarray(value, np.float32)
        assert op.parent is not None
        b = Builder(op.parent, op.loc, op)
        attrs: dict[str, Attribute] = {
            "name": name,
            "resource": resource,
            "role": key,
            "train": True,
        }
        param = b.op("graph.param", types=[tensor(())], attrs=attrs)
        op.operands.append(param.result)
        param.result.uses.append((op, len(op.operands) - 1))
        names = op.attrs.get("params", ())
        op.attrs["params"] = (*(names if isinstance(names, tuple) else ()), key)
        del op.attrs[key]
        made.append(param)
    return made

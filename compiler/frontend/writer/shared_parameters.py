"""One initializer is one parameter, whatever number of operators uses it.

The exception: exporters merge equal tensors, so an initializer of which all elements are equal
(zero biases, unit gains) and that serves several roles was several parameters before.  Each role is
then a parameter of its own: ``NAME``, ``NAME#2``, ... in the order of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Block, Module, Op


@dataclass(slots=True)
class ParameterUse:
    """A ``graph.param`` as it was written for one use; ``order``: place of the use in the file."""

    op: Op
    name: str
    order: tuple[int, int]


def share_parameters(module: Module, block: Block, uses: Sequence[ParameterUse]) -> None:
    """Merge the parameters of one name, or number their roles where they were several."""
    _settings(block, uses)
    by_name: dict[str, list[ParameterUse]] = {}
    for use in sorted(uses, key=lambda u: u.order):
        by_name.setdefault(use.name, []).append(use)
    for name, same in by_name.items():
        array = module.resources[same[0].op.str_attr("resource")]
        if bool((array == array.reshape(-1)[:1]).all()):
            for number, use in enumerate(same[1:], 2):
                use.op.attrs["name"] = f"{name}#{number}"
        elif len(same) > 1:
            _merge([use.op for use in same])
    held = {str(op.attrs.get("resource")) for op in block.ops}
    for resource in [r for r in module.resources if r not in held]:
        del module.resources[resource]


def _settings(block: Block, uses: Sequence[ParameterUse]) -> None:
    """Freeze numbers that are a neuron's constants, where other operators use them as well.

    A threshold is not trained unless the configuration says so, whatever else is compared with it.
    """
    neurons = [op.attrs.get("sources") for op in block.ops if op.name == "graph.neuron"]
    known = [sources.values() for sources in neurons if isinstance(sources, Mapping)]
    names = {str(name) for values in known for name in values}
    for use in uses:
        if use.name in names and use.op.result.type.shape == ():
            use.op.attrs["train"] = False


def _merge(ops: Sequence[Op]) -> None:
    """Let the first op stand for all, transposed where another one held the transpose."""
    kept, block = ops[0], ops[0].parent
    assert block is not None
    earliest = min(ops, key=block.ops.index)
    if earliest is not kept:
        block.ops.remove(kept)
        block.insert_before(earliest, kept)
    kept.attrs["train"] = any(op.attrs.get("train") is True for op in ops)
    turned = bool(kept.attrs.get("transpose"))
    for op in ops[1:]:
        value = kept.result
        if bool(op.attrs.get("transpose")) != turned:
            value = Builder(block, op.loc, op).one("graph.transpose", value, perm=(1, 0))
        assert value.type.shape == op.result.type.shape
        op.result.replace_by(value)
        op.erase()

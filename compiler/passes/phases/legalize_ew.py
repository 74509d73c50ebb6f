"""Bring regions to the form of micro-operations.

``ew.spike`` becomes ``gt`` or ``ge``, or for multi-spike neurons ``select(gt(h, 0), trunc(div(h,
theta)), 0)``; ``ew.stop_gradient`` and casts to the same type go; ``phase.batchnorm`` becomes maps
with f32 factors per channel; equal ops of a region are merged and unused ones removed.  After this
pass nothing can be differentiated any more.
"""

from __future__ import annotations

from snncc.compiler.ir.build import Builder, integer, stairs_of
from snncc.compiler.ir.core import Attribute, Block, Module, Op, Value
from snncc.compiler.passes.phases.adjoint.region import prune
from snncc.compiler.passes.phases.kit.emit import build_map, map_one, region_const
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass


@compiler_pass(takes="phased")
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Lower spikes, batch normalisation and gradient stops to micro-operations."""
    changed = False
    for func in module.funcs.values():
        for op in list(func.body.ops):
            if op.name == "phase.batchnorm":
                _batchnorm(op)
                changed = True
        for op in list(func.body.ops):
            for region in op.regions:
                changed |= _region(region)
    return changed


def _replace(op: Op, value: Value) -> None:
    if not value.name:
        value.name = op.result.name
    op.result.replace_by(value)
    op.erase()


def _batchnorm(op: Op) -> None:
    block = op.parent
    assert block is not None
    common: dict[str, Attribute] = {k: op.attrs[k] for k in ("phase", "layer") if k in op.attrs}
    b = Builder(block, op.loc, op, **common)
    x, mean, inv, scale, shift = op.operands
    axis, shape = integer(op.attrs, "axis", 1), x.type.step_shape
    column = tuple(d if i == axis else 1 for i, d in enumerate(shape))[axis:]

    def factors(inner: Builder, a: list[Value]) -> list[Value]:
        k = inner.one("ew.mul", a[0], a[1])
        return [k, inner.one("ew.sub", a[2], inner.one("ew.mul", a[3], k))]

    made = build_map(b, [scale, inv, shift, mean], factors)
    k, m = (b.one("phase.reshape", v, shape=column) for v in made.results)

    def apply(inner: Builder, a: list[Value]) -> Value:
        x_ = inner.one("ew.cast", a[0], to="f16") if a[0].type.dtype == "bit" else a[0]
        return inner.one("ew.cast", inner.one("ew.add", inner.one("ew.mul", x_, a[1]), a[2]),
                         to="f16")  # fmt: skip

    _replace(op, map_one(b, [x, k, m], apply))


def _region(block: Block) -> bool:
    before = [op.name for op in block.ops]
    for op in list(block.ops):
        if op.name == "ew.spike":
            _spike(block, op)
        elif op.name == "ew.stop_gradient" or (
            op.name == "ew.cast" and op.operands[0].type == op.result.type
        ):
            _replace(op, op.operands[0])
    _merge(block)
    prune(block)
    return before != [op.name for op in block.ops]


def _spike(block: Block, op: Op) -> None:
    b, (h, theta) = Builder(block, op.loc, op), op.operands
    match op.str_attr("compare"):
        case "strict":
            value = b.one("ew.gt", h, theta)
        case "non_strict":
            value = b.one("ew.ge", h, theta)
        case "stairs":
            steps = [
                b.one("ew.gt" if strict else "ew.ge", h, region_const(b, level))
                for level, strict in stairs_of(op.attrs)
            ]
            value = b.one("ew.cast", steps[0], to="f16")
            for step in steps[1:]:
                value = b.one("ew.add", value, b.one("ew.cast", step, to="f16"))
        case _:
            zero = region_const(b, 0.0)
            count = b.one("ew.trunc", b.one("ew.div", h, theta))
            value = b.one("ew.select", b.one("ew.gt", h, zero), count, zero)
    _replace(op, value)


def _merge(block: Block) -> None:
    """Merge equal ops (all ops of dialect ew are pure; random ones depend on their counter)."""
    seen: dict[tuple[object, ...], Op] = {}
    for op in list(block.ops):
        if op.dialect != "ew":
            continue
        key = (op.name, *(id(v) for v in op.operands), repr(sorted(op.attrs.items())),
               str(op.result.type))  # fmt: skip
        first = seen.setdefault(key, op)
        if first is not op:
            _replace(op, first.result)

"""Random things that keep all rules, for property tests: attributes, modules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import (
    Array,
    Attribute,
    Block,
    Func,
    Location,
    Module,
    Value,
    seq,
    tensor,
)
from snncc.compiler.ir.opdef import load_dialects

load_dialects()

scalars: st.SearchStrategy[Attribute] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(st.characters(), max_size=8),
)
keys = st.one_of(
    st.from_regex(r"[a-z_][a-z_0-9]{0,5}", fullmatch=True),
    st.sampled_from(["loc", "true", "inf", "nan", "none", "module", "a.b", "a b", "", "é", '"']),
    st.text(st.characters(), max_size=4),
)


def _containers(inner: st.SearchStrategy[Attribute]) -> st.SearchStrategy[Attribute]:
    lists = st.lists(inner, max_size=3).map(lambda items: tuple(items))
    dicts = st.dictionaries(keys, inner, max_size=3)
    return st.one_of(lists, dicts)


attributes: st.SearchStrategy[Attribute] = st.recursive(scalars, _containers, max_leaves=6)
hints = st.one_of(
    st.sampled_from(["", "x", "x_1", "x_1_1", "x.1", "3", "fc1/weight:0", "é", "-", "a b"]),
    st.text(st.characters(), max_size=3),
)
names = st.one_of(st.sampled_from(["m", "main", "fc1/weight:0", "", "1x"]), st.text(max_size=3))
locations = st.text(st.characters(), min_size=1, max_size=5).filter(lambda t: t != "?")
DTYPES = ("float16", "float32", "int32", "bool", "float64", "uint8", "int64")


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Small arrays of every dtype that a resource may have; zero and scalar shapes included."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    values = draw(st.binary(min_size=27, max_size=27))
    count = int(np.prod(shape, dtype=np.int64))
    return (
        np.frombuffer(values, np.uint8)[:count].reshape(shape).astype(draw(st.sampled_from(DTYPES)))
    )


@st.composite
def modules(draw: st.DrawFn) -> Module:
    """Valid modules of stage graph or phased with odd names, attributes and locations."""
    stage = draw(st.sampled_from(["graph", "phased"]))
    attrs: dict[str, Attribute] = {**draw(st.dictionaries(keys, attributes, max_size=3))}
    attrs |= {"stage": stage, "steps": 3, "batch": draw(st.integers(1, 9))}
    resources = draw(st.dictionaries(names, arrays(), max_size=2))
    module = Module(draw(names), attrs, resources)
    for name in draw(st.lists(names, min_size=1, max_size=2, unique=True)):
        module.funcs[name] = Func(name, _body(draw, stage), draw(st.dictionaries(keys, attributes)))
    return module


def _body(draw: st.DrawFn, stage: str) -> Block:
    block = Block()
    types = [seq((3, 2, 4)), seq((3, 4)), tensor((4,)), tensor(())]
    values = [block.add_arg(t, draw(hints)) for t in draw(st.permutations(types))]
    for _ in range(draw(st.integers(0, 8))):
        builder = Builder(block, Location(draw(locations)))
        make = draw(st.sampled_from([_const, _add, _output] if stage == "graph" else [_map, _scan]))
        values += make(draw, builder, values)
    return block


def _const(draw: st.DrawFn, builder: Builder, values: Sequence[Value]) -> list[Value]:
    attrs = {**draw(st.dictionaries(keys, attributes, max_size=4)), "value": draw(st.floats())}
    attrs.pop("resource", None)
    made = builder.op("graph.const", types=[tensor((4,))], names=[draw(hints)], attrs=attrs)
    return made.results


def _add(draw: st.DrawFn, builder: Builder, values: Sequence[Value]) -> list[Value]:
    pair = [draw(st.sampled_from(values)) for _ in range(2)]
    return builder.op("graph.add", *pair, names=[draw(hints)]).results


def _output(draw: st.DrawFn, builder: Builder, values: Sequence[Value]) -> list[Value]:
    value, name = draw(st.sampled_from(values)), draw(st.text(max_size=3))
    builder.op("graph.output", value, attrs={"name": name})
    return []


def _region(draw: st.DrawFn, builder: Builder, inputs: Sequence[Value]) -> tuple[Block, Value]:
    """Return a region that adds its arguments up in a random tree."""
    region = Block()
    args = [region.add_arg(tensor(v.type.step_shape), draw(hints)) for v in inputs]
    inner = Builder(region, builder.loc)
    known = [*args, inner.one("ew.const", hint=draw(hints), value=draw(st.floats()))]
    for _ in range(draw(st.integers(1, 3))):
        pair = [draw(st.sampled_from(known)) for _ in range(2)]
        known.append(inner.one("ew.add", *pair, hint=draw(hints)))
    return region, known[-1]


def _map(draw: st.DrawFn, builder: Builder, values: Sequence[Value]) -> list[Value]:
    inputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
    region, result = _region(draw, builder, inputs)
    Builder(region, builder.loc).op("phase.yield", result)
    timed = any(v.type.kind == "seq" for v in inputs)
    shape = result.type.shape
    types = [seq((3, *shape)) if timed else tensor(shape)]
    made = builder.op("phase.map", *inputs, types=types, regions=[region], names=[draw(hints)])
    return made.results


def _scan(draw: st.DrawFn, builder: Builder, values: Sequence[Value]) -> list[Value]:
    timed = [v for v in values if v.type.kind == "seq"]
    carried = draw(st.sampled_from([v for v in values if v.type.kind == "tensor"]))
    inputs = [carried, draw(st.sampled_from(timed))]
    region, result = _region(draw, builder, inputs)
    Builder(region, builder.loc).op("phase.yield", region.args[0], result)
    made = builder.op(
        "phase.scan",
        *inputs,
        types=[carried.type, seq((3, *result.type.shape))],
        regions=[region],
        names=[draw(hints), draw(hints)],
        attrs={"carried": 1, "seqs": 1, "captured": 0, "steps": 3},
    )
    return made.results

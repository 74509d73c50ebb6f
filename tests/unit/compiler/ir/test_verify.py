from collections.abc import Callable

import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.ir import opdef
from snncc.compiler.ir.core import Block, Func, Location, Module, Op, op, tensor
from snncc.compiler.ir.opdef import DIALECTS, REGISTRY, STAGES, AttrDef, OpDef
from snncc.compiler.ir.verify import lacks_location, verify
from snncc.compiler.ir.views import dataflow, layers

T = tensor((2,))


def module() -> Module:
    """x -> a -> b -> output, in layers fc1 and fc2."""
    body = Block()
    x = body.add_arg(T, "x")
    a = body.append(op("graph.add", [x, x], [T], {}, loc=Location("net:/a"), names=["a"]))
    b = body.append(op("graph.mul", [a.result, x], [T], {}, loc=Location("net:/b"), names=["b"]))
    body.append(op("graph.output", [b.result], [], {"name": "y"}, loc=Location("net:/y")))
    return Module("m", {"stage": "graph"}, {}, {"f": Func("f", body)})


def fault(broken: Module, locations: bool = False) -> str:
    with pytest.raises(CompileError) as caught:
        verify(broken, locations=locations)
    return str(caught.value)


def ops(of: Module) -> list[Op]:
    return of.func("f").body.ops


def test_a_good_module_passes() -> None:
    verify(module(), locations=True)


def swap(m: Module) -> None:
    ops(m)[:2] = ops(m)[1::-1]


def twice(m: Module) -> None:
    ops(m).insert(1, ops(m)[0])


def lost_parent(m: Module) -> None:
    ops(m)[0].parent = None


def lost_use(m: Module) -> None:
    m.func("f").body.args[0].uses.pop()


def stale_use(m: Module) -> None:
    value = ops(m)[0].result
    value.uses.append((ops(m)[2], 0))


def wrong_owner(m: Module) -> None:
    ops(m)[1].result.owner = ops(m)[0]


def wrong_index(m: Module) -> None:
    m.func("f").body.args[0].index = 4


def body_of_another(m: Module) -> None:
    m.func("f").body.parent = None


def renamed(m: Module) -> None:
    m.funcs["g"] = m.funcs.pop("f")


def bad_attribute(m: Module) -> None:
    ops(m)[2].attrs["shape"] = (1, 2.5)


BROKEN = [
    (swap, "net:/b: error[E0254]: graph.mul %b: operand 0 (%a) is not defined above it"),
    (twice, "net:/a: error[E0255]: graph.add %a: the same op stands in two places"),
    (lost_parent, "net:/a: error[E0255]: graph.add %a: it does not point to the block"),
    (lost_use, "error[E0255]: argument: the list of uses of %x does not match"),
    (stale_use, "net:/a: error[E0255]: graph.add %a: the list of uses of %a does not match"),
    (wrong_owner, "net:/b: error[E0255]: graph.mul %b: value 0 (%b) does not point to its owner"),
    (wrong_index, "@m/@f: error[E0255]: argument: value 0 (%x) does not point to its owner"),
    (body_of_another, "error[E0255]: the body of @f does not point to it"),
    (renamed, "error[E0255]: function @f is stored as @g"),
    (bad_attribute, "net:/y: error[E0253]: graph.output: attribute shape is (1, 2.5), not a list"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_damage_is_found(damage: Callable[[Module], None], message: str) -> None:
    broken = module()
    damage(broken)
    assert message in fault(broken)


def test_locations_are_asked_for_when_the_input_had_them() -> None:
    m = module()
    assert not lacks_location(m)
    ops(m)[1].loc = Location("?")
    assert lacks_location(m)
    verify(m)
    assert "@m/@f: error[E0259]: graph.mul %b: it does not say where it came from" in fault(
        m, locations=True
    )


def test_it_stops_after_twenty() -> None:
    m = module()
    for _ in range(30):
        m.func("f").body.append(op("graph.nothing", loc=Location("net:/n")))
        ops(m)[-1].loc = Location(f"net:/{len(ops(m))}")
    text = fault(m)
    assert text.count("error[") == 20
    assert text.endswith("stopped after 20 errors")


def test_views() -> None:
    m = module()
    a, b, y = ops(m)
    a.attrs["layer"], y.attrs["layer"] = "fc1", "fc2"
    flow = dataflow(m.func("f"))
    assert list(flow.nodes) == [a, b, y]
    assert sorted(d["operand"] for _, _, d in flow.edges(data=True)) == [0, 0]
    graph = layers(m.func("f"))
    assert [(name, graph.nodes[name]["ops"]) for name in graph] == [("fc1", [a]), ("fc2", [y])]
    assert graph.edges["fc1", "fc2"]["values"] == [b.result]
    assert graph.number_of_edges() == 1


def test_every_definition_is_complete() -> None:
    opdef.load_dialects()
    assert {s for d in DIALECTS.values() for s in d.stages} <= set(STAGES)
    for name, definition in REGISTRY.items():
        assert definition.doc, name
        assert definition.region_terminator == "" or definition.region_terminator in REGISTRY, name


def test_definitions_are_checked_when_they_register() -> None:
    with pytest.raises(ValueError, match="dialect nothing is not declared"):
        opdef.register(OpDef("nothing.x", "x"))
    opdef.load_dialects()
    with pytest.raises(ValueError, match=r"graph\.add is defined twice"):
        opdef.register(OpDef("graph.add", "x"))
    with pytest.raises(ValueError, match="unknown stages"):
        opdef.dialect("another", "x", ["nowhere"])


@pytest.mark.parametrize(
    ("definition", "value", "problem"),
    [
        (AttrDef("int"), True, "is True, not an int"),
        (AttrDef("float"), 3, ""),
        (AttrDef("float"), "3", "is '3', not a number"),
        (AttrDef("ints"), (1, 2), ""),
        (AttrDef("ints"), 1, "is 1, not a list of ints"),
        (AttrDef("strs"), ("a", 1), "is ('a', 1), not a list of strings"),
        (AttrDef("dict"), {"a": 1}, ""),
        (AttrDef("any"), None, ""),
        (AttrDef("str", choices=("a", "b")), "c", "is 'c', not one of a, b"),
    ],
)
def test_attribute_definitions(definition: AttrDef, value: object, problem: str) -> None:
    assert definition.problem(value) == problem  # type: ignore[arg-type]

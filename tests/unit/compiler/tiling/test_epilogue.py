"""Maps that follow a weight gradient: in its task where that is possible, the same bits always."""

import pytest

from made_steps import Made
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Attribute, Module, Value, tensor
from whole_stack import check_fitting, machine, run_passes

GEOMETRY: dict[str, Attribute] = {
    "stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1, "rank": 2,
}  # fmt: skip


def scaled(made: Made, gradient: Value) -> Value:
    """Divide a gradient by 128."""

    def body(e: Builder, args: list[Value]) -> list[Value]:
        return [e.one("ew.mul", args[0], e.one("ew.const", value=1 / 128))]

    return made.region("map", [gradient], [gradient.type], body)[0]


def momentum(made: Made, gradient: Value, weight: Value, velocity: Value) -> list[Value]:
    """Return the next weight, the next velocity."""

    def body(e: Builder, args: list[Value]) -> list[Value]:
        g, w, v = args
        v2 = e.one("ew.add", e.one("ew.mul", v, e.one("ew.const", value=0.875)), g)
        return [e.one("ew.sub", w, e.one("ew.mul", v2, e.one("ew.const", value=0.0625))), v2]

    types = [weight.type, velocity.type]
    return made.region("map", [gradient, weight, velocity], types, body)


def tasks(module: Module, scratchpad: int = 1 << 17) -> list[tuple[str, str]]:
    """Return name and phase of every task."""
    work = clone(module)
    run_passes(work, "tile", machine(4, scratchpad))
    found = [o for o in work.func("step").body.ops if o.name == "tile.task"]
    return [(o.str_attr("name"), o.str_attr("phase")) for o in found]


def tensors(module: Module) -> set[str]:
    """Return the names of the tensors in DRAM."""
    work = clone(module)
    run_passes(work, "tile", machine(4, 1 << 17))
    return {o.str_attr("name") for o in work.func("step").body.ops if o.name == "tile.dram"}


def step(channels: int, *, conv: bool, after: bool = False) -> Made:
    """Return a weight gradient that is unscaled, given out and taken for an update."""
    made = Made(3, 2)
    outputs = 24
    if conv:
        x, g = made.seq("x", channels, 5, 4, dtype="bit"), made.seq("g", outputs, 5, 4)
        shape: tuple[int, ...] = (outputs, channels, 3, 3)
    else:
        x, g = made.seq("x", channels, dtype="bit"), made.seq("g", outputs)
        shape = (channels, outputs)
    weight = made.param("w", *shape)
    velocity = made.param("v", *shape, kind="state")
    if conv:
        dw = made.b.op("phase.conv_dw", x, g, attrs={"shape": shape, **GEOMETRY}).result
    else:
        dw = made.b.one("phase.linear_dw", x, g)
    dw.name = "gradient"
    new, kept = momentum(made, dw, weight, velocity)
    made.output(grad=scaled(made, dw))
    if after:  # the old weight is still wanted behind the gradient
        made.output(old=scaled(made, weight))
    made.store("w", new)
    made.store("v", kept, "state")
    return made


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("channels", [1, 16, 21, 48])
def test_updates_in_the_gradients_task_have_the_same_bits(channels: int, conv: bool) -> None:
    made = step(channels, conv=conv)
    found = tasks(made.module)
    assert len(found) == 1, found
    assert "gradient" not in tensors(made.module)
    for cores, scratchpad in ((1, 1 << 18), (20, 1 << 17), (3, 2048)):
        check_fitting(made.module, made.inputs, cores, scratchpad)


@pytest.mark.parametrize("conv", [False, True])
def test_the_old_weight_outlives_its_update(conv: bool) -> None:
    made = step(16, conv=conv, after=True)
    check_fitting(made.module, made.inputs, 3, 1 << 17)


def test_binary32_states_and_a_binary16_copy() -> None:
    made = Made(2, 3)
    x, g = made.seq("x", 5, 4, 4, dtype="bit"), made.seq("g", 7, 4, 4)
    shape = (7, 5, 3, 3)
    wide = tensor(shape, "f32")
    made.module.resources["master"] = made.rng.normal(size=shape)
    master = made.b.op(
        "phase.state", types=[wide], attrs={"name": "master", "resource": "master"}
    ).result
    dw = made.b.op("phase.conv_dw", x, g, attrs={"shape": shape, **GEOMETRY}).result

    def body(e: Builder, args: list[Value]) -> list[Value]:
        new = e.one("ew.sub", args[1], e.one("ew.cast", args[0], to="f32"))
        return [new, e.one("ew.cast", new, to="f16")]

    new, half = made.region("map", [dw, master], [wide, tensor(shape)], body)
    made.output(half=half)
    made.store("master", new, "state")
    assert len(tasks(made.module)) == 1
    for cores, scratchpad in ((1, 1 << 17), (7, 4096)):
        check_fitting(made.module, made.inputs, cores, scratchpad)


def test_a_gradient_that_others_read_stays_in_memory() -> None:
    made = step(16, conv=False)
    gradient = next(o for o in made.block.ops if o.name == "phase.linear_dw").result
    made.output(raw=gradient)
    assert "gradient" in tensors(made.module)
    check_fitting(made.module, made.inputs, 2, 1 << 17)


def test_where_the_buffers_would_not_fit_the_maps_have_tasks_of_their_own() -> None:
    # 16 x 16 x 9 elements of 4 bytes (sums) and 2 + 5 * 2 (the gradient, five tensors): 36,864
    made = step(16, conv=True)
    assert len(tasks(made.module, 2 * 36_864)) == 1
    assert len(tasks(made.module, 2 * 36_864 - 64)) == 3

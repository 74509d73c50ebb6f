"""The templates at the edges: sizes of 1, long reductions, tails, tiny scratchpads, states."""

import re

import numpy as np
import pytest

from made_steps import Made, dense
from snncc.compiler.diag import CompileError
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.interp.tiled import evaluate_tiled
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Value, seq, tensor
from snncc.isa.machine.machine import Machine
from whole_stack import TILE, check_all, check_fitting, compiled, machine, run_passes, same


@pytest.mark.parametrize(
    ("steps", "batch", "k", "n"),
    [
        (1, 1, 1, 1), (1, 1, 1, 37), (1, 3, 50, 1), (4, 1, 17, 33), (3, 2, 700, 5),
        (2, 5, 15, 49), (6, 3, 16, 16),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["bit", "f16"])
def test_dense_layers_of_odd_sizes(steps: int, batch: int, k: int, n: int, dtype: str) -> None:
    made = dense(steps, batch, k, n, dtype)
    for cores, scratchpad in ((1, 1024), (3, 2048), (20, 0)):
        check_fitting(made.module, made.inputs, cores, scratchpad or 1 << 16)


def test_a_reduction_longer_than_the_scratchpad() -> None:
    made = dense(1, 2, 3000, 20)
    check_all(made.module, made.inputs, machine(2, 2048))


@pytest.mark.parametrize("microbatch", [1, 2, 3, 6])
@pytest.mark.parametrize("scratchpad", [1024, 1 << 16])
def test_micro_batches_are_summed_in_their_order(microbatch: int, scratchpad: int) -> None:
    made = Made(3, 6)
    x, g = made.seq("x", 20), made.seq("g", 9)
    made.output(
        dw=made.b.one("phase.linear_dw", x, g, microbatch=microbatch),
        db=made.b.one("phase.sum_rows", g, microbatch=microbatch),
    )
    check_all(made.module, made.inputs, machine(4, scratchpad))


def leaky(made: Made, x: Value, *, reverse: bool = False) -> list[Value]:
    """Add a scan with a state of every type; return its results."""
    shape = x.type.step_shape
    types = [tensor(shape), tensor(shape, "f32"), tensor(shape, "bit")]
    start = [
        made.b.op("phase.const", types=[t], attrs={"value": v}).result
        for t, v in zip(types, (0.25, 0.3, 0.0), strict=True)
    ]

    def body(e: Builder, args: list[Value]) -> list[Value]:
        v, total, fired, now = args
        h = e.one("ew.add", e.one("ew.mul", v, e.one("ew.const", value=0.9)), now)
        s = e.one("ew.gt", h, e.one("ew.const", value=1.0))
        v2 = e.one("ew.select", fired, e.one("ew.const", value=0.0), h)
        return [v2, e.one("ew.add", total, h), e.one("ew.or", s, e.one("ew.not", fired)), s, h]

    steps = x.type.shape[0]
    results = [*types, seq((steps, *shape), "bit"), seq((steps, *shape))]
    return made.region(
        "scan", [*start, x], results, body, carried=3, seqs=1, captured=0, steps=steps,
        reverse=reverse,
    )  # fmt: skip


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 5])
def test_states_of_every_type(steps: int, reverse: bool) -> None:
    made = Made(steps, 3)
    found = leaky(made, made.seq("x", 37), reverse=reverse)
    made.output(**{f"r{i}": v for i, v in enumerate(found)})
    for cores, scratchpad in ((1, 1 << 16), (3, 1024), (20, 2048)):
        check_fitting(made.module, made.inputs, cores, scratchpad)


def test_results_that_nobody_wants_have_no_memory() -> None:
    made = Made(3, 2)
    made.output(s=leaky(made, made.seq("x", 20))[3])
    x = made.seq("z", 20)

    def body(e: Builder, args: list[Value]) -> list[Value]:
        return [e.one("ew.neg", args[0]), e.one("ew.abs", args[0])]

    made.output(a=made.region("map", [x], [x.type, x.type], body)[1])
    check_all(made.module, made.inputs, machine(2))


@pytest.mark.parametrize("columns", [1, 16, 17, 48])
def test_spikes_without_rows(columns: int) -> None:
    made = Made(1, 1)
    x = made.input("x", tensor((columns,)))

    def body(e: Builder, args: list[Value]) -> list[Value]:
        return [e.one("ew.gt", args[0], e.one("ew.neg", args[0]))]

    made.output(s=made.region("map", [x], [tensor((columns,), "bit")], body)[0])
    check_all(made.module, made.inputs, machine(4))


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "last"])
@pytest.mark.parametrize("dtype", ["f16", "bit"])
def test_readouts(kind: str, dtype: str) -> None:
    made = Made(4, 3)
    x = made.seq("x", 18, dtype=dtype)
    made.output(y=made.b.one("phase.reduce_time", x, kind=kind))
    check_all(made.module, made.inputs, machine(2))


def test_maxima_over_time_of_zeros_and_nan() -> None:
    made = Made(4, 1)
    x = made.seq("x", 5)
    best, index = made.b.op("phase.argmax_time", x).results
    g = made.input("g", tensor((1, 5)))
    made.output(
        best=best,
        top=made.b.one("phase.reduce_time", x, kind="max"),
        g1=made.b.one("phase.select_time", g, index, steps=4),
        g2=made.b.one("phase.select_time", g, steps=4, at=3),
    )
    nan, inf = np.nan, np.inf
    made.inputs["x"] = np.array(
        [
            [[-0.0, 1.0, nan, -inf, 2.0]],
            [[0.0, nan, nan, -inf, 2.0]],
            [[0.0, 3.0, 1.0, -inf, 1.0]],
            [[-0.0, nan, 2.0, -inf, 0.0]],
        ],
        np.float32,
    )
    check_all(made.module, made.inputs, machine(2))


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("own_labels", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("classes", [1, 10, 33])
def test_cross_entropy(classes: int, smoothing: float, own_labels: bool, per_step: bool) -> None:
    made = Made(3, 4)
    shape = (4, classes)
    z = made.seq("z", classes) if per_step else made.input("z", tensor(shape))
    timed = own_labels and per_step
    y = made.input("y", seq((3, 4), "i32") if timed else tensor((4,), "i32"))
    terms, g = made.b.op(
        "phase.softmax_ce", z, y, scale=128.0, batch=4, smoothing=smoothing
    ).results
    made.output(loss=made.b.one("phase.total", terms, factor=0.25), g=g)
    for cores, scratchpad in ((1, 4096), (20, 2048)):
        check_all(made.module, made.inputs, machine(cores, scratchpad))


def _minus(e: Builder, args: list[Value]) -> list[Value]:
    return [e.one("ew.sub", *args[:2])]


def test_states_change_places_and_old_values_stay_readable() -> None:
    made = Made()
    a, b, c = (made.param(n, 5, 7, kind="state") for n in "abc")
    new = made.region("map", [a, b], [a.type], _minus)[0]
    later = made.region("map", [c, new], [c.type], _minus)[0]
    flat = made.b.one("phase.reshape", c, shape=(35,))
    made.store("a", b, "state")
    made.store("b", a, "state")
    made.store("c", later, "state")
    made.output(old_a=a, old_b=b, old_c=flat, new=new, later=later)
    expected = evaluate(clone(made.module), "step", made.inputs)
    for cores in (1, 4):
        check_all(made.module, made.inputs, machine(cores))
    assert np.array_equal(expected["state/a"], expected["old_b"])


def test_a_new_value_takes_the_place_of_the_old_one() -> None:
    made = Made()
    w, g = made.param("w", 20, 30), made.input("g", tensor((20, 30)))
    new = made.region("map", [w, g], [w.type], _minus)[0]
    made.store("w", new)
    made.output(flat=made.b.one("phase.reshape", new, shape=(600,)))
    work = clone(made.module)
    run_passes(work, "tile", machine(1))
    drams = [o for o in work.func("step").body.ops if o.name == "tile.dram"]
    assert [o.attrs["name"] for o in drams] == ["g", "w"]
    check_all(made.module, made.inputs, machine(3))


# ------------------------------------------------------------------------------------ limits


def needs(made: Made, target: Machine) -> int:
    """Return how much scratchpad the compiler asks for, 0 when what is there will do."""
    try:
        compiled(made.module, target)
    except CompileError as error:
        (found,) = error.diagnostics
        number = re.search(r"needs (\d+) bytes", found.message)
        return int(number.group(1)) if number and found.code == "E0401" else -1
    return 0


@pytest.mark.parametrize("name", ["dense", "scan", "loss"])
def test_the_smallest_scratchpad_is_the_one_that_the_error_names(name: str) -> None:
    if name == "dense":
        made = dense(3, 4, 100, 60)
    else:
        made = Made(3, 4)
        if name == "scan":
            made.output(s=leaky(made, made.seq("x", 50))[3])
        else:
            z, y = made.seq("z", 40), made.input("y", tensor((4,), "i32"))
            made.output(g=made.b.op("phase.softmax_ce", z, y, scale=1.0, batch=4).results[1])
    scratchpad, refused = 256, 0
    while (needed := needs(made, machine(2, scratchpad))) > scratchpad:
        scratchpad, refused = needed, refused + 1
    assert 1 <= refused <= 4
    check_all(made.module, made.inputs, machine(2, scratchpad))


def test_the_length_of_programs_depends_neither_on_steps_nor_on_batch() -> None:
    def lengths(steps: int, batch: int) -> list[int]:
        made = dense(steps, batch, 40, 30)
        made.output(s=leaky(made, made.seq("z", 30))[3])
        program = compiled(made.module, machine(2, 4096))
        return [len(c.code) for c in program.cores]

    many = [lengths(40, 64), lengths(80, 64), lengths(40, 128), lengths(160, 256)]
    assert max(max(n) for n in many) <= 1.3 * max(many[0])


def test_a_product_of_binary32_is_refused() -> None:
    made = Made()
    x = made.seq("x", 20, dtype="f32")
    made.output(y=made.b.one("phase.linear", x, made.param("w", 20, 5)))
    with pytest.raises(CompileError) as caught:
        compiled(made.module, machine(1))
    assert caught.value.diagnostics[0].code == "E0402"


def test_iterations_may_run_in_any_order() -> None:
    made = dense(3, 4, 50, 70)
    expected = evaluate(clone(made.module), "step", made.inputs)
    run_passes(made.module, TILE, machine(7, 2048))
    for order in range(5):
        same(expected, evaluate_tiled(made.module, made.inputs, order=order), f"order {order}")

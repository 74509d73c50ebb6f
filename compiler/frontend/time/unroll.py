"""From the flat graph to the rolled step: inputs, steps, states, outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from snncc.compiler.diag import CompileError, DiagnosticSink
from snncc.compiler.frontend.flat.flat import FlatGraph, Shape, Val
from snncc.compiler.frontend.time.checks import refuse, run_checks
from snncc.compiler.frontend.time.counting import count_steps, cut_values
from snncc.compiler.frontend.time.per_step import parameters_by_step
from snncc.compiler.frontend.time.prologue import take_from_file
from snncc.compiler.frontend.time.results import Attempt, Results, hidden_steps
from snncc.compiler.frontend.time.roll import Roller
from snncc.compiler.frontend.time.rolled import RNode, make
from snncc.compiler.frontend.time.states import pair_states
from snncc.compiler.frontend.time.timing import Lay, Layouts
from snncc.compiler.frontend.time.whole import refuse_whole_recurrences
from snncc.compiler.ir.core import Value

MAX_ROUNDS = 8
"""How often first steps are replaced by what the file computes, and what follows is checked."""
MAX_APART = 6000
"""Nodes of a file up to which steps that are not alike are taken each by itself."""


ATTEMPTS = (
    Attempt(),
    Attempt(3),
    Attempt(1, prologue=True),
    Attempt(3, prologue=True),
    Attempt(3, prologue=True, selected=True),
    Attempt(3, prologue=True, selected=True, apart=True),
)


@dataclass(slots=True)
class Output:
    """A result of the model: its step, and where the file has the time axis (None: nowhere)."""

    name: str
    node: RNode
    lay: Lay | None
    shape: Shape
    state: bool = False


@dataclass(slots=True)
class Rolled:
    """The rolled model."""

    steps: int
    """Steps that the file holds; 1 for a step graph."""
    outputs: list[Output] = field(default_factory=list[Output])
    time_inputs: dict[int, Lay] = field(default_factory=dict[int, Lay])
    states: dict[int, Val] = field(default_factory=dict[int, Val])
    single: bool = False
    """The file holds one step, and its input an axis of size one for it."""
    stands: list[tuple[RNode, int, tuple[int, ...]]] = field(
        default_factory=list[tuple[RNode, int, tuple[int, ...]]]
    )
    """Node, its first step, and the numbers of the flat values that it stands for."""
    written: dict[int, Value] = field(default_factory=dict[int, Value])
    """What the module writer made of the nodes, by their numbers."""


def roll_model(
    flat: FlatGraph,
    steps: int | None,
    time_axis: int | None,
    merged: bool,
    sink: DiagnosticSink,
) -> Rolled:
    """Roll a flat graph; ``merged``: samples and steps share axis 0 of the input."""
    held = count_steps(flat, steps)
    states = pair_states(flat) if held == 1 else {}
    if held == 1 and not states and steps and steps > 1:
        held = hidden_steps(flat, steps)
    data = [v for v in flat.inputs if v.id not in states]
    time_inputs: dict[int, Lay] = {}
    single = False
    if time_axis is not None and data:
        x = data[0]
        if held == 1 and not states and x.shape[time_axis : time_axis + 1] == (steps,):
            held, single = steps or 1, steps == 1  # all steps at once, none of them cut out
        elif merged and held == 1 and not states and steps and x.shape[0] % steps == 0:
            held = steps
        if held == 1:
            time_inputs[x.id] = Lay(time_axis)
        elif merged:
            time_inputs[x.id] = Lay(0, x.shape[0] // held, 1)
        elif time_axis < len(x.shape) and x.shape[time_axis] == held:
            time_inputs[x.id] = Lay(time_axis)
    problem: CompileError | None = None
    for attempt in ATTEMPTS if held > 1 else ATTEMPTS[:1]:
        if attempt.apart and not _may_be_apart(flat, held, steps, time_inputs):
            break
        layouts = Layouts(held, dict(time_inputs), cut_values(flat, held) if held > 1 else {})
        inputs = layouts.inputs
        roller = Roller(flat, held, layouts, states, inputs, merged, attempt.depth, single)
        roller.apart = attempt.apart
        try:
            rolled = _roll(roller, attempt)
        except CompileError as error:
            problem = problem or error
            if all(d.code != "E0107" for d in error.diagnostics):
                break
            continue
        if attempt.apart:
            assert problem is not None
            sink.warning(
                "E0111",
                f"the {held} steps of the file are not alike, so each is compiled by itself: "
                f"{problem.diagnostics[0].message}",
                problem.diagnostics[0].where,
                help="code and compile time grow with the number of steps",
            )
        return rolled
    assert problem is not None
    raise problem


def _may_be_apart(
    flat: FlatGraph, held: int, steps: int | None, time_inputs: dict[int, Lay]
) -> bool:
    """Whether the steps of a file can be taken each by itself: their number must be certain."""
    data = [v for v in flat.inputs if v.id in time_inputs]
    return steps == held and len(data) > 0 and len(flat.nodes) <= MAX_APART


def _roll(roller: Roller, attempt: Attempt) -> Rolled:
    flat, held, layouts = roller.flat, roller.steps, roller.layouts
    states, time_inputs = roller.states, roller.time_inputs
    result = Rolled(held, time_inputs=time_inputs, states=states)
    result.single = roller.single
    final = Results(roller, attempt)
    wanted = set(v.id for v in states.values())
    found: dict[int, Output] = {}
    places = [layouts.find(v) if held > 1 and not attempt.apart else None for v in flat.outputs]
    # results over time first: what they define helps to read those of the last step
    for k in sorted(range(len(places)), key=lambda k: places[k] is None):
        name, v, lay = flat.output_names[k], flat.outputs[k], places[k]
        if roller.single:
            node, lay = _single_step(roller, v)
        elif held == 1:
            node = roller.tuple_(0, (v,))
            lay = Lay(0)
        elif lay is not None:
            node = roller.stacked(v, lay)
        else:
            node = final.node(v)
        found[k] = Output(name, node, lay, v.shape, v.id in wanted)
        roller.run()
    result.outputs = [found[k] for k in range(len(places))]
    failing = run_checks(roller, search=not attempt.prologue)
    for _ in range(MAX_ROUNDS if attempt.prologue else 0):
        if failing:
            take_from_file(roller, failing)
            failing = run_checks(roller, search=False)
    refuse(roller, failing)
    refuse_whole_recurrences(roller, [o.node for o in result.outputs])
    parameters_by_step(roller.memo.values())
    result.stands = [
        (n, n.start, tuple(v.id for v in n.vals) or ((n.val.id,) if n.val is not None else ()))
        for key, n in roller.memo.items()
        if key[0] != "delay"
    ]
    result.stands += [(n, -1, (i,)) for i, n in final.memo.items()]
    return result


def _single_step(roller: Roller, v: Val) -> tuple[RNode, Lay | None]:
    """Return a result of a file that holds one step, and its time axis, of size one, if any.

    That axis lies where the input has it, before what the samples have.
    """
    x, lay = next((x, roller.time_inputs[x.id]) for x in roller.flat.inputs
                  if x.id in roller.time_inputs)  # fmt: skip
    node, k = roller.tuple_(0, (v,)), lay.axis
    samples = (*x.shape[:k], *x.shape[k + 1 :])[:1]
    step = (*v.shape[:k], *v.shape[k + 1 :])
    if v.shape[k : k + 1] == (1,) and step[:1] == samples:
        return make("View", step, v.dtype, [node]), lay
    return make("TimeReduce", v.shape, v.dtype, [node], kind="last"), None

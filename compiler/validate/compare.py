"""The comparison of an import with an independent evaluation of its file.

A :class:`Reference` knows what the file says and evaluates it, in an arithmetic that it is given:
DSL, NIR and ONNX files have one each, written without the front end's recognition and rewriting.
:func:`compare` draws inputs, evaluates both sides and raises ``E0114`` where they differ:

* **smooth** (two draws, :class:`~snncc.compiler.validate.arithmetic.Smooth`): every parameter is
  moved under its name on both sides, spikes are smooth, and every number carries
  its derivative along one random direction of all inputs and parameters.  Equal values and equal
  derivatives mean the same network with the same gradients: lost or untied parameters, other
  arguments of spike functions, dropped clamps, resets detached in another place all show.
* **hard** (two draws, plain float64): inputs at 3 and at 30 times the usual scale, of both signs,
  zeros and ones mixed in.  Where outputs differ although a spike came within ``TIE`` of its
  threshold, other inputs are drawn.
* **structure**: every parameter that an output of the file depends on is one of the import's, with
  the file's values, and spikes at the threshold itself fall as the file's do.

What a reference cannot evaluate it raises as :class:`NotValidated`; the caller must tell the user.

    report = compare(module, reference, Settings())      # module: graph stage, as imported

``inputs`` reach a reference in the layout of the module's arguments (a sequence has time first,
then the batch: ``[T, B, ...]``), as float64 or complex numbers; outputs are expected in the layout
of the file, which is what ``interp.layout.in_file_layout`` makes of the module's.  ``parameters``
are named and shaped as the file has them.  A copy ``NAME#2`` of a module's parameter moves with
``NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from snncc.compiler.diag import CompileError, Diagnostic, fail
from snncc.compiler.ir.core import Module
from snncc.compiler.validate import draws
from snncc.compiler.validate.arithmetic import STEP, TIE, Arithmetic, Array, Hard, Smooth
from snncc.compiler.validate.import_side import (
    Spikes,
    evaluate_import,
    prepared,
    reset_modes,
    spikes_of,
)
from snncc.compiler.validate.locate import first_difference

CODE = "E0114"
HELP = (
    "this is a limit of snncc's front end, not a fault of the model: write the part that the "
    "message names in another way, or report the file; --no-validate compiles it as it was read"
)
MESSAGE = "the import does not compute what the file computes"
TOLERANCE = 1e-6
"""Largest difference, relative to the largest element, that roundings of constants explain."""
REDRAWS = 8
FORWARD = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Scales of the inputs at which plain values must agree where the smooth comparison fails and
nobody asks for gradients."""


class NotValidated(Exception):
    """A reference cannot evaluate its file; the text says what it met, and where."""


@dataclass(frozen=True)
class Evaluation:
    """What a reference computed.

    ``outputs``: by the name that the module's ``graph.output`` has, in the file's layout.
    ``places``: node names and their results in order of evaluation, to say where a difference
    begins; may be empty.  ``states``: outputs that a step hands to the next one; the import may
    lack them, for its own states need not be the file's.
    """

    outputs: Mapping[str, Array]
    places: Sequence[tuple[str, Array]] = ()
    states: frozenset[str] = frozenset()


class Reference(Protocol):
    """An independent evaluator of one file."""

    @property
    def file(self) -> str:
        """Path of the file, for messages."""
        ...

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Parameters as the file names and shapes them, float64."""
        ...

    @property
    def constants(self) -> frozenset[str]:
        """Names among the parameters that the import may take for plain numbers."""
        ...

    def evaluate(
        self,
        inputs: Mapping[str, Array],
        parameters: Mapping[str, Array],
        arithmetic: Arithmetic,
    ) -> Evaluation:
        """Evaluate the file with these parameters; NotValidated when that is not possible."""
        ...

    def needed(self) -> frozenset[str]:
        """Names of the parameters that an output depends on; asked after ``evaluate``."""
        ...

    def other_threshold(self, spikes: Sequence[Spikes]) -> str:
        """Name a layer that compares strictly where the import does not, or the other way round.

        Asked after the smooth comparison, with what each layer of the import fires there; empty
        when there is none.
        """
        ...

    def decide_resets(self, spikes: Sequence[Spikes], point: draws.Point) -> None:
        """Learn which resets are detached, where layers differ; asked before ``evaluate``."""
        ...


@dataclass(frozen=True)
class Settings:
    """What to compare: the draws, and what decides about gradients."""

    smooth: tuple[float, ...] = (1.0, 4.0)
    """Scales of inputs and of what moves parameters in the smooth comparisons."""
    hard: tuple[float, ...] = (3.0, 30.0)
    detached: bool | None = True
    """What becomes of resets in a module that no configuration was applied to; None: the module is
    configured, and each of its layers says it."""
    batch_statistics: bool = False
    seed: int = 1
    tolerance: float = TOLERANCE
    """Largest difference, relative to the largest element of a result."""
    gradients: bool = True
    """Whether other gradients are a reason to refuse; False where the model only infers."""
    kinds: Mapping[str, str] = field(default_factory=dict[str, str])
    """``integer`` or ``truth`` for the inputs that are no real numbers."""


@dataclass
class Report:
    """What was compared: number of evaluations by kind, and what could not be decided."""

    smooth: int = 0
    hard: int = 0
    remarks: list[str] = field(default_factory=list[str])
    other_gradients: str = ""
    """Why the import can only infer: what differs although plain values agree."""


def compare(module: Module, reference: Reference, settings: Settings) -> Report:
    """Compare a graph module with its file; E0114 where they differ.

    Without ``settings.gradients`` only other results are a difference; what else differs is said in
    ``Report.other_gradients``.
    """
    return _Comparison(module, reference, settings).run()


class _Comparison:
    def __init__(self, module: Module, reference: Reference, settings: Settings) -> None:
        self.reference, self.settings = reference, settings
        self.report = Report()
        statistics = settings.batch_statistics
        self.side = prepared(module, detached=settings.detached, batch_statistics=statistics)
        self.shared = draws.shared_parameters(self.side, reference)

    def run(self) -> Report:
        """Make all comparisons."""
        _values(self.side, self.reference)
        try:
            self.differentiable()
        except CompileError as error:
            if self.settings.gradients:
                raise
            self.forward(error)
            return self.report
        for k, scale in enumerate(self.settings.hard):
            self.hard(scale, self.settings.seed + 100 * (k + 1))
        return self.report

    def differentiable(self) -> None:
        """Compare what decides about values and gradients alike."""
        for k, scale in enumerate(self.settings.smooth):
            self.smooth(scale, self.settings.seed + k)
        _structure(self.side, self.reference)

    def forward(self, found: CompileError) -> None:
        """Compare values alone; ``found``: what differs beside them.

        Plain spikes hide small differences, so values are compared where spikes are smooth, too,
        with the parameters of the file and without derivatives.
        """
        self.report.smooth = 0
        for k, scale in enumerate(self.settings.smooth):
            point = self.draw(scale, self.settings.seed + 500 + k, False)
            _evaluate(self.side, self.reference, point, Smooth(), self.settings.tolerance)
        for k, scale in enumerate(FORWARD):
            self.hard(scale, self.settings.seed + 1000 * (k + 1))
        if self.report.hard <= len(FORWARD) // 2:  # ties: too few values were compared
            raise found
        self.same_thresholds()
        told = found.diagnostics[0]
        self.report.other_gradients = "; ".join(
            (f"{told.where}: {told.message}", *map(str, told.notes))
        )

    def draw(self, scale: float, seed: int, derivatives: bool) -> draws.Point:
        kinds = self.settings.kinds
        return draws.draw(self.side, self.shared, scale, seed, derivatives=derivatives, kinds=kinds)

    def smooth(self, scale: float, seed: int) -> None:
        """Compare values and derivatives where spikes are smooth."""
        point = self.draw(scale, seed, True)
        detached = self.settings.detached
        if detached is None:
            modes = reset_modes(self.side)
            detached = modes != {"attached"}
            if len(modes) > 1:
                self.reference.decide_resets(spikes_of(self.side, point, Smooth()), point)
        _evaluate(
            self.side, self.reference, point, Smooth(detached=detached), self.settings.tolerance
        )
        self.report.smooth += 1
        if self.report.smooth == 1:
            self.same_thresholds(point)

    def same_thresholds(self, point: draws.Point | None = None) -> None:
        """Compare whether spikes at the threshold itself fall, with what fires at a point."""
        if point is None:
            point = self.draw(1.0, self.settings.seed, True)
            self.reference.evaluate(point.inputs, point.file_parameters, Smooth())
        every = spikes_of(self.side, point, Smooth())
        fires = [each for each in every if each.compare in ("strict", "non_strict")]
        place = self.reference.other_threshold(fires)
        if place:
            where = f"{self.reference.file}:{place}"
            text = f"{MESSAGE}: whether a membrane that equals its threshold fires"
            fail(CODE, text, where, help=HELP)

    def hard(self, scale: float, seed: int) -> None:
        """Compare plain values; draw again where a tie may explain a difference."""
        for again in range(REDRAWS):
            point = self.draw(scale, seed + again, False)
            if _evaluate(
                self.side,
                self.reference,
                point,
                Hard(),
                self.settings.tolerance,
                or_tie=True,
            ):
                self.report.hard += 1
                return
        self.report.remarks.append(
            f"inputs of scale {scale:g} bring spikes to within {TIE:g} of their thresholds: values "
            f"were not compared there"
        )


def _evaluate(
    side: Module,
    reference: Reference,
    point: draws.Point,
    arithmetic: Arithmetic,
    tolerance: float,
    or_tie: bool = False,
) -> bool:
    """Compare both sides at one point; False where only a tie may explain a difference."""
    with np.errstate(all="ignore"):
        wanted = reference.evaluate(point.inputs, point.file_parameters, arithmetic)
        margin = arithmetic.margin
        found = evaluate_import(side, point.inputs, point.module_parameters, arithmetic)
    for name, value in wanted.outputs.items():
        ours = found.get(name)
        if ours is None and name in wanted.states:
            continue
        if ours is None:
            fail(CODE, f"the import lacks the output {name!r}", reference.file, help=HELP)
        theirs, ours = np.asarray(value), np.asarray(ours)
        if ours.shape == (1, *theirs.shape):  # a file of a single step has no axis for time
            ours = ours[0]
        what = difference(theirs, ours, tolerance)
        if what is None:
            continue
        if or_tie and margin <= TIE:
            return False
        _refuse(side, reference, point, arithmetic, name, what, wanted)
    return True


def _refuse(
    side: Module,
    reference: Reference,
    point: draws.Point,
    arithmetic: Arithmetic,
    output: str,
    what: str,
    wanted: Evaluation,
) -> None:
    place, words = first_difference(side, point, arithmetic, wanted.places)
    where = f"{reference.file}:{place}" if place else reference.file
    notes = [f"output {output!r}: {what}", f"found in {point.words}", *words]
    fail(CODE, MESSAGE, where, notes=notes, help=HELP)


def difference(theirs: Array, ours: Array, tolerance: float = TOLERANCE) -> str | None:
    """Say how two results differ, None where they agree: first the values, then the derivatives."""
    if theirs.shape != ours.shape:
        return f"the file gives shape {list(theirs.shape)}, the import {list(ours.shape)}"
    for kind, a, b in (
        ("", np.real(theirs), np.real(ours)),
        ("derivative ", np.imag(theirs) / STEP, np.imag(ours) / STEP),
    ):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        finite = np.isfinite(a)
        size = float(np.abs(a[finite]).max(initial=0.0))
        same = np.where(finite, np.abs(a - b) <= tolerance * max(size, 1e-30), _alike(a, b))
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            place = f" at {list(at)}" if at else ""
            return f"the file gives {kind}{float(a[at]):.9g}{place}, the import {float(b[at]):.9g}"
    return None


def _alike(a: Array, b: Array) -> Array:
    """Whether values that are not finite agree."""
    return np.asarray((np.isnan(a) & np.isnan(b)) | (a == b))


def _values(side: Module, reference: Reference) -> None:
    """The parameters of the import hold what the file holds under their names."""
    for op in side.walk():
        if op.name != "graph.param":
            continue
        name = op.str_attr("name").partition("#")[0]
        array = reference.parameters.get(name)
        held = np.asarray(side.resources[op.str_attr("resource")], np.float64)
        placed = draws.in_module_layout(op, array) if array is not None else None
        if placed is None or placed.size != held.size:
            continue
        if not np.allclose(placed.reshape(held.shape), held, rtol=1e-5, atol=1e-30, equal_nan=True):
            where = f"{reference.file}:{name}"
            fail(CODE, f"{MESSAGE}: {name} has other values in it", where, help=HELP)


class LostParameters(CompileError):
    """Parameters of a file that the import holds as numbers."""

    def __init__(self, names: Sequence[str], diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(diagnostics)
        self.names = tuple(names)


def _structure(side: Module, reference: Reference) -> None:
    """Every parameter that an output depends on is one of the import's, and only one."""
    held: set[str] = set()
    copies: set[str] = set()
    for op in side.walk():
        if op.name == "graph.param":
            name, _, number = op.str_attr("name").partition("#")
            held.add(name)
            array = reference.parameters.get(name)
            if number and array is not None and not draws.is_uniform(array):
                copies.add(name)
        sources = op.attrs.get("sources")
        if isinstance(sources, Mapping):
            held.update(str(s) for s in sources.values())
    lost = sorted(reference.needed() - held - reference.constants)
    if lost:
        why = "outputs depend on it, so it would stay as it is when the model is trained"
        try:
            _misshapen(reference, lost, "is no parameter of it", "are no parameters of it", why)
        except CompileError as error:
            raise LostParameters(lost, error.diagnostics) from None
    if copies:
        one, many = "is several parameters in it", "are several parameters each in it"
        why = "what the file shares would be trained apart"
        _misshapen(reference, sorted(copies), one, many, why)


def _misshapen(reference: Reference, names: list[str], one: str, many: str, why: str) -> None:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    what = f"{shown} {one if len(names) == 1 else many}"
    fail(CODE, f"{MESSAGE}: {what}", f"{reference.file}:{names[0]}", notes=[why], help=HELP)

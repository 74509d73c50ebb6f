"""The comparison of an import with an independent evaluation of its file.

A :class:`Reference` knows what the file says and evaluates it, in an arithmetic that it is given:
DSL, NIR and ONNX files have one each, written without the front end's recognition and rewriting.
:func:`compare` draws inputs, evaluates both sides and raises ``E0114`` where they differ:

* **smooth** (one draw, :class:`~snncc.compiler.validate.arithmetic.Smooth`): every parameter is
  moved by a few per cent under its name on both sides, spikes are smooth, and every number carries
  its derivative along one random direction of all inputs and parameters.  Equal values and equal
  derivatives mean the same network with the same gradients: lost or untied parameters, other
  arguments of spike functions, dropped clamps, resets detached in another place all show.
* **hard** (two draws, plain float64): inputs at 3 and at 30 times the usual scale, of both signs,
  zeros and ones mixed in.  Where outputs differ although a spike came within ``TIE`` of its
  threshold, other inputs are drawn.
* **structure**: every parameter that an output of the file depends on is one of the import's.

What a reference cannot evaluate it raises as :class:`NotValidated`; the caller must tell the user.

    report = compare(module, reference, Settings())      # module: graph stage, as imported

``inputs`` reach a reference in the layout of the module's arguments (a sequence has time first, then
the batch: ``[T, B, ...]``), as float64 or complex numbers; outputs are expected in the layout of the
file, which is what ``interp.layout.in_file_layout`` makes of the module's.  ``parameters`` are named
and shaped as the file has them.  A copy ``NAME#2`` of a module's parameter moves with ``NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Module
from snncc.compiler.validate import draws
from snncc.compiler.validate.arithmetic import STEP, TIE, Arithmetic, Array, Hard, Smooth
from snncc.compiler.validate.import_side import evaluate_import, prepared
from snncc.compiler.validate.locate import first_difference

CODE = "E0114"
HELP = (
    "this is a limit of snncc's front end, not a fault of the model: write the part that the "
    "message names in another way, or report the file; --no-validate compiles it as it was read"
)
TOLERANCE = 1e-6
"""Largest difference, relative to the largest element, that roundings of constants explain."""
REDRAWS = 8


class NotValidated(Exception):
    """A reference cannot evaluate its file; the text says what it met, and where."""


@dataclass(frozen=True)
class Evaluation:
    """What a reference computed.

    ``outputs``: by the name that the module's ``graph.output`` has, in the file's layout.
    ``places``: node names and their results in order of evaluation, to say where a difference
    begins; may be empty.
    """

    outputs: Mapping[str, Array]
    places: Sequence[tuple[str, Array]] = ()


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


@dataclass(frozen=True)
class Settings:
    """What to compare: the draws, and what decides about gradients."""

    smooth: bool = True
    hard: tuple[float, ...] = (3.0, 30.0)
    detached: bool = True
    batch_statistics: bool = False
    seed: int = 1


@dataclass
class Report:
    """What was compared: number of evaluations by kind, and what could not be decided."""

    smooth: int = 0
    hard: int = 0
    remarks: list[str] = field(default_factory=list[str])


def compare(module: Module, reference: Reference, settings: Settings) -> Report:
    """Compare a graph module with its file; E0114 where they differ."""
    report = Report()
    side = prepared(module, detached=settings.detached, batch_statistics=False)
    shared = draws.shared_parameters(side, reference)
    if settings.smooth:
        if settings.batch_statistics:
            side = prepared(module, detached=settings.detached, batch_statistics=True)
        smooth = Smooth(detached=settings.detached)
        point = draws.draw(side, shared, 1.0, settings.seed, derivatives=True)
        _evaluate(side, reference, point, smooth)
        report.smooth += 1
        if settings.batch_statistics:
            side = prepared(module, detached=settings.detached, batch_statistics=False)
    for k, scale in enumerate(settings.hard):
        _hard(side, reference, shared, scale, settings.seed + 100 * (k + 1), report)
    _structure(side, reference)
    return report


def _hard(
    side: Module,
    reference: Reference,
    shared: draws.Shared,
    scale: float,
    seed: int,
    report: Report,
) -> None:
    """Compare plain values; draw again where a tie may explain a difference."""
    for again in range(REDRAWS):
        arithmetic = Hard()
        point = draws.draw(side, shared, scale, seed + again, derivatives=False)
        if _evaluate(side, reference, point, arithmetic, or_tie=True):
            report.hard += 1
            return
    report.remarks.append(
        f"inputs of scale {scale:g} bring spikes to within {TIE:g} of their thresholds: values "
        f"were not compared there"
    )


def _evaluate(
    side: Module,
    reference: Reference,
    point: draws.Point,
    arithmetic: Arithmetic,
    or_tie: bool = False,
) -> bool:
    """Compare both sides at one point; False where only a tie may explain a difference."""
    with np.errstate(all="ignore"):
        wanted = reference.evaluate(point.inputs, point.file_parameters, arithmetic)
        margin = arithmetic.margin
        found = evaluate_import(side, point.inputs, point.module_parameters, arithmetic)
    for name, value in wanted.outputs.items():
        ours = found.get(name)
        if ours is None:
            fail(CODE, f"the import lacks the output {name!r}", reference.file, help=HELP)
        what = difference(np.asarray(value), np.asarray(ours))
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
    fail(CODE, "the import does not compute what the file computes", where, notes=notes, help=HELP)


def difference(theirs: Array, ours: Array) -> str | None:
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
        same = np.where(finite, np.abs(a - b) <= TOLERANCE * max(size, 1e-30), _alike(a, b))
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            place = f" at {list(at)}" if at else ""
            return f"the file gives {kind}{float(a[at]):.9g}{place}, the import {float(b[at]):.9g}"
    return None


def _alike(a: Array, b: Array) -> Array:
    """Whether values that are not finite agree."""
    return (np.isnan(a) & np.isnan(b)) | (a == b)


def _structure(side: Module, reference: Reference) -> None:
    held = {op.str_attr("name").partition("#")[0] for op in side.walk() if op.name == "graph.param"}
    lost = sorted(reference.needed() - held - reference.constants)
    if lost:
        names = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        fail(
            CODE,
            f"the import does not compute what the file computes: {names} "
            f"{'is no parameter' if len(lost) == 1 else 'are no parameters'} of it",
            f"{reference.file}:{lost[0]}",
            notes=["outputs depend on it, so it would stay as it is when the model is trained"],
            help=HELP,
        )

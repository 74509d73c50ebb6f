"""Comparing the import of an ONNX file with the file, within a budget.

A file says its batch size, or leaves it open; the import may have another one, or other steps than
the file holds.  The file is then imported again at a size that it can be executed at, and the two
imports must consist of the same ops with the same attributes, sizes excepted.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from snncc.compiler.config.config import Config
from snncc.compiler.diag import CompileError, fail
from snncc.compiler.ir.clone import clone
from snncc.compiler.ir.core import Attribute, Module, Op
from snncc.compiler.ir.training import uses_batch_statistics
from snncc.compiler.passes.graph.configure import configure
from snncc.compiler.validate.compare import (
    CODE,
    HELP,
    NotValidated,
    Report,
    Settings,
    compare,
)
from snncc.compiler.validate.judge import judge
from snncc.compiler.validate.onnx.reference import OnnxReference
from snncc.compiler.validate.verdict import Verdict
from snncc.compiler.validate.work import products

SMALL = 3_000_000
"""Products up to which an import is compared at the batch size that it has."""
MEDIUM = 2_000_000
"""Products from which on values and gradients are compared once, not twice."""
LARGE = 4_000_000_000
"""Products from which on plain values are compared once, not twice."""
FEW_STEPS = 6
"""Steps of a large file that holds a single one."""

Build = Callable[[int | None, int | None], Module]
"""Imports the file again: batch and steps, None: as the file has them."""


def check_onnx(
    module: Module, path: Path, config: Config, build: Build, *, gradients: bool = True
) -> Verdict:
    """Compare a graph module, as imported, with its file; E0114 where they differ.

    ``gradients``: whether other gradients alone are a difference.
    """
    return judge(lambda: _check(module, path, config, build, gradients))


def _check(module: Module, path: Path, config: Config, build: Build, gradients: bool) -> Report:
    twin = _twin(module, path, build)
    side = clone(twin)
    try:
        configure(side, config)
    except CompileError as error:
        raise NotValidated("the configuration does not fit the model") from error
    statistics = uses_batch_statistics(side) and _normalises(side)
    reference = OnnxReference(
        path, twin, batch_statistics=statistics, trained=config.texts("parameters.train")
    )
    work = products(twin)
    settings = Settings(
        smooth=(1.0, 4.0) if work < MEDIUM else (1.0,),
        hard=(3.0, 30.0) if work < LARGE else (3.0,),
        detached=None,
        batch_statistics=statistics,
        gradients=gradients,
        kinds=reference.kinds,
    )
    return compare(side, reference, settings)


def _normalises(module: Module) -> bool:
    return any(op.name == "graph.batchnorm" for op in module.walk())


def _twin(module: Module, path: Path, build: Build) -> Module:
    """Return the import at a size that the file can be executed at, and not too large."""
    reference = OnnxReference(path, module, batch_statistics=False)
    batch: int | None = module.batch
    steps: int | None = module.steps
    sized = reference.fixed_sizes()
    if not sized.fits_batch:
        batch = None
    if not sized.fits_steps:
        steps = None
    if products(module) > SMALL:
        if sized.open_batch and module.batch > 2:
            batch = 2
        if sized.one_step and module.steps > FEW_STEPS:
            steps = FEW_STEPS
    if (batch, steps) == (module.batch, module.steps):
        return module
    twin = build(batch, steps)
    _same_ops(module, twin, path)
    return twin


def _same_ops(module: Module, twin: Module, path: Path) -> None:
    for ours, other in zip_longest(module.walk(), twin.walk()):
        if ours is None or other is None or _said(ours) != _said(other):
            place = str(getattr(ours or other, "loc", ""))
            fail(
                CODE,
                "the import depends on the batch size or the steps in more than sizes",
                str(path),
                notes=[f"first at {place}"],
                help=HELP,
            )


_SIZES = frozenset(("steps", "shape", "ends", "starts", "value", "resource"))


def _said(op: Op) -> tuple[str, dict[str, Attribute]]:
    """Return an op's name and attributes but those that hold sizes."""
    return op.name, {k: v for k, v in op.attrs.items() if k not in _SIZES}

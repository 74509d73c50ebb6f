"""The passes: each registers itself, and every module under ``compiler/passes/*/`` is one.

    @dataclass(frozen=True, slots=True)
    class Options:
        limit: int = 8

    @compiler_pass(takes="graph")
    def run(module: Module, options: Options, context: PassContext) -> bool:
        '''Fold constants.'''   # the summary
        ...
        return changed

The name is the file's name in kebab-case.  Modules whose name begins with ``_`` are shared helpers.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

from snncc.compiler.diag import Where, fail
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.opdef import STAGES
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.options import (
    NoOptions,
    OptionText,
    check_options_class,
    read_options,
)

__all__ = [
    "NoOptions",
    "Pass",
    "PassContext",
    "compiler_pass",
    "load_passes",
    "lookup",
    "passes",
    "unregister",
]

PASSES_PACKAGE = "snncc.compiler.passes"
OptionsT = TypeVar("OptionsT")
Run: TypeAlias = Callable[[Module, PassContext], bool]
RunWith: TypeAlias = Callable[[Module, OptionsT, PassContext], bool]


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """A registered pass.  ``takes`` lists the stages it works on, ``gives`` is '' for the same."""

    name: str
    summary: str
    doc: str
    takes: tuple[str, ...]
    gives: str
    options: type
    bind: Callable[[Mapping[str, OptionText]], tuple[object, Run]]
    """Reads options; returns them and the function to run."""


_passes: dict[str, Pass] = {}
_loaded: list[str] = []


def compiler_pass(
    *,
    takes: str | tuple[str, ...],
    gives: str = "",
    options: type[OptionsT] | None = None,
    summary: str = "",
    name: str = "",
) -> Callable[[RunWith[OptionsT]], RunWith[OptionsT]]:
    """Register a pass function ``run(module, options, context) -> changed``.

    The options dataclass (:class:`NoOptions` for none) is that of the annotation, the summary the
    first line of the function's docstring, unless given.
    """
    stages = (takes,) if isinstance(takes, str) else takes
    unknown = {*stages, gives or STAGES[0]} - set(STAGES)
    if unknown:
        raise ValueError(f"unknown stages {sorted(unknown)}; there are {STAGES}")

    def decorate(run: RunWith[OptionsT]) -> RunWith[OptionsT]:
        chosen = name or run.__module__.rpartition(".")[2].replace("_", "-")
        hinted = cast("type[OptionsT]", typing.get_type_hints(run)["options"])
        kind = hinted if options is None else options
        check_options_class(kind)

        def bind(given: Mapping[str, OptionText]) -> tuple[object, Run]:
            bound = read_options(kind, given, chosen)
            return bound, lambda module, context: run(module, bound, context)

        doc = inspect.getdoc(sys.modules[run.__module__]) or ""
        said = summary or (inspect.getdoc(run) or doc).partition("\n")[0]
        if not said:
            raise ValueError(f"pass {chosen} has no docstring")
        if chosen in _passes:
            raise ValueError(f"pass {chosen} is registered twice")
        _passes[chosen] = Pass(chosen, said, doc, stages, gives, kind, bind)
        return run

    return decorate


def unregister(name: str) -> None:
    """Forget a pass; for tests that register their own."""
    del _passes[name]


def load_passes() -> None:
    """Import every module right in a folder of ``compiler/passes``, once; no kit."""
    if _loaded:
        return
    package = importlib.import_module(PASSES_PACKAGE)
    for folder in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if not folder.ispkg or folder.name.startswith("_"):
            continue
        inner = importlib.import_module(f"{PASSES_PACKAGE}.{folder.name}")
        for found in sorted(m.name for m in pkgutil.iter_modules(inner.__path__) if not m.ispkg):
            importlib.import_module(f"{inner.__name__}.{found}")
    _loaded.append(PASSES_PACKAGE)


def passes() -> dict[str, Pass]:
    """Return all passes by name, sorted."""
    load_passes()
    return dict(sorted(_passes.items()))


def lookup(name: str, where: Where = "", others: tuple[str, ...] = ()) -> Pass:
    """Return a pass; an unknown name is a diagnostic (``others``: names to suggest as well)."""
    found = passes().get(name)
    if found is None:
        close = difflib.get_close_matches(name, [*_passes, *others], 3)
        help_ = f"did you mean {' or '.join(close)}?" if close else "see snncc opt --list-passes"
        fail("E0001", f"there is no pass {name}", where, help=help_)
    return found

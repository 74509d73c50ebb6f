# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""How kernels are compiled, and where the machine code is kept.

Numba keys its cache by the file of a kernel alone, but these kernels are made of what several files
say.  So each state of all of them has a folder of its own, named by a fingerprint: code of another
version is never run.  The place is ``$NUMBA_CACHE_DIR``, else ``$XDG_CACHE_HOME/snncc``, else
``~/.cache/snncc``; where none can be written, kernels are compiled in every process.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import config, njit
from numba.core import typeinfer
from numba.core.dispatcher import Dispatcher
from numba.core.runtime.nrt import rtsys

from snncc.isasim.engines.emit import HALF_INSTRUCTIONS, WIDE

SOURCES = ("emit", "kernel_cache", "kernels_*", "lane_code", "lane_fused", "lane_ops")


def fingerprint() -> str:
    """Return a digest of everything that decides the machine code, except the CPU."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for file in sorted(here.glob(f"{pattern}.py")):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    versions = (numba.__version__, llvmlite.__version__, HALF_INSTRUCTIONS, WIDE)
    digest.update(repr(versions).encode())
    return digest.hexdigest()[:16]


def _folder() -> Path | None:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    place = Path(config.CACHE_DIR or Path(home, "snncc")) / f"kernels-{fingerprint()}"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return place if os.access(place, os.W_OK) else None


FOLDER = _folder()
COLD = FOLDER is None or not any(FOLDER.rglob("*.nbi"))
"""Whether no kernel is in the cache: importing the kernels then compiles all of them."""


_LOCK = threading.RLock()


def kernel(signature: str) -> Callable[[Any], Any]:
    """Compile a function for one signature, or load it from the cache.

    What is in the cache is loaded at the first call (or where another kernel that calls it is
    compiled): a program uses few of the kernels.
    """

    def decorate(function: Any) -> Any:
        with _cache_folder():
            made = njit(cache=FOLDER is not None, nogil=True, error_model="numpy")(function)
        if isinstance(made, Dispatcher):
            if COLD:
                _ready(made, signature)
            else:
                _later(made, signature)
        return made

    return decorate


@contextmanager
def _cache_folder() -> Iterator[None]:
    """Numba looks into this folder while it makes a dispatcher."""
    before = config.CACHE_DIR
    config.CACHE_DIR = str(FOLDER or "")
    try:
        yield
    finally:
        config.CACHE_DIR = before


def _later(made: Any, signature: str) -> None:
    """Let the first use load or compile a kernel; from then on nothing stands in between."""

    def ready() -> None:
        with _LOCK:
            for name in hooks:
                made.__dict__.pop(name, None)
            if not made.overloads:
                _ready(made, signature)

    def call(*args: Any) -> Any:
        """Return the machine code for these arguments, which the dispatcher then calls."""
        ready()
        (found,) = made.overloads.values()
        for given, wanted in zip(args, found.signature.args, strict=True):
            kind = made.typeof_pyval(given)
            if kind != wanted and not (_scalar(kind) and _scalar(wanted)):
                raise TypeError(f"{made.__name__}: {kind} given for {wanted}")
        return found.entry_point

    def template(args: Any, kws: Any) -> Any:
        ready()
        return made.get_call_template(args, kws)

    hooks = {"_compile_for_args": call, "get_call_template": template}
    made.__dict__.update(hooks)


def _scalar(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint", "float", "bool"))


def _ready(made: Any, signature: str) -> None:
    """Load machine code from the cache, or compile it."""
    if FOLDER is None or not _load(made, signature):
        progress.compiling()
        with typeinfer.register_dispatcher(made):
            made.compile(signature)
            made.disable_compile()
        progress.compiled(made.__name__)


class Progress:
    """Tells somebody how far compiling is: name of the kernel, how many are done, how many are not.

    ``total`` is exact while all kernels are compiled; a few that are missing are told one by one.
    """

    def __init__(self) -> None:
        self.listener: Callable[[str, int, int], None] | None = None
        self.notice: Callable[[str], None] | None = None
        self.done = 0

    @functools.cached_property
    def total(self) -> int:
        """Kernels of the fast engine."""
        here = Path(__file__).parent
        return sum(f.read_text().count("\n@kernel(") for f in here.glob("kernels_*.py"))

    def compiling(self) -> None:
        """A kernel is not in the cache; the first one is worth a word."""
        if self.done == 0 and self.notice is not None:
            self.notice("compiling the fast engine's kernels, once (some seconds)")

    def compiled(self, name: str) -> None:
        """A kernel was compiled."""
        self.done += 1
        if self.listener is not None:
            self.listener(name, self.done, self.total)


progress = Progress()


def _load(made: Any, signature: str) -> bool:
    """Load machine code from the cache; False where there is none.

    ``Dispatcher.compile`` does the same, but sets up numba's type inference and all of its library
    first (0.5 s), which only compiling needs.  Where numba has changed inside, it has to do it.
    """
    try:
        context = made.targetctx
        rtsys.initialize(context)
        with made._cache._guard_against_spurious_io_errors():
            found = made._cache._load_overload(signature, context)
            if found is None:
                return False
            context.insert_user_function(found.entry_point, found.fndesc, [found.library])
            made.add_overload(found)
            made.disable_compile()
    except (AttributeError, TypeError):
        return False
    return True

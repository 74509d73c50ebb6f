# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""How kernels are compiled, and where the machine code is kept.

These kernels are made of what several files say.  So each state of all of them has a folder of its
own, named by a fingerprint: code of another version is never run.  The place is
``$NUMBA_CACHE_DIR``, else ``$XDG_CACHE_HOME/snncc``, else ``~/.cache/snncc``; where none can be
written, kernels are compiled in every process, those that are used.  Numba's own cache is not used:
it believes whatever a file says.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import njit
from numba.core import typeinfer
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime.nrt import rtsys
from numba.core.serialize import dumps

from snncc.isasim.engines.kernels.code_store import CodeStore
from snncc.isasim.engines.kernels.emit import HALF_INSTRUCTIONS, WIDE
from snncc.isasim.engines.kernels.host_cpu import SETTINGS

if SETTINGS.DISABLE_JIT:
    raise ImportError("numba does not compile: NUMBA_DISABLE_JIT is set")


COMPILER_LOCK = global_compiler_lock
"""Held by whoever makes machine code.  It is numba's own, which numba takes while it compiles and
which a thread may take again: with a second lock two threads could wait for each other."""


def fingerprint() -> str:
    """Return a digest of everything that decides the machine code, except the CPU."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(here.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    versions = (numba.__version__, llvmlite.__version__, HALF_INSTRUCTIONS, WIDE)
    digest.update(repr((*versions, sys.implementation.cache_tag)).encode())
    return digest.hexdigest()[:16]


def _folder() -> Path | None:
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        place = Path(SETTINGS.CACHE_DIR or Path(home, "snncc"))
    except RuntimeError:  # this user has no home
        return None
    return place / f"kernels-{fingerprint()}"


def kernel(signature: str) -> Callable[[Any], Any]:
    """Compile a function for one signature, or load it from the cache.

    What is in the cache is loaded at the first call (or where another kernel that calls it is
    compiled): a program uses few of the kernels.
    """

    def decorate(function: Any) -> Any:
        made = njit(nogil=True, error_model="numpy")(function)
        ready = _later(made, signature)
        if COLD:
            ready()
        return made

    return decorate


def _later(made: Any, signature: str) -> Callable[[], None]:
    """Let the first use load or compile a kernel; more threads than one may be the first.

    Return what does it at once.

    The hooks stay where they are.  Numba asks them only when it has no machine code for a call, so
    they cost nothing later, and no thread can come between their end and the code's arrival.
    """

    def ready() -> None:
        with COMPILER_LOCK:
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
        return type(made).get_call_template(made, args, kws)

    made.__dict__.update({"_compile_for_args": call, "get_call_template": template})
    return ready


def _scalar(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint", "float", "bool"))


def _ready(made: Any, signature: str) -> None:
    """Load machine code from the cache, or compile and keep it."""
    name = made.__name__
    key = repr((made.py_func.__module__, name, signature, made.targetctx.codegen().magic_tuple()))
    if _load(made, name, key):
        return
    progress.compiling()
    with typeinfer.register_dispatcher(made):
        made.compile(signature)
        made.disable_compile()
    _keep(made, name, key)
    progress.compiled(name)


def _keep(made: Any, name: str, key: str) -> None:
    """Keep machine code for later processes."""
    (found,) = made.overloads.values()
    if found.library.has_dynamic_globals:
        raise AssertionError(f"{name} holds addresses of this process and cannot be kept")
    STORE.write(name, key, dumps(found._reduce()))


def _load(made: Any, name: str, key: str) -> bool:
    """Load machine code from the cache; False where there is none.

    ``Dispatcher.compile`` with numba's cache does about the same, but sets up numba's type
    inference and all of its library first (0.5 s), which only compiling needs.
    """
    kept = STORE.read(name, key)
    if kept is None:
        return False
    try:
        context = made.targetctx
        rtsys.initialize(context)
        found = CompileResult._rebuild(context, *pickle.loads(kept))
        context.insert_user_function(found.entry_point, found.fndesc, [found.library])
    except Exception as error:  # whatever numba finds wrong with it: compiling helps
        STORE.refuse(name, f"{type(error).__name__}: {error}")
        return False
    made.add_overload(found)
    made.disable_compile()
    return True


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
        return sum(f.read_text().count("\n@kernel(") for f in here.glob("*.py"))

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


def _notice(text: str) -> None:
    if progress.notice is not None:
        progress.notice(text)


STORE = CodeStore(_folder(), _notice)
COLD = not STORE.names() and STORE.ready()
"""Whether no kernel is in the cache: importing the kernels then compiles all of them."""

# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""How kernels are compiled, and where the machine code is kept.

Numba keys its cache by the file of a kernel alone, but these kernels are made of what several files
say.  So each state of all of them has a folder of its own, named by a fingerprint: code of another
version is never run.  The place is ``$NUMBA_CACHE_DIR``, else ``$XDG_CACHE_HOME/snncc``, else
``~/.cache/snncc``; where none can be written, kernels are compiled in every process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba import config, njit

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
"""Whether importing the kernels has to compile them first."""


def kernel(signature: str) -> Callable[[Any], Any]:
    """Compile a function for one signature, or load it from the cache."""

    def decorate(function: Any) -> Any:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(FOLDER or "")
        try:
            compiler = njit(signature, cache=FOLDER is not None, nogil=True, error_model="numpy")
            return compiler(function)
        finally:
            config.CACHE_DIR = before

    return decorate

# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return"
# pyright: basic
"""The CPU that code is made for: this computer's, unless numba's environment variables say another.

Numba's own kernels and the vector code that snncc writes must be made for the same one: a kernel
that uses an instruction which its target lacks does not run slower but crashes.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from numba.core import config
from numba.core.codegen import get_host_cpu_features

SETTINGS: Any = config
"""Numba's settings, as its environment variables decide them."""


def cpu_name() -> str:
    """Return LLVM's name of the CPU (NUMBA_CPU_NAME overrides it)."""
    return str(SETTINGS.CPU_NAME or llvm.get_host_cpu_name())


def cpu_features() -> str:
    """Return LLVM's list of features, as in ``+avx,-avx512f`` (NUMBA_CPU_FEATURES overrides it)."""
    given = SETTINGS.CPU_FEATURES
    return str(get_host_cpu_features() if given is None else given)


def has_feature(name: str) -> bool:
    """Whether the list of features has this one."""
    return features_in(cpu_features()).get(name, False)


def features_in(text: str) -> dict[str, bool]:
    """Return which features a list switches on and off; the last word on each counts.

    Conversions between binary16 and binary32 (``f16c``) are AVX instructions, so they go with it.
    """
    found = {word.strip()[1:]: word.strip()[0] == "+" for word in text.split(",") if word.strip()}
    if found.get("f16c") and not found.get("avx", True):
        found["f16c"] = False
    return found

"""What a bug report needs to know of the computer and of the installation."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "snncc", "numpy", "numba", "llvmlite", "onnx", "click", "lark", "networkx", "rich",
    "nir", "h5py", "scikit-learn",
)  # fmt: skip
FEATURES = ("f16c", "fma", "avx2", "avx512f")
VARIABLES = ("NUMBA_", "SNNCC_", "XDG_CACHE_HOME")
"""Environment variables (or beginnings of their names) that change how snncc computes."""


def host() -> dict[str, Any]:
    """Return facts that need no engine."""
    return {
        "snncc": package_version("snncc"),
        "system": platform.platform(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "executable": sys.executable,
        "packages": {name: package_version(name) for name in PACKAGES[1:]},
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
    }


def package_version(name: str) -> str:
    """Return the version of a package, or that it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _cpu() -> str:
    """Return the CPU's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def kernels() -> dict[str, Any]:
    """Return which kernels compute, for which CPU, and the state of their cache.

    The fast engine must be there.
    """
    from snncc.isasim.engines.kernels import emit, host_cpu, kernel_cache

    store = kernel_cache.STORE
    entries = store.names()
    writable = store.ready()
    return {
        "target": host_cpu.cpu_name(),
        "features": {name: host_cpu.has_feature(name) for name in FEATURES},
        "binary16": "instructions" if emit.HALF_INSTRUCTIONS else "integer operations",
        "vectors": "512 bits" if emit.WIDE else "narrower than 512 bits",
        "cache": {
            "folder": None if store.folder is None else str(store.folder),
            "entries": len(entries),
            "writable": writable,
            "damaged": list(store.damaged),
        },
    }

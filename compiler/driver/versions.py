"""The versions that results depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version


def versions() -> dict[str, str]:
    """Return the versions of Python, the machine and the packages by name; "missing" if absent."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("snncc", "numpy", "numba", "onnx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found

"""A compiler, assembler and simulator for chips that train spiking neural networks.

    import snncc

    model = snncc.load("model.onnx")
    program = snncc.compile(model)
    result = snncc.run(program, {"input": x})

The names below come from :mod:`snncc.compiler.driver.api` when they are first used: importing
snncc alone reads nothing else.  The folders beside this file are links to the sources, so that
editors and type checkers find ``snncc.isa`` where Python does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snncc.compiler.driver.api import compile, load, run, train

    __version__: str

__all__ = ["__version__", "compile", "load", "run", "train"]


def __getattr__(name: str) -> object:
    """Import a public name (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("snncc")
    if name in __all__:
        from snncc.compiler.driver import api

        return getattr(api, name)
    raise AttributeError(f"module 'snncc' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, before they are imported, too."""
    return sorted({*globals(), *__all__})

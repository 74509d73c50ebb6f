"""Named pipelines: lists of passes, with the reason of the order beside them.

An entry may carry options (``tile{sizes=1}``) and may be another named pipeline.  Options given to
a named pipeline go to every pass in it that knows them.
"""

from __future__ import annotations

LEVELS = (0, 1, 2, 3)
DEFAULT_LEVEL = 2

_PHASES = ("split-forward", "add-loss", "derive-backward", "add-optimizer", "legalize-ew")

NAMED: dict[str, tuple[str, ...]] = {
    # The configuration first: it decides which parameters live; import leaves ops that nobody uses.
    "frontend": ("configure", "dce"),
    # Spikes and stopped gradients are gone after legalize-ew, so everything is derived before it.
    "phases": (*_PHASES, "dce", "fuse-elementwise"),
    # Tiles are cut along the axes that are fastest in memory, so the orders come first.
    "tile": ("assign-layouts", "outline-scans", "cut-tiles"),
    "map": ("assign-cores", "insert-barriers"),
    "lower": ("allocate", "lower-to-core"),
    "default": ("frontend", "phases", "tile", "map", "lower"),
}
# Without optimisation only what is needed to get to the next stage runs.
AT_LEVEL: dict[int, dict[str, tuple[str, ...]]] = {
    0: {"frontend": ("configure",), "phases": _PHASES},
}


def names() -> tuple[str, ...]:
    """Return the names of all pipelines."""
    return tuple(NAMED)


def named(name: str, level: int = DEFAULT_LEVEL) -> tuple[str, ...] | None:
    """Return the entries of a named pipeline, or None when there is none of that name."""
    return AT_LEVEL.get(level, {}).get(name, NAMED.get(name))

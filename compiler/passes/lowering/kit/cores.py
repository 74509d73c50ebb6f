"""Which cores work."""

from __future__ import annotations

from snncc.compiler.ir.core import Block


def cores_in_use(body: Block) -> list[int]:
    """Return the cores that have a task, ascending."""
    found = {o.int_attr("core") for each in body.ops for o in each.walk() if o.name == "tile.task"}
    return sorted(found)

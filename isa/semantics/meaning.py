"""The function that the ``meaning`` of a row names.

Rows hold names, ``"accumulate.mac"``, because most commands compute nothing in numpy: the functions
are imported when one is asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

from snncc.isa.semantics import accumulate, lanes, reduce
from snncc.isa.semantics.activity import Activity
from snncc.isa.semantics.call import Call
from snncc.isa.spec import Insn

Meaning: TypeAlias = Callable[[Call], Activity]

_MODULES = {"accumulate": accumulate, "lanes": lanes, "reduce": reduce}


@functools.cache
def _function(name: str) -> Meaning:
    module, _, function = name.partition(".")
    found: Meaning = getattr(_MODULES[module], function)
    return found


def compute(call: Call) -> Activity:
    """Execute an instruction."""
    return _function(call.row.meaning)(call)


def meaning_of(row: Insn) -> Meaning:
    """Return what an engine's instruction computes."""
    return _function(row.meaning)

"""Dialect ``core``: the instructions of one core, with addresses.

``core.<mnemonic>`` has the instruction's operands as integer attributes under the table's names.
Hardware loops keep their nesting: ``core.loopi`` has a region, its end address is the backend's.
``core.buffer`` and ``core.buffer_end`` are no instructions: they say for which instructions
scratchpad bytes have a name.
"""

from __future__ import annotations

from collections.abc import Iterable

from snncc.compiler.ir.core import Op
from snncc.compiler.ir.opdef import AttrDef, OpDef, dialect, register
from snncc.isa.instructions.table import TABLE
from snncc.isa.spec import OperandError

LOOPS = ("loop", "loopi")
NAMES = frozenset({"core.buffer", "core.buffer_end"})
"""Operations that are no instructions."""
_ROWS = {i.mnemonic: i for i in TABLE}

dialect(
    "core",
    "Instructions of one core.",
    ("core",),
    {"layer": AttrDef("str"), "phase": AttrDef("str")},
)


def _check(op: Op) -> Iterable[str]:
    row = _ROWS[op.name.partition(".")[2]]
    for f in row.operands:
        if f.name == "end" and row.mnemonic in LOOPS:
            continue
        value = op.attrs.get(f.name)
        if isinstance(value, bool) or not isinstance(value, int):
            yield f"operand {f.name} is {value!r}, not an int"
            continue
        try:
            f.kind.check(value)
        except OperandError as error:
            yield str(error)


register(
    OpDef(
        "core.buffer",
        "A scratchpad buffer, from here on, and the tensor of which it holds a part.",
        (0, 0),
        (0, 0),
        {
            "number": AttrDef("int", True),
            "name": AttrDef("str", True),
            "address": AttrDef("int", True),
            "bytes": AttrDef("int", True),
            "tensor": AttrDef("str"),
        },
        pure=False,
    )
)
register(
    OpDef(
        "core.buffer_end",
        "The end of a buffer's life.",
        (0, 0),
        (0, 0),
        {"number": AttrDef("int", True)},
        pure=False,
    )
)
for _row in TABLE:
    register(
        OpDef(
            f"core.{_row.mnemonic}",
            _row.doc,
            (0, 0),
            (0, 0),
            open_attrs=True,
            regions=1 if _row.mnemonic in LOOPS else 0,
            pure=False,
            verify=_check,
        )
    )

"""Dialect ``tile``: tasks, loops and operations that mirror the instruction table.

``tile.<mnemonic>`` exists for every queued instruction but ``wait`` and ``post``: one buffer
operand per address operand (named by ``addr``, offset by ``at``), the other operands as attributes
of the same names.  Lane operations list ``streams`` instead: (buffer index or -1, offset, step,
row) each.
"""

from __future__ import annotations

from collections.abc import Iterable

from snncc.compiler.ir.core import Op
from snncc.compiler.ir.opdef import AttrDef, OpDef, dialect, register
from snncc.isa.instructions.operands import of_family
from snncc.isa.instructions.table import TABLE
from snncc.isa.roles import Family
from snncc.isa.spec import EnumKind, Insn, Unit

LANE_OPS = of_family(Family.LANES)

dialect("tile", "Tasks over DRAM tensors and scratchpad buffers.", ("tiled", "mapped"))
_ALL = ("tiled", "mapped", "core")


def address_operands(insn: Insn) -> tuple[str, ...]:
    """Return the operands of an instruction that are addresses, in the table's order."""
    named = {memory.address for memory in insn.memory}
    return tuple(f.name for f in insn.operands if f.name in named)


def _check(op: Op) -> Iterable[str]:
    insn = BY_NAME[op.name.partition(".")[2]]
    addresses = address_operands(insn)
    bound = op.strs_attr("addr", ())
    for name in bound:
        if name not in addresses:
            yield f"{name} is no address operand of {insn.mnemonic}"
    if len(bound) != len(op.operands):
        yield f"binds {len(bound)} addresses to {len(op.operands)} buffers"
    for f in insn.operands:
        if f.name in addresses:
            continue
        value = op.attrs.get(f.name)
        if value is None:
            yield f"operand {f.name} of {insn.mnemonic} is missing"
        elif isinstance(f.kind, EnumKind) and value not in f.kind.words:
            yield f"operand {f.name} is {value!r}, not one of {', '.join(f.kind.words)}"


def _task_rule(op: Op) -> Iterable[str]:
    if not any(each.name == "tile.parallel" for each in op.regions[0].ops):
        yield "has no tile.parallel: no core would run it"


BY_NAME = {i.mnemonic: i for i in TABLE}
_TUPLE = AttrDef("tuple", True)

register(
    OpDef(
        "tile.dram",
        "A tensor in DRAM.",
        (0, 0),
        (1, 1),
        {"name": AttrDef("str", True), "role": AttrDef("str", True)},
        open_attrs=True,
        pure=False,
        stages=_ALL,
    ),
    OpDef(
        "tile.export",
        "A result that the outside may read.",
        (1, 1),
        (0, 0),
        {"name": AttrDef("str", True)},
        open_attrs=True,
        pure=False,
        stages=_ALL,
    ),
    OpDef(
        "tile.task",
        "A loop nest that fits one scratchpad.",
        (0, 0),
        (0, 0),
        {
            "name": AttrDef("str", True),
            "layer": AttrDef("str"),
            "phase": AttrDef("str"),
            "outer": AttrDef("int"),
            "id": AttrDef("int", True),
        },
        regions=1,
        isolated=False,
        pure=False,
        verify=_task_rule,
    ),
    OpDef(
        "tile.sram",
        "A buffer in the scratchpad.",
        (0, 0),
        (1, 1),
        {"name": AttrDef("str", True), "slots": AttrDef("int", True), "offset": AttrDef("int")},
        pure=False,
    ),
    OpDef(
        "tile.parallel",
        "Independent iterations, dealt out to cores.",
        (0, 0),
        (0, 0),
        {"trips": AttrDef("int", True)},
        regions=1,
        isolated=False,
        pure=False,
    ),
    OpDef(
        "tile.loop",
        "Iterations in order.",
        (0, 0),
        (0, 0),
        {"trips": AttrDef("int", True)},
        regions=1,
        isolated=False,
        pure=False,
    ),
    OpDef(
        "tile.steps",
        "The time steps of a recurrent network: tasks inside a loop.",
        (0, 0),
        (0, 0),
        {"trips": AttrDef("int", True)},
        regions=1,
        isolated=False,
        pure=False,
    ),
    OpDef(
        "tile.barrier",
        "All cores' DMA done before any goes on.",
        (0, 0),
        (0, 0),
        pure=False,
        stages=("mapped",),
    ),
    OpDef(
        "tile.return", "Ends the step.", (0, 0), (0, 0), terminator=True, pure=False, stages=_ALL
    ),
)
for _insn in TABLE:
    if _insn.unit is Unit.SEQ:
        continue
    if _insn.mnemonic in LANE_OPS:
        register(
            OpDef(
                f"tile.{_insn.mnemonic}",
                _insn.doc,
                (0, None),
                (0, 0),
                {
                    "prog": AttrDef("str", True),
                    "steps": AttrDef("int", True),
                    "rows": AttrDef("int", True),
                    "cols": AttrDef("int", True),
                    "seed": AttrDef("int"),
                    "streams": _TUPLE,
                    "phase": AttrDef("str"),
                },
                pure=False,
            )
        )
    else:
        register(
            OpDef(
                f"tile.{_insn.mnemonic}",
                _insn.doc,
                (0, None),
                (0, 0),
                {"addr": _TUPLE, "at": _TUPLE},
                open_attrs=True,
                pure=False,
                verify=_check,
            )
        )

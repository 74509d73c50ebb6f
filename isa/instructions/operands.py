"""Operands of a decoded instruction by name, and what they are for: made from the rows.

``OPERANDS["gacc"](values)`` takes the values in the row's order; ``.acc``, ``.rows``... are its
operands.  What other instructions of its family have and it has not, has the row's fixed value, so
``.skip`` of a gacc is 1.  A misspelt name is an AttributeError.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from snncc.isa.instructions.complete import purposes
from snncc.isa.instructions.encoding import BY_MNEMONIC, TableMistake
from snncc.isa.instructions.table import TABLE
from snncc.isa.roles import AMOUNTS, Family, Purpose
from snncc.isa.spec import REG, Insn, Operands

Maker: TypeAlias = Callable[[Iterable[int]], Operands]


def _maker(row: Insn) -> Maker:
    """Return the function that names the operands of a row: the class's ``_make``."""
    make: Any = namedtuple
    names: Any = make(row.mnemonic, row.names, module=__name__)
    fixed = {"__slots__": (), "__doc__": f"Operands of {row.mnemonic}.", **dict(row.fixed)}
    named: Any = type(row.mnemonic, (names,), fixed)
    return cast("Maker", named._make)


class _Makers(dict[str, Maker]):
    """Classes are made when they are asked for the first time: making all takes milliseconds."""

    def __missing__(self, mnemonic: str) -> Maker:
        self[mnemonic] = made = _maker(BY_MNEMONIC[mnemonic])
        return made


OPERANDS: Final = _Makers()
"""Per mnemonic: what makes named operands of values in the row's order."""

PURPOSES: Final[Mapping[str, Mapping[str, Purpose]]] = MappingProxyType(
    {row.mnemonic: MappingProxyType(purposes(row)) for row in TABLE}
)
"""Per mnemonic and operand: what it is for."""


def of_family(*families: Family) -> frozenset[str]:
    """Return the mnemonics of some families."""
    return frozenset(row.mnemonic for row in TABLE if row.family in families)


def amounts(row: Insn) -> tuple[str, ...]:
    """Return the operands on which an instruction's price depends, in the row's order."""
    found = PURPOSES[row.mnemonic]
    return tuple(name for name in row.names if found.get(name) in AMOUNTS)


def registers(row: Insn) -> tuple[tuple[int, Purpose | None], ...]:
    """Return the places of the operands in registers, and what they are for."""
    found = PURPOSES[row.mnemonic]
    return tuple(
        (i, found.get(operand.name))
        for i, operand in enumerate(row.operands)
        if operand.kind is REG
    )


def ordered(mnemonics: str, names: str) -> None:
    """Raise TableMistake unless rows have these operands in this order.

    For code that runs so often that it takes values apart without names.
    """
    for mnemonic in mnemonics.split():
        row = BY_MNEMONIC[mnemonic]
        if row.names != tuple(names.split()):
            raise TableMistake(
                f"{mnemonic}: code relies on the operands {names}, the row has "
                f"{' '.join(row.names)}"
            )

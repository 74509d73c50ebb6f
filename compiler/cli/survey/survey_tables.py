"""The tables of `snncc check`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snncc.compiler.ir.core import Attribute
from snncc.isa.diagnostics.printable import printable

COLUMNS = 4


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value and where it came from."""

    value: Attribute
    origin: str


def neuron_table(neurons: Mapping[str, Mapping[str, ShownValue]]) -> list[str]:
    """Return tables of at most four layers side by side."""
    names = list(neurons)
    lines: list[str] = []
    for start in range(0, len(names), COLUMNS):
        part = names[start : start + COLUMNS]
        keys = list(dict.fromkeys(k for name in part for k in neurons[name]))
        rows: list[Sequence[str]] = [["", *map(printable, part)]]
        for key in keys:
            found = [neurons[name].get(key) for name in part]
            cells = [f"{show(v.value)} ({v.origin})" if v else "-" for v in found]
            rows.append([key, *cells])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines += [
            "  " + "  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
    return lines


def show(value: Attribute) -> str:
    """Return a value as people write it."""
    return printable(_show(value))


def _show(value: Attribute) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        rest = ", ".join(f"{k}={show(v)}" for k, v in value.items() if k != "name")
        return f"{value.get('name', '')}({rest})" if rest else str(value.get("name", ""))
    if isinstance(value, tuple):
        return ", ".join(show(v) for v in value)
    return str(value)

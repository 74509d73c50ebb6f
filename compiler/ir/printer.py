"""Writes the text form of the IR: the same module gives the same text, and it reads back.

Values get unique names from their hints; attributes are sorted by key; floats are written so
that they read back exactly; arrays appear as their SHA-256 only (see resources.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from snncc.compiler.ir.core import (
    UNKNOWN,
    Array,
    Attribute,
    Block,
    Func,
    Module,
    Op,
    Type,
    Value,
    sha256_of,
    tensor,
)

_PLAIN_SYMBOL = re.compile(r"[A-Za-z_][\w.$-]*", re.ASCII)
_PLAIN_KEY = re.compile(r"(?!(?:inf|nan)\Z)[A-Za-z_][\w.$]*", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^\w.]", re.ASCII)
DTYPE_NAMES = {
    "b1": "bit",
    **{f"{kind}{size}": f"{kind}{8 * size}" for kind in "fiu" for size in (1, 2, 4, 8)},
}


def array_type(array: Array) -> Type:
    """Return the type that stands for an array in the text."""
    name = DTYPE_NAMES.get(array.dtype.str[1:])
    if name is None:
        raise ValueError(f"an array of {array.dtype} cannot be a resource")
    return tensor(array.shape, name)


def print_module(module: Module, sha256: Callable[[Array], str] = sha256_of) -> str:
    """Return a module's text; ``sha256`` may be a cached form of :func:`sha256_of`."""
    head = f"module {_symbol(module.name)}"
    if module.attrs:
        head += f" attributes {format_attribute(module.attrs)}"
    lines = [head + " {"]
    for name, array in module.resources.items():
        lines.append(f"  resource {_symbol(name)} sha256:{sha256(array)} : {array_type(array)}")
    for func in module.funcs.values():
        _Printer(lines).func(func)
    lines.append("}\n")
    return "\n".join(lines)


def print_op(op: Op) -> str:
    """Return one op's text, regions included; its names stand for themselves only."""
    lines: list[str] = []
    printer = _Printer(lines)
    for value in op.operands:
        printer.name(value)
    printer.op(op, "")
    return "\n".join(lines)


def format_attribute(value: Attribute) -> str:
    """Return an attribute as it is written in the text."""
    if isinstance(value, str):
        return _string(value)
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_attribute, value))}]"
    _check_mapping(value)
    return f"{{{', '.join(_entry(k, value[k]) for k in sorted(value))}}}"


def _check_mapping(value: object) -> None:
    """Refuse an array, a numpy integer, a list: a pass's mistake that the types did not show."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} cannot be an attribute")


def _entry(key: str, value: Attribute) -> str:
    shown = key if _PLAIN_KEY.fullmatch(key) else _string(key)
    return f"{shown} = {format_attribute(value)}"


def _string(text: str) -> str:
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else json.dumps(text)


def _symbol(name: str) -> str:
    return f"@{name}" if _PLAIN_SYMBOL.fullmatch(name) else f"@{_string(name)}"


class _Printer:
    """Prints one function: names are unique in it."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.unnamed = 0

    def name(self, value: Value) -> str:
        """Return a value's printed name, made from its hint when it is first met."""
        known = self.names.get(value)
        if known is None:
            known = self.names[value] = self.fresh(value.name)
        return known

    def fresh(self, hint: str) -> str:
        if not hint:
            self.unnamed += 1
            return f"%{self.unnamed - 1}"
        wanted = base = _NOT_IN_NAMES.sub("_", hint)
        if wanted.isdigit():
            wanted = base = f"_{base}"
        count = 0
        while wanted in self.taken:
            count += 1
            wanted = f"{base}_{count}"
        self.taken.add(wanted)
        return f"%{wanted}"

    def arguments(self, block: Block) -> str:
        return f"({', '.join(f'{self.name(a)}: {a.type}' for a in block.args)})"

    def func(self, func: Func) -> None:
        head = f"  func {_symbol(func.name)}{self.arguments(func.body)}"
        if func.attrs:
            head += f" attributes {format_attribute(func.attrs)}"
        self.lines.append(head + " {")
        for op in func.body.ops:
            self.op(op, "    ")
        self.lines.append("  }")

    def op(self, op: Op, indent: str) -> None:
        name = self.name
        text = f"{op.name}({', '.join(map(name, op.operands))})"
        if op.results:
            text = f"{', '.join(map(name, op.results))} = {text}"
        if op.attrs:
            text += f" {format_attribute(op.attrs)}"
        if op.results:
            text += f" : {', '.join(str(r.type) for r in op.results)}"
        if op.loc != UNKNOWN:
            text += f" loc({_string(op.loc.text)})"
        if not op.regions:
            self.lines.append(indent + text)
            return
        inner = indent + "  "
        for i, block in enumerate(op.regions):
            self.lines.append(f"{indent}}}, {{" if i else f"{indent}{text} ({{")
            if block.args:
                self.lines.append(f"{inner}^{self.arguments(block)}:")
            for each in block.ops:
                self.op(each, inner)
        self.lines.append(f"{indent}}})")

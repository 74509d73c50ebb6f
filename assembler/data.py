"""Initial memory: values of data directives as bytes, and where they go."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from snncc.assembler.names import LocalNames, Names, pack_real
from snncc.assembler.nodes import Expr, TextNode
from snncc.assembler.source import Problem
from snncc.assembler.state import Values
from snncc.isa.numbers.fp16 import packed_bytes
from snncc.isa.program.container import ObjectFileError, read_file

INTEGERS: Final[Mapping[str, str]] = {"bytes": "B", "i16": "<H", "i32": "<I"}
_SIZES: Final = {"B": 1, "<H": 2, "<I": 4}
REALS: Final = ("f16", "f32")


def value_bytes(part: Values, names: Names, scope: LocalNames) -> bytes:
    """Return the bytes of some values."""
    try:
        if part.kind == "fill":
            return _fill(part, names, scope)
        if part.kind in REALS:
            return b"".join(pack_real(part.kind, _real(v, names, scope)) for v in part.values)
        return b"".join(_integer(part.kind, v, names, scope) for v in part.values)
    except Problem as problem:
        problem.line = part.line
        raise problem.shifted(part.column) from None


def _real(value: Expr, names: Names, scope: LocalNames) -> float:
    number = names.number(value, scope)
    try:
        return float(number)
    except OverflowError:
        message = f"{number} is no binary64 number"
        raise Problem("E0712", message, value.start, value.end) from None


def _integer(kind: str, value: Expr, names: Names, scope: LocalNames) -> bytes:
    form = INTEGERS[kind]
    size = 8 * _SIZES[form]
    number = names.value(value, scope)
    if not -(1 << (size - 1)) <= number < 1 << size:
        low, high = -(1 << (size - 1)), (1 << size) - 1
        message = f"{number} is outside {low}..{high}"
        raise Problem("E0712", message, value.start, value.end)
    return struct.pack(form, number & ((1 << size) - 1))


def _fill(part: Values, names: Names, scope: LocalNames) -> bytes:
    count = names.value(part.values[0], scope)
    if len(part.values) == 1:
        return bytes(count)
    return _integer("bytes", part.values[1], names, scope) * count


def bit_bytes(value: TextNode) -> bytes:
    """Return packed spikes: the first digit is bit 0, rows end at a multiple of 16 bits."""
    digits = value.text.replace(" ", "").replace("_", "")
    if set(digits) - {"0", "1"}:
        raise Problem("E0712", "expected digits 0 and 1", value.start, value.end)
    bits = int(digits[::-1] or "0", 2)
    return bits.to_bytes(packed_bytes(len(digits)), "little")


def include(folder: Path, path: str, offset: int, size: int, digest: str) -> bytes:
    """Return bytes of a file in the folder of the text; ``size`` -1 is all that follow.

    With a digest they must have this SHA-256.
    """
    check_path(path)
    try:
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise Problem("E0715", f"'{path}' leads out of the folder of the text")
        data = read_file(folder / path)
    except ObjectFileError as error:
        raise Problem("E0715", str(error)) from None
    except (OSError, ValueError, RuntimeError) as error:
        raise Problem("E0715", f"'{path}' cannot be read: {error}") from None
    size = max(0, len(data) - offset) if size < 0 else size
    if offset + size > len(data):
        message = f"'{path}' has {len(data)} bytes, {offset}..{offset + size} are asked for"
        raise Problem("E0715", message)
    data = data[offset : offset + size]
    if digest and hashlib.sha256(data).hexdigest() != digest:
        message = f"'{path}': the bytes are not those that the text was written with"
        raise Problem("E0715", message, help="disassemble the program again")
    return data


def check_path(path: str) -> None:
    """Refuse paths that leave the folder."""
    given = Path(path)
    if not path or "\0" in path or given.is_absolute() or ".." in given.parts:
        raise Problem(
            "E0715",
            f"'{path[:80]}' does not lie in the folder of the text",
            help="give the path of a file beside the text",
        )

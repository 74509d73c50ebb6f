"""The JSON sections of object files: canonical writing, checked reading."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from snncc.isa.program.container import ObjectFileError
from snncc.isa.program.layout import LayoutDim, LayoutError, TensorEntry, check_layout
from snncc.isa.program.model import (
    CoreProgram,
    FileRef,
    InitialData,
    Json,
    SourceLine,
    Symbol,
)

MAX_JSON_BYTES: Final = 1 << 26
_SYMBOL_KINDS: Final = ("label", "sram", "dram", "sem", "const")
_CONVERSIONS: Final = ("raw", "f32-f16")


def dump(value: Json) -> bytes:
    """Return canonical JSON: sorted keys, no blanks, ASCII."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ObjectFileError(f"cannot be written as JSON: {error}") from None
    return text.encode()


def load(data: bytes, section: str) -> Json:
    """Return what a JSON section holds."""
    if len(data) > MAX_JSON_BYTES:
        raise ObjectFileError(f"section {section}: {len(data)} bytes; at most {MAX_JSON_BYTES}")
    try:
        value = typing.cast(Json, json.loads(data, parse_constant=_no_constant))
        if b"\\u" in data:  # half a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except (ValueError, RecursionError) as error:
        raise ObjectFileError(f"section {section}: {error}") from None


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def text(data: bytes, section: str) -> str:
    """Return UTF-8 text."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ObjectFileError(f"section {section}: {error}") from None


class Fields:
    """The entries of one JSON object, taken out one by one with their types checked."""

    def __init__(self, value: Json, where: str) -> None:
        self.where = where
        self.rest = dict(mapping(value, where))

    def _take(self, key: str) -> Json:
        if key not in self.rest:
            raise ObjectFileError(f"{self.where}: '{key}' is missing")
        return self.rest.pop(key)

    def integer(self, key: str, low: int = 0, high: int = 1 << 62) -> int:
        """Take an integer between two bounds, both allowed."""
        return integer(self._take(key), f"{self.where}.{key}", low, high)

    def string(self, key: str) -> str:
        """Take a string."""
        value = self._take(key)
        if not isinstance(value, str):
            raise ObjectFileError(f"{self.where}.{key}: expected a string")
        return value

    def flag(self, key: str) -> bool:
        """Take a truth value."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise ObjectFileError(f"{self.where}.{key}: expected true or false")
        return value

    def word(self, key: str, words: Sequence[str]) -> str:
        """Take one of a list of words."""
        value = self.string(key)
        if value not in words:
            raise ObjectFileError(f"{self.where}.{key}: '{value}' is not one of {list(words)}")
        return value

    def items(self, key: str) -> Sequence[Json]:
        """Take a list."""
        return array(self._take(key), f"{self.where}.{key}")

    def optional(self, key: str) -> Json:
        """Take any value, None when it is not there."""
        return self.rest.pop(key, None)

    def end(self) -> None:
        """Raise unless everything was taken."""
        if self.rest:
            raise ObjectFileError(f"{self.where}: unknown entry '{min(self.rest)}'")


def mapping(value: Json, where: str) -> Mapping[str, Json]:
    """Return an object."""
    if not isinstance(value, Mapping):
        raise ObjectFileError(f"{where}: expected an object")
    return value


def array(value: Json, where: str) -> Sequence[Json]:
    """Return a list."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ObjectFileError(f"{where}: expected a list")
    return value


def integer(value: Json, where: str, low: int, high: int) -> int:
    """Return an integer between two bounds, both allowed."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ObjectFileError(f"{where}: expected an integer")
    if not low <= value <= high:
        raise ObjectFileError(f"{where}: the number is outside {low}..{high}")
    return value


_ANY: Final = 1 << 62


def symbol_to(symbol: Symbol) -> Json:
    """Return a symbol as JSON."""
    s = symbol
    if s.plain:
        return [s.name, s.kind, s.value, s.core]
    return [s.name, s.kind, s.value, s.core, s.bytes, s.first, s.last, s.tensor]


def symbols_from(value: Json) -> tuple[Symbol, ...]:
    """Return the symbols of a SYMS section."""
    out: list[Symbol] = []
    for index, item in enumerate(array(value, "SYMS")):
        where = f"SYMS[{index}]"
        entry = array(item, where)
        if (
            len(entry) not in (4, 8)
            or not isinstance(entry[0], str)
            or entry[1] not in _SYMBOL_KINDS
            or (len(entry) == 8 and not isinstance(entry[7], str))
        ):
            form = "[name, kind, value, core] or these and [bytes, first, last, tensor]"
            raise ObjectFileError(f"{where}: expected {form}")
        number = integer(entry[2], where, -_ANY, _ANY)
        core = integer(entry[3], where, -1, 1 << 20)
        symbol = Symbol(entry[0], str(entry[1]), number, core)
        if len(entry) == 8:
            low = (0, 0, -1)
            size, first, last = (integer(n, where, low[i], _ANY) for i, n in enumerate(entry[4:7]))
            symbol = replace(symbol, bytes=size, first=first, last=last, tensor=str(entry[7]))
        out.append(symbol)
    return tuple(out)


def tensor_to(tensor: TensorEntry) -> Json:
    """Return a tensor's entry as JSON."""
    return {
        "name": tensor.name,
        "role": tensor.role,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "space": tensor.space,
        "core": tensor.core,
        "address": tensor.address,
        "layout": [[d.axis, d.size, d.step, d.stride] for d in tensor.layout],
        "file_name": tensor.file_name,
        "transposed": tensor.transposed,
    }


def tensors_from(value: Json) -> tuple[TensorEntry, ...]:
    """Return the tensors of a TENS section."""
    out: list[TensorEntry] = []
    for index, item in enumerate(array(value, "TENS")):
        fields = Fields(item, f"TENS[{index}]")
        tensor = TensorEntry(
            name=fields.string("name"),
            role=fields.string("role"),
            dtype=fields.string("dtype"),
            shape=tuple(integer(n, fields.where, 0, 1 << 40) for n in fields.items("shape")),
            address=fields.integer("address"),
            layout=tuple(_loop(d, fields.where) for d in fields.items("layout")),
            file_name=fields.string("file_name"),
            transposed=fields.flag("transposed"),
            space=fields.string("space"),
            core=fields.integer("core", -1),
        )
        fields.end()
        try:
            check_layout(tensor)
        except LayoutError as error:
            raise ObjectFileError(f"{fields.where}: {error}") from None
        out.append(tensor)
    return tuple(out)


def _loop(value: Json, where: str) -> LayoutDim:
    entry = array(value, where)
    if len(entry) != 4:
        raise ObjectFileError(f"{where}: expected [axis, size, step, stride]")
    axis, size, step, stride = (integer(n, where, -(1 << 40), 1 << 40) for n in entry)
    return LayoutDim(axis, size, step, stride)


def initial_to(item: InitialData, blob_at: int) -> Json:
    """Return initial data as JSON; its embedded bytes lie at ``blob_at`` of the BLOB section."""
    out: dict[str, Json] = {
        "space": item.space,
        "core": item.core,
        "address": item.address,
        "convert": item.convert,
        "row_bytes": item.row_bytes,
        "row_stride": item.row_stride,
        "blob": [blob_at, len(item.data)],
    }
    if item.ref is not None:
        ref = item.ref
        out["ref"] = [ref.path, ref.offset, ref.bytes, ref.sha256]
    return out


def initial_from(value: Json, blob: bytes) -> tuple[InitialData, ...]:
    """Return the initial data of an INIT section and its BLOB."""
    out: list[InitialData] = []
    at = 0
    for index, item in enumerate(array(value, "INIT")):
        fields = Fields(item, f"INIT[{index}]")
        place = fields.items("blob")
        size = integer(place[1], fields.where, 0, len(blob) - at) if len(place) == 2 else 0
        if len(place) != 2 or place[0] != at:
            raise ObjectFileError(f"{fields.where}: bytes lie outside their place")
        reference = fields.optional("ref")
        data = InitialData(
            address=fields.integer("address"),
            data=blob[at : at + size],
            ref=None if reference is None else _reference(reference, fields.where),
            convert=fields.word("convert", _CONVERSIONS),
            row_bytes=fields.integer("row_bytes", 0, 1 << 40),
            row_stride=fields.integer("row_stride", -(1 << 40), 1 << 40),
            space=fields.word("space", ("dram", "sram")),
            core=fields.integer("core", -1, 1 << 20),
        )
        fields.end()
        if data.ref is not None and size:
            raise ObjectFileError(f"{fields.where}: both embedded and by reference")
        at += size
        out.append(data)
    if at != len(blob):
        raise ObjectFileError("section BLOB has bytes that INIT does not use")
    return tuple(out)


def _reference(value: Json, where: str) -> FileRef:
    entry = array(value, where)
    if len(entry) != 4:
        raise ObjectFileError(f"{where}: expected [path, offset, bytes, sha256]")
    path, digest = entry[0], entry[3]
    if not isinstance(path, str) or not isinstance(digest, str):
        raise ObjectFileError(f"{where}: expected [path, offset, bytes, sha256]")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ObjectFileError(f"{where}: '{digest[:80]}' is no SHA-256")
    offset = integer(entry[1], where, 0, _ANY)
    return FileRef(path, offset, integer(entry[2], where, 0, _ANY), digest)


def lines_to(cores: Sequence[CoreProgram]) -> Json:
    """Return the source-line tables as JSON: one list of strings, rows of numbers per core.

    A core with the table of an earlier one has that core's number instead.
    """
    numbers: dict[str, int] = {}
    known: dict[tuple[SourceLine, ...], int] = {}

    def number(word: str) -> int:
        return numbers.setdefault(word, len(numbers))

    tables: dict[str, Json] = {}
    for core in cores:
        same = known.setdefault(core.lines, core.core)
        if same != core.core and core.lines:
            tables[str(core.core)] = same
            continue
        tables[str(core.core)] = [
            [x.address, number(x.file), x.line, *map(number, (x.location, x.layer, x.phase))]
            for x in core.lines
        ]
    return {"strings": list(numbers), "cores": tables}


def lines_from(value: Json) -> dict[int, tuple[SourceLine, ...]]:
    """Return the source-line table of every core of a LINE section."""
    fields = Fields(value, "LINE")
    strings = fields.items("strings")
    words = [s for s in strings if isinstance(s, str)]
    if len(words) != len(strings):
        raise ObjectFileError("LINE.strings: expected strings")
    tables = mapping(fields.optional("cores"), "LINE.cores")
    fields.end()
    out: dict[int, tuple[SourceLine, ...]] = {}
    shared: dict[int, int] = {}
    for key, table in tables.items():
        if not re.fullmatch("[0-9]{1,9}", key) or str(int(key)) != key:
            raise ObjectFileError(f"LINE.cores: '{key[:80]}' is no core")
        if isinstance(table, int) and not isinstance(table, bool):
            shared[int(key)] = table
            continue
        rows = (_line(row, f"LINE.cores.{key}", words) for row in array(table, f"LINE.{key}"))
        out[int(key)] = tuple(rows)
    for core, other in shared.items():
        if other not in out:
            raise ObjectFileError(f"LINE.cores.{core}: core {other} has no table")
    return out | {core: out[other] for core, other in shared.items()}


def _line(value: Json, where: str, words: Sequence[str]) -> SourceLine:
    row = array(value, where)
    if len(row) != 6:
        raise ObjectFileError(f"{where}: expected rows of 6 numbers")
    address, line = integer(row[0], where, 0, 1 << 32), integer(row[2], where, 0, 1 << 32)
    file, location, layer, phase = (
        words[integer(row[i], where, 0, len(words) - 1)] for i in (1, 3, 4, 5)
    )
    return SourceLine(address, file, line, location, layer, phase)

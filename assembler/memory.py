"""Directives that describe memory: tensors and initial data."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from snncc.assembler.arguments import Taker
from snncc.assembler.data import INTEGERS, REALS, bit_bytes, include
from snncc.assembler.names import Definition
from snncc.assembler.nodes import Expr, Name, NumberNode, TextNode, Value
from snncc.assembler.operands import is_resource
from snncc.assembler.source import Line, Problem
from snncc.assembler.state import DataPiece, State, Tensor, Values
from snncc.isa.lines import suggestion
from snncc.isa.program.layout import (
    DTYPES,
    MAX_LOOPS,
    MAX_RANK,
    LayoutDim,
    LayoutError,
    TensorEntry,
    check_layout,
    dense,
)
from snncc.isa.program.model import FileRef

ROLES: Final = (
    "input", "target", "param", "grad", "state", "output", "logits", "loss", "spikes", "other",
)  # fmt: skip
_SPACES: Final = ("dram", "sram")
_FAR: Final = 1 << 62
_WIDE: Final = 1 << 40
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2}| )*")
_Row: TypeAlias = tuple[str, Callable[[State, Line, Taker], None], tuple[str, ...]]


def _word(take: Taker, value: Value, words: tuple[str, ...], what: str) -> str:
    """Return one of a list of words; a word in quotes may be any."""
    word = take.word(value, what)
    if word not in words and isinstance(value, Name):
        hint = suggestion(word, dict.fromkeys(words))
        raise take.wrong(f"'{word}' is none of {', '.join(words)}{hint}", value)
    return word


def _place(state: State, take: Taker, value: Value | None) -> tuple[str, Value | None]:
    space = "dram"
    if value is not None:
        space = _word(take, value, _SPACES, "dram or sram")
        if space not in _SPACES:
            raise take.wrong("expected dram or sram", value)
    return space, take.keyword("core")


def _cores(state: State, take: Taker, space: str, core: Value | None) -> tuple[int, ...]:
    if core is not None:
        return (take.integer(core, "core", -1, 1 << 20),)
    if space == "dram":
        return (-1,)
    if state.section is None:
        raise take.wrong("whose scratchpad? give core=N, or put the line into a section")
    return state.section.cores


def _tensor(state: State, line: Line, take: Taker) -> None:
    name = take.next("a name")
    text = take.word(name, "a name")
    dtype_value = take.next("an element type")
    dtype = _word(take, dtype_value, tuple(DTYPES), "an element type")
    if dtype not in DTYPES:
        raise take.wrong(f"'{dtype}' is no element type", dtype_value)
    shape_value = take.next("a shape such as [4, 10]")
    items = take.items(shape_value, "a shape such as [4, 10]")
    shape = tuple(take.integer(v, "size", 0, _WIDE) for v in items)
    role = take.keyword("role")
    space, core = _place(state, take, take.keyword("space"))
    cores = _cores(state, take, space, core)
    if len(cores) != 1:
        raise take.wrong("a tensor lies in one scratchpad: give core=N")
    address = take.keyword("addr")
    file_name, transposed = take.keyword("file"), take.keyword("transposed")
    entry = TensorEntry(
        name=text,
        role=_word(take, role, ROLES, "a role") if role else "other",
        dtype=dtype,
        shape=shape,
        address=take.integer(address, "address", 0, _FAR) if address else 0,
        layout=_layout(take, dtype, shape),
        file_name=take.word(file_name, "a name") if file_name else "",
        transposed=bool(take.integer(transposed, "flag", 0, 1)) if transposed else False,
        space=space,
        core=cores[0],
    )
    if len(shape) > MAX_RANK or len(entry.layout) > MAX_LOOPS:
        message = f"more than {MAX_RANK} dimensions, or {MAX_LOOPS} loops"
        raise Problem("E0713", message, *take.place(shape_value))
    try:
        check_layout(entry)
    except LayoutError as error:
        raise Problem("E0713", str(error)) from None
    if text in state.tensor_names:
        raise Problem("E0705", f"tensor '{text}' is defined twice", *take.place(name))
    if isinstance(name, Name):
        start, end = take.place(name)
        if is_resource(text):
            message = f"'{text}' is the name of a register or the like"
            raise Problem("E0705", message, start, end, help=f'write "{text}" in quotes')
        definition = Definition("tensor", line, tensor=replace(entry, address=0))
        definition.value = entry.address if address else None
        state.names.define(text, definition, start, end)
    state.tensor_names.add(text)
    state.tensors.append(Tensor(entry, line, address is not None))


def _layout(take: Taker, dtype: str, shape: tuple[int, ...]) -> tuple[LayoutDim, ...]:
    stride, layout = take.keyword("row_stride"), take.keyword("layout")
    if stride is not None:
        return dense(dtype, shape, take.integer(stride, "row stride", 0, _WIDE))
    loops: list[LayoutDim] = []
    what = "loops axis:size:step:stride"
    for value in take.items(layout, f"a list of {what}") if layout else ():
        numbers = [take.integer(v, what, -_WIDE, _WIDE) for v in take.chain(value, 4, what)]
        loops.append(LayoutDim(*numbers))
    return tuple(loops)


def _data(state: State, line: Line, take: Taker) -> None:
    first = take.next("dram, sram or a tensor")
    tensor = state.names.table.get(first.name) if isinstance(first, Name) else None
    if tensor is not None and tensor.tensor is not None:
        space = tensor.tensor.space
        cores: tuple[int, ...] = (tensor.tensor.core,)
        address = take.expression(first, "a tensor")
        if take.rest:
            offset = take.expression(take.next("an offset"), "an offset")
            raise take.wrong("a tensor has its own address", offset)
    else:
        if isinstance(first, Name) and first.name not in _SPACES:
            tensors = [t.entry.name for t in state.tensors[:1000]]
            hint = suggestion(first.name, dict.fromkeys([*_SPACES, *tensors]))
            message = f"'{first.name}' is neither dram, sram nor a tensor defined above{hint}"
            raise take.wrong(message, first)
        space, core = _place(state, take, first)
        cores = _cores(state, take, space, core)
        address = take.expression(take.next("an address"), "an address")
    convert, size, stride = (take.keyword(k) for k in ("convert", "row_bytes", "row_stride"))
    how = take.word(convert, "raw or f32-f16") if convert else "raw"
    if how not in ("raw", "f32-f16"):
        raise take.wrong("convert is raw or f32-f16", convert)
    data = DataPiece(line, space, cores, address, take.column, how)
    data.row_bytes = take.integer(size, "row size", 0, _WIDE) if size else 0
    data.row_stride = take.integer(stride, "row stride", -_WIDE, _WIDE) if stride else 0
    state.data.append(data)
    state.open_data = data


def _open(state: State, word: str) -> DataPiece:
    if state.open_data is None:
        raise Problem("E0707", f"{word}: where to?", help="put '.data dram, ADDRESS' above it")
    if state.open_data.ref is not None:
        raise Problem("E0707", f"{word}: the data above are in another file (.ref)")
    return state.open_data


def _values(word: str, size: int) -> Callable[[State, Line, Taker], None]:
    def run(state: State, line: Line, take: Taker) -> None:
        data = _open(state, f".{word}")
        values = tuple(take.expression(v, "a number") for v in [take.next("a number"), *take.rest])
        take.rest.clear()
        data.parts.append(Values(line, take.column, word, values))
        state.grow(size * len(values) * len(data.cores))

    return run


def _fill(state: State, line: Line, take: Taker) -> None:
    data = _open(state, ".fill")
    value = take.next("a count")
    count = take.integer(value, "count", 0, _FAR)
    state.grow(count * len(data.cores))
    values: list[Expr] = [NumberNode(count, value.start, value.end)]
    if take.rest:
        values.append(take.expression(take.next("a byte"), "a byte"))
    data.parts.append(Values(line, take.column, "fill", tuple(values)))


def _bits(state: State, line: Line, take: Taker) -> None:
    data = _open(state, ".bits")
    value = take.next("digits in quotes")
    if not isinstance(value, TextNode):
        raise take.wrong('expected digits in quotes, such as "1011"', value)
    try:
        data.parts.append(bit_bytes(value))
    except Problem as problem:
        raise problem.shifted(take.column) from None
    state.grow(len(value.text) // 8 * len(data.cores))


def hexadecimal(state: State, line: Line, text: str, column: int) -> None:
    """Handle ``.hex 00ff...``: bytes as they are; kept quick, for large data."""
    data = _open(state, ".hex")
    digits = text.strip()
    if not _HEX.fullmatch(digits):
        message = "expected pairs of hexadecimal digits"
        raise Problem("E0707", message, column, column + len(text))
    data.parts.append(bytes.fromhex(digits))
    state.grow(len(digits) // 2 * len(data.cores))


def _incbin(state: State, line: Line, take: Taker) -> None:
    data = _open(state, ".incbin")
    path_value = take.next("a file in quotes")
    path = take.word(path_value, "a file in quotes")
    offset = take.integer(take.rest.pop(0), "offset", 0, _FAR) if take.rest else 0
    size = take.integer(take.rest.pop(0), "size", 0, _FAR) if take.rest else -1
    digest = take.word(take.rest.pop(0), "a SHA-256") if take.rest else ""
    try:
        found = include(state.folder, path, offset, size, digest)
    except Problem as problem:
        problem.start, problem.end = take.place(path_value)
        raise
    data.parts.append(found)
    state.grow(len(found) * len(data.cores))


def _ref(state: State, line: Line, take: Taker) -> None:
    data = _open(state, ".ref")
    if data.parts:
        raise take.wrong("the data above already have bytes")
    path = take.word(take.next("a file in quotes"), "a file in quotes")
    offset = take.integer(take.next("an offset"), "offset", 0, _FAR)
    size = take.integer(take.next("a size"), "size", 0, _FAR)
    digest = take.word(take.next("a SHA-256"), "a SHA-256 in quotes")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise take.wrong("a SHA-256 has 64 hexadecimal digits")
    data.ref = FileRef(path, offset, size, digest)


_TENSOR_KEYS: Final = (
    "addr", "role", "space", "core", "file", "transposed", "row_stride", "layout",
)  # fmt: skip
_DATA_KEYS: Final = ("core", "convert", "row_bytes", "row_stride")
DIRECTIVES: Final[dict[str, _Row]] = {
    ".tensor": (
        ".tensor NAME, f16|f32|i32|bit, [SIZES] [, addr=A] [, role=R] [, space=sram] [, core=N] "
        '[, row_stride=BYTES | layout=[axis:size:step:stride, ...]] [, file="NAME"] '
        "[, transposed=1]",
        _tensor,
        _TENSOR_KEYS,
    ),
    ".data": (
        ".data dram|sram, ADDRESS | TENSOR [, core=N] [, row_bytes=N, row_stride=N] "
        '[, convert="f32-f16"]',
        _data,
        _DATA_KEYS,
    ),
    **{
        f".{word}": (f".{word} VALUE, ...", _values(word, size), ())
        for word, size in (*zip(INTEGERS, (1, 2, 4), strict=True), *zip(REALS, (2, 4), strict=True))
    },
    ".fill": (".fill COUNT [, BYTE]", _fill, ()),
    ".bits": ('.bits "1011"', _bits, ()),
    ".incbin": ('.incbin "FILE" [, OFFSET [, BYTES [, "SHA-256"]]]', _incbin, ()),
    ".ref": ('.ref "FILE", OFFSET, BYTES, "SHA-256"', _ref, ()),
}

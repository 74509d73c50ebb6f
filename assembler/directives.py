"""The directives: what each expects and what it does to the state.

Memory is described in ``memory.py``, machines in ``machines.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from snncc.assembler import memory
from snncc.assembler.arguments import Taker
from snncc.assembler.machines import machine, open_machine
from snncc.assembler.names import Definition
from snncc.assembler.nodes import Name
from snncc.assembler.operands import end_operand, is_resource, resource
from snncc.assembler.source import Line, Problem
from snncc.assembler.state import Attribution, CodeSection, Exported, OpenBlock, State
from snncc.isa.lines import suggestion
from snncc.isa.microprograms.code import MicroError, decode_micro
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.microprograms.text import MicroSyntaxError, parse_micro
from snncc.isa.program.container import ObjectFileError
from snncc.isa.program.json import MAX_JSON_BYTES, load
from snncc.isa.program.model import Json
from snncc.isa.spec import OperandError

MAX_CORE: Final = 1 << 20
_FAR: Final = 1 << 62
_KINDS: Final = ("label", "sram", "dram", "sem", "const")
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_META: Final = re.compile(r'\s*([\w.$-]+|"(?:[^"\\]|\\.)*")\s*=')


def _core(state: State, line: Line, take: Taker) -> None:
    numbers: list[int] = []
    first = take.next("a core's number")
    for value in (first, *take.rest):
        numbers += take.numbers(value, "core", MAX_CORE)
    for number in numbers:
        if any(number in section.cores for section in state.sections):
            raise Problem("E0714", f"core {number} has a section already", help="merge the two")
    if len(set(numbers)) != len(numbers):
        raise Problem("E0714", "a core is named twice")
    take.rest.clear()
    close_section(state)
    if not state.sections:
        state.attribution.pending = False
    old = state.section.attribution if state.section else state.attribution
    attribution = Attribution(automatic=old.automatic)
    state.section = CodeSection(tuple(numbers), line, attribution=attribution)
    state.sections.append(state.section)
    state.open_data = None


def close_block(section: CodeSection, index: int) -> None:
    """Let the block that an instruction opened end here."""
    item = section.items[index]
    end = end_operand(item.row)
    assert end is not None
    item.texts[end] = str(len(section.items))


def close_section(state: State) -> None:
    """Raise when a block of the current section is still open."""
    section = state.section
    if section is not None and section.blocks:
        for index, _ in section.blocks:
            close_block(section, index)
        line = section.blocks[-1][1]
        section.blocks.clear()
        help = "close it with } on a line of its own, in the same section"
        raise Problem("E0708", "this block is not closed", help=help, line=line)


def _equ(state: State, line: Line, take: Taker) -> None:
    name = take.next("a name")
    value = take.expression(take.next("a value"), "a value")
    if not isinstance(name, Name):
        raise take.wrong("expected a name", name)
    define(state, line, take, name, Definition("const", line, value, take.column))
    state.symbols.append(Exported(name.name, "const", value, -1, line, take.column))


def define(state: State, line: Line, take: Taker, name: Name, found: Definition) -> None:
    """Add a global name; names of registers and the like are taken."""
    start, end = take.place(name)
    if is_resource(name.name):
        message = f"'{name.name}' is the name of a register or the like"
        raise Problem("E0705", message, start, end, help="choose another name")
    state.names.define(name.name, found, start, end)


def _symbol(state: State, line: Line, take: Taker) -> None:
    name = take.next("a name")
    kind_value = take.next("a kind")
    kind = take.word(kind_value, "a kind")
    value = take.expression(take.next("a value"), "a value")
    core = take.keyword("core")
    number = take.integer(core, "core", -1, MAX_CORE) if core else -1
    size, first, last = (
        take.integer(given, word, least, _FAR) if given else least
        for word, least in (("bytes", 0), ("first", 0), ("last", -1))
        for given in (take.keyword(word),)
    )
    tensor = take.keyword("tensor")
    if kind not in _KINDS:
        hint = suggestion(kind, dict.fromkeys(_KINDS))
        raise take.wrong(f"'{kind}' is none of {', '.join(_KINDS)}{hint}", kind_value)
    if isinstance(name, Name):
        define(state, line, take, name, Definition(kind, line, value, take.column))
    text = take.word(name, "a name")
    holds = take.word(tensor, "a tensor's name") if tensor else ""
    state.symbols.append(
        Exported(text, kind, value, number, line, take.column, size, first, last, holds)
    )


def _reg(state: State, line: Line, take: Taker) -> None:
    name, target = take.next("a name"), take.next("a register")
    if not isinstance(name, Name) or not isinstance(target, Name):
        raise take.wrong("expected two names")
    start, end = take.place(name)
    aliases = state.section.aliases if state.section else state.aliases
    if name.name in aliases or is_resource(name.name):
        raise Problem("E0705", f"'{name.name}' already names a register", start, end)
    try:
        aliases[name.name] = resource(target.name)
    except OperandError as error:
        raise Problem("E0703", str(error), *take.place(target)) from None


def _loc(state: State, line: Line, take: Taker) -> None:
    at = _attribution(state)
    where = take.keyword("at")
    if not take.rest and where is None:
        raise take.wrong("expected 'auto', 'off', or a place")
    first = take.rest[0] if take.rest else None
    if isinstance(first, Name) and first.name in ("auto", "off") and where is None:
        take.rest.pop(0)
        at.automatic = first.name == "auto"
        at.file, at.number, at.location = "", 0, ""
        return
    at.file, at.number = "", 0
    if take.rest:
        at.file = take.word(take.rest.pop(0), "a file in quotes")
    if take.rest:
        at.number = take.integer(take.rest.pop(0), "line", 0, 1 << 32)
    at.location = take.word(where, "a place in quotes") if where else ""
    at.automatic, at.pending = False, True


def _line(state: State, line: Line, take: Taker) -> None:
    number = take.integer(take.next("a line number"), "line", 0, 1 << 32)
    _set_line(_attribution(state), number)


def _set_line(at: Attribution, number: int) -> None:
    at.number = number
    at.automatic, at.pending = False, True


def _layer(state: State, line: Line, take: Taker) -> None:
    at = _attribution(state)
    at.layer = take.word(take.next("a name"), "a name") if take.rest else ""
    at.pending = True


def _phase(state: State, line: Line, take: Taker) -> None:
    at = _attribution(state)
    at.phase = take.word(take.next("a name"), "a name") if take.rest else ""
    at.pending = True


def _attribution(state: State) -> Attribution:
    return state.section.attribution if state.section else state.attribution


def _meta(state: State, line: Line, text: str, column: int) -> None:
    found = _META.match(text)
    if found is None:
        message = "expected '.meta NAME = JSON'"
        raise Problem("E0707", message, column, column + len(text))
    try:
        key: Json = found[1]
        if found[1].startswith('"'):
            key = load(found[1].encode(), "META")
        body = text[found.end() :]
        if len(body) > MAX_JSON_BYTES:
            raise ObjectFileError(f"{len(body)} characters; at most {MAX_JSON_BYTES}")
        value = load(body.encode(), "META")
    except (ObjectFileError, UnicodeEncodeError) as error:
        message = str(error).removeprefix("section META: ")
        raise Problem(
            "E0707",
            f"the value is no JSON: {message}",
            column + found.end(),
            column + len(text),
            help='JSON is 12, 0.5, true, null, "text", [1, 2] or {"a": 1}',
        ) from None
    if str(key) in state.metadata:
        raise Problem("E0705", f"metadata '{key}' is given twice", column, column + found.end())
    state.metadata[str(key)] = value


def _micro(state: State, line: Line, take: Taker) -> None:
    value = take.next("a name")
    name = take.word(value, "a name")
    number = len(state.micro)
    if isinstance(value, Name):
        if name in state.micro_numbers:
            raise Problem("E0705", f"microprogram '{name}' is defined twice", *take.place(value))
        if name.isdecimal():
            raise take.wrong("a number is no name", value)
        state.micro_numbers[name] = number
    state.micro.append(MicroProgram(name, ()))

    def finish(lines: list[Line]) -> None:
        try:
            body = [f"  {each.text}" for each in lines]
            program = parse_micro([".micro p", *body, ".end"])
        except MicroSyntaxError as error:
            at = lines[error.line - 2] if 2 <= error.line <= len(lines) + 1 else line
            help = "`snncc isa` lists the micro-operations"
            raise Problem("E0710", error.message, help=help, line=at) from None
        state.micro[number] = MicroProgram(name, program.code)

    state.block = OpenBlock(".micro", line, finish)


def _microcode(state: State, line: Line, take: Taker) -> None:
    value = take.next("a name")
    name, code = take.word(value, "a name"), take.next("hexadecimal digits in quotes")
    text = take.word(code, "hexadecimal digits in quotes")
    try:
        program = decode_micro(name, bytes.fromhex(text))
    except (MicroError, ValueError) as error:
        raise Problem("E0710", str(error), *take.place(code)) from None
    if isinstance(value, Name):
        if name in state.micro_numbers:
            raise Problem("E0705", f"microprogram '{name}' is defined twice", *take.place(value))
        state.micro_numbers[name] = len(state.micro)
    state.micro.append(program)


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive: its form, what it does, the keywords it knows."""

    usage: str
    run: Callable[[State, Line, Taker], None]
    keywords: tuple[str, ...] = ()


DIRECTIVES: Final[Mapping[str, Directive]] = {
    ".machine": Directive('.machine NAME | "FILE.toml" [, cores=N]', machine, ("cores",)),
    ".core": Directive(".core N | N..M [, ...]", _core),
    ".equ": Directive(".equ NAME, VALUE", _equ),
    ".symbol": Directive(
        f".symbol NAME, {'|'.join(_KINDS)}, VALUE [, core=N] [, bytes=B] [, first=A] [, last=B] "
        '[, tensor="NAME"]',
        _symbol,
        ("core", "bytes", "first", "last", "tensor"),
    ),
    ".reg": Directive(".reg NAME, r5 | s3 | sem2 | win1", _reg),
    ".loc": Directive('.loc auto | off | "FILE" [, LINE] [, at="PLACE"]', _loc, ("at",)),
    ".line": Directive(".line NUMBER", _line),
    ".layer": Directive(".layer [NAME]", _layer),
    ".phase": Directive(".phase [NAME]", _phase),
    ".micro": Directive(".micro NAME", _micro),
    ".microcode": Directive('.microcode NAME, "HEX"', _microcode),
    **{name: Directive(*row) for name, row in memory.DIRECTIVES.items()},
}
_OTHER: Final = (".meta", ".hex", ".macro", ".endm", ".rep", ".endr", ".end")


def run(state: State, line: Line, column: int, word: str) -> None:
    """Carry out the directive that begins at a column of a line."""
    text = line.text[column + len(word) :]
    start = column + len(word)
    if word == ".hex":
        memory.hexadecimal(state, line, text, start)
        return
    if word == ".line":  # as common as instructions in what the disassembler writes: kept quick
        digits = text.strip()
        if _DIGITS.fullmatch(digits):
            _set_line(_attribution(state), int(digits))
            return
    if word == ".meta":
        _meta(state, line, text, start)
        return
    if word == ".end":
        raise Problem("E0708", ".end without a block", column, start)
    found = DIRECTIVES.get(word)
    if found is None:
        hint = suggestion(word, dict.fromkeys([*DIRECTIVES, *_OTHER]))
        message = f"there is no directive '{word[:64]}'{hint}"
        raise Problem("E0702", message, column, start, help="docs/assembly.md lists them")
    if word == ".machine" and text.split(",")[0].strip() == "text":
        open_machine(state, line, text, start)
        return
    take = Taker(text, start, found.usage, state.names)
    found.run(state, line, take)
    take.done(found.keywords)

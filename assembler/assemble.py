"""Assembly text to an object file, in two passes; see ``docs/assembly.md`` for the language."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from snncc.assembler import directives
from snncc.assembler.build import build
from snncc.assembler.expand import Expander
from snncc.assembler.machines import described
from snncc.assembler.names import twice
from snncc.assembler.operands import constant, is_resource, split
from snncc.assembler.parser import parse_expression
from snncc.assembler.source import Fatal, Line, Problem, labels, split_lines
from snncc.assembler.state import MAX_INSTRUCTIONS, CodeSection, SourceInstruction, State
from snncc.isa.diagnostics.diag import CompileError, Diagnostic, DiagnosticSink, SourceFile, Span
from snncc.isa.machine.machine import Machine
from snncc.isa.program.model import ObjectFile, SourceLine
from snncc.isa.spec import Insn, Inst

MAX_TEXT: Final = 1 << 28
_Known = tuple[Insn, dict[str, str], Inst | None]


def assemble(
    text: str,
    name: str = "<text>",
    machine: Machine | None = None,
    *,
    default: Machine | None = None,
    folder: str | Path | None = None,
) -> ObjectFile:
    """Return the program that a text describes; CompileError says what is wrong with it.

    ``machine`` is the machine whatever the text says, ``default`` the one if it says nothing.
    Files that the text names lie in ``folder`` (the one of ``name`` if None).
    """
    if len(text) > MAX_TEXT:
        message = f"the text has {len(text)} characters; at most {MAX_TEXT} are possible"
        raise CompileError(Diagnostic("E0716", message, name, help="keep data in a side file"))
    place = Path(folder) if folder is not None else Path(name).parent
    state = State(Path(name).name, place)
    if machine is not None:
        state.machine, state.machine_fixed = described(machine), True
    reader = LineReader(state, SourceFile(name, text))
    try:
        return _assemble(reader, default)
    except CompileError as error:
        raise CompileError(sorted(error.diagnostics, key=_offset)) from None


def _offset(diagnostic: Diagnostic) -> int:
    return diagnostic.where.start if isinstance(diagnostic.where, Span) else -1


def _assemble(reader: LineReader, default: Machine | None) -> ObjectFile:
    state = reader.state
    reader.read()
    if state.machine is None and not reader.sink.errors:
        if default is None:
            message = "the text names no machine"
            reader.sink.error(
                "E0711", message, reader.file.name, help="begin it with .machine NAME"
            )
        else:
            state.machine = described(default)
    program = build(state, reader.report)
    reader.sink.raise_if_errors()
    assert program is not None
    return program


class LineReader:
    """Pass 1: reads lines into a state and collects what is wrong."""

    def __init__(self, state: State, file: SourceFile) -> None:
        self.state = state
        self.file = file
        self.sink = DiagnosticSink()
        self._known: dict[str, _Known] = {}
        self._last = Line("", "", file, 0, 1)

    def report(self, line: Line, problem: Problem) -> None:
        """Keep a problem of a line; raises CompileError when there are too many."""
        self.sink.add((problem.line or line).diagnostic(problem))

    def read(self) -> None:
        """Read the whole text."""
        expander = Expander(iter(split_lines(self.file)), self._constant, self.report)
        lines = expander.lines()
        try:
            for line in lines:
                self._last = line
                try:
                    self._line(line)
                except Fatal:
                    raise
                except Problem as problem:
                    self.report(line, problem)
        except Fatal as problem:
            self.report(problem.line or self._last, problem)
            self.sink.raise_if_errors()
        block = self.state.block
        if block is not None:
            message = f"{block.word} without .end"
            self.report(block.line, Problem("E0708", message, help="close it with .end"))
        try:
            directives.close_section(self.state)
        except Problem as problem:
            self.report(problem.line or self._last, problem)

    def _constant(self, line: Line, column: int) -> int:
        try:
            return self.state.names.value(parse_expression(line.text[column:]))
        except Problem as problem:
            raise problem.shifted(column) from None

    def _line(self, line: Line) -> None:
        state = self.state
        if state.block is not None:
            if line.text.strip() == ".end":
                block, state.block = state.block, None
                block.finish(block.lines)
            else:
                state.block.lines.append(line)
            return
        column = 0
        if ":" in line.text:
            found, column = labels(line.text)
            for name, start, end in found:
                self._label(line, name, start, end)
        code = line.text[column:].strip()
        if not code:
            return
        column = line.text.index(code[0], column)
        if code[0] == ".":
            directives.run(state, line, column, code.split(None, 1)[0])
        elif code[0] == "}":
            self._close(line, column)
            if code != "}":
                message = "expected } alone on its line"
                raise Problem("E0701", message, column, column + len(code))
        else:
            self._instruction(line, column, code)

    def _label(self, line: Line, name: str, start: int, end: int) -> None:
        section = self.state.current(line)
        if name in section.labels:
            raise twice(name, section.places[name], start, end)
        if is_resource(name) or name == "core":
            raise Problem("E0705", f"'{name}' already has a meaning", start, end)
        section.labels[name] = len(section.items)
        section.places[name] = line

    def _instruction(self, line: Line, column: int, code: str) -> None:
        section = self.state.current(line)
        self.state.open_data = None
        block = code.endswith("{")
        known = self._known.get(code)
        if known is None:
            body = code[:-1].rstrip() if block else code
            try:
                if not body:
                    raise Problem("E0708", "a block belongs to a loop", 0, 1)
                row, texts = split(body, block=block)
            except Problem as problem:
                raise problem.shifted(column) from None
            inst = None if block else constant(row, texts)
            known = self._known[code] = (row, texts, inst)
        row, texts, inst = known
        if self.state.instructions >= MAX_INSTRUCTIONS:
            message = f"more than {MAX_INSTRUCTIONS} instructions"
            raise Fatal("E0716", message, line=line)
        self.state.instructions += len(section.cores)
        if block:
            section.blocks.append((len(section.items), line))
            texts = dict(texts)
        self._attribute(section, line)
        section.items.append(SourceInstruction(line, column, row, texts, inst))

    def _close(self, line: Line, column: int) -> None:
        section = self.state.section
        if section is None or not section.blocks:
            raise Problem("E0708", "there is no block to close", column, column + 1)
        index, _ = section.blocks.pop()
        directives.close_block(section, index)

    def _attribute(self, section: CodeSection, line: Line) -> None:
        """Open an entry of the line table for the next instruction where one belongs."""
        at, address = section.attribution, len(section.items)
        if at.automatic:
            place = f"{line.call.macro}, called in line {_caller(line)}" if line.call else ""
            entry = SourceLine(address, self.state.file, line.number, place, at.layer, at.phase)
            last = section.lines[-1] if section.lines else None
            same = last is not None and entry == SourceLine(
                address, last.file, last.line, last.location, last.layer, last.phase
            )
            if not same:
                section.lines.append(entry)
        elif at.pending:
            section.lines.append(
                SourceLine(address, at.file, at.number, at.location, at.layer, at.phase)
            )
        at.pending = False


def _caller(line: Line) -> int:
    """Return the line of the text that called the outermost macro."""
    number, call = line.number, line.call
    while call is not None:
        number, call = call.line.number, call.line.call
    return number

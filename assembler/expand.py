"""Macros and repeats: lines in, more lines out, one by one and within a budget.

The lines come out while the assembler reads them, so the count of a repeat may use every constant
that is defined above it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from snncc.assembler.source import (
    MAX_LINE,
    Fatal,
    Line,
    MacroCall,
    Problem,
    is_name,
    labels,
)
from snncc.isa.instructions.encoding import BY_MNEMONIC

MAX_EXPANDED: Final = 1 << 20
MAX_LEVELS: Final = 64
_PARAMETER: Final = re.compile(r"\\([A-Za-z_][A-Za-z0-9_]*|@)")
_OPEN: Final = {".rep": ".endr", ".macro": ".endm"}
_CLOSE: Final = {".endr": ".rep", ".endm": ".macro"}


@dataclass(frozen=True, slots=True)
class _Macro:
    name: str
    parameters: tuple[str, ...]
    body: tuple[Line, ...]
    line: Line


class Expander:
    """Lines after the expansion of macros and repeats."""

    def __init__(
        self,
        lines: Iterator[Line],
        constant: Callable[[Line, int], int],
        report: Callable[[Line, Problem], None],
    ) -> None:
        """``constant`` evaluates the rest of a line from a column on."""
        self._stack: list[Iterator[Line]] = [lines]
        self._constant = constant
        self._report = report
        self._macros: dict[str, _Macro] = {}
        self._budget = MAX_EXPANDED
        self._calls = 0

    def lines(self) -> Iterator[Line]:
        """Yield the lines that are left when all is expanded."""
        while self._stack:
            line = next(self._stack[-1], None)
            if line is None:
                self._stack.pop()
                continue
            try:
                yield from self._line(line)
            except Fatal:
                raise
            except Problem as problem:
                self._report(line, problem)

    def _line(self, line: Line) -> Iterator[Line]:
        if "." not in line.text and not self._macros:
            yield line
            return
        _, at = labels(line.text)
        rest = line.suffix(at) if at else line
        head = rest.head
        if head not in _OPEN and head not in _CLOSE and head not in self._macros:
            yield line
            return
        start = len(rest.text) - len(rest.text.lstrip())
        end = start + len(head)
        if head in self._macros and rest.text[end:].lstrip().startswith("="):
            yield line  # a register of a microprogram that is called like a macro
            return
        if at:
            yield line.prefix(at)
        if head in _CLOSE:
            raise Problem("E0708", f"{head} without {_CLOSE[head]}", start, end)
        if head == ".macro":
            self._define(rest, start, end)
        elif head == ".rep":
            self._repeat(rest, start, end)
        else:
            self._call(rest, self._macros[head], end)

    def _push(self, line: Line, lines: Iterator[Line]) -> None:
        if len(self._stack) >= MAX_LEVELS:
            message = f"macros and repeats are nested more than {MAX_LEVELS} deep"
            raise Fatal("E0709", message, line=line)
        self._stack.append(lines)

    def _body(self, opening: Line, word: str, start: int, end: int) -> tuple[Line, ...]:
        """Take the lines up to the end of a block, blocks of its kind inside it included."""
        depth, body = 1, list[Line]()
        for line in self._stack[-1]:
            head = line.head
            if head == word:
                depth += 1
            elif head == _OPEN[word]:
                depth -= 1
                if depth == 0:
                    return tuple(body)
            body.append(line)
        raise Problem("E0708", f"{word} without {_OPEN[word]}", start, end)

    def _define(self, line: Line, start: int, end: int) -> None:
        body = self._body(line, ".macro", start, end)
        name, _, rest = line.text[end:].strip().partition(" ")
        parameters = tuple(p.strip() for p in rest.split(",")) if rest.strip() else ()
        if not is_name(name) or name.startswith(".") or not all(map(str.isidentifier, parameters)):
            raise Problem("E0707", "expected '.macro NAME a, b, ...'", start, end)
        if name in BY_MNEMONIC:
            raise Problem("E0705", f"'{name}' is an instruction", start, end)
        if name in self._macros:
            place = str(self._macros[name].line.span())
            message = f"macro '{name}' is defined twice; first at {place}"
            raise Problem("E0705", message, start, end)
        if len(set(parameters)) != len(parameters):
            raise Problem("E0705", f"macro '{name}' has two parameters of one name", start, end)
        self._macros[name] = _Macro(name, parameters, body, line)

    def _repeat(self, line: Line, start: int, end: int) -> None:
        body = self._body(line, ".rep", start, end)
        count_text, comma, variable = line.text[end:].partition(",")
        variable = variable.strip()
        if not count_text.strip() or (comma and not variable.isidentifier()):
            raise Problem("E0707", "expected '.rep COUNT' or '.rep COUNT, NAME'", start, end)
        count = self._constant(line.prefix(end + len(count_text)), end)
        if not 0 <= count or count * max(1, len(body)) > MAX_EXPANDED:
            message = f"{count} times {len(body)} lines; at most {MAX_EXPANDED} lines are possible"
            raise Problem("E0709", message, end, end + len(count_text))

        def lines() -> Iterator[Line]:
            for turn in range(count if body else 0):
                values = {variable: str(turn)} if variable else {}
                for each in body:
                    yield self._substituted(each, values, each.call)

        self._push(line, lines())

    def _call(self, line: Line, macro: _Macro, end: int) -> None:
        given = _split(line.text[end:])
        if len(given) != len(macro.parameters):
            names = ", ".join(macro.parameters)
            expected = f"'{macro.name} {names}'" if names else f"'{macro.name}' alone"
            message = f"macro {macro.name}: expected {expected}, got {len(given)} arguments"
            raise Problem("E0709", message, end - len(macro.name), len(line.text.rstrip()))
        self._calls += 1
        values = {"@": str(self._calls), **dict(zip(macro.parameters, given, strict=True))}
        call = MacroCall(macro.name, line)
        self._push(line, (self._substituted(each, values, call) for each in macro.body))

    def _substituted(self, line: Line, values: dict[str, str], call: MacroCall | None) -> Line:
        self._budget -= 1
        if self._budget < 0:
            message = f"macros and repeats make more than {MAX_EXPANDED} lines"
            raise Fatal("E0709", message, line=line)
        if "\\" not in line.raw:
            return line.rewritten(line.raw, call)
        text = _PARAMETER.sub(lambda m: values.get(m[1], m[0]), line.raw)
        if len(text) > MAX_LINE:
            message = f"a macro makes a line of {len(text)} characters; at most {MAX_LINE}"
            raise Fatal("E0709", message, line=line)
        return line.rewritten(text, call)


def _split(text: str) -> list[str]:
    """Return the arguments of a call: commas in brackets, parentheses and quotes do not count."""
    out, depth, quoted, at = list[str](), 0, False, 0
    for index, char in enumerate(text):
        if char == '"' and text[index - 1 : index] != "\\":
            quoted = not quoted
        elif quoted:
            continue
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
        elif char == "," and depth == 0:
            out.append(text[at:index].strip())
            at = index + 1
    rest = text[at:].strip()
    return [*out, rest] if out or rest else []

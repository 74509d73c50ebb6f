"""The machine that a program is assembled for."""

from __future__ import annotations

import functools
import json

from snncc.assembler.arguments import Taker
from snncc.assembler.nodes import Name, TextNode
from snncc.assembler.source import Line, Problem
from snncc.assembler.state import MachineText, OpenBlock, State
from snncc.isa.machine.machine import Machine, MachineError, load_machine, parse_machine

_shipped = functools.lru_cache(maxsize=8)(load_machine)  # a description takes milliseconds to check
_HELP = "`snncc targets` lists the machines"


def described(machine: Machine) -> MachineText:
    """Return a machine as object files hold it."""
    return MachineText(machine, machine.name, machine.hash, machine.to_toml())


def machine(state: State, line: Line, take: Taker) -> None:
    """Handle ``.machine NAME`` and ``.machine "FILE.toml"``."""
    value = take.next("a machine")
    cores = take.keyword("cores")
    count = take.integer(cores, "cores", 1, 1 << 20) if cores else 0
    if state.machine is not None and not state.machine_fixed:
        raise Problem("E0711", "there are two machines", help="one .machine is enough")
    if state.machine_fixed:
        return
    try:
        if isinstance(value, Name):
            found = _shipped(value.name)
        elif isinstance(value, TextNode) and value.text.endswith(".toml"):
            found = load_machine(state.folder / value.text)
        else:
            raise take.wrong("expected a machine's name or a .toml file in quotes", value)
        if count:
            found = found.with_(cores=count)
    except MachineError as error:
        message = "; ".join(error.problems[:5])
        raise Problem("E0711", message, *take.place(value), help=_HELP) from None
    state.machine = described(found)


def open_machine(state: State, line: Line, text: str, column: int) -> None:
    """Handle ``.machine text``: the lines up to ``.end`` that begin with ``|`` are the TOML text.

    ``name=`` and ``hash=`` keep those of a description that this version cannot read.
    """
    take = Taker(text, column, '.machine text [, name="NAME", hash="HEX"]', state.names)
    take.rest.pop(0)
    given = {key: take.keyword(key) for key in ("name", "hash")}
    name, digest = (take.word(v, "a string") if v else "" for v in given.values())
    take.done(("name", "hash"))
    if digest and (len(digest) != 64 or set(digest) - set("0123456789abcdef")):
        raise take.wrong("a hash has 64 hexadecimal digits")
    if state.machine is not None and not state.machine_fixed:
        raise Problem("E0711", "there are two machines", help="one .machine is enough")

    def finish(lines: list[Line]) -> None:
        if state.machine_fixed:
            return
        toml = "\n".join(_toml_line(each) for each in lines)
        try:
            found = parse_machine(toml, "machine")
        except MachineError as error:
            if not (given["name"] and digest):
                message = "; ".join(error.problems[:5])
                raise Problem("E0711", message, help=_HELP, line=line) from None
            state.machine = MachineText(None, name, digest, toml)
            return
        own_name = name if given["name"] else found.name
        state.machine = MachineText(found, own_name, digest or found.hash, toml)

    state.block = OpenBlock(".machine", line, finish)


def _toml_line(line: Line) -> str:
    raw = line.raw.lstrip().removesuffix("\r")
    if raw.startswith("| "):
        return raw[2:]
    if raw.rstrip() == "|":
        return ""
    if raw.startswith('|"'):
        try:
            text = json.loads(raw[1:])
        except ValueError:
            text = None
        if isinstance(text, str):
            return text
    message = "expected a line of TOML behind '| '"
    raise Problem("E0701", message, line=line)

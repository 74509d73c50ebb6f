"""The reference manual (``docs/isa.md``) and the JSON export, both derived from the tables."""

from __future__ import annotations

import json
from collections.abc import Sequence

from snncc.isa.instructions import encoding, table
from snncc.isa.instructions.encoding import isa_hash
from snncc.isa.instructions.table import TABLE
from snncc.isa.instructions.text import usage
from snncc.isa.machine.machine import schema_rows
from snncc.isa.microprograms import table as micro_table
from snncc.isa.microprograms.table import MICRO_OPS
from snncc.isa.microprograms.text import micro_usage
from snncc.isa.numbers.tables import UNARY_NAMES
from snncc.isa.random_programs.instructions import bounds
from snncc.isa.roles import MemoryRole
from snncc.isa.spec import (
    LOOP_DEPTH,
    OPCODE_BITS,
    REGISTERS,
    SEMAPHORES,
    STREAMS,
    WINDOWS,
    WORD_BITS,
    EnumKind,
    Insn,
    Kind,
)

_UNIT_WORDS = {
    "seq": "Sequencer and synchronisation",
    "dma": "DMA",
    "noc": "Network on chip",
    "fp": "Forward engine",
    "bp": "Back-propagation engine",
    "wg": "Weight-gradient engine",
    "vpu": "Vector unit",
}


def to_json() -> str:
    """Return the instruction set as JSON, for programs in other languages."""
    facts = {
        "isa_hash": isa_hash(),
        "word_bits": WORD_BITS,
        "opcode_bits": OPCODE_BITS,
        "registers": REGISTERS,
        "semaphores": SEMAPHORES,
        "streams": STREAMS,
        "windows": WINDOWS,
        "loop_depth": LOOP_DEPTH,
        "instructions": [_instruction_facts(row) for row in TABLE],
        "micro_operations": [
            {
                "name": op.name,
                "opcode": op.opcode,
                "args": op.args,
                "result": op.result,
                "imm": op.imm,
                "cost": op.cost.value,
                "doc": op.doc,
            }
            for op in MICRO_OPS
        ],
        "tables": list(UNARY_NAMES),
        "retired": sorted(table.RETIRED),
    }
    return json.dumps(facts, indent=1) + "\n"


def _instruction_facts(row: Insn) -> dict[str, object]:
    return {
        "mnemonic": row.mnemonic,
        "opcode": row.opcode,
        "unit": row.unit.value,
        "group": row.group,
        "syntax": usage(row),
        "doc": row.doc,
        "action": row.action,
        "operands": [
            {"name": f.name, "low": f.low, "kind": encoding.kind_facts(f.kind)}
            for f in row.operands
        ],
        "reads": [_memory_facts(m) for m in row.memory if m.reads],
        "writes": [_memory_facts(m) for m in row.memory if m.writes],
        "traps": list(row.traps),
    }


def _memory_facts(memory: MemoryRole) -> dict[str, str]:
    return {"space": memory.space, "address": memory.address, "shape": memory.shape()}


def manual() -> str:
    """Return the reference manual in Markdown."""
    parts = [
        "# Instruction set",
        "This file is generated from the instruction table (`make docs`); do not edit it.",
        f"ISA hash: `{isa_hash()}`",
        "## Words",
        f"An instruction is one {WORD_BITS}-bit word, stored as {WORD_BITS // 8} little-endian "
        f"bytes. Bits 0..{OPCODE_BITS - 1} hold the opcode; bits that belong to no operand are 0, "
        "a word with another value there is illegal. Addresses of instructions count words.",
        f"A core has {REGISTERS} signed 64-bit registers, {STREAMS} stream descriptors, "
        f"{WINDOWS} windows, {SEMAPHORES} semaphores and loops nested up to {LOOP_DEPTH} deep. "
        "Operands that are "
        "registers are read when the sequencer issues the instruction.",
        "## Conventions",
        _prose(table.__doc__, after="-----\n"),
        "## Operand kinds",
        _kinds(),
        "## Instructions at a glance",
        _glance(),
    ]
    for unit, title in _UNIT_WORDS.items():
        parts.append(f"## {title}")
        parts += [_instruction(row) for row in TABLE if row.unit.value == unit]
    parts += [
        "## Microprograms",
        _prose(micro_table.__doc__, after="\n\n"),
        _micro_operations(),
        f"Tables of `tab.h`: {', '.join(f'`{name}`' for name in UNARY_NAMES)}.",
        "In a micro-instruction, bytes 0..3 are opcode, destination, arguments 0 and 1; bytes 4..7 "
        "are the 32-bit immediate or argument 2. Unused fields are 0.",
        "## Machine descriptions",
        "Keys of a machine's TOML file; `extensions` is a list of instruction groups and "
        "`[estimates] keys` lists the keys whose values are guesses.",
        _rows(("key", "value"), [(f"`{key}`", words) for key, words in schema_rows()]),
    ]
    return "\n\n".join(parts) + "\n"


def _prose(text: str | None, after: str) -> str:
    """Return a docstring as Markdown, from the first occurrence of ``after`` on."""
    return (text or "").partition(after)[2].strip().replace("``", "`")


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in r) + " |" for r in lines)


def _kinds() -> str:
    kinds: dict[str, Kind] = {}
    for row in TABLE:
        for operand in row.operands:
            kinds.setdefault(operand.kind.name, operand.kind)
    return _rows(
        ("kind", "bits", "values"),
        [(kind.name, str(kind.width), _values(kind)) for kind in kinds.values()],
    )


def _values(kind: Kind) -> str:
    if isinstance(kind, EnumKind):
        return ", ".join(f"`{word}` = {i}" for i, word in enumerate(kind.words))
    low, high = bounds(kind)
    return f"`{kind.show(low)}` to `{kind.show(high)}`"


def _glance() -> str:
    return _rows(
        ("opcode", "mnemonic", "unit", "what it does"),
        [
            (
                f"`0x{row.opcode:02x}`",
                f"[`{row.mnemonic}`](#{row.mnemonic})",
                row.unit.value,
                row.doc.partition(":")[0].partition(". ")[0].rstrip("."),
            )
            for row in TABLE
        ],
    )


def _instruction(row: Insn) -> str:
    facts = [
        f"### {row.mnemonic}",
        f"```\n{usage(row)}\n```",
        row.doc,
        f"Action: `{row.action}`",
    ]
    fields = [("opcode", f"7..0 = `0x{row.opcode:02x}`", "")]
    for operand in row.operands:
        high = operand.low + operand.kind.width - 1
        bits = f"{high}..{operand.low}" if high > operand.low else str(high)
        fields.append((f"`{operand.name}`", bits, operand.kind.name))
    facts.append(_rows(("operand", "bits", "kind"), fields))
    read = [_sentence(m, m.read_when) for m in row.memory if m.reads]
    written = [_sentence(m) for m in row.memory if m.writes]
    for word, sentences in (("Reads", read), ("Writes", written)):
        if sentences:
            listed = "; ".join(sentences)
            facts.append(f"{word}: {listed}.")
    if row.traps:
        facts.append(f"Traps: {', '.join(row.traps)}.")
    if row.group != "base":
        facts.append(f"Extension: {row.group}.")
    return "\n\n".join(facts)


def _sentence(memory: MemoryRole, conditions: Sequence[str] = ()) -> str:
    words = " and ".join(condition.replace("=", " is ") for condition in conditions)
    text = f"{memory.space} at `{memory.address}`: {memory.shape()}"
    return f"{text} when {words}" if words else text


def _micro_operations() -> str:
    return _rows(
        ("opcode", "form", "arguments", "result", "cost", "meaning"),
        [
            (
                f"`0x{op.opcode:02x}`",
                f"`{micro_usage(op)}`",
                op.args or "-",
                op.result,
                op.cost.value,
                op.doc,
            )
            for op in MICRO_OPS
        ],
    )

"""The manual and the JSON export: in step with the tables, complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snncc.isa.instructions.encoding import BY_MNEMONIC, isa_hash
from snncc.isa.instructions.table import TABLE
from snncc.isa.instructions.text import usage
from snncc.isa.manual import manual, to_json
from snncc.isa.microprograms.table import MICRO_OPS
from snncc.isa.spec import Insn

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "isa.md"


def test_the_manual_is_up_to_date() -> None:
    assert MANUAL.read_text(encoding="utf-8") == manual(), "run `make docs`"


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.mnemonic)
def test_every_instruction_is_described(row: Insn) -> None:
    text = manual()
    section = text.partition(f"\n### {row.mnemonic}\n")[2].partition("\n##")[0]
    assert usage(row) in section
    assert row.doc in section
    assert row.action in section
    for operand in row.operands:
        assert f"| `{operand.name}` |" in section


def test_every_micro_operation_is_described() -> None:
    rows = [line for line in manual().splitlines() if line.startswith("| `0x")]
    for op in MICRO_OPS:
        assert any(
            f"| `0x{op.opcode:02x}` |" in r and op.doc in r.replace("\\|", "|") for r in rows
        )


def test_the_manual_is_good_markdown() -> None:
    text = manual()
    assert "``" not in text.replace("```", "")
    columns: list[int] = []
    for line in text.splitlines():
        if line.startswith("|"):
            columns.append(line.replace("\\|", "").count("|"))
            assert columns[-1] == columns[0], line
        else:
            columns = []


def test_the_json_export_rebuilds_every_word() -> None:
    facts = json.loads(to_json())
    assert facts["isa_hash"] == isa_hash()
    assert len(facts["instructions"]) == len(TABLE)
    assert [op["name"] for op in facts["micro_operations"]] == [op.name for op in MICRO_OPS]
    for entry in facts["instructions"]:
        row = BY_MNEMONIC[entry["mnemonic"]]
        assert (entry["opcode"], entry["unit"]) == (row.opcode, row.unit.value)
        found = [(o["name"], o["low"], o["kind"]["width"]) for o in entry["operands"]]
        assert found == [(f.name, f.low, f.kind.width) for f in row.operands]

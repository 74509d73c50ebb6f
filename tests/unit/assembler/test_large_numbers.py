"""Integers of thousands of digits in assembly text: one error each, whatever their base."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.common import snncc

DIGITS = 5000
NUMBERS = {"decimal": "9" * DIGITS, "hexadecimal": "0x" + "f" * DIGITS,
           "binary": "0b" + "1" * DIGITS, "negative": "-" + "9" * DIGITS}  # fmt: skip
PLACES = ("  li r0, {}", "  loopi {} {{\n  }}", "  wait fp, sem{}, 1", ".align {}", ".data x, {}",
          "  li r0, 1 << {}", ".core {}")  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("number", NUMBERS)
def test_one_error(tmp_path: Path, place: str, number: str) -> None:
    source = tmp_path / "p.s"
    source.write_text(f".machine small\n.core 0\n{place.format(NUMBERS[number])}\n  halt\n")
    done = snncc("asm", source, "-o", tmp_path / "p.snnx")
    assert done.exit_code == 1, done.output
    assert done.output.count("error[E07") == 1, done.output[:500]
    assert len(done.output) < 6 * DIGITS

"""Texts that repeat somebody's input: bounded, and nothing in them steers a terminal."""

from __future__ import annotations

import pytest

from snncc.isa.diagnostics.diag import CompileError, Diagnostic
from snncc.isa.diagnostics.printable import LONGEST_PLACE, LONGEST_TEXT, LONGEST_WORD, bounded

NINES = "9" * 5000


def test_a_long_value_is_cut_in_its_middle() -> None:
    shown = bounded(f"batch {NINES} is too large")
    assert shown == f"batch {'9' * 60}...(5000 characters)...{'9' * 20} is too large"


def test_what_is_short_enough_stays() -> None:
    text = f"a {'x' * LONGEST_WORD} b"
    assert bounded(text) == text


@pytest.mark.parametrize("text", ["1 " * 5000, " ".join([NINES] * 500), "é" * 9000])
def test_any_text_is_bounded(text: str) -> None:
    assert len(bounded(text)) <= LONGEST_TEXT + 3


def test_controls_are_shown() -> None:
    assert bounded("a\x1b[31m" + "\x9b" * 3) == "a\\x1b[31m\\x9b\\x9b\\x9b"


def test_every_part_of_a_diagnostic_is_bounded() -> None:
    found = Diagnostic("E0031", f"value {NINES}", f"{NINES}.onnx:1", (f"note {NINES}",), NINES)
    parts = found.as_json()
    assert str(parts["message"]) == f"value {bounded(NINES)}"
    assert len(str(parts)) < 2000
    for text in (str(found), str(CompileError(found))):
        assert len(text) < 1000
        assert text.count("(5000 characters)") == 3  # the place has its own digits


def test_a_place_may_be_a_long_path() -> None:
    path = f"/{'d' * 400}/net.onnx:/layer"
    assert str(Diagnostic("E0031", "no", path)).startswith(path)
    assert len(str(Diagnostic("E0031", "no", "p" * (LONGEST_PLACE + 1)))) < 200

import pytest

from snncc.compiler.diag import (
    CODES,
    CompileError,
    Diagnostic,
    DiagnosticSink,
    Note,
    SourceFile,
    Span,
    define,
    fail,
    render_all,
)

SOURCE = SourceFile("net.snn", "one\n\tlif(thr=0.2)\nthree")


def test_the_shape_of_a_message() -> None:
    where = Span(SOURCE, 9, 16)
    notes = (Note("reset defaults to 0.5 here", Span(SOURCE, 0, 3)), "thr was given")
    shown = str(Diagnostic("E0150", "too low (0.2)", where, notes, "raise thr"))
    assert shown.splitlines() == [
        "net.snn:2:6: error[E0150]: too low (0.2)",
        "    2 |  lif(thr=0.2)",
        "      |      ^^^^^^^",
        "net.snn:1:1: note: reset defaults to 0.5 here",
        "    1 | one",
        "      | ^^^",
        "note: thr was given",
        "help: raise thr",
    ]
    assert str(Diagnostic("E0150", "bad", "a.onnx:/n")) == "a.onnx:/n: error[E0150]: bad"
    assert str(Diagnostic("E0150", "bad")) == "error[E0150]: bad"


def test_the_end_of_the_text_and_long_lines() -> None:
    end = len(SOURCE.text)
    assert Span(SOURCE, end, end).excerpt() == ["    3 | three", "      |      ^"]
    long = SourceFile("x", "a" * 500 + "b" + "c" * 500)
    line, carets = Span(long, 500, 501).excerpt()
    assert len(line) < 130
    assert line[carets.index("^")] == "b"


def test_hostile_names_stay_on_one_line() -> None:
    shown = str(Diagnostic("E0150", "a\nb\x1b[31m" + "x" * 9000, "n\r\n:1"))
    assert shown.startswith("n\\r\\n:1: error[E0150]: a\\nb\\x1b[31mxxx")
    assert len(shown) < 2200


def test_a_sink_collects_and_stops() -> None:
    sink = DiagnosticSink(limit=3)
    sink.warning("E0150", "odd")
    sink.raise_if_errors()
    sink.error("E0150", "one", "a")
    sink.error("E0150", "one", "a")
    sink.error("E0150", "two", "a")
    assert len(sink.errors) == 2
    assert len(sink.warnings) == 1
    with pytest.raises(CompileError) as caught:
        sink.error("E0150", "three")
    assert str(caught.value).count("error[") == 3


def test_warnings_show_only_without_errors() -> None:
    warning = Diagnostic("E0150", "odd", severity="warning")
    assert render_all([warning]) == "warning[E0150]: odd"
    assert render_all([warning, Diagnostic("E0150", "bad")]) == "error[E0150]: bad"


def test_json() -> None:
    shown = Diagnostic("E0150", "bad", Span(SOURCE, 4, 5), ("why",), "so").as_json()
    assert shown["where"] == "net.snn:2:1"
    assert shown["notes"] == [{"message": "why", "where": ""}]


def test_codes_are_defined_once() -> None:
    with pytest.raises(ValueError, match="E9999 is not defined"):
        Diagnostic("E9999", "x")
    with pytest.raises(ValueError, match="E0150 is defined twice"):
        define("E0150", "x", "y")
    with pytest.raises(ValueError, match="not of the form"):
        define("W0150", "x", "y")
    with pytest.raises(CompileError, match="E0150"):
        fail("E0150", "x")
    assert all(code.title and code.explanation for code in CODES.values())

"""TOML from outside: the same tables as tomllib, and an answer in time whatever the text is."""

from __future__ import annotations

import tomllib

import pytest

from snncc.isa.files.toml_text import MAX_KEY_PARTS, TomlError, read_toml
from work import lines_run

LONG = "x" + ".x" * 200

FINE = [
    "a = 9223372036854775807\nb = -9223372036854775808",
    "a = 1\n[b.c]\nd = 'x'\n",
    f'text = "{LONG}" # {LONG}\n',
    f"text = '{LONG}'\nnumbers = [{', '.join(['1.5'] * 300)}]\n",
    f'text = """\n{LONG} \\""" {LONG}"""\nmore = \'\'\'{LONG}\'\'\'\n',
    f"# {LONG} '\n\"a.b\" . 'c' = 1.5\n",
    "".join(f"[t{i}.u]\nv.w = 1.5\n" for i in range(200)),
    "x" + ".x" * (MAX_KEY_PARTS - 1) + " = 1",
]


@pytest.mark.parametrize("text", FINE)
def test_what_tomllib_reads(text: str) -> None:
    assert read_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "key",
    ["a" + ".a" * 100_000, '"="' + '."="' * 100_000, "a" + " .\t'#'" * 100_000, LONG],
    ids=["bare", "quoted", "spaced", "just too long"],
)
@pytest.mark.parametrize("form", ["x = 1\n{} = 1", "[{}]", "x = {{{} = 1}}", "[[{}]]"])
def test_keys_of_many_parts(key: str, form: str) -> None:
    with pytest.raises(TomlError, match=f"more than {MAX_KEY_PARTS} parts") as caught:
        read_toml(form.format(key))
    line = 2 if form.startswith("x = 1\n") else 1
    column = len(form.format("").splitlines()[-1].split("= 1")[0].rstrip("} ]")) + 1
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "9" * 5000, "digits"),
        ("a = 1\n[b]\nc = [[0x" + "f" * 5000 + "]]", r"b\.c is an integer of more than 64 bits"),
        ("a = 9223372036854775808", "a is an integer of more than 64 bits"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a = " + "{b = " * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ('a = "' + LONG, "Unterminated string"),
        ("a = '''" + LONG, "Expected"),
        ("a = \nb = 1", "Invalid value"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(TomlError, match=message):
        read_toml(text)


@pytest.mark.parametrize("text", ['"', "'", '"\\', "a ", ". ", "'''", '"""', "#", "a.", "\n"])
def test_any_text_takes_linear_work(text: str) -> None:
    def work(n: int) -> int:
        def read() -> None:
            try:
                read_toml(text * n)
            except TomlError:
                pass

        return lines_run(read)

    assert work(2000) <= 2.5 * work(1000) + 500

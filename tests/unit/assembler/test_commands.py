"""`snncc asm` and `snncc dis`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from snncc.compiler.cli.main import cli

LANES = Path(__file__).resolve().parents[2] / "golden" / "asm" / "lanes.s"


def snncc(*words: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, [str(w) for w in words], prog_name="snncc", input=stdin)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "lanes.snnx"
    assert snncc("asm", LANES, "-o", path).exit_code == 0
    return path


def test_a_pipe_gives_the_same_bytes(program: Path) -> None:
    text = snncc("dis", program).stdout
    again = snncc("asm", "-", stdin=text.encode())
    assert again.stdout_bytes == program.read_bytes()


def test_listings(program: Path) -> None:
    listing = snncc("dis", program, "--core", 0).stdout.splitlines()
    assert listing[0] == "core 0"
    assert listing[1].split(";")[0].split() == ["0", f"{0x103:032x}", "li", "r1,", "0"]
    assert "hidden fp lanes.s:" in listing[1]
    assert snncc("dis", program, "--layer", "hidden").stdout.splitlines() == listing


def test_json(program: Path) -> None:
    found = json.loads(snncc("dis", program, "--json").stdout)
    first = found["cores"][0]["code"][0]
    assert (first["text"], first["unit"], first["layer"]) == ("li r1, 0", "seq", "hidden")
    assert first["operands"] == {"rd": "r1", "imm": "0"}
    assert [t["name"] for t in found["tensors"]] == ["x", "v", "s"]
    assert found["microprograms"][0]["name"] == "leaky"


def test_large_data_beside_the_text(tmp_path: Path) -> None:
    source, text, again = tmp_path / "a.s", tmp_path / "b.s", tmp_path / "b.snnx"
    source.write_text(".machine small\n.data dram, 0\n.rep 64, i\n.bytes \\i, 7\n.endr\nhalt\n")
    assert snncc("asm", source, "-o", tmp_path / "a.snnx").exit_code == 0
    data = tmp_path / "b.bin"
    assert snncc("dis", tmp_path / "a.snnx", "-o", text, "--data", data).exit_code == 0
    assert len(data.read_bytes()) == 128
    assert snncc("asm", text, "-o", again).exit_code == 0
    assert again.read_bytes() == (tmp_path / "a.snnx").read_bytes()
    data.write_bytes(bytes(128))
    damaged = snncc("asm", text, "-o", again)
    assert damaged.exit_code == 1
    assert "E0715" in damaged.stderr


@pytest.mark.parametrize("words", [("--core", 3), ("--layer", "hiden")])
def test_what_is_not_there(program: Path, words: tuple[object, ...]) -> None:
    done = snncc("dis", program, *words)
    assert done.exit_code == 1
    assert "E0029" in done.stderr
    assert "help: " in done.stderr


def test_the_target_overrides_the_text(tmp_path: Path) -> None:
    path = tmp_path / "p.snnx"
    assert snncc("asm", LANES, "-t", "multicore20", "-o", path).exit_code == 0
    assert snncc("dis", path).stdout.startswith(".machine multicore20\n")


def test_cores_that_run_the_same_are_shown_once(tmp_path: Path) -> None:
    source, made = tmp_path / "a.s", tmp_path / "a.snnx"
    source.write_text(".machine multicore20\n.core 0..2, 7\ncoreid r1\nhalt\n.core 4\nhalt\n")
    assert snncc("asm", source, "-o", made).exit_code == 0
    text = snncc("dis", made).stdout
    assert [line for line in text.splitlines() if line.startswith(".core")] == [
        ".core 0..2, 7", ".core 4",
    ]  # fmt: skip
    (tmp_path / "b.s").write_text(text)
    assert snncc("asm", tmp_path / "b.s", "-o", tmp_path / "b.snnx").exit_code == 0
    assert (tmp_path / "b.snnx").read_bytes() == made.read_bytes()
    listed = snncc("dis", made, "--core", 1, "--core", 2).stdout.splitlines()
    assert listed[0] == "cores 1..2"
    found = json.loads(snncc("dis", made, "--json").stdout)["cores"]
    assert [(c["core"], c.get("same_as"), "code" in c) for c in found] == [
        (0, None, True), (1, 0, False), (2, 0, False), (7, 0, False), (4, None, True),
    ]  # fmt: skip

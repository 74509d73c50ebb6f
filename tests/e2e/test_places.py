"""No command replaces a file that it did not announce and did not make."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc
from examples import sampled

COMMAND = (sys.executable, "-m", "snncc.compiler.cli.entry")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, its inputs and its configuration."""
    monkeypatch.chdir(tmp_path)
    for source, name in ((DIGITS, "m.onnx"), (BATCH, "m.npz"), (CONFIG, "m.toml")):
        shutil.copyfile(source, name)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_ir_leaves_the_inputs_alone(folder: Path) -> None:
    before = contents(folder)
    assert snncc("opt", "m.onnx", "-o", "m.snnir").exit_code == 0
    assert snncc("compile", "m.onnx", "--emit", "ir:graph", "-o", "n.snnir").exit_code == 0
    after = contents(folder)
    assert before.items() <= after.items()
    new = {"m.snnir", "m.snnir.npz", "n.snnir", "n.snnir.npz"}
    assert set(after) - set(before) == new
    assert snncc("opt", "m.snnir", "-p", "frontend").exit_code == 0
    assert snncc("opt", "m.onnx", "-o", "m.snnir").exit_code == 0  # ours may be replaced


def test_a_side_file_that_is_none(folder: Path) -> None:
    before = contents(folder)
    said = refused(snncc("opt", "m.onnx", "-o", "m"), "E0040")  # its arrays would go to m.npz
    assert said.startswith("m.npz: ")
    assert contents(folder) == before


@pytest.mark.parametrize(
    "words",
    [
        ("compile", "m.onnx", "-o", "m.onnx"),
        ("compile", "m.onnx", "--config", "m.toml", "-o", "m.toml"),
        ("compile", "m.onnx", "-o", "p", "--stats", "p"),
        ("compile", "m.onnx", "--stats", "m.onnx"),
        ("compile", "m.onnx", "-o", "./link"),
        ("run", "m.onnx", "--config", "m.toml", "-i", "m.npz", "-o", "m.npz"),
        ("run", "m.onnx", "--config", "m.toml", "-i", "m.npz", "--stats", "m.toml"),
        ("run", "m.onnx", "--config", "m.toml", "-i", "m.npz", "--trace", "m.onnx"),
        ("run", "m.onnx", "--config", "m.toml", "-i", "m.npz", "--report", "m.npz"),
        ("run", "m.onnx", "--config", "m.toml", "-i", "m.npz", "--record", "m.npz"),
        ("export", "m.onnx", "-o", "m.onnx"),
        ("opt", "m.onnx", "-o", "m.onnx"),
        ("report", "s.json", "-o", "s.json"),
        ("asm", "m.s", "-o", "m.s"),
        ("asm", "m.s", "--listing", "m.s"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_an_input(folder: Path, words: tuple[str, ...]) -> None:
    os.symlink("m.onnx", "link")
    Path("s.json").write_text("{}")
    Path("m.s").write_text(".core 0\n  halt\n")
    before = contents(folder)
    refused(snncc(*words), "E0040")
    assert contents(folder) == before


def test_a_default_name_replaces_only_what_snncc_made(folder: Path) -> None:
    Path("m.snnx").write_bytes(b"mine")
    Path("s.html").write_bytes(b"mine")
    Path("m.s").write_text(".core 0\n  halt\n")
    run = ("run", "m.onnx", "--config", "m.toml", "-i", "m.npz", "--stats", "s.json")
    assert snncc(*run).exit_code == 0
    refused(snncc("compile", "m.onnx"), "E0040")
    refused(snncc("asm", "m.s"), "E0040")
    refused(snncc("report", "s.json"), "E0040")
    assert Path("m.snnx").read_bytes() == Path("s.html").read_bytes() == b"mine"
    Path("m.snnx").unlink()
    Path("s.html").unlink()
    for _ in range(2):  # the second time it is ours
        assert snncc("compile", "m.onnx").exit_code == 0
        assert snncc("report", "s.json").exit_code == 0
    assert snncc("asm", "m.s").exit_code == 0


def test_dumps_replace_dumps_only(folder: Path) -> None:
    words = ("compile", "m.onnx", "-o", "p.snnx", "--dump-dir", "d")
    dumps = folder / "d"
    dumps.mkdir()
    mine = {"notes.txt": b"mine", "007-mine.snnir": b"module @mine {\n}\n"}
    for name, data in mine.items():
        (dumps / name).write_bytes(data)
    half = dumps / "099-cut.snnir"
    half.write_text("// snncc opt 099-cut.snnir -p dce\nmodule")  # a killed run's
    (dumps / ".099-cut.snnir.abcdefgh").write_text("mod")
    assert snncc(*words).exit_code == 0
    first = contents(dumps)
    assert mine.items() <= first.items()
    assert not half.exists()
    assert ".099-cut.snnir.abcdefgh" not in first
    assert snncc(*words).exit_code == 0
    assert contents(dumps) == first
    for name in ("index.json", "resources.npz"):
        shutil.rmtree(dumps)
        dumps.mkdir()
        (dumps / name).write_text("{}")
        assert str(Path("d", name)) in refused(snncc(*words), "E0040")
        assert contents(dumps) == {name: b"{}"}


def test_an_orphan_is_taken_away_and_a_file_in_use_is_not(folder: Path) -> None:
    import fcntl

    orphan, used = folder / ".p.snnx.abcdefgh", folder / ".p.snnx.hgfedcba"
    other = folder / ".p.snnx.mine"
    for path in (orphan, used, other):
        path.write_text("half")
    with open(used) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert snncc("compile", "m.onnx", "-o", "p.snnx").exit_code == 0
        assert not orphan.exists()
        assert used.exists()
        assert other.exists()


def test_links_devices_rights_and_folders(folder: Path) -> None:
    real = folder / "real.snnx"
    real.write_bytes(b"old")
    real.chmod(0o640)
    os.symlink("real.snnx", "p.snnx")
    assert snncc("compile", "m.onnx", "-o", "p.snnx").exit_code == 0
    assert Path("p.snnx").is_symlink()
    assert real.read_bytes()[:4] == b"SNNX"
    assert real.stat().st_mode & 0o777 == 0o640
    assert snncc("compile", "m.onnx", "-o", os.devnull).exit_code == 0
    assert Path(os.devnull).is_char_device()
    refused(snncc("compile", "m.onnx", "-o", "."), "E0005")
    refused(snncc("compile", "m.onnx", "-o", "none/p.snnx"), "E0005")
    if os.geteuid():  # root may write everything
        real.chmod(0o440)
        refused(snncc("compile", "m.onnx", "-o", "p.snnx"), "E0005")


def test_one_stream_has_one_use() -> None:
    run = ("run", "m.onnx", "--config", "m.toml")
    refused(snncc(*run, "-i", "m.npz", "-o", "-", "--stats", "-"), "E0041")
    refused(snncc(*run, "-i", "-", "--commands", "-", "--debug"), "E0041")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "words",
    sampled(
        [
            ("--help",),
            ("--version",),
            ("targets",),
            ("isa",),
            ("report", "errors"),
            ("completion", "bash"),
            ("check", "m.onnx", "--short"),
            ("opt", "m.onnx"),
            ("compile", "m.onnx", "-o", "-"),
        ],
        4,
    ),
    ids=" ".join,
)
def test_a_full_or_closed_stdout(folder: Path, words: tuple[str, ...]) -> None:
    before = sorted(folder.iterdir())
    for stdout in (">/dev/full", ">&-"):
        call = ["sh", "-c", f'exec "$@" {stdout}', "sh", *COMMAND, *words]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done
        assert done.stderr.splitlines()[-1].startswith("stdout: error[E0005]: ")
        assert "Traceback" not in done.stderr
    assert sorted(folder.iterdir()) == before


def test_closed_streams_do_not_become_files(folder: Path) -> None:
    call = ["sh", "-c", 'exec "$@" 2>&- <&-', "sh", *COMMAND, "compile", "m.onnx", "-o", "p.snnx"]
    done = subprocess.run(call, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == b""
    np.testing.assert_equal(Path("p.snnx").read_bytes()[:4], b"SNNX")

"""The commands as a user calls them, on the shipped model."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from e2e.common import BATCH, CONFIG, DIGITS, snncc
from snncc.compiler.cli.main import COMMANDS

Array = npt.NDArray[Any]


def cosine(a: Array, b: Array) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("p") / "net.snnx"
    done = snncc("compile", DIGITS, "--config", CONFIG, "-o", path, "--cores", "4", "--spikes")
    assert done.exit_code == 0, done.output
    return path


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_teaches(command: str) -> None:
    done = snncc(command, "--help")
    assert done.exit_code == 0
    assert done.stdout.startswith(f"Usage: snncc {command}")
    assert len(done.stdout.splitlines()) >= 7


def test_help_lists_every_command_and_version() -> None:
    done = snncc("--help")
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "snncc 0." in snncc("--version").stdout


def test_check() -> None:
    done = snncc("check", DIGITS, "--config", CONFIG)
    assert done.exit_code == 0, done.output
    assert "10 time steps, batch 64" in done.stdout
    assert "atan(alpha=2) (config)" in done.stdout
    assert "128" in done.stdout
    data = json.loads(snncc("check", DIGITS, "--config", CONFIG, "--json").stdout)
    assert data["ok"] is True
    (first, second) = data["neurons"].values()
    assert first["beta"]["value"] == pytest.approx(0.9)
    assert first["reset"]["value"] == "subtract"
    assert second["surrogate"]["origin"] == "config"
    assert data["training"]["loss.scale"] == {"value": 128.0, "origin": "default"}
    flagged = snncc("check", DIGITS, "--config", CONFIG, "--loss-scale", "64", "--json")
    scale = json.loads(flagged.stdout)["training"]["loss.scale"]
    assert scale == {"value": 64.0, "origin": "flag"}


def test_run_a_program(program: Path, tmp_path: Path) -> None:
    out, stats = tmp_path / "out.npz", tmp_path / "s.json"
    done = snncc("run", program, "--inputs", BATCH, "-o", out, "--stats", stats, "--spikes")
    assert done.exit_code == 0, done.output
    with np.load(out) as found, np.load(BATCH) as reference:
        assert found["logits"].shape == (64, 10)
        assert found["loss"].shape == ()
        assert all(found[k].dtype == np.float32 for k in found)
        spikes = [found[k] for k in found if k.startswith("spikes/")]
        assert [s.shape for s in spikes] == [(10, 64, 128), (10, 64, 10)]
        np.testing.assert_array_equal(spikes[1], found["out/spk_rec"])
        assert abs(found["loss"] - reference["loss"]) < 0.05
        for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
            assert found[f"grad/{name}"].shape == reference[f"param/{name}"].shape
            assert cosine(found[f"grad/{name}"], reference[f"grad/{name}"]) > 0.98
            assert f"param/{name}" in found
    s = json.loads(stats.read_text())
    for key in ("cycles", "seconds", "instructions", "noc_bytes", "target", "versions", "layers"):
        assert key in s
    assert set(s["dram_bytes"]) >= {"read", "write", "instruction"}
    assert s["macs"]["performed"] < s["macs"]["dense"]
    assert s["energy_pj"]["total"] > 0


def test_program_and_model_give_the_same_bits(program: Path, tmp_path: Path) -> None:
    from_program, from_model = tmp_path / "a.npz", tmp_path / "b.npz"
    assert snncc("run", program, "-i", BATCH, "-o", from_program).exit_code == 0
    words = ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "--cores", "1", "-o", from_model)
    assert snncc(*words).exit_code == 0
    assert from_program.read_bytes() == from_model.read_bytes()


@pytest.mark.parametrize("numerics", ["float32", "float64"])
def test_interpreter_agrees_with_pytorch(numerics: str, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    words = ("run", DIGITS, "--config", CONFIG, "-i", BATCH, "-o", out, "--numerics", numerics)
    done = snncc(*words)
    assert done.exit_code == 0, done.output
    with np.load(out) as found, np.load(BATCH) as reference:
        np.testing.assert_array_equal(found["logits"], reference["out/logits"])
        assert abs(found["loss"] - reference["loss"]) < 1e-5
        for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"):
            np.testing.assert_allclose(
                found[f"grad/{name}"], reference[f"grad/{name}"], rtol=1e-3, atol=1e-5
            )


def test_inference(tmp_path: Path) -> None:
    path, out = tmp_path / "i.snnx", tmp_path / "o.npz"
    words = ("compile", DIGITS, "--config", CONFIG, "--mode", "infer", "-o", path)
    assert snncc(*words).exit_code == 0
    assert snncc("run", path, "--inputs", BATCH, "-o", out).exit_code == 0
    with np.load(out) as found:
        assert found["out/spk_rec"].shape == (10, 64, 10)
        assert not any(k.startswith("grad/") for k in found)


def test_stdin_and_stdout(program: Path) -> None:
    done = snncc("run", program, "--inputs", "-", "-o", "-", stdin=BATCH.read_bytes())
    assert done.exit_code == 0
    with np.load(io.BytesIO(done.stdout_bytes)) as found:
        assert found["logits"].shape == (64, 10)


def test_another_batch_size(tmp_path: Path) -> None:
    with np.load(BATCH) as all_:
        path = tmp_path / "in.npz"
        np.savez(path, x=all_["x"][:5], y=all_["y"][:5])
    out = tmp_path / "out.npz"
    done = snncc("run", DIGITS, "--config", CONFIG, "--inputs", path, "-o", out)
    assert done.exit_code == 0, done.output
    with np.load(out) as found:
        assert found["logits"].shape == (5, 10)


def test_emit_and_dumps(tmp_path: Path) -> None:
    for stage in ("graph", "phased", "tiled", "mapped", "core"):
        words = ("compile", DIGITS, "--config", CONFIG, "-t", "small", "--emit", f"ir:{stage}")
        done = snncc(*words)
        assert done.exit_code == 0, done.output
        assert f'stage = "{stage}"' in done.stdout
    for name in ("a", "b"):
        dumped = ("compile", DIGITS, "-t", "small", "-o", tmp_path / "p", "--dump-dir")
        assert snncc(*dumped, tmp_path / name).exit_code == 0
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert "000-import.snnir" in files
    assert "index.json" in files
    for each in files:
        assert (tmp_path / "a" / each).read_bytes() == (tmp_path / "b" / each).read_bytes(), each


def test_compile_statistics(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    words = ("compile", DIGITS, "--config", CONFIG, "-o", tmp_path / "p.snnx", "--stats", path)
    assert snncc(*words).exit_code == 0
    found = json.loads(path.read_text())
    assert found["target"] == "multicore20"
    assert found["code_bytes"] > 0
    assert next(p["name"] for p in found["passes"]) == "import"


def test_trace(program: Path, tmp_path: Path) -> None:
    for name in ("t.txt", "t.jsonl", "t.json", "t.pftrace"):
        path = tmp_path / name
        assert snncc("run", program, "-i", BATCH, "--trace", path).exit_code == 0
        assert path.stat().st_size > 1000
    json.loads((tmp_path / "t.json").read_text())
    json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])


def test_no_races_and_no_uninitialised_reads(program: Path) -> None:
    words = ("run", program, "-i", BATCH, "--check-races", "--strict-init")
    done = snncc(*words)
    assert done.exit_code == 0, done.output


def test_targets_and_isa() -> None:
    assert "multicore20" in snncc("targets").stdout
    assert "scratchpad" in snncc("targets", "small").stdout
    assert len(json.loads(snncc("targets", "--json").stdout)) >= 2
    listed = snncc("isa").stdout
    assert "gacc" in listed
    assert "action" in snncc("isa", "show", "gacc").stdout
    assert json.loads(snncc("isa", "export", "--format", "json").stdout)
    assert snncc("isa", "--format", "md").stdout.startswith("# ")


def test_reports_and_completion() -> None:
    page = snncc("report", "errors", "--format", "md").stdout
    assert "**E0351**" in page
    assert "`loss.scale`" in snncc("report", "config").stdout
    for shell in ("bash", "zsh", "fish"):
        assert "_SNNCC_COMPLETE" in snncc("completion", shell).stdout


def test_assembly_round_trip(program: Path, tmp_path: Path) -> None:
    source, again = tmp_path / "net.s", tmp_path / "again.snnx"
    assert snncc("dis", program, "-o", source).exit_code == 0
    done = snncc("asm", source, "-o", again)
    assert done.exit_code == 0, done.output[:2000]
    assert again.read_bytes() == program.read_bytes()
    emitted = snncc("compile", DIGITS, "--config", CONFIG, "-t", "small", "--emit", "asm")
    assert emitted.exit_code == 0
    assert "halt" in emitted.stdout
    assert snncc("asm", "-", "-o", "-", stdin=emitted.stdout.encode()).exit_code == 0


def test_assembly_errors_have_a_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.s"
    path.write_text(".core 0\n  haltt\n")
    done = snncc("asm", path, "-o", tmp_path / "p.snnx")
    assert done.exit_code == 1
    assert "bad.s:2" in done.stderr
    assert "did you mean" in done.stderr.lower() or "halt" in done.stderr


def test_running_a_program_leaves_the_compiler_alone(tmp_path: Path) -> None:
    """Starting quickly means to import little."""
    program = tmp_path / "net.snnx"
    words = ("compile", DIGITS, "--config", CONFIG, "--cores", "2", "-o", program)
    assert snncc(*words).exit_code == 0
    code = (
        "import sys; from snncc.compiler.cli.main import cli\n"
        "cli(sys.argv[1:], standalone_mode=False)\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    run = [sys.executable, "-c", code, "run", str(program), "-i", str(BATCH)]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    loaded = set(done.stderr.split())
    assert "snncc.isasim.system" in loaded
    heavy = (
        "snncc.compiler.frontend",
        "snncc.compiler.passes",
        "snncc.compiler.ir",
        "onnx",
        "lark",
    )
    assert not [name for name in loaded if name.startswith(heavy)]

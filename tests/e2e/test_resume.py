"""A training run is known by its contents: what resumes, what is refused, and what is said."""

import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from e2e.common import refused, snncc

NETWORK = """network n
input(8, steps=3)
dense(6) lif(beta=0.5)
dense(4) lif
output(spikes)
train { optimizer = momentum(lr=0.01, momentum=0.9) batch = 4 }
"""
COMMAND = (sys.executable, "-m", "snncc.compiler.cli.entry")
TRAIN = ("train", "n.snn", "--data", "d.npz", "--cores", "2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("n.snn").write_text(NETWORK)
    save("d.npz", samples())
    return tmp_path


def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x": (rng.random((24, 3, 8)) < 0.5).astype(np.float32),
        "y": rng.integers(0, 4, 24),
        "x_test": (rng.random((6, 3, 8)) < 0.5).astype(np.float32),
        "y_test": rng.integers(0, 4, 6),
    }


def save(name: str, arrays: dict[str, np.ndarray]) -> None:
    np.savez(name, **arrays)  # type: ignore[arg-type]


def done(*words: object) -> str:
    result = snncc(*words)
    assert result.exit_code == 0, result.output
    return result.stderr


def test_names_and_places_do_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done(*TRAIN, "--epochs", "2", "-o", "whole")
    done(*TRAIN, "--epochs", "1", "-o", "part")
    other = folder / "elsewhere"
    (other / "deep").mkdir(parents=True)
    shutil.copy("n.snn", other / "renamed.snn")
    shutil.copy("d.npz", other / "renamed.npz")
    monkeypatch.chdir(other / "deep")
    words = ("train", "../renamed.snn", "--data", other / "renamed.npz", "--cores", "2")
    said = done(*words, "--epochs", "2", "--resume", "../../part")
    assert "note" not in said
    weights = [(folder / name / "weights.npz").read_bytes() for name in ("whole", "part")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("suffix", [".snn", ".onnx"])
def test_programs_do_not_depend_on_where_the_model_lies(
    folder: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    (folder / "sub").mkdir()
    if suffix == ".onnx":
        done("export", "n.snn", "-o", "n.onnx")
    name = f"n{suffix}"
    flags = ("--timesteps", "3", "--time-axis", "0", "--cores", "2") if suffix == ".onnx" else ()
    for number, path in enumerate((name, f"./sub/../{name}", folder / name)):
        done("compile", path, *flags, "-o", folder / f"{number}.snnx")
    monkeypatch.chdir("sub")
    done("compile", f"../{name}", *flags, "-o", folder / "3.snnx")
    assert len({(folder / f"{number}.snnx").read_bytes() for number in range(4)}) == 1
    assert str(folder) not in snncc("dis", folder / "0.snnx").stdout


def test_what_may_change_is_told(folder: Path) -> None:
    done(*TRAIN, "--epochs", "1", "-o", "run")
    words = ("train", "n.snn", "--data", "d.npz", "--cores", "1", "--lr", "0.5", "-t", "small")
    said = done(*words, "--epochs", "2", "--resume", "run")
    assert "note: optimizer.lr was 0.01, is 0.5" in said
    assert "note: target was" in said
    arrays = samples()
    arrays["y_test"][0] ^= 1
    save("d.npz", arrays)
    assert "note: the test samples differ" in done(*TRAIN, "--epochs", "3", "--resume", "run")


def test_cores_do_not_change_the_bits() -> None:
    done(*TRAIN, "--epochs", "2", "-o", "whole")
    done(*TRAIN, "--epochs", "1", "-o", "part")
    words = ("train", "n.snn", "--data", "d.npz", "--cores", "5", "--epochs", "2")
    assert "note: cores was 2, is 5" in done(*words, "--resume", "part")
    assert Path("whole/weights.npz").read_bytes() == Path("part/weights.npz").read_bytes()


def test_what_must_not_change_is_refused(folder: Path) -> None:
    done(*TRAIN, "--epochs", "1", "-o", "run")
    before = {p.name: p.read_bytes() for p in Path("run").iterdir()}
    more = ("--epochs", "2", "--resume", "run")

    def differs(*words: object) -> str:
        said = refused(snncc(*TRAIN, *more, *words), "E0027")
        assert {p.name: p.read_bytes() for p in Path("run").iterdir()} == before
        return said

    assert "training.seed was 0, is 7" in differs("--seed", "7")
    assert "batch was 4, is 8" in differs("--batch", "8")
    assert "loss.scale was" in differs("--loss-scale", "2")
    assert 'surrogate of * was not said, is ["atan"' in differs("--surrogate", "atan:3")
    arrays = samples()
    arrays["x"][5, 1, 2] = 1 - arrays["x"][5, 1, 2]
    save("d.npz", arrays)
    assert "the training samples differ" in differs()
    save("d.npz", samples())
    Path("n.snn").write_text(NETWORK.replace("beta=0.5", "beta=0.25"))
    assert "the model's contents differ" in differs()


def test_a_finished_run_is_left_alone() -> None:
    done(*TRAIN, "--epochs", "1", "-o", "run")
    before = {p.name: p.read_bytes() for p in Path("run").iterdir()}
    assert "nothing to do: 1 epochs are done" in done(*TRAIN, "--epochs", "1", "--resume", "run")
    said = refused(snncc(*TRAIN, "--epochs", "1", "-o", "run"), "E0040")
    assert "--resume" in said
    assert {p.name: p.read_bytes() for p in Path("run").iterdir()} == before
    done(*TRAIN, "--epochs", "1", "--seed", "9", "-o", "run", "--overwrite")
    assert Path("run/checkpoint.npz").read_bytes() != before["checkpoint.npz"]
    Path("mine").mkdir()
    save("mine/weights.npz", samples())
    refused(snncc(*TRAIN, "--epochs", "1", "-o", "mine"), "E0040")


def test_an_interrupted_run_says_how_to_go_on(folder: Path) -> None:
    run = subprocess.Popen(
        [*COMMAND, *TRAIN, "--epochs", "100000", "-o", "a run", "--lr", "0.02"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stderr is not None
    while not run.stderr.readline().startswith("epoch   1/"):
        assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    said = run.stderr.read()
    assert run.wait() == 143
    line = next(line for line in said.splitlines() if line.startswith("to go on: "))
    text = "to go on: snncc train n.snn --data d.npz --lr 0.02 --cores 2 --epochs 100000"
    assert line == f"{text} --resume 'a run'"
    assert not [p for p in Path("a run").iterdir() if p.name.startswith(".")]
    again = line.removeprefix("to go on: snncc ").replace("100000", "1")
    call = [*COMMAND, *shlex.split(again)]
    finished = subprocess.run(call, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "nothing to do" in finished.stderr

"""Overflow through the commands: nothing goes on in silence, and a dynamic scale helps."""

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.common import BATCH, CONFIG, DIGITS, refused, snncc
from snncc.compiler.config.config import load_config
from snncc.compiler.driver import api
from snncc.compiler.driver.files import npz_bytes
from snncc.models.datasets import digits

TRAIN = ("train", DIGITS, "--config", CONFIG, "--target", "small")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Few digits, a configuration whose scale moves soon, and one step's inputs."""
    made = tmp_path_factory.mktemp("overflow")
    found = digits()
    np.savez(made / "few.npz", x=found.x[:300], y=found.y[:300], x_test=found.x_test[:100],
             y_test=found.y_test[:100])  # fmt: skip
    text = CONFIG.read_text().replace("[loss]", '[loss]\nscale = "dynamic"\ngrowth_interval = 3')
    (made / "dynamic.toml").write_text(text)
    return made


def arrays(folder: Path) -> dict[str, Any]:
    with np.load(folder / "few.npz") as found:
        return {name: found[name] for name in found.files}


def rows(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in found:
        del row["seconds"]
    return found


@pytest.mark.parametrize(
    ("words", "help_"),
    [
        (("--loss-scale", "65504"), "--loss-scale dynamic"),
        (("--loss-scale", "32768"), "--loss-scale dynamic"),
        (("--lr", "1e4"), "lower optimizer.lr"),
        (("--loss-scale", "dynamic", "--lr", "1e4"), "lower optimizer.lr"),
    ],
    ids=["65504", "32768", "rate", "dynamic rate"],
)
def test_training_stops_at_once(folder: Path, tmp_path: Path, words: Any, help_: str) -> None:
    data = folder / "few.npz"
    text = refused(snncc(*TRAIN, "--data", data, "--epochs", "5", "-o", tmp_path, *words), "E0360")
    assert "(layer fc2)" in text
    assert help_ in text
    assert not (tmp_path / "weights.npz").exists()
    checkpoint = tmp_path / "checkpoint.npz"
    if checkpoint.exists():  # of the last good epoch
        with np.load(checkpoint) as found:
            for name in found.files:
                if name.startswith("state/"):
                    assert np.isfinite(found[name]).all(), name


def test_the_warnings_of_check_come_before_the_first_epoch(folder: Path) -> None:
    words = (*TRAIN, "--data", folder / "few.npz", "--epochs", "1", "--loss-scale", "65504")
    text = refused(snncc(*words), "E0360")
    assert text.index("warning[E0371]") < text.index("error[E0360]")


def test_the_python_interface_tells_it_too(folder: Path) -> None:
    model = api.load(DIGITS, config=load_config(CONFIG).override({"loss.scale": 65504.0}), batch=64)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with pytest.raises(api.CompileError, match="E0360"):
            api.train(model, str(folder / "few.npz"), epochs=1, target="small")
    assert ["E0371" in str(each.message) for each in told] == [True]
    program = api.compile(model, target="small")
    with np.load(BATCH) as found, pytest.warns(UserWarning, match="E0360"):
        result = api.run(program, found["x"], found["y"])
    assert [each.code for each in result.warnings] == ["E0360"]
    assert not np.isfinite(result["grad/fc2.weight"]).all()


@pytest.mark.parametrize("name", ["x", "x_test"])
@pytest.mark.parametrize("value", [7e4, -np.inf, np.nan])
def test_data_beyond_binary16(folder: Path, tmp_path: Path, name: str, value: float) -> None:
    data = arrays(folder)
    data[name][17, 5] = value
    np.savez(tmp_path / "bad.npz", **data)
    done = snncc(*TRAIN, "--data", tmp_path / "bad.npz", "--epochs", "1")
    text = refused(done, "E0023")
    assert f"bad.npz: error[E0023]: {name}[17, 5] (sample 17) is" in text
    assert "epoch" not in text


def test_the_largest_data_that_fit(folder: Path, tmp_path: Path) -> None:
    data = arrays(folder)
    data["x"][17, 5] = 65519
    np.savez(tmp_path / "edge.npz", **data)
    done = snncc(*TRAIN, "--data", tmp_path / "edge.npz", "--epochs", "1")
    assert done.exit_code == 0, done.output
    assert "warning[E0371]: a sum of linear may reach" in done.stderr


def test_dynamic_learns_where_a_fixed_scale_fails(folder: Path, tmp_path: Path) -> None:
    words = (*TRAIN, "--data", folder / "few.npz", "--epochs", "16", "-o", tmp_path)
    done = snncc(*words, "--loss-scale", "dynamic")
    assert done.exit_code == 0, done.output
    found = rows(tmp_path)
    assert sum(row["skipped"] for row in found) > 0
    assert found[-1]["loss_scale"] in (2.0**k for k in range(15))  # below the first one, 2^15
    assert found[-1]["test_accuracy"] > 0.7
    assert "step skipped (overflow)" in done.stderr or "steps skipped (overflow)" in done.stderr
    with np.load(tmp_path / "weights.npz") as weights:
        assert all(np.isfinite(weights[name]).all() for name in weights.files)


@pytest.mark.parametrize("words", [(), ("--weights", "fp32-master", "--rounding", "stochastic")])
def test_resume_is_exact(folder: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    def train(epochs: int, *more: object) -> None:
        done = snncc("train", DIGITS, "--config", folder / "dynamic.toml", "--target", "small",
                     "--data", folder / "few.npz", "--epochs", epochs, *words, *more)  # fmt: skip
        assert done.exit_code == 0, done.output

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(5, "-o", whole)
    train(2, "-o", parts)  # 8 steps: the scale does not change just here
    train(5, "--resume", parts)
    assert rows(whole) == rows(parts)
    assert any(row["skipped"] for row in rows(whole))
    assert len({row["loss_scale"] for row in rows(whole)}) > 1
    with np.load(whole / "checkpoint.npz") as a, np.load(parts / "checkpoint.npz") as b:
        assert int(a["state/loss#good_steps"]) >= 0
        for name in a.files:
            if name.startswith("state/"):
                assert a[name].tobytes() == b[name].tobytes(), name


def test_run_warns_and_names_the_layers(tmp_path: Path) -> None:
    words = ("run", DIGITS, "--config", CONFIG, "--target", "small", "-i", BATCH, "-o")
    out = tmp_path / "out.npz"
    done = snncc(*words, out, "--loss-scale", "65504")
    assert done.exit_code == 0, done.output
    assert "warning[E0360]" in done.stderr
    with np.load(out) as found:
        bad = {n: int((~np.isfinite(found[n])).sum()) for n in found.files}
        count, size = bad["grad/fc2.weight"], found["grad/fc2.weight"].size
    assert count > 0
    assert f"gradient fc2.weight (layer fc2): {count} of {size} values" in done.stderr
    assert "E0360" not in snncc(*words, out).stderr
    program = tmp_path / "p.snnx"
    made = snncc("compile", DIGITS, "--config", CONFIG, "--target", "small", "--batch", "64",
                 "--loss-scale", "65504", "-o", program)  # fmt: skip
    assert made.exit_code == 0, made.output
    done = snncc("run", program, "-i", BATCH, "-o", out)
    assert f"gradient fc2.weight (layer fc2): {count} of {size} values" in done.stderr


@pytest.mark.parametrize("numerics", ["float32", "float64"])
def test_other_numerics(tmp_path: Path, numerics: str) -> None:
    """What binary16 cannot hold is fine there; what they cannot hold is told as well."""
    with np.load(BATCH) as found:
        x, y = found["x"].copy(), found["y"]
    x[0, 0] = 7e4
    np.savez(tmp_path / "in.npz", x=x, y=y)
    words = ("run", DIGITS, "--config", CONFIG, "-i", tmp_path / "in.npz")
    done = snncc(*words, "--numerics", numerics)
    assert done.exit_code == 0, done.output
    assert "E0360" not in done.stderr
    assert "(sample 0) is 70000" in refused(snncc(*words), "E0023")
    done = snncc(*words, "--numerics", numerics, "--lr", "3e38")  # float32 ends at 3.4e38
    assert done.exit_code == 0, done.output
    assert "warning[E0360]" in done.stderr
    assert "weight fc" in done.stderr


def test_weights_of_the_file(folder: Path, tmp_path: Path) -> None:
    net = tmp_path / "net.snn"
    net.write_text('input(64, steps=2, static=true)\nweights("w.npz")\nfc = dense(10)\nlif\n')

    def put(value: float) -> None:
        weight = np.zeros((10, 64), np.float32)
        weight[3, 4] = value
        arrays = {"fc.weight": weight, "fc.bias": np.zeros(10, np.float32)}
        (tmp_path / "w.npz").write_bytes(npz_bytes(arrays))

    put(7e4)
    words = ("train", net, "--target", "small", "--data", folder / "few.npz", "--epochs", "1")
    text = refused(snncc(*words), "E0360")
    assert "weight fc.weight (layer fc): 1 of 640 values" in text
    put(65519)  # rounds to 65504
    assert "fc.weight holds" not in snncc("check", net).stdout
    put(65520)
    assert "fc.weight holds" in snncc("check", net).stdout


def test_resume_from_infinite_weights(folder: Path, tmp_path: Path) -> None:
    words = (*TRAIN, "--data", folder / "few.npz")
    done = snncc(*words, "--epochs", "1", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    path = tmp_path / "checkpoint.npz"
    with np.load(path) as found:
        state = {name: found[name] for name in found.files if name != "sha256"}
    state["state/fc1.weight"][0, 0] = np.nan
    joined = b"".join(np.ascontiguousarray(a).tobytes() for a in state.values())
    state["sha256"] = np.frombuffer(hashlib.sha256(joined).digest(), np.uint8)
    path.write_bytes(npz_bytes(state))
    text = refused(snncc(*words, "--epochs", "2", "--resume", tmp_path), "E0027")
    assert "weight fc1.weight (layer fc1): 1 of 8192 values" in text


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('scale = "dynamc"', "E0352"),
        ('scale = "dynamic"\ninitial_scale = 3', "E0352"),
        ('scale = "dynamic"\nminimum_scale = 0.5', "E0352"),
        ('scale = "dynamic"\nmaximum_scale = 1024', "E0354"),
        ("scale = 128\ngrowth_interval = 10", "E0354"),
        ("growth_interval = 10", "E0354"),
    ],
)
def test_wrong_configurations(tmp_path: Path, said: str, code: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(CONFIG.read_text().replace("[loss]", f"[loss]\n{said}"))
    done = snncc("check", DIGITS, "--config", path)
    text = done.stderr + done.stdout
    assert done.exit_code == 1
    assert f"error[{code}]" in text
    assert "c.toml:" in text


def test_check_prints_the_keys_of_a_dynamic_scale_only(folder: Path) -> None:
    fixed = snncc("check", DIGITS, "--config", CONFIG).stdout
    assert "growth_interval" not in fixed
    moving = snncc("check", DIGITS, "--config", folder / "dynamic.toml").stdout
    for line in ("loss.scale            dynamic (config)", "loss.growth_interval  3 (config)",
                 "loss.initial_scale    32768 (default)"):  # fmt: skip
        assert line in moving
    again = snncc("check", DIGITS, "--config", folder / "dynamic.toml", "--loss-scale", "64")
    assert again.exit_code == 0
    assert "loss.scale            64 (flag)" in again.stdout or "64 (flag)" in again.stdout


def test_a_network_text_may_say_it(tmp_path: Path) -> None:
    net = tmp_path / "net.snn"
    net.write_text("input(4, steps=2)\ndense(3)\nlif\ntrain { loss.scale = dynamic }\n")
    done = snncc("check", net)
    assert done.exit_code == 0, done.output
    assert "dynamic (metadata)" in done.stdout

"""Overflow while training: what is counted, which steps are skipped, how the scale moves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from snncc.compiler.config.config import parse_config
from snncc.compiler.config.loss_scale import SCALE_STATE, LossScale
from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api
from snncc.compiler.driver.overflow import Watch
from snncc.compiler.driver.scaling import GOOD_STEPS, Guard
from snncc.isa.machine.machine import load_machine
from snncc.isa.program.layout import extent

Array = npt.NDArray[Any]
RATE = 0.125
INPUTS, CLASSES = 6, 3


def learner(folder: Path, batch: int, settings: str, machine: str = "small") -> api.ChipLearner:
    """A softmax regression on the chip: everything about it can be worked out by hand."""
    path = folder / "net.snn"
    path.write_text(
        f"network net\ninput({INPUTS}, steps=1, static=true)\nfc = dense({CLASSES})\noutput(z)\n"
    )
    config = parse_config(f'[optimizer]\nname = "sgd"\nlr = {RATE}\n[loss]\n{settings}')
    return api.learner(api.load(path, config=config, batch=batch), target=machine)


def data(batch: int, steps: int) -> list[tuple[Array, Array]]:
    rng = np.random.Generator(np.random.PCG64(batch))
    return [
        (
            (2 * rng.normal(size=(batch, INPUTS))).astype(np.float16).astype(np.float32),
            rng.integers(0, CLASSES, batch),
        )
        for _ in range(steps)
    ]


class Oracle:
    """The same run in float64, and which steps overflow binary16."""

    def __init__(self, chip: api.ChipLearner, rule: LossScale) -> None:
        found = chip.chip.parameters()
        self.w = found["fc.weight"].astype(np.float64)
        self.b = found["fc.bias"].astype(np.float64)
        self.rule, self.scale, self.good = rule, rule.initial, 0

    def step(self, x: Array, y: Array) -> bool:
        """Return whether the step is skipped; asserts that this is no close decision."""
        z = x.astype(np.float64) @ self.w.T + self.b
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        seed = self.scale / len(y) * p
        dw, db = seed.T @ x, seed.sum(0)
        largest = max(float(np.abs(v).max()) for v in (seed, dw, db))
        assert abs(largest / 65504 - 1) > 0.02, "choose other data"
        if largest > 65504:
            self.good, self.scale = 0, max(self.rule.minimum, self.scale / 2)
            return True
        self.w -= RATE * dw / self.scale
        self.b -= RATE * db / self.scale
        self.good += 1
        if self.good == self.rule.growth_interval:
            self.good, self.scale = 0, min(self.rule.maximum, self.scale * 2)
        return False


RULE = LossScale(2.0**20, True, 3, 4.0, 2.0**18)
SETTINGS = """scale = "dynamic"
initial_scale = 262144
growth_interval = 3
minimum_scale = 4
maximum_scale = 262144
"""


@pytest.mark.parametrize(("batch", "saturates"), [(4, False), (1, False), (1, True)])
def test_the_scale_moves_as_calculated(tmp_path: Path, batch: int, saturates: bool) -> None:
    machine = "small"
    if saturates:
        text = load_machine("small").to_toml()
        assert "saturate = false" in text
        (tmp_path / "m.toml").write_text(text.replace("saturate = false", "saturate = true"))
        machine = str(tmp_path / "m.toml")
    chip = learner(tmp_path, batch, SETTINGS, machine)
    oracle = Oracle(chip, replace(RULE, initial=2.0**18))
    skipped: list[bool] = []
    for number, (x, y) in enumerate(data(batch, 16)):
        before = {name: value.copy() for name, value in chip.state().items()}
        chip.step(x, y, number)
        skipped.append(oracle.step(x, y))
        assert bool(chip.stats()["skipped"]) == skipped[-1], number
        assert chip.stats()["loss_scale"] == oracle.scale, number
        after = chip.state()
        assert int(after[GOOD_STEPS]) == oracle.good
        if skipped[-1]:
            for name in before:
                if name not in (SCALE_STATE, GOOD_STEPS):
                    assert before[name].tobytes() == after[name].tobytes(), name
    assert any(skipped)
    assert not all(skipped)
    np.testing.assert_allclose(chip.chip.parameters()["fc.weight"], oracle.w, atol=0.02)


@pytest.mark.parametrize(
    ("optimizer", "loss", "weights"),
    [
        ("sgd", "cross-entropy", "fp16"),
        ("momentum", "mse", "fp16"),
        ("adam", "cross-entropy", "fp32-master"),
    ],
)
def test_a_scale_that_stays_is_a_static_one(
    tmp_path: Path, optimizer: str, loss: str, weights: str
) -> None:
    path = tmp_path / "net.snn"
    path.write_text("input(2x5x5, steps=3)\nconv(4) lif\nflatten\nfc = dense(3) lif\noutput(s)\n")
    runs: list[dict[str, Array]] = []
    for said in ("512", '"dynamic"\ninitial_scale = 512'):
        config = parse_config(
            f'[optimizer]\nname = "{optimizer}"\nlr = 0.1\n[weights]\nformat = "{weights}"\n'
            f'rounding = "stochastic"\n[loss]\nname = "{loss}"\nscale = {said}\n'
        )
        chip = api.learner(api.load(path, config=config, batch=4), target="small")
        rng = np.random.Generator(np.random.PCG64(1))
        for number in range(3):
            x = rng.normal(size=(3, 4, 2, 5, 5)).astype(np.float32)
            chip.step(x, rng.integers(0, 3, 4), number)
        runs.append(chip.state() | {"grad": chip.chip.output("grad/fc.weight")})
    assert runs[0]["grad"].any()
    assert set(runs[1]) - set(runs[0]) == {SCALE_STATE, GOOD_STEPS}
    for name, value in runs[0].items():
        assert value.tobytes() == runs[1][name].tobytes(), name


def test_overflow_at_the_smallest_scale_ends_the_run(tmp_path: Path) -> None:
    settings = 'scale = "dynamic"\ninitial_scale = 262144\nminimum_scale = 131072\n'
    chip = learner(tmp_path, 1, settings)
    x, y = np.full((1, INPUTS), 8, np.float32), np.array([0])
    chip.step(x, y, 0)
    assert chip.stats()["skipped"] == 1
    with pytest.raises(CompileError, match="E0360") as caught:
        chip.step(x, y, 1)
    assert "the scale is 131072 already" in str(caught.value)


def test_a_static_scale_that_overflows_ends_the_run(tmp_path: Path) -> None:
    chip = learner(tmp_path, 1, "scale = 65504")
    x = np.full((1, INPUTS), 8, np.float32)
    found = chip.chip.parameters()
    z = x.astype(np.float64) @ found["fc.weight"].T + found["fc.bias"]
    error = np.exp(z) / np.exp(z).sum() - [[1, 0, 0]]  # a gradient is 65504 * error * 8
    assert (np.abs(8 * np.abs(error) - 1) > 0.02).all(), "choose other data"
    count = INPUTS * int((8 * np.abs(error) > 1).sum())
    assert count
    with pytest.raises(CompileError) as caught:
        chip.step(x, np.array([0]), 4)
    text = str(caught.value)
    assert "error[E0360]: training step 5 left" in text
    assert f"gradient fc.weight (layer fc): {count} of {INPUTS * CLASSES} values" in text
    assert "--loss-scale dynamic" in text


def test_weights_that_overflow_although_gradients_fit(tmp_path: Path) -> None:
    path = tmp_path / "net.snn"
    path.write_text("input(6, steps=1, static=true)\nfc = dense(3)\noutput(z)\n")
    for scale in ("1", '"dynamic"'):
        text = f'[optimizer]\nname = "sgd"\nlr = 1e6\n[loss]\nscale = {scale}\n'
        config = parse_config(text + ("initial_scale = 1\n" if "d" in scale else ""))
        chip = api.learner(api.load(path, config=config, batch=1), target="small")
        with pytest.raises(CompileError) as caught:
            chip.step(np.ones((1, 6), np.float32), np.array([0]), 0)
        assert "error[E0360]" in str(caught.value)
        assert "gradient" not in str(caught.value).partition("help")[0]
        assert "lower optimizer.lr" in str(caught.value)


def test_a_scale_below_one_may_not_fit_its_report(tmp_path: Path) -> None:
    """The reported gradient is divided by the scale and overflows; the update is right."""
    chip = learner(tmp_path, 1, "scale = 0.0001")
    x = np.full((1, INPUTS), 16, np.float32)
    before = chip.chip.parameters()["fc.weight"]
    chip.step(x, np.array([0]), 0)
    assert np.isfinite(chip.chip.parameters()["fc.weight"]).all()
    assert (chip.chip.parameters()["fc.weight"] != before).any()


def test_counts_are_those_of_numpy_and_padding_is_none(tmp_path: Path) -> None:
    path = tmp_path / "net.snn"
    path.write_text(
        "input(3x6x6, steps=2)\nc1 = conv(5) lif\nc2 = conv(4) lif\nflatten\nfc = dense(3)\nlif\n"
    )
    chip = api.learner(api.load(path, batch=2), target="small").chip
    watch = Watch(chip.program)
    kernels = [t for t in chip.program.tensors if t.role == "param" and t.layout]
    assert kernels, "no parameter has padding"
    for tensor in kernels:
        low, high = extent(tensor)
        value = chip.system.read_tensor(tensor.name)
        memory = chip.system.dram[low:high].view("<u2")
        kept = memory.copy()
        memory[:] = 0x7E00  # padding too
        chip.system.write_tensor(tensor.name, value)
        everywhere = chip.system.dram[low:high].copy()
        chip.system.dram[low:high] = 0xFF
        chip.system.write_tensor(tensor.name, value)
        assert np.array_equal(everywhere, chip.system.dram[low:high])  # writing clears padding
        assert not watch.look(chip.system, ("weight",))
        gaps = _padding(chip, tensor.name)
        memory[gaps] = 0x7C00
        assert not watch.look(chip.system, ("weight",))
        wrong = value.copy()
        for places, values in (([0], [-np.inf]), ([0, 2, 3], [-np.inf, np.inf, np.nan])):
            wrong.flat[places] = values
            chip.system.write_tensor(tensor.name, wrong)
            (found,) = watch.look(chip.system, ("weight",))
            count = int((~np.isfinite(wrong)).sum())
            assert (found.name, found.count, found.size) == (tensor.file_name, count, value.size)
        assert found.layer == tensor.name.partition(".")[0]
        memory[:] = kept


def _padding(chip: Any, name: str) -> Array:
    """Return which halves of a tensor's memory hold no element."""
    tensor = chip.system.tensor(name)
    low, high = extent(tensor)
    before = chip.system.dram[low:high].copy()
    chip.system.write_tensor(name, np.ones(tensor.shape, np.float32))
    gaps = chip.system.dram[low:high].view("<u2") == 0
    chip.system.dram[low:high] = before
    return np.asarray(gaps)


def test_states_in_binary32(tmp_path: Path) -> None:
    path = tmp_path / "net.snn"
    path.write_text("input(6, steps=1, static=true)\nfc = dense(3)\noutput(z)\n")
    config = parse_config('[optimizer]\nname = "adam"\n[weights]\nformat = "fp32-master"\n')
    chip = api.learner(api.load(path, config=config, batch=1), target="small").chip
    watch = Watch(chip.program)
    assert watch.look(chip.system, ("state",)) == []
    chip.system.write_tensor("fc.weight#master", np.full((6, 3), 1e30, np.float32))
    assert watch.look(chip.system, ("state",)) == []  # binary32 holds it
    for value in (np.inf, -np.inf, np.nan):
        chip.system.write_tensor("fc.weight#v", np.full((6, 3), value, np.float32))
        (found,) = watch.look(chip.system, ("state",))
        assert (found.name, found.count, found.layer) == ("fc.weight#v", 18, "fc")


def test_a_checkpoint_with_infinities_is_refused(tmp_path: Path) -> None:
    chip = learner(tmp_path, 1, SETTINGS)
    state = chip.state()
    wrong = {**state, "fc.bias": np.array([0, np.inf, 0], np.float32)}
    with pytest.raises(CompileError, match=r"E0027[\s\S]*fc.bias \(layer fc\): 1 of 3"):
        chip.load_state(wrong)
    chip.load_state(state)
    for broken in ({}, {GOOD_STEPS: np.asarray(-1)}, {GOOD_STEPS: np.asarray(0.5)}):
        rest = {k: v for k, v in state.items() if k != GOOD_STEPS}
        with pytest.raises(CompileError, match="E0027"):
            chip.load_state({**rest, **broken})


def test_the_guard_of_a_fixed_scale_keeps_nothing(tmp_path: Path) -> None:
    chip = learner(tmp_path, 1, "scale = 8")
    guard = Guard(chip.chip, LossScale(8.0))
    guard.before()
    assert guard.scale == 8.0
    assert guard.state() == {}
    assert guard.stats() == {}

"""Updates against torch.optim, and what rounding does to FP16 weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from lowered import phased
from pytorch_results import Arrays, PyTorch
from snncc.compiler.config.config import Config
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Attribute, Module, Value
from snncc.compiler.ir.optimizers import OPTIMIZERS, Update, optimizer
from snncc.compiler.ir.training import training_of
from snncc.compiler.passes.graph.configure import optimizer_attributes
from strategies_networks import Net

B = 4
ASKED: dict[str, tuple[dict[str, Attribute], str, dict[str, Any]]] = {
    "sgd": ({"name": "sgd", "lr": 0.1}, "SGD", {"lr": 0.1}),
    "sgd-decay": (
        {"name": "sgd", "lr": 0.1, "weight_decay": 0.05}, "SGD",
        {"lr": 0.1, "weight_decay": 0.05},
    ),
    "momentum": (
        {"name": "momentum", "lr": 0.1, "momentum": 0.8}, "SGD", {"lr": 0.1, "momentum": 0.8},
    ),
    "nesterov": (
        {"name": "momentum", "lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
        "SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01},
    ),
    "adam": (
        {"name": "adam", "lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.02},
        "Adam", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.02},
    ),
}  # fmt: skip


def network(optimizer: Mapping[str, Attribute], scale: float, rounding: str = "nearest") -> Module:
    rng = np.random.default_rng(0)
    net = Net(1, B)
    x = net.input((6,), static=True)
    hidden = net.linear(x, "fc1", rng.normal(size=(6, 5)), rng.normal(size=5))
    net.output(net.linear(net.b.one("graph.unary", hidden, fn="tanh"), "fc2",
                          rng.normal(size=(5, 3))))  # fmt: skip
    return phased(net.train(reduce="none", scale=scale, optimizer=optimizer, rounding=rounding))


def after(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a training loop hands to the next step: parameters and states."""
    kept = {k: v for k, v in found.items() if k.startswith(("param/", "state/"))}
    return {k.partition("/")[2]: v for k, v in kept.items()}


@pytest.mark.parametrize("weights", ["fp16", "fp32-master"])
@pytest.mark.parametrize("name", ASKED)
def test_four_steps_as_pytorch(name: str, weights: str, pytorch: PyTorch) -> None:
    ours, theirs, options = ASKED[name]
    step = network({**ours, "weights": weights}, scale=32.0)
    start = {k: np.asarray(v, np.float64) for k, v in step.resources.items()}
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(B, 6)), rng.integers(0, 3, B)

    def steps(torch: Any) -> Arrays:
        leaves = {k: torch.tensor(v, requires_grad=True) for k, v in start.items()}
        optimizer = getattr(torch.optim, theirs)(list(leaves.values()), **options)
        found: Arrays = {}
        for number in range(4):
            hidden = torch.tanh(torch.tensor(x) @ leaves["fc1.weight"] + leaves["fc1.bias"])
            optimizer.zero_grad()
            logits = hidden @ leaves["fc2.weight"]
            torch.nn.functional.cross_entropy(logits, torch.tensor(y)).backward()
            optimizer.step()
            found |= {f"{number}/{k}": leaf.detach().clone() for k, leaf in leaves.items()}
        return found

    want = pytorch({"x": x, "y": y, **start}, steps)
    state: dict[str, Any] = {}
    for number in range(4):
        state = after(evaluate(step, "step", {"x": x, "y": y}, "float64", state=state))
        for key in start:
            np.testing.assert_allclose(
                state[key], want[f"{number}/{key}"], rtol=1e-9, atol=1e-12, err_msg=key
            )


def test_gradients_and_updates_do_not_depend_on_the_loss_scale() -> None:
    rng = np.random.default_rng(2)
    inputs = {"x": rng.normal(size=(B, 6)), "y": rng.integers(0, 3, B)}
    plain = evaluate(network({"name": "sgd", "lr": 0.5}, 1.0), "step", inputs, "fp16")
    scaled = evaluate(network({"name": "sgd", "lr": 0.5}, 1024.0), "step", inputs, "fp16")
    assert plain["loss"] == scaled["loss"]
    for key in plain:
        np.testing.assert_allclose(scaled[key], plain[key], rtol=4e-3, atol=1e-4, err_msg=key)


def test_master_weights_keep_what_fp16_loses() -> None:
    tiny: dict[str, Attribute] = {"name": "sgd", "lr": 1e-6}
    rng = np.random.default_rng(3)
    inputs = {"x": rng.normal(size=(B, 6)), "y": rng.integers(0, 3, B)}
    plain, master = network(tiny, 1.0), network({**tiny, "weights": "fp32-master"}, 1.0)
    a = evaluate(plain, "step", inputs, "fp16")
    b = evaluate(master, "step", inputs, "fp16")
    start = np.asarray(plain.resources["fc2.weight"]).astype(np.float32)
    np.testing.assert_array_equal(a["param/fc2.weight"], start.astype(np.float16))
    assert (b["state/fc2.weight#master"] != start).any()
    np.testing.assert_array_equal(
        b["param/fc2.weight"], b["state/fc2.weight#master"].astype(np.float16)
    )


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_weight_decay_is_that_of_the_master_weights(name: str) -> None:
    """The master differs from the binary16 weight in bits that the decay must see."""
    decay = 0.5
    ours: dict[str, Attribute] = {"name": name, "lr": 1.0, "weights": "fp32-master"}
    rng = np.random.default_rng(3)
    inputs = {"x": rng.normal(size=(B, 6)), "y": rng.integers(0, 3, B)}
    moved: list[Any] = []
    key = "fc2.weight"
    for strength in (decay, 0.0):
        step = network({**ours, "weight_decay": strength}, 1.0)
        weight = step.resources[key].astype(np.float16).astype(np.float32)
        master = weight + np.spacing(np.abs(weight).astype(np.float16)).astype(np.float32) / 3
        assert (master.astype(np.float16) == weight).all()
        state: dict[str, Any] = {key: weight, f"{key}#master": master}
        found = evaluate(step, "step", inputs, "fp16", state=state)
        moved.append(found[f"state/{key}#master"].astype(np.float64))
        gradient = found[f"grad/{key}"].astype(np.float64)
    if name == "adam":  # the first step: the sign of the decayed gradient, nearly
        wanted = master - np.sign(gradient + decay * master)
        np.testing.assert_allclose(moved[0], wanted, atol=1e-2)
        return
    np.testing.assert_allclose(moved[1], master - gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved[1] - moved[0], decay * master, rtol=1e-5, atol=1e-6)
    assert (np.abs(decay * (master - weight)) > 1e-5).any()  # the test can tell them apart


def test_stochastic_rounding_moves_weights_on_average() -> None:
    rng = np.random.default_rng(4)
    inputs = {"x": rng.normal(size=(B, 6)), "y": rng.integers(0, 3, B)}
    step = network({"name": "sgd", "lr": 2e-4}, 1.0, rounding="stochastic")
    start = evaluate(step, "step", inputs, "fp16", seed=0)["param/fc1.weight"]
    same = evaluate(step, "step", inputs, "fp16", seed=0)["param/fc1.weight"]
    np.testing.assert_array_equal(start, same)
    runs = [evaluate(step, "step", inputs, "fp16", seed=s) for s in range(200)]
    mean = np.mean([r["param/fc1.weight"] for r in runs], axis=0)
    w = np.float64(np.float16(np.asarray(step.resources["fc1.weight"])))
    want = w - 2e-4 * runs[0]["grad/fc1.weight"]
    quantum = np.float64(np.spacing(np.abs(w).astype(np.float16)))
    assert np.all(np.abs(mean - want) < 0.2 * quantum)
    assert np.any(start != w)


def test_every_optimizer_is_asked_for() -> None:
    assert {str(attrs["name"]) for attrs, *_ in ASKED.values()} == set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"lr": 0.0}, "the default learning rate is 0; it must be above 0"),
        ({"lr": 1.0, "powers": "rho"}, "powers names 'rho', which is no setting of several numb"),
        ({"lr": 1.0, "slots": ("m", "m")}, "two slots have one name: m, m"),
    ],
)
def test_an_optimizer_whose_row_is_not_whole_is_refused(row: dict[str, Any], message: str) -> None:
    def descent(x: Update) -> Value:
        """lr*d."""
        return x.f("mul", x.c(x.lr), x.d)

    with pytest.raises(ValueError, match=f"optimizer descent: {message}"):
        optimizer(**row)(descent)
    assert "descent" not in OPTIMIZERS


def test_a_momentum_of_zero_is_zero() -> None:
    """It was 0.9 once, the default of the name momentum."""
    module = Module("m")
    config = Config().override({"optimizer.name": "momentum", "optimizer.momentum": 0.0}, "flag")
    found = optimizer_attributes(config)
    assert found["momentum"] == 0.0
    module.attrs["training"] = {"loss": {"name": "mse"}, "optimizer": found}
    read = training_of(module).optimizer
    assert read is not None
    assert (read.rule.name, read.settings["momentum"]) == ("momentum", 0.0)


def test_sgd_with_a_momentum_is_momentum() -> None:
    config = Config().override({"optimizer.name": "sgd", "optimizer.momentum": 0.5}, "flag")
    assert optimizer_attributes(config) == {
        "name": "momentum", "lr": 0.1, "weight_decay": 0.0, "weights": "fp16", "state": "fp32",
        "momentum": 0.5, "nesterov": False,
    }  # fmt: skip


def test_squares_of_small_gradients_are_no_zeros() -> None:
    """Adam's first step moves a weight by the learning rate, however small its gradient is.

    Squares of gradients below 2e-4 are nothing in binary16; the loss scale of 1 hides no factor.
    """
    rng = np.random.default_rng(3)
    inputs = {"x": 2e-4 * rng.normal(size=(B, 6)), "y": rng.integers(0, 3, B)}
    step = network({"name": "adam", "lr": 0.125, "eps": 1e-8}, 1.0)
    found = evaluate(step, "step", inputs, "fp16")
    gradient = found["grad/fc1.weight"].astype(np.float64)
    seen = (np.abs(gradient) > 2e-6) & (np.abs(gradient) < 1e-4)
    assert seen.sum() > 10
    start = np.asarray(step.resources["fc1.weight"]).astype(np.float16)
    moved = found["param/fc1.weight"].astype(np.float64) - start
    np.testing.assert_allclose(moved[seen], -0.125 * np.sign(gradient[seen]), rtol=0.02)

"""Every loss with every kind of target against PyTorch, and on the chip against the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lowered import phased
from pytorch_results import Arrays, PyTorch, with_gradients
from snncc.compiler.config.config import Config, parse_config
from snncc.compiler.diag import CompileError
from snncc.compiler.interp import evaluate
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.losses import CLASSES, LOSSES, PIXELS, VALUES, Errors, ErrorTerm, loss
from snncc.compiler.passes.graph.configure import configure
from strategies_networks import Net
from whole_stack import check_all, machine

T, B = 4, 3


@dataclass(frozen=True)
class Case:
    """A loss, what it is compared with, and what is read."""

    name: str
    targets: str
    reduce: str = "sum"
    timed: bool = False
    settings: tuple[tuple[str, float], ...] = ()
    steps: tuple[int, ...] = ()
    scale: str = "8.0"

    def __str__(self) -> str:
        """Return an id that says what is special."""
        words = [self.name, self.targets, self.reduce, *(f"{k}{v:g}" for k, v in self.settings)]
        words += ["timed"] * self.timed + ["-".join(map(str, self.steps))] * bool(self.steps)
        return "_".join((*words, *(["dynamic"] if self.scale == '"dynamic"' else [])))

    @property
    def config(self) -> Config:
        """The configuration that says it."""
        text = f'[loss]\nname = "{self.name}"\ntargets = "{self.targets}"\nscale = {self.scale}\n'
        text += "".join(f"{key} = {value}\n" for key, value in self.settings)
        text += "target_steps = true\n" * self.timed + "per_step = true\n" * (
            self.reduce == "per-step"
        )
        if self.reduce != "per-step":
            text += f'[readout]\nreduce = "{self.reduce}"\n'
        else:
            text += "[readout]\n"
        return parse_config(text + f"steps = {list(self.steps)}\n")


ERRORS = ("mse", "mae", "smooth-l1", "huber")
CASES = (
    *(Case(name, VALUES, reduce) for name in ERRORS for reduce in ("sum", "mean", "max", "last")),
    *(Case(name, VALUES, "per-step", timed) for name in ERRORS for timed in (False, True)),
    *(Case(name, VALUES, "none", True) for name in ERRORS),
    *(Case(name, CLASSES, "mean") for name in ERRORS),
    Case("mse", CLASSES, "per-step", True),
    Case("smooth-l1", VALUES, "mean", settings=(("beta", 0.25),)),
    Case("smooth-l1", VALUES, "per-step", True, settings=(("beta", 3.0),)),
    Case("huber", VALUES, "sum", settings=(("delta", 0.5),)),
    Case("huber", VALUES, "none", True, settings=(("delta", 2.5),), scale='"dynamic"'),
    Case("cross-entropy", CLASSES, "mean", settings=(("label_smoothing", 0.1),)),
    Case("cross-entropy", CLASSES, "per-step", settings=(("label_smoothing", 0.4),)),
    Case("cross-entropy", CLASSES, "per-step", True),
    Case("cross-entropy", CLASSES, "none", True),
    Case("cross-entropy", PIXELS, "mean"),
    Case("cross-entropy", PIXELS, "none", True),
    Case("cross-entropy", PIXELS, "per-step", settings=(("label_smoothing", 0.2),)),
    Case("cross-entropy", PIXELS, "max", scale='"dynamic"'),
    *(
        Case("cross-entropy", CLASSES, reduce, steps=steps)
        for reduce in ("sum", "mean", "max", "last", "per-step", "none")
        for steps in ((-2, -1), (0, 2))
    ),
    Case("mse", VALUES, "none", True, steps=(-3, -1)),
    Case("mae", VALUES, "per-step", True, steps=(1,)),
    Case("huber", VALUES, "mean", steps=(2, 3)),
)


def network(case: Case, out: Sequence[int], weights: np.ndarray[Any, Any]) -> Module:
    """Return a layer whose outputs are read."""
    net = Net(T, B)
    if len(out) == 1:
        net.output(net.linear(net.input((5,)), "fc", weights))
    else:
        x = net.input((2, *out[1:]))
        net.output(net.b.one("graph.conv", x, net.param("fc.weight", weights),
                             stride=(1, 1), padding=(0,) * 4, dilation=(1, 1), groups=1,
                             rank=2))  # fmt: skip
    configure(net.module, case.config)
    return net.module


def arrays(case: Case) -> tuple[tuple[int, ...], Arrays]:
    """Return the shape of a sample's output, inputs, weights and targets; all exact in binary16."""
    rng = np.random.default_rng(17)
    out = (3, 2, 4) if case.targets == PIXELS else (6,)
    shape = (3, 2, 1, 1) if case.targets == PIXELS else (5, 6)
    pixels = case.targets == PIXELS
    x = rng.integers(-96, 97, (T, B, 2, *out[1:]) if pixels else (T, B, 5)) / 64
    w = rng.integers(-96, 97, shape) / 64
    front = (T, B) if case.timed else (B,)
    y: Any
    if case.targets == VALUES:
        y = rng.integers(-192, 193, (*front, *out)) / 64
    else:
        y = rng.integers(0, out[0], (*front, *out[1:]))
    return out, {"x": x, "w": w, "y": y}


def read(case: Case, torch: Any, z: Any) -> Any:
    """Read the outputs as PyTorch users write it."""
    if case.steps:
        z = z[[step % T for step in case.steps]]
    match case.reduce:
        case "sum" | "mean":
            return getattr(z, case.reduce)(0)
        case "max":
            return z.max(0).values
        case "last":
            return z[-1]
        case _:
            return z


def torch_loss(case: Case, torch: Any, z: Any, y: Any) -> Any:
    """Return PyTorch's own loss of what is read."""
    functional, settings = torch.nn.functional, dict(case.settings)
    if case.targets == CLASSES and case.name in ERRORS:
        y = functional.one_hot(y, 6).double()
    match case.name:
        case "cross-entropy":
            smooth = settings.get("label_smoothing", 0.0)
            return functional.cross_entropy(z, y, label_smoothing=smooth)
        case "mse":
            return functional.mse_loss(z, y)
        case "mae":
            return functional.l1_loss(z, y)
        case "smooth-l1":
            return functional.smooth_l1_loss(z, y, beta=settings.get("beta", 1.0))
        case _:
            return functional.huber_loss(z, y, delta=settings.get("delta", 1.0))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients(case: Case, pytorch: PyTorch) -> None:
    out, given = arrays(case)
    made = phased(network(case, out, given["w"]))
    found = evaluate(made, "step", {"x": given["x"], "y": flat(made, given["y"])}, "float64")

    def autograd(torch: Any) -> Arrays:
        x, y = torch.tensor(given["x"]), torch.tensor(given["y"])
        w = torch.tensor(given["w"], dtype=torch.float64, requires_grad=True)
        z = x @ w if w.dim() == 2 else torch.stack([torch.conv2d(each, w) for each in x])
        logits = read(case, torch, z)
        if case.reduce in ("per-step", "none"):
            if case.timed and case.steps:
                y = y[[step % T for step in case.steps]]
            rows = [(each, y[t] if case.timed else y) for t, each in enumerate(logits)]
            total: Any = sum(torch_loss(case, torch, z, y) for z, y in rows)
            total = total / len(rows) if case.reduce == "none" else total
        else:
            total = torch_loss(case, torch, logits, y)
        return with_gradients(total, {"fc.weight": w})

    want = pytorch({**given, "case": digest_of(case)}, autograd)
    for name, value in want.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-7, atol=1e-9, err_msg=name)


def digest_of(case: Case) -> list[int]:
    """Return a case as numbers, to tell questions with equal inputs apart."""
    return list(str(case).encode())


def flat(module: Module, y: Any) -> Any:
    """Return targets as the step takes them: places are rows."""
    (arg,) = (a for a in module.func("step").body.args if a.name == "y")
    return np.asarray(y).reshape(arg.type.shape)


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_the_chip_computes_what_the_interpreter_does(case: Case) -> None:
    out, given = arrays(case)
    made = phased(network(case, out, given["w"].astype(np.float32)))
    y = flat(made, given["y"])
    inputs = {"x": given["x"].astype(np.float32), "y": y if y.dtype.kind == "i" else y.astype("f4")}
    check_all(made, inputs, machine(3))


def test_every_loss_is_tried() -> None:
    tried = {(case.name, kind) for case in CASES for kind in (case.targets,)}
    assert tried == {(rule.name, kind) for rule in LOSSES.values() for kind in rule.targets}
    settings = {key for case in CASES for key, _ in case.settings}
    assert settings == {key for rule in LOSSES.values() for key in rule.settings}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[loss]\nname = "smooth_l2"', "did you mean 'smooth-l1'"),
        ('[loss]\nname = "huber"\ndelta = 0', "must be above 0"),
        ("[loss]\nlabel_smoothing = 1", "must be below 1"),
        ("[readout]\nsteps = [0.5]", "something else than integers"),
    ],
)
def test_settings_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        parse_config(text)


@pytest.mark.parametrize("word", ["l1", "mae"])
def test_other_words(word: str) -> None:
    assert parse_config(f'[loss]\nname = "{word}"').text("loss.name") == "mae"


def test_steps_that_are_not_there() -> None:
    with pytest.raises(CompileError, match="there is no step 4, output 'out' has 4"):
        network(Case("mse", VALUES, steps=(0, 4)), (6,), np.zeros((5, 6)))


def test_a_row_that_is_not_whole() -> None:
    def l2(x: Errors) -> ErrorTerm:
        return ErrorTerm(x.d, x.d)

    with pytest.raises(ValueError, match="there is l2 already"):
        loss("(z - t)^2")(l2)
    with pytest.raises(ValueError, match="needs a formula and a docstring"):
        loss("d", synonyms=("linear",))(lambda x: ErrorTerm(x.d, x.d))
    assert "l2" not in LOSSES

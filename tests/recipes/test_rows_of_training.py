"""The recipes for a surrogate and an optimizer, done: one row in one file each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from guards import tree
from recipes.workshop import Workshop

pytestmark = pytest.mark.slow

SURROGATE = '''

@surrogate("1 / (1 + alpha*u^2)", {"alpha": 3.0}, {"slope": "alpha"})
def cauchy(x: Formula) -> Value:
    """``1 / (1 + alpha*(u*u))``."""
    square = x.f("mul", x.c(x["alpha"]), x.f("mul", x.u, x.u))
    return x.f("div", x.c(1.0), x.f("add", x.c(1.0), square))
'''
OPTIMIZER = '''

@optimizer(lr=0.05, settings={"eps": 1e-3}, slots=("sum",))
def adagrad(x: Update) -> Value:
    """``s = s + d*d``; lr*d / (sqrt(s) + eps)."""
    total = x.f("add", x.old["sum"], x.f("mul", x.d, x.d))
    x.keep(sum=total)
    size = x.f("add", x.f("sqrt", total), x.c(x.number("eps")))
    return x.f("mul", x.c(x.lr), x.f("div", x.d, size))
'''
SLOPES = """
import json
import numpy as np
from snncc.compiler.interp.numerics import numerics_of
from snncc.compiler.interp.region import Elementwise
from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import Block, tensor
from snncc.compiler.ir.surrogate import derivative

num, block, u = numerics_of("float64"), Block(), np.linspace(-2, 2, 41)
h, theta = block.add_arg(tensor((41,)), "h"), block.add_arg(tensor(()), "theta")
out = derivative(Builder(block), h, theta, {"name": "cauchy", "slope": 2.0})
values = {h: num.value(u + 0.75, "f16"), theta: num.value(np.float64(0.75), "f16")}
for op in block.ops:
    values[op.result] = Elementwise(num, 0)(op, [values[v] for v in op.operands], 0)
print(json.dumps(np.asarray(values[out]).tolist()))
"""
Array: TypeAlias = "npt.NDArray[np.float64]"
MODEL = """network small
input(12, steps=4, static=false)
let fire = lif(beta=0.5, threshold=1, surrogate={surrogate})
dense(16) fire
dense(3) fire
output(spk)
train {{ optimizer = {optimizer}  readout = sum  batch = 2 }}
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("copy"))


def files_of_the_recipe(title: str) -> list[str]:
    """Return the source files that a recipe of CONTRIBUTING.md says to touch."""
    page = (tree.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (text,) = re.findall(rf"\*\*{title}\.\*\*(.*?)\n\n", page, re.DOTALL)
    named = re.findall(r"`((?:isa|isasim|compiler)/[\w/.]+\.py)`", text)
    return list(dict.fromkeys(named))


def step(workshop: Workshop, name: str, *options: str, **words: str) -> dict[str, Array]:
    """Compute one training step of a small network on the chip; return its results."""
    model, data, out = (workshop.root / f"{name}.{kind}" for kind in ("snn", "npz", "out.npz"))
    model.write_text(MODEL.format(**words), encoding="utf-8")
    rng = np.random.default_rng(5)
    x = (rng.random((4, 2, 12)) < 0.5).astype(np.float32)
    np.savez(data, x=x, y=np.array([0, 2]))
    workshop.snncc("run", str(model), "--inputs", str(data), "-o", str(out), *options)
    with np.load(out) as found:
        return {key: found[key].astype(np.float64) for key in found.files}


def test_a_surrogate_is_one_row(workshop: Workshop) -> None:
    before = step(workshop, "plain", surrogate="atan", optimizer="sgd(lr=0.1)")
    (file,) = files_of_the_recipe("Add a surrogate")
    workshop.append(file, SURROGATE)
    assert "| `cauchy` | alpha = 3 | `1 / (1 + alpha*u^2)` |" in workshop.snncc(
        "report", "config", "--format", "md"
    )
    in_text = step(workshop, "text", surrogate="cauchy(alpha=2)", optimizer="sgd(lr=0.1)")
    flagged = step(
        workshop, "flag", "--surrogate", "cauchy:slope=2", surrogate="atan", optimizer="sgd(lr=0.1)"
    )
    assert in_text.keys() == flagged.keys() == before.keys()
    for key, value in in_text.items():
        np.testing.assert_array_equal(value, flagged[key], err_msg=key)
    np.testing.assert_array_equal(in_text["loss"], before["loss"])
    assert (in_text["grad/dense1.weight"] != before["grad/dense1.weight"]).any()
    slopes = json.loads(workshop.run("-c", SLOPES))
    np.testing.assert_allclose(slopes, 1 / (1 + 2 * np.linspace(-2, 2, 41) ** 2), rtol=1e-6)


def test_an_optimizer_is_one_row(workshop: Workshop) -> None:
    (file,) = files_of_the_recipe("Add an optimizer")
    workshop.append(file, OPTIMIZER)
    found = step(workshop, "ada", surrogate="atan", optimizer="adagrad(lr=0.25)")
    plain = step(workshop, "sgd", surrogate="atan", optimizer="sgd(lr=0.25)")
    for name in ("dense1.weight", "dense2.weight"):
        g = found[f"grad/{name}"]
        np.testing.assert_array_equal(g, plain[f"grad/{name}"])
        start = plain[f"param/{name}"] + 0.25 * g
        want = start - 0.25 * g / (np.abs(g) + 1e-3)  # the first step: sum is g*g
        np.testing.assert_allclose(found[f"param/{name}"], want, atol=2e-3)
    told = workshop.snncc("report", "config", "--format", "md")
    assert "adagrad" in told
    assert "adagrad: 0.05" in told, "the default learning rate is in the manual"


def test_a_setting_without_a_key_is_refused_at_import(tmp_path: Path) -> None:
    copy = Workshop(tmp_path)
    copy.append(
        "compiler/ir/optimizers.py", OPTIMIZER.replace('"eps": 1e-3', '"eps": 1e-3, "decay": 0.9')
    )
    told = copy.run("-c", "import snncc.compiler.config.schema", fails=True)
    assert "optimizer adagrad: decay needs a row optimizer.decay" in told

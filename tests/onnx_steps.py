"""One training step of an ONNX file, compared with what PyTorch computes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lowered import phased
from onnx_models import Array
from pytorch_results import PyTorch, with_gradients
from snncc.compiler.config.config import parse_config
from snncc.compiler.driver.build import Request, import_model
from snncc.compiler.interp import evaluate
from snncc.compiler.passes.graph.configure import configure

T, B, K = 2, 3, 6
"""Steps, samples and classes of the files."""
CONFIG = """timesteps = {steps}
time_axis = 0
[loss]
name = "mse"
scale = 1.0
[readout]
reduce = "sum"
"""


def agrees_with_pytorch(
    path: Path,
    arrays: dict[str, Array],
    model: Callable[[Any, Any, Any], Any],
    pytorch: PyTorch,
    steps: int = T,
) -> None:
    """Train one step of a file: value, loss and gradients as PyTorch's.

    ``model`` computes the output [T, B, K] of torch, x and the parameters; the first of ``arrays``
    is x, the others are the file's parameters.
    """
    name, x = next(iter(arrays.items()))
    y = np.arange(B) % K

    def compute(torch: Any) -> Any:
        leaves = {n: torch.tensor(a, dtype=torch.float64, requires_grad=True)
                  for n, a in arrays.items() if n != name}  # fmt: skip
        out = model(torch, torch.tensor(x, dtype=torch.float64), leaves)
        target = torch.nn.functional.one_hot(torch.tensor(y), K).double()
        loss = torch.nn.functional.mse_loss(out.sum(0), target)
        return {**with_gradients(loss, leaves), "out/out": out}

    want = pytorch(arrays, compute)
    config = parse_config(CONFIG.format(steps=steps))
    imported = import_model(path, Request(config))
    assert imported.verdict.validated
    assert not imported.verdict.other_gradients
    module = imported.module
    turned = {op.str_attr("name") for op in module.walk() if op.attrs.get("transpose")}
    configure(module, config)
    found = evaluate(phased(module), "step", {name: x, "y": y}, "float64")
    assert sum(k.startswith("grad/") for k in want) == len(arrays) - 1
    for key, value in want.items():
        mine = np.asarray(found[key])
        mine = mine.T if key.removeprefix("grad/") in turned else mine  # the file's layout
        np.testing.assert_allclose(mine, value, rtol=2e-6, atol=1e-8, err_msg=key)

"""One training step (forward, backward, SGD) of 784-1000-10 LIF, T = 25, batch 128.

Ours: the whole step in FP16 through the instruction set on the default machine, bit-exact, timing
included.  Theirs: PyTorch float32 eager, the same network, surrogate, loss and update.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Case, Side
from benchmarks.models import mlp_onnx, mlp_weights

STEPS, BATCH, SIZES, BETA, LR = 25, 128, (784, 1000, 10), 0.95, 1e-4


def inputs(percent: int) -> tuple[np.ndarray, np.ndarray]:
    """Return spike trains of a density, and labels."""
    rng = np.random.Generator(np.random.PCG64(percent))
    x = (rng.random((STEPS, BATCH, SIZES[0])) < percent / 100).astype(np.float32)
    return x, rng.integers(0, SIZES[-1], BATCH)


def configuration() -> Any:
    """Return the training configuration."""
    from snncc.compiler.config.config import parse_config

    return parse_config(
        f"""
        timesteps = {STEPS}
        time_axis = 0
        [input]
        spikes = true
        [surrogate]
        name = "atan"
        [reset]
        gradient = "detached"
        [readout]
        output = "spk_rec"
        reduce = "sum"
        [optimizer]
        name = "sgd"
        lr = {LR}
        """
    )


def _ours(percent: int) -> Side:
    from snncc.compiler.driver import api
    from snncc.compiler.driver.simulate import LoadedProgram

    folder = Path(tempfile.mkdtemp(prefix="snncc-bench-"))
    path = mlp_onnx(folder / "mlp.onnx", steps=STEPS, batch=BATCH, sizes=SIZES, beta=BETA)
    program = api.compile(api.load(path, config=configuration(), batch=BATCH))
    chip = LoadedProgram(program.object_file, program.interface, folder=program.folder)
    x, y = inputs(percent)
    return lambda: chip.run(x, y)


def _theirs(percent: int) -> tuple[Side | None, str]:
    try:
        import torch
    except ImportError:
        return None, "torch is missing: pip install 'snncc[bench]'"
    torch.set_num_threads(1)

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            ctx.save_for_backward(u)
            return (u > 0).float()

        @staticmethod
        def backward(ctx, grad):
            (u,) = ctx.saved_tensors
            return grad / (1 + (torch.pi * u) ** 2)

    weights = {k: torch.tensor(v) for k, v in mlp_weights(SIZES).items()}
    params = [w.requires_grad_() for w in weights.values()]
    x, y = inputs(percent)
    xs, labels = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> None:
        for p in params:
            p.grad = None
        mems = [torch.zeros(BATCH, n) for n in SIZES[1:]]
        count = torch.zeros(BATCH, SIZES[-1])
        for t in range(STEPS):
            s = xs[t]
            for i, mem in enumerate(mems, 1):
                reset = (mem > 1.0).float().detach()
                cur = torch.nn.functional.linear(
                    s, weights[f"fc{i}.weight"], weights[f"fc{i}.bias"]
                )
                mem = BETA * mem + cur - reset
                mems[i - 1] = mem
                s = Spike.apply(mem - 1.0)
            count = count + s
        torch.nn.functional.cross_entropy(count, labels).backward()
        with torch.no_grad():
            for p in params:
                p -= LR * p.grad

    return step, f"torch {torch.__version__}"


def _prepare(percent: int) -> tuple[Side, Side | None, str]:
    theirs, note = _theirs(percent)
    return _ours(percent), theirs, note


def cases() -> list[Case]:
    """Return the cases of DESIGN section 8."""
    return [
        Case(
            f"train-step/mlp-784-1000-10/spikes-{percent}",
            "PyTorch float32 eager, 1 thread",
            lambda percent=percent: _prepare(percent),
            warm=3,
        )
        for percent in (5, 10, 20)
    ]

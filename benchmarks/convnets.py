"""One training step (forward, backward, SGD) of convolutional spiking networks on images.

``csnn-32`` is SpikingJelly's CSNN (two blocks of convolution, batch normalisation, neuron and
pooling, two dense layers), ``vgg11`` the VGG-11 for CIFAR-10, a neuron behind every layer.  Ours:
FP16 through the instruction set on the default machine, bit-exact, timing included.  Theirs:
PyTorch float32 eager, time and batch folded into one axis for the layers without state.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Case, Side

STEPS, LR, CLASSES = 4, 1e-3, 10
WARM = 3
"""Element-wise programs that are used a lot are compiled in the first runs."""
Layer = int | str
"""Channels of a convolution with normalisation and neuron, ``M`` for pooling."""
CSNN: tuple[Layer, ...] = (32, "M", 32, "M")
VGG11: tuple[Layer, ...] = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


def network(shape: tuple[int, int, int], features: Sequence[Layer], hidden: Sequence[int]) -> str:
    """Return the network in the network language."""
    lines = [
        f"input({'x'.join(map(str, shape))}, steps={STEPS}, static=true)",
        "init(seed=1, gain=1.4)",
        "let fire = if(reset=hard, surrogate=atan(alpha=2))",
    ]
    for layer in features:
        if layer == "M":
            lines.append("maxpool")
        else:
            lines.append(f"conv({layer}, padding=same, bias=false)  bn  fire")
    lines.append("flatten")
    lines += [f"dense({n}, bias=false)  fire" for n in (*hidden, CLASSES)]
    lines.append(f"train {{ optimizer = sgd(lr={LR})  readout = mean }}")
    return "\n".join(lines) + "\n"


def inputs(shape: tuple[int, int, int], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels."""
    rng = np.random.Generator(np.random.PCG64(1))
    return rng.random((batch, *shape), np.float32), rng.integers(0, CLASSES, batch)


def program(
    shape: tuple[int, int, int], batch: int, features: Sequence[Layer], hidden: Sequence[int]
) -> Any:
    """Return the compiled training step."""
    from snncc.compiler.driver import api

    path = Path(tempfile.mkdtemp(prefix="snncc-bench-"), "net.snn")
    path.write_text(network(shape, features, hidden))
    return api.compile(api.load(path, batch=batch))


def _ours(
    shape: tuple[int, int, int], batch: int, features: Sequence[Layer], hidden: Sequence[int]
) -> Side:
    from snncc.compiler.driver.simulate import LoadedProgram

    made = program(shape, batch, features, hidden)
    chip = LoadedProgram(made.object_file, made.interface, folder=made.folder)
    x, y = inputs(shape, batch)
    return lambda: chip.run(x, y)


def _theirs(
    shape: tuple[int, int, int], batch: int, features: Sequence[Layer], hidden: Sequence[int]
) -> tuple[Side | None, str]:
    try:
        import torch
    except ImportError:
        return None, "torch is missing: pip install 'snncc[bench]'"
    torch.set_num_threads(1)
    torch.manual_seed(1)
    nn = torch.nn

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            ctx.save_for_backward(u)
            return (u > 0).float()

        @staticmethod
        def backward(ctx, grad):
            (u,) = ctx.saved_tensors
            return grad / (1 + (torch.pi * u) ** 2)

    def fire(x):
        v, spikes = 0.0, []
        for current in x.view(STEPS, batch, *x.shape[1:]):
            h = v + current
            s = Spike.apply(h - 1.0)
            v = h * (1.0 - s.detach())
            spikes.append(s)
        return torch.cat(spikes)

    layers: list[Any] = []
    channels, size = shape[0], shape[1]
    for layer in features:
        if isinstance(layer, int):
            layers += [nn.Conv2d(channels, layer, 3, padding=1, bias=False), nn.BatchNorm2d(layer)]
            layers.append(fire)
            channels = layer
        else:
            layers.append(nn.MaxPool2d(2))
            size //= 2
    layers.append(nn.Flatten())
    width = channels * size * size
    for n in (*hidden, CLASSES):
        layers += [nn.Linear(width, n, bias=False), fire]
        width = n
    params = [p for m in layers if isinstance(m, nn.Module) for p in m.parameters()]
    x, y = inputs(shape, batch)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> None:
        for p in params:
            p.grad = None
        value = images.repeat(STEPS, 1, 1, 1)
        for layer in layers:
            value = layer(value)
        logits = value.view(STEPS, batch, CLASSES).mean(0)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        with torch.no_grad():
            for p in params:
                p -= LR * p.grad

    return step, f"torch {torch.__version__}"


def _case(
    name: str, shape: tuple[int, int, int], batch: int, features: Sequence[Layer],
    hidden: Sequence[int],
) -> Case:  # fmt: skip
    def prepare() -> tuple[Side, Side | None, str]:
        theirs, note = _theirs(shape, batch, features, hidden)
        return _ours(shape, batch, features, hidden), theirs, note

    return Case(f"train-step/{name}", "PyTorch float32 eager, 1 thread", prepare, warm=WARM)


def cases() -> list[Case]:
    """Return the cases of DESIGN section 8."""
    return [
        _case("csnn-32", (1, 28, 28), 16, CSNN, (512,)),
        _case("vgg11", (3, 32, 32), 4, VGG11, ()),
    ]

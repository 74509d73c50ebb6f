# pyright: basic, reportMissingImports=false
# (the frameworks are not among the dependencies; they bring few types)
"""Make the files of this folder: small networks of snnTorch, norse, ..., and what PyTorch computes.

    pip install torch onnxscript snntorch norse sinabs spikingjelly
    python tests/data/frameworks/make.py [NAME...]

NAME.onnx is the export, NAME.toml the training configuration, NAME.npz one batch (`x`, `y`), the
output `out`, the loss and the gradient of every parameter that keeps its values in the file, under
the initializer's name; all float32 from autograd.
"""

from __future__ import annotations

import copy
import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

HERE = Path(__file__).resolve().parent
ATAN = '[surrogate]\nname = "atan"\nalpha = 2.0\n'
SUPER = '[surrogate]\nname = "super-spike"\nalpha = 1.0\n'
EXPONENTIAL = '[surrogate]\nname = "exponential"\nwidth = 0.5\n'
DETACHED, ATTACHED = '[reset]\ngradient = "detached"\n', '[reset]\ngradient = "attached"\n'
BATCH = '[batchnorm]\nstatistics = "batch"\n'


@dataclass
class Case:
    """A network, the shape of its input [T, B, ...], and its training configuration."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    config: str = ATAN + DETACHED
    dynamo: bool = False
    train: bool = False
    classes: int = 3


def snntorch_batchnorm() -> nn.Module:
    """BatchNorm in an unrolled loop: statistics of every step."""
    import snntorch

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
            self.lif1, self.lif2 = snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.8)
            self.fc, self.bn2 = nn.Linear(3 * 9, 3), nn.BatchNorm1d(3)
            nn.init.constant_(self.bn2.bias, 0.7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mem1, mem2, out = self.lif1.init_leaky(), self.lif2.init_leaky(), []
            for step in x:
                spikes, mem1 = self.lif1(self.bn(self.conv(step)), mem1)
                spikes, mem2 = self.lif2(self.bn2(self.fc(spikes.flatten(1))), mem2)
                out.append(spikes)
            return torch.stack(out)

    return Net()


def spikingjelly_batchnorm(mode: str) -> nn.Module:
    """BatchNorm of a step (mode s) or of all steps (mode m)."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net: Any = nn.Sequential(
                layer.Linear(6, 8, step_mode=mode),
                layer.BatchNorm1d(8, step_mode=mode),
                neuron.LIFNode(surrogate_function=surrogate.ATan(), step_mode=mode),
                layer.Linear(8, 3, step_mode=mode),
                neuron.IFNode(surrogate_function=surrogate.ATan(), step_mode=mode),
            )
            self.net[1].bias = nn.Parameter(torch.full((8,), 0.9))

        def forward(self, x: torch.Tensor) -> Any:
            functional.reset_net(self)
            return self.net(x) if mode == "m" else torch.stack([self.net(step) for step in x])

    return Net()


def norse_cell(kind: str) -> nn.Module:
    """Recurrent LSNN and LIF cells detach their spikes in reset and adaptation, AdEx does not."""
    import norse.torch as norse

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 7)
            self.cell: Any = getattr(norse, kind)(*((7, 7) if "Recurrent" in kind else ()))
            self.out, self.li = nn.Linear(7, 3), norse.LICell()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            state, last, out = None, None, []
            for step in x:
                spikes, state = self.cell(self.fc(step) * 10, state)
                voltage, last = self.li(self.out(spikes), last)
                out.append(voltage)
            return torch.stack(out)

    return Net()


def spikingjelly_neuron(kind: str) -> nn.Module:
    """KLIF: rectified before it is compared; QIF: a quadratic membrane, reset to -0.1, detached."""
    from spikingjelly.activation_based import functional, neuron, surrogate

    def cell() -> Any:
        if kind == "qif":
            return neuron.QIFNode(surrogate_function=surrogate.ATan(), detach_reset=True)
        return neuron.KLIFNode(surrogate_function=surrogate.ATan())

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net: Any = nn.Sequential(nn.Linear(6, 8), cell(), nn.Linear(8, 3), cell())
            self.net[2].bias = nn.Parameter(torch.tensor([1.2, 1.9, 2.4]))

        def forward(self, x: torch.Tensor) -> Any:
            functional.reset_net(self)
            return torch.stack([self.net(step * 4) for step in x])

    return Net()


def sinabs_adaptive(kind: str) -> nn.Module:
    """Adaptive thresholds with single and counted spikes; at most so many spikes a step."""
    import sinabs.activation as activation
    import sinabs.layers as layers

    def cell() -> Any:
        limit: Any = activation.MaxSpike(2)
        if kind == "limited":
            return layers.LIF(tau_mem=5.0, spike_fn=limit)
        spikes = activation.SingleSpike if kind == "single" else activation.MultiSpike
        return layers.ALIF(tau_mem=5.0, tau_adapt=4.0, adapt_scale=0.7, spike_fn=spikes)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.cell = nn.Linear(5, 7), cell()
            self.out, self.leak = nn.Linear(7, 3), layers.ExpLeak(tau_mem=4.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.transpose(0, 1) * 14  # [batch, time, ...]
            for each, width in ((self.cell, 7), (self.leak, 3)):
                each.init_state_with_shape((x.shape[0], width))
            out: torch.Tensor = self.leak(self.out(self.cell(self.fc(x)))).transpose(0, 1)
            return out

    return Net()


def snntorch_layers(kind: str) -> nn.Module:
    """Normalisation within a sample; images enlarged and rearranged."""
    import snntorch

    layers: dict[str, list[nn.Module]] = {
        "norms": [nn.GroupNorm(2, 4), nn.LeakyReLU(0.2), nn.LayerNorm([4, 4, 4])],
        "instance": [nn.InstanceNorm2d(4, affine=True), nn.PReLU()],
        "images": [nn.Upsample(scale_factor=2), nn.PixelShuffle(2)],
    }

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.layers = nn.Conv2d(1, 4, 2), nn.Sequential(*layers[kind])
            self.lif1, self.lif2 = snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.8)
            width = 16 * 16 if kind == "images" else 4 * 16
            self.fc = nn.Linear(width, 3)
            self.fc.bias = nn.Parameter(torch.tensor([0.3, 0.6, 0.9]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mem1, mem2, out = self.lif1.init_leaky(), self.lif2.init_leaky(), []
            for step in x:
                spikes, mem1 = self.lif1(self.layers(self.conv(step)), mem1)
                spikes, mem2 = self.lif2(self.fc(spikes.flatten(1)), mem2)
                out.append(spikes)
            return torch.stack(out)

    return Net()


CASES: dict[str, Case] = {
    "norse_lsnn": Case(lambda: norse_cell("LSNNCell"), (6, 3, 5), SUPER, True),
    "norse_lsnn_recurrent": Case(lambda: norse_cell("LSNNRecurrentCell"), (6, 3, 5), SUPER, True),
    "norse_refractory_recurrent": Case(
        lambda: norse_cell("LIFRefracRecurrentCell"), (5, 3, 5), SUPER, True
    ),
    "norse_adex_recurrent": Case(
        lambda: norse_cell("LIFAdExRecurrentCell"), (5, 3, 5), SUPER, True
    ),
    "spikingjelly_klif": Case(
        lambda: spikingjelly_neuron("klif"), (4, 5, 6), ATAN + ATTACHED, True
    ),
    "spikingjelly_qif": Case(lambda: spikingjelly_neuron("qif"), (4, 5, 6), ATAN + DETACHED, True),
    **{
        f"sinabs_{kind}": Case(
            partial(sinabs_adaptive, kind), (5, 3, 5), EXPONENTIAL + ATTACHED, True
        )
        for kind in ("single", "multi", "limited")
    },
    **{
        f"snntorch_{kind}": Case(partial(snntorch_layers, kind), (3, 3, 1, 5, 5))
        for kind in ("norms", "instance", "images")
    },
    "snntorch_batchnorm": Case(
        snntorch_batchnorm, (3, 4, 1, 5, 5), ATAN + DETACHED + BATCH, train=True
    ),
    "spikingjelly_batchnorm_s": Case(
        lambda: spikingjelly_batchnorm("s"), (4, 5, 6), ATAN + ATTACHED + BATCH, True, True
    ),
    "spikingjelly_batchnorm_m": Case(
        lambda: spikingjelly_batchnorm("m"), (4, 5, 6), ATAN + ATTACHED + BATCH, True, True
    ),
}


def export(net: nn.Module, x: torch.Tensor, path: Path, case: Case) -> onnx.ModelProto:
    """Write the ONNX file; the exporter's metadata stays, without paths of this computer."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        if case.dynamo:
            torch.onnx.export(net, (x,), str(path), dynamo=True, external_data=False,
                              input_names=["x"], output_names=["out"])  # fmt: skip
        else:
            mode = torch.onnx.TrainingMode
            torch.onnx.export(
                net, (x,), str(path), dynamo=False, opset_version=17,
                training=mode.TRAINING if case.train else mode.EVAL,
                do_constant_folding=not case.train, input_names=["x"], output_names=["out"],
            )  # fmt: skip
    model = onnx.load(path)
    for holder in (model, model.graph):
        del holder.metadata_props[:]
    kept = ("pkg.torch.onnx.class_hierarchy", "pkg.torch.onnx.name_scopes")
    for node in model.graph.node:
        entries = [(e.key, e.value) for e in node.metadata_props if e.key in kept]
        del node.metadata_props[:]
        for key, value in entries:
            node.metadata_props.add(key=key, value=value)
        node.doc_string = ""
    del model.graph.value_info[:]
    onnx.save(model, path)
    return model


def gradients(net: nn.Module, model: onnx.ModelProto) -> dict[str, Any]:
    """Return the gradients of the parameters that are initializers of the file, in its layout."""
    out: dict[str, Any] = {}
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, parameter in net.named_parameters():
        value = parameter.detach().numpy()
        fits = [k for k, a in held.items() if a.shape == value.shape and np.array_equal(a, value)]
        turned = [
            k
            for k, a in held.items()
            if a.ndim == 2 and a.shape == value.T.shape and np.array_equal(a.T, value)
        ]
        fits = [name] if name in fits else fits if value.size > 1 else []  # numbers look alike
        if parameter.grad is not None and len(fits) == 1:
            out[f"grad/{fits[0]}"] = parameter.grad.numpy()
        elif parameter.grad is not None and not fits and len(turned) == 1:
            out[f"grad/{turned[0]}"] = parameter.grad.numpy().T
    return out


def make(name: str, case: Case) -> None:
    """Write the three files of a case."""
    torch.manual_seed(7)
    net: Any = case.make()
    for module in net.modules():
        if getattr(module, "running_mean", None) is not None:  # no two tensors alike
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.bias.data += torch.rand_like(module.bias) * 0.3
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    net.train(case.train)
    x = torch.rand(case.shape) * 2
    y = torch.randint(0, case.classes, (case.shape[1],))
    model = export(copy.deepcopy(net), x, HERE / f"{name}.onnx", case)
    out = net(x)
    loss: Any = nn.functional.cross_entropy(out.sum(0), y)
    loss.backward()
    found = gradients(net, model)
    assert found, name
    assert out.detach().abs().sum() > 0, name
    np.savez_compressed(
        HERE / f"{name}.npz", x=x.numpy(), y=y.numpy(), out=out.detach().numpy(),
        loss=loss.detach().numpy(), **found,
    )  # fmt: skip
    head = f"timesteps = {case.shape[0]}\ntime_axis = 0\n"
    readout = '[readout]\noutput = "out"\nreduce = "sum"\naxis = 0\n'
    (HERE / f"{name}.toml").write_text(head + case.config + readout)


if __name__ == "__main__":
    for name, case in CASES.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, case)

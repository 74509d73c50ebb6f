# pyright: basic, reportMissingImports=false
# (torch and snntorch are not among the dependencies; they bring few types)
"""Make mlp_digits.onnx, its training configuration and the PyTorch reference beside it.

    pip install torch snntorch onnxscript scikit-learn
    python models/make_mlp_digits.py

A 64-128-10 network of snnTorch's Leaky neurons that sees the same image at each of T = 10 steps;
the class is the output neuron that spikes most.  The reference (mlp_digits.npz) holds one batch
(`x`, `y`), the outputs, the loss and its gradients, all float32 from PyTorch.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import snntorch
import torch
from snntorch import surrogate

from snncc.models.datasets import digits

STEPS, BATCH, HIDDEN, BETA = 10, 64, 128, 0.9
HERE = Path(__file__).resolve().parent


class MlpDigits(torch.nn.Module):
    """The network as in snnTorch's tutorial 5, smaller."""

    def __init__(self) -> None:
        super().__init__()
        gradient = surrogate.atan(alpha=2.0)
        self.fc1 = torch.nn.Linear(64, HIDDEN)
        self.lif1 = snntorch.Leaky(beta=BETA, spike_grad=gradient)
        self.fc2 = torch.nn.Linear(HIDDEN, 10)
        self.lif2 = snntorch.Leaky(beta=BETA, spike_grad=gradient)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the output spikes, [steps, batch, 10]."""
        mem1 = torch.zeros(x.shape[0], HIDDEN)
        mem2 = torch.zeros(x.shape[0], 10)
        spikes = []
        for _ in range(STEPS):
            hidden, mem1 = self.lif1(self.fc1(x), mem1)
            out, mem2 = self.lif2(self.fc2(hidden), mem2)
            spikes.append(out)
        return torch.stack(spikes)


def export(net: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    """Write the ONNX file; the exporter's metadata stays, without paths of this computer."""
    torch.onnx.export(
        net,
        (x,),
        str(path),
        input_names=["x"],
        output_names=["spk_rec"],
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    model = onnx.load(str(path))
    for node in model.graph.node:
        for entry in node.metadata_props:
            entry.value = re.sub(r'(File ")[^"]*/([^"/]+/[^"/]+")', r"\1\2", entry.value)
    onnx.save(model, str(path))


def main() -> None:
    """Export the network and one reference step."""
    torch.manual_seed(2)
    net = MlpDigits().eval()
    with torch.no_grad():  # so that the output layer spikes from the first step on
        net.fc2.weight *= 1.5
    data = digits()
    x, y = torch.from_numpy(data.x[:BATCH].copy()), torch.from_numpy(data.y[:BATCH].copy())
    export(net, x, HERE / "mlp_digits.onnx")
    spikes = net(x)
    logits = spikes.sum(0)
    loss = torch.nn.functional.cross_entropy(logits, y)
    loss.backward()
    arrays = {"x": x, "y": y, "loss": loss, "out/spk_rec": spikes, "out/logits": logits}
    arrays |= {f"param/{name}": p for name, p in net.named_parameters()}
    arrays |= {f"grad/{name}": p.grad for name, p in net.named_parameters()}
    np.savez_compressed(HERE / "mlp_digits.npz", **{k: v.detach() for k, v in arrays.items()})
    print(f"loss {loss.item():.4f}, output spikes per neuron and step {spikes.mean():.3f}")


if __name__ == "__main__":
    main()

"""VGG networks of Leaky neurons as snnTorch's exporter writes them, unrolled over time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS: dict[str, tuple[int, ...]] = {
    "vgg11": (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),
    "vgg16": (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0),
}
"""Channels of convolutions; 0 is pooling."""


class Writer:
    """Collects the nodes and initializers of a graph."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.init: list[onnx.TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []

    def const(self, name: str, value: object) -> str:
        self.init.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self, name: str, shape: tuple[int, ...]) -> None:
        bound = float(np.prod(shape[1:])) ** -0.5
        values = self.rng.random(shape, np.float32)
        self.const(f"{name}.weight", (2 * bound * values - bound).astype(np.float32))
        self.const(f"{name}.bias", np.zeros(shape[0], np.float32))

    def node(self, op: str, ins: list[str], out: str, **attrs: object) -> str:
        self.nodes.append(helper.make_node(op, ins, [out], name=f"node_{out}", **attrs))
        return out

    def neuron(self, cur: str, mem: str, k: str) -> tuple[str, str]:
        """Add a Leaky neuron (reset by subtraction, delayed); return spikes and membrane."""
        over = self.node("Sub", [mem, "threshold"], f"over{k}")
        fired = self.node("Cast", [self.node("Greater", [over, "zero"], f"gt{k}")], f"r{k}", to=1)
        base = self.node("Add", [self.node("Mul", ["beta", mem], f"leak{k}"), cur], f"base{k}")
        drop = self.node("Mul", [fired, "threshold"], f"drop{k}")
        after = self.node("Sub", [base, drop], f"mem{k}")
        u = self.node("Sub", [after, "threshold"], f"u{k}")
        return self.node("Cast", [self.node("Greater", [u, "zero"], f"f{k}")], f"s{k}", to=1), after


def vgg_onnx(
    path: Path, name: str, *, size: int, steps: int, batch: int, dense: tuple[int, ...],
    seed: int = 0,
) -> Path:  # fmt: skip
    """Write a network for images of ``size`` x ``size`` with ``dense`` layers at the end."""
    w = Writer(seed)
    for key, value in (("beta", 0.95), ("threshold", 1.0), ("zero", 0.0)):
        w.const(key, np.float32(value))
    w.const("axis0", np.array([0], np.int64))
    channels, side, plan = 3, size, [*LAYERS[name], *(-n for n in dense)]
    for i, n in enumerate(plan):
        if n == 0:
            side //= 2
        elif n > 0:
            w.weights(f"conv{i}", (n, channels, 3, 3))
            channels = n
        else:
            w.weights(f"fc{i}", (-n, channels * side * side))
            channels, side = -n, 1
    mems = {i: w.const(f"mem{i}_0", np.zeros(1, np.float32)) for i, n in enumerate(plan) if n}
    rows: list[str] = []
    for t in range(steps):
        x = w.node("Gather", ["x", w.const(f"t{t}", np.array(t, np.int64))], f"x_{t}", axis=0)
        for i, n in enumerate(plan):
            k = f"{i}_{t}"
            if n == 0:
                x = w.node("MaxPool", [x], f"pool{k}", kernel_shape=[2, 2], strides=[2, 2])
                continue
            if n > 0:
                ins = [x, f"conv{i}.weight", f"conv{i}.bias"]
                cur = w.node("Conv", ins, f"cur{k}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            else:
                if plan[i - 1] >= 0:
                    x = w.node("Flatten", [x], f"flat{k}", axis=1)
                cur = w.node("Gemm", [x, f"fc{i}.weight", f"fc{i}.bias"], f"cur{k}", transB=1)
            x, mems[i] = w.neuron(cur, mems[i], k)
        rows.append(w.node("Unsqueeze", [x, "axis0"], f"row{t}"))
    w.node("Concat", rows, "spk_rec", axis=0)
    shape, out = [steps, batch, 3, size, size], [steps, batch, dense[-1]]
    graph = helper.make_graph(
        w.nodes, name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("spk_rec", TensorProto.FLOAT, out)],
        w.init,
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        str(path),
    )
    return path

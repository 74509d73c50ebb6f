"""Models for the benchmarks, written as the exporters write them, without needing a framework."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Weights = dict[str, npt.NDArray[np.float32]]


def mlp_weights(sizes: tuple[int, ...], seed: int = 0) -> Weights:
    """Return weights as torch.nn.Linear initialises them."""
    rng = np.random.Generator(np.random.PCG64(seed))
    made: Weights = {}
    for i, (n, m) in enumerate(itertools.pairwise(sizes), 1):
        bound = n**-0.5
        made[f"fc{i}.weight"] = rng.uniform(-bound, bound, (m, n)).astype(np.float32)
        made[f"fc{i}.bias"] = rng.uniform(-bound, bound, m).astype(np.float32)
    return made


def mlp_onnx(
    path: Path, *, steps: int, batch: int, sizes: tuple[int, ...], beta: float = 0.95, seed: int = 0
) -> Path:
    """Write a fully connected Leaky network with a spike train as input, unrolled over time.

    Each step is what torch's exporter makes of snnTorch's Leaky (reset by subtraction, delayed).
    """
    weights = mlp_weights(sizes, seed)
    init = [numpy_helper.from_array(v, k) for k, v in weights.items()]
    for name, value in (("beta", beta), ("threshold", 1.0), ("zero", 0.0)):
        init.append(numpy_helper.from_array(np.float32(value).reshape(()), name))
    init.append(numpy_helper.from_array(np.array([0], np.int64), "axis0"))
    nodes: list[onnx.NodeProto] = []

    def node(op: str, ins: list[str], out: str, **attrs: object) -> str:
        nodes.append(helper.make_node(op, ins, [out], name=f"node_{out}", **attrs))
        return out

    layers = len(sizes) - 1
    for i in range(1, layers + 1):
        init.append(numpy_helper.from_array(np.zeros((batch, sizes[i]), np.float32), f"mem{i}_0"))
    spikes: list[str] = []
    for t in range(steps):
        init.append(numpy_helper.from_array(np.array(t, np.int64), f"t{t}"))
        x = node("Gather", ["x", f"t{t}"], f"x_{t}", axis=0)
        for i in range(1, layers + 1):
            s = f"{i}_{t}"
            cur = node("Gemm", [x, f"fc{i}.weight", f"fc{i}.bias"], f"cur{s}", transB=1)
            old = node("Sub", [f"mem{i}_{t}", "threshold"], f"over{s}")
            reset = node("Cast", [node("Greater", [old, "zero"], f"gt{s}")], f"reset{s}", to=1)
            leak = node("Mul", ["beta", f"mem{i}_{t}"], f"leak{s}")
            base = node("Add", [leak, cur], f"base{s}")
            drop = node("Mul", [reset, "threshold"], f"drop{s}")
            mem = node("Sub", [base, drop], f"mem{i}_{t + 1}")
            u = node("Sub", [mem, "threshold"], f"u{s}")
            x = node("Cast", [node("Greater", [u, "zero"], f"fire{s}")], f"spk{s}", to=1)
        spikes.append(node("Unsqueeze", [x, "axis0"], f"row{t}"))
    node("Concat", spikes, "spk_rec", axis=0)
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, batch, sizes[0]])],
        [helper.make_tensor_value_info("spk_rec", TensorProto.FLOAT, [steps, batch, sizes[-1]])],
        init,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path

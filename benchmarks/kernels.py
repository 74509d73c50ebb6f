"""How fast the engines' kernels are, without compiler and sequencer: GMAC/s and ns per element.

``python benchmarks/kernels.py`` times the instructions of one training step of a 784-1000-10 LIF
network (T=25, batch 128), then the same step in PyTorch float32 eager if installed, one thread
each, the minimum of several runs of CPU time.  ``--density`` sets the share of input spikes.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from snncc.isa.microprograms.code import MicroBuilder
from snncc.isa.numbers.fp16 import pack_bits, packed_bytes
from snncc.isasim.engines import LaneProgram, Resolved, prepare, select_engine

T, BATCH, INPUTS, HIDDEN, CLASSES = 25, 128, 784, 1000, 10
ROWS = T * BATCH


class Scratchpad:
    """Operands one after the other, 64-byte aligned."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, np.ndarray]] = []
        self.size = 0

    def put(self, data: np.ndarray | int) -> int:
        """Reserve room for an array (with its contents) or a number of bytes."""
        place = self.size
        if isinstance(data, np.ndarray):
            self.pieces.append((place, data.reshape(-1).view(np.uint8)))
        size = data if isinstance(data, int) else data.nbytes
        self.size += -(-size // 64) * 64
        return place

    def memory(self) -> np.ndarray:
        """Return the filled scratchpad."""
        out = np.zeros(self.size + 4096, np.uint8)
        for place, data in self.pieces:
            out[place : place + data.shape[0]] = data
        return out


def lif() -> LaneProgram:
    """v = beta*v + x; spike from 1 on; soft reset; h is kept for the gradient."""
    b = MicroBuilder("lif")
    v, x = b.emit("state.h", (), 0), b.emit("ld.acc", (), 1)
    theta = b.emit("const.h", (), 0x3C00)
    h = b.emit("add.h", (b.emit("mul.h", (v, b.emit("const.h", (), 0x3B33))), x))
    s = b.emit("ge", (h, theta))
    b.emit("next", (v, b.emit("sel.h", (s, b.emit("sub.h", (h, theta)), h))))
    b.emit("st.m", (s,), 2)
    b.emit("st.h", (h,), 3)
    return prepare(b.build())


def gradient() -> LaneProgram:
    """dh = g * atan surrogate(h - 1) + beta * dh of the step after."""
    b = MicroBuilder("gradient")
    dv, g, h = b.emit("state.h", (), 0), b.emit("ld.acc", (), 1), b.emit("ld.h", (), 2)
    one, alpha = b.emit("const.h", (), 0x3C00), b.emit("const.h", (), 0x3E48)
    x = b.emit("mul.h", (b.emit("sub.h", (h, one)), alpha))
    slope = b.emit("div.h", (one, b.emit("add.h", (b.emit("mul.h", (x, x)), one))))
    dh = b.emit("add.h", (b.emit("mul.h", (g, slope)), dv))
    b.emit("st.h", (dh,), 3)
    b.emit("next", (dv, b.emit("mul.h", (dh, b.emit("const.h", (), 0x3B33)))))
    return prepare(b.build())


def sgd() -> LaneProgram:
    """w -= lr * g on binary16 weights and binary32 gradients."""
    b = MicroBuilder("sgd")
    w, g = b.emit("ld.h", (), 0), b.emit("ld.acc", (), 1)
    step = b.emit("mul.h", (g, b.emit("const.h", (), 0x211F)))
    b.emit("st.h", (b.emit("sub.h", (w, step)),), 2)
    return prepare(b.build())


def step_program(density: float) -> tuple[list[tuple[str, Resolved]], np.ndarray]:
    """Return the instructions of a training step and the scratchpad."""
    numbers = np.random.default_rng(0)
    pad = Scratchpad()

    def halves(*shape: int, scale: float) -> int:
        return pad.put((numbers.standard_normal(shape) * scale).astype(np.float16))

    x = pad.put(pack_bits(numbers.random((ROWS, INPUTS)) < density))
    w1 = halves(INPUTS, HIDDEN, scale=0.1)
    w2 = halves(HIDDEN, CLASSES, scale=0.1)
    g2 = halves(ROWS, CLASSES, scale=0.1)
    acc1, acc2 = pad.put(4 * ROWS * HIDDEN), pad.put(4 * ROWS * CLASSES)
    v1, v2 = pad.put(2 * BATCH * HIDDEN), pad.put(2 * BATCH * CLASSES)
    bits1, bits2 = packed_bytes(HIDDEN), packed_bytes(CLASSES)
    s1, s2 = pad.put(ROWS * bits1), pad.put(ROWS * bits2)
    h1, h2 = pad.put(2 * ROWS * HIDDEN), pad.put(2 * ROWS * CLASSES)
    d1, gacc = pad.put(2 * ROWS * HIDDEN), pad.put(4 * ROWS * HIDDEN)
    dw1, dw2 = pad.put(4 * INPUTS * HIDDEN), pad.put(4 * HIDDEN * CLASSES)

    def lanes(prog: LaneProgram, n: int, *streams: tuple[int, int]) -> Resolved:
        """Streams are (base, bytes of a row); the first one is a state."""
        found = tuple((base, BATCH * row, row) for base, row in streams)
        return Resolved("neuron", (0, T, BATCH, n, 0), found, prog)

    n, c, xs = HIDDEN, CLASSES, packed_bytes(INPUTS)
    neuron, back, update = lif(), gradient(), sgd()
    insns = [
        ("gacc 784x1000", Resolved("gacc", (acc1, 4 * n, x, xs, w1, 2 * n, ROWS, INPUTS, n, 0, 1))),
        ("LIF 1000", lanes(neuron, n, (v1, 2 * n), (acc1, 4 * n), (s1, bits1), (h1, 2 * n))),
        ("gacc 1000x10", Resolved("gacc", (acc2, 4 * c, s1, bits1, w2, 2 * c, ROWS, n, c, 0, 1))),
        ("LIF 10", lanes(neuron, c, (v2, 2 * c), (acc2, 4 * c), (s2, bits2), (h2, 2 * c))),
        (
            "bmac 10x1000",
            Resolved("bmac", (gacc, 4 * n, g2, 2 * c, w2, 2 * c, ROWS, c, n, 0, 1, 0, 1, 0, 0, 0)),
        ),
        ("gradient 1000", lanes(back, n, (v1, 2 * n), (gacc, 4 * n), (h1, 2 * n), (d1, 2 * n))),
        ("gouter 784x1000", Resolved("gouter", (dw1, 4 * n, x, xs, d1, 2 * n, ROWS, INPUTS, n, 1))),
        ("gouter 1000x10", Resolved("gouter", (dw2, 4 * c, s1, bits1, g2, 2 * c, ROWS, n, c, 1))),
        (
            "SGD 784x1000",
            Resolved(
                "ew",
                (0, 1, INPUTS, n, 0),
                ((w1, 0, 2 * n), (dw1, 0, 4 * n), (w1, 0, 2 * n)),
                update,
            ),
        ),
    ]
    return insns, pad.memory()


def best(call: Callable[[], object], repeats: int) -> float:
    """Return the least CPU time of several calls, in seconds."""
    times: list[float] = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def torch_step(density: float) -> Callable[[], object] | None:
    """Return the same training step in PyTorch, or None where it is not installed."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Spike(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, h: Any) -> Any:
            ctx.save_for_backward(h)
            return (h >= 1).to(h.dtype)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (h,) = ctx.saved_tensors
            return grad / (1 + ((h - 1) * 1.57) ** 2)

    x = (torch.rand(T, BATCH, INPUTS) < density).float()
    y = torch.randint(0, CLASSES, (BATCH,))
    w1 = (torch.randn(INPUTS, HIDDEN) * 0.1).requires_grad_()
    w2 = (torch.randn(HIDDEN, CLASSES) * 0.1).requires_grad_()
    optimizer = torch.optim.SGD([w1, w2], lr=0.01)

    def step() -> None:
        v1, v2 = torch.zeros(BATCH, HIDDEN), torch.zeros(BATCH, CLASSES)
        total = torch.zeros(BATCH, CLASSES)
        for t in range(T):
            h1 = 0.9 * v1 + x[t] @ w1
            s1 = Spike.apply(h1)
            v1 = h1 - s1.detach()
            h2 = 0.9 * v2 + s1 @ w2
            s2 = Spike.apply(h2)
            v2 = h2 - s2.detach()
            total = total + s2
        loss = torch.nn.functional.cross_entropy(total, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="fast", choices=("fast", "reference"))
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    engine = select_engine(args.engine)
    insns, memory = step_program(args.density)
    total = 0.0
    for name, op in insns:
        activity = engine.execute(op, memory)
        seconds = best(lambda op=op: engine.execute(op, memory), args.repeats)  # type: ignore[misc]
        total += seconds
        if op.micro:
            rate = f"{seconds / activity.dense * 1e9:8.3f} ns/element"
        else:
            rate = f"{activity.performed / seconds / 1e9:8.2f} GMAC/s"
            rate += f" performed, density {activity.performed / activity.dense:.3f}"
        print(f"{name:18} {seconds * 1e3:8.3f} ms {rate}")
    print(f"{'all':18} {total * 1e3:8.3f} ms")
    peer = torch_step(args.density)
    if peer is None:
        print("torch is not installed")
        return
    peer()
    theirs = best(peer, max(3, args.repeats // 3))
    print(f"{'torch float32':18} {theirs * 1e3:8.3f} ms; ratio {total / theirs:.3f}")


if __name__ == "__main__":
    main()

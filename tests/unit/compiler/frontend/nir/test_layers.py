"""NIR layers without memory against numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nir_files import Array, Node, run_chain
from snncc.compiler.diag import CompileError

RNG = np.random.default_rng(3)


def made(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def test_linear_and_affine(tmp_path: Path) -> None:
    x, w, b = made(3, 2, 5), made(4, 5), made(4)
    assert np.allclose(run_chain(tmp_path, x, {"type": "Linear", "weight": w}), x @ w.T)
    got = run_chain(tmp_path, x, {"type": "Affine", "weight": w, "bias": b})
    assert np.allclose(got, x @ w.T + b)


@pytest.mark.parametrize("scale", [np.float32(2.5), made(5), made(1, 5)])
def test_scale(tmp_path: Path, scale: Array) -> None:
    x = made(3, 2, 5)
    assert np.allclose(run_chain(tmp_path, x, {"type": "Scale", "scale": scale}), x * scale)


def convolution(x: Array, w: Array, stride: int, pads: tuple[int, int], dilation: int) -> Array:
    """Cross-correlate [..., C, L] with [O, C, k]."""
    x = np.pad(x, [(0, 0)] * (x.ndim - 1) + [pads])
    span = dilation * (w.shape[2] - 1) + 1
    cols = [x[..., i : i + span : dilation] for i in range(0, x.shape[-1] - span + 1, stride)]
    return np.stack([np.einsum("tbck,ock->tbo", c, w) for c in cols], -1)


@pytest.mark.parametrize(
    ("padding", "pads", "stride", "dilation"),
    [
        (np.asarray([1]), (1, 1), 2, 1),
        (np.asarray(2), (2, 2), 1, 2),
        ("same", (1, 2), 1, 1),
        ("valid", (0, 0), 1, 1),
    ],
)
def test_conv1d(
    tmp_path: Path, padding: object, pads: tuple[int, int], stride: int, dilation: int
) -> None:
    x, w, b = made(3, 2, 3, 9), made(4, 3, 4), made(4)
    node: Node = {"type": "Conv1d", "weight": w, "bias": b, "padding": padding, "groups": 1,
                  "stride": stride, "dilation": dilation, "input_shape": 9}  # fmt: skip
    want = convolution(x, w, stride, pads, dilation) + b[:, None]
    assert np.allclose(run_chain(tmp_path, x, node), want, atol=1e-6)


def test_conv2d_same_with_groups(tmp_path: Path) -> None:
    x, w = made(2, 1, 2, 5, 6), made(4, 1, 3, 2)
    node: Node = {"type": "Conv2d", "weight": w, "bias": np.zeros(4), "padding": "same",
                  "groups": 2, "stride": 1, "dilation": [1, 1]}  # fmt: skip
    got = run_chain(tmp_path, x, node)
    padded = np.pad(x, [(0, 0)] * 3 + [(1, 1), (0, 1)])
    want = np.zeros((2, 1, 4, 5, 6))
    for o in range(4):
        for i in range(3):
            for j in range(2):
                want[:, :, o] += padded[:, :, o // 2, i : i + 5, j : j + 6] * w[o, 0, i, j]
    assert np.allclose(got, want, atol=1e-6)


def test_pools_take_scalars_and_pairs(tmp_path: Path) -> None:
    x = made(2, 1, 3, 4, 6)
    node: Node = {"type": "SumPool2d", "kernel_size": 2, "stride": 2, "padding": [0, 0]}
    want = x.reshape(2, 1, 3, 2, 2, 3, 2).sum((4, 6))
    assert np.allclose(run_chain(tmp_path, x, node), want, atol=1e-6)
    node = {"type": "AvgPool2d", "kernel_size": [2, 3], "stride": [2, 3], "padding": [1, 0]}
    padded = np.pad(x, [(0, 0)] * 3 + [(1, 1), (0, 0)])
    want = padded.reshape(2, 1, 3, 3, 2, 2, 3).mean((4, 6))
    assert np.allclose(run_chain(tmp_path, x, node), want, atol=1e-6)


def test_flatten_does_not_count_the_batch(tmp_path: Path) -> None:
    x = made(2, 3, 4, 5, 6)
    node: Node = {"type": "Flatten", "start_dim": 1, "end_dim": -1}
    assert np.array_equal(run_chain(tmp_path, x, node), x.reshape(2, 3, 4, 30))
    node = {"type": "Flatten", "start_dim": 0, "end_dim": 1}
    assert np.array_equal(run_chain(tmp_path, x, node), x.reshape(2, 3, 20, 6))


def test_threshold_is_strict(tmp_path: Path) -> None:
    x = np.asarray([[[0.5, 0.6, -1.0]]])
    got = run_chain(tmp_path, x, {"type": "Threshold", "threshold": np.full(3, 0.5)})
    assert got.tolist() == [[[0, 1, 0]]]


def test_delays_differ_between_channels(tmp_path: Path) -> None:
    x = made(6, 2, 3)
    got = run_chain(tmp_path, x, {"type": "Delay", "delay": np.asarray([0.0, 2e-3, 9.0])}, dt=1e-3)
    want = np.zeros_like(x)
    want[:, :, 0], want[2:, :, 1] = x[:, :, 0], x[:-2, :, 1]
    assert np.allclose(got, want)


def test_one_delay_for_all(tmp_path: Path) -> None:
    x = made(5, 1, 3)
    got = run_chain(tmp_path, x, {"type": "Delay", "delay": 3e-4}, dt=1e-4)
    assert np.allclose(got[3:], x[:2])
    assert not got[:3].any()


@pytest.mark.parametrize(
    ("node", "word"),
    [
        ({"type": "Linear"}, "lacks weight"),
        ({"type": "Linear", "weight": np.ones((2, 7))}, "features"),
        ({"type": "Mystery"}, "Mystery"),
        ({"type": "Conv1d", "weight": np.ones((1, 1, 1)), "padding": "odd"}, "padding"),
        ({"type": "SumPool2d"}, "kernel_size"),
        ({"type": "Flatten", "start_dim": 3}, "Flatten"),
        ({"type": "Scale", "scale": np.ones(4)}, "does not fit"),
        ({"type": "LIF", "tau": 0.0, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}, "positive"),
        ({"type": "IF", "v_threshold": 1.0}, "lacks r"),
    ],
)
def test_faults_have_a_place(tmp_path: Path, node: Node, word: str) -> None:
    with pytest.raises(CompileError) as raised:
        run_chain(tmp_path, np.ones((2, 1, 3)), node, dt=1.0)
    assert word in str(raised.value)
    assert "net.nir:0" in str(raised.value)


def test_absurd_windows(tmp_path: Path) -> None:
    node: Node = {"type": "Conv2d", "weight": np.ones((1, 1, 1, 1)), "padding": [1 << 19, 1 << 19]}
    with pytest.raises(CompileError, match="E0109"):
        run_chain(tmp_path, np.ones((1, 1, 1, 2, 2)), node)

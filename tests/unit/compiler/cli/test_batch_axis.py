"""The batch of a run comes from the axis that the model file has it on, whatever axis that is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_models import Array, Graph
from snncc.compiler.config.config import Config
from snncc.compiler.driver import api

STEPS, BATCH, WIDTH = 4, 3, 6
TIME_MAJOR, BATCH_FIRST, STATIC = (STEPS, BATCH, WIDTH), (BATCH, STEPS, WIDTH), (BATCH, WIDTH)
MERGED = (BATCH * STEPS, WIDTH)


def model(folder: Path, shape: tuple[int, ...]) -> Path:
    """Write a leaky neuron behind a product, unrolled; its spikes are [T, B, WIDTH]."""
    g = Graph()
    weight = g.const(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32), "w")
    zero, beta, threshold = g.const(np.array([0], np.int64)), g.const(0.5), g.const(0.6)
    x = "x"
    if shape == MERGED:
        parts = g.const(np.array([BATCH, STEPS, WIDTH], np.int64))
        x = g.op("Reshape", x, parts)
    axis = 0 if shape == TIME_MAJOR else 1
    membrane, spikes = "", list[str]()
    for t in range(STEPS):
        now = x
        if shape != STATIC:
            now = g.op("Gather", x, g.const(np.array(t, np.int64)), axis=axis)
        now = g.op("MatMul", now, weight)
        if membrane:
            now = g.op("Add", g.op("Mul", membrane, beta), now)
        spike = g.op("Cast", g.op("Greater", now, threshold), to=1)
        membrane = g.op("Sub", now, g.op("Mul", spike, threshold))
        spikes.append(g.op("Unsqueeze", spike, zero))
    g.op("Concat", *spikes, out="spk", axis=0)
    out = {"spk": [STEPS, BATCH, WIDTH]}
    return g.save(folder / "m.onnx", {"x": list(shape)}, out)


def with_batch(shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
    if shape == MERGED:
        return (batch * STEPS, WIDTH)
    return tuple(batch if d == BATCH else d for d in shape)


def drive(shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(1).random(shape, np.float32)


@pytest.mark.parametrize("shape", [TIME_MAJOR, BATCH_FIRST, STATIC, MERGED], ids=str)
@pytest.mark.parametrize("batch", [1, 3, 5, 7])
def test_any_layout(tmp_path: Path, shape: tuple[int, ...], batch: int) -> None:
    merged = {"batch_in_time_axis": True, "timesteps": STEPS, "time_axis": 0}
    config = Config().override(merged if shape == MERGED else {}, "flag")
    path, x = model(tmp_path, shape), drive(with_batch(shape, batch))
    loaded = api.load(path, config=config, x_shape=x.shape)
    assert (loaded.batch, loaded.steps) == (batch, STEPS)
    found = api.run(loaded, x, numerics="float64")["out/spk"]
    assert found.shape == (STEPS, batch, WIDTH)
    rows = x if shape != MERGED else x.reshape(batch, STEPS, WIDTH)
    if shape in (BATCH_FIRST, MERGED):
        rows = np.moveaxis(rows, 1, 0)
    weight = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    membrane = np.zeros((batch, WIDTH))
    for t in range(STEPS):
        h = 0.5 * membrane + (rows if shape == STATIC else rows[t]) @ weight.astype(np.float64)
        np.testing.assert_array_equal(found[t], h > np.float32(0.6))
        membrane = h - (h > np.float32(0.6)) * np.float64(np.float32(0.6))


def test_a_batch_that_was_asked_for_wins(tmp_path: Path) -> None:
    path = model(tmp_path, TIME_MAJOR)
    assert api.load(path, batch=2, x_shape=(STEPS, 5, WIDTH)).batch == 2
    assert api.load(path).batch == BATCH


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        (TIME_MAJOR, (STEPS + 1, BATCH, WIDTH)),
        (TIME_MAJOR, (BATCH, WIDTH)),
        (BATCH_FIRST, (BATCH, STEPS + 1, WIDTH)),
        (BATCH_FIRST, (STEPS, BATCH, WIDTH + 1)),
        (STATIC, (STEPS, BATCH, WIDTH)),
        (STATIC, ()),
    ],
    ids=str,
)
def test_wrong_shapes_are_one_error(
    tmp_path: Path, shape: tuple[int, ...], given: tuple[int, ...]
) -> None:
    with pytest.raises(api.CompileError) as caught:
        api.run(api.load(model(tmp_path, shape), x_shape=given), drive(given), numerics="float64")
    (said,) = caught.value.diagnostics
    assert said.code == "E0022"
    assert str(list(given)) in said.message


def test_sizes_that_the_file_leaves_open(tmp_path: Path) -> None:
    path = model(tmp_path, TIME_MAJOR)
    proto = onnx.ModelProto.FromString(path.read_bytes())
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"
    path.write_bytes(proto.SerializeToString())
    assert api.load(path, x_shape=(STEPS, 5, WIDTH)).batch == 5
    with pytest.raises(api.CompileError, match="E0108"):
        api.load(path)

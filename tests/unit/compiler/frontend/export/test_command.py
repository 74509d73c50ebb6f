"""`snncc export`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from click.testing import CliRunner

from snncc.compiler.cli.main import cli
from snncc.compiler.driver import api

NET = """input(4, steps=6, batch=2) init(gain=3)
fc = dense(5) lif(reset=hard) dense(3) lif(reset=hard)"""


def command(*words: object) -> str:
    done = CliRunner().invoke(cli, [str(w) for w in words])
    return f"{done.exit_code}\n{done.output}"


def test_formats_agree(tmp_path: Path) -> None:
    model = tmp_path / "net.snn"
    model.write_text(NET)
    x = (np.random.default_rng(0).random((6, 2, 4)) < 0.6).astype(np.float32)
    want = api.run(api.load(model, x_shape=x.shape), x, numerics="float64")["out/out"]
    assert want.any()
    for name, dt in (("net.onnx", None), ("net.nir", 1e-3)):
        said = command("export", model, "-o", tmp_path / name, *(["--dt", dt] if dt else []))
        assert said.startswith("0\n"), said
        config = tmp_path / "net.toml"
        config.write_text("timesteps = 6\ntime_axis = 0\n")
        loaded = api.load(tmp_path / name, config=config, x_shape=x.shape, dt=dt)
        assert np.array_equal(api.run(loaded, x, numerics="float64")["out/out"], want)


def test_trained_parameters(tmp_path: Path) -> None:
    model, trained = tmp_path / "net.snn", {"param/fc.weight": np.full((5, 4), 0.5)}
    model.write_text(NET)
    np.savez(tmp_path / "w.npz", allow_pickle=False, **trained)
    out = tmp_path / "net.nir"
    assert command("export", model, "-o", out, "--parameters", tmp_path / "w.npz")[0] == "0"
    again = api.load(out, batch=1).graph
    assert np.all(np.asarray(again.resources["fc.weight"]) == 0.5)
    np.savez(tmp_path / "w.npz", other=np.ones(3))
    assert "E0021" in command("export", model, "-o", out, "--parameters", tmp_path / "w.npz")
    np.savez(tmp_path / "w.npz", allow_pickle=False, **{"fc.weight": np.ones((4, 5))})
    assert "E0022" in command("export", model, "-o", out, "--parameters", tmp_path / "w.npz")


def test_mistakes(tmp_path: Path) -> None:
    model = tmp_path / "net.snn"
    model.write_text(NET)
    assert "E0024" in command("export", model, "-o", tmp_path / "net.pb")
    assert "E0005" in command("export", model, "-o", tmp_path / "no" / "net.nir")
    assert "E0005" in command("export", model, "-o", tmp_path / "no" / "net.onnx")
    model.write_text("input(4, steps=2) lif")
    assert "E0115" in command("export", model, "-o", tmp_path / "net.nir")


def test_the_batch_of_the_exported_file(tmp_path: Path) -> None:
    model = tmp_path / "net.snn"
    model.write_text(NET)
    refused = command("export", model, "-o", tmp_path / "net.onnx", "--batch", 0)
    assert refused.startswith("2\n")
    assert "0 is not in the range x>=1" in refused
    assert not (tmp_path / "net.onnx").exists()
    for batch in (1, 3):
        made = command("export", model, "-o", tmp_path / "net.onnx", "--batch", batch)
        assert made.startswith("0\n"), made
        file = onnx.ModelProto.FromString((tmp_path / "net.onnx").read_bytes())
        (given,) = file.graph.input
        assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [6, batch, 4]

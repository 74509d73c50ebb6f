"""Networks that go out as NIR and come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nir_files import Array
from snncc.compiler.diag import CompileError
from snncc.compiler.export.nir import export_nir
from snncc.compiler.frontend.import_dsl import import_dsl
from snncc.compiler.frontend.import_nir import import_nir
from snncc.compiler.interp.evaluate import evaluate
from snncc.compiler.ir.core import Module
from snncc.compiler.ir.verify import verify

NETWORKS = {
    "mlp": """input(6, steps=12) dense(8) lif(beta=0.7, reset=hard, reset_value=0.1)
        dense(5, bias=false) lif(tau=3, reset=hard, threshold=0.3, v_rest=0.1) dense(3) li""",
    "cnn": """input(2x9x9, steps=6) conv(4, stride=2, padding=1) bn if(reset=hard, threshold=0.8)
        avgpool conv(6, kernel=1, groups=2) lif(beta=0.5, norm_input=true, threshold=0.2,
        reset=hard) sumpool(1) scale(0.5) flatten dense(4) lif(reset=hard)""",
    "conv1d": """input(3x10, steps=6) conv(4, 3, dilation=2, padding=2) lif(reset=hard)
        flatten dropout(0.2) dense(3) synaptic(alpha=0.6, beta=0.8, reset=hard)""",
    "residual": """input(6, steps=9) dense(6) lif(reset=hard, threshold=0.4)
        residual { dense(6) lif(reset=hard) } add(x) residual { relu_free = scale(2) } dense(2)""",
    "recurrent": """input(6, steps=15) dense(7) lif(beta=0.8, reset=hard, recurrent=true)
        dense(7) lif(beta=0.5, reset=hard, recurrent=true) output(a) dense(2) output(b)""",
}


def results(module: Module, x: Array) -> dict[str, Array]:
    name = module.func("main").body.args[0].name
    return {k: np.asarray(v) for k, v in evaluate(module, "main", {name: x}, "float64").items()}


def imported(folder: Path, text: str) -> Module:
    path = folder / "net.snn"
    path.write_text(text + " init(seed=4, gain=2)")
    return import_dsl(path, batch=3)[0]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dt", [None, 1e-3])
def test_there_and_back(tmp_path: Path, name: str, dt: float | None) -> None:
    module = imported(tmp_path, NETWORKS[name])
    shape = module.func("main").body.args[0].type.shape
    x = (np.random.default_rng(2).random(shape) < 0.5).astype(np.float32)
    path = tmp_path / "net.nir"
    step = export_nir(module, path, dt)
    again = import_nir(path, x_shape=x.shape, dt=step)
    verify(again)
    want, got = results(module, x), results(again, x)
    assert want.keys() == got.keys()
    for key in want:
        assert np.abs(want[key]).max() > 0
        assert np.allclose(want[key], got[key], atol=1e-5), key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("input(2x4x4, steps=2) maxpool", "maximum pooling"),
        ("input(4, steps=2) lif", "the reset 'subtract'"),
        ("input(4, steps=2) lif(reset=hard, delay=true)", "one step late"),
        ("input(4, steps=2) lif(reset=hard, compare=non_strict)", "non_strict"),
        ("input(4, steps=2) relu", "ReLU"),
        ("input(4, steps=2) bn", "batch normalisation"),
        ("input(4, steps=2) position", "addition of a constant"),
        ("input(4, steps=2, static=true) dense(2)", "without time"),
        ("input(2x4x4, steps=2) conv(2, kernel=2, padding=same)", "padding"),
        ("input(4, steps=2) lif(reset=hard, v_min=-1)", "v_min"),
    ],
)
def test_what_nir_cannot_say(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(CompileError) as raised:
        export_nir(imported(tmp_path, text), tmp_path / "net.nir")
    assert "E0115" in str(raised.value)
    assert words in str(raised.value)


def test_files_are_valid_for_the_nir_package(tmp_path: Path) -> None:
    nir = pytest.importorskip("nir")
    path = tmp_path / "net.nir"
    # nir's inference of types knows no groups: it takes the inputs of one for all (1.0.8)
    export_nir(imported(tmp_path, NETWORKS["cnn"].replace(", groups=2", "")), path)
    graph = nir.read(path)
    kinds = {type(n).__name__ for n in graph.nodes.values()}
    assert {"Conv2d", "IF", "AvgPool2d", "LIF", "Flatten", "Affine"} <= kinds


def test_a_static_input_is_repeated(tmp_path: Path) -> None:
    module = imported(tmp_path, "input(6, steps=8, static=true) dense(8) lif(reset=hard)")
    x = np.random.default_rng(0).random((3, 6))
    path = tmp_path / "net.nir"
    step = export_nir(module, path)
    many = np.broadcast_to(x, (8, *x.shape))
    again = import_nir(path, x_shape=many.shape, dt=step)
    assert np.array_equal(results(module, x)["out/out"], results(again, many)["out/out"])

"""The evaluators of .snn texts and NIR graphs by hand: values that were worked out on paper."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from random_nir import Array, node
from snncc.compiler.diag import CompileError
from snncc.compiler.frontend.dsl.parse import parse
from snncc.compiler.frontend.nir.file import NirGraph, NirNode
from snncc.compiler.validate.arithmetic import STEP, Hard, Smooth
from snncc.compiler.validate.array_layers import SlidingWindow, convolution, transposed_convolution
from snncc.compiler.validate.compare import NotValidated
from snncc.compiler.validate.dsl.reference import DslReference
from snncc.compiler.validate.dsl.start import Start, starts_as
from snncc.compiler.validate.nir.equations import six_digits
from snncc.compiler.validate.nir.reference import NirReference


def text_gives(text: str, x: npt.ArrayLike, **parameters: npt.ArrayLike) -> dict[str, Array]:
    """Evaluate a text in plain numbers; dots of names are written as two underscores."""
    named = {k.replace("__", "."): np.asarray(v, np.float64) for k, v in parameters.items()}
    reference = DslReference(parse(text, "net.snn"), named, 0)
    found = reference.evaluate({"x": np.asarray(x, np.float64)}, {}, Hard())
    return {name: array.round(12) for name, array in found.outputs.items()}


def fires(options: str, xs: list[float]) -> list[float]:
    """Evaluate one neuron; return what it gives at each step."""
    x = np.asarray(xs)[:, None, None]
    return [float(v) for v in text_gives(f"input(1, steps={len(xs)}) {options}", x)["out"].flat]


@pytest.mark.parametrize(
    ("options", "xs", "expected"),
    [
        ("li(beta=0.5)", [1, 1, 0], [1, 1.5, 0.75]),
        ("li(tau=4)", [1, 1, 0], [0.25, 0.4375, 0.328125]),
        ("li(beta=0.5, norm_input=true)", [1, 1, 0], [0.5, 0.75, 0.375]),
        ("li(beta=0.5, v_rest=1)", [0, 0, 1], [0.5, 0.75, 1.875]),
        ("li(tau=2, v_rest=1)", [0, 0, 1], [0.5, 0.75, 1.375]),
        # 0.6, 0.3+0.6=0.9, 0.45+0.6=1.05 fires and keeps 0.05, 0.625, ...
        ("lif(beta=0.5)", [0.6, 0.6, 0.6, 0.6], [0, 0, 1, 0]),
        ("if", [0.5, 0.5, 0.5, 0.5], [0, 0, 1, 0]),
        ("if(compare=non_strict)", [0.5, 0.5, 0.5, 0.5], [0, 1, 0, 1]),
        ("if(reset=none)", [0.7, 0.7, 0], [0, 1, 1]),
        ("if(reset=hard)", [1.8, 0.9, 0.9], [1, 0, 1]),
        ("if(reset=hard, reset_value=-0.5)", [1.8, 0.9, 0.5, 0.2], [1, 0, 0, 1]),
        ("if(reset=subtract)", [1.8, 0.9, 0], [1, 1, 0]),
        # late: 1.8 fires, 1.8+0.9-1=1.7 fires, 1.7+0-1=0.7
        ("if(delay=true)", [1.8, 0.9, 0], [1, 1, 0]),
        ("lif(beta=0.5, delay=true)", [1.8, 0.9, 0.5], [1, 0, 0]),
        ("lif(beta=0.5)", [1.8, 0.7, 0.5], [1, 1, 0]),
        ("if(compare=multi)", [3.5, 0.6, -4], [3, 1, 0]),
        ("if(compare=multi, threshold=0.5)", [1.2, 0], [2, 0]),
        ("if(compare=multi, reset=hard, reset_value=0.25)", [3.5, 0.8], [3, 1]),
        ("if(v_min=0)", [-5, 1.5, 0], [0, 1, 0]),
        ("if(v_min=-1)", [-5, 1.5, 0.6], [0, 0, 1]),
        # i = 0.5 i + x: 1, 0.5, 0.25; v = 1, 1.5 (fires), 0.75
        ("synaptic(alpha=0.5, beta=1)", [1, 0, 0], [0, 1, 0]),
        ("synaptic(0.5, 1)", [1, 0, 0], [0, 1, 0]),
        ("let fire = if(threshold=0.4) fire", [0.5, 0.2], [1, 0]),
        ("let fire = if(0.4, none) fire(0.6)", [0.5, 0.2], [0, 1]),
    ],
)
def test_neurons_of_texts(options: str, xs: list[float], expected: list[float]) -> None:
    assert fires(options, xs) == expected


def test_spikes_that_come_back() -> None:
    """Two neurons: the first excites the second a step late, which holds the first back."""
    weight = [[0, -2], [3, 0]]
    x = np.asarray([[2.0, 0], [1.5, 0], [1.5, 0]])[:, None]
    got = text_gives("input(2, steps=3) a = if(recurrent=true)", x, a__recurrent=weight)["out"]
    # a: 2 fires, keeps 1; 1+1.5 fires, keeps 1.5; 1.5+1.5-2 = 1 does not
    # b: 0; 3 fires, keeps 2; 2+3 fires
    assert got[:, 0].tolist() == [[1, 0], [1, 1], [0, 1]]


def test_layers_of_texts() -> None:
    image = np.arange(9.0).reshape(1, 1, 1, 3, 3)
    assert text_gives("input(1x3x3) maxpool(2, 1)", image)["out"].ravel().tolist() == [4, 5, 7, 8]
    assert text_gives("input(1x3x3) avgpool(2, 1)", image)["out"].ravel().tolist() == [2, 3, 5, 6]
    got = text_gives("input(1x3x3) avgpool(2, 2, padding=1)", image)["out"]
    assert got.ravel().tolist() == [0, 0.75, 2.25, 6]
    assert text_gives("input(1x3x3) sumpool(3)", image)["out"].ravel().tolist() == [36]
    for kind, value in (("mean", 4), ("sum", 36), ("max", 8)):
        assert text_gives(f"input(1x3x3) globalpool({kind})", image)["out"].item() == value
    assert text_gives("input(1x3x3) flatten vote(3)", image)["out"].ravel().tolist() == [1, 4, 7]
    assert text_gives("input(1x3x3) reshape(9) scale(-1) relu", image)["out"].sum() == 0
    got = text_gives(
        "input(1x3x3) c = conv(1, 2, bias=false)", image, c__weight=[[[[1, 0], [0, -1]]]]
    )["out"]
    assert got.ravel().tolist() == [-4] * 4
    got = text_gives(
        "input(1x3x3) conv(1, 2, padding=same)", image, conv1__weight=[[[[0, 0], [0, 1]]]],
        conv1__bias=[0.5],
    )["out"]  # fmt: skip
    assert got.ravel().tolist() == [4.5, 5.5, 0.5, 7.5, 8.5, 0.5, 0.5, 0.5, 0.5]


def test_batch_norm_of_texts() -> None:
    statistics: Mapping[str, npt.ArrayLike] = {
        "bn1__weight": [2, 3], "bn1__bias": [1, -1], "bn1__running_mean": [1, 2],
        "bn1__running_var": [4, 9],
    }  # fmt: skip
    got = text_gives("input(2x1) bn(eps=0)", [[[[3], [8]]]], **statistics)["out"]
    assert got.ravel().tolist() == [3, 5]


def test_blocks_of_texts() -> None:
    x = [[[0, 0, 1, 1]], [[0, 1, 0, 1]]]
    double = "input(4, steps=2) {} {{ if(0.5, none) }} {{ scale(2) if(0.5, none) }}"
    same = text_gives(double.format("residual(mode=add)"), x)["out"]
    assert same[0, 0].tolist() == [0, 0, 2, 2]
    text = """input(4, steps=2) b = if(0.5, none) residual(mode={})
    {{ from x if(0.5, hard) }} {{ from b }}"""
    # branch: 0011, then 0101; shortcut keeps what it has: 0011, then 0111
    for mode, late in (("and", [0, 1, 0, 1]), ("or", [0, 1, 1, 1]), ("iand", [0, 0, 1, 0])):
        got = text_gives(text.format(mode), x)["out"]
        assert got[1, 0].tolist() == late
    joined = text_gives(
        "input(2x1) y = relu scale(3) concat(y, x, axis=2) output(z)", [[[[1], [-1]]]]
    )
    assert joined["z"].tolist() == [[[[1, 1], [0, -1]]]]
    repeated = text_gives("input(1) repeat(3) { scale(2) add(x) }", [[[1]]])
    assert repeated["out"].item() == 15


def test_attention_of_texts() -> None:
    """One head, two channels, two tokens; the norms are the identity, the spikes the inputs."""
    eye = np.eye(2)[:, :, None]
    named: dict[str, npt.ArrayLike] = {}
    for part in ("q", "k", "v", "proj"):
        named[f"attention1.{part}.weight"] = eye
        for key, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            named[f"attention1.{part}.bn.{key}"] = np.full(2, value)
    x = np.asarray([[[1.0, 0.0], [1.0, 1.0]]])  # token 0 = (1, 1), token 1 = (0, 1)
    reference = DslReference(
        parse("input(2x2, static=true) attention(scale=1) { if(0.5, none) }", "net.snn"),
        {k: np.asarray(v, np.float64) for k, v in named.items()}, 1,
    )  # fmt: skip
    found = dict(reference.evaluate({"x": x}, {}, Hard()).places)
    # scores q^T k = [[2, 1], [1, 1]]; v scores^T = [[2, 1], [3, 2]]: all fire
    assert found["if4"][0, 0].tolist() == [[1, 1], [1, 1]]
    assert [n for n in found if n.startswith("if")] == ["if1", "if2", "if3", "if4", "if5"]


def test_names_of_texts() -> None:
    text = "input(2) dense(2) fc = dense(2) dense2 = dense(2) dense(2) fc = dense(2)"
    names = ("dense1", "fc", "dense2", "dense2_2", "fc_2")
    named = {f"{n}.{k}": v for n in names for k, v in (("weight", np.eye(2)), ("bias", [1, 0]))}
    reference = DslReference(
        parse(text, "net.snn"), {k: np.asarray(v, np.float64) for k, v in named.items()}, 1
    )
    got = reference.evaluate({"x": np.zeros((1, 1, 2))}, {}, Hard()).outputs["out"]
    assert got.ravel().tolist() == [5, 0]
    assert reference.needed() == set(named)
    with pytest.raises(CompileError, match=r"no parameter 'fc\.bias'"):
        text_gives("input(2) fc = dense(2)", [[[1, 1]]], fc__weight=np.eye(2))
    with pytest.raises(CompileError, match="has shape"):
        text_gives("input(2) fc = dense(2)", [[[1, 1]]], fc__weight=np.eye(3))
    with pytest.raises(NotValidated):
        text_gives("input(2) melt", [[[1, 1]]])


def test_first_weights() -> None:
    """PCG64 of SHA-256 of "0:fc.weight": numpy's own uniform numbers are those 53 bits."""
    import hashlib

    seed = int.from_bytes(hashlib.sha256(b"0:fc.weight").digest()[:16], "little")
    unit = np.random.Generator(np.random.PCG64(seed)).random(2000)
    held = ((2 * unit - 1) * 0.5).astype(np.float32).reshape(50, 40)
    start = Start((50, 40), bound=0.5)
    assert starts_as("fc.weight", held, start, 0, 1.0)
    assert not starts_as("fc.weight", held, start, 1, 1.0)
    assert not starts_as("fc.weight", held, start, 0, 1.1)
    assert not starts_as("fc2.weight", held, start, 0, 1.0)
    assert not starts_as("fc.weight", held.T.reshape(50, 40), start, 0, 1.0)


# ---------------------------------------------------------------------------------- NIR
def chain(*middle: NirNode, shape: tuple[int, ...] = (1,)) -> NirGraph:
    nodes = {"input": node("Input", shape=np.asarray(shape))}
    nodes |= {f"n{i}": each for i, each in enumerate(middle)}
    nodes["output"] = node("Output", shape=np.asarray(shape))
    names = list(nodes)
    return NirGraph(nodes, list(pairwise(names)))


def nir_gives(graph: NirGraph, x: npt.ArrayLike, dt: float = 1.0) -> Array:
    reference = NirReference("net.nir", graph, dt)
    found = reference.evaluate({"input": np.asarray(x, np.float64)}, {}, Hard())
    return found.outputs["output"].round(9)


@pytest.mark.parametrize(
    ("each", "xs", "expected"),
    [
        (node("I", r=[2.0]), [1, 1, -1], [1, 2, 1]),
        (node("IF", r=[2.0], v_threshold=[1.0]), [0.6, 0.6, 0.6], [0, 1, 0]),
        (node("IF", r=[2.0], v_threshold=[1.0], v_reset=[0.5]), [0.6, 0.6, 0.6], [0, 1, 1]),
        (node("LI", tau=[2.0], r=[1.0], v_leak=[0.0]), [1, 1, 0], [0.25, 0.4375, 0.328125]),
        (node("LI", tau=[1.0], r=[3.0], v_leak=[2.0]), [0, 0, 1], [1, 1.5, 3.25]),
        (node("LIF", tau=[1.0], r=[2.0], v_leak=[0.0], v_threshold=[1.0], v_reset=[-1.0]),
         [1, 1, 1, 1], [0, 1, 0, 1]),
        (node("CubaLI", tau_syn=[1.0], tau_mem=[1.0], r=[2.0], v_leak=[0.0], w_in=[4.0]),
         [1, 0, 0], [2, 2, 1.5]),
        (node("CubaLIF", tau_syn=[1.0], tau_mem=[1.0], r=[2.0], v_leak=[0.0], v_threshold=[1.5]),
         [4, 0, 0], [1, 0, 0]),
        (node("Threshold", threshold=[0.5]), [0.4, 0.5, 0.6], [0, 0, 1]),
        (node("Delay", delay=[1.0]), [1, 2, 3, 4], [0, 0, 1, 2]),
        (node("Delay", delay=[0.0]), [1, 2], [1, 2]),
        (node("Scale", scale=[-2.0]), [1, 2], [-2, -4]),
        (node("Affine", weight=[[2.0]], bias=[1.0]), [1, 2], [3, 5]),
    ],
)  # fmt: skip
def test_nodes_of_nir(each: NirNode, xs: list[float], expected: list[float]) -> None:
    """All with steps of one half."""
    got = nir_gives(chain(each), np.asarray(xs)[:, None, None], 0.5)
    assert got.ravel().tolist() == expected


def test_loop_of_nir() -> None:
    """The neuron hears what it gave a step before, before the first step nothing but the bias."""
    graph = chain(node("IF", r=[1.0], v_threshold=[1.0]))
    graph.nodes["back"] = node("Affine", weight=[[-1.0]], bias=[0.5])
    graph.edges += [("n0", "back"), ("back", "n0")]
    got = nir_gives(graph, np.asarray([0, 0.2, 0.5, 1, 1])[:, None, None])
    # 0.5; 1.2 fires; 0 + 0.5 - 0.5; 1.5 fires; 0 + 1 - 0.5
    assert got.ravel().tolist() == [0, 1, 0, 1, 0]


def test_images_of_nir() -> None:
    x = np.arange(18.0).reshape(1, 1, 2, 3, 3)
    flat = nir_gives(chain(node("Flatten", start_dim=1, end_dim=2), shape=(2, 3, 3)), x)
    assert flat.shape == (1, 1, 2, 9)
    assert nir_gives(chain(node("Flatten"), shape=(2, 3, 3)), x).shape == (1, 1, 2, 9)
    two: dict[str, Any] = {
        "kernel_size": np.asarray(2),
        "stride": np.asarray([2, 2]),
        "padding": np.asarray([1, 1]),
    }
    sums = nir_gives(chain(node("SumPool2d", **two), shape=(2, 3, 3)), x)
    assert sums[0, 0, 0].tolist() == [[0, 3], [9, 24]]
    means = nir_gives(chain(node("AvgPool2d", **two), shape=(2, 3, 3)), x)
    assert means[0, 0, 0].tolist() == [[0, 0.75], [2.25, 6]]


def test_six_digits() -> None:
    noisy = np.asarray([np.float32(0.1), 1 / 3, 0.123456789, 1000.0001, 0.0, -0.05 * (1 + 1e-7)])
    assert six_digits(noisy).tolist() == [0.1, 1 / 3, 0.123456789, 1000, 0, -0.05]


def test_transposed_convolution_is_the_transpose() -> None:
    """<conv(a), b> = <a, deconv(b)>: both with strides, dilation and groups."""
    rng = np.random.default_rng(1)
    window = SlidingWindow((2, 1), (1, 0), (1, 0), (1, 2), 2)
    a, weight = rng.normal(size=(2, 4, 7, 6)), rng.normal(size=(6, 2, 3, 2))
    through = convolution(a, weight, None, window)
    b = rng.normal(size=through.shape)
    back = transposed_convolution(b, weight, None, window, (0, 0))
    assert back.shape == a.shape
    assert np.isclose((through * b).sum(), (a * back).sum())


def test_derivatives_of_spikes() -> None:
    """A reset that is attached passes a derivative, a detached one does not."""
    x = np.asarray([0.7 + 1j * STEP, 0.2])[:, None, None]
    rate: dict[str, Array] = {}
    for detach in ("true", "false"):
        text = f"input(1, steps=2) if(reset=subtract, detach={detach}, threshold=0.5)"
        found = DslReference(parse(text, "net.snn"), {}, 2).evaluate({"x": x}, {}, Smooth())
        rate[detach] = np.asarray(np.imag(found.outputs["out"]), np.float64).ravel() / STEP
    s = 0.5 + 0.2 / 2.4  # what fires at 0.7 - 0.5
    u = 0.7 + 0.2 - 0.5 * s - 0.5
    slope0, slope1 = 0.5 / 1.2**2, 0.5 / (1 + abs(u)) ** 2
    assert np.allclose(rate["true"], [slope0, slope1])
    assert np.allclose(rate["false"], [slope0, slope1 * (1 - 0.5 * slope0)])


def test_file_is_named() -> None:
    assert DslReference(parse("input(1)", "a.snn"), {}, 1).file == "a.snn"
    assert NirReference(str(Path("a.nir")), chain(), 1.0).file == "a.nir"

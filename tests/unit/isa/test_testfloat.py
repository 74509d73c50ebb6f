"""The numeric contract against third-party vectors computed by SoftFloat / TestFloat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from snncc.isa.numbers import accumulators, fp16

pytestmark = pytest.mark.needs_corpus

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]


def load(corpus: Path, name: str) -> dict[str, npt.NDArray[np.generic]]:
    path = corpus / "testfloat" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no {name}.npz in the corpus")
    with np.load(path, allow_pickle=False) as data:
        return {key: data[key] for key in data.files}


def u16(x: npt.NDArray[np.generic]) -> U16:
    assert x.dtype == np.uint16
    return x.astype(np.uint16)


def canonical(bits: U16) -> U16:
    return np.where((bits & 0x7FFF) > 0x7C00, 0x7E00, bits).astype(np.uint16)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div"])
def test_arithmetic(corpus: Path, op: str) -> None:
    data = load(corpus, f"f16_{op}")
    function: Callable[[F32, F32], F32] = getattr(fp16, op)
    a, b = fp16.from_bits(u16(data["in0"])), fp16.from_bits(u16(data["in1"]))
    assert a.size > 40_000
    np.testing.assert_array_equal(fp16.to_bits(function(a, b)), canonical(u16(data["out"])))


@pytest.mark.parametrize(("op", "function"), [("sqrt", fp16.sqrt), ("roundToInt", fp16.rint)])
def test_unary(corpus: Path, op: str, function: Callable[[F32], F32]) -> None:
    data = load(corpus, f"f16_{op}")
    got = function(fp16.from_bits(u16(data["in0"])))
    np.testing.assert_array_equal(fp16.to_bits(got), canonical(u16(data["out"])))


@pytest.mark.parametrize("op", ["eq", "le", "lt"])
def test_comparisons(corpus: Path, op: str) -> None:
    data = load(corpus, f"f16_{op}")
    a, b = fp16.from_bits(u16(data["in0"])), fp16.from_bits(u16(data["in1"]))
    got = {"eq": a == b, "le": a <= b, "lt": a < b}[op]
    np.testing.assert_array_equal(got, data["out"].astype(np.bool_))


def test_to_integer(corpus: Path) -> None:
    data = load(corpus, "f16_to_i32")
    got = fp16.to_int(fp16.from_bits(u16(data["in0"])))
    want = data["out"].view(np.int32).astype(np.int64)
    np.testing.assert_array_equal(got, want)


def test_narrowing_and_widening(corpus: Path) -> None:
    data = load(corpus, "f32_to_f16")
    x = data["in0"].view(np.float32)
    np.testing.assert_array_equal(fp16.to_bits(x), canonical(u16(data["out"])))
    np.testing.assert_array_equal(fp16.to_bits(fp16.round_f16(x)), canonical(u16(data["out"])))
    data = load(corpus, "f16_to_f32")
    got = fp16.from_bits(u16(data["in0"]))
    np.testing.assert_array_equal(
        got.view(np.uint32), fp16.canonical_f32(data["out"].view(np.float32)).view(np.uint32)
    )


@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
def test_dot_products(corpus: Path, accumulator: Literal["fp32", "fp16"]) -> None:
    data = load(corpus, "dot_vectors")
    a, b = fp16.from_bits(u16(data["a"])), fp16.from_bits(u16(data["b"]))
    lengths = data["len"].astype(np.int64)
    got = np.empty(len(a), np.float32)
    for i, n in enumerate(lengths.tolist()):
        got[i] = accumulators.mac_ordered(
            a[i : i + 1, :n], b[i, :n, None], accumulator=accumulator
        )[0, 0]
    if accumulator == "fp32":
        np.testing.assert_array_equal(got.view(np.uint32), data["s1_acc_f32"])
        np.testing.assert_array_equal(fp16.to_bits(accumulators.writeback(got)), data["s1_f16"])
    else:
        np.testing.assert_array_equal(fp16.to_bits(got), data["s2_f16"])


def test_dot_products_tell_orders_apart(corpus: Path) -> None:
    data = load(corpus, "dot_vectors")
    a, b = fp16.from_bits(u16(data["a"])), fp16.from_bits(u16(data["b"]))
    lengths = data["len"].astype(np.int64).tolist()
    backwards = np.array(
        [
            accumulators.mac_ordered(a[i : i + 1, :n][:, ::-1], b[i, :n][::-1, None])[0, 0]
            for i, n in enumerate(lengths)
        ],
        np.float32,
    )
    assert (backwards.view(np.uint32) != data["s1_acc_f32"]).mean() > 0.3


@pytest.mark.parametrize("accumulator", ["fp32", "fp16"])
def test_gated_sums(corpus: Path, accumulator: Literal["fp32", "fp16"]) -> None:
    data = load(corpus, "dot_vectors")
    b = fp16.from_bits(u16(data["b"]))
    got = np.empty(len(b), np.float32)
    for i, n in enumerate(data["len"].astype(np.int64).tolist()):
        odd = np.array([[k % 2 == 1 for k in range(n)]], np.bool_)
        got[i] = accumulators.gated_mac_ordered(odd, b[i, :n, None], accumulator=accumulator)[0, 0]
    want = data["spike_odd_s1_f16" if accumulator == "fp32" else "spike_odd_s2_f16"]
    np.testing.assert_array_equal(fp16.to_bits(accumulators.writeback(got)), want)

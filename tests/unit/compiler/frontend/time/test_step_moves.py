"""Data movement of one step has the values that numpy (padding: onnx.reference) gives it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from snncc.compiler.frontend.time.probe import move_step
from snncc.compiler.frontend.time.rolled import RNode

Array = npt.NDArray[Any]
RNG = np.random.default_rng(3)


def moved(op: str, ins: list[Array], shape: tuple[int, ...], **attrs: object) -> Array:
    """Return what the rolled step computes."""
    return move_step(RNode(op, shape, np.dtype(np.float64), attrs=attrs), ins)


def padded(x: Array, low: tuple[int, ...], high: tuple[int, ...], mode: str, fill: float) -> Array:
    """Return what ONNX says of Pad."""
    kind = onnx.TensorProto.DOUBLE
    node = helper.make_node("Pad", ["x", "pads", "fill"], ["y"], mode=mode)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", kind, x.shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [helper.make_tensor("pads", onnx.TensorProto.INT64, [2 * x.ndim], (*low, *high)),
         helper.make_tensor("fill", kind, [], [fill])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    evaluator: Any = ReferenceEvaluator(model)
    return np.asarray(evaluator.run(None, {"x": x})[0])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize(
    ("low", "high"), [((0, 0, 0), (0, 0, 0)), ((0, 1, 2), (0, 0, 1)), ((1, 2, 0), (1, 2, 3))]
)
def test_padding(mode: str, low: tuple[int, ...], high: tuple[int, ...]) -> None:
    x = RNG.normal(size=(2, 3, 4))
    wanted = padded(x, low, high, mode, 2.5)
    found = moved("Pad", [x], wanted.shape, low=low, high=high, mode=mode, value=2.5)
    np.testing.assert_array_equal(found, wanted)


def test_padding_is_with_zeros_where_nothing_is_said() -> None:
    x = RNG.normal(size=(2, 3))
    found = moved("Pad", [x], (2, 6), low=(0, 1), high=(0, 2))
    np.testing.assert_array_equal(found, np.concatenate([0 * x[:, :1], x, 0 * x[:, :2]], 1))


def test_pieces_and_repeats() -> None:
    x = RNG.normal(size=(4, 3, 6))
    cut: dict[str, object] = {"starts": (1, 0, 5), "ends": (4, -1, 0), "strides": (2, 1, -2)}
    np.testing.assert_array_equal(moved("Slice", [x], (2, 3, 3), **cut), x[1:4:2, :, 5:0:-2])
    taken = moved("Take", [x], (4, 3, 3), indices=(5, 0, 0), axis=2)
    np.testing.assert_array_equal(taken, x[:, :, [5, 0, 0]])
    np.testing.assert_array_equal(moved("Take", [x], (1, 3, 6), indices=(2,)), x[2:3])
    np.testing.assert_array_equal(moved("Transpose", [x], (6, 4, 3), perm=(2, 0, 1)),
                                  np.moveaxis(x, 2, 0))  # fmt: skip
    np.testing.assert_array_equal(moved("Expand", [x[:, :1]], (4, 3, 6)), np.repeat(x[:, :1], 3, 1))
    joined = moved("Concat", [x, x[:, 1:]], (4, 5, 6), axis=1)
    np.testing.assert_array_equal(joined, np.hstack([x, x[:, 1:]]))
    np.testing.assert_array_equal(moved("Concat", [x, x], (8, 3, 6)), np.vstack([x, x]))


def test_products() -> None:
    a, b, c = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 5)), RNG.normal(size=5)
    np.testing.assert_allclose(moved("MatMul", [a, b], (3, 5)), np.einsum("ij,jk", a, b))
    np.testing.assert_allclose(moved("Gemm", [a, b, c], (3, 5)), np.einsum("ij,jk", a, b) + c)
    turned = moved("Gemm", [a.T, b.T, c], (3, 5), transA=1, transB=1, alpha=0.5, beta=-2.0)
    np.testing.assert_allclose(turned, 0.5 * np.einsum("ij,jk", a, b) - 2 * c)
    np.testing.assert_allclose(moved("Gemm", [a, b], (3, 5), alpha=3.0), 3 * a @ b)


def test_what_is_no_move_is_not_evaluated() -> None:
    with pytest.raises(ValueError, match="cannot evaluate Conv"):
        moved("Conv", [RNG.normal(size=(1, 1, 3))], (1, 1, 3))

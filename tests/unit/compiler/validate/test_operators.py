"""ONNX operators of the validation against onnx.reference, and derivatives against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from snncc.compiler.validate.arithmetic import STEP, Array, Hard, Smooth
from snncc.compiler.validate.onnx import operators_layers, operators_movement
from snncc.compiler.validate.onnx.operators import OPERATORS, Call, results

assert operators_layers
assert operators_movement
RNG = np.random.default_rng(3)


def real(*shape: int) -> Array:
    """Random numbers."""
    return RNG.standard_normal(shape)


def positive(*shape: int) -> Array:
    """Random numbers between 0.5 and 2."""
    return RNG.uniform(0.5, 2.0, shape)


def whole(*values: int) -> Array:
    """Integers."""
    return np.array(values, np.int64)


X = real(2, 4, 5, 6)
TRUE = np.array([[True, False], [True, True]])
NONE = np.zeros(0)
CASES: list[tuple[str, list[Array], dict[str, Any]]] = [
    ("Add", [real(2, 3), real(3)], {}),
    ("Sub", [real(2, 3), real(2, 1)], {}),
    ("Mul", [real(2, 3), real(3)], {}),
    ("Div", [real(2, 3), positive(3)], {}),
    ("Pow", [positive(2, 3), real(3)], {}),
    ("Neg", [real(3)], {}),
    ("Abs", [real(3)], {}),
    ("Exp", [real(3)], {}),
    ("Log", [positive(3)], {}),
    ("Sqrt", [positive(3)], {}),
    ("Reciprocal", [positive(3)], {}),
    ("Sigmoid", [real(3)], {}),
    ("Tanh", [real(3)], {}),
    ("Atan", [real(3)], {}),
    ("Sin", [real(3)], {}),
    ("Cos", [real(3)], {}),
    ("Erf", [real(3)], {}),
    ("Softplus", [real(3)], {}),
    ("Softsign", [real(3)], {}),
    ("Relu", [real(9)], {}),
    ("LeakyRelu", [real(9)], {"alpha": 0.3}),
    ("PRelu", [real(2, 3), positive(3)], {}),
    ("Elu", [real(9)], {"alpha": 0.7}),
    ("Selu", [real(9)], {}),
    ("Celu", [real(9)], {"alpha": 0.6}),
    ("HardSigmoid", [4 * real(9)], {}),
    ("HardSwish", [4 * real(9)], {}),
    ("ThresholdedRelu", [real(9)], {"alpha": 0.2}),
    ("Mish", [real(9)], {}),
    ("Clip", [real(9), np.array(-0.3), np.array(0.4)], {}),
    ("Max", [real(4), real(4), real(4)], {}),
    ("Min", [real(4), real(4)], {}),
    ("Sum", [real(4), real(4), real(1)], {}),
    ("Mean", [real(4), real(4)], {}),
    ("Mod", [real(4) * 5, positive(4)], {"fmod": 1}),
    ("Floor", [3 * real(9)], {}),
    ("Ceil", [3 * real(9)], {}),
    ("Round", [3 * real(9)], {}),
    ("Sign", [real(9)], {}),
    ("Greater", [real(9), real(9)], {}),
    ("LessOrEqual", [real(9), real(9)], {}),
    ("Where", [real(9) > 0, real(9), real(1)], {}),
    ("Reshape", [X, whole(0, -1, 6)], {}),
    ("Flatten", [X], {"axis": 2}),
    ("Squeeze", [real(1, 3, 1), whole(0)], {}),
    ("Unsqueeze", [real(2, 3), whole(0, -1)], {}),
    ("Expand", [real(3, 1), whole(2, 1, 4)], {}),
    ("Transpose", [X], {"perm": [2, 0, 3, 1]}),
    ("Slice", [X, whole(4, 1), whole(-9, 100), whole(2, 3), whole(-2, 3)], {}),
    ("Gather", [X, whole(3, -1, 0)], {"axis": 1}),
    ("GatherElements", [real(2, 4), whole(0, 2, 1, 1).reshape(2, 2)], {"axis": 1}),
    ("Concat", [real(2, 3), real(2, 1)], {"axis": 1}),
    ("Tile", [real(2, 3), whole(2, 1)], {}),
    ("Pad", [real(2, 3), whole(1, 0, 0, 2), np.array(0.5)], {}),
    ("Pad", [real(4, 5), whole(1, 2, 2, 1)], {"mode": "reflect"}),
    ("Pad", [real(4, 5), whole(1, 2, 2, 1)], {"mode": "edge"}),
    ("DepthToSpace", [real(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", [real(1, 2, 4, 6)], {"blocksize": 2}),
    ("ScatterND", [real(4, 3), whole(1, 3).reshape(2, 1), real(2, 3)], {}),
    ("ScatterElements", [real(3, 3), whole(0, 2, 1, 1).reshape(2, 2), real(2, 2)], {"axis": 1}),
    ("Trilu", [real(4, 4), np.array(1)], {"upper": 1}),
    ("ArgMax", [real(3, 4)], {"axis": 1, "keepdims": 0}),
    ("CumSum", [real(3, 4), np.array(1)], {"exclusive": 1, "reverse": 1}),
    ("MatMul", [real(2, 3, 4), real(4, 5)], {}),
    ("Gemm", [real(4, 3), real(5, 4), real(5)],
     {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Einsum", [real(2, 3), real(3, 4)], {"equation": "ij, jk -> ki"}),
    ("Conv", [X, real(3, 4, 2, 3), real(3)],
     {"pads": [1, 0, 0, 2], "strides": [2, 1], "dilations": [1, 2]}),
    ("Conv", [X, real(8, 2, 3, 3)], {"group": 2}),
    ("Conv", [X, real(3, 4, 3, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("Conv", [real(2, 4, 7), real(4, 1, 3)], {"group": 4}),
    ("ConvTranspose", [real(1, 4, 3, 3), real(4, 2, 3, 3), real(2)],
     {"pads": [1, 1, 0, 0], "strides": [2, 2], "output_padding": [1, 0]}),
    ("MaxPool", [X], {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1], "strides": [2, 2]}),
    ("AveragePool", [X], {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1], "strides": [2, 2]}),
    ("AveragePool", [X],
     {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    ("GlobalAveragePool", [X], {}),
    ("GlobalMaxPool", [X], {}),
    ("BatchNormalization", [X, real(4), real(4), real(4), positive(4)], {"epsilon": 0.01}),
    ("LayerNormalization", [X, real(5, 6), real(5, 6)], {"axis": 2}),
    ("InstanceNormalization", [X, real(4), real(4)], {}),
    ("LpNormalization", [real(3, 4)], {"axis": 0, "p": 2}),
    ("Softmax", [real(3, 4)], {"axis": 0}),
    ("LogSoftmax", [real(3, 4)], {}),
    ("ReduceSum", [X, whole(1, -1)], {"keepdims": 0}),
    ("ReduceMean", [X, whole(0)], {}),
    ("ReduceMax", [X, whole(2)], {}),
    ("ReduceMin", [X, whole(2)], {"keepdims": 0}),
    ("ReduceProd", [real(2, 3), whole(1)], {}),
    ("ReduceL1", [real(2, 3), whole(1)], {}),
    ("ReduceL2", [real(2, 3), whole(1)], {}),
    ("ReduceSumSquare", [real(2, 3), whole(1)], {}),
    ("ReduceLogSumExp", [real(2, 3), whole(1)], {}),
    ("RNN", [real(4, 2, 3), real(1, 5, 3), real(1, 5, 5), real(1, 10)], {"hidden_size": 5}),
    ("GRU", [real(4, 2, 3), real(1, 15, 3), real(1, 15, 5), real(1, 30)],
     {"hidden_size": 5, "linear_before_reset": 1}),
    ("LSTM", [real(4, 2, 3), real(1, 20, 3), real(1, 20, 5), real(1, 40)], {"hidden_size": 5}),
    ("Gelu", [2 * real(9)], {}),
    ("Gelu", [2 * real(9)], {"approximate": "tanh"}),
    ("Swish", [2 * real(9)], {"alpha": 1.7}),
    ("Identity", [real(3)], {}),
    ("GreaterOrEqual", [whole(1, 2, 3), whole(2, 2, 2)], {}),
    ("Less", [whole(1, 2, 3), whole(2, 2, 2)], {}),
    ("Equal", [whole(1, 2, 3), whole(2, 2, 2)], {}),
    ("And", [TRUE, TRUE.T], {}),
    ("Or", [TRUE, TRUE.T], {}),
    ("Xor", [TRUE, TRUE.T], {}),
    ("Not", [TRUE], {}),
    ("IsNaN", [np.array([1.0, np.nan, np.inf])], {}),
    ("IsInf", [np.array([1.0, np.nan, np.inf, -np.inf])], {}),
    ("DepthToSpace", [real(2, 8, 2, 3)], {"blocksize": 2, "mode": "DCR"}),
    ("GatherND", [X, whole(1, 3, 0, 0, 1, 4).reshape(2, 3)], {}),
    ("ArgMin", [real(3, 4)], {"axis": 0}),
    ("ArgMax", [whole(1, 2, 2, 0)], {"axis": 0, "select_last_index": 1}),
    ("OneHot", [whole(1, -1, 3), np.array(4), np.array([0.5, 2.0])], {"axis": 0}),
    ("Shape", [X], {"start": 1, "end": -1}),
    ("Size", [X], {}),
    ("Range", [np.array(1.5), np.array(4.0), np.array(0.75)], {}),
    ("EyeLike", [real(3, 4)], {"k": 1}),
    ("NonZero", [TRUE], {}),
    ("Split", [real(2, 5), whole(3, 2)], {"axis": 1}),
    ("TopK", [real(3, 5), whole(2)], {"axis": 1}),
    ("GroupNormalization", [real(2, 6, 5), real(6), real(6)], {"num_groups": 3}),
    ("ReduceLogSum", [positive(2, 3), whole(1)], {}),
    ("Resize", [real(1, 2, 4, 6), NONE, NONE, whole(1, 2, 8, 3)], {"mode": "linear"}),
    ("Resize", [real(1, 2, 3, 3), NONE, NONE, whole(1, 2, 6, 6)],
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("Trilu", [real(4, 4), np.array(-1)], {"upper": 0}),
    ("Mod", [whole(5, -5, 7), whole(3, 3, -4)], {}),
]  # fmt: skip
IDS = [f"{op}-{k}" for k, (op, _, _) in enumerate(CASES)]
UNSMOOTH = {
    "Floor", "Ceil", "Round", "Trunc", "Sign", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
    "Equal", "ArgMax", "ArgMin", "And", "Or", "Xor", "Not", "IsNaN", "IsInf", "Shape", "Size",
    "Range", "EyeLike", "NonZero",
}  # fmt: skip
SINCE = {"Gelu": 20, "GroupNormalization": 21, "Swish": 24}
"""The first opset that has the operator, where 18 has it not."""


def by_onnx(op: str, arrays: list[Array], attributes: dict[str, Any]) -> Array:
    """Run one node in onnx's own evaluator, in float64."""
    names = [f"i{k}" for k in range(len(arrays))]
    types = [helper.np_dtype_to_tensor_dtype(a.dtype) for a in arrays]
    infos = [
        helper.make_tensor_value_info(n, t, a.shape)
        for n, t, a in zip(names, types, arrays, strict=True)
    ]
    node = helper.make_node(op, names, ["y"], **attributes)
    out = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    graph = helper.make_graph([node], "g", infos, [out])
    opset = onnx.helper.make_opsetid("", SINCE.get(op, 18))
    model = helper.make_model(graph, opset_imports=[opset])
    evaluator: Any = ReferenceEvaluator(model)
    found: Any = evaluator.run(None, dict(zip(names, arrays, strict=True)))
    return np.asarray(found[0])


def ours(op: str, arrays: list[Array], attributes: dict[str, Any], smooth: bool = False) -> Array:
    """Run one operator of the validation."""
    call = Call(attributes, Smooth() if smooth else Hard())
    return results(OPERATORS[op](call, *arrays))[0]


@pytest.mark.parametrize(("op", "arrays", "attributes"), CASES, ids=IDS)
def test_values(op: str, arrays: list[Array], attributes: dict[str, Any]) -> None:
    wanted, found = by_onnx(op, arrays, attributes), ours(op, arrays, attributes)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.astype(float), wanted.astype(float), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("op", "arrays", "attributes"), CASES, ids=IDS)
def test_derivatives(op: str, arrays: list[Array], attributes: dict[str, Any]) -> None:
    if op in UNSMOOTH:
        assert not np.iscomplexobj(ours(op, [a + 0j if _real(a) else a for a in arrays], {}, True))
        return
    rng, small = np.random.default_rng(5), 1e-6
    ways = [rng.standard_normal(a.shape) if _real(a) else None for a in arrays]
    moved = [
        [a if w is None else a + s * small * w for a, w in zip(arrays, ways, strict=True)]
        for s in (-1, 1)
    ]
    low, high = (ours(op, m, attributes) for m in moved)
    carried = [a if w is None else a + 1j * STEP * w for a, w in zip(arrays, ways, strict=True)]
    found = ours(op, carried, attributes, smooth=True)
    np.testing.assert_allclose(np.real(found), ours(op, arrays, attributes), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        np.imag(found) / STEP, (high - low) / (2 * small), rtol=2e-4, atol=2e-6
    )


def _real(a: Array) -> bool:
    return a.dtype.kind == "f"


def test_groups_of_a_transposed_convolution_do_not_meet() -> None:
    x, w = real(1, 4, 3, 3), real(4, 1, 2, 2)
    halves = [ours("ConvTranspose", [x[:, k : k + 2], w[k : k + 2]], {}) for k in (0, 2)]
    np.testing.assert_allclose(
        ours("ConvTranspose", [x, w], {"group": 2}), np.concatenate(halves, 1)
    )


def test_softmax_before_opset_13_runs_over_all_axes_behind() -> None:
    x = real(2, 3, 4)
    call = Call({"axis": 1}, Hard(), opset=11)
    found = OPERATORS["Softmax"](call, x)
    e = np.exp(x)
    np.testing.assert_allclose(found, e / e.sum(axis=(1, 2), keepdims=True))


def test_pooling_with_a_rounded_up_size() -> None:
    x = np.arange(25.0).reshape(1, 1, 5, 5)
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
    found = ours("MaxPool", [x], attributes)
    assert found[0, 0].tolist() == [[6, 8, 9], [16, 18, 19], [21, 23, 24]]


def test_equal_maxima_share_the_derivative() -> None:
    x = np.array([[1.0, 1.0, 0.0]]) + 1j * STEP * np.array([[1.0, 3.0, 9.0]])
    found = ours("ReduceMax", [x, whole(1)], {}, smooth=True)
    assert np.real(found).tolist() == [[1.0]]
    assert (np.imag(found) / STEP).tolist() == [[2.0]]


def test_every_operator_has_a_case() -> None:
    """Those that onnx's evaluator lacks, or whose arguments are no arrays, are checked by hand."""
    by_hand = {
        "Cast", "CastLike", "ConstantOfShape", "RMSNormalization", "Scatter", "Trunc", "Upsample",
    }  # fmt: skip
    assert set(OPERATORS) - {op for op, _, _ in CASES} == by_hand


def test_conversions() -> None:
    x = np.array([-1.7, 0.0, 0.4, 2.9])
    assert ours("Trunc", [x], {}).tolist() == [-1.0, 0.0, 0.0, 2.0]
    assert ours("Cast", [x], {"to": np.int64}).tolist() == [-1, 0, 0, 2]
    assert ours("Cast", [x], {"to": bool}).tolist() == [True, False, True, True]
    assert ours("CastLike", [whole(3, 0), np.zeros(1)], {}).dtype == np.float64
    filled = ours("ConstantOfShape", [whole(2, 1)], {"value": np.array([7])})
    assert filled.tolist() == [[7], [7]]
    assert ours("ConstantOfShape", [whole(2)], {}).tolist() == [0.0, 0.0]


def test_scaling_by_the_root_of_the_mean_square() -> None:
    x, scale = np.array([[3.0, 4.0], [6.0, 8.0]]), np.array([1.0, 2.0])
    found = ours("RMSNormalization", [x, scale], {"epsilon": 0.0})
    np.testing.assert_allclose(found, np.array([[3.0, 8.0], [3.0, 8.0]]) / np.sqrt(12.5))


def test_operators_of_old_opsets() -> None:
    call = Call({"mode": "nearest"}, Hard(), opset=9)
    found = OPERATORS["Upsample"](call, np.array([[1.0, 2.0]]), np.array([2.0, 2.0]))
    assert np.asarray(found).tolist() == [[1.0, 1.0, 2.0, 2.0]] * 2
    found = ours("Scatter", [np.zeros((2, 2)), whole(1).reshape(1, 1), real(1, 1) * 0 + 5], {})
    assert found.tolist() == [[0.0, 0.0], [5.0, 0.0]]

"""Where time lies after an operator and before it: found by marking every step with its number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from snncc.compiler.frontend.flat.flat import Attrs, OperatorNode, Val
from snncc.compiler.frontend.time.timing import Lay, Layouts, forward, operand_layouts

Array = npt.NDArray[np.float64]
T = 5
F64 = np.dtype(np.float64)


def value(number: int, array: npt.NDArray[Any], *, fixed: bool = False) -> Val:
    """Return a value of the file; a fixed one holds its numbers."""
    return Val(number, array.shape, array.dtype, const=array if fixed else None, fixed=fixed)


def result(op: str, ins: Sequence[Val], shape: tuple[int, ...], **attrs: object) -> Val:
    """Return the result of an operator."""
    number = 100 + sum(v.id for v in ins)
    node = OperatorNode(op, tuple(ins), cast("Attrs", attrs), op, 0)
    node.outs.append(Val(number, shape, F64, node))
    return node.outs[0]


def marked(shape: tuple[int, ...], axis: int) -> Array:
    """Return numbers that say of which step they are."""
    form = [1] * len(shape)
    form[axis] = shape[axis]
    return np.broadcast_to(np.arange(float(shape[axis])).reshape(form), shape).copy()


def time_of(array: Array) -> int | None:
    """Return along which axis the steps are told apart, None where they are not."""
    varies = [a for a, d in enumerate(array.shape) if d > 1 and np.ptp(array, axis=a).any()]
    if len(varies) != 1 or array.shape[varies[0]] != T:
        return None
    return varies[0] if np.array_equal(array, marked(array.shape, varies[0])) else None


@dataclass
class Case:
    """An operator, its other operands, and what numpy does in its place."""

    op: str
    numpy: Callable[[Array], Array]
    attrs: dict[str, object] = field(default_factory=dict[str, object])
    others: tuple[npt.NDArray[Any], ...] = ()


def picked(entry: npt.NDArray[Any], axis: int) -> Case:
    """Return a Gather of one entry."""
    return Case("Gather", lambda x: np.take(x, entry, axis), {"axis": axis}, (entry,))


CASES = {
    "swap": Case("Transpose", lambda x: x.transpose(2, 0, 3, 1), {"perm": (2, 0, 3, 1)}),
    "reversed": Case("Transpose", lambda x: x.transpose()),
    **{f"entry of axis {a}": picked(np.array(1), a) for a in range(4)},
    **{f"piece of axis {a}": picked(np.array([1]), a) for a in range(-4, 0)},
    "slice": Case("Slice", lambda x: x[:, 1:3], {"starts": (1,), "ends": (3,), "axes": (1,)}),
    "shorter": Case("Slice", lambda x: x[:, :, :, 1:4:1], {"starts": (1,), "ends": (4,),
                                                           "axes": (3,)}),
    "sum": Case("ReduceSum", lambda x: x.mean((0, 2)), {"axes": (0, 2), "keepdims": 0}),
    "sum, axes kept": Case("ReduceSum", lambda x: x.mean((1, -1), keepdims=True),
                           {"axes": (1, -1)}),
    "sum of all": Case("ReduceSum", lambda x: x.mean(keepdims=True)),
    "longer": Case("Unsqueeze", lambda x: x[:, None], {"axes": (1,)}),
    "flat": Case("Flatten", lambda x: x.reshape(x.shape[0], -1), {"axis": 1}),
    "repeated": Case("Expand", lambda x: np.broadcast_to(x, (2, *x.shape))),
    "broadcast": Case("Add", lambda x: x + np.zeros((3, 1, 1, 1, 1)), {},
                      (np.zeros((3, 1, 1, 1, 1)),)),
    "joined": Case("Concat", lambda x: np.concatenate([x, x], 1), {"axis": 1}, ()),
    "joined at the end": Case("Concat", lambda x: np.concatenate([x, x], -1), {"axis": -1}, ()),
}  # fmt: skip


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("case", CASES)
def test_time_goes_where_numpy_takes_it(case: str, axis: int) -> None:
    each = CASES[case]
    shape = [2, 3, 4, 6]
    shape[axis] = T
    array = marked(tuple(shape), axis)
    made = each.numpy(array)
    x = value(1, array)
    both = (x, x) if each.op == "Concat" else (x, *(value(7, o, fixed=True) for o in each.others))
    out = result(each.op, both, made.shape, **each.attrs)
    assert out.node is not None
    found = forward(out.node, 0, Lay(axis), out, T)
    where = time_of(made)
    if each.op == "Flatten" and axis:  # steps lie among other entries of the axis
        before, after = int(np.prod(shape[1:axis])), int(np.prod(shape[axis + 1 :]))
        assert found == Lay(1, before, after)
    else:
        assert found == (None if where is None else Lay(where))
    if found is not None:
        assert operand_layouts(out, found, T)[0] == (0, Lay(axis))


def test_every_repeat_over_the_steps_is_found() -> None:
    """Two tensors that are the same at every step, added to one that is not."""
    x = value(1, np.zeros((T, 3)))
    first, second = value(2, np.zeros((1, 3))), value(3, np.zeros(3))
    a = result("Expand", [first], (T, 3))
    b = result("Expand", [second], (T, 3))
    inner = result("Add", [a, b], (T, 3))
    total = result("Mul", [x, inner], (T, 3))
    found = Layouts(T, {}, {total.id: (total, Lay(0))})
    assert found.created == {a.id: Lay(0), b.id: Lay(0)}
    assert found.inputs == {x.id: Lay(0)}
    assert [found.find(v) for v in (a, b, inner, total, x)] == [Lay(0)] * 5
    assert [found.find(v) for v in (first, second)] == [None, None]

"""Operators whose indices are data: embeddings, the greatest of several, writing there.

An index that is data is a whole number, so all that it selects is a product with its one-hot
vector: 1 at the index, 0 elsewhere.  No gradient passes an index.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.axes import norm_axis
from snncc.compiler.frontend.flat.flat import F32, I64, Val, attr_int, attr_str, prod
from snncc.compiler.frontend.onnx.build import Bound, Call, GraphBuilder, rule
from snncc.compiler.frontend.onnx.scatter import scatter_step
from snncc.isa.numbers.fp16 import MAX_FINITE

MAX_ROWS = 2048
"""Whole numbers up to this one are binary16 numbers; a greater index would be rounded."""
SAME_INDICES = frozenset({"Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
"""Operators that keep the elements of an index and their order."""


def one_hot(c: Call, index: Val, n: int, what: str) -> Val:
    """Return float32 of shape ``[*index.shape, n]``: 1 at the index, which may count from the end.

    Of an index that ``ArgMax`` made it is what that was made from; of others it is
    1 - min(|index - k|, 1) at place k.
    """
    made = c.builder.one_hots.get(_source(index).id)
    if made is not None and made.shape[-1] == n:
        shape = (*index.shape, n)
        return made if made.shape == shape else c.one("Reshape", made, c.ints(*shape))
    if n > MAX_ROWS:
        fail(
            "E0104",
            f"{what} of {n} rows",
            c.builder.where(c.name),
            help=f"up to {MAX_ROWS}: greater indices are no binary16 numbers; use a smaller "
            "vocabulary, or give the embedded vectors as the input",
        )
    place = c.one("Cast", index, to=np.dtype(F32))
    beyond = c.one("Clip", c.one("Neg", place), min=0.0, max=1.0)  # 1 for negative indices
    place = c.one("Add", place, c.one("Mul", beyond, float(n)))
    column = c.one("Unsqueeze", place, c.ints(len(index.shape)))
    off = c.one("Abs", c.one("Sub", column, c.builder.const(np.arange(n, dtype=F32))))
    return c.one("Sub", 1.0, c.one("Clip", off, max=1.0))


def _source(index: Val) -> Val:
    """Return what an index is a reshaped copy of."""
    while index.node is not None and index.node.op in SAME_INDICES:
        index = index.node.val(0)
    return index


@rule("Gather")
def gather(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Rows of a table of parameters by indices that are data: an embedding, a matrix product."""
    table, index = c.val(0), c.val(1)
    if not table.fixed or index.fixed:
        return c.add("Gather", [table, index], c.attrs)
    rows = table.shape[0] if table.shape else 0
    if norm_axis(attr_int(c.attrs, "axis", 0), len(table.shape)) != 0:
        fail("E0104", "Gather from another axis than the first by indices that are data",
             b.where(c.name), help="transpose the table before")  # fmt: skip
    chosen = one_hot(c, index, rows, "an embedding")
    width = table.shape[1:]
    flat = table if len(width) == 1 else c.one("Reshape", table, c.ints(rows, prod(width)))
    y = c.one("MatMul", chosen, flat)
    out = (*index.shape, *width)
    return [y if y.shape == out else c.one("Reshape", y, c.ints(*out))]


@rule("GatherND")
def gather_nd(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Constant indices of one axis are those of Gather, the axis behind the batch axes."""
    x, index = c.val(0), c.val(1)
    if index.const is None or index.shape[-1:] != (1,):
        fail("E0104", f"GatherND of an index {list(index.shape)}", b.where(c.name),
             help="supported: constant indices of one axis, the same for all samples")  # fmt: skip
    axis = attr_int(c.attrs, "batch_dims", 0)
    places = np.asarray(index.const)[..., 0]
    first = places.reshape(-1, *places.shape[axis:])[0] if axis else places
    if bool((places != first).any()):
        fail("E0104", "GatherND with other indices for every sample", b.where(c.name),
             help="supported: constant indices of one axis, the same for all samples")  # fmt: skip
    return c.add("Gather", [x, b.const(np.asarray(first, I64))], {"axis": axis})


@rule("ArgMax")
def greatest(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """The place of the first (or last) maximum: its one-hot vector times 0, 1, 2, ..."""
    return [_argument(c, c.val(0))]


@rule("ArgMin")
def least(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """The place of the maximum of -x."""
    return [_argument(c, c.one("Neg", c.val(0)))]


def _argument(c: Call, x: Val) -> Val:
    rank = len(x.shape)
    axis = norm_axis(attr_int(c.attrs, "axis", 0), rank)
    n = x.shape[axis]
    if x.dtype.kind != "f":
        fail("E0104", "ArgMax of whole numbers", c.builder.where(c.name),
             help="supported: ArgMax of real numbers, such as membrane potentials")  # fmt: skip
    if n > MAX_ROWS:
        fail("E0104", f"ArgMax over {n} entries", c.builder.where(c.name),
             help=f"up to {MAX_ROWS}: greater indices are no binary16 numbers")  # fmt: skip
    last = attr_int(c.attrs, "select_last_index", 0)
    first = c.one("FirstMaximum", _last(c, x, axis), axis=rank - 1, last=last)
    index = _place(c, first)
    keep = bool(attr_int(c.attrs, "keepdims", 1))
    shape = tuple(1 if i == axis else d for i, d in enumerate(x.shape) if keep or i != axis)
    if shape != index.shape:
        index = c.one("Reshape", index, c.ints(*shape))
    c.builder.one_hots[_source(index).id] = first
    return c.one("Cast", index, to=np.dtype(I64))


def _but(axis: int, rank: int) -> tuple[int, ...]:
    return tuple(i for i in range(rank) if i != axis)


def _place(c: Call, first: Val) -> Val:
    """Return where the last axis of one-hot vectors is 1, as ``[..., 1]``."""
    n = first.shape[-1]
    places = c.builder.const(np.arange(n, dtype=F32).reshape(n, 1), made_up=True)
    return c.one("MatMul", first, places)


MAX_TOP = 32
"""The most entries that ``TopK`` looks for, one after the other."""


@rule("TopK")
def top(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """The first maximum, then that of what is left: those that were taken count as the lowest."""
    x, count = c.val(0), c.val(1)
    axis = norm_axis(attr_int(c.attrs, "axis", -1), len(x.shape))
    if count.const is None or x.dtype.kind != "f" or x.shape[axis] > MAX_ROWS:
        fail("E0104", f"TopK of {x.shape[axis]} entries", b.where(c.name),
             help=f"supported: a constant number of up to {MAX_ROWS} real ones")  # fmt: skip
    k = int(np.asarray(count.const).reshape(-1)[0])
    if not 0 < k <= min(MAX_TOP, x.shape[axis]):
        fail("E0104", f"TopK of the first {k}", b.where(c.name),
             help=f"supported: up to {MAX_TOP}, and not more than there are")  # fmt: skip
    sign = 1.0 if attr_int(c.attrs, "largest", 1) else -1.0
    rank, along = len(x.shape), _last(c, x, axis)
    left = along if sign > 0 else c.one("Neg", along)
    values, places, taken = list[Val](), list[Val](), list[Val]()
    for _ in range(k):
        first = c.one("FirstMaximum", left, axis=rank - 1, last=0)
        taken.append(first)
        chosen = c.one("Mul", along, first)
        values.append(c.add("ReduceSum", [chosen, c.ints(rank - 1)], {"keepdims": 1})[0])
        places.append(_place(c, first))
        bound = c.one("Mul", c.one("Sub", 1.0, c.one("Mul", first, 2.0)), MAX_FINITE)
        left = c.one("Min", left, bound)
    found, where = (c.add("Concat", v, {"axis": rank - 1})[0] for v in (values, places))
    if k == 1:
        b.one_hots[_source(where).id] = taken[0]
    return [_back(c, found, axis), c.one("Cast", _back(c, where, axis), to=np.dtype(I64))]


@rule("OneHot")
def one_hot_vector(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """off + (on - off) at the index, along a new axis."""
    index, depth, values = c.val(0), c.val(1), c.val(2)
    if depth.const is None or values.const is None:
        fail("E0104", "OneHot with a depth or values that are no constants", b.where(c.name))
    n = int(np.asarray(depth.const).reshape(-1)[0])
    off, on = (float(v) for v in np.asarray(values.const).reshape(-1))
    y = one_hot(c, index, n, "OneHot")
    y = _back(c, y, norm_axis(attr_int(c.attrs, "axis", -1), len(y.shape)))
    if (off, on) != (0.0, 1.0):
        y = c.one("Add", c.one("Mul", y, on - off), off)
    return [y]


@rule("GatherElements")
def gather_elements(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Entries of an axis, at indices that are data: sums over the axis, times one-hot."""
    x, index = c.val(0), c.val(1)
    axis = norm_axis(attr_int(c.attrs, "axis", 0), len(x.shape))
    rank = len(x.shape)
    there = _entries(c, x, index, axis, "GatherElements")  # [..., m, n]
    row = c.one("Unsqueeze", _last(c, x, axis), c.ints(rank - 1))  # [..., 1, n]
    y = c.add("ReduceSum", [c.one("Mul", there, row), c.ints(rank)], {"keepdims": 0})[0]
    return [_back(c, y, axis)]


@rule("ScatterND")
def scatter_nd(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Writing one time step after the other into a buffer is a stack; see ``_written`` for data."""
    x, index, new = c.val(0), c.val(1), c.val(2)
    if index.fixed or attr_str(c.attrs, "reduction", "none") != "none":
        return [scatter_step(b, "ScatterND", [x, index, new], c.attrs, c.name)]
    found = _column(index)
    if found is None or index.shape[-1] != len(x.shape):
        fail("E0104", "ScatterND at indices that are data and may meet", b.where(c.name),
             help="supported: one entry of an axis for every place of the others")  # fmt: skip
    axis, column = found
    kept = _but(axis, len(x.shape))
    each = tuple(x.shape[i] for i in kept)
    there = one_hot(c, column, x.shape[axis], "ScatterND")
    there = c.one("Reshape", there, c.ints(*each, x.shape[axis]))
    new = c.one("Reshape", new, c.ints(*each, 1))
    return [_written(c, x, _back(c, there, axis), _back(c, new, axis))]


def _column(index: Val) -> tuple[int, Val] | None:
    """Return the axis that data index, and the data, where the other columns count all places.

    Every place of the other axes is then written once.
    """
    node = index.node
    if node is None or node.op != "Concat":
        return None
    parts = [v for v in node.ins if v is not None]
    if norm_axis(attr_int(node.attrs, "axis", 0), len(index.shape)) != len(index.shape) - 1:
        return None
    axis, found, columns = 0, list[tuple[int, Val]](), list[np.ndarray]()
    for v in parts:
        if v.const is None:
            if v.shape[-1] != 1:
                return None
            found.append((axis, v))
        else:
            columns.extend(np.asarray(v.const).reshape(-1, v.shape[-1]).T)
        axis += v.shape[-1]
    if len(found) != 1:
        return None
    each = tuple(int(column.max(initial=-1)) + 1 for column in columns)
    places = np.indices(each).reshape(len(each), -1)
    same = prod(index.shape[:-1]) == prod(each) and np.array_equal(np.stack(columns), places)
    return found[0] if columns and same else None


@rule("ScatterElements")
def scatter_elements(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """As ScatterND; the indices of one row are different ones, as ONNX demands."""
    x, index, new = c.val(0), c.val(1), c.val(2)
    if index.fixed or attr_str(c.attrs, "reduction", "none") != "none":
        return [scatter_step(b, "ScatterElements", [x, index, new], c.attrs, c.name)]
    axis, rank = norm_axis(attr_int(c.attrs, "axis", 0), len(x.shape)), len(x.shape)
    there = _entries(c, x, index, axis, "ScatterElements")  # [..., m, n]
    over, keep = c.ints(rank - 1), {"keepdims": 0}
    column = c.one("Unsqueeze", _last(c, new, axis), c.ints(rank))  # [..., m, 1]
    fresh = there if _is(new, 1.0) else c.one("Mul", there, column)
    fresh = _back(c, c.add("ReduceSum", [fresh, over], keep)[0], axis)
    if _is(x, 0.0):
        return [fresh]
    taken = _back(c, c.add("ReduceSum", [there, over], keep)[0], axis)
    return [c.one("Add", c.one("Mul", x, c.one("Sub", 1.0, taken)), fresh)]


def _entries(c: Call, x: Val, index: Val, axis: int, op: str) -> Val:
    """Return one-hot vectors ``[..., m, n]`` of an index with m entries of an axis of n."""
    others = _but(axis, len(x.shape))
    if index.fixed or len(index.shape) != len(x.shape) or any(
        index.shape[i] != x.shape[i] for i in others
    ):  # fmt: skip
        fail("E0104", f"{op} of an index {list(index.shape)} into {list(x.shape)}",
             c.builder.where(c.name),
             help="supported: an index that is data and as long as the tensor along all other "
             "axes")  # fmt: skip
    n = x.shape[axis]
    there = one_hot(c, index, n, op)  # [*index.shape, n]
    if axis == len(x.shape) - 1:
        return there
    return c.one("Transpose", there, perm=(*others, axis, len(x.shape)))


def _last(c: Call, x: Val, axis: int) -> Val:
    """Return a tensor with an axis moved to the end."""
    rank = len(x.shape)
    return x if axis == rank - 1 else c.one("Transpose", x, perm=(*_but(axis, rank), axis))


def _back(c: Call, x: Val, axis: int) -> Val:
    """Return a tensor with its last axis moved to a place."""
    rank = len(x.shape)
    if axis == rank - 1:
        return x
    return c.one("Transpose", x, perm=(*range(axis), rank - 1, *range(axis, rank - 1)))


def _written(c: Call, x: Val, there: Val, new: Val) -> Val:
    """Return ``x`` with ``new`` where ``there`` is 1."""
    fresh = there if _is(new, 1.0) else c.one("Mul", there, new)
    if _is(x, 0.0):
        return fresh
    return c.one("Add", c.one("Mul", x, c.one("Sub", 1.0, there)), fresh)


def _is(v: Val, number: float) -> bool:
    return v.const is not None and not v.trained and bool((v.const == number).all())

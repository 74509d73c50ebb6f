"""Where the batch axis lies in each value: a file can be imported for another batch size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from snncc.compiler.frontend.flat.flat import attr_int, attr_ints
from snncc.compiler.frontend.time.rolled import RNode, reachable, resolve
from snncc.compiler.frontend.time.timing import Lay, locate, step_shape, stride_of


@dataclass(slots=True)
class BatchAxes:
    """The batch axis of each node's step shape; ``old`` is the file's batch, ``new`` the wanted."""

    old: int
    new: int
    merged_input: bool = False
    known: dict[int, Lay | None] = field(default_factory=dict[int, "Lay | None"])

    @property
    def same(self) -> bool:
        """Whether the file already has the wanted batch."""
        return self.old == self.new

    def shape(self, node: RNode) -> tuple[int, ...]:
        """Return a node's step shape for the wanted batch."""
        node = resolve(node)
        if self.old == self.new:
            return node.shape
        lay = self.known.get(node.id)
        if lay is None:
            return node.shape
        shape = list(node.shape)
        shape[lay.axis] = lay.outer * lay.inner * self.new
        return tuple(shape)

    def merged(self, node: RNode, lay: Lay) -> bool:
        """Whether axis 0 of an output holds samples and steps."""
        batch = self.known.get(node.id)
        if not lay.pure:
            return True
        return self.merged_input and batch is not None and batch.axis == lay.axis

    def visit(self, node: RNode) -> None:
        """Find the batch axis of a node; its operands come first."""
        if node.id not in self.known:
            self.known[node.id] = self._find(node)

    def _operand(self, node: RNode, i: int) -> Lay | None:
        return self.known.get(resolve(node.ins[i]).id) if i < len(node.ins) else None

    def _find(self, node: RNode) -> Lay | None:
        op = node.op
        if op in ("Input", "SeqInput"):
            return Lay(0) if node.shape and node.shape[0] == self.old else None
        if op in ("Const", "SeqConst"):
            return None
        if op == "Delay":
            return Lay(0) if node.shape and node.shape[0] == self.old else None
        if op == "View":
            return self._view(node)
        if op in ("TimeToAxis", "AxisToTime"):
            return _with_steps(node, self._operand(node, 0))
        lay = self._operand(node, 0)
        if op == "Transpose" and lay is not None:
            perm = attr_ints(node.attrs, "perm")
            return Lay(perm.index(lay.axis), lay.outer, lay.inner)
        if op == "Gemm" and lay is not None and attr_int(node.attrs, "transA", 0):
            return Lay(1 - lay.axis, lay.outer, lay.inner)
        if op == "Reduce" and lay is not None:
            axes = attr_ints(node.attrs, "axes")
            if lay.axis in axes:
                return None  # a reduction over the samples leaves none
            if attr_int(node.attrs, "keepdims", 1):
                return lay
            return Lay(lay.axis - sum(a < lay.axis for a in axes), lay.outer, lay.inner)
        if op == "Slice" and lay is not None and node.attrs.get("drop"):
            shape = resolve(node.ins[0]).shape
            gone = [
                i
                for i, (s, e) in enumerate(
                    zip(attr_ints(node.attrs, "starts"), attr_ints(node.attrs, "ends"), strict=True)
                )
                if e != -1 and e - s == 1 and i < len(shape)
            ][:1]
            return Lay(lay.axis - sum(g < lay.axis for g in gone), lay.outer, lay.inner)
        for i in range(len(node.ins)):
            lay = self._operand(node, i)
            if lay is not None:
                shift = len(node.shape) - len(resolve(node.ins[i]).shape)
                return Lay(lay.axis + max(shift, 0), lay.outer, lay.inner)
        return None

    def _view(self, node: RNode) -> Lay | None:
        x = resolve(node.ins[0])
        lay = self.known.get(x.id)
        if lay is None:
            return None
        stride = stride_of(x.shape, lay)
        if self.old > 1:
            return locate(node.shape, stride, self.old)
        below = 1
        best: Lay | None = None
        for k in reversed(range(len(node.shape))):
            if node.shape[k] == 1 and below == stride:
                best = Lay(k)  # the outermost unit axis at this place
            below *= node.shape[k]
        return best or locate(node.shape, stride, 1)

    def inner(self, node: RNode, time: Lay) -> int:
        """Return how many entries of one step lie together where steps share an axis with samples.

        ``node``: a step, ``time``: the axis in the file.
        """
        lay = self.known.get(resolve(node).id)
        if lay is None or lay.axis != time.axis or lay.inner >= time.inner:
            return time.inner
        return time.inner // self.old * self.new


def _with_steps(node: RNode, lay: Lay | None) -> Lay | None:
    """Return the batch axis of a tensor that holds all steps, or of the step of such a tensor."""
    time = node.attrs["lay"]
    assert isinstance(time, Lay)
    if lay is None or lay.axis != time.axis or time.pure:
        return lay
    steps = resolve(node.ins[0]).shape[lay.axis]
    whole, step = max(node.shape[lay.axis], steps), min(node.shape[lay.axis], steps)
    count = whole // step
    if node.op == "TimeToAxis":
        outside = lay.inner >= time.inner  # samples outside steps
        return Lay(
            lay.axis, lay.outer * (1 if outside else count), lay.inner * (count if outside else 1)
        )
    outside = lay.inner >= time.inner * count
    return Lay(
        lay.axis, lay.outer // (1 if outside else count), lay.inner // (count if outside else 1)
    )


def is_one_sample(outputs: Iterable[RNode], first: int) -> bool:
    """Whether an input holds one sample and no batch axis.

    ``first`` is the size of the axis where a batch would be.  There is none when a layer reduces
    over that axis, as it does over features or channels.
    """
    axes = BatchAxes(first, first)
    for node in reachable(outputs) if first > 1 else ():
        axes.visit(node)
        lay = axes.known.get(resolve(node.ins[0]).id) if node.ins else None
        if lay is None or not lay.pure:
            continue
        rank = len(resolve(node.ins[0]).shape)
        dense = node.op == "MatMul" or (node.op == "Gemm" and not attr_int(node.attrs, "transA", 0))
        if (dense and lay.axis == rank - 1) or (node.op == "Conv" and lay.axis == 1):
            return True
    return False


__all__ = ["BatchAxes", "is_one_sample", "step_shape"]

"""Dense products that feed a neuron's scan: computed in the scan's task, never written to DRAM.

The scan reads the accumulators and rounds them as a write-back would, so no bit changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import is_recurrent
from snncc.compiler.passes.tiling.kit.stacks import pad64
from snncc.compiler.passes.tiling.kit.task import ZERO, At, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, row_bytes

FUSIBLE = {"phase.linear", "phase.linear_dx"}


def fusible_product(scan: Op) -> Op | None:
    """Return the dense product that can be computed inside a scan's task, if there is one.

    Its result is one of the scan's sequences, has no other reader and the scan's whole shape.
    """
    if scan.name != "phase.scan" or is_recurrent(scan):
        return None
    carried, seqs = scan.int_attr("carried"), scan.int_attr("seqs")
    for value in scan.operands[carried : carried + seqs]:
        owner = value.owner
        if not isinstance(owner, Op) or owner.name not in FUSIBLE:
            continue
        x = owner.operands[0]
        shape = value.type.step_shape
        if (
            len(shape) == 2
            and len(value.uses) == 1
            and owner.parent is scan.parent
            and x.type.kind == "seq"
            and x.type.shape[0] == scan.int_attr("steps")
            and all(r.type.step_shape == shape for r in scan.results)
            and "layouts" not in scan.attrs
            and "layouts" not in owner.attrs
        ):
            return owner
    return None


def fused_products(ops: list[Op]) -> dict[Op, Op]:
    """Return for every scan the product that is computed inside its task."""
    found: dict[Op, Op] = {}
    for each in ops:
        made = fusible_product(each)
        if made is not None:
            found[each] = made
    return found


@dataclass(frozen=True)
class Producer:
    """A product ``[steps, rows, k] x [k, n]`` whose accumulators lanes read."""

    x: View
    w: View
    bias: View | None
    k: int
    mnemonic: str
    trans: bool

    def memory(self, steps: int, rows: int, n: int) -> int:
        """Return the scratchpad bytes beside the accumulators."""
        bias = pad64(n * 2) if self.bias else 0
        return pad64(self.k * n * 2) + pad64(steps * rows * row_bytes(self.x.dtype, self.k)) + bias

    def traffic(self, rows: int, n: int, column_tiles: int, weight_loads: int) -> int:
        """Return the DRAM bytes read for ``rows`` rows of all steps and ``n`` columns."""
        inputs = self.x.steps * rows * row_bytes(self.x.dtype, self.k) * column_tiles
        return self.k * n * 2 * weight_loads + inputs


class ProducerTask:
    """Emits a producer's part of a lane task."""

    def __init__(self, p: Producer, b: TaskBuilder, steps: int, rows: int, n: int) -> None:
        self.p, self.b = p, b
        self.w = b.sram("w", p.k * n * 2)
        self.x = b.sram("x", steps * rows * row_bytes(p.x.dtype, p.k))
        self.bias: Value | None = b.sram("bias", n * 2) if p.bias else None

    def columns(self, c_at: At, n: int) -> None:
        """Load what a slice of columns needs."""
        p, b = self.p, self.b
        if p.trans:
            b.load(self.w, ZERO, p.w.dram, p.w.at(r=c_at), n, p.k * 2, p.k * 2, p.w.row)
        else:
            b.load(self.w, ZERO, p.w.dram, p.w.at(c=c_at), p.k, n * 2, n * 2, p.w.row)
        if p.bias is not None and self.bias is not None:
            b.load(self.bias, ZERO, p.bias.dram, p.bias.at(c=c_at), 1, n * 2, 0, 0)

    def fill(self, acc: Value, t_at: At, steps: int, r_at: At, rows: int, n: int) -> None:
        """Compute the accumulators of some steps and rows."""
        p, b = self.p, self.b
        width = row_bytes(p.x.dtype, p.k)
        b.load(
            self.x, ZERO, p.x.dram, p.x.at(t=t_at if p.x.step else 0, r=r_at), rows, width, width,
            p.x.row, (steps, rows * width, p.x.step),
        )  # fmt: skip
        buffers = [("acc", acc, ZERO), ("a", self.x, ZERO), ("w", self.w, ZERO)]
        if self.bias is not None:
            buffers.append(("bias", self.bias, ZERO))
        values: dict[str, int | str] = {
            "acc_stride": n * 4,
            "a_stride": width,
            "w_stride": (p.k if p.trans else n) * 2,
            "rows": steps * rows,
            "k": p.k,
            "n": n,
            "init": "bias" if self.bias is not None else "zero",
        }
        if p.mnemonic != "gacc":
            values |= {"skip": 1, "trans": int(p.trans)}
        if p.mnemonic == "bmac":
            values |= {"masked": 0, "mask_stride": 0}
        b.emit(p.mnemonic, buffers, **values)

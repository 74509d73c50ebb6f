"""Templates for dense layers: forward product, input gradient, weight gradient, column sums.

All reductions run inside one iteration of the task's parallel loop, in canonical order, with
binary32 partial sums in SRAM; so tile sizes never change bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from snncc.compiler.ir.core import Op, Value
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import write_back_program
from snncc.compiler.passes.tiling.kit.sizes import (
    INSTRUCTION_CHARGE,
    candidates,
    choose,
    share,
    smallest,
)
from snncc.compiler.passes.tiling.kit.task import ZERO, At, Stream, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, row_bytes
from snncc.compiler.passes.tiling.templates.epilogue import Epilogue
from snncc.isa.numbers.integers import ceil_div

GRANULE = 16


@dataclass(frozen=True)
class Product:
    """``y[rows, n] = bias + sum over k ascending of x[rows, k] * w``.

    ``trans``: the weights lie as [n, k] in DRAM, else as [k, n].  ``skip``: zeros of x select
    nothing.  ``mnemonic``: mac, bmac or gacc (when x is packed spikes).
    """

    x: View
    w: View
    bias: View | None
    y: View
    k: int
    n: int
    mnemonic: str
    trans: bool
    skip: bool


def _unit_lane(mnemonic: str) -> str:
    return "ngrad" if mnemonic == "bmac" else "neuron"


def split_rows(rows: int, cols: int, cores: int, granule: int) -> bool:
    """Whether dealing out rows balances clearly better than dealing out columns."""
    by_cols = share(cols, granule, cores) * rows
    by_rows = share(rows, 1, cores) * cols
    return by_rows * 5 < by_cols * 3


def deals_first(first: tuple[int, int, int], second: tuple[int, int, int], cores: int) -> bool:
    """Whether to deal out the first of two axes: (work per core, size, bytes all cores need).

    Balance decides when it differs by half or more, else what every core must load.
    """
    work_a, size_a, bytes_a = first
    work_b, size_b, bytes_b = second
    if work_a * 3 < work_b * 2 or work_b * 3 < work_a * 2:
        return work_a < work_b
    parts_a, parts_b = min(cores, ceil_div(size_a, GRANULE)), min(cores, ceil_div(size_b, GRANULE))
    return parts_a * bytes_a + bytes_b <= parts_b * bytes_b + bytes_a


def product(context: TilingContext, op: Op, p: Product) -> None:
    """Emit the task of a dense product."""
    rows = p.x.rows
    k_unit = GRANULE if p.x.dtype == "bit" else 1
    by_rows = split_rows(rows, p.n, context.cores, GRANULE)
    n_share = p.n if by_rows else share(p.n, GRANULE, context.cores)
    r_share = share(rows, 1, context.cores) if by_rows else rows

    def memory(n: int, r: int, k: int) -> int:
        return (
            _pad(k * n * 2)
            + _pad(r * row_bytes(p.x.dtype, k))
            + _pad(r * n * 4)
            + _pad(r * n * 2)
            + (_pad(n * 2) if p.bias else 0)
        )

    def cost(n: int, r: int, k: int) -> int:
        n_tiles, r_tiles, k_tiles = ceil_div(n_share, n), ceil_div(r_share, r), ceil_div(p.k, k)
        weights = p.k * n_share * 2 * (r_tiles if k_tiles > 1 or by_rows else 1)
        inputs = n_tiles * r_share * row_bytes(p.x.dtype, p.k)
        count = n_tiles * (1 + r_tiles * (3 + 2 * k_tiles))
        return weights + inputs + count * INSTRUCTION_CHARGE

    axes = [candidates(n_share, GRANULE), candidates(r_share, 1), candidates(p.k, GRANULE)]
    choice = choose(axes, memory, cost, context.room)
    if choice is None:
        context.too_small(op, f"layer {op.attrs.get('layer', op.name)}", smallest(axes, memory))
        return
    n, r, k = choice.sizes
    k = min(p.k, k if k == p.k else max(k_unit, k))
    b = context.task(op, "product")
    task = _ProductTask(context, p, b, (n, r, k))
    if by_rows:
        b.tiles(rows, r, lambda at, size, first: task.row_tile(at, size), parallel=True)
    else:
        b.tiles(p.n, n, lambda at, size, first: task.column_tile(at, size), parallel=True)
    context.add(b)


def _pad(size: int) -> int:
    return max(64, (size + 63) // 64 * 64)


class _ProductTask:
    """Emits the loops of one product."""

    def __init__(
        self, context: TilingContext, p: Product, b: TaskBuilder, sizes: tuple[int, int, int]
    ) -> None:
        self.p, self.b = p, b
        self.n, self.r, self.k = sizes
        self.program = context.program("write_back", write_back_program())
        self.w = b.sram("w", self.k * self.n * 2)
        self.x = b.sram("x", self.r * row_bytes(p.x.dtype, self.k))
        self.acc = b.sram("acc", self.r * self.n * 4)
        self.y = b.sram("y", self.r * self.n * 2)
        self.bias = b.sram("bias", self.n * 2) if p.bias else None
        self.whole_k = self.k >= p.k

    def column_tile(self, n_at: At, n: int) -> None:
        """One slice of output columns, all rows."""
        self._load_bias(n_at, n)
        if self.whole_k:
            self._load_weights(n_at, n, ZERO, self.p.k)
        self.b.tiles(self.p.x.rows, self.r, lambda at, size, first: self._rows(at, size, n_at, n))

    def row_tile(self, r_at: At, r: int) -> None:
        """One slice of rows, all output columns."""

        def columns(n_at: At, n: int, first: bool) -> None:
            self._load_bias(n_at, n)
            if self.whole_k:
                self._load_weights(n_at, n, ZERO, self.p.k)
            self._rows(r_at, r, n_at, n)

        self.b.tiles(self.p.n, self.n, columns)

    def _load_bias(self, n_at: At, n: int) -> None:
        if self.p.bias is not None and self.bias is not None:
            source = self.p.bias
            self.b.load(self.bias, ZERO, source.dram, source.at(c=n_at), 1, n * 2, 0, 0)

    def _load_weights(self, n_at: At, n: int, k_at: At, k: int) -> None:
        w = self.p.w
        if self.p.trans:
            self.b.load(self.w, ZERO, w.dram, w.at(r=n_at, c=k_at), n, k * 2, k * 2, w.row)
        else:
            self.b.load(self.w, ZERO, w.dram, w.at(r=k_at, c=n_at), k, n * 2, n * 2, w.row)

    def _rows(self, r_at: At, r: int, n_at: At, n: int) -> None:
        p, b = self.p, self.b

        def step(k_at: At, k: int, first: bool) -> None:
            if not self.whole_k:
                self._load_weights(n_at, n, k_at, k)
            x_row = row_bytes(p.x.dtype, k)
            b.load(self.x, ZERO, p.x.dram, p.x.at(r=r_at, c=k_at), r, x_row, x_row, p.x.row)
            self._accumulate(r, k, n, x_row, first)

        b.tiles(p.k, self.k, step, peel=True)
        streams = [Stream(self.acc, ZERO, 0, n * 4), Stream(self.y, ZERO, 0, n * 2)]
        b.lanes(_unit_lane(p.mnemonic), self.program, streams, 1, r, n)
        b.store(p.y.dram, p.y.at(r=r_at, c=n_at), self.y, ZERO, r, n * 2, p.y.row, n * 2)

    def _accumulate(self, r: int, k: int, n: int, x_row: int, first: bool) -> None:
        p = self.p
        init = ("bias" if self.bias is not None else "zero") if first else "keep"
        buffers: list[tuple[str, Value, At]] = [
            ("acc", self.acc, ZERO),
            ("a", self.x, ZERO),
            ("w", self.w, ZERO),
        ]
        if self.bias is not None:
            buffers.append(("bias", self.bias, ZERO))
        values: dict[str, int | str] = {
            "acc_stride": n * 4,
            "a_stride": x_row,
            "w_stride": (k if p.trans else n) * 2,
            "rows": r,
            "k": k,
            "n": n,
            "init": init,
        }
        if p.mnemonic != "gacc":
            values |= {"skip": int(p.skip), "trans": int(p.trans)}
        if p.mnemonic == "bmac":
            values |= {"masked": 0, "mask_stride": 0}
        self.b.emit(p.mnemonic, buffers, **values)


@dataclass(frozen=True)
class Outer:
    """``dw[k, n] = sum over rows of x[row, k] * g[row, n]``; ``x`` None: sum of g's rows.

    Rows come in the order micro-batch, step from last to first, sample ascending.
    """

    x: View | None
    g: View
    k: int
    n: int
    microbatch: int


def weight_gradient(context: TilingContext, op: Op, p: Outer) -> None:
    """Emit the task of a weight gradient or of a column sum."""
    rows_of_all = p.g.steps * p.g.rows
    epilogue = Epilogue(context, op.result, 1, context.followers.get(op, ()))
    by_rows = p.x is not None and deals_first(
        (share(p.k, GRANULE, context.cores) * p.n, p.k, rows_of_all * p.g.row),
        (share(p.n, GRANULE, context.cores) * p.k, p.n, rows_of_all * p.x.row),
        context.cores,
    )
    k_share = share(p.k, GRANULE, context.cores) if by_rows else p.k
    n_share = p.n if by_rows else share(p.n, GRANULE, context.cores)
    steps, batch = p.g.steps, p.microbatch
    x_dtype = p.x.dtype if p.x is not None else "f16"

    def chunk_bytes(k: int, n: int, rows: int) -> int:
        x = _pad(rows * row_bytes(x_dtype, k)) if p.x is not None else 0
        return x + _pad(rows * row_bytes(p.g.dtype, n))

    def memory(k: int, n: int, tc: int, bc: int) -> int:
        return _pad(k * n * 4) + epilogue.memory(k, n) + chunk_bytes(k, n, tc * bc)

    def cost(k: int, n: int, tc: int, bc: int) -> int:
        if tc > 1 and bc < batch:
            return 1 << 60  # several steps at once only with whole (micro-)batches
        k_tiles, n_tiles = ceil_div(k_share, k), ceil_div(n_share, n)
        rows = p.g.rows * steps
        x = rows * row_bytes(x_dtype, k_share) * n_tiles if p.x is not None else 0
        g = rows * row_bytes(p.g.dtype, n_share) * k_tiles
        chunks = ceil_div(steps, tc) * ceil_div(batch, bc) * ceil_div(p.g.rows, batch)
        count = epilogue.instructions(k, n) + 3 * chunks
        return x + g + k_tiles * n_tiles * count * INSTRUCTION_CHARGE

    axes = [
        candidates(k_share, GRANULE),
        candidates(n_share, GRANULE),
        candidates(steps, 1),
        candidates(batch, 1),
    ]
    choice = choose(axes, memory, cost, context.room)
    if choice is None:
        context.too_small(op, f"layer {op.attrs.get('layer', op.name)}", smallest(axes, memory))
        return
    b = context.task(op, "outer" if p.x is not None else "sum_rows")
    task = _OuterTask(p, b, choice.sizes, epilogue)
    if by_rows:
        b.tiles(
            p.k,
            task.k,
            lambda at, size, first: b.tiles(
                p.n, task.n, lambda n_at, n, _: task.tile(at, size, n_at, n)
            ),
            parallel=True,
        )
    else:
        b.tiles(
            p.n,
            task.n,
            lambda at, size, first: b.tiles(
                p.k, task.k, lambda k_at, k, _: task.tile(k_at, k, at, size)
            ),
            parallel=True,
        )
    context.add(b)


class _OuterTask:
    """Emits the loops of one weight gradient."""

    def __init__(
        self, p: Outer, b: TaskBuilder, sizes: tuple[int, ...], epilogue: Epilogue
    ) -> None:
        self.p, self.b, self.epilogue = p, b, epilogue
        self.k, self.n, self.tc, self.bc = sizes
        self.acc = b.sram("acc", self.k * self.n * 4)
        epilogue.declare(b, self.k, self.n)
        rows = self.tc * self.bc
        self.x = b.sram("x", rows * row_bytes(p.x.dtype, self.k)) if p.x is not None else None
        self.g = b.sram("g", rows * row_bytes(p.g.dtype, self.n))
        self.dtype = p.g.dtype

    def tile(self, k_at: At, k: int, n_at: At, n: int) -> None:
        """One tile of the gradient, all rows."""
        p, b = self.p, self.b
        self._first = True

        def micro_batches(m_at: At, m: int, first_m: bool) -> None:
            def step_chunks(t_at: At, tc: int, first_t: bool) -> None:
                def sample_chunks(b_at: At, bc: int, first_b: bool) -> None:
                    first = first_m and first_t and first_b and self._first
                    self._first = False
                    self._chunk(k_at, k, n_at, n, t_at, tc, m_at + b_at, bc, first)

                b.tiles(m, self.bc, sample_chunks, peel=first_m and first_t)

            b.tiles(p.g.steps, self.tc, step_chunks, peel=first_m)

        b.tiles(p.g.rows, p.microbatch, micro_batches, peel=True)
        self.epilogue.emit(b, self.acc, k_at, k, n_at, n)

    def _chunk(
        self,
        k_at: At,
        k: int,
        n_at: At,
        n: int,
        t_at: At,
        tc: int,
        b_at: At,
        bc: int,
        first: bool,
    ) -> None:
        """Load rows in processing order (steps backward) and accumulate them."""
        last = At(self.p.g.steps - 1) + t_at * -1

        def load(buffer: Value, source: View, c_at: At, cols: int) -> int:
            size = row_bytes(source.dtype, cols)
            self.b.load(
                buffer,
                ZERO,
                source.dram,
                source.at(t=last if source.step else 0, r=b_at, c=c_at),
                bc,
                size,
                size,
                source.row,
                (tc, bc * size, -source.step),
            )
            return size

        g_row = load(self.g, self.p.g, n_at, n)
        init = "zero" if first else "keep"
        rows = tc * bc
        if self.x is None or self.p.x is None:
            self.b.emit(
                "colsum",
                [("acc", self.acc, ZERO), ("x", self.g, ZERO)],
                x_stride=g_row,
                rows=rows,
                n=n,
                type=self.dtype,
                init=init,
            )
            return
        x_row = load(self.x, self.p.x, k_at, k)
        values: dict[str, int | str] = {
            "acc_stride": n * 4,
            "a_stride": x_row,
            "g_stride": g_row,
            "rows": rows,
            "k": k,
            "n": n,
            "init": init,
        }
        spikes = self.p.x.dtype == "bit"
        if not spikes:
            values["skip"] = 1
        self.b.emit(
            "gouter" if spikes else "outer",
            [("acc", self.acc, ZERO), ("a", self.x, ZERO), ("g", self.g, ZERO)],
            **values,
        )

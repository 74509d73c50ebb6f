"""Choose in which axis order every tensor lies in memory, and convert where orders meet.

Convolutions, pooling and batch norm want channels last (the engines reduce over channels, lanes
read per-channel constants as rows); dense layers and matrix products want their last axis last.
Each value gets a storage order: its step axes from the slowest to the fastest.  Transpositions and
many reshapes then cost nothing; where an op wants another order than its operand has, a
``phase.relayout`` is put in between.  Convolution weights, their gradients and everything computed
from them element by element lie in ``kernel`` order: input channels in blocks of 16, tap, channel
in block, output channel (the reduction order of ADR 0001).  Where a model moves or reduces the
elements of a kernel, it is converted to natural order and back.

Over 400 lines: one rule for each op, and the one walk that applies them all.
"""

from __future__ import annotations

from snncc.compiler.ir.build import INFER
from snncc.compiler.ir.core import Block, Module, Op, Type, Value, op
from snncc.compiler.ir.orders import (
    KERNEL,
    Order,
    channels_last,
    is_recurrent,
    last,
    narrowed,
    natural,
    reshape_order,
    transpose_order,
    widened,
)
from snncc.compiler.passes.tiling.templates.regions import has_domain, product_of
from snncc.compiler.passes.tiling.templates.sums import kept_axes, reduce_split
from snncc.compiler.passes.tiling.templates.unpacked import unpack_moves
from snncc.compiler.pipeline.registry import NoOptions, PassContext, compiler_pass

ANY_ORDER = {"phase.output", "phase.store", "phase.yield"}
SAME_AS_FIRST = {
    "phase.reduce_time",
    "phase.select_time",
    "phase.argmax_time",
    "phase.concat",
    "phase.slice",
    "phase.pad",
    "phase.expand",
}
CHANNELS_LAST = {
    "phase.conv",
    "phase.conv_dx",
    "phase.conv_transpose",
    "phase.pool",
    "phase.pool_dx",
}
KERNEL_GRADIENTS = {"phase.conv_dw"}
GROUPED = {"phase.conv", "phase.conv_dw"}
KERNEL_OPS = {
    *CHANNELS_LAST,
    *KERNEL_GRADIENTS,
    "phase.map",
    "phase.scan",
    "phase.param",
    "phase.state",
    "phase.store",
    "phase.output",
    "phase.relayout",
}
"""Ops that read or make kernel order."""
COUNTED = {"ew.rand", "ew.srnd", "ew.iota"}
"""Element-wise ops that number elements in natural order."""


def _of_one_shape(each: Op) -> bool:
    """Whether a map takes and makes values of one shape, and numbers: any order will do."""
    values = [*each.operands, *each.results]
    return len({v.type.shape for v in values if v.type.size > 1}) <= 1


def _immediate(value: Value) -> bool:
    """Whether a value is a number in the code, without memory."""
    owner = value.owner
    return isinstance(owner, Op) and owner.name == "phase.const" and "value" in owner.attrs


def _order(order: Order) -> Order:
    return () if order == natural(len(order)) else order


@compiler_pass(takes="phased", options=NoOptions)
def run(module: Module, options: NoOptions, context: PassContext) -> bool:
    """Choose storage orders and insert conversions."""
    changed = unpack_moves(module.func("step").body)
    return _Layouts(module).run() or changed


class _Layouts:
    def __init__(self, module: Module) -> None:
        self.step = module.func("step")
        self.orders: dict[Value, Order] = {}
        self.converted: dict[tuple[Value, Order], Value] = {}
        self.changed = False

    def run(self) -> bool:
        """Walk the step once in order."""
        self._kernels()
        for arg in self.step.body.args:
            self.orders[arg] = self._wanted_by_users(arg)
        arguments = tuple(self.orders[a] for a in self.step.body.args)
        if any(arguments):
            self.step.attrs["layouts"] = arguments
            self.changed = True
        for each in list(self.step.body.ops):
            self._op(each)
        return self.changed

    def _wanted_by_users(self, value: Value) -> Order:
        """Return the order that the first user wants (an input is written in any order)."""
        rank = len(value.type.step_shape)
        for user, index in value.uses:
            wanted = self._wants(user)
            if user.name in SAME_AS_FIRST or user.name in {"phase.map", "phase.scan"}:
                for result in user.results:
                    if len(result.type.step_shape) == rank and (
                        found := self._wanted_by_users(result)
                    ):
                        return found
            elif index < len(wanted) and wanted[index] is not None:
                return wanted[index] or ()
        return ()

    def _kernels(self) -> None:
        """Find all values in kernel order."""
        kernel: set[Value] = set()
        ops = self.step.body.ops
        for each in ops:
            if each.name in {"phase.conv", "phase.conv_dx", "phase.conv_transpose"}:
                kernel.add(each.operands[1])
            elif each.name in KERNEL_GRADIENTS:
                kernel.add(each.results[0])
        names: dict[str, list[Value]] = {}
        for each in ops:
            if each.name in {"phase.param", "phase.state"}:
                kind = each.name.partition(".")[2]
                names.setdefault(f"{kind}:{each.str_attr('name')}", []).append(each.result)
            elif each.name == "phase.store":
                key = f"{each.str_attr('kind', 'state')}:{each.str_attr('name')}"
                names.setdefault(key, []).append(each.operands[0])
        grown = -1
        while grown != len(kernel):
            grown = len(kernel)
            for group in names.values():
                if any(v in kernel for v in group):
                    kernel.update(group)
            for each in ops:
                if each.name != "phase.map" or not _of_one_shape(each):
                    continue
                values = [*each.operands, *each.results]
                found = [v for v in values if v in kernel]
                if found:
                    shape = found[0].type.shape
                    kernel.update(v for v in values if v.type.shape == shape)
        for value in self._moved_kernels(kernel):
            self.orders[value] = KERNEL

    def _moved_kernels(self, kernel: set[Value]) -> set[Value]:
        """Convert kernels where an op moves their elements, which it does in natural order.

        Returns the values that are in kernel order then.
        """
        natural_ones: dict[Value, Value] = {}
        for each in list(self.step.body.ops):
            if each.name in KERNEL_OPS and (each.name != "phase.map" or _of_one_shape(each)):
                continue
            for i, v in enumerate(each.operands):
                if v not in kernel:
                    continue
                if v not in natural_ones:
                    made = self._relayout(each, v, ())
                    self.step.body.insert_before(each, made)
                    natural_ones[v] = made.result
                each.set_operand(i, natural_ones[v])
                self.changed = True
            for r in [r for r in each.results if r in kernel]:
                made = self._relayout(each, r, KERNEL)
                r.replace_by(made.result)
                made.set_operand(0, r)
                ops = self.step.body.ops
                self.step.body.insert_before(ops[ops.index(each) + 1], made)
                kernel = (kernel - {r}) | {made.result}
                self.changed = True
        return kernel

    def _relayout(self, each: Op, value: Value, wanted: Order) -> Op:
        """Return a conversion of a value for an op; it is not inserted yet."""
        return op(
            "phase.relayout",
            [value],
            [value.type],
            {
                "phase": each.attrs.get("phase", "fp"),
                "layer": each.attrs.get("layer", ""),
                "layouts": (wanted,),
            },
            loc=each.loc,
            names=[value.name],
        )

    # ---------------------------------------------------------------- one op

    def _wants(self, each: Op) -> list[Order | None]:
        """Return the order that an op wants of each operand (None: any)."""
        ranks = [len(v.type.step_shape) for v in each.operands]
        if each.name in CHANNELS_LAST:
            return [
                KERNEL
                if i == 1 and each.name.startswith("phase.conv")
                else channels_last(r)
                if r > 2
                else ()
                for i, r in enumerate(ranks)
            ]
        if each.name in KERNEL_GRADIENTS:
            return [channels_last(r) for r in ranks]
        if each.name in {"phase.bn_stats", "phase.bn_sums"}:
            axis = each.int_attr("axis", 1)
            return [last(r, axis) if r > 1 else () for r in ranks]
        if each.name == "phase.sum_rows":
            return [last(ranks[0], each.int_attr("axis", -1) % ranks[0])]
        if each.name in ANY_ORDER or each.name in SAME_AS_FIRST:
            return [None] * len(ranks)
        if each.name == "phase.sum_to":
            keep, gone = kept_axes(each)
            return [_order(tuple(gone + keep))]
        if each.name == "phase.reduce":
            order = self.order(each.operands[0])
            split = reduce_split(each, order or natural(ranks[0]))
            is_max = each.str_attr("kind") == "max"
            if split is not None and (split[2] == 1 or not is_max):
                return [order if self._result_fits(each, order) else ()]
            axes = each.ints_attr("axes")
            rest = tuple(a for a in range(ranks[0]) if a not in axes)
            return [_order((*rest, *sorted(axes)))]
        if each.name == "phase.matmul":
            swapped = (*range(ranks[0] - 2), ranks[0] - 1, ranks[0] - 2)
            return [swapped if each.bool_attr("transpose_a", False) else (), ()]
        if each.name in {"phase.reshape", "phase.transpose"}:
            return [None] * len(ranks)
        return [() if r > 1 else None for r in ranks]

    def _result_fits(self, each: Op, order: Order) -> bool:
        """Whether the axes that a reduction leaves lie in natural order."""
        rank = len(each.operands[0].type.step_shape)
        axes = each.ints_attr("axes")
        shape = each.operands[0].type.step_shape
        left = [a for a in order or natural(rank) if a not in axes and shape[a] > 1]
        return left == sorted(left)

    def _op(self, each: Op) -> None:
        if each.name == "phase.relayout":  # of a kernel
            kept = self.orders.get(each.result, ())
            if kept == KERNEL:
                self._convert(each, 0, ())
            self._results(each, [kept])
            return
        if each.name in GROUPED:
            self._widen_grouped(each)
        if each.name == "phase.scan" and is_recurrent(each):
            for i in range(len(each.operands)):
                self._convert(each, i, ())
            self._results(each, [() for _ in each.results])
            return
        if each.name in {"phase.map", "phase.scan"}:
            self._elementwise(each)
            return
        if each.name in SAME_AS_FIRST:
            first = self.order(each.operands[0])
            for i in range(1, len(each.operands)):
                if len(each.operands[i].type.step_shape) == len(first):
                    self._convert(each, i, first)
            rank = len(each.operands[0].type.step_shape)
            self._results(
                each, [widened(first, rank, len(r.type.step_shape)) for r in each.results]
            )
            return
        if each.name == "phase.transpose":
            self._results(
                each, [transpose_order(self.order(each.operands[0]), each.ints_attr("perm"))]
            )
            return
        if each.name == "phase.reshape":
            self._reshape(each)
            return
        if each.name in {"phase.time_to_axis", "phase.axis_to_time"}:
            self._time_axis(each)
            return
        for i, wanted in enumerate(self._wants(each)):
            if wanted is not None and wanted != KERNEL:
                self._convert(each, i, wanted)
        if each.name == "phase.reduce" and not self._reduces_packed(each):
            self._to_numbers(each)
        results: list[Order] = []
        for r in each.results:
            rank = len(r.type.step_shape)
            if self.orders.get(r) == KERNEL:
                results.append(KERNEL)
            elif each.name in CHANNELS_LAST and rank > 2:
                results.append(channels_last(rank))
            else:
                results.append(())
        self._results(each, results)

    def _widen_grouped(self, each: Op) -> None:
        """Turn spikes into numbers where groups cut packed rows (the products stay the same)."""
        x, groups = each.operands[0], each.int_attr("groups", 1)
        channels = x.type.step_shape[1] // groups
        if groups != 1 and x.type.dtype == "bit" and channels % 16:
            self._to_numbers(each)

    def _reduces_packed(self, each: Op) -> bool:
        """Whether a reduction of spikes goes over whole packed rows, or leaves them whole."""
        value = each.operands[0]
        shape = value.type.step_shape
        order = self.order(value) or natural(len(shape))
        split = reduce_split(each, order) if value.type.dtype == "bit" else None
        if split is None or split[1] == 1:
            return True
        _, summed, inner = split
        return shape[order[-1]] == (summed if inner == 1 else inner)

    def _to_numbers(self, each: Op) -> None:
        """Turn the spikes that an op takes first into numbers."""
        x = each.operands[0]
        block = Block()
        arg = block.add_arg(Type("tensor", x.type.step_shape, "bit"))
        wide = op(
            "ew.cast",
            [arg],
            [Type("tensor", x.type.step_shape, "f16")],
            {"to": "f16"},
            loc=each.loc,
        )
        block.append(wide)
        block.append(op("phase.yield", [wide.result], loc=each.loc))
        made = op(
            "phase.map",
            [x],
            [x.type.with_(dtype="f16")],
            {"phase": each.attrs.get("phase", "fp"), "layer": each.attrs.get("layer", "")},
            [block],
            each.loc,
            [x.name],
        )
        self.step.body.insert_before(each, made)
        self._elementwise(made)
        each.set_operand(0, made.result)
        self.changed = True

    def _reshape(self, each: Op) -> None:
        source = each.operands[0]
        before, after = source.type.step_shape, each.result.type.step_shape
        found = reshape_order(before, self.order(source) or natural(len(before)), after)
        if found is None:
            self._convert(each, 0, ())
            found = natural(len(after))
        self._results(each, [found])

    def _time_axis(self, each: Op) -> None:
        """Steps lie outermost in memory: the first axis of a tensor that holds them must, too."""
        source = each.operands[0]
        rank = len(source.type.step_shape)
        if each.name == "phase.time_to_axis":
            self._results(each, [widened(self.order(source), rank, rank + 1)])
            return
        order = self.order(source) or natural(rank)
        if order[0] != 0:
            order = (0, *(a for a in order if a != 0))
            self._convert(each, 0, order)
        self._results(each, [narrowed(order, rank, rank - 1)])

    def _elementwise(self, each: Op) -> None:
        values = [*each.operands, *each.results]
        if any(self.orders.get(v) == KERNEL for v in values):
            self._results(each, [self.orders.get(r, ()) for r in each.results])
            return
        largest = max(each.results, key=lambda r: product_of(r.type.step_shape))
        shape = largest.type.step_shape
        rank = len(shape)
        chosen, fits = self._elementwise_order(each, largest)
        for i, v in enumerate(each.operands):
            if _immediate(v):
                continue
            if v.type.step_shape == shape:
                self._convert(each, i, chosen)
            elif not fits and v.type.size > 1:
                self._expand(each, i, shape, chosen)
            elif sum(d > 1 for d in v.type.step_shape) > 1:
                self._convert(each, i, narrowed(chosen, rank, len(v.type.step_shape)))
        self._results(each, [chosen if r.type.step_shape == shape else () for r in each.results])

    def _elementwise_order(self, each: Op, largest: Value) -> tuple[Order, bool]:
        """Return an order for all full operands, and whether the others fit it as they are."""
        shape = largest.type.step_shape
        rank = len(shape)
        real = [v for v in (*each.operands, *each.results) if not _immediate(v)]
        orders: list[Order] = []
        if any(o.name in COUNTED for o in each.regions[0].ops):
            orders.append(())
        else:
            orders += [
                self.order(v)
                for v in each.operands
                if not _immediate(v) and v.type.step_shape == shape
            ]
            orders += [channels_last(rank), ()] if rank > 2 else [()]
        for order in orders:
            if has_domain(largest, real, order):
                return order, True
        return orders[0], False

    def _expand(self, each: Op, index: int, shape: tuple[int, ...], wanted: Order) -> None:
        """Repeat an operand that no stream can broadcast."""
        value = each.operands[index]
        type_ = Type(
            value.type.kind,
            (value.type.shape[0], *shape) if value.type.kind == "seq" else shape,
            value.type.dtype,
        )
        made = op(
            "phase.expand",
            [value],
            [type_],
            {
                "phase": each.attrs.get("phase", "fp"),
                "layer": each.attrs.get("layer", ""),
                "shape": shape,
                "layouts": (wanted,),
            },
            loc=each.loc,
            names=[value.name],
        )
        self.step.body.insert_before(each, made)
        self.orders[made.result] = wanted
        each.set_operand(index, made.result)
        block = each.regions[0]
        block.args[index].type = Type("tensor", shape, block.args[index].type.dtype)
        for inner in block.ops:
            types = INFER[inner.name]([v.type for v in inner.operands], inner.attrs)
            for result, type_ in zip(inner.results, types, strict=True):
                result.type = type_
        self.changed = True

    def order(self, value: Value) -> Order:
        """Return the storage order of a value (() is natural)."""
        return self.orders.get(value, ())

    def _convert(self, each: Op, index: int, wanted: Order) -> None:
        value = each.operands[index]
        rank = len(value.type.step_shape)
        if (self.order(value) or natural(rank)) == (wanted or natural(rank)):
            return
        key = (value, wanted)
        made = self.converted.get(key)
        if made is None:
            relayout = self._relayout(each, value, wanted)
            self.step.body.insert_before(each, relayout)
            made = self.converted[key] = relayout.result
            self.orders[made] = wanted
        each.set_operand(index, made)
        self.changed = True

    def _results(self, each: Op, orders: list[Order]) -> None:
        clean: list[Order] = []
        for r, o in zip(each.results, orders, strict=True):
            rank = len(r.type.step_shape)
            kept: Order = o if o == KERNEL else () if o == natural(rank) else o
            clean.append(kept)
            self.orders[r] = kept
        if any(clean):
            each.attrs["layouts"] = tuple(clean)
            self.changed = True

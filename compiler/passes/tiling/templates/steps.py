"""Runs recurrent scans step by step: their body's tasks inside a loop over time.

Carried values have a tensor of one step; at the end of a step the new values are copied over them.
What a step takes from a sequence or adds to one is a view that moves with the loop.
"""

from __future__ import annotations

from snncc.compiler.ir.core import Block, Op, Type, Value, op
from snncc.compiler.passes.tiling.kit.context import TilingContext
from snncc.compiler.passes.tiling.kit.microprogram import ProgramWriter, constant_of, f16_bits
from snncc.compiler.passes.tiling.kit.task import At, Loop
from snncc.compiler.passes.tiling.kit.views import View, geometry, row_bytes
from snncc.compiler.passes.tiling.templates.dispatch import (
    HANDLERS,
    Handler,
    step_rows,
    unsupported,
)
from snncc.compiler.passes.tiling.templates.fused import Producer
from snncc.compiler.passes.tiling.templates.lanes import Feed, LaneWork, lane_work
from snncc.compiler.passes.tiling.templates.readout import copy_views
from snncc.compiler.passes.tiling.templates.regions import RegionTiler

ALLOWED = {
    *("phase.map", "phase.linear", "phase.linear_dx"),
    *("phase.concat", "phase.slice", "phase.pad", "phase.expand"),
}
"""What a step may hold: products of dense layers, maps, and moves in natural order."""


def scan(context: TilingContext, each: Op) -> None:
    """Tile a scan: one lane program, or a loop over time when it holds dense layers."""
    if all(o.name.startswith("ew.") or o.name == "phase.yield" for o in each.regions[0].ops):
        product = context.fused.get(each)
        if product is None:
            RegionTiler(context, each).scan()
        else:
            RegionTiler(context, each, product.result, _producer(context, product)).scan()
    else:
        _Stepper(context, each).run()


def _producer(context: TilingContext, product: Op) -> Producer:
    """Return how a fused product is computed, steps and rows apart."""
    x, w = product.operands[0], product.operands[1]
    steps = x.type.shape[0]
    k, n = w.type.shape
    if product.name == "phase.linear_dx":
        return Producer(step_rows(context, x, steps), context.view(w), None, n, "bmac", True)
    bias = context.view(product.operands[2]) if len(product.operands) > 2 else None
    mnemonic = "gacc" if x.type.dtype == "bit" else "mac"
    return Producer(step_rows(context, x, steps), context.view(w), bias, k, mnemonic, False)


class _Stepper:
    def __init__(self, context: TilingContext, each: Op) -> None:
        self.context, self.op = context, each
        self.block = each.regions[0]
        self.steps = each.int_attr("steps")
        self.carried = each.int_attr("carried")
        self.loop = Loop(self.steps)
        for inner in self.block.ops[:-1]:
            if inner.name not in ALLOWED:
                unsupported(inner)
        if any(context.order(v) for v in (*each.operands, *each.results)):
            unsupported(each)

    def run(self) -> None:
        """Emit initial values, the loop, final values."""
        context, block = self.context, self.block
        for i in range(self.carried):
            self._tensor(block.args[i], "carried")
            self._initial(block.args[i], self.op.operands[i])
        for arg, value in zip(
            block.args[self.carried :], self.op.operands[self.carried :], strict=True
        ):
            self._input(arg, value)
        outputs = self._bind_outputs()
        for inner in block.ops[:-1]:
            for r in inner.results:
                if r not in context.tensors:
                    self._tensor(r, "step")
        outer, context.tasks = context.tasks, []
        context.outer.append(self.loop)
        for inner in block.ops[:-1]:
            HANDLERS[inner.name](context, inner)
        for value, result in outputs:
            self._copy(context.view(value), self._at_step(result))
        self._advance()
        context.outer.pop()
        body = Block()
        for task in context.tasks:
            body.append(task)
        outer.append(op("tile.steps", attrs={"trips": self.steps}, regions=[body], loc=self.op.loc))
        context.tasks = outer
        for i in range(self.carried):
            if self.op.results[i].uses:
                self._copy(context.view(block.args[i]), context.view(self.op.results[i]))

    def _advance(self) -> None:
        """Put the next carried values in place; those that others still need are saved first."""
        context, args = self.context, self.block.args[: self.carried]
        following = self.block.terminator.operands[: self.carried]
        moves = [(new, arg) for new, arg in zip(following, args, strict=True) if new is not arg]
        late: list[tuple[Value, Value]] = []
        for new, arg in moves:
            if any(new is target for _, target in moves):
                saved = Value(new.type, f"{new.name}.before")
                self._tensor(saved, "saved")
                self._copy(context.view(new), context.view(saved))
                late.append((saved, arg))
            else:
                late.append((new, arg))
        for new, arg in late:
            self._copy(context.view(new), context.view(arg))

    def _tensor(self, value: Value, hint: str) -> None:
        """Give a value of the body a tensor of one step."""
        steps, rows, cols = geometry(value.type)
        row = row_bytes(value.type.dtype, cols)
        made = op(
            "tile.dram",
            types=[Type("dram", value.type.shape, value.type.dtype)],
            attrs={
                "name": f"{value.name or hint}.{len(self.context.extra)}",
                "role": "temp",
                "seq": False,
                "row_bytes": row,
                "bytes": steps * rows * row,
                "order": (),
            },
            loc=self.op.loc,
            names=[hint],
        )
        self.context.extra.append(made)
        self.context.tensors[value] = made.result

    def _time(self) -> At:
        """Return the time step of the loop's iteration."""
        if self.op.bool_attr("reverse", False):
            return At(self.steps - 1, {self.loop: -1})
        return At(0, {self.loop: 1})

    def _at_step(self, value: Value) -> View:
        """Return the part of a sequence that belongs to the iteration."""
        whole = self.context.view(value)
        return View(
            whole.dram,
            whole.dtype,
            1,
            whole.rows,
            whole.cols,
            0,
            whole.row,
            self._time() * whole.step,
        )

    def _input(self, arg: Value, value: Value) -> None:
        number = constant_of(value)
        if number is not None and value not in self.context.tensors:
            self._tensor(arg, "constant")
            self._fill(self.context.view(arg), number)
            return
        self.context.tensors[arg] = self.context.tensors[value]
        if value.type.kind == "seq":
            self.context.starts[arg] = self._at_step(value).start

    def _bind_outputs(self) -> list[tuple[Value, Value]]:
        """Let the body write sequences in place; return (value, sequence) to be copied."""
        copies: list[tuple[Value, Value]] = []
        end = self.block.terminator
        pairs = zip(end.operands[self.carried :], self.op.results[self.carried :], strict=True)
        for value, result in pairs:
            if not result.uses:
                continue
            if isinstance(value.owner, Op) and value not in self.context.tensors:
                self.context.tensors[value] = self.context.tensors[result]
                self.context.starts[value] = self._at_step(result).start
            else:
                copies.append((value, result))
        return copies

    def _initial(self, arg: Value, value: Value) -> None:
        number = constant_of(value)
        if number is None:
            self._copy(self.context.view(value), self.context.view(arg))
        else:
            self._fill(self.context.view(arg), number)

    def _copy(self, source: View, target: View) -> None:
        copy_views(self.context, self.op, source, target)

    def _fill(self, target: View, number: float) -> None:
        w = ProgramWriter()
        bits = f16_bits(number)
        if target.dtype == "bit":
            one, zero = w.add("const.h", imm=0x3C00), w.add("const.h", imm=0)
            mask = w.add("gt", (one, zero) if number else (zero, one))
            w.add("st.m", (mask,), imm=0)
        elif target.dtype == "f32":
            w.add("st.f", (w.add("h2f", (w.add("const.h", imm=bits),)),), imm=0)
        else:
            w.add("st.h", (w.add("const.h", imm=bits),), imm=0)
        program = self.context.program("fill", w.program("p"))
        lane_work(
            self.context,
            self.op,
            LaneWork(
                program,
                (Feed("out", target, target.dtype),),
                1,
                target.rows,
                target.cols,
                False,
                "ew",
                name="fill",
            ),
        )


HANDLERS_OF_STEPS: dict[str, Handler] = {"phase.scan": scan}

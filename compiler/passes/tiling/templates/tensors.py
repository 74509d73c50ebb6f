"""Decides which values of the training step live in DRAM, and which share memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import UNKNOWN, Attribute, Func, Location, Op, Type, Value, op
from snncc.compiler.ir.orders import Order, order_of
from snncc.compiler.passes.tiling.kit.views import geometry, row_bytes
from snncc.compiler.passes.tiling.templates.epilogue import followers
from snncc.compiler.passes.tiling.templates.flatten import flattens, is_flatten
from snncc.compiler.passes.tiling.templates.fused import fused_products

ALIASES = {"phase.reshape", "phase.transpose", "phase.time_to_axis", "phase.axis_to_time"}
"""Ops that only see the same memory in another shape."""


@dataclass
class DramTensor:
    """One tensor of DRAM."""

    name: str
    type: Type
    role: str
    loc: Location = UNKNOWN
    order: Order = ()
    more: dict[str, Attribute] = field(default_factory=dict[str, Attribute])

    def attrs(self) -> dict[str, Attribute]:
        """Return the attributes of its ``tile.dram``."""
        steps, rows, cols = geometry(self.type, self.order)
        row = row_bytes(self.type.dtype, cols)
        return {
            "name": self.name,
            "role": self.role,
            "seq": self.type.kind == "seq",
            "row_bytes": row,
            "bytes": steps * rows * row,
            "order": self.order,
            **self.more,
        }


@dataclass
class TensorPlan:
    """``tensors``: the memory of each value; ``silent``: ops without a task."""

    tensors: dict[Value, DramTensor] = field(default_factory=dict[Value, DramTensor])
    arguments: tuple[Order, ...] = ()
    fused: dict[Op, Op] = field(default_factory=dict[Op, Op])
    """Scans, and the products that are computed inside their tasks."""
    followers: dict[Op, tuple[Op, ...]] = field(default_factory=dict[Op, tuple[Op, ...]])
    """Weight gradients, and the maps that run inside their tasks."""
    silent: set[Op] = field(default_factory=set[Op])
    exports: list[tuple[Op, Value]] = field(default_factory=list["tuple[Op, Value]"])
    copies: list[tuple[Op, Value, DramTensor]] = field(
        default_factory=list["tuple[Op, Value, DramTensor]"]
    )


def same_memory(a: Value, b: Value) -> bool:
    """Whether two values of one size lie in memory alike (packed rows are padded)."""
    if a.type.dtype != "bit":
        return True
    a_cols = geometry(a.type, order_of(a))[2]
    b_cols = geometry(b.type, order_of(b))[2]
    return a_cols == b_cols or (a_cols % 16 == 0 and b_cols % 16 == 0)


class _Planner:
    def __init__(self, step: Func, fits: Callable[[Op], bool] | None, limit: int) -> None:
        self.fits, self.limit = fits, limit
        self.step = step
        self.plan = TensorPlan()
        self.plan.arguments = cast("tuple[Order, ...]", step.attrs.get("layouts", ()))
        self.names: set[str] = set()
        self.numbers: dict[str, int] = {}
        """The last number that was given to a name."""
        self.arguments = self.plan.arguments
        self.order = {each: i for i, each in enumerate(step.body.ops)}

    def unique(self, hint: str) -> str:
        """Return an unused name."""
        base = name = hint or "t"
        while name in self.names:
            self.numbers[base] = self.numbers.get(base, 1) + 1
            name = f"{base}.{self.numbers[base]}"
        self.names.add(name)
        return name

    def make(self, value: Value, role: str, hint: str, loc: Location, **more: Attribute) -> None:
        """Give a value a tensor of its own (lanes keep indices as binary32)."""
        type_ = value.type
        if role == "temp" and type_.dtype == "i32":
            type_ = type_.with_(dtype="f32")
        order = order_of(value, self.arguments)
        self.plan.tensors[value] = DramTensor(
            self.unique(hint), type_, role, loc, order, dict(more)
        )

    def run(self) -> TensorPlan:
        """Plan every value."""
        stores: dict[Value, list[Op]] = {}
        states: dict[str, Value] = {}
        for arg in self.step.body.args:
            self.make(
                arg,
                "target" if arg.type.dtype == "i32" else "input",
                arg.name,
                Location(f"%{arg.name}"),
            )
        self._fuse()
        absorbed = {m for maps in self.plan.followers.values() for m in maps}
        for each in self.step.body.ops:
            if each in self.plan.silent and each not in absorbed:
                continue
            if each.name in {"phase.param", "phase.state"}:
                self.plan.silent.add(each)
                role = each.name.partition(".")[2]
                name = each.str_attr("name")
                self.make(each.result, role, name, each.loc, source=dict(each.attrs))
                states[f"{role}:{name}"] = each.result
            elif each.name == "phase.store":
                self.plan.silent.add(each)
                stores.setdefault(each.operands[0], []).append(each)
            elif each.name == "phase.const":
                self.plan.silent.add(each)
                if "resource" in each.attrs or self._needs_memory(each.result):
                    self.make(each.result, "const", "const", each.loc, source=dict(each.attrs))
            elif each.name == "phase.output":
                self.plan.silent.add(each)
                self.plan.exports.append((each, each.operands[0]))
            elif flattens(each):
                self.plan.silent.add(each)
            elif (
                each.name in ALIASES
                and not is_flatten(each)
                and same_memory(each.operands[0], each.result)
            ):
                self.plan.silent.add(each)
                self.plan.tensors[each.result] = self.plan.tensors[each.operands[0]]
            else:
                inside = self.plan.followers.get(each, ())
                for r in each.results:
                    if any(user not in inside for user, _ in r.uses):
                        self.make(r, "temp", r.name or each.name.partition(".")[2], each.loc)
        for value, ops_ in stores.items():
            for each in ops_:
                kind = each.str_attr("kind", "state")
                self._store(each, value, states.get(f"{kind}:{each.str_attr('name')}"))
        self._keep_old()
        return self.plan

    def _keep_old(self) -> None:
        """Save what is still wanted of parameters and states that copies overwrite."""
        written = {id(target) for _, _, target in self.plan.copies}
        saved: list[tuple[Op, Value, DramTensor]] = []

        def save(user: Op, value: Value) -> Value:
            order = order_of(value, self.arguments)
            kept = op("phase.save", types=[value.type], attrs={"layouts": (order,)}, loc=user.loc)
            self.make(kept.result, "temp", f"{self.plan.tensors[value].name}.old", user.loc)
            saved.append((user, value, self.plan.tensors[kept.result]))
            return kept.result

        for i, (output, value) in enumerate(self.plan.exports):
            if id(self.plan.tensors[value]) in written:
                self.plan.exports[i] = output, save(output, value)
        for i, (store, value, target) in enumerate(self.plan.copies):
            if id(self.plan.tensors[value]) in written:
                self.plan.copies[i] = store, save(store, value), target
        self.plan.copies[:0] = saved

    def _fuse(self) -> None:
        """Let products move into the tasks of scans, maps into those of weight gradients."""
        for scan, product in fused_products(self.step.body.ops).items():
            if self.fits is None or self.fits(product):
                self.plan.fused[scan] = product
                self.plan.silent.add(product)
                self.order[product] = self.order[scan]
        self.plan.followers = followers(self.step.body.ops, self.limit)
        for gradient, maps in self.plan.followers.items():
            for each in maps:
                self.plan.silent.add(each)
                self.order[each] = self.order[gradient]

    def _needs_memory(self, value: Value) -> bool:
        """Whether a constant is used by something that cannot take it as an immediate."""
        return any(user.name not in {"phase.map", "phase.scan"} for user, _ in value.uses)

    def _store(self, store: Op, value: Value, state: Value | None) -> None:
        """Let a stored value take its state's place, or copy it at the end of the step."""
        if state is None:
            fail(
                "E0402",
                f"nothing is called '{store.str_attr('name')}' to store to",
                where=str(store.loc),
            )
        target = self.plan.tensors[state]
        owner = value.owner
        mine = self.plan.tensors.get(value)
        if (
            isinstance(owner, Op)
            and mine is not None
            and mine.role == "temp"
            and owner.name in {"phase.map", "phase.scan"}
            and mine.type == target.type
            and mine.order == target.order
            and all(self._before(user, owner) for user in self._users(state))
        ):
            for each, tensor in self.plan.tensors.items():
                if tensor is mine:
                    self.plan.tensors[each] = target
        elif mine is not target:
            self.plan.copies.append((store, value, target))

    def _users(self, value: Value) -> Iterator[Op]:
        """Yield the ops that read a value's memory, also under another shape."""
        for user, _ in value.uses:
            if user in self.plan.silent and user.name in ALIASES:
                yield from self._users(user.result)
            else:
                yield user

    def _before(self, user: Op, writer: Op) -> bool:
        """Whether a reader of the old value is done when its successor is written."""
        if user is writer:
            return True
        return (
            user in self.order
            and self.order[user] < self.order[writer]
            and user.name not in {"phase.output", "phase.store"}
        )


def plan_tensors(
    step: Func, fits: Callable[[Op], bool] | None = None, limit: int = 1 << 62
) -> TensorPlan:
    """Return where the values of ``@step`` live.

    ``fits``: whether to fuse a product; ``limit``: bytes of the scratchpad.
    """
    return _Planner(step, fits, limit).run()


def export_ops(plan: TensorPlan, tensors: dict[Value, Value]) -> list[Op]:
    """Return ``tile.export`` ops: what the outside may read."""
    found: list[Op] = []
    for output, value in plan.exports:
        attrs = {k: v for k, v in output.attrs.items() if k not in {"phase", "layer"}}
        attrs |= {
            "seq": value.type.kind == "seq",
            "dims": value.type.shape,
            "order": order_of(value, plan.arguments),
        }
        found.append(op("tile.export", [tensors[value]], attrs=attrs, loc=output.loc))
    return found

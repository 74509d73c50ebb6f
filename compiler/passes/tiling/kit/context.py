"""What the templates of the tiling pass share: tensors, microprograms, limits, errors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from snncc.compiler.diag import fail
from snncc.compiler.ir.core import Op, Value
from snncc.compiler.ir.orders import Order, order_of
from snncc.compiler.passes.tiling.kit.sizes import Room
from snncc.compiler.passes.tiling.kit.task import At, Loop, TaskBuilder
from snncc.compiler.passes.tiling.kit.views import View, view
from snncc.isa.machine.machine import Machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.microprograms.text import show_micro


@dataclass
class TilingContext:
    """State of one run of the tiling pass.

    ``limit``: bytes of scratchpad that a task may take; ``cores``: how many the mapping will use.
    """

    room: Room
    limit: int
    cores: int
    machine: Machine
    tensors: dict[Value, Value] = field(default_factory=dict[Value, Value])
    tasks: list[Op] = field(default_factory=list[Op])
    count: int = 0
    arguments: tuple[Order, ...] = ()
    fused: dict[Op, Op] = field(default_factory=dict[Op, Op])
    followers: dict[Op, tuple[Op, ...]] = field(default_factory=dict[Op, tuple[Op, ...]])
    starts: dict[Value, At] = field(default_factory=dict[Value, At])
    outer: list[Loop] = field(default_factory=list[Loop])
    extra: list[Op] = field(default_factory=list[Op])
    programs: dict[str, str] = field(default_factory=dict[str, str])
    _program_names: dict[str, str] = field(default_factory=dict[str, str])

    def view(self, value: Value) -> View:
        """Return the DRAM view of a value of ``@step``."""
        found = view(value.type, self.tensors[value], self.order(value))
        start = self.starts.get(value)
        return found if start is None else replace(found, start=start)

    def order(self, value: Value) -> Order:
        """Return the storage order of a value."""
        return order_of(value, self.arguments)

    def task(self, op: Op, suffix: str) -> TaskBuilder:
        """Start a task for an op."""
        layer = op.str_attr("layer", "")
        phase = op.str_attr("phase", "fp")
        name = f"{layer or op.name.partition('.')[2]}.{suffix}"
        return TaskBuilder(name, layer, phase, op.loc, tuple(self.outer))

    def add(self, builder: TaskBuilder) -> None:
        """Finish a task; its number tells it from others of the same name."""
        builder.attrs["id"] = self.count
        self.count += 1
        self.tasks.append(builder.finish())

    def program(self, hint: str, program: MicroProgram) -> str:
        """Register a microprogram; equal code shares one name."""
        text = show_micro(MicroProgram("p", program.code))
        if text in self._program_names:
            return self._program_names[text]
        base = "".join(c if c.isascii() and c.isalnum() else "_" for c in hint).strip("_")
        base = base if base[:1].isalpha() else f"lanes_{base}".rstrip("_")
        name, n = base, 1
        while name in self.programs:
            n += 1
            name = f"{base}_{n}"
        self._program_names[text] = name
        self.programs[name] = show_micro(MicroProgram(name, program.code))
        return name

    def too_small(self, op: Op, what: str, need: int) -> None:
        """Refuse a layer whose smallest tile does not fit."""
        fail(
            "E0401",
            f"the smallest tile of {what} needs {need} bytes, but the scratchpad of machine "
            f"'{self.machine.name}' has {self.limit}: {need - self.limit} bytes short",
            where=str(op.loc),
            help=f"choose a machine with at least {need} bytes of scratchpad per core",
        )

"""Writes the instructions of one core: registers, streams, loops, semaphores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from snncc.compiler.ir.core import Attribute, Block, Location, Value, op
from snncc.compiler.passes.lowering.kit.registers import TIME_REGISTER, Key, Registers
from snncc.compiler.passes.lowering.kit.tree import (
    Affine,
    LeafNode,
    LoopNode,
    Semaphore,
    StreamUse,
    TaskNode,
)
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.spec import MICRO, REG, SEED_REGISTER, EnumKind, Unit

UNIT_INDEX = {u: i for i, u in enumerate(Unit)}


@dataclass(frozen=True)
class Address:
    """A base and a step per enclosing loop (outermost first, loops that do not matter left out)."""

    base: Key
    steps: tuple[tuple[LoopNode, int], ...] = ()


@dataclass
class _Moving:
    """An address register that loops step."""

    address: Address
    register: int


@dataclass
class CoreWriter:
    """Emits one task into a block."""

    block: Block
    programs: Mapping[str, int]
    addresses: Mapping[Value, int]
    registers: Registers
    layer: str
    phase: str
    loc: Location
    blocks: list[Block] = field(default_factory=list[Block])
    moving: dict[Address, _Moving] = field(default_factory=dict[Address, _Moving])
    window: Affine = ()
    outer: int = 0
    streams: dict[int, tuple[Address, int, int]] = field(
        default_factory=dict[int, tuple[Address, int, int]]
    )

    def emit(self, mnemonic: str, **operands: int) -> None:
        """Append an instruction."""
        attrs: dict[str, Attribute] = {"layer": self.layer, "phase": self.phase, **operands}
        self._here.append(op(f"core.{mnemonic}", attrs=attrs, loc=self.loc))

    @property
    def _here(self) -> Block:
        return self.blocks[-1] if self.blocks else self.block

    def semaphores(self, entries: list[Semaphore]) -> None:
        """Append waits and posts."""
        for s in entries:
            self.emit(s.kind, unit=UNIT_INDEX[s.unit], sem=s.number, n=1)

    def loop(self, trips: int, body: Block) -> None:
        """Append a hardware loop."""
        attrs: dict[str, Attribute] = {"layer": self.layer, "phase": self.phase, "count": trips}
        self._here.append(op("core.loopi", attrs=attrs, regions=[body], loc=self.loc))

    def task(self, root: LoopNode) -> None:
        """Append a whole task."""
        self.outer = root.outer
        self.semaphores(root.before)
        self._children(root)
        self.semaphores(root.after)

    def _children(self, loop: LoopNode) -> None:
        for child in loop.children:
            self.semaphores(child.before)
            if isinstance(child, LoopNode):
                self._loop(child)
            elif isinstance(child, LeafNode):
                self._leaf(child)
            self.semaphores(child.after)

    # ------------------------------------------------------------------ loops

    def _loop(self, node: LoopNode) -> None:
        addresses, constants = self._needs(node)
        self.registers.locked.clear()
        mine: list[_Moving] = []
        for address in addresses:
            if address not in self.moving and address.steps[0][0] is node:
                register = self.registers.take()
                self._load(register, address.base)
                moving = _Moving(address, register)
                self.moving[address] = moving
                mine.append(moving)
        pinned = self._pin(constants)
        hoisted = self._hoist_streams(node)
        windows = {
            cast("Affine", leaf.op.attrs["window"])
            for leaf in node.leaves()
            if "window" in leaf.op.attrs
        }
        if len(windows) == 1:
            self._set_window(next(iter(windows)))
        elif windows:
            self.window = ()
        self.registers.forget()
        body = Block()
        self.blocks.append(body)
        self._children(node)
        self._step(node)
        self.blocks.pop()
        self.registers.forget()
        attrs: dict[str, Attribute] = {
            "layer": self.layer,
            "phase": self.phase,
            "count": node.trips,
        }
        self._here.append(op("core.loopi", attrs=attrs, regions=[body], loc=self.loc))
        for value in pinned:
            self.registers.unpin(value)
        for moving in mine:
            del self.moving[moving.address]
            self.registers.give(moving.register)
        self._step(node, -node.trips)  # loops further out start inner ones afresh
        if not hoisted:
            self.streams.clear()
        if len(windows) > 1:
            self.window = ()

    def _needs(self, node: LoopNode) -> tuple[list[Address], Counter[Key]]:
        """Return the moving addresses and the constants (with uses) inside a loop."""
        addresses: dict[Address, None] = {}
        constants: Counter[Key] = Counter()
        for leaf in node.leaves():
            for address in self._addresses(leaf):
                if address.steps:
                    addresses[address] = None
                else:
                    constants[address.base] += 1
            for value in self._values(leaf):
                constants[value] += 1
        return list(addresses), constants

    def _pin(self, constants: Counter[Key]) -> list[Key]:
        pinned: list[Key] = []
        for value, _ in constants.most_common():
            if value == 0 or value in self.registers.pinned:
                continue
            if self.registers.room() <= 0:
                break
            register, fresh = self.registers.pin(value)
            if fresh:
                self._load(register, value)
            pinned.append(value)
        return pinned

    def _step(self, node: LoopNode, times: int = 1) -> None:
        """Advance the address registers by ``times`` iterations of ``node``."""
        for moving in self.moving.values():
            step = dict(moving.address.steps).get(node, 0) * times
            if not step:
                continue
            if -(1 << 31) <= step < 1 << 31:
                self.emit("addi", rd=moving.register, ra=moving.register, imm=step)
            else:
                self.registers.locked.clear()
                far = self.constant(step)
                self.emit("add", rd=moving.register, ra=moving.register, rb=far)

    # ------------------------------------------------------------------ operations

    def _address(self, leaf: TaskNode, buffer: Value | None, at: Affine) -> Address:
        loops: list[LoopNode] = []
        node = leaf.parent
        while node is not None and node.parent is not None:
            loops.append(node)
            node = node.parent
        loops.reverse()
        fixed = at[0] + (self.addresses[buffer] if buffer is not None else 0)
        base: Key = fixed
        if self.outer:
            if at[1]:
                base = (fixed, at[1])
            at = (at[0], *at[2:])
        steps = tuple(
            (loop, c) for loop, c in zip(loops, at[1:], strict=True) if c and loop.trips > 1
        )
        return Address(base, steps)

    def _addresses(self, leaf: LeafNode) -> list[Address]:
        if "streams" in leaf.op.attrs:
            uses = cast("tuple[StreamUse, ...]", leaf.op.attrs["streams"])
            return [
                self._address(leaf, leaf.op.operands[i] if i >= 0 else None, at)
                for i, at, _, _ in uses
            ]
        at = cast("tuple[Affine, ...]", leaf.op.attrs["at"])
        return [
            self._address(leaf, buffer, a) for buffer, a in zip(leaf.op.operands, at, strict=True)
        ]

    def _values(self, leaf: LeafNode) -> list[int]:
        """Return the integer operands that need registers."""
        row = BY_MNEMONIC[leaf.op.name.partition(".")[2]]
        found: list[int] = []
        for f in row.operands:
            value = leaf.op.attrs.get(f.name)
            if f.kind is REG and isinstance(value, int) and f.name != "seed":
                found.append(value)
        if "streams" in leaf.op.attrs:
            for _, _, step, stride in cast("tuple[StreamUse, ...]", leaf.op.attrs["streams"]):
                found += [step, stride]
        return found

    def constant(self, value: Key) -> int:
        """Return a register that holds a constant, loading it if need be."""
        register = self.registers.find(value)
        if register is None:
            register = self.registers.take()
            self._load(register, value)
            self.registers.constants[value] = register
        self.registers.locked.add(register)
        return register

    def _load(self, register: int, value: Key) -> None:
        """Load a constant, or base + coefficient * time step."""
        if isinstance(value, int):
            self.emit("li", rd=register, imm=value)
            return
        base, coefficient = value
        self.emit("li", rd=register, imm=coefficient)
        self.emit("mul", rd=register, ra=register, rb=TIME_REGISTER)
        if -(1 << 31) <= base < 1 << 31:
            self.emit("addi", rd=register, ra=register, imm=base)
        else:
            spare = self.registers.take()
            self.emit("li", rd=spare, imm=base)
            self.emit("add", rd=register, ra=register, rb=spare)
            self.registers.give(spare)

    def _address_register(self, address: Address) -> int:
        if address.steps:
            return self.moving[address].register
        return self.constant(address.base)

    def _leaf(self, leaf: LeafNode) -> None:
        source = leaf.op
        task_phase, self.phase = self.phase, source.str_attr("phase", self.phase)
        mnemonic = source.name.partition(".")[2]
        row = BY_MNEMONIC[mnemonic]
        self.registers.locked.clear()
        if "streams" in source.attrs:
            self._set_streams(leaf)
            self.registers.locked.clear()
        if "window" in source.attrs:
            self._set_window(cast("Affine", source.attrs["window"]))
        bound: dict[str, Address] = {}
        if "addr" in source.attrs:
            bound = dict(zip(source.strs_attr("addr"), self._addresses(leaf), strict=True))
        operands: dict[str, int] = {}
        for f in row.operands:
            value = source.attrs.get(f.name)
            if f.name in bound:
                operands[f.name] = self._address_register(bound[f.name])
            elif f.kind is MICRO:
                operands[f.name] = self.programs[str(value)]
            elif f.name == "seed":
                operands[f.name] = SEED_REGISTER
            elif isinstance(f.kind, EnumKind):
                operands[f.name] = f.kind.words.index(str(value))
            elif f.kind is REG:
                operands[f.name] = self.constant(value) if isinstance(value, int) else 0
            else:
                operands[f.name] = value if isinstance(value, int) else 0
        self.emit(mnemonic, **operands)
        self.phase = task_phase

    def _set_window(self, window: Affine) -> None:
        """Set window 0 unless it holds these sizes already."""
        if window == self.window:
            return
        self.window = window
        for mnemonic, values in (("winsize", window[:5]), ("winmap", window[5:])):
            names = [f.name for f in BY_MNEMONIC[mnemonic].operands if f.name != "win"]
            self.emit(mnemonic, win=0, **dict(zip(names, values, strict=True)))

    def _set_streams(self, leaf: LeafNode) -> None:
        uses = cast("tuple[StreamUse, ...]", leaf.op.attrs["streams"])
        for number, ((_, _, step, stride), address) in enumerate(
            zip(uses, self._addresses(leaf), strict=True)
        ):
            wanted = (address, step, stride)
            if not address.steps and self.streams.get(number) == wanted:
                continue
            self.registers.locked.clear()
            self.emit(
                "stream",
                s=number,
                base=self._address_register(address),
                step=self.constant(step),
                row=self.constant(stride),
            )
            if address.steps:
                self.streams.pop(number, None)
            else:
                self.streams[number] = wanted

    def _hoist_streams(self, node: LoopNode) -> bool:
        """Set the streams of a loop's only lane operation before the loop; say if that was done."""
        lanes = [leaf for leaf in node.leaves() if "streams" in leaf.op.attrs]
        if len(lanes) != 1:
            self.streams.clear()
            return False
        moving = [a for a in self._addresses(lanes[0]) if a.steps]
        if moving:
            self.streams.clear()
            return False
        self._set_streams(lanes[0])
        return True

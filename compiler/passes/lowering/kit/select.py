"""Writes the instructions that all cores run: registers, streams, loops, semaphores, barriers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from snncc.compiler.ir.core import Attribute, Block, op
from snncc.compiler.passes.lowering.kit.addresses import Address, Moving, Track
from snncc.compiler.passes.lowering.kit.barriers import write_barrier
from snncc.compiler.passes.lowering.kit.footprint import Affine
from snncc.compiler.passes.lowering.kit.instructions import NEAR, InstructionWriter
from snncc.compiler.passes.lowering.kit.registers import TIME_REGISTER, Registers
from snncc.compiler.passes.lowering.kit.scalars import (
    TIME,
    Scalar,
    compute,
)
from snncc.compiler.passes.lowering.kit.tree import (
    BarrierNode,
    FenceNode,
    LeafNode,
    LoopNode,
)
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.spec import MICRO, REG, SEED_REGISTER, EnumKind


@dataclass
class CoreWriter(InstructionWriter):
    """Writes the tree of a program."""

    cores: int = 1
    """How many run it and meet at barriers; core 0 is the root of their tree."""
    programs: Mapping[str, int] = field(default_factory=dict[str, int])
    moving: dict[Track, Moving] = field(default_factory=dict["Track", Moving])
    temporary: list[int] = field(default_factory=list[int])
    """Registers that only the instruction being built uses."""
    window: Affine = ()
    outer: int = 0
    streams: dict[int, tuple[Address, Scalar, Scalar]] = field(
        default_factory=dict[int, tuple[Address, Scalar, Scalar]]
    )

    def program(self, root: LoopNode) -> None:
        """Append a whole program."""
        self._children(root)

    def _children(self, loop: LoopNode) -> None:
        for child in loop.children:
            self.source = child.source
            if isinstance(child, LoopNode):
                if child.over_time:
                    self._over_time(child)
                else:
                    self._repeat(child)
            elif isinstance(child, FenceNode):
                self.semaphores(child.entries)
            elif isinstance(child, BarrierNode):
                self.semaphores(child.before)
                write_barrier(self, self.cores)
                self.semaphores(child.after)
            else:
                self._named_leaf(child)

    def _named_leaf(self, leaf: LeafNode) -> None:
        for name in leaf.begins:
            attrs: dict[str, Attribute] = {
                "number": name.number,
                "name": name.name,
                "address": name.address,
                "bytes": name.size,
                "tensor": name.tensor,
            }
            self.here.append(op("core.buffer", attrs=attrs, loc=leaf.source.loc))
        self.semaphores(leaf.before)
        self._leaf(leaf)
        self.semaphores(leaf.after)
        for number in leaf.ends:
            ended: dict[str, Attribute] = {"number": number}
            self.here.append(op("core.buffer_end", attrs=ended, loc=leaf.source.loc))

    # ------------------------------------------------------------------ loops

    def _over_time(self, node: LoopNode) -> None:
        """Write a loop over time; a register counts its steps."""
        self.emit("li", rd=TIME_REGISTER, imm=0)
        body = Block()
        inner = CoreWriter(
            body, Registers(self.registers.where), node.source,
            cores=self.cores, programs=self.programs, outer=1,
        )  # fmt: skip
        inner.program(node)
        inner.source = node.source
        inner.emit("addi", rd=TIME_REGISTER, ra=TIME_REGISTER, imm=1)
        assert isinstance(node.trips, int), "all cores compute all time steps"
        attrs = self.attrs({"count": node.trips})
        self.here.append(op("core.loopi", attrs=attrs, regions=[body], loc=node.source.loc))
        for value in list(self.registers.pinned):
            self.registers.unpin(value)
        self.registers.forget()  # the body used them as it liked
        self.streams.clear()
        self.window = ()

    def _repeat(self, node: LoopNode) -> None:
        addresses, constants = self._needs(node)
        self.registers.locked.clear()
        mine: list[Moving] = []
        for address in addresses:
            if address.track not in self.moving and address.steps[0][0] is node:
                register = self.registers.take()
                self._load(register, address.base)
                moving = Moving(address, register)
                self.moving[address.track] = moving
                mine.append(moving)
        pinned = self._pin(constants)
        hoisted = self._hoist_streams(node)
        windows = {
            cast("Affine", leaf.step.op.attrs["window"])
            for leaf in node.leaves()
            if "window" in leaf.step.op.attrs
        }
        if len(windows) == 1:
            self._set_window(next(iter(windows)))
        elif windows:
            self.window = ()
        counter = 0
        if not isinstance(node.trips, int):
            counter = self.constant(node.trips)
        self.registers.forget()
        body = Block()
        self.blocks.append(body)
        self._children(node)
        self.source = node.source
        self._step(node)
        self.blocks.pop()
        self.registers.forget()
        self.source = node.source
        fixed = isinstance(node.trips, int)
        attrs = self.attrs({"count": node.trips if isinstance(node.trips, int) else counter})
        name = "core.loopi" if fixed else "core.loop"
        self.here.append(op(name, attrs=attrs, regions=[body], loc=node.source.loc))
        for value in pinned:
            self.registers.unpin(value)
        for moving in mine:
            del self.moving[moving.address.track]
            self.registers.give(moving.register)
        if isinstance(node.trips, int):
            self._step(node, -node.trips)  # loops further out start inner ones afresh
        else:
            assert not mine or node in mine[0].address.steps[0], "it is the outermost one"
        if not hoisted:
            self.streams.clear()
        if len(windows) > 1:
            self.window = ()

    def _needs(self, node: LoopNode) -> tuple[list[Address], Counter[Scalar]]:
        """Return the moving addresses and the constants (with uses) inside a loop."""
        addresses: dict[Address, None] = {}
        constants: Counter[Scalar] = Counter()
        for leaf in node.leaves():
            for address in self._addresses(leaf):
                if address.steps:
                    addresses[address] = None
                else:
                    constants[address.base] += 1
            for value in self._values(leaf):
                constants[value] += 1
            if leaf.step.guard != 1:
                constants[leaf.step.guard] += 1
        return list(addresses), constants

    def _pin(self, constants: Counter[Scalar]) -> list[Scalar]:
        pinned: list[Scalar] = []
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
            if step in NEAR:
                self.emit("addi", rd=moving.register, ra=moving.register, imm=step)
            else:
                self.registers.locked.clear()
                far = self.constant(step)
                self.emit("add", rd=moving.register, ra=moving.register, rb=far)

    # ------------------------------------------------------------------ operations

    def _address(self, leaf: LeafNode, base: Scalar, at: Affine) -> Address:
        loops: list[LoopNode] = []
        node = leaf.parent
        while node.parent is not None and not node.over_time:
            loops.append(node)
            node = node.parent
        loops.reverse()
        if self.outer:
            base = compute("add", compute("mul", TIME, at[0]), base)
            at = at[1:]
        steps = tuple((loop, c) for loop, c in zip(loops, at, strict=True) if c)
        return Address(base, steps)

    def _addresses(self, leaf: LeafNode) -> list[Address]:
        return [self._address(leaf, base, at) for base, at in leaf.at]

    def _values(self, leaf: LeafNode) -> list[Scalar]:
        """Return the numbers that need registers."""
        step = leaf.step
        places = step.op.strs_attr("addr") if "addr" in step.op.attrs else ()
        found = [value for name, value in step.values.items() if name not in places]
        return found + [number for pair in step.strides for number in pair]

    def _address_register(self, address: Address) -> int:
        if not address.steps:
            return self.constant(address.base)
        moving = self.moving[address.track]
        distance = address.start - moving.address.start
        if not distance:
            return moving.register
        register = self.registers.take()
        self.registers.locked.add(register)
        self.temporary.append(register)
        if distance in NEAR:
            self.emit("addi", rd=register, ra=moving.register, imm=distance)
        else:
            self.emit("li", rd=register, imm=distance)
            self.emit("add", rd=register, ra=register, rb=moving.register)
        return register

    def _issued(self) -> None:
        """Give back what only the last instruction needed."""
        for register in self.temporary:
            self.registers.give(register)
        self.temporary.clear()

    def _leaf(self, leaf: LeafNode) -> None:
        step, source = leaf.step, leaf.step.op
        self.source = leaf.source
        mnemonic = source.name.partition(".")[2]
        row = BY_MNEMONIC[mnemonic]
        self.registers.locked.clear()
        if step.strides:
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
                operands[f.name] = self.constant(step.values.get(f.name, 0))
            else:
                operands[f.name] = value if isinstance(value, int) else 0
        if step.guard == 1:
            self.emit(mnemonic, **operands)
        else:
            with self.loop(self.constant(step.guard)):
                self.emit(mnemonic, **operands)
        self._issued()

    def _set_window(self, window: Affine) -> None:
        """Set window 0 unless it holds these sizes already."""
        if window == self.window:
            return
        self.window = window
        for mnemonic, values in (("winsize", window[:5]), ("winmap", window[5:])):
            names = [f.name for f in BY_MNEMONIC[mnemonic].operands if f.name != "win"]
            self.emit(mnemonic, win=0, **dict(zip(names, values, strict=True)))

    def _set_streams(self, leaf: LeafNode) -> None:
        for number, (address, (step, stride)) in enumerate(
            zip(self._addresses(leaf), leaf.step.strides, strict=True)
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
            self._issued()
            if address.steps:
                self.streams.pop(number, None)
            else:
                self.streams[number] = wanted

    def _hoist_streams(self, node: LoopNode) -> bool:
        """Set the streams of a loop's only lane operation before the loop; say if that was done."""
        lanes = [leaf for leaf in node.leaves() if leaf.step.strides]
        if len(lanes) != 1:
            self.streams.clear()
            return False
        moving = [a for a in self._addresses(lanes[0]) if a.steps]
        if moving:
            self.streams.clear()
            return False
        self._set_streams(lanes[0])
        return True

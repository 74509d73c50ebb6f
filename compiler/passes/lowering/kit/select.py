"""Writes the instructions of one core: registers, streams, loops, semaphores, barriers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from snncc.compiler.ir.core import Attribute, Block, op
from snncc.compiler.passes.lowering.kit.addresses import Address, Moving, Track
from snncc.compiler.passes.lowering.kit.footprint import Affine, StreamUse
from snncc.compiler.passes.lowering.kit.registers import TIME_REGISTER, Key, Registers
from snncc.compiler.passes.lowering.kit.tree import (
    BarrierNode,
    FenceNode,
    LeafNode,
    LoopNode,
    Semaphore,
    Source,
)
from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.spec import MICRO, REG, SEED_REGISTER, EnumKind, Unit

UNIT_INDEX = {u: i for i, u in enumerate(Unit)}
BARRIER_TAG = 0
ARITY = 4
"""Of how many others a core hears at a barrier."""


@dataclass
class CoreWriter:
    """Emits the instructions of one core into a block."""

    core: int
    cores: Sequence[int]
    """Those that meet at barriers; the first one is the root of their tree."""
    block: Block
    programs: Mapping[str, int]
    registers: Registers
    source: Source
    blocks: list[Block] = field(default_factory=list[Block])
    moving: dict[Track, Moving] = field(default_factory=dict["Track", Moving])
    temporary: list[int] = field(default_factory=list[int])
    """Registers that only the instruction being built uses."""
    window: Affine = ()
    outer: int = 0
    streams: dict[int, tuple[Address, int, int]] = field(
        default_factory=dict[int, tuple[Address, int, int]]
    )

    def emit(self, mnemonic: str, **operands: int) -> None:
        """Append an instruction."""
        self._here.append(op(f"core.{mnemonic}", attrs=self._attrs(operands), loc=self.source.loc))

    def _attrs(self, operands: Mapping[str, int]) -> dict[str, Attribute]:
        return {"layer": self.source.layer, "phase": self.source.phase, **operands}

    @property
    def _here(self) -> Block:
        return self.blocks[-1] if self.blocks else self.block

    def semaphores(self, entries: list[Semaphore]) -> None:
        """Append waits and posts."""
        for s in entries:
            self.emit(s.kind, unit=UNIT_INDEX[s.unit], sem=s.number, n=1)

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
                    self._loop(child)
            elif isinstance(child, FenceNode):
                self.semaphores(child.entries)
            elif isinstance(child, BarrierNode):
                self.semaphores(child.before)
                self._barrier()
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
            self._here.append(op("core.buffer", attrs=attrs, loc=leaf.source.loc))
        self.semaphores(leaf.before)
        self._leaf(leaf)
        self.semaphores(leaf.after)
        for number in leaf.ends:
            ended: dict[str, Attribute] = {"number": number}
            self._here.append(op("core.buffer_end", attrs=ended, loc=leaf.source.loc))

    def _barrier(self) -> None:
        """Write a core's part of a barrier: arrivals climb a tree, the root releases all.

        A core hears of few others, so that its messages fit the network unit's queue and the
        sequencer can go on issuing what needs not wait.
        """
        place = self.cores.index(self.core)
        first = ARITY * place + 1
        for child in self.cores[first : first + ARITY]:
            self._message("recv", child, dst=0)
        if place:
            self._message("send", self.cores[(place - 1) // ARITY], src=0)
            self._message("recv", self.cores[0], dst=0)
            return
        mask = sum(1 << c for c in self.cores[1:])
        self.registers.locked.clear()
        register = self.constant(mask if mask < 1 << 63 else mask - (1 << 64))
        self.emit("mcast", mask=register, tag=BARRIER_TAG, src=0, bytes=0)

    def _message(self, mnemonic: str, core: int, **place: int) -> None:
        """Write a token to or from a core."""
        self.registers.locked.clear()
        register = self.constant(core)
        self.emit(mnemonic, core=register, tag=BARRIER_TAG, bytes=0, **place)

    # ------------------------------------------------------------------ loops

    def _over_time(self, node: LoopNode) -> None:
        """Write a loop over time; a register counts its steps."""
        self.emit("li", rd=TIME_REGISTER, imm=0)
        body = Block()
        inner = CoreWriter(
            self.core, self.cores, body, self.programs,
            Registers(self.registers.where), node.source, outer=1,
        )  # fmt: skip
        inner.program(node)
        inner.source = node.source
        inner.emit("addi", rd=TIME_REGISTER, ra=TIME_REGISTER, imm=1)
        attrs = self._attrs({"count": node.trips})
        self._here.append(op("core.loopi", attrs=attrs, regions=[body], loc=node.source.loc))
        self.registers.forget()  # the body used them as it liked
        self.streams.clear()
        self.window = ()

    def _loop(self, node: LoopNode) -> None:
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
        self.source = node.source
        self._step(node)
        self.blocks.pop()
        self.registers.forget()
        self.source = node.source
        attrs = self._attrs({"count": node.trips})
        self._here.append(op("core.loopi", attrs=attrs, regions=[body], loc=node.source.loc))
        for value in pinned:
            self.registers.unpin(value)
        for moving in mine:
            del self.moving[moving.address.track]
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

    def _address(self, leaf: LeafNode, at: Affine) -> Address:
        loops: list[LoopNode] = []
        node = leaf.parent
        while node.parent is not None and not node.over_time:
            loops.append(node)
            node = node.parent
        loops.reverse()
        base: Key = at[0]
        if self.outer:
            if at[1]:
                base = (at[0], at[1])
            at = (at[0], *at[2:])
        steps = tuple((loop, c) for loop, c in zip(loops, at[1:], strict=True) if c)
        return Address(base, steps)

    def _addresses(self, leaf: LeafNode) -> list[Address]:
        return [self._address(leaf, at) for at in leaf.at]

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
        if not address.steps:
            return self.constant(address.base)
        moving = self.moving[address.track]
        distance = address.start - moving.address.start
        if not distance:
            return moving.register
        register = self.registers.take()
        self.registers.locked.add(register)
        self.temporary.append(register)
        if -(1 << 31) <= distance < 1 << 31:
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
        source = leaf.op
        self.source = leaf.source
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
            self._issued()
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

"""Appends instructions and computes numbers in registers."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from snncc.compiler.ir.core import Attribute, Block, op
from snncc.compiler.passes.lowering.kit.registers import Registers
from snncc.compiler.passes.lowering.kit.scalars import CORE, Known, Scalar
from snncc.compiler.passes.lowering.kit.tree import Semaphore, Source
from snncc.isa.spec import Unit

UNIT_INDEX = {u: i for i, u in enumerate(Unit)}
NEAR = range(-(1 << 31), 1 << 31)
"""What an instruction may add."""
FEW = 6
"""With fewer registers to spare, parts of what is computed are not kept."""


@dataclass
class InstructionWriter:
    """Appends instructions to a block, or to the innermost loop that is open."""

    block: Block
    registers: Registers
    source: Source
    """To what they belong."""
    blocks: list[Block] = field(default_factory=list[Block])
    """Bodies of open loops."""

    def emit(self, mnemonic: str, **operands: int) -> None:
        """Append an instruction."""
        self.here.append(op(f"core.{mnemonic}", attrs=self.attrs(operands), loc=self.source.loc))

    def attrs(self, operands: Mapping[str, int]) -> dict[str, Attribute]:
        """Return an instruction's attributes."""
        return {"layer": self.source.layer, "phase": self.source.phase, **operands}

    @property
    def here(self) -> Block:
        """Where the next instruction goes."""
        return self.blocks[-1] if self.blocks else self.block

    def semaphores(self, entries: Sequence[Semaphore]) -> None:
        """Append waits and posts."""
        for s in entries:
            self.emit(s.kind, unit=UNIT_INDEX[s.unit], sem=s.number, n=1)

    @contextmanager
    def loop(self, register: int) -> Generator[None]:
        """Write what is emitted inside into a loop; it must load no constant."""
        attrs = self.attrs({"count": register})
        body = Block()
        self.here.append(op("core.loop", attrs=attrs, regions=[body], loc=self.source.loc))
        self.blocks.append(body)
        yield
        self.blocks.pop()

    def constant(self, value: Scalar) -> int:
        """Return a register that holds a number, computing it if need be."""
        register = self.registers.find(value)
        if register is None:
            register = self.registers.take()
            self._load(register, value)
            self.registers.constants[value] = register
        self.registers.locked.add(register)
        return register

    def _load(self, register: int, value: Scalar) -> None:
        """Compute a number into a register; what it is computed from may be forgotten again."""
        if isinstance(value, int):
            self.emit("li", rd=register, imm=value)
            return
        if isinstance(value, Known):
            assert value == CORE, "the time step has a register"
            self.emit("coreid", rd=register)
            return
        locked = set(self.registers.locked)
        if self.registers.find(value.left) is None and self.registers.spare() < FEW:
            self._load(register, value.left)  # needs no register of its own, and is not kept
            left = register
        else:
            left = self.constant(value.left)
        right = value.right
        if value.mnemonic == "add" and isinstance(right, int) and right in NEAR:
            self.emit("addi", rd=register, ra=left, imm=right)
        else:
            self.emit(value.mnemonic, rd=register, ra=left, rb=self.constant(right))
        self.registers.locked = locked

    def kept(self, value: Scalar) -> int:
        """Return a register that holds a number from now on."""
        if value in self.registers.pinned:
            return self.registers.pinned[value]
        self.registers.locked.clear()
        register, fresh = self.registers.pin(value)
        if fresh:
            self._load(register, value)
        return register

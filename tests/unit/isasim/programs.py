"""Short ways to write programs for the simulator's tests."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from snncc.isa.instructions.encoding import make
from snncc.isa.machine.machine import Machine, load_machine
from snncc.isa.microprograms.table import MicroProgram
from snncc.isa.program.file import CoreProgram, ObjectFile, SourceLine, TensorEntry
from snncc.isa.spec import Inst, Unit
from snncc.isasim.system import RunOptions, SimulationResult, System

SLOT = {unit.value: i for i, unit in enumerate(Unit)}
HALT = make("halt")


def small(**changes: Any) -> Machine:
    """Return the small machine with some values changed."""
    machine = load_machine("small")
    return machine.with_(**changes) if changes else machine


class Asm:
    """Collects instructions; operand values go through registers that it hands out."""

    def __init__(self) -> None:
        self.code: list[Inst] = []
        self.constants: dict[int, int] = {0: 0}

    def emit(self, mnemonic: str, **operands: int) -> int:
        """Append an instruction; return its address."""
        self.code.append(make(mnemonic, **operands))
        return len(self.code) - 1

    @contextmanager
    def loop(self, count: int) -> Generator[None]:
        """Repeat what is emitted inside; constants used in it are best named before."""
        at = self.emit("loopi", count=count, end=0)
        yield
        self.code[at] = make("loopi", count=count, end=len(self.code))

    def reg(self, value: int) -> int:
        """Return a register that holds a constant."""
        if value not in self.constants:
            self.constants[value] = register = len(self.constants)
            self.emit("li", rd=register, imm=value)
        return self.constants[value]

    def copy(
        self, name: str, dst: int, src: int, size: int, n0: int = 1, n1: int = 1,
        dst0: int = 0, dst1: int = 0, src0: int = 0, src1: int = 0,
    ) -> int:  # fmt: skip
        """Append ld, st or copy."""
        values = {
            "dst": dst, "src": src, "n0": n0, "n1": n1, "bytes": size,
            "dst0": dst0, "dst1": dst1, "src0": src0, "src1": src1,
        }  # fmt: skip
        return self.emit(name, **{key: self.reg(value) for key, value in values.items()})

    def fill(self, dst: int, size: int, pattern: int, n0: int = 1, dst0: int = 0) -> int:
        """Append fill."""
        return self.emit(
            "fill", dst=self.reg(dst), dst0=self.reg(dst0), n0=self.reg(n0),
            bytes=self.reg(size), pattern=pattern,
        )  # fmt: skip

    def send(self, core: int, tag: int, src: int, size: int) -> int:
        """Append send."""
        return self.emit(
            "send", core=self.reg(core), tag=tag, src=self.reg(src), bytes=self.reg(size)
        )

    def mcast(self, mask: int, tag: int, src: int, size: int) -> int:
        """Append mcast."""
        return self.emit(
            "mcast", mask=self.reg(mask), tag=tag, src=self.reg(src), bytes=self.reg(size)
        )

    def recv(self, core: int, tag: int, dst: int, size: int) -> int:
        """Append recv."""
        return self.emit(
            "recv", core=self.reg(core), tag=tag, dst=self.reg(dst), bytes=self.reg(size)
        )

    def recvadd(self, core: int, tag: int, dst: int, count: int) -> int:
        """Append recvadd."""
        return self.emit(
            "recvadd", core=self.reg(core), tag=tag, dst=self.reg(dst), count=self.reg(count)
        )

    def colsum(self, acc: int, x: int, n: int, rows: int = 1, init: int = 1) -> int:
        """Append colsum of f16 rows: the simplest engine instruction."""
        return self.emit(
            "colsum", acc=self.reg(acc), x=self.reg(x), x_stride=self.reg(2 * n),
            rows=self.reg(rows), n=self.reg(n), type=0, init=init,
        )  # fmt: skip

    def post(self, unit: str, sem: int, n: int = 1) -> int:
        """Append post."""
        return self.emit("post", unit=SLOT[unit], sem=sem, n=n)

    def wait(self, unit: str, sem: int, n: int = 1) -> int:
        """Append wait."""
        return self.emit("wait", unit=SLOT[unit], sem=sem, n=n)

    def sync(self, sem: int, first: str, then: str) -> None:
        """What ``first`` did so far happens before what ``then`` does from here on."""
        self.post(first, sem)
        self.wait(then, sem)

    def done(self) -> tuple[Inst, ...]:
        """Return the program with its halt."""
        return (*self.code, HALT)


def program(
    cores: Mapping[int, Sequence[Inst]] | Sequence[Inst],
    machine: Machine | None = None,
    *,
    micro: Iterable[MicroProgram] = (),
    tensors: Iterable[TensorEntry] = (),
    lines: Mapping[int, Sequence[SourceLine]] | None = None,
    dram_bytes: int = 4096,
) -> ObjectFile:
    """Return an object file."""
    machine = machine or small()
    table = cores if isinstance(cores, Mapping) else {0: cores}
    return ObjectFile(
        machine.name,
        machine.hash,
        machine.to_toml(),
        tuple(
            CoreProgram(core, tuple(code), tuple((lines or {}).get(core, ())))
            for core, code in table.items()
        ),
        tuple(micro),
        (),
        tuple(tensors),
        (),
        {"dram_bytes": dram_bytes},
    )


def run(file: ObjectFile, **options: Any) -> tuple[System, SimulationResult]:
    """Run a program once with the reference engine unless told otherwise."""
    merged: dict[str, Any] = {"engine": "reference", **options}
    system = System(file, RunOptions(**merged))
    system.dram[:] = 0
    return system, system.run()


def run_code(code: Sequence[Inst], **options: Any) -> tuple[System, SimulationResult]:
    """Run a program for core 0."""
    return run(program(code), **options)

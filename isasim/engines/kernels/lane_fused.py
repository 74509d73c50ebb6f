# mypy: disable-error-code="import-untyped,no-untyped-call,no-any-return,no-untyped-def"
# pyright: basic
"""A microprogram as one vector loop, compiled by LLVM when the program is used a lot.

The interpreter sends every intermediate value through the cache; here values stay in registers.
One function runs one step of some rows: ``int64 run(rows, groups, addresses, strides)`` with the
address of each memory access in the first row (in the order of ``LaneProgram.uses``; states are
loaded and stored) and its distance from row to row.  It returns the number of spikes stored.  The
operations are those of :mod:`lane_ops`, so the bits are.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from snncc.isa.microprograms.code import is_load, is_state, is_store
from snncc.isa.microprograms.table import MicroInst
from snncc.isa.numbers.tables import table
from snncc.isasim.engines.kernels.emit import F32, I16, I32, I64, V32, VF, VectorBuilder, const, i64
from snncc.isasim.engines.kernels.host_cpu import cpu_features, cpu_name
from snncc.isasim.engines.kernels.kernel_cache import COMPILER_LOCK, STORE
from snncc.isasim.engines.kernels.lane_code import ROUNDING, half_as_float
from snncc.isasim.engines.kernels.lane_ops import MASKS, NUMBERS, SINGLE, lookup, saturated
from snncc.isasim.engines.lanes import LaneProgram

UNSUPPORTED = frozenset(("rand", "iota"))
SHIFTS = {"h": 5, "f": 6, "m": 1}
"""Logarithm of the bytes of a group of 16 elements."""
NAME = "lanes"
"""What the entries of compiled programs are called in the kernel cache."""


class Fused:
    """A compiled program, from its object code; ``address`` is the function's."""

    def __init__(self, code: bytes) -> None:
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        self.address = int(self._engine.get_function_address("run"))


def _target() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu_name(), features=cpu_features(), opt=2)


def _key(program: LaneProgram, saturate: bool) -> str | None:
    """Return what decides a program's object code; None: it cannot be kept.

    Code that looks tables up holds their addresses in this process.
    """
    if any(inst.op.name == "tab.h" for inst in program.code):
        return None
    code = [(i.op.name, i.dst, i.args, i.imm) for i in program.code]
    return repr((code, program.uses, saturate, cpu_name(), cpu_features()))


def kept(program: LaneProgram, saturate: bool) -> Fused | None:
    """Return a program that an earlier process compiled, if there is one."""
    key = _key(program, saturate)
    code = None if key is None else STORE.read(NAME, key)
    return None if code is None else Fused(code)


class _Writer:
    def __init__(self, e: VectorBuilder, saturate: bool) -> None:
        self.e, self.saturate = e, saturate
        self.values: dict[int, Any] = {}

    def listed(self, base: Any, count: int) -> list[Any]:
        """Load a table of 64-bit numbers."""
        return [self.e.load(self.e.at(base, 8 * n), I64, 8) for n in range(count)]

    def constant(self, inst: MicroInst) -> Any:
        bits = half_as_float(inst.imm) if inst.op.name == "const.h" else inst.imm
        return self.e.float_of(ir.Constant(V32, [bits] * 16))

    def per_row(self, inst: MicroInst, place: Any) -> Any:
        e = self.e
        if inst.op.name == "ld.row.f":
            return e.splat(e.load(place, F32, 4))
        if inst.op.name == "ld.row.i":
            return e.splat(e.b.sitofp(e.load(place, I32, 4), F32))
        lane = e.b.insert_element(const(0, True, 16), e.load(place, I16, 2), const(0))
        return e.splat(e.b.extract_element(e.widen(lane), const(0)))

    def load(self, inst: MicroInst, place: Any) -> Any:
        kind = inst.op.name.split(".")[1]
        if kind == "m":
            return self.e.load_mask(place)
        if kind == "h":
            return self.e.load_half(place)
        x = self.e.load(place, VF, 4)
        return self.e.round16(x) if kind == "acc" else x

    def compute(self, inst: MicroInst) -> Any:
        name, e = inst.op.name, self.e
        args = [self.values[arg] for arg in inst.args]
        if name in MASKS:
            return MASKS[name](e, args[0], args[-1])
        if name in ("sel.h", "sel.f"):
            return e.b.select(*args)
        if name == "tab.h":
            return lookup(e, args[0], i64(table(inst.imm).ctypes.data))
        if name == "h2f":
            return args[0]
        return SINGLE[name](e, args[0]) if name in SINGLE else NUMBERS[name](e, args[0], args[1])

    def finished(self, inst: MicroInst, x: Any) -> Any:
        return saturated(self.e, x) if self.saturate and inst.op.name in ROUNDING else x

    def store(self, kind: str, x: Any, place: Any) -> Any:
        """Store a group; return how many spikes that is."""
        e = self.e
        if kind == "m":
            bits = e.b.bitcast(x, I16)
            e.store(bits, place, 2)
            return e.b.zext(e.b.ctpop(bits), I64)
        if kind == "h":
            e.store(e.narrow(x), place, 2)
        else:
            e.store(e.canonical(x), place, 4)
        return i64(0)


def fuse(program: LaneProgram, saturate: bool) -> Fused | None:
    """Compile a program, or return None when it has operations that only the interpreter knows."""
    with COMPILER_LOCK:  # cores may run on several threads
        return _fuse(program, saturate)


def _fuse(program: LaneProgram, saturate: bool) -> Fused | None:
    if any(inst.op.name in UNSUPPORTED for inst in program.code):
        return None
    module = ir.Module(name="lanes")
    kind = ir.FunctionType(I64, (I64, I64, I64, I64))
    function = ir.Function(module, kind, "run")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    rows, groups, addresses, strides = function.args
    writer = _Writer(VectorBuilder(builder), saturate)
    accesses = [i for i in program.code if is_load(i.op) or is_store(i.op) or is_state(i.op)]
    distances = writer.listed(strides, len(accesses))
    pointers: list[Any] = []
    for inst in program.code:
        if inst.op.name.startswith("const."):
            writer.values[inst.dst] = writer.constant(inst)

    def place(inst: MicroInst, i: Any) -> Any:
        use = next(n for n, other in enumerate(accesses) if other is inst)
        shift = SHIFTS[program.uses[use].element]
        return builder.add(pointers[use], builder.shl(i, i64(shift)))

    def body(i: Any, carried: list[Any]) -> list[Any]:
        for inst in program.code:
            name = inst.op.name
            if inst.dst in writer.values and (".row." in name or name.startswith("const.")):
                continue
            if is_load(inst.op) or is_state(inst.op):
                writer.values[inst.dst] = writer.finished(inst, writer.load(inst, place(inst, i)))
            elif inst.op.result != "-":
                writer.values[inst.dst] = writer.finished(inst, writer.compute(inst))
        total = carried[0]
        for inst in program.code:
            if is_store(inst.op):
                x = writer.values[inst.args[0]]
                total = builder.add(total, writer.store(inst.op.name[3:], x, place(inst, i)))
        for inst in program.states:
            x = writer.values[program.nexts[inst.dst]]
            writer.store(inst.op.name[6:], x, place(inst, i))
        return [total]

    def row(_: Any, carried: list[Any]) -> list[Any]:
        pointers[:] = carried[1:]
        for inst, pointer in zip(accesses, pointers, strict=True):
            if ".row." in inst.op.name:
                writer.values[inst.dst] = writer.per_row(inst, pointer)
        total = writer.e.loop(groups, carried[:1], body)
        return total + [builder.add(p, d) for p, d in zip(carried[1:], distances, strict=True)]

    first = [i64(0), *writer.listed(addresses, len(accesses))]
    builder.ret(writer.e.loop(rows, first, row)[0])
    code = _target().emit_object(llvm.parse_assembly(str(module)))
    key = _key(program, saturate)
    if key is not None:
        STORE.write(NAME, key, code)
    return Fused(code)

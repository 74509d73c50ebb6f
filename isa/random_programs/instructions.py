"""Random instructions and microprograms, derived from the tables; for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence

from snncc.isa.instructions.encoding import BY_MNEMONIC
from snncc.isa.instructions.table import TABLE
from snncc.isa.microprograms.code import MicroBuilder
from snncc.isa.microprograms.table import MICRO_OPS, MicroOp, MicroProgram
from snncc.isa.numbers.tables import UNARY_NAMES
from snncc.isa.spec import EnumKind, IndexedKind, Inst, Kind, SignedKind

F16_CORNERS = (
    0x0000,
    0x8000,
    0x3C00,
    0xBC00,
    0x0001,
    0x8001,
    0x03FF,
    0x7BFF,
    0x7C00,
    0xFC00,
    0x7E00,
)
"""Zeros, ones, subnormals, the largest number, infinities, the canonical NaN."""


def bounds(kind: Kind) -> tuple[int, int]:
    """Return the least and the greatest value of a kind."""
    if isinstance(kind, SignedKind):
        return -(1 << (kind.width - 1)), (1 << (kind.width - 1)) - 1
    if isinstance(kind, IndexedKind):
        return 0, kind.count - 1
    if isinstance(kind, EnumKind):
        return 0, len(kind.words) - 1
    return 0, (1 << kind.width) - 1


def random_value(kind: Kind, rng: random.Random) -> int:
    """Return a value of a kind; its corners are as likely as all others together."""
    low, high = bounds(kind)
    if rng.random() < 0.5:
        return rng.choice((low, high, min(low + 1, high), max(high - 1, low), max(low, 0)))
    return rng.randint(low, high)


def random_inst(rng: random.Random, mnemonic: str = "") -> Inst:
    """Return an instruction that encodes (it need not run), of a row or of any row."""
    row = BY_MNEMONIC[mnemonic] if mnemonic else rng.choice(TABLE)
    return Inst(row, tuple(random_value(f.kind, rng) for f in row.operands))


def random_f16(rng: random.Random) -> int:
    """Return a binary16 pattern: mostly small numbers, sometimes a corner; NaN is canonical."""
    if rng.random() < 0.05:
        return rng.choice(F16_CORNERS)
    return rng.getrandbits(1) << 15 | rng.randint(8, 17) << 10 | rng.getrandbits(10)


def _operation(
    builder: MicroBuilder, pool: dict[str, list[int]], op: MicroOp, rng: random.Random
) -> bool:
    """Append ``op`` with arguments from the pool; False when it has none of a needed kind."""
    args: list[int] = []
    for wanted in op.args:
        choice = pool["h"] + pool["f"] if wanted == "n" else pool[wanted]
        if not choice:
            return False
        args.append(rng.choice(choice))
    imm = 0
    if op.imm == "f16":
        imm = random_f16(rng)
    elif op.imm == "f32":
        imm = random_f16(rng) << 13 & 0xFFFFFFFF if rng.random() < 0.1 else _random_f32(rng)
    elif op.imm == "table":
        imm = rng.randrange(len(UNARY_NAMES))
    pool[op.result].append(builder.emit(op.name, args, imm))
    return True


def _random_f32(rng: random.Random) -> int:
    return rng.getrandbits(1) << 31 | rng.randint(112, 135) << 23 | rng.getrandbits(23)


def random_micro(
    rng: random.Random,
    name: str,
    inputs: Sequence[str],
    states: Sequence[str],
    outputs: Sequence[str],
    operations: int,
) -> MicroProgram:
    """Return a valid microprogram.

    ``inputs`` are the names of stream operations (loads, ``rand``, ``iota``) for streams 0, 1, ...;
    then ``states`` (``state.h`` ...) and ``outputs`` (``st.h`` ...) take the following streams.
    """
    builder = MicroBuilder(name)
    pool: dict[str, list[int]] = {"h": [], "f": [], "m": [], "i": []}
    kinds = {op.name: op for op in MICRO_OPS}
    for stream, each in enumerate(inputs):
        pool[kinds[each].result].append(builder.emit(each, (), stream))
    carried: list[tuple[int, str]] = []
    for stream, each in enumerate(states, start=len(inputs)):
        register = builder.emit(each, (), stream)
        pool[kinds[each].result].append(register)
        carried.append((register, kinds[each].result))
    pool["h"].append(builder.emit("const.h", (), random_f16(rng)))
    pool["m"].append(builder.emit(rng.choice(("gt", "ge", "le")), (pool["h"][0], pool["h"][-1])))
    free = [op for op in MICRO_OPS if op.imm != "stream" and op.name != "next"]
    done = 0
    while done < operations:
        done += _operation(builder, pool, rng.choice(free), rng)
    for register, kind in carried:
        values = pool["h"] + pool["f"] if kind == "f" else pool[kind]
        builder.emit("next", (register, rng.choice(values[-4:])))
    for stream, each in enumerate(outputs, start=len(inputs) + len(states)):
        wanted = kinds[each].args
        values = pool["h"] + pool["f"] if wanted == "n" else pool[wanted]
        builder.emit(each, (rng.choice(values[-4:]),), stream)
    return builder.build()

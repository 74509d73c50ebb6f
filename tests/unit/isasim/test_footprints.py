"""What instructions touch, against what their rows say."""

import itertools
import random

from snncc.isa.instructions.table import TABLE
from snncc.isa.roles import Family
from snncc.isa.spec import Unit
from snncc.isa.window import Window
from snncc.isasim.engines import Resolved, footprint

WINDOW = Window(5, 6, 3, 4, 16, 2, 2, 1, 1, 0, 0, 1, 1, 1, 1)
OF_UNITS = [row for row in TABLE if row.unit is not Unit.SEQ]


def test_footprints_cover_what_the_rows_say() -> None:
    """Every memory operand of every row is in some footprint, read or written as its role says."""
    draw = random.Random(7)
    for row in OF_UNITS:
        seen: dict[str, set[str]] = {m.address: set() for m in row.memory}
        for _, flags in itertools.product(range(40), (0, 1)):
            values = [4096 + 64 * i for i in range(len(row.operands))]
            for i, operand in enumerate(row.operands):
                name = operand.name
                if name in row.sizes:
                    values[i] = draw.randint(1, 8) * 2
                elif name in ("init", "type", "op"):
                    words = 2 if row.mnemonic == "poolgrad" else 3
                    values[i] = draw.choice((0, 2)) if words == 2 else draw.randrange(words)
                    if f"{name}=bias" in row.illegal:
                        values[i] = draw.randrange(2)
                elif operand.kind.name == "flag":
                    values[i] = flags
            if row.family is Family.LANES:
                continue
            streams = (tuple(WINDOW),) if row.windowed else ()
            reads, writes = footprint(Resolved(row.mnemonic, tuple(values), streams))
            for region in reads:
                seen[region.operand].add("in")
            for region in writes:
                seen[region.operand].add("out")
        for one in row.memory:
            expected = {"in": {"in"}, "out": {"out"}, "inout": {"in", "out"}}[one.role]
            assert seen[one.address] == expected, (row.mnemonic, one.address)

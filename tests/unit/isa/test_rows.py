"""Rows of the instruction table: what they say of operands; incomplete ones are refused."""

import dataclasses
from typing import Any

import pytest

from snncc.isa.cost.cost import COSTS, CostActivity, cost
from snncc.isa.instructions.encoding import BY_MNEMONIC, TableMistake, check_table
from snncc.isa.instructions.operands import OPERANDS, amounts, of_family, ordered
from snncc.isa.instructions.table import TABLE
from snncc.isa.machine.machine import load_machine
from snncc.isa.roles import ACCUMULATING, Family, MemoryRole
from snncc.isa.semantics.meaning import meaning_of
from snncc.isa.spec import Insn, Unit
from snncc.isa.window import Window

WINDOW = Window(5, 6, 3, 4, 16, 2, 2, 1, 1, 0, 0, 1, 1, 1, 1)
OF_UNITS = [row for row in TABLE if row.unit is not Unit.SEQ]


def test_operands_have_the_names_of_the_row() -> None:
    for row in TABLE:
        o = OPERANDS[row.mnemonic](range(len(row.operands)))
        assert [getattr(o, name) for name in row.names] == list(range(len(row.operands)))


def test_operands_that_a_row_has_not_are_fixed() -> None:
    spikes, dense = OPERANDS["gacc"](range(11)), OPERANDS["mac"](range(13))
    assert (spikes.skip, spikes.trans, spikes.masked) == (1, 0, 0)
    assert (dense.skip, dense.trans, dense.masked) == (11, 12, 0)
    with pytest.raises(AttributeError):
        assert spikes.pattern


def test_families() -> None:
    assert of_family(*ACCUMULATING) == {
        *("gacc", "mac", "bmac", "gouter", "outer"),
        *("gaccw", "macw", "bmacw", "gouterw", "outerw"),
    }
    assert of_family(Family.LANES) == {"neuron", "ngrad", "ew"}
    assert {r.mnemonic for r in TABLE if r.gated} == {"gacc", "gaccw", "gouter", "gouterw"}
    assert {r.mnemonic for r in TABLE if r.windowed} == {
        *("gaccw", "macw", "bmacw", "gouterw", "outerw", "pool", "poolgrad"),
    }


def test_amounts_are_sizes_and_choices_and_distances_in_dram() -> None:
    assert amounts(BY_MNEMONIC["bmac"]) == ("rows", "k", "n", "init", "skip", "trans", "masked")
    assert amounts(BY_MNEMONIC["poolgrad"]) == ("images", "type")
    assert amounts(BY_MNEMONIC["ld"]) == ("n0", "n1", "bytes", "src0", "src1")
    assert amounts(BY_MNEMONIC["st"]) == ("n0", "n1", "bytes", "dst0", "dst1")
    assert amounts(BY_MNEMONIC["fill"]) == ("n0", "bytes")


@pytest.mark.parametrize("row", [r for r in OF_UNITS if r.family is not Family.LANES], ids=str)
def test_a_price_needs_the_amounts_and_changes_with_each_dimension(row: Insn) -> None:
    """The formula is given nothing else: what is missing in the amounts would be a KeyError."""
    machine = load_machine("small")
    operands = dict.fromkeys(amounts(row), 1)
    operands |= {name: 4 for name in amounts(row) if name in row.sizes}
    operands |= dict(zip(Window._fields, WINDOW, strict=True)) if row.windowed else {}
    activity = CostActivity(hops=3)
    base = cost(row.mnemonic, operands, machine, activity)
    for name in row.sizes:
        if name in operands:
            larger = {**operands, name: 4000}
            assert cost(row.mnemonic, larger, machine, activity) != base, name
    assert set(COSTS) == {r.mnemonic for r in TABLE}


def test_every_engine_instruction_has_a_function_that_computes_it() -> None:
    engines = [r for r in TABLE if r.unit in (Unit.FP, Unit.BP, Unit.WG, Unit.VPU)]
    assert engines == [r for r in TABLE if r.meaning]
    for row in engines:
        assert meaning_of(row).__doc__, row.mnemonic
    with pytest.raises(AttributeError):
        meaning_of(changed("mac", meaning="accumulate.unknown"))


def test_code_that_relies_on_an_order_is_refused_when_the_row_has_another() -> None:
    ordered("ld st copy", "dst src n0 n1 bytes dst0 dst1 src0 src1")
    with pytest.raises(TableMistake, match="fill: code relies on the operands dst n0"):
        ordered("fill", "dst n0")


def changed(mnemonic: str, **changes: Any) -> Insn:
    """Return a row with other contents."""
    row = BY_MNEMONIC[mnemonic]
    fields = {f.name: getattr(row, f.name) for f in dataclasses.fields(row) if f.init}
    return Insn(**{**fields, **changes})


def memory(mnemonic: str, place: str, /, **changes: Any) -> dict[str, Any]:
    """Return the memory of a row with one operand changed."""
    return {
        "memory": tuple(
            dataclasses.replace(m, **changes) if m.address == place else m
            for m in BY_MNEMONIC[mnemonic].memory
        )
    }


@pytest.mark.parametrize(
    ("mnemonic", "changes", "message"),
    [
        ("mac", {"memory": ()}, "mac: it says nothing of the memory that it touches"),
        ("mac", {"family": Family.CONTROL}, "unit fp executes it, so it needs a family"),
        ("nop", {"family": Family.COPY}, "the sequencer executes it"),
        ("mac", memory("mac", "w", role=""), "memory at 'w': it has no role: in, out or inout"),
        ("mac", memory("mac", "w", address="v"), "memory at 'v': there is no such register"),
        ("mac", memory("mac", "w", address="skip"), "memory at 'skip': there is no such register"),
        ("mac", memory("mac", "w", space="tape"), "memory at 'w': there is no memory 'tape'"),
        ("mac", memory("mac", "w", element=""), "memory at 'w': '' is no element format"),
        ("mac", memory("mac", "w", element="k"), "'k' is no element format"),
        ("mac", memory("mac", "w", row=""), "memory at 'w': it does not say how many elements"),
        ("mac", memory("mac", "w", row="2*m"), r"the extent '2\*m' has 'm', which is no operand"),
        ("mac", memory("mac", "w", row="depth"), "the extent 'depth' has 'depth'"),
        ("mac", memory("mac", "w", rows=(("k", "w_step"),)), "no register operand 'w_step'"),
        ("mac", memory("mac", "w", turned="turn"), "it is turned by 'turn', which is no operand"),
        ("mac", memory("mac", "bias", when=("init=ones",)), "init is never ones"),
        ("mac", memory("mac", "bias", when=("begin",)), "names 'begin', which is no operand"),
        ("mac", memory("mac", "w", read_when=("skip",)), "only an inout is read under a condition"),
        ("outer", {"illegal": ("start=bias",)}, "names 'start', which is no operand"),
        ("outer", {"fixed": (("skip", 1),)}, "'skip' is an operand and has a fixed value"),
        ("gouter", {"fixed": ()}, "family outer has 'skip': it needs that operand or a fixed"),
        ("mac", {"meaning": ""}, "an engine executes it, but no function says what it computes"),
        ("ew", {"sizes": ("steps", "rows")}, "nothing says what operand 'cols' is for"),
        ("send", {"route": ()}, "nothing says what operand 'core' is for"),
        ("send", {"route": ("to",)}, "sizes or route name 'to', which is no operand"),
    ],
)
def test_an_incomplete_row_is_refused(mnemonic: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TableMistake, match=message):
        check_table([changed(mnemonic, **changes)])


def test_four_dimensions_are_refused() -> None:
    three = (("n0", "dst0"), ("n1", "dst1"), ("n1", "src0"))
    with pytest.raises(TableMistake, match="at most two dimensions"):
        check_table([changed("copy", **memory("copy", "dst", rows=three))])


def test_shapes_are_told_in_words() -> None:
    told = {m.address: m.shape() for m in BY_MNEMONIC["bmac"].memory}
    assert told == {
        "a": "rows rows of 2*k bytes",
        "w": "k rows of 2*n bytes (n rows of 2*k bytes when trans)",
        "mask": "rows rows of 2*ceil(n/16) bytes when masked and k",
        "bias": "2*n bytes when init is bias",
        "acc": "rows rows of 4*n bytes",
    }
    assert MemoryRole("x", "in", "byte", "bytes").shape() == "bytes"

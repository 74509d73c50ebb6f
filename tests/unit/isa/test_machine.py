"""Machine descriptions: shipped ones, the schema, errors, changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snncc.isa.machine.machine import (
    Machine,
    MachineError,
    flat,
    list_machines,
    load_machine,
    parse_machine,
    schema_rows,
)

SMALL = load_machine("small")
TEXT = SMALL.to_toml().partition("\n[estimates]")[0]


def problems(text: str) -> list[str]:
    with pytest.raises(MachineError) as caught:
        parse_machine(text, "m.toml")
    assert all(line.startswith("m.toml: ") for line in str(caught.value).splitlines())
    return caught.value.problems


def test_the_shipped_machines() -> None:
    assert list_machines() == ["multicore20", "small"]
    chip = load_machine("multicore20")
    assert (chip.cores, chip.mesh.rows, chip.mesh.cols) == (20, 4, 5)
    assert chip.clock_hz == 500_000_000
    assert chip.scratchpad.bytes == 512 * 1024
    assert (chip.fp.rows, chip.fp.cols) == (16, 16)
    assert chip.dram.bytes == 1 << 30
    assert chip.dram.pj_per_bit == 20.3125
    assert {"clock_hz", "scratchpad.bytes", "mesh.rows"} <= chip.estimates
    assert not {"energy.mac_add", "dram.pj_per_bit", "fp.rows"} & chip.estimates
    assert (SMALL.cores, SMALL.scratchpad.bytes) == (4, 32 * 1024)


@pytest.mark.parametrize("name", ["multicore20", "small"])
def test_text_round_trip(name: str) -> None:
    machine = load_machine(name)
    assert machine.name == name
    again = parse_machine(machine.to_toml())
    assert again == machine
    assert again.hash == machine.hash


def test_every_value_of_a_file_is_a_row_of_the_schema() -> None:
    assert [key for key, _ in schema_rows()] == list(flat(SMALL))


def test_the_hash_depends_on_numbers_only() -> None:
    assert SMALL.with_(name="other", description="x").hash == SMALL.hash
    hashes = {SMALL.hash}
    for key, value in flat(SMALL).items():
        if isinstance(value, int) and not isinstance(value, bool) and key != "cores":
            step = 16 if key == "sequencer.instruction_bytes" else 4
            lower = key in ("mesh.rows", "mesh.cols", "sequencer.loop_depth")
            lower = lower or key == "sequencer.semaphore_max"
            step = -1 if lower and value > 2 else 1 if lower else step
            hashes.add(SMALL.with_(**{key: value + step}).hash)
        elif isinstance(value, float):
            hashes.add(SMALL.with_(**{key: value + 1}).hash)
    scalars = [v for v in flat(SMALL).values() if not isinstance(v, bool | str)]
    assert len(hashes) == len(scalars)


def test_with_changes_values_by_flat_or_dotted_names() -> None:
    machine = SMALL.with_(cores=6, scratchpad_bytes=65536, **{"fp.stage.lanes": 8})
    assert (machine.cores, machine.mesh.rows, machine.mesh.cols) == (6, 2, 3)
    assert machine.scratchpad.bytes == 65536
    assert machine.fp.stage.lanes == 8
    assert SMALL.with_(cores=2, mesh_rows=1, mesh_cols=9).mesh.cols == 9
    assert SMALL.with_(noc_hop_cycles=7).mesh == SMALL.mesh
    assert SMALL.with_(accumulator="fp16").acc_bytes == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cores": 0}, "cores: expected a whole number (cores) from 1 to 64, got 0"),
        ({"cores": 65}, "from 1 to 64, got 65"),
        ({"cores": True}, "got true"),
        ({"clock_hz": 5e8}, "clock_hz: expected a whole number (Hz)"),
        ({"cores": 4, "mesh_rows": 1}, "mesh: 1 x 2 places for cores = 4"),
        ({"scratchpad_byte": 1}, "unknown key; did you mean 'scratchpad_bytes'?"),
        ({"scratchpad_bytes": 1026}, "scratchpad.bytes: 1026 is no multiple of 4"),
        ({"sequencer_instruction_bytes": 100}, "100 is no multiple of 16"),
        ({"fp_skip": "rows"}, 'fp.skip: expected one of none, block, compact, got "rows"'),
        ({"accumulator": "fp64"}, "accumulator: expected one of fp32, fp16"),
        ({"noc_pj_per_bit_hop": -0.1}, "noc.pj_per_bit_hop: expected a number (pJ/bit/hop)"),
        ({"noc_pj_per_bit_hop": float("nan")}, "got NaN"),
        ({"noc_pj_per_bit_hop": float("inf")}, "got Infinity"),
        ({"saturate": 1}, "saturate: expected true or false, got 1"),
        ({"name": "two words"}, "name: expected a name of at most 64"),
        ({"extensions": ["lut"]}, "extensions: 'lut' is no extension"),
    ],
)
def test_impossible_values(changes: dict[str, object], message: str) -> None:
    with pytest.raises(MachineError) as caught:
        SMALL.with_(**changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("small: ")


def test_errors_of_files_name_file_key_value_and_what_is_allowed() -> None:
    assert problems("cores = ")[0].startswith("not valid TOML")
    assert problems("[" * 100_000)[0].startswith("not valid TOML")
    assert problems("a = " + "[" * 100_000)[0].startswith("not valid TOML")
    assert problems(f"cores = {'9' * 5000}")[0].startswith("not valid TOML")
    assert problems(TEXT.replace("queue_depth = 4", "queue_deth = 4")) == [
        "sequencer.queue_deth: unknown key in table [sequencer]; did you mean 'queue_depth'?",
        "sequencer.queue_depth: missing; expected a whole number (instructions per unit) "
        "from 1 to 4,096",
    ]
    assert problems(TEXT + "\n[zzz]\n")[0].startswith("zzz: unknown key in the top level; allowed")
    assert problems(TEXT.replace("queue_depth = 4", 'queue_depth = "4"')) == [
        "sequencer.queue_depth: expected a whole number (instructions per unit) from 1 to 4,096, "
        'got "4"'
    ]
    assert problems("dram = 3\n" + TEXT.replace("[dram]", "[dram2]"))[-1] == (
        "dram: expected a table [dram], got 3"
    )
    assert problems(TEXT + '\n[estimates]\nkeys = ["clok_hz"]\n') == [
        "estimates.keys: 'clok_hz' is no key; did you mean 'clock_hz'?"
    ]
    assert problems(TEXT + "\n[estimates]\nkey = 1\n") == [
        'estimates: expected a table with keys = ["...", ...]'
    ]


def test_all_problems_are_reported_at_once() -> None:
    assert len(problems("")) == 16
    text = TEXT.replace("cores = 4", "cores = 0").replace("burst_bytes = 8", "burst_bytes = -8")
    assert len(problems(text)) == 2


def test_whole_numbers_will_do_for_energies() -> None:
    text = TEXT.replace("pj_per_bit_hop = 0.1", "pj_per_bit_hop = 1")
    value = parse_machine(text).noc.pj_per_bit_hop
    assert value == 1.0
    assert isinstance(value, float)


def test_loading_by_name_and_by_path(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(SMALL.with_(name="my", cores=2).to_toml(), encoding="utf-8")
    assert load_machine(str(path)).cores == 2
    assert load_machine(path).name == "my"
    with pytest.raises(MachineError, match="no such machine; there are multicore20, small"):
        load_machine("multicore21")
    for bad in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(MachineError, match="cannot be read"):
            load_machine(bad)
    path.write_bytes(b"\xff")
    with pytest.raises(MachineError, match="is not UTF-8"):
        load_machine(path)
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(MachineError, match="is longer than"):
        load_machine(path)


def test_distances() -> None:
    chip = load_machine("multicore20")  # 4 rows of 5
    assert chip.place(7) == (1, 2)
    assert chip.hops(0, 19) == 7
    assert chip.hops(7, 7) == 0
    assert chip.multicast_links(0, frozenset({1, 2})) == 2  # one way: 0 - 1 - 2
    assert chip.multicast_links(0, frozenset({2, 7})) == 3  # then down from 2 to 7
    assert chip.multicast_links(0, frozenset({5, 10, 1})) == 3
    assert SMALL.average_hops == pytest.approx((1 + 1 + 2) / 3)
    assert SMALL.with_(cores=1).average_hops == 0.0


@given(st.integers(0, 19), st.frozensets(st.integers(0, 19)))
def test_a_multicast_tree_lies_between_its_longest_way_and_all_ways(
    source: int, targets: frozenset[int]
) -> None:
    chip = load_machine("multicore20")
    ways = [chip.hops(source, target) for target in targets]
    assert max(ways, default=0) <= chip.multicast_links(source, targets) <= sum(ways)


def test_time() -> None:
    assert SMALL.seconds(500) == 1e-6


@given(st.text(max_size=50))
def test_any_text_is_a_machine_error(text: str) -> None:
    with pytest.raises(MachineError):
        parse_machine(text)


def test_machines_are_values() -> None:
    assert isinstance(hash(SMALL), int)
    assert load_machine("small") == SMALL
    assert isinstance(SMALL, Machine)

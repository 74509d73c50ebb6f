"""Parts and totals of a convolutional training step on 20 cores, added up here from the JSON.

Counts are equal; energies are sums of doubles in another order, so they agree to 1e-9.
"""

import json
from typing import Any

import pytest

from e2e.common import snncc

NETWORK = """
network convolutional
input(3x16x16, steps=4, static=true)
init(seed=1, gain=1.4)
let fire = lif(tau=2, threshold=0.5, reset=hard, surrogate=sigmoid(alpha=4))
conv(16, padding=same, bias=false)  bn  fire
maxpool
conv(32, padding=same, bias=false)  bn  fire
flatten
dense(32)  fire
fc2 = dense(10)  fire
output(fc2)
train { loss = mse  optimizer = momentum(lr=0.05, momentum=0.9)  readout = mean  batch = 4 }
"""


@pytest.fixture(scope="module")
def stats(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("s")
    (folder / "net.snn").write_text(NETWORK)
    words = ("run", folder / "net.snn", "--timing-only", "--density", "0.2", "--cores", "20")
    done = snncc(*words, "--stats", folder / "s.json")
    assert done.exit_code == 0, done.output
    return json.loads((folder / "s.json").read_text())


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("name", ["layers", "mnemonics"])
def test_layers_and_mnemonics_add_up(stats: Any, name: str) -> None:
    parts = stats[name]

    for memory in ("dram_bytes", "sram_bytes"):
        for way, amount in stats[memory].items():
            assert sum(p[memory][way] for p in parts) == amount
    for key in ("noc_bytes", "instructions", "waited"):
        assert sum(p[key] for p in parts) == stats[key]
    for key in ("dense", "performed"):
        assert sum(p["macs"][key] for p in parts) == stats["macs"][key]
    busy = sum(unit["busy"] for name, unit in stats["units"].items() if name != "seq")
    assert sum(p["cycles"] for p in parts) == busy
    assert all(sum(p["units"].values()) == p["cycles"] for p in parts)
    assert sum(p["energy_pj"] for p in parts) == near(stats["energy_pj"]["total"])
    for part in parts:
        assert sum(part["energy_by"].values()) == near(part["energy_pj"])


def test_energy_is_the_sum_of_its_kinds(stats: Any) -> None:
    energy, layers = stats["energy_pj"], stats["layers"]
    by = {k: sum(p["energy_by"][k] for p in layers) for k in layers[0]["energy_by"]}
    assert by.pop("compute") == near(sum(energy["unit"].values()))
    assert by.pop("static") == near(sum(energy["static"].values()))
    assert by.pop("dram") == near(energy["dram"])
    assert by.pop("noc") == near(energy["noc"])
    assert by == {kind: near(value) for kind, value in energy["memory"].items()}
    whole = [*energy["unit"].values(), *energy["memory"].values(), *energy["static"].values()]
    assert sum(whole) + energy["dram"] + energy["noc"] == near(energy["total"])
    traffic = sum(stats["dram_bytes"].values())
    assert energy["dram"] == near(8 * 20.3125 * traffic)  # 650 pJ per 32 bits, multicore20.toml


def test_every_cycle_of_every_unit_and_of_the_run_has_its_place(stats: Any) -> None:
    cycles, cores = stats["cycles"], 20
    stalls = 0
    for name, unit in stats["units"].items():
        assert len(unit["cores"]) == cores
        for core in unit["cores"]:
            assert core["busy"] + sum(core["stall"].values()) == cycles
            row = stats["timeline"]["units"].get(str(core["core"]), {}).get(name)
            assert row is None or sum(row) == core["busy"]
        stalls += sum(n for cause, n in unit["stall"].items() if cause not in ("fetch", "done"))
    assert stalls == stats["waited"]
    assert sum(stats["timeline"]["dram"]) == stats["dram"]["busy"]
    assert sum(row["cycles"] for row in stats["critical"]) == cycles

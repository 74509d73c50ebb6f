"""Damaged, half-written and hostile NIR files: one clear error each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nir_files import INPUT, OUTPUT, chain, load, port, write
from snncc.compiler.diag import CompileError

X = np.ones((3, 1, 4))
LINEAR = {"type": "Linear", "weight": np.ones((2, 4))}


def refused(path: Path) -> str:
    with pytest.raises(CompileError) as raised:
        load(path, X, 1.0)
    assert len(raised.value.diagnostics) == 1
    return str(raised.value)


def edit(path: Path) -> Any:
    return pytest.importorskip("h5py").File(path, "a")


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return write(tmp_path / "net.nir", *chain([4], LINEAR))


def test_no_file_and_other_files(tmp_path: Path) -> None:
    assert "E0005" in refused(tmp_path / "none.nir")
    for data in (b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"x" * 5000):
        path = tmp_path / "a.nir"
        path.write_bytes(data)
        assert "E0112" in refused(path)


def test_every_cut_is_an_error_or_still_the_model(net: Path, tmp_path: Path) -> None:
    data = net.read_bytes()
    for size in range(0, len(data), max(1, len(data) // 12)):
        path = tmp_path / "cut.nir"
        path.write_bytes(data[:size])
        assert refused(path)


def test_flipped_bytes_never_leave_a_traceback(net: Path, tmp_path: Path) -> None:
    data = net.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(16):
        bad = bytearray(data)
        for at in rng.integers(8, len(data), 6):
            bad[at] = int(rng.integers(256))
        path = tmp_path / "flip.nir"
        path.write_bytes(bytes(bad))
        try:
            load(path, X, 1.0)
        except CompileError:
            pass


@pytest.mark.parametrize("gone", ["node/nodes/0/type", "node/edges", "node/nodes", "node"])
def test_half_written(net: Path, gone: str) -> None:
    with edit(net) as file:
        del file[gone]
    assert "E0112" in refused(net)


def test_links_that_leave_the_file(net: Path) -> None:
    h5 = pytest.importorskip("h5py")
    with edit(net) as file:
        del file["node/nodes/0/weight"]
        file["node/nodes/0/weight"] = h5.ExternalLink("/etc/passwd", "x")
    assert "link" in refused(net)


def test_absurd_shapes_cost_nothing(net: Path) -> None:
    with edit(net) as file:
        del file["node/nodes/0/weight"]
        file["node/nodes/0"].create_dataset("weight", (1 << 20, 1 << 20), "f4", chunks=(64, 64))
    assert "absurd" in refused(net)


def test_a_graph_within_itself(net: Path) -> None:
    with edit(net) as file:
        file["node/nodes/again"] = file["node"]
    assert "E0109" in refused(net)


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    node = {"type": "Linear", "weight": np.full((2, 4), np.nan)}
    assert "finite" in refused(write(tmp_path / "a.nir", *chain([4], node)))


def test_graphs_that_make_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "a.nir"
    ends = {INPUT: port("Input", 4), OUTPUT: port("Output", 4)}
    assert "no path" in refused(write(path, {**ends, "0": LINEAR}, [("0", OUTPUT), ("0", "0")]))
    assert "does not exist" in refused(write(path, ends, [(INPUT, "lost"), ("lost", OUTPUT)]))
    assert "no Output" in refused(write(path, {INPUT: ends[INPUT]}, []))
    assert "Input" in refused(write(path, {OUTPUT: ends[OUTPUT]}, []))
    two = {**ends, "second": port("Input", 4)}
    assert "2 Input" in refused(write(path, two, [(INPUT, OUTPUT), ("second", OUTPUT)]))
    bad = {**ends, "0": LINEAR}
    edges = [(INPUT, "0"), ("0", OUTPUT), (INPUT, OUTPUT)]
    assert "different shapes" in refused(write(path, bad, edges))


def test_a_missing_package_has_its_command(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "pip install" in refused(net)


def test_many_large_texts(net: Path) -> None:
    """Texts of any length are read at the cost of the file's size at most."""
    with edit(net) as file:
        file["node/nodes/0/text"] = "x" * (1 << 20)
    assert "a text is expected" in refused(net)


def test_arrays_that_compression_made_small(net: Path) -> None:
    with edit(net) as file:
        del file["node/nodes/0/weight"]
        file["node/nodes/0"].create_dataset(
            "weight", (1 << 13, 1 << 13), "f4", chunks=(1 << 10, 1 << 10), compression="gzip"
        )
    assert "absurd" in refused(net)


@pytest.mark.parametrize("shape", [(3,), (3, 3), (2, 4, 5)])
def test_an_input_without_a_batch_axis_is_told(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = write(
        tmp_path / "net.nir", *chain(shape, {"type": "Flatten", "start_dim": 1, "end_dim": -1})
    )
    with pytest.raises(CompileError) as caught:
        load(path, np.zeros((7, *shape)))
    (found,) = caught.value.diagnostics
    assert found.code == "E0022"
    sizes = ", ".join(map(str, shape))
    assert f"x of shape [7, {sizes}] has no batch axis" in found.message
    assert found.help == f"give one sample as [7, 1, {sizes}]: x[:, None]"

"""npz files are read without trust; files are written whole or not at all."""

import io
import os
import pickle
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.driver.files import npz_bytes, read_npz, write_bytes


def test_round_trip_and_equal_bytes(tmp_path: Path) -> None:
    arrays = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "grad/a.b": np.array(3, np.float32),
    }
    data = npz_bytes(arrays)
    assert data == npz_bytes(arrays)
    path = tmp_path / "a.npz"
    write_bytes(str(path), data)
    found = read_npz(str(path))
    assert set(found) == {"x", "grad/a.b"}
    np.testing.assert_array_equal(found["x"], arrays["x"])
    with np.load(path) as loaded:
        np.testing.assert_array_equal(loaded["grad/a.b"], 3)


def test_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(path, x=np.ones(2), other=objects)
    assert list(read_npz(str(path), ("x", "y"))) == ["x"]
    with pytest.raises(CompileError, match="E0020"):
        read_npz(str(path), ("other",))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("pickled-bomb-went-off",))


def test_pickles_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as box:
        box.writestr("x.npy", pickle.dumps(Bomb()))
    with pytest.raises(CompileError, match="E0020"):
        read_npz(str(path))
    assert not (tmp_path / "pickled-bomb-went-off").exists()


@pytest.mark.parametrize("keep", [0, 1, 50, 200])
def test_cut_off(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(npz_bytes({"x": np.ones(100)})[:keep])
    with pytest.raises(CompileError, match="E0020"):
        read_npz(str(path))


def test_absurd_shape(tmp_path: Path) -> None:
    head = io.BytesIO()
    fake = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 10)}
    np.lib.format.write_array_header_1_0(head, fake)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as box:
        box.writestr("x.npy", head.getvalue() + b"\0" * 64)
    with pytest.raises(CompileError, match="does not fit into the file"):
        read_npz(str(path))


@pytest.mark.parametrize(
    "shape", ["(", "(" * 300, "(True,)", "(-1,)", "('a',)", "(1e3,)", "None", "\0"]
)
@pytest.mark.parametrize("kind", ["'<f4'", "'O'", "[('a','<f4')]", "None", "'V8'", "("])
def test_headers_that_are_none(tmp_path: Path, shape: str, kind: str) -> None:
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}"
    head = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as box:
        size = len(head).to_bytes(2, "little")
        box.writestr("x.npy", b"\x93NUMPY\x01\x00" + size + head + bytes(64))
    with pytest.raises(CompileError, match="E0020"):
        read_npz(str(path))


def test_damaged_archives(tmp_path: Path) -> None:
    """Flipped bits anywhere: the array, or an error of ours."""
    path, rng = tmp_path / "a.npz", random.Random(1)
    np.savez_compressed(path, x=np.arange(64, dtype=np.float32))
    good = path.read_bytes()
    refused = 0
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            read_npz(str(path), ("x",))
        except CompileError:
            refused += 1
    assert refused > 200


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="E0005"):
        read_npz(str(tmp_path / "none.npz"))
    with pytest.raises(CompileError, match="E0005"):
        write_bytes(str(tmp_path / "no" / "folder.npz"), b"")


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def broken(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(CompileError, match="no space left"):
        write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]

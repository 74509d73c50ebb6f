"""npz files that declare more than they hold, or more than the computer has."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from snncc.isa.files.array_file import ArrayFileError, read_arrays

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def refused(source: io.BytesIO | Path, largest: int | None = None) -> str:
    """Return the message; refusing takes no memory to speak of."""
    tracemalloc.start()
    try:
        with pytest.raises(ArrayFileError) as caught:
            read_arrays(source, largest=largest)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    return str(caught.value)


def with_sizes(data: bytes, size: int) -> io.BytesIO:
    """Patch the size that the directory of a zip of one file declares."""
    out = bytearray(data)
    at = out.rindex(b"PK\x01\x02")
    struct.pack_into("<I", out, at + 24, size)
    return io.BytesIO(bytes(out))


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def npy(header: bytes, version: tuple[int, int] = (1, 0), length: int | None = None) -> io.BytesIO:
    """A zip with one array whose header is what is given."""
    width = 2 if version == (1, 0) else 4
    size = (len(header) if length is None else length).to_bytes(width, "little")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as box:
        box.writestr("x.npy", b"\x93NUMPY" + bytes(version) + size + header)
    out.seek(0)
    return out


@pytest.mark.parametrize("compressed", [False, True])
def test_wanted_arrays_are_read(compressed: bool) -> None:
    data = npz(compressed, x=X, y=np.ones(2, np.int64), bad=np.array([object()]))
    found = read_arrays(io.BytesIO(data), ("x", "y", "none"))
    np.testing.assert_array_equal(found["x"], X)
    assert set(found) == {"x", "y"}
    assert found["x"].dtype == np.float32


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("size", [1 << 31, (1 << 32) - 2])
def test_sizes_that_the_file_cannot_hold(compressed: bool, size: int) -> None:
    said = refused(with_sizes(npz(compressed, x=X), size))
    assert f"array 'x' cannot be read: {size} bytes are declared" in said


def test_what_unpacks_to_more_than_there_is_room_for(tmp_path: Path) -> None:
    """Zeros shrink a thousandfold: each array is small enough, all together are not."""
    path = tmp_path / "bomb.npz"
    path.write_bytes(npz(True, **{f"a{i}": np.zeros(1 << 18, np.float32) for i in range(64)}))
    assert path.stat().st_size < 1 << 18
    assert "all arrays together may have" in refused(path, largest=(1 << 20) - 1)
    assert len(read_arrays(path, largest=65 << 20)) == 64


@pytest.mark.parametrize(
    "shape", ["(1099511627776,)", "(1000000, 1000000, 1000000)", "(-1,)", "(1.5,)", "(True,)", "5"]
)
def test_absurd_shapes(shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    assert "array 'x' cannot be read" in refused(npy(header))


def test_absurd_headers() -> None:
    for found in (npy(b"{", (2, 0), 1 << 31), npy(b"{"), npy(b"(" * 200), npy(b"", (9, 0))):
        assert "array 'x' cannot be read" in refused(found)


def test_no_zip_at_all() -> None:
    for data in (b"", b"PK\x03\x04", npz(x=X)[:-5]):
        assert "no npz file" in refused(io.BytesIO(data))

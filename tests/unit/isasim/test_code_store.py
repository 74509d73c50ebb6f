"""What is in the kernel cache is believed only if it is exactly what was written there."""

import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from snncc.isasim.engines.kernels.code_store import CodeStore

CODE = bytes(range(256)) * 40


def only_file(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def flip(at: int) -> Callable[[Path], object]:
    def damage(file: Path) -> None:
        data = bytearray(file.read_bytes())
        data[at] ^= 0x10
        file.write_bytes(data)

    return damage


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "inside").touch()


def make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def put_other(file: Path) -> None:
    """Another entry's sound file."""
    other = file.parent.with_name("other")
    CodeStore(other, print).write("other", "another key", CODE)
    only_file(other).replace(file)


def put_stale(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"code 1\n", b"code 0\n"))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "garbage": lambda file: file.write_bytes(b"\x80\x04garbage" * 1000),
    "cut in the header": lambda file: file.write_bytes(file.read_bytes()[:40]),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "mark": flip(0),
    "key": flip(30),
    "checksum": flip(60),
    "length": flip(85),
    "first byte": flip(93),
    "last byte": flip(-1),
    "folder": make_folder,
    "pipe": make_pipe,
    "another's": put_other,
    "stale": put_stale,
}


@pytest.mark.parametrize("way", DAMAGE)
def test_what_is_damaged_is_missing(way: str, tmp_path: Path) -> None:
    told: list[str] = []
    store = CodeStore(tmp_path / "kernels", told.append)
    assert store.read("gacc", "key") is None
    assert store.write("gacc", "key", CODE)
    assert store.read("gacc", "key") == CODE
    assert told == []
    file = only_file(tmp_path / "kernels")
    DAMAGE[way](file)
    assert store.read("gacc", "key") is None
    assert store.read("gacc", "key") is None
    assert len(told) == 1
    assert file.name in told[0]
    assert len(store.damaged) == 2
    again = way != "folder"
    assert store.write("gacc", "key", CODE) is again
    assert (store.read("gacc", "key") == CODE) is again
    assert list((tmp_path / "kernels").iterdir()) == [file]
    assert len(told) == 1


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    store = CodeStore(tmp_path, list[str]().append)
    store.write("gacc", "key", CODE[:50])
    file = only_file(tmp_path)
    data = file.read_bytes()
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        file.write_bytes(wrong)
        assert store.read("gacc", "key") is None
    file.write_bytes(data)
    assert store.read("gacc", "key") == CODE[:50]


def test_a_key_has_its_own_entry(tmp_path: Path) -> None:
    """Code for two CPUs may lie in one folder, as in a home on a network."""
    store = CodeStore(tmp_path, list[str]().append)
    store.write("gacc", "znver4", b"wide")
    store.write("gacc", "generic", b"narrow")
    assert store.read("gacc", "znver4") == b"wide"
    assert store.read("gacc", "generic") == b"narrow"
    assert store.read("gacc", "haswell") is None
    assert len(store.names()) == 2


def test_what_may_not_be_read_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A superuser may read everything, so the refusal is made up."""
    told: list[str] = []
    store = CodeStore(tmp_path, told.append)
    store.write("gacc", "key", CODE)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert store.read("gacc", "key") is None
    monkeypatch.undo()
    assert len(told) == 1
    assert "permission denied" in told[0]


def test_a_full_disk(tmp_path: Path) -> None:
    told: list[str] = []
    store = CodeStore(tmp_path, told.append)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        assert not store.write("gacc", "key", CODE)
        assert not store.write("mac", "key", CODE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(told) == 1
    assert "cannot be kept" in told[0]
    assert list(tmp_path.iterdir()) == []
    assert store.write("gacc", "key", CODE)


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_a_place_that_is_no_folder(place: str, tmp_path: Path) -> None:
    told: list[str] = []
    file = tmp_path / "file"
    file.write_text("not a folder")
    store = CodeStore(file if place == "a file" else file / "kernels", told.append)
    assert store.names() == []
    assert store.read("gacc", "key") is None
    assert told == []
    assert not store.ready()
    assert not store.write("gacc", "key", CODE)
    assert len(told) == 1
    assert file.read_text() == "not a folder"


def test_no_place_at_all() -> None:
    store = CodeStore(None, print)
    assert store.names() == []
    assert not store.ready()
    assert not store.write("gacc", "key", CODE)
    assert store.read("gacc", "key") is None


def test_many_writers(tmp_path: Path) -> None:
    """Whoever reads while others write sees nothing or one whole entry."""
    store = CodeStore(tmp_path, list[str]().append)
    payloads = [bytes([n]) * 100_000 for n in range(4)]
    seen: list[bytes | None] = []

    def write(payload: bytes) -> None:
        for _ in range(20):
            assert store.write("gacc", "key", payload)
            seen.append(store.read("gacc", "key"))

    threads = [threading.Thread(target=write, args=(p,)) for p in payloads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 80
    assert set(seen) <= set(payloads)
    assert store.damaged == []
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("first", ["write", "ready"])
def test_folders_above_are_made_whoever_comes_first(first: str, tmp_path: Path) -> None:
    notes: list[str] = []
    store = CodeStore(tmp_path / "cache" / "kernels", notes.append)
    if first == "ready":
        assert store.ready()
    assert store.write("add", "key", b"code")
    assert store.read("add", "key") == b"code"
    assert notes == []

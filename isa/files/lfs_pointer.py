"""Git LFS pointers: small texts that stand in for files which were not fetched."""

from __future__ import annotations

BEGIN = b"version https://git-lfs.github.com/spec/"
HELP = "the repository holds only a pointer to the file: `git lfs pull` fetches it"


def pointed_size(data: bytes) -> int | None:
    """Return the size of the file that a pointer stands for; None where ``data`` is none."""
    if not data.startswith(BEGIN):
        return None
    for line in data[:1024].split(b"\n"):
        word, _, value = line.partition(b" ")
        if word == b"size" and value.strip().isdigit():
            return int(value)
    return 0


def words(size: int) -> str:
    """Return what to say of a pointer."""
    return f"is a Git LFS pointer, not the file itself ({size} bytes)"

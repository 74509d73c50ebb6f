"""Pointers of Git LFS are told as such, wherever a model file is expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from snncc.compiler.diag import CompileError
from snncc.compiler.driver import api
from snncc.isa.files.lfs_pointer import pointed_size

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 34872\n"


@pytest.mark.parametrize("name", ["net.onnx", "net.nir"])
def test_a_pointer_in_place_of_a_model(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(POINTER)
    with pytest.raises(CompileError, match=r"Git LFS pointer, not the file itself \(34872 bytes\)"):
        api.load(path)


def test_what_is_no_pointer() -> None:
    assert pointed_size(POINTER) == 34872
    assert pointed_size(POINTER.replace(b"size", b"weight")) == 0
    assert pointed_size(b"\x89HDF\r\n") is None

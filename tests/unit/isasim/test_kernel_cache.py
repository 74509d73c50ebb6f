"""Kernels load when they are used, and never take arguments of other types; nothing in the cache is
believed unchecked, and any number of threads may be the first to use a kernel."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snncc.isasim.engines.kernels.code_store import CodeStore

pytest.importorskip("numba")

SCRIPT = """
import sys
from snncc.isasim.engines import select_engine
from snncc.isasim.engines.kernels import kernel_cache
select_engine("fast")
from snncc.isasim.engines.kernels import events as ke
heap, state = __import__("numpy").zeros((2, 64), "int64")
loaded = bool(ke.push.overloads), bool(ke.pop.overloads)
ke.push(heap, state, 7)
print(kernel_cache.COLD, loaded, bool(ke.push.overloads), bool(ke.pop.overloads))
print(ke.pop(heap, state), "scipy.linalg" in sys.modules, "numba.np.arraymath" in sys.modules)
"""


def test_a_process_loads_the_kernels_that_it_calls() -> None:
    """The first process may have to compile; the second finds the cache."""
    done = ""
    for _ in range(2):
        words = [sys.executable, "-c", SCRIPT]
        done = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert done.splitlines() == ["False (False, False) True False", "7 False False"]


@pytest.mark.parametrize("used", [False, True])
def test_other_types_are_refused(used: bool) -> None:
    from snncc.isasim.engines.kernels import events as ke

    good: Any = np.zeros(64, np.int64)
    if used:
        ke.push(good, np.zeros(64, np.int64), 1)
    for bad in (np.zeros(64, np.int32), np.zeros((8, 8), np.int64), np.zeros(128, np.int64)[::2]):
        with pytest.raises(TypeError):
            ke.push(bad, good, 1)


def test_compiling_is_announced_once() -> None:
    from snncc.isasim.engines.kernels.kernel_cache import Progress

    progress, said, seen = Progress(), list[str](), list[tuple[str, int]]()
    progress.notice = said.append
    progress.listener = lambda name, done, total: seen.append((name, done))
    for name in ("gacc", "mac"):
        progress.compiling()
        progress.compiled(name)
    assert said == ["compiling the fast engine's kernels, once (some seconds)"]
    assert seen == [("gacc", 1), ("mac", 2)]
    assert progress.total > 20


class Cache:
    """A kernel cache of its own, and two kernels: ``outer`` calls ``inner``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from snncc.isasim.engines.kernels import kernel_cache

        self.module = kernel_cache
        self.monkeypatch = monkeypatch
        self.told: list[str] = []
        self.compiled: list[str] = []
        self.folder = folder
        progress = kernel_cache.Progress()
        progress.listener = lambda name, done, total: self.compiled.append(name)
        monkeypatch.setattr(kernel_cache, "COLD", False)
        monkeypatch.setattr(kernel_cache, "progress", progress)
        monkeypatch.setattr(kernel_cache, "STORE", CodeStore(folder, self.told.append))

    def kernels(self) -> tuple[Any, Any]:
        """Return the two as a new process has them."""

        @self.module.kernel("int64(int64)")
        def inner(x: int) -> int:
            return 3 * x

        @self.module.kernel("int64(int64)")
        def outer(x: int) -> int:
            return inner(x) + 1  # type: ignore[no-any-return]

        return inner, outer

    def planted(self, before: Callable[[str], None]) -> None:
        """Let something happen whenever a kernel is about to be loaded or compiled."""
        ready = self.module._ready  # pyright: ignore[reportPrivateUsage]

        def delayed(made: Any, signature: str) -> None:
            before(made.__name__)
            ready(made, signature)

        self.monkeypatch.setattr(self.module, "_ready", delayed)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    return Cache(tmp_path / "kernels", monkeypatch)


def test_machine_code_is_kept_and_found(cache: Cache) -> None:
    inner, outer = cache.kernels()
    assert outer(5) == 16
    assert cache.compiled == ["inner", "outer"]
    inner, outer = cache.kernels()
    assert (outer(5), inner(5)) == (16, 15)
    assert cache.compiled == ["inner", "outer"]
    assert cache.told == []


def test_damaged_machine_code_is_compiled_again(cache: Cache) -> None:
    inner, _ = cache.kernels()
    inner(1)
    (file,) = cache.folder.iterdir()
    sound = file.read_bytes()
    broken = bytearray(sound)
    broken[-100] ^= 1
    file.write_bytes(broken)
    inner, _ = cache.kernels()
    assert inner(5) == 15
    assert cache.compiled == ["inner", "inner"]
    assert len(cache.told) == 1
    assert "checksum" in cache.told[0]
    inner, _ = cache.kernels()
    assert inner(5) == 15
    assert cache.compiled == ["inner", "inner"]  # the file was written again


def test_another_kernels_code_is_not_run(cache: Cache) -> None:
    """Files that changed places: each is sound in itself."""
    _, outer = cache.kernels()
    outer(1)
    first, second = sorted(cache.folder.iterdir())
    spare = first.with_name("spare")
    first.rename(spare)
    second.rename(first)
    spare.rename(second)
    inner, outer = cache.kernels()
    assert (inner(5), outer(5)) == (15, 16)
    assert len(cache.told) == 1
    assert cache.compiled[2:] == ["inner", "outer"]


def test_what_numba_does_not_understand_is_compiled_again(cache: Cache) -> None:
    """A payload with a right checksum that a changed numba cannot load."""
    store = cache.module.STORE
    read = store.read

    def other(_: str, __: str) -> bytes:
        return b"not a pickle"

    cache.monkeypatch.setattr(store, "read", other)
    inner, _ = cache.kernels()
    assert inner(5) == 15
    assert cache.compiled == ["inner"]
    assert len(cache.told) == 1
    cache.monkeypatch.setattr(store, "read", read)
    assert cache.kernels()[0](5) == 15
    assert cache.compiled == ["inner"]


def test_without_a_cache_folder(cache: Cache) -> None:
    cache.folder.write_text("in the way")
    for _ in range(2):
        assert cache.kernels()[1](5) == 16
    assert cache.compiled == ["inner", "outer"] * 2
    assert len(cache.told) == 1
    assert "cannot be kept" in cache.told[0]


def in_threads(*calls: Callable[[], Any]) -> list[Any]:
    """Return what the calls return when they run at once; a hang fails."""
    found: dict[int, Any] = {}

    def run(number: int) -> None:
        try:
            found[number] = calls[number]()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "the threads wait for each other"
    return [found[number] for number in range(len(calls))]


@pytest.mark.parametrize("warm", [False, True])
def test_a_second_thread_waits_until_the_code_is_there(cache: Cache, warm: bool) -> None:
    """The first thread dawdles between its decision to load a kernel and the kernel's arrival."""
    if warm:
        cache.kernels()[0](1)
    inner, _ = cache.kernels()
    loading, passed = threading.Event(), threading.Event()

    def dawdle(_: str) -> None:
        loading.set()
        passed.wait(0.5)  # a thread that does not wait gets past here

    def second() -> Any:
        assert loading.wait(60)
        try:
            return inner(np.uint64(7))  # numba itself would make code for another type
        finally:
            passed.set()

    cache.planted(dawdle)
    assert in_threads(lambda: inner(5), second) == [15, 21]
    assert len(inner.overloads) == 1
    assert cache.compiled == ["inner"]


def test_compiling_and_loading_do_not_wait_for_each_other(cache: Cache) -> None:
    """One thread compiles a caller (with numba's lock) while another loads what it calls."""
    from numba import njit

    inner, _ = cache.kernels()
    loading, compiling = threading.Event(), threading.Event()

    @njit
    def caller(x: Any) -> Any:
        return inner(x) + 1

    def dawdle(_: str) -> None:
        loading.set()
        compiling.wait(0.5)

    def compile_caller() -> Any:
        assert loading.wait(60)
        return caller(7)

    cache.planted(dawdle)
    assert in_threads(lambda: inner(5), compile_caller) == [15, 22]


def test_many_threads_use_many_kernels(cache: Cache) -> None:
    for _ in range(3):  # the first time, all have to be compiled
        pairs = [cache.kernels() for _ in range(3)]
        calls = [(lambda k=pair[n % 2]: k(5)) for pair in pairs for n in range(4)]
        assert in_threads(*calls) == [15, 16] * 6
    assert sorted(cache.compiled) == ["inner", "outer"]

"""Kernels load when they are used, and never take arguments of other types."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

SCRIPT = """
import sys
from snncc.isasim.engines import kernel_cache, select_engine
select_engine("fast")
from snncc.isasim.engines import kernels_events as ke
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
    from snncc.isasim.engines import kernels_events as ke

    good: Any = np.zeros(64, np.int64)
    if used:
        ke.push(good, np.zeros(64, np.int64), 1)
    for bad in (np.zeros(64, np.int32), np.zeros((8, 8), np.int64), np.zeros(128, np.int64)[::2]):
        with pytest.raises(TypeError):
            ke.push(bad, good, 1)


def test_compiling_is_announced_once() -> None:
    from snncc.isasim.engines.kernel_cache import Progress

    progress, said, seen = Progress(), list[str](), list[tuple[str, int]]()
    progress.notice = said.append
    progress.listener = lambda name, done, total: seen.append((name, done))
    for name in ("gacc", "mac"):
        progress.compiling()
        progress.compiled(name)
    assert said == ["compiling the fast engine's kernels, once (some seconds)"]
    assert seen == [("gacc", 1), ("mac", 2)]
    assert progress.total > 20

"""Runs on 2, 3 and 4 threads give what one thread gives, whoever loads or compiles which kernel."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

TESTS = Path(__file__).parents[1]


@pytest.mark.timeout(4000)
@pytest.mark.parametrize("runs", [6, pytest.param(200, marks=pytest.mark.slow)])
def test_runs_on_several_threads(runs: int, tmp_path: Path) -> None:
    from snncc.isasim.engines import select_engine
    from snncc.isasim.engines.kernels import kernel_cache

    select_engine("fast")
    folder = kernel_cache.STORE.folder
    assert folder is not None
    if folder.is_dir():
        shutil.copytree(folder, tmp_path / folder.name)
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(TESTS)}
    words = [sys.executable, "-m", "e2e.thread_runs", str(runs)]
    done = subprocess.run(
        words, env=env, cwd=TESTS, capture_output=True, text=True, timeout=3900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{runs} runs, 0 wrong" in done.stdout

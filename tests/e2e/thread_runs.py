"""Many runs of one program on several threads, each in a process that has loaded no kernel yet.

``python -m e2e.thread_runs RUNS`` compiles a network, then forks a process per run: importing is
done once, while every run finds its kernels unloaded, as a new process does.  Every COLD-th run
has to compile a few of them as well.  The kernel cache is the one of NUMBA_CACHE_DIR, which is
damaged: give it a copy.
"""

import hashlib
import os
import random
import signal
import sys
import time
from typing import Any

import numpy as np

from snncc.compiler.driver import api
from snncc.compiler.driver.execute import run_program
from snncc.isasim.engines import select_engine
from snncc.isasim.engines.kernels import kernel_cache
from snncc.isasim.system import RunOptions

from .common import BATCH, CONFIG, DIGITS

COLD = 10
MISSING = 3
"""Kernels that a cold run does not find in the cache."""
PATIENCE = 240.0
"""Seconds after which a run hangs."""


def digest(program: Any, arrays: dict[str, Any], threads: int) -> str:
    """Return a digest of all results and statistics of a run."""
    options = RunOptions(threads=threads)
    result = run_program(program, arrays["x"], arrays["y"], options=options)
    found = hashlib.sha256(repr(result.stats).encode())
    for name in sorted(result):
        found.update(name.encode() + result[name].tobytes())
    return found.hexdigest()


def forked(program: Any, arrays: dict[str, Any], threads: int) -> str:
    """Run in a process of its own; return its digest, or what went wrong."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            text = digest(program, arrays, threads)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode()[:1000])
        os._exit(0)
    os.close(writing)
    end = time.monotonic() + PATIENCE
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            return "hangs"
        time.sleep(0.02)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


def main(runs: int) -> int:
    """Run; return how many runs differed from the first, which has one thread."""
    select_engine("fast")
    folder = kernel_cache.STORE.folder
    assert folder is not None
    with np.load(BATCH) as box:
        arrays = {name: box[name] for name in ("x", "y")}
    model = api.load(DIGITS, config=CONFIG, x_shape=arrays["x"].shape)
    program = api.compile(model, cores=4)
    expected = forked(program, arrays, 1)
    draw = random.Random(runs)
    wrong = 0
    for number in range(runs):
        threads = 2 + number % 3
        cold = number % COLD == 0
        for name in draw.sample(kernel_cache.STORE.names(), MISSING if cold else 0):
            (folder / name).unlink()
        found = forked(program, arrays, threads)
        if found != expected:
            wrong += 1
            print(f"run {number}, {threads} threads, {'cold' if cold else 'warm'}: {found}")
    print(f"{runs} runs, {wrong} wrong; one thread gives {expected}")
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]))))

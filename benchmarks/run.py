"""Measure snncc against its peers: one thread against one thread, interleaved, medians.

    python benchmarks/run.py [--only TEXT] [--repeats N] [--out results.json]

Prints a table and writes results.json: a list of {name, ours, theirs, ratio, unit, peer, limit}.
A ratio is ours/theirs, below 1 is faster; a missing peer is reported as missing, and the exit code
is 1 when a ratio or a time misses its limit.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> int:
    """Set one thread for everybody, then run; libraries read these variables when they load."""
    for name in THREADS:
        os.environ[name] = "1"
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from benchmarks.harness import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())

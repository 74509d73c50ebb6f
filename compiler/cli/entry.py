"""Where the console script begins: an interrupt at any time, imports included, ends in one line.

A run that is told to end (SIGTERM, SIGHUP) unwinds like an interrupted one, so what it was writing
is taken away.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from snncc.compiler.driver.exits import EXIT_INTERRUPTED


class Told(SystemExit):
    """Somebody told the process to end; the code is that of a shell, 128 + the signal."""


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise Told(128 + number)


def main() -> None:
    """Run the command line."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    try:
        from snncc.compiler.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except Told as told:
        print("terminated", file=sys.stderr)
        sys.exit(told.code)


if __name__ == "__main__":
    main()

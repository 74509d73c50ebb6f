"""Exit codes of the commands that are not those of a simulated run.

0 ok, 1 the input is wrong, 2 usage, 70 an internal error, 130 interrupted; a run that does not halt
has its own (:class:`snncc.isasim.faults.StopReason`).
"""

from __future__ import annotations

import signal
from typing import Final

EXIT_INPUT: Final = 1
EXIT_INTERNAL: Final = 70
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT

"""From a comparison to the verdict that commands show."""

from __future__ import annotations

import time
from collections.abc import Callable

from snncc.compiler.validate.compare import NotValidated, Report
from snncc.compiler.validate.verdict import Verdict


def judge(check: Callable[[], Report]) -> Verdict:
    """Compare; what could not be evaluated is a verdict too, a difference raises ``E0114``."""
    start = time.process_time()
    try:
        report = check()
    except NotValidated as error:
        return Verdict(why=str(error), seconds=time.process_time() - start)
    return Verdict(
        True, "", report.smooth, report.hard, time.process_time() - start, tuple(report.remarks),
        report.other_gradients,
    )  # fmt: skip

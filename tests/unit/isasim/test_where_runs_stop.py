"""Reports name the unit; traces go on where a stream cannot be rewound."""

from __future__ import annotations

import io
import json

from snncc.isa.instructions.encoding import make
from snncc.isasim.observe.trace import EventTrace
from unit.isasim.programs import HALT, run_code


def test_a_limit_is_that_of_the_sequencer() -> None:
    code = [make("loopi", count=1 << 20, end=2), make("nop"), HALT]
    _, result = run_code(code, max_instructions=100)
    assert result.fault is not None
    assert result.fault.where is not None
    assert (result.fault.where.core, result.fault.where.unit) == (0, "seq")


class Pipe(io.StringIO):
    """A stream that only goes forward."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError("Illegal seek")


def test_a_trace_into_a_pipe() -> None:
    out = Pipe()
    trace = EventTrace(out, 1e9)
    trace.begin()
    trace.finish(5)
    assert isinstance(json.loads(out.getvalue()), list)

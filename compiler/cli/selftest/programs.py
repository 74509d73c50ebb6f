"""Random programs on both engines: same memory, same cycles."""

from __future__ import annotations

from snncc.compiler.cli.selftest.outcome import Wrong
from snncc.isa.machine.machine import load_machine
from snncc.isa.random_programs.programs import random_program
from snncc.isasim.system import RunOptions, System

SEEDS = range(12)


def check_programs() -> int:
    """Run all seeds; return how many programs that were, or raise Wrong."""
    for seed in SEEDS:
        results = [_run(seed, engine) for engine in ("fast", "reference")]
        (fast, cycles), (slow, expected) = results
        different = [name for name in slow if fast[name] != slow[name]]
        if different:
            raise Wrong(f"program {seed}: the engines differ in {', '.join(different)}")
        if cycles != expected:
            raise Wrong(f"program {seed}: {cycles} cycles with the fast engine, not {expected}")
    return len(SEEDS)


def _run(seed: int, engine: str) -> tuple[dict[str, bytes], int]:
    """Return the bytes of all tensors, and the cycles."""
    program = random_program(seed, load_machine("small"), windows=bool(seed % 2))
    system = System(program, RunOptions(engine=engine))
    result = system.run()
    if result.exit_code:
        raise Wrong(f"program {seed} stops on the {engine} engine: {result.fault}")
    return {t.name: system.read_tensor(t.name).tobytes() for t in program.tensors}, result.cycles

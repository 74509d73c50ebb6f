"""The command: facts about the host, then the checks; exit code 1 when one fails."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeGuard

import click

from snncc.compiler.cli.selftest.outcome import Outcome, Wrong

Table: TypeAlias = Mapping[str, object]

CHECKS = ("arithmetic", "arithmetic, reference", "programs", "training step")


@click.command(short_help="Check this installation; what a bug report should start with.")
@click.option("--json", "as_json", is_flag=True, help="Print facts and outcomes as JSON.")
def selftest(as_json: bool) -> None:
    """Check that this installation computes what it should (about ten seconds).

    Arithmetic of both engines against stored results of Berkeley SoftFloat, random programs on
    both engines, and one training step of a shipped network against its stored bits.  Prints the
    host, versions and kernels in use: begin a bug report with it.
    """
    from snncc.compiler.cli.selftest.host import host

    facts, notes = host(), list[str]()
    outcomes = run_checks(notes)
    facts["notes"] = notes
    facts["kernels"] = _kernels()
    passed = all(outcome.passed is not False for outcome in outcomes)
    if as_json:
        checks = [{**vars(outcome), "seconds": round(outcome.seconds, 3)} for outcome in outcomes]
        click.echo(json.dumps({"passed": passed, **facts, "checks": checks}, indent=1))
    else:
        _show(facts, outcomes)
        click.echo("all is well" if passed else "this installation gives wrong results")
    if not passed:
        raise click.exceptions.Exit(1)


def run_checks(notes: list[str]) -> list[Outcome]:
    """Run all checks; ``notes`` gets what the engines have to say."""
    from snncc.compiler.cli.selftest.arithmetic import check_arithmetic
    from snncc.compiler.cli.selftest.programs import check_programs
    from snncc.compiler.cli.selftest.training_step import check_training_step
    from snncc.isasim.engines import select_engine

    fast = select_engine("fast", notice=notes.append)
    there = fast.name == "fast"
    missing = "" if there else "there is no fast engine"
    return [
        _check(CHECKS[0], lambda: f"{check_arithmetic(fast)} results", missing),
        _check(CHECKS[1], lambda: f"{check_arithmetic(select_engine('reference'))} results"),
        _check(CHECKS[2], lambda: f"{check_programs()} programs on both engines", missing),
        _check(CHECKS[3], lambda: f"{check_training_step()} arrays, {fast.name} engine"),
    ]


def _check(name: str, what: Callable[[], str], missing: str = "") -> Outcome:
    """Run a check; whatever goes wrong in it is a failure to be shown."""
    began = time.perf_counter()
    passed: bool | None = True
    if missing:
        return Outcome(name, None, missing, 0.0)
    try:
        detail = what()
    except Wrong as wrong:
        passed, detail = False, str(wrong)
    except Exception as error:
        passed, detail = False, f"{type(error).__name__}: {error}"
    return Outcome(name, passed, detail, time.perf_counter() - began)


def _kernels() -> dict[str, Any] | None:
    """Return facts about the fast engine, if there is one."""
    from snncc.compiler.cli.selftest.host import kernels
    from snncc.isasim.engines import select_engine

    return kernels() if select_engine("fast", notice=lambda _: None).name == "fast" else None


def _show(facts: dict[str, Any], outcomes: list[Outcome]) -> None:
    _show_table("", facts)
    for outcome in outcomes:
        click.echo(f"{outcome.word:12} {outcome.name}: {outcome.detail} ({outcome.seconds:.1f} s)")


def _show_table(indent: str, table: Table) -> None:
    """Print facts one per line; a table among them is one line, and a line for each in it."""
    for name, fact in table.items():
        if not _is_table(fact):
            click.echo(f"{indent + name:12} {_word(fact)}")
            continue
        tables = {key: value for key, value in fact.items() if _is_table(value)}
        plain = [f"{key} {_word(value)}" for key, value in fact.items() if key not in tables]
        click.echo(f"{indent + name:12} {', '.join(plain) or 'none'}")
        _show_table(f"{indent}  ", tables)


def _is_table(value: object) -> TypeGuard[Table]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_list(value):
        return "; ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)

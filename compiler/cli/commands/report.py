"""`snncc report`: a run as an HTML page, or generated reference pages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

import click

PAGES = ("errors", "config")
NEEDED = ("cycles", "seconds", "instructions", "energy_pj", "dram_bytes", "noc_bytes", "macs")


@click.command(short_help="Show where a run's time and energy went (HTML).")
@click.argument("run", metavar="RUN|errors|config")
@click.argument("other", required=False, metavar="[OTHER]")
@click.option("-o", "--output", help="The page; - is stdout.  [default: RUN.html]")
@click.option("--format", "kind", type=click.Choice(["md", "json"]), help="Of errors and config.")
@click.option("--json", "as_json", is_flag=True, help="Print estimate and count side by side.")
def report(
    run: str, other: str | None, output: str | None, kind: str | None, as_json: bool
) -> None:
    """Make one self-contained page of a run: what the bottleneck is, time, energy, bytes by layer.

    RUN is what `snncc run --stats S.json` wrote, or a folder with a stats.json; OTHER is compared
    with it.  `errors` and `config` print reference pages instead.

    \b
      snncc run net.snnx --inputs batch.npz --stats a.json
      snncc report a.json -o a.html
      snncc report a.json b.json -o comparison.html
      snncc report a.json --json | jq .why
    """
    from snncc.compiler.cli.commands.places import check_places, unnamed

    if run in PAGES and not Path(run).exists():
        from snncc.compiler.cli.report import pages

        sys.stdout.write(pages.PAGES[run, kind or "md"]())
        return
    if kind is not None:
        raise click.UsageError("--format goes with errors and config")
    target = output or str(Path(run).with_suffix(".html") if run != "-" else "-")
    if not as_json:
        from snncc.compiler.cli.report.parts import is_page

        check_places({"RUN": _file(run), "OTHER": _file(other) if other else None}, {"-o": target})
        if output is None and run != "-":
            unnamed(Path(target), is_page)
    stats = read_stats(run)
    second = read_stats(other) if other else None
    if as_json:
        print_estimate(stats, run)
        return
    write_report(target, stats, second, (_short(run), _short(other or "")))
    if target != "-":
        from snncc.compiler.cli.report.critical import sentence
        from snncc.compiler.cli.report.facts import headline

        click.echo(f"{target}: {sentence(stats) or headline(stats)}", err=True)


def print_estimate(stats: Any, run: str) -> None:
    """Print what the compiler estimated, what was counted and why they differ, as JSON."""
    from snncc.compiler.diag import fail

    if "estimate" not in stats:
        what = "these statistics have no estimate"
        fail("E0034", what, run, help="an assembled program has none; run a compiled one again")
    click.echo(json.dumps(stats["estimate"], indent=1))


def write_report(
    path: str, stats: Any, other: Any = None, names: tuple[str, str] = ("run", "other")
) -> None:
    """Write the page of a run."""
    from snncc.compiler.cli.report.page import page
    from snncc.compiler.diag import fail
    from snncc.compiler.driver.files import write_text

    try:
        text = page(stats, other, names)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        what = f"the statistics are damaged: {type(error).__name__} {error}"
        fail("E0034", what, names[0])
    write_text(path, text)


def read_stats(path: str) -> Any:
    """Return the statistics of a run."""
    from snncc.compiler.diag import fail
    from snncc.compiler.driver.files import read_bytes

    data = read_bytes(_file(path))
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        fail("E0034", f"this is no JSON: {error}", path, help="give what --stats wrote")
    there = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    missing = [k for k in (*NEEDED, "units", "layers") if k not in there]
    if missing:
        what = f"no statistics of a run: {', '.join(missing)} missing"
        fail("E0034", what, path, help="give what `snncc run --stats` wrote")
    return there


def _file(run: str) -> str:
    return str(Path(run, "stats.json")) if Path(run).is_dir() else run


def _short(path: str) -> str:
    name = Path(path).stem
    return Path(path).parent.name if name == "stats" and Path(path).parent.name else name

"""The command group: commands load when they are called, and every failure ends in one clean way.

Exit codes: 0 ok, 1 the input is wrong, 2 usage, 3 trap, 4 limit, 5 deadlock, 70 internal error.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click

from snncc.compiler.driver.evidence import EVIDENCE
from snncc.compiler.driver.exits import EXIT_INPUT, EXIT_INTERRUPTED
from snncc.compiler.driver.streams import OUTSIDE, drop_output, guarded_streams
from snncc.isa.diagnostics.printable import bounded


class Roof(click.Group):
    """A group whose commands live in modules that are imported on demand.

    ``lazy`` maps a command's name to ``(module, attribute, help line)``.
    """

    def __init__(
        self, *args: object, lazy: Mapping[str, tuple[str, str, str]] | None = None, **kw: object
    ) -> None:
        super().__init__(*args, **kw)  # type: ignore[arg-type]
        self.lazy = dict(lazy or {})
        self.words: list[str] = []
        """The command line, without the program's name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of use, not of the alphabet."""
        return [*self.lazy, *(n for n in super().list_commands(ctx) if n not in self.lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = self.lazy[cmd_name]
        found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, click.Command):
            raise TypeError(f"{module}.{attribute} is no command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in self.lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; suggest the closest one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], list(self.lazy), n=1)
            if not close or "mean" in error.message:
                raise
            message = f"{error.message} Did you mean {close[0]!r}?"
            raise click.UsageError(message, ctx) from None

    def make_context(self, *args: Any, **kw: Any) -> click.Context:
        """Read the command line; what it holds is repeated in bounded length."""
        with bounded_complaints():
            return super().make_context(*args, **kw)

    def main(self, *args: Any, **kw: Any) -> Any:
        """Run the command line; what cannot be printed is an error like any other."""
        try:
            with guarded_streams():
                try:
                    given = kw.get("args", args[0] if args else None)
                    self.words = list(given) if given is not None else sys.argv[1:]
                    return super().main(*args, **kw)
                finally:
                    sys.stdout.flush()  # a full disk may show only here
        except BrokenPipeError:  # the reader of our stdout went away: no reason to complain
            drop_output()
            sys.exit(EXIT_INPUT)
        except OSError as error:
            if error.errno not in OUTSIDE:
                raise
            drop_output()
            from snncc.compiler.driver.failure import explain

            with suppress(OSError):
                print(explain(error)[0], file=sys.stderr)
            drop_output()
            sys.exit(EXIT_INPUT)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command and turn whatever goes wrong into a message and an exit code."""
        EVIDENCE.forget()
        try:
            with bounded_complaints():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            _leave("interrupted", EXIT_INTERRUPTED)
        except BrokenPipeError:
            raise
        except Exception as error:
            from snncc.compiler.driver.failure import explain

            text, code = explain(error, self.words)
            _leave(text, code)


@contextmanager
def bounded_complaints() -> Generator[None]:
    """Shorten the values that click repeats in its messages."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = bounded(error.message)  # declared final, shown later
        raise


def _leave(text: str, code: int) -> NoReturn:
    click.echo(text, err=True)
    raise click.exceptions.Exit(code)

"""`snncc isa`, `targets` and `completion`: what the tools know, printed."""

from __future__ import annotations

import json
import sys

import click

from snncc.compiler.diag import fail
from snncc.isa.spec import Insn


@click.command(
    short_help="Show the instruction set.",
    epilog="Examples:  snncc isa | snncc isa show gacc | snncc isa export --format json > isa.json",
)
@click.argument("action", required=False, type=click.Choice(["list", "show", "export"]))
@click.argument("mnemonics", nargs=-1, metavar="[MNEMONIC]...")
@click.option("--format", "kind", type=click.Choice(["md", "json"]), help="The whole manual.")
def isa(action: str | None, mnemonics: tuple[str, ...], kind: str | None) -> None:
    """Show the instruction set: a list, single instructions, or the whole manual."""
    from snncc.isa import manual as export
    from snncc.isa.instructions.table import TABLE

    if action == "show":
        known = [row.mnemonic for row in TABLE]
        for name in mnemonics:
            if name not in known:
                raise click.UsageError(f"no instruction {name!r}; `snncc isa` lists them")
        if not mnemonics:
            raise click.UsageError("name an instruction: snncc isa show MNEMONIC")
        for row in TABLE:
            if row.mnemonic in mnemonics:
                click.echo(_instruction(row))
        return
    if kind is not None or action == "export":
        text = export.to_json() if kind == "json" else export.manual()
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    width = max(len(row.mnemonic) for row in TABLE)
    for row in TABLE:
        click.echo(f"{row.mnemonic:{width}}  {row.unit.value:3}  {row.doc}")


def _instruction(row: Insn) -> str:
    operands = ", ".join(f"{f.name}: {f.kind.name}" for f in row.operands) or "none"
    lines = [
        f"{row.mnemonic}  ({row.unit.value}, opcode {row.opcode:#04x}, group {row.group})",
        f"  {row.doc}",
        f"  action    {row.action}",
        f"  operands  {operands}",
    ]
    if row.syntax:
        lines.append(f"  syntax    {row.mnemonic} {row.syntax}")
    if row.traps:
        lines.append(f"  traps     {', '.join(row.traps)}")
    return "\n".join(lines)


@click.command(short_help="List the machines, or show one.")
@click.argument("name", required=False)
@click.option("--keys", is_flag=True, help="List all keys of a machine description.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def targets(name: str | None, keys: bool, as_json: bool) -> None:
    """List the machines that come with snncc, or print one as TOML to start your own from.

    A --target is a name from this list or a TOML file.
    """
    from snncc.compiler.driver.machines import DEFAULT_TARGET, find_machine
    from snncc.isa.machine.machine import list_machines, schema_rows

    if keys:
        for key, what in schema_rows():
            click.echo(f"{key:32} {what}")
        return
    if name is not None:
        machine = find_machine(name)
        from snncc.isa.machine.machine import flat

        click.echo(json.dumps(flat(machine), indent=1) if as_json else machine.to_toml(), nl=False)
        return
    rows = [find_machine(each) for each in list_machines()]
    if as_json:
        click.echo(json.dumps([{"name": m.name, "cores": m.cores} for m in rows], indent=1))
        return
    for m in rows:
        mark = "*" if m.name == DEFAULT_TARGET else " "
        size = (
            f"{m.cores:3} cores, {m.scratchpad.bytes // 1024:6} KB each, {m.clock_hz / 1e6:g} MHz"
        )
        click.echo(f"{mark} {m.name:14} {size}  {m.description}")
    click.echo("* default", err=True)


_SHELLS = {
    "bash": 'eval "$(_SNNCC_COMPLETE=bash_source snncc)"',
    "zsh": 'eval "$(_SNNCC_COMPLETE=zsh_source snncc)"',
    "fish": "_SNNCC_COMPLETE=fish_source snncc | source",
}


@click.command(short_help="Print a shell completion script.")
@click.argument("shell", type=click.Choice(sorted(_SHELLS)))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  snncc completion bash >> ~/.bashrc
    zsh:   snncc completion zsh >> ~/.zshrc
    fish:  snncc completion fish > ~/.config/fish/completions/snncc.fish
    """
    from click.shell_completion import get_completion_class

    from snncc.compiler.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        fail("E0026", f"this version of click knows no completion for {shell}")
    click.echo(found(cli, {}, "snncc", "_SNNCC_COMPLETE").source())

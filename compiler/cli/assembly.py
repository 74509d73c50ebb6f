"""`snncc asm` and `snncc dis`: assembly text and object files."""

from __future__ import annotations

from pathlib import Path

import click

from snncc.compiler.cli.options import TARGET


@click.command(short_help="Assemble a program by hand.")
@click.argument("source", metavar="FILE.s")
@click.option("-o", "--output", help="PROG.snnx (default: FILE's name); - is stdout.")
@TARGET
def asm(source: str, output: str | None, target: str | None) -> None:
    """Assemble FILE.s (- is stdin) into an object file.

    The machine is that of --target, or of the text's .machine line, or the default one.
    """
    from snncc.assembler import assemble
    from snncc.compiler.cli.files import read_bytes, write_bytes
    from snncc.compiler.cli.machines import find_machine
    from snncc.compiler.diag import fail
    from snncc.isa.objfile import ObjectFileError, to_bytes

    data = read_bytes(source)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        fail("E0005", f"byte {error.start} is not UTF-8 text", source)
    name = "<stdin>" if source == "-" else source
    machine = find_machine(target) if target else None
    program = assemble(text, name, machine, default=find_machine())
    try:
        write_bytes(output or f"{Path(source).stem}.snnx", to_bytes(program))
    except ObjectFileError as error:
        fail("E0801", str(error), name)


@click.command(short_help="Show a program as assembly text.")
@click.argument("program", metavar="PROG.snnx")
@click.option("-o", "--output", default="-", help="FILE.s; default and - are stdout.")
def dis(program: str, output: str) -> None:
    """Print a program as assembly text that assembles to the same bytes."""
    from snncc.compiler.cli.files import write_text
    from snncc.compiler.cli.simulate import read_program

    found = read_program(program)
    from snncc.assembler import disassemble

    write_text(output, disassemble(found))

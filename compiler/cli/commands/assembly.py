"""`snncc asm` and `snncc dis`: assembly text and object files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from snncc.compiler.cli.commands.options import TARGET


@click.command(short_help="Assemble a program by hand.")
@click.argument("source", metavar="FILE.s")
@click.option(
    "-o", "--output", help="PROG.snnx (default: FILE's name, stdout if that is -); - is stdout."
)
@click.option("--listing", metavar="FILE", help="Write addresses, words and instructions.")
@TARGET
def asm(source: str, output: str | None, listing: str | None, target: str | None) -> None:
    """Assemble FILE.s (- is stdin) into an object file; docs/assembly.md has the language.

    \b
      snncc asm prog.s -o prog.snnx
      snncc asm prog.s --listing - | less
      snncc dis prog.snnx | snncc asm - -o same.snnx

    The machine is the one that the text names with .machine; --target overrides it.
    """
    from snncc.assembler import assemble
    from snncc.compiler.cli.commands.places import check_places, unnamed
    from snncc.compiler.diag import fail
    from snncc.compiler.driver.files import read_bytes, write_bytes, write_text
    from snncc.compiler.driver.machines import DEFAULT_TARGET, find_machine
    from snncc.isa.program.container import is_program
    from snncc.isa.program.file import ObjectFileError, to_bytes

    unsaid = output is None and source != "-"
    if output is None:
        output = "-" if source == "-" else f"{Path(source).stem}.snnx"
    check_places({"FILE.s": source, "--target": target}, {"-o": output, "--listing": listing})
    if unsaid:
        unnamed(Path(output), is_program)
    data = read_bytes(source)
    name = "<stdin>" if source == "-" else source
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        fail("E0005", f"byte {error.start} is not UTF-8 text", name)
    program = assemble(
        text,
        name,
        find_machine(target) if target else None,
        default=find_machine(DEFAULT_TARGET),
    )
    try:
        made = to_bytes(program)
    except ObjectFileError as error:
        fail("E0801", str(error), name)
    if listing is not None:
        from snncc.assembler.listing import listing as lines

        write_text(listing, "".join(f"{line}\n" for line in lines(program)))
    write_bytes(output, made)


@click.command(short_help="Show a program as assembly text.")
@click.argument("program", metavar="PROG.snnx")
@click.option("-o", "--output", default="-", help="FILE.s; default and - are stdout.")
@click.option("--data", metavar="FILE.bin", help="Put large data here instead of into the text.")
@click.option("--core", "cores", type=click.IntRange(0), multiple=True, help="List this core only.")
@click.option("--layer", help="List the instructions of this layer only.")
@click.option("--json", "as_json", is_flag=True, help="Print instructions and tables as JSON.")
def dis(
    program: str,
    output: str,
    data: str | None,
    cores: tuple[int, ...],
    layer: str | None,
    as_json: bool,
) -> None:
    """Print a program as assembly text that assembles to the same bytes.

    With --core or --layer: a listing of addresses, words, instructions and where they come from.

    \b
      snncc dis prog.snnx | less
      snncc dis prog.snnx --core 0 --layer fc1
      snncc dis prog.snnx -o prog.s --data prog.bin
    """
    from snncc.assembler import listing
    from snncc.assembler.disassemble import SideFile, disassemble
    from snncc.compiler.cli.commands.places import check_places
    from snncc.compiler.diag import fail
    from snncc.compiler.driver.files import write_bytes, write_text
    from snncc.compiler.driver.simulate import read_program

    check_places({"PROG.snnx": program}, {"-o": output, "--data": data})
    found = read_program(program)
    missing = sorted(set(cores) - {c.core for c in found.cores})
    if missing:
        have = ", ".join(str(c.core) for c in found.cores)
        fail("E0029", f"there is no code for core {missing[0]}", program,
             help=f"cores with code: {have}")  # fmt: skip
    if layer is not None:
        known = sorted({line.layer for c in found.cores for line in c.lines if line.layer})
        if layer not in known:
            fail("E0029", f"there is no code of layer '{layer}'", program,
                 help=f"layers: {', '.join(known) or 'none are named'}")  # fmt: skip
    if as_json:
        write_text(output, json.dumps(listing.as_json(found, cores, layer), indent=1) + "\n")
    elif cores or layer is not None:
        write_text(output, "".join(f"{line}\n" for line in listing.listing(found, cores, layer)))
    elif data is None:
        write_text(output, disassemble(found))
    else:
        folder = Path(output).parent if output != "-" else Path()
        if Path(data).resolve().parent != folder.resolve():
            fail("E0029", "the data file must lie beside the text", data)
        side = SideFile(Path(data).name)
        text = disassemble(found, side)
        write_bytes(data, bytes(side.data))
        write_text(output, text)

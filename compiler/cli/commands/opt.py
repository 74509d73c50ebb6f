"""``snncc opt``: named passes on textual IR, for whoever writes or debugs a pass."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from snncc.compiler.cli.commands.places import check_places
from snncc.compiler.config.config import Config, load_config
from snncc.compiler.diag import fail
from snncc.compiler.driver.build import Request, import_model
from snncc.compiler.driver.files import is_model
from snncc.compiler.ir.parser import MAX_CHARACTERS, Parsed
from snncc.compiler.ir.printer import print_module
from snncc.compiler.ir.resources import parse_text, read_module, write_module
from snncc.compiler.pipeline.context import PassContext
from snncc.compiler.pipeline.dumps import DumpWriter
from snncc.compiler.pipeline.manager import Observer, PassManager, shell
from snncc.compiler.pipeline.named import DEFAULT_LEVEL, LEVELS, named, names
from snncc.compiler.pipeline.observers import PrintIR, Timer
from snncc.compiler.pipeline.options import options_table
from snncc.compiler.pipeline.plan import plan
from snncc.compiler.pipeline.registry import lookup, passes
from snncc.isa.machine.machine import load_machine
from snncc.isa.machine.parts import MachineError

HELP = """Run named passes on textual IR.

IN is a .snnir file with its arrays beside it (NAME.snnir.npz or resources.npz), a model (.onnx,
.nir, .snn), or - for stdin. The result goes to stdout, or to the file named by -o.

\b
  snncc opt net.snnir -p 'canonicalize,dce'
  snncc opt net.snn -o net.snnir
  snncc opt dumps/002-dce.snnir -p default --print-ir-diff -o out.snnir
"""


def _list_passes(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    known = passes()
    width = max(map(len, [*known, *names()]), default=0)
    for each in known.values():
        stages = f"{'|'.join(each.takes)} -> {each.gives}" if each.gives else "|".join(each.takes)
        click.echo(f"{each.name:{width}}  {each.summary} [{stages}]")
    click.echo("\nnamed pipelines:")
    for name in names():
        click.echo(f"{name:{width}}  {','.join(named(name) or ())}")
    ctx.exit()


def _help_pass(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is None or ctx.resilient_parsing:
        return
    each = lookup(value, others=names())
    stages = " or ".join(each.takes)
    click.echo(f"{each.name}: {each.summary}\n\n{each.doc}\n")
    click.echo(f"takes IR in stage {stages}, gives {each.gives or 'the same'}")
    table = options_table(each.options)
    doc = inspect.getdoc(each.options) or ""
    click.echo(f"\noptions: {doc}" if table else "\nno options")
    for name, kind, default, text in table:
        click.echo(f"  {name}: {kind} = {default}  {text}".rstrip())
    ctx.exit()


@click.command("opt", help=HELP)
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-p", "--pipeline", default="", help="Passes: a,b{x=1,y=foo}, or a named pipeline.")
@click.option("-o", "--output", type=click.Path(path_type=Path, allow_dash=True), default="-")
@click.option("--resources", type=click.Path(path_type=Path), multiple=True, help="Further npz.")
@click.option("--target", help="Machine: a name (see snncc targets) or a TOML file.")
@click.option("--config", type=click.Path(path_type=Path), help="Training configuration (TOML).")
@click.option("--mode", type=click.Choice(["train", "infer"]), default="train", show_default=True)
@click.option("-O", "level", type=click.IntRange(LEVELS[0], LEVELS[-1]), default=DEFAULT_LEVEL)
@click.option("--stop-after", default="", metavar="PASS", help="Stop after PASS (PASS@2: its 2nd).")
@click.option("--verify-each/--no-verify-each", default=True, help="Verify after every pass.")
@click.option("--dump-dir", type=click.Path(path_type=Path), help="Write every step's IR there.")
@click.option("--print-ir-before", multiple=True, metavar="PASS", help="Print IR to stderr.")
@click.option("--print-ir-after", multiple=True, metavar="PASS")
@click.option("--print-ir-after-all", is_flag=True, help="Print IR to stderr after every pass.")
@click.option("--print-ir-diff", is_flag=True, help="Print to stderr what every pass changed.")
@click.option("--time-passes", is_flag=True, help="Print to stderr how long each pass took.")
@click.option(
    "--list-passes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_passes,
    help="List passes and named pipelines.",
)
@click.option("--help-pass", metavar="PASS", is_eager=True, expose_value=False,
              callback=_help_pass, help="Explain one pass and its options.")  # fmt: skip
def opt(
    source: Path,
    pipeline: str,
    output: Path,
    resources: tuple[Path, ...],
    target: str | None,
    config: Path | None,
    mode: str,
    level: int,
    stop_after: str,
    verify_each: bool,
    dump_dir: Path | None,
    print_ir_before: tuple[str, ...],
    print_ir_after: tuple[str, ...],
    print_ir_after_all: bool,
    print_ir_diff: bool,
    time_passes: bool,
) -> None:
    """Run the command."""
    reads: dict[str, str | Path | None] = {"IN": source, "--target": target, "--config": config}
    reads |= {f"--resources {path}": path for path in resources}
    check_places(reads, {"-o": output})
    context = _context(target, config, mode)
    parsed = _read(source, resources, context)
    module = parsed.module
    steps = plan(pipeline, module.stage, level, stop_after)
    words = ["snncc", "opt", source.name, "-p", pipeline]
    context.command = shell(*words, context.flags)
    observers: list[Observer] = []
    if print_ir_before or print_ir_after or print_ir_after_all or print_ir_diff:
        observers.append(
            PrintIR(
                _say,
                before=frozenset(map(_pass_name, print_ir_before)),
                after=frozenset(map(_pass_name, print_ir_after)),
                after_all=print_ir_after_all,
                diff=print_ir_diff,
            )
        )
    if dump_dir is not None:
        observers.append(DumpWriter(dump_dir, "input"))
    if time_passes:
        observers.append(Timer(_say))
    manager = PassManager(
        steps,
        context,
        observers=observers,
        verify_each=verify_each,
        crash_dir=dump_dir,
    )
    manager.run(module, parsed.spans)
    for warning in context.diagnostics.warnings:
        click.echo(str(warning), err=True)
    if str(output) == "-":
        click.echo(print_module(module), nl=False)
    else:
        write_module(module, output)


command = opt


def _read(source: Path, resources: tuple[Path, ...], context: PassContext) -> Parsed:
    if str(source) == "-":
        data = sys.stdin.buffer.read(MAX_CHARACTERS + 1)
        return parse_text(data.decode("utf-8", "replace"), "<stdin>", resources)
    if is_model(source):
        imported = import_model(
            source, Request(context.config or Config(), training=context.mode == "train")
        )
        context.config = imported.config
        return Parsed(imported.module, {})
    return read_module(source, resources)


def _context(target: str | None, config: Path | None, mode: str) -> PassContext:
    context = PassContext(mode=mode)
    flags: list[str] = []
    if target is not None:
        try:
            context.machine = load_machine(target)
        except MachineError as error:
            fail("E0005", str(error), target)
        flags += ["--target", target]
    if config is not None:
        context.config = load_config(config)
        flags += ["--config", str(config)]
    if mode != "train":
        flags += ["--mode", mode]
    context.flags = shell(*flags, "") if flags else ""
    return context


def _pass_name(name: str) -> str:
    return lookup(name).name


def _say(text: str) -> None:
    sys.stdout.flush()
    click.echo(text, err=True, nl=False)

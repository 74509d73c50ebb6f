"""Listings: code with addresses and words, and the same as plain data."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from snncc.assembler.disassemble import Blocks, micro_names, ranges, sharing
from snncc.assembler.operands import MICROPROGRAM
from snncc.isa.diagnostics.printable import printable
from snncc.isa.instructions.encoding import encode_int
from snncc.isa.instructions.text import show
from snncc.isa.microprograms.text import show_micro
from snncc.isa.program.model import CoreProgram, ObjectFile, SourceLine
from snncc.isa.spec import Field, Inst


def listing(
    program: ObjectFile, cores: Collection[int] = (), layer: str | None = None
) -> Iterator[str]:
    """Yield lines ``address  word  instruction  ; source`` of some cores (none: all) or a layer."""
    names = micro_names(program)
    for together in sharing(_chosen(program, cores)):
        core = together[0]
        numbers = [one.core for one in together]
        yield f"core{'s' if len(numbers) > 1 else ''} {ranges(numbers)}"
        blocks = Blocks(core)
        ends: list[int] = []
        before: SourceLine | None = None
        for address, inst in enumerate(core.code):
            while ends and ends[-1] <= address:
                ends.pop()
            source = core.source(address)
            if _wanted(source, layer):
                text = "  " * len(ends) + _show(inst, names)
                note = _describe(source) if source is not None and source != before else ""
                before = source
                line = f"{address:6d}  {encode_int(inst):032x}  {text}"
                yield f"{line:88s}  ; {note}" if note else line
            if address in blocks.ends:
                ends.append(blocks.ends[address])


def as_json(
    program: ObjectFile, cores: Collection[int] = (), layer: str | None = None
) -> dict[str, object]:
    """Return a program as plain data: instructions with words, operands and sources.

    A core that runs the code of an earlier one has its number as ``same_as``, and no code.
    """
    names = micro_names(program)
    return {
        "machine": {"name": program.machine_name, "hash": program.machine_hash},
        "isa": program.isa,
        "cores": [
            {"core": core.core, "instructions": len(core.code)}
            | (
                {"code": list(_code(core, names, layer))}
                if core is together[0]
                else {"same_as": together[0].core}
            )
            for together in sharing(_chosen(program, cores))
            for core in together
        ],
        "microprograms": [
            {"name": m.name, "text": show_micro(m).rstrip().split("\n")[1:-1]}
            for m in program.micro
        ],
        "symbols": [
            {"name": s.name, "kind": s.kind, "value": s.value, "core": s.core}
            | (
                {}
                if s.plain
                else {"bytes": s.bytes, "first": s.first, "last": s.last, "tensor": s.tensor}
            )
            for s in program.symbols
        ],
        "tensors": [
            {
                "name": t.name,
                "role": t.role,
                "dtype": t.dtype,
                "shape": list(t.shape),
                "space": t.space,
                "core": t.core,
                "address": t.address,
            }
            for t in program.tensors
        ],
        "initial": [
            {
                "space": i.space,
                "core": i.core,
                "address": i.address,
                "bytes": i.ref.bytes if i.ref else len(i.data),
            }
            for i in program.initial
        ],
    }


def _code(core: CoreProgram, names: list[str], layer: str | None) -> Iterator[dict[str, object]]:
    for address, inst in enumerate(core.code):
        source = core.source(address)
        if not _wanted(source, layer):
            continue
        row = inst.insn
        entry: dict[str, object] = {
            "address": address,
            "word": f"{encode_int(inst):032x}",
            "text": _show(inst, names),
            "mnemonic": row.mnemonic,
            "unit": row.unit.value,
            "operands": {
                f.name: f.kind.show(v) for f, v in zip(row.operands, inst.values, strict=True)
            },
        }
        if source is not None:
            entry |= {
                key: value
                for key, value in (
                    ("layer", source.layer),
                    ("phase", source.phase),
                    ("file", source.file),
                    ("line", source.line),
                    ("location", source.location),
                )
                if value
            }
        yield entry


def _chosen(program: ObjectFile, cores: Collection[int]) -> list[CoreProgram]:
    found = [c for c in program.cores if not cores or c.core in cores]
    return sorted(found, key=lambda c: c.core)


def _wanted(source: SourceLine | None, layer: str | None) -> bool:
    return layer is None or (source is not None and source.layer == layer)


def _show(inst: Inst, names: list[str]) -> str:
    def symbols(operand: Field, value: int) -> str | None:
        if operand.kind.name == MICROPROGRAM and value < len(names) and names[value]:
            return f"@{names[value]}"
        return None

    return show(inst, symbols)


def _describe(source: SourceLine) -> str:
    place = f"{source.file}:{source.line}" if source.file else ""
    return printable(" ".join(filter(None, (source.layer, source.phase, place, source.location))))

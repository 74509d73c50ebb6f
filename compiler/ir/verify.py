"""The verifier: rules that hold for every module, and each op's own rules from its definition.

A pass may assume a valid module and must leave one.  All faults are collected (up to 20) and
raised as one :class:`CompileError`; each names the op and says where it came from.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from snncc.compiler.diag import DiagnosticSink, Note, Span, Where
from snncc.compiler.ir.core import DTYPES, UNKNOWN, Block, Func, Module, Op, Type, Value
from snncc.compiler.ir.opdef import (
    REGISTRY,
    STAGES,
    AttrDef,
    Count,
    OpDef,
    attrs_of,
    lookup,
    stages_of,
)
from snncc.compiler.ir.printer import format_attribute


def verify(
    module: Module, spans: Mapping[Op, Span] | None = None, *, locations: bool = False
) -> None:
    """Raise a :class:`CompileError` unless the module keeps all rules.

    ``spans`` (from the parser) let messages show the line of the text.  ``locations`` asks every
    op for a location; the pass manager does so when the module it was given had them.
    """
    _Verifier(module, spans or {}, locations).run()


def lacks_location(module: Module) -> bool:
    """Whether some op of the module does not say where it came from."""
    return any(op.loc == UNKNOWN for op in module.walk())


class _Verifier:
    def __init__(self, module: Module, spans: Mapping[Op, Span], locations: bool) -> None:
        self.module = module
        self.spans = spans
        self.locations = locations
        self.sink = DiagnosticSink()
        self.seen: set[Op] = set()
        self.visible: set[Value] = set()
        self.values: list[tuple[Value, Op | None]] = []
        self.uses: dict[Value, set[tuple[Op, int]]] = {}
        self.types: set[Type] = set()
        self.known: dict[str, dict[str, AttrDef]] = {}
        self.func = ""

    def run(self) -> None:
        """Check the module; raise what was found."""
        self.attributes()
        for name, func in self.module.funcs.items():
            if func.name != name:
                self.sink.error("E0255", f"function @{func.name} is stored as @{name}")
            self.function(func)
        for value, op in self.values:
            self.use_list(value, op)
        self.sink.raise_if_errors()

    def attributes(self) -> None:
        stage = self.module.attrs.get("stage")
        where = f"@{self.module.name}"
        if stage not in STAGES:
            shown = "missing" if stage is None else format_attribute(stage)
            help_ = f'write attributes {{stage = "graph"}}; the stages are {", ".join(STAGES)}'
            self.sink.error("E0260", f"the module's stage is {shown}", where, help=help_)
        for key in ("steps", "batch"):
            value = self.module.attrs.get(key, 1)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                message = f"{key} is {format_attribute(value)}, not a positive int"
                self.sink.error("E0260", message, where)

    # --- messages -------------------------------------------------------------------------

    def report(self, code: str, op: Op, message: str, help_: str = "") -> None:
        """Add an error about an op: its line in the text, else where it came from."""
        loc = "" if op.loc == UNKNOWN else op.loc.text
        where: Where = self.spans.get(op, loc or f"@{self.module.name}/@{self.func}")
        notes = [Note("the op comes from here", loc)] if loc and op in self.spans else []
        named = [f"%{r.name}" for r in op.results if r.name]
        title = f"{op.name} {', '.join(named)}".rstrip()
        self.sink.error(code, f"{title}: {message}", where, notes=notes, help=help_)

    # --- structure ------------------------------------------------------------------------

    def function(self, func: Func) -> None:
        self.func = func.name
        self.visible = set()
        if func.body.parent is not func:
            self.sink.error("E0255", f"the body of @{func.name} does not point to it", func.name)
        self.block(func.body, None, None)

    def block(self, block: Block, holder: Op | None, terminator: str | None) -> None:
        """Check a block; ``terminator`` is what must end it ('' nothing special, None: free)."""
        added = list(block.args)
        for i, arg in enumerate(block.args):
            self.value(arg, block, i, holder)
        self.visible.update(block.args)
        last = len(block.ops) - 1
        for i, op in enumerate(block.ops):
            if op.parent is not block:
                self.report("E0255", op, "it does not point to the block that holds it")
            if op in self.seen:
                self.report("E0255", op, "the same op stands in two places")
                continue
            self.seen.add(op)
            self.op(op)
            definition = lookup(op.name)
            if definition is not None and definition.terminator and i != last:
                self.report("E0256", op, "it ends a block, but ops follow it")
            self.visible.update(op.results)
            added += op.results
        if holder is not None and terminator:
            found = block.ops[-1].name if block.ops else "nothing"
            if found != terminator:
                message = f"each of its regions must end with {terminator}, not {found}"
                self.report("E0256", holder, message)
        self.visible.difference_update(added)

    def value(self, value: Value, owner: Op | Block, index: int, op: Op | None) -> None:
        self.values.append((value, op))
        if value.owner is not owner or value.index != index:
            self.fault(op, f"value {index} (%{value.name}) does not point to its owner")
        if value.type in self.types:
            return
        self.types.add(value.type)
        dims: Sequence[object] = value.type.shape
        bad = [d for d in dims if type(d) is not int or d < 1]
        if value.type.dtype not in DTYPES or bad or (value.type.kind == "seq" and not dims):
            help_ = f"dtypes are {', '.join(DTYPES)}; dimensions are positive; seq has at least one"
            self.fault(op, f"%{value.name} has the type {value.type}", "E0258", help_)

    def fault(self, op: Op | None, message: str, code: str = "E0255", help_: str = "") -> None:
        if op is not None:
            self.report(code, op, message, help_)
        else:
            place = f"@{self.module.name}/@{self.func}"
            self.sink.error(code, f"argument: {message}", place, help=help_)

    def use_list(self, value: Value, op: Op | None) -> None:
        listed = set(value.uses)
        if len(listed) != len(value.uses) or listed != self.uses.get(value, set()):
            self.fault(op, f"the list of uses of %{value.name} does not match the operands")

    # --- ops ------------------------------------------------------------------------------

    def op(self, op: Op) -> None:
        before = len(self.sink.diagnostics)
        for i, value in enumerate(op.operands):
            self.uses.setdefault(value, set()).add((op, i))
            if value not in self.visible:
                message = f"operand {i} (%{value.name}) is not defined above it in its scope"
                self.report("E0254", op, message)
        for i, result in enumerate(op.results):
            self.value(result, op, i, op)
        if self.locations and op.loc == UNKNOWN:
            self.report("E0259", op, "it does not say where it came from: pass loc= on")
        definition = lookup(op.name)
        if definition is None:
            close = difflib.get_close_matches(op.name, REGISTRY, 3)
            help_ = f"did you mean {' or '.join(close)}?" if close else ""
            self.report("E0250", op, "no dialect defines this op", help_)
            return
        self.counts(op, definition)
        self.attrs(op, definition)
        for region in op.regions:
            outer = self.visible
            if region.parent is not op:
                self.report("E0255", op, "a region does not point to it")
            self.visible = set() if definition.isolated else outer
            self.block(region, op, definition.region_terminator)
            self.visible = outer
        if len(self.sink.diagnostics) == before:
            for message in _own_rules(op, definition):
                self.report("E0257", op, message)

    def counts(self, op: Op, definition: OpDef) -> None:
        for what, found, allowed in (
            ("operands", len(op.operands), definition.operands),
            ("results", len(op.results), definition.results),
            ("regions", len(op.regions), (definition.regions, definition.regions)),
        ):
            if problem := _count(found, allowed):
                self.report("E0252", op, f"{found} {what}, not {problem}")
        stages = stages_of(definition)
        if self.module.stage not in stages:
            message = f"not allowed in stage {self.module.stage}, only in {', '.join(stages)}"
            self.report("E0251", op, message)

    def attrs(self, op: Op, definition: OpDef) -> None:
        known = self.known.get(op.name)
        if known is None:
            known = self.known[op.name] = attrs_of(definition)
        for key, wanted in known.items():
            if key not in op.attrs:
                if wanted.required:
                    self.report("E0253", op, f"attribute {key} is missing: {wanted.doc}")
            elif problem := wanted.problem(op.attrs[key]):
                self.report("E0253", op, f"attribute {key} {problem}")
        for key, value in op.attrs.items():
            if key in known:
                continue
            if not definition.open_attrs:
                close = difflib.get_close_matches(key, known, 1)
                help_ = f"did you mean {close[0]}?" if close else ""
                self.report("E0253", op, f"it has no attribute {key}", help_)
            else:
                try:
                    format_attribute(value)
                except ValueError as error:
                    self.report("E0253", op, f"attribute {key}: {error}")


def _count(found: int, allowed: Count) -> str:
    """Return how many are allowed, or '' when ``found`` is right."""
    least, most = allowed
    if found >= least and (most is None or found <= most):
        return ""
    if most is None:
        return f"at least {least}"
    return str(least) if least == most else f"{least} to {most}"


def _own_rules(op: Op, definition: OpDef) -> Iterable[str]:
    try:
        return list(definition.verify(op))
    except ValueError as error:  # from the typed access to attributes
        return [str(error)]

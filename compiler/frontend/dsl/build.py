"""From the tree of a .snn file to a graph-stage module."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from snncc.compiler.diag import CompileError, DiagnosticSink, Span, fail
from snncc.compiler.frontend.dsl.args import Args, Par, check, similar
from snncc.compiler.frontend.dsl.layers import LAYERS, Layer, sample
from snncc.compiler.frontend.dsl.net import Net
from snncc.compiler.frontend.dsl.neurons import NEURONS
from snncc.compiler.frontend.dsl.parse import Call, Item, Program
from snncc.compiler.frontend.dsl.parse import Value as Said
from snncc.compiler.ir.core import Value

INPUT = (
    Par("shape", "shape", needed=True, low=1, doc="such as input(2x34x34)"),
    Par("steps", "int", None, low=1),
    Par("batch", "int", None, low=1),
    Par("static", "bool", False, doc="the same input at every step"),
    Par("spikes", "bool", False, doc="only 0 and 1"),
    Par("name", "word", "x"),
)
INIT = (Par("seed", "int", 0), Par("gain", "float", 1.0))
WEIGHTS = (Par("file", "word", needed=True),)
REPEAT = (Par("times", "int", needed=True, low=1),)
RESIDUAL = (Par("mode", "word", "add", choices=("add", "and", "or", "iand")),)
ATTENTION = (Par("heads", "int", 1, low=1), Par("scale", "float", 0.125))
JOIN = (Par("axis", "int", 1, low=1),)
PLACED = ("input", "train", "init", "weights")
BLOCKS = ("repeat", "residual", "concat", "attention", "add", "output")
OUTPUT = (Par("name", "word", "out"),)
OPTIONS = {"repeat": REPEAT, "residual": RESIDUAL, "attention": ATTENTION, "output": OUTPUT}
"""Options of blocks whose arguments are options only."""
MAX_LAYERS = 20_000
MAX_ELEMENTS = 1 << 32
Arguments: TypeAlias = tuple[tuple[str, Said], ...]


@dataclass(slots=True)
class Walker:
    """Emits statements; ``x`` flows from one to the next."""

    net: Net
    lets: dict[str, Call] = field(default_factory=dict[str, Call])
    broken: bool = False
    outputs: dict[str, Value] = field(default_factory=dict[str, Value])
    count: int = 0

    def run(self, program: Program, x: Value) -> None:
        """Emit a file."""
        x = self.items(program.items, x, top=True)
        self.net.sink.raise_if_errors()
        if not self.outputs:
            self.outputs["out"] = x
        for name, value in self.outputs.items():
            axis = 0 if value.type.kind == "seq" else -1
            b = self.net.builder(Span(program.source, 0, 1))
            b.op("graph.output", value, attrs={"name": name, "axis": axis})

    def items(self, items: tuple[Item, ...], x: Value, top: bool = False) -> Value:
        """Emit statements one after the other."""
        for item in items:
            if item.kind == "network":
                if not top:
                    self.fault("E0120", "network stands at the top of the file", item.span)
            elif item.kind == "let":
                assert isinstance(item.value, Call)
                self.let(item, item.value)
            elif item.kind == "from":
                x = self.named(item.name, item.span, x)
            elif not isinstance(item.value, Call):
                where = item.value.span if item.value is not None else item.span
                self.fault("E0120", f"{item.name} = needs a layer", where)
            elif item.value.name in PLACED:
                if not top:
                    self.fault("E0120", f"{item.value.name} stands at the top", item.value.span)
            else:
                x = self.call(item.value, x, item.name)
                if item.name:
                    self.net.values[item.name] = x
        return x

    def fault(self, code: str, message: str, where: Span, help_: str = "") -> None:
        """Report an error and go on, checking only."""
        self.net.sink.error(code, message, where, help=help_)
        self.broken = True

    def let(self, item: Item, call: Call) -> None:
        """Define an abbreviation."""
        if item.name in LAYERS or item.name in NEURONS or item.name in (*PLACED, *BLOCKS):
            self.fault("E0123", f"{item.name} is a layer's name already", item.span)
            return
        made = self.resolve(call)
        self.lets[item.name] = replace(made, args=_named(made.name, made.args))

    def resolve(self, call: Call) -> Call:
        """Put the definition in the place of an abbreviation; arguments here win."""
        base = self.lets.get(call.name)
        if base is None:
            return call
        args = _named(base.name, call.args)
        said = {k for k, _ in args if k}
        kept = tuple((k, v) for k, v in base.args if k not in said)
        return Call(base.name, call.span, kept + args, call.blocks or base.blocks,
                    base.bare and call.bare)  # fmt: skip

    def named(self, name: str, span: Span, x: Value) -> Value:
        """Return a named value."""
        found = self.net.values.get(name)
        if found is None:
            self.fault("E0123", f"there is no {name!r} above", span,
                       similar(name, self.net.values) if self.net.values else "")  # fmt: skip
            return x
        return found

    def call(self, call: Call, x: Value, name: str) -> Value:
        """Emit one layer or block."""
        call = self.resolve(call)
        self.count += 1
        if self.count > MAX_LAYERS:
            fail("E0124", f"more than {MAX_LAYERS} layers", call.span)
        layer: Layer | None = LAYERS.get(call.name) or NEURONS.get(call.name)
        try:
            if layer is not None:
                return self.layer(layer, call, x, name)
            special = {
                "repeat": self.repeat,
                "residual": self.residual,
                "concat": self.concat,
                "add": self.add,
                "output": self.output,
                "attention": self.attention,
            }.get(call.name)
            if special is not None:
                return special(call, x, name)
        except CompileError:
            raise
        except (ValueError, IndexError) as error:
            fail("E0124", f"{call.name}: {error}", call.span)
        known = [*LAYERS, *NEURONS, *BLOCKS, *self.lets]
        self.fault("E0121", f"there is no layer {call.name!r}", call.span,
                   similar(call.name, known))  # fmt: skip
        for block in call.blocks:
            self.items(block, x)
        return x

    def layer(self, layer: Layer, call: Call, x: Value, name: str) -> Value:
        """Emit a row of the tables."""
        if call.blocks:
            self.fault("E0120", f"{call.name} takes no block", call.span)
        args = check(call, layer.pars, self.net.sink)
        if args is None or self.broken:
            self.broken = True
            return x
        made = layer.emit(self.net, x, args, self.net.name(name, call.name))
        if math.prod(made.type.shape) > MAX_ELEMENTS:
            fail("E0124", f"{call.name} gives samples of shape {sample(made)}", call.span)
        return made

    def block(self, call: Call, pars: tuple[Par, ...], low: int, high: int) -> Args | None:
        """Check arguments and number of blocks."""
        args = check(call, pars, self.net.sink)
        if not low <= len(call.blocks) <= high:
            many = f"{low} block{'s' * (low != 1)}" if low == high else f"{low} to {high} blocks"
            if high > 1000:
                many = f"at least {low} blocks"
            self.fault("E0120", f"{call.name} takes {many} in braces", call.span)
            return None
        self.broken |= args is None
        return args

    # ------------------------------------------------------------------ blocks
    def repeat(self, call: Call, x: Value, name: str) -> Value:
        """Emit a block several times."""
        args = self.block(call, REPEAT, 1, 1)
        for _ in range(1 if args is None else args.whole("times")):
            x = self.items(call.blocks[0], x) if call.blocks else x
            if self.broken:
                break
        return x

    def residual(self, call: Call, x: Value, name: str) -> Value:
        """Emit block(x) + x, or + second block(x)."""
        args = self.block(call, RESIDUAL, 1, 2)
        branches = [self.items(block, x) for block in call.blocks]
        if args is None or self.broken:
            self.broken = True
            return x
        main, short = branches[0], branches[1] if len(branches) > 1 else x
        if main.type.step_shape != short.type.step_shape:
            fail("E0124", f"the branch gives {sample(main)}, the shortcut {sample(short)}",
                 call.span, help="a second block makes the shortcut fit")  # fmt: skip
        mode = args.word("mode")
        if mode != "add" and {main.type.dtype, short.type.dtype} != {"bit"}:
            fail("E0124", f"mode {mode} joins spikes, both branches must end in them", call.span)
        return self.net.builder(call.span).one(f"graph.{mode}", main, short)

    def concat(self, call: Call, x: Value, name: str) -> Value:
        """Join blocks or named values along an axis."""
        if call.blocks:
            args = self.block(call, JOIN, 2, 1000)
            parts = [self.items(block, x) for block in call.blocks]
        else:
            plain = Call(call.name, call.span, tuple((k, v) for k, v in call.args if k))
            args = self.block(plain, JOIN, 0, 0)
            names = [v for k, v in call.args if not k]
            parts = [self.named(getattr(v, "name", "?"), v.span, x) for v in names]
            if not parts:
                self.fault("E0121", "concat needs names or blocks", call.span)
        if args is None or self.broken:
            self.broken = True
            return x
        return self.net.builder(call.span).one("graph.concat", *parts, axis=args.whole("axis"))

    def add(self, call: Call, x: Value, name: str) -> Value:
        """Add named values."""
        self.block(Call(call.name, call.span, (), call.blocks), (), 0, 0)
        if not call.args:
            self.fault("E0121", "add needs the name of a value", call.span)
        for _, value in call.args:
            other = self.named(getattr(value, "name", "?"), value.span, x)
            if self.broken:
                return x
            if not _adds(x, other):
                fail("E0124", f"{sample(x)} and {sample(other)} cannot be added", value.span,
                     help="shapes are the same, or 1 where they differ")  # fmt: skip
            x = self.net.builder(call.span).one("graph.add", x, other)
        return x

    def output(self, call: Call, x: Value, name: str) -> Value:
        """Make the present value a result."""
        args = self.block(call, OUTPUT, 0, 0)
        if args is not None:
            if args.word("name") in self.outputs:
                self.fault("E0123", f"output {args.word('name')} is there already", call.span)
            self.outputs[args.word("name")] = x
        return x

    def attention(self, call: Call, x: Value, name: str) -> Value:
        """Emit spiking self-attention over CxN; the block holds the neuron."""
        args = self.block(call, ATTENTION, 1, 1)
        if args is None or self.broken:
            self.broken = True
            return x
        shape, heads = x.type.step_shape, args.whole("heads")
        if len(shape) != 3 or shape[1] % heads:
            text = f"attention with {heads} heads needs CxN with C a multiple of {heads}"
            fail("E0124", f"{text}, not {sample(x)}", call.span, help="tokens makes CxN of CxHxW")
        name = self.net.name(name, "attention")
        b = self.net.builder(call.span)
        split = (shape[0], heads, shape[1] // heads, shape[2])
        q, k, v = (
            b.one("graph.reshape", self.project(call, x, f"{name}.{part}"), shape=split)
            for part in "qkv"
        )
        scores = b.one("graph.matmul", q, k, transpose_a=True)
        mixed = b.one("graph.matmul", v, scores, transpose_b=True)
        mixed = b.one("graph.mul", mixed, self.net.number(b, args.float("scale")))
        x = self.items(call.blocks[0], b.one("graph.reshape", mixed, shape=shape))
        return self.project(call, x, f"{name}.proj")

    def project(self, call: Call, x: Value, name: str) -> Value:
        """Emit a 1x1 convolution over tokens, batch norm and the neuron of the block."""
        size, span = x.type.step_shape[1], call.span
        values = {p.name: p.default for p in LAYERS["conv"].pars}
        values |= {"out": size, "kernel": 1, "bias": False}
        x = LAYERS["conv"].emit(self.net, x, Args(Call("conv", span), values), name)
        values = {p.name: p.default for p in LAYERS["bn"].pars}
        x = LAYERS["bn"].emit(self.net, x, Args(Call("bn", span), values), f"{name}.bn")
        return self.items(call.blocks[0], x)


def _adds(x: Value, other: Value) -> bool:
    """Whether samples have as many axes, equal ones but where one has length 1."""
    a, b = x.type.step_shape, other.type.step_shape
    return len(a) == len(b) and all(m == n or 1 in (m, n) for m, n in zip(a, b, strict=True))


def _named(kind: str, args: Arguments) -> Arguments:
    """Give arguments without a name the one that they mean, so that a later one can win."""
    layer = LAYERS.get(kind) or NEURONS.get(kind)
    pars = layer.pars if layer is not None else OPTIONS.get(kind, ())
    free = [p.name for p in pars if p.name not in {k for k, _ in args}]
    named: list[tuple[str, Said]] = []
    for key, value in args:
        named.append((key or (free.pop(0) if free else ""), value))
    return tuple(named)


def find(program: Program, name: str) -> Call | None:
    """Return the statement of this name at the top of a file; two are an error."""
    calls = [i.value for i in program.items if isinstance(i.value, Call) and i.kind == "plain"]
    found = [c for c in calls if c.name == name]
    if len(found) > 1:
        fail("E0123", f"{name} is there already", found[1].span)
    return found[0] if found else None


def placed(program: Program, name: str, pars: tuple[Par, ...]) -> Args | None:
    """Return the checked arguments of such a statement, None when it is not there."""
    call, sink = find(program, name), DiagnosticSink()
    args = check(call, pars, sink) if call is not None else None
    sink.raise_if_errors()
    return args

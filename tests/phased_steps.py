"""Random training steps of stage ``phased``: dense layers, regions, readouts, losses, stores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from snncc.compiler.ir.build import Builder
from snncc.compiler.ir.core import (
    Attribute,
    Block,
    Func,
    Location,
    Module,
    Op,
    Type,
    Value,
    op,
    seq,
    tensor,
)
from snncc.compiler.ir.opdef import load_dialects

load_dialects()

SIZES = (1, 2, 3, 5, 7, 15, 16, 17, 31, 33, 48, 70)
PHASES = ("fp", "bp", "wg", "update")
_HALF = ("add", "sub", "mul", "div", "min", "max")
_WIDE = ("add", "sub", "mul", "div")
_COMPARE = ("gt", "ge", "lt", "le", "eq")
_UNARY = ("neg", "abs", "sqrt", "trunc", "floor")


@dataclass(frozen=True)
class Step:
    """A module and what to feed it."""

    module: Module
    inputs: dict[str, npt.NDArray[np.generic]]


@dataclass
class Maker:
    """Draws one step; ``size`` bounds the number of ops."""

    seed: int
    size: int = 8
    rng: random.Random = field(init=False)
    values: list[Value] = field(init=False, default_factory=list[Value])
    inputs: dict[str, npt.NDArray[np.generic]] = field(
        init=False, default_factory=dict[str, npt.NDArray[np.generic]]
    )

    def __post_init__(self) -> None:
        """Draw the sizes."""
        self.rng = random.Random(self.seed)
        self.np = np.random.default_rng(self.seed)
        self.steps = self.rng.choice((1, 1, 2, 3, 5))
        self.batch = self.rng.choice((1, 2, 3, 4, 6))
        self.module = Module("step", {"stage": "phased", "steps": self.steps, "batch": self.batch})
        self.block = Block()
        self.b = Builder(self.block, Location("random:1"))
        self.count = 0
        self.streams = 0

    def size_(self) -> int:
        """Draw a dimension."""
        return self.rng.choice(SIZES)

    # ------------------------------------------------------------------ leaves

    def array(self, shape: Sequence[int]) -> npt.NDArray[np.float32]:
        """Draw numbers: mostly small, some zeros of both signs, rarely something odd."""
        found = self.np.normal(0, 1, tuple(shape)).astype(np.float32)
        found[self.np.random(found.shape) < 0.1] = 0.0
        found[self.np.random(found.shape) < 0.05] = -0.0
        if self.rng.random() < 0.05:
            odd = self.np.random(found.shape) < 0.05
            found[odd] = self.rng.choice((np.inf, -np.inf, np.nan, 6e4, 6e-8))
        return found

    def name(self, hint: str) -> str:
        """Return a fresh name."""
        self.count += 1
        return f"{hint}{self.count}"

    def param(self, shape: Sequence[int], kind: str = "param") -> Value:
        """Add a parameter, or a state that starts from an array or a number."""
        name = self.name("w" if kind == "param" else "s")
        attrs: dict[str, str | float | bool] = {"name": name}
        if kind == "param" or self.rng.random() < 0.5:
            self.module.resources[name] = self.array(shape)
            attrs["resource"] = name
        else:
            attrs["init"] = self.rng.choice((0.0, 0.5))
        return self.b.op(f"phase.{kind}", types=[tensor(shape)], names=[name], attrs=attrs).result

    def argument(self, type_: Type, hint: str) -> Value:
        """Add an argument of ``@step`` with random contents."""
        name = self.name(hint)
        if type_.dtype == "bit":
            data: npt.NDArray[np.generic] = self.np.random(type_.shape) < 0.3
        elif type_.dtype == "i32":
            data = self.np.integers(0, max(1, self.classes), type_.shape).astype(np.int32)
        else:
            data = self.array(type_.shape)
        self.inputs[name] = data
        return self.keep(self.block.add_arg(type_, name))

    def keep(self, value: Value) -> Value:
        """Let later ops use a value."""
        if value.type.dtype != "i32":
            self.values.append(value)
        return value

    def matrix(self, rank: int = 2, dtype: str = "") -> Value:
        """Return a value of step shape [B, F] (or one that was not there before)."""
        found = [
            v
            for v in self.values
            if len(v.type.step_shape) == rank
            and v.type.step_shape[0] == self.batch
            and (v.type.dtype == dtype if dtype else v.type.dtype != "f32")
        ]
        if found and self.rng.random() < 0.8:
            return self.rng.choice(found[-4:])
        kind = dtype or self.rng.choice(("bit", "f16"))
        shape = (self.batch, *(self.size_() for _ in range(rank - 1)))
        if self.rng.random() < 0.75:
            return self.argument(seq((self.steps, *shape), kind), "x")
        return self.argument(tensor(shape, kind), "c")

    # ------------------------------------------------------------------ structural ops

    def phase(self, *choices: str) -> None:
        """Choose the phase and layer of the next op."""
        self.b.common["phase"] = self.rng.choice(choices or PHASES)
        self.b.common["layer"] = self.rng.choice(("fc1", "fc2", ""))

    def linear(self) -> None:
        """A dense layer."""
        self.phase("fp")
        x = self.matrix()
        k, n = x.type.shape[-1], self.size_()
        operands = [x, self.param((k, n))]
        if self.rng.random() < 0.5:
            operands.append(self.param((n,)))
        self.keep(self.b.one("phase.linear", *operands))

    def linear_dx(self) -> None:
        """An input gradient."""
        self.phase("bp")
        g = self.matrix(dtype="f16")
        self.keep(self.b.one("phase.linear_dx", g, self.param((self.size_(), g.type.shape[-1]))))

    def _micro(self) -> dict[str, Attribute]:
        parts = [n for n in range(1, self.batch + 1) if self.batch % n == 0]
        return {"microbatch": self.rng.choice(parts)} if self.rng.random() < 0.5 else {}

    def linear_dw(self) -> None:
        """A weight gradient."""
        self.phase("wg")
        x, g = self.matrix(), self.matrix(dtype="f16")
        self.keep(self.b.op("phase.linear_dw", x, g, attrs=self._micro()).result)

    def sum_rows(self) -> None:
        """A bias gradient."""
        self.phase("wg")
        g = self.matrix(dtype="f16")
        self.keep(self.b.op("phase.sum_rows", g, attrs=self._micro()).result)

    def reduce_time(self) -> None:
        """A readout."""
        self.phase("fp")
        x = self._timed()
        kinds = ("sum", "mean", "max", "last")
        self.keep(self.b.one("phase.reduce_time", x, kind=self.rng.choice(kinds)))

    def _timed(self, dtype: str = "") -> Value:
        x = self.matrix(dtype=dtype)
        if x.type.kind == "seq":
            return x
        shape = (self.steps, self.batch, self.size_())
        return self.argument(seq(shape, dtype or self.rng.choice(("bit", "f16"))), "x")

    def argmax_time(self) -> None:
        """A maximum over time and its gradient."""
        self.phase("fp")
        made = self.b.op("phase.argmax_time", self._timed())
        kind = self.rng.randrange(3)
        if kind != 1:
            self.keep(made.results[0])
        if kind != 0:
            self.phase("bp")
            g = self.argument(tensor(made.results[0].type.shape), "g")
            self.keep(self.b.one("phase.select_time", g, made.results[1], steps=self.steps))

    def select_time(self) -> None:
        """A gradient at one step."""
        self.phase("bp")
        g = self.matrix(dtype="f16")
        if g.type.kind == "seq":
            g = self.argument(tensor((self.batch, self.size_())), "g")
        at = self.rng.randrange(self.steps)
        self.keep(self.b.one("phase.select_time", g, steps=self.steps, at=at))

    def loss(self) -> None:
        """A loss with its gradient."""
        self.phase("bp")
        z = self.matrix(dtype="f16")
        self.classes = classes = z.type.shape[-1]
        scale = self.rng.choice((1.0, 1024.0, 3.0))
        timed = z.type.kind == "seq" and self.rng.random() < 0.3
        shape = (self.batch,)
        y = self.argument(seq((self.steps, *shape), "i32") if timed else tensor(shape, "i32"), "y")
        attrs: dict[str, Attribute] = {"scale": scale, "batch": self.batch}
        if self.rng.random() < 0.5:
            attrs["smoothing"] = self.rng.choice((0.1, 0.5))
        terms, gradient = self.b.op("phase.softmax_ce", z, y, attrs=attrs).results
        kind = self.rng.randrange(3)
        if kind != 1:
            self.keep(self.b.one("phase.total", terms, factor=1 / classes))
        if kind != 0:
            self.keep(gradient)

    # ------------------------------------------------------------------ regions

    def _companions(self, like: Value, seqs: bool) -> list[Value]:
        """Return values that broadcast with ``like``: equal shapes, rows, scalars."""
        shape = like.type.step_shape
        found = [
            v
            for v in self.values
            if v is not like and v.type.step_shape == shape and (seqs or v.type.kind == "tensor")
        ]
        chosen = self.rng.sample(found, min(len(found), self.rng.randrange(3)))
        if self.rng.random() < 0.3:
            chosen.append(self.param(shape[-1:]))
        if self.rng.random() < 0.3:
            chosen.append(
                self.b.op(
                    "phase.const",
                    types=[tensor(self.rng.choice(((), shape)))],
                    attrs={"value": self.rng.choice((0.0, 0.5, -1.25))},
                ).result
            )
        if len(shape) == 2 and self.rng.random() < 0.15:
            chosen.append(self.argument(tensor((shape[0], 1)), "c"))
        return chosen

    def _body(self, block: Block, args: Sequence[Value], shape: tuple[int, ...]) -> list[Value]:
        """Fill a region with random arithmetic; return everything that could be yielded."""
        e = Builder(block, Location("random:2"))
        known = [*args]

        def pick(*kinds: str) -> Value:
            found = [v for v in known if v.type.dtype in kinds]
            if found:
                return self.rng.choice(found[-6:])
            if kinds[0] == "bit":
                return e.one("ew.gt", pick("f16"), pick("f16"))
            if kinds[0] == "f32":
                return e.one("ew.cast", pick("f16"), to="f32")
            return e.one("ew.const", value=self.rng.choice((0.5, 1.0, -0.3)))

        for _ in range(self.rng.randrange(1, 8)):
            kind = self.rng.randrange(11)
            if kind < 3:
                name = self.rng.choice(_HALF)
                known.append(e.one(f"ew.{name}", pick("f16"), pick("f16")))
            elif kind == 3:
                name = self.rng.choice(_WIDE)
                known.append(e.one(f"ew.{name}", pick("f32"), pick("f16", "f32")))
            elif kind == 4:
                known.append(e.one(f"ew.{self.rng.choice(_UNARY)}", pick("f16")))
            elif kind == 5:
                name = self.rng.choice(_COMPARE)
                known.append(e.one(f"ew.{name}", pick("f16", "f32"), pick("f16", "f32")))
            elif kind == 6:
                name = self.rng.choice(("and", "or"))
                known.append(e.one(f"ew.{name}", pick("bit"), e.one("ew.not", pick("bit"))))
            elif kind == 7:
                same = self.rng.choice(("bit", "f16", "f32"))
                known.append(e.one("ew.select", pick("bit"), pick(same), pick(same)))
            elif kind == 8:
                fn = self.rng.choice(("exp", "tanh", "sigmoid", "rsqrt", "log"))
                known.append(e.one("ew.table", pick("f16"), fn=fn))
            elif kind == 9:
                source = pick(self.rng.choice(("bit", "f32")))
                known.append(e.one("ew.cast", source, to="f16"))
            else:
                self.streams += 1
                if self.rng.random() < 0.5:
                    known.append(e.one("ew.rand", shape=shape, stream=self.streams))
                else:
                    wide = self._full(e, pick("f32"), shape)
                    known.append(e.one("ew.srnd", wide, stream=self.streams))
        return known

    @staticmethod
    def _full(e: Builder, value: Value, shape: tuple[int, ...]) -> Value:
        return value if value.type.shape == shape else e.one("ew.expand", value, shape=shape)

    def map(self) -> None:
        """Element-wise work."""
        self.phase()
        first = self.rng.choice(self.values) if self.values else self.matrix()
        if not first.type.step_shape or len(first.type.step_shape) > 2:
            first = self.matrix()
        operands = [first, *self._companions(first, True)]
        if first.type.kind == "seq" or any(v.type.kind == "seq" for v in operands):
            steps = self.steps
        else:
            steps = 0
        shape = first.type.step_shape
        block = Block()
        args = [block.add_arg(tensor(v.type.step_shape, v.type.dtype)) for v in operands]
        known = self._body(block, args, shape)
        e = Builder(block, Location("random:3"))
        out = [
            self._full(e, v, shape)
            for v in self.rng.sample(known, min(len(known), self.rng.choice((1, 1, 2, 3))))
        ]
        e.op("phase.yield", *out)
        types = [
            seq((steps, *shape), v.type.dtype) if steps else tensor(shape, v.type.dtype)
            for v in out
        ]
        made = self.b.op("phase.map", *operands, types=types, regions=[block])
        self._results(made)

    def _results(self, made: Op) -> None:
        """Keep the results, sometimes not all."""
        for value in made.results:
            if len(made.results) == 1 or self.rng.random() < 0.8:
                self.keep(value)

    def scan(self) -> None:
        """A loop over time, forward or backward."""
        self.phase("fp", "bp")
        first = self._timed()
        shape = first.type.step_shape
        carried: list[Value] = []
        for _ in range(self.rng.randrange(1, 4)):
            kind = self.rng.choice(("f16", "f16", "f32", "bit"))
            if kind == "f16" and self.rng.random() < 0.4:
                carried.append(self.argument(tensor(shape), "v"))
                continue
            start = self.rng.choice((0.0, 0.0, 1.0, 0.3)) if kind != "bit" else 0.0
            carried.append(
                self.b.op("phase.const", types=[tensor(shape, kind)], attrs={"value": start}).result
            )
        others = self._companions(first, True)
        seqs = [first, *(v for v in others if v.type.kind == "seq")]
        captured = [v for v in others if v.type.kind != "seq"]
        operands = [*carried, *seqs, *captured]
        block = Block()
        args = [block.add_arg(tensor(v.type.step_shape, v.type.dtype)) for v in operands]
        known = self._body(block, args, shape)
        e = Builder(block, Location("random:4"))
        after: list[Value] = []
        for state in args[: len(carried)]:
            fit = [v for v in known if v.type.dtype == state.type.dtype]
            after.append(self._full(e, self.rng.choice(fit[-3:]), shape))
        out = [
            self._full(e, v, shape)
            for v in self.rng.sample(known, min(len(known), self.rng.choice((1, 2, 3))))
        ]
        e.op("phase.yield", *after, *out)
        types = [v.type for v in carried]
        types += [seq((self.steps, *shape), v.type.dtype) for v in out]
        made = self.b.op(
            "phase.scan",
            *operands,
            types=types,
            regions=[block],
            attrs={
                "carried": len(carried),
                "seqs": len(seqs),
                "captured": len(captured),
                "steps": self.steps,
                "reverse": self.rng.random() < 0.5,
            },
        )
        for value in made.results:
            if value is made.results[-1] or self.rng.random() < 0.6:
                self.keep(value)

    # ------------------------------------------------------------------ the whole

    def update(self) -> None:
        """A parameter or state gets a new value."""
        self.phase("update")
        kind = self.rng.choice(("param", "state"))
        old = self.param((self.size_(), self.size_()), kind)
        block = Block()
        args = [block.add_arg(old.type), block.add_arg(old.type)]
        e = Builder(block, Location("random:5"))
        e.op("phase.yield", e.one("ew.sub", *args))
        change = self.argument(old.type, "g")
        new = self.b.op("phase.map", old, change, types=[old.type], regions=[block]).result
        stored = new if self.rng.random() < 0.7 else change
        self.b.op("phase.store", stored, attrs={"name": old.name, "kind": kind})
        self.values.append(new)
        if self.rng.random() < 0.4:
            self.values.append(old)

    def make(self) -> Step:
        """Return the step."""
        self.classes = 3
        for _ in range(self.rng.randrange(1, self.size + 1)):
            self.rng.choice(
                (
                    self.linear, self.linear, self.linear_dx, self.linear_dw, self.sum_rows,
                    self.map, self.map, self.scan, self.scan, self.reduce_time, self.argmax_time,
                    self.select_time, self.loss, self.update,
                )
            )()  # fmt: skip
        outputs = 0
        for value in self.values:
            owner = value.owner
            if not value.uses or self.rng.random() < 0.3:
                if isinstance(owner, Op) or outputs == 0:
                    self.block.append(
                        op("phase.output", [value], attrs={"name": f"out/{outputs}", "phase": "fp"})
                    )
                    outputs += 1
        self.module.funcs["step"] = Func("step", self.block)
        return Step(self.module, self.inputs)


def random_step(seed: int, size: int = 8) -> Step:
    """Return the step of a seed."""
    return Maker(seed, size).make()

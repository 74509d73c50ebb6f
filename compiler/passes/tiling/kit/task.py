"""Builds the body of a task: SRAM buffers, loops with static bounds, tile operations.

Offsets are affine in the enclosing loops: :class:`At` keeps a base and a coefficient per loop and
is turned into the ``(base, coefficients outermost first)`` tuples of the IR when an operation is
emitted.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from snncc.compiler.ir.core import Attribute, Block, Location, Op, Type, Value, op


@dataclass(eq=False, frozen=True)
class Loop:
    """A loop that is being built; identity matters."""

    trips: int


@dataclass(frozen=True)
class At:
    """An offset: ``base + sum(coefficient * iteration of loop)``, in bytes or elements."""

    base: int = 0
    terms: Mapping[Loop, int] = field(default_factory=dict[Loop, int])

    def __add__(self, other: At | int) -> At:
        """Add two offsets."""
        if isinstance(other, int):
            return At(self.base + other, self.terms)
        terms = dict(self.terms)
        for loop, c in other.terms.items():
            terms[loop] = terms.get(loop, 0) + c
        return At(self.base + other.base, terms)

    def __mul__(self, factor: int) -> At:
        """Scale an offset."""
        return At(self.base * factor, {loop: c * factor for loop, c in self.terms.items()})

    def exact_div(self, divisor: int) -> At:
        """Divide an offset all of whose parts are multiples of ``divisor``."""
        parts = [self.base, *self.terms.values()]
        if any(p % divisor for p in parts):
            raise ValueError(f"offset {self} is not a multiple of {divisor}")
        return At(self.base // divisor, {k: c // divisor for k, c in self.terms.items()})


ZERO = At()


@dataclass(frozen=True)
class Stream:
    """One stream of a lane operation: buffer, offset, strides; no buffer: a counter."""

    buffer: Value | None
    at: At
    step: int
    row: int


Body = Callable[[At, int, bool], None]
"""Called with the tile's start, its size, and whether it is the first tile."""


class TaskBuilder:
    """Collects one ``tile.task``."""

    def __init__(
        self, name: str, layer: str, phase: str, loc: Location, outer: tuple[Loop, ...] = ()
    ) -> None:
        self.block = Block()
        self.attrs: dict[str, Attribute] = {"name": name, "layer": layer, "phase": phase}
        if outer:
            self.attrs["outer"] = len(outer)
        self.loc = loc
        self._loops: list[Loop] = list(outer)
        self._blocks: list[Block] = [self.block]
        self._sram_count = 0
        self._phase: dict[str, Attribute] = {}

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Let what is emitted belong to another phase than the task."""
        before = self._phase
        self._phase = {"phase": name}
        yield
        self._phase = before

    def sram(self, name: str, size: int, slots: int = 1) -> Value:
        """Declare an SRAM buffer of ``size`` bytes (rounded up to 64), ``slots`` times."""
        size = max(64, (size + 63) // 64 * 64)
        made = op(
            "tile.sram",
            types=[Type("sram", (size,), "u8")],
            attrs={"name": name, "slots": slots},
            loc=self.loc,
            names=[name],
        )
        self.block.insert(self._sram_count, made)
        self._sram_count += 1
        return made.result

    @contextmanager
    def loop(self, trips: int, *, parallel: bool = False) -> Generator[Loop]:
        """Open a loop; a sequential loop of one iteration leaves no op."""
        loop = Loop(trips)
        if trips == 1 and not parallel:
            yield loop
            return
        body = Block()
        made = op(
            "tile.parallel" if parallel else "tile.loop",
            attrs={"trips": trips},
            regions=[body],
            loc=self.loc,
        )
        self._blocks[-1].append(made)
        self._blocks.append(body)
        self._loops.append(loop)
        yield loop
        self._loops.pop()
        self._blocks.pop()

    def tiles(
        self, total: int, size: int, body: Body, *, parallel: bool = False, peel: bool = False
    ) -> None:
        """Cut ``total`` into tiles of ``size``: a loop over full ones, then the remainder.

        With ``peel`` the first tile is emitted on its own (its body may differ).
        """
        full, rest = divmod(total, size)
        done = 0
        if peel and not parallel and full > 0:
            body(ZERO, size, True)
            done = 1
        if full > done:
            with self.loop(full - done, parallel=parallel) as loop:
                body(
                    At(done * size, {loop: size} if loop.trips > 1 else {}),
                    size,
                    done == 0,
                )
        if rest:
            start = At(full * size)
            if parallel:
                with self.loop(1, parallel=True):
                    body(start, rest, full == 0)
            else:
                body(start, rest, full == 0)

    def _affine(self, at: At) -> tuple[int, ...]:
        for loop in at.terms:
            if loop not in self._loops and at.terms[loop] and loop.trips > 1:
                raise ValueError("an offset uses a loop that is closed")
        return (at.base, *(at.terms.get(loop, 0) for loop in self._loops))

    def emit(
        self, mnemonic: str, buffers: Sequence[tuple[str, Value, At]], /, **values: Attribute
    ) -> Op:
        """Emit ``tile.<mnemonic>``; ``buffers`` are (operand name, buffer, offset)."""
        made = op(
            f"tile.{mnemonic}",
            [b for _, b, _ in buffers],
            attrs={
                "addr": tuple(n for n, _, _ in buffers),
                "at": tuple(self._affine(at) for _, _, at in buffers),
                **self._phase,
                **values,
            },
            loc=self.loc,
        )
        return self._blocks[-1].append(made)

    def load(
        self,
        buffer: Value,
        at: At,
        source: Value,
        source_at: At,
        rows: int,
        size: int,
        dst_stride: int,
        src_stride: int,
        outer: tuple[int, int, int] = (1, 0, 0),
    ) -> None:
        """Emit an ``ld``; ``outer`` is (count, destination stride, source stride)."""
        self._copy("ld", buffer, at, source, source_at, rows, size, dst_stride, src_stride, outer)

    def store(
        self,
        target: Value,
        target_at: At,
        buffer: Value,
        at: At,
        rows: int,
        size: int,
        dst_stride: int,
        src_stride: int,
        outer: tuple[int, int, int] = (1, 0, 0),
    ) -> None:
        """Emit an ``st``."""
        self._copy("st", target, target_at, buffer, at, rows, size, dst_stride, src_stride, outer)

    def _copy(
        self,
        mnemonic: str,
        dst: Value,
        dst_at: At,
        src: Value,
        src_at: At,
        rows: int,
        size: int,
        dst_stride: int,
        src_stride: int,
        outer: tuple[int, int, int],
    ) -> None:
        n0, dst0, src0 = outer
        if rows > 1 and dst_stride == size == src_stride:  # contiguous rows are one long row
            rows, size = 1, rows * size
            if n0 > 1 and dst0 == size == src0:
                n0, size = 1, n0 * size
        if rows == 1 and n0 > 1:
            rows, dst_stride, src_stride, n0 = n0, dst0, src0, 1
        if n0 == 1:
            dst0 = src0 = 0
        if rows == 1:
            dst_stride = src_stride = 0
        self.emit(
            mnemonic,
            [("dst", dst, dst_at), ("src", src, src_at)],
            n0=n0,
            n1=rows,
            bytes=size,
            dst0=dst0,
            dst1=dst_stride,
            src0=src0,
            src1=src_stride,
        )

    def lanes(
        self,
        mnemonic: str,
        program: str,
        streams: Sequence[Stream],
        steps: int,
        rows: int,
        cols: int,
        seed: int = 0,
    ) -> None:
        """Emit a lane operation running the module's microprogram ``program``."""
        real = [s for s in streams if s.buffer is not None]
        made = op(
            f"tile.{mnemonic}",
            [s.buffer for s in real if s.buffer is not None],
            attrs={
                "prog": program,
                "steps": steps,
                "rows": rows,
                "cols": cols,
                "seed": seed,
                "streams": tuple(
                    (
                        real.index(s) if s.buffer is not None else -1,
                        self._affine(s.at),
                        s.step,
                        s.row,
                    )
                    for s in streams
                ),
                **self._phase,
            },
            loc=self.loc,
        )
        self._blocks[-1].append(made)

    def finish(self) -> Op:
        """Return the task."""
        return op("tile.task", attrs=self.attrs, regions=[self.block], loc=self.loc)

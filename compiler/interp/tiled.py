"""The interpreter of the stages ``tiled`` and ``mapped``: tasks and tile operations on bytes.

What instructions compute is :mod:`snncc.isa.semantics`, which the simulator's reference engine uses
as well; nothing is taken from the simulator itself.  Memory is strict: see
:mod:`snncc.compiler.interp.tile_memory`.  ``tiled``: the iterations of a parallel loop run in a
random order and begin with empty buffers, for each may run on another core.  ``mapped``: between
two barriers the cores run one after another, task by task, in a random order.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import numpy.typing as npt

from snncc.compiler.interp.numerics import Array, Fp16
from snncc.compiler.interp.tile_lanes import Stream, run_lanes
from snncc.compiler.interp.tile_memory import Actors, Memory, TileError
from snncc.compiler.interp.tile_ops import Place, run
from snncc.compiler.ir.core import Block, Module, Op, Value
from snncc.compiler.ir.microprograms import microprograms
from snncc.compiler.ir.portions import portions, whole
from snncc.compiler.ir.tensor_table import export_entry, initial_data, tensor_entry
from snncc.isa.program.layout import TensorEntry, read_tensor, write_tensor

Affine = tuple[int, ...]
LOOPS = {"tile.loop", "tile.parallel"}


@contextmanager
def _named(task: Op, core: int = -1) -> Generator[None]:
    """Let errors say in which task they are."""
    try:
        yield
    except TileError as error:
        where = f" on core {core}" if core >= 0 else ""
        raise TileError(f"task {task.str_attr('name')}{where}: {error}") from error


class TiledMachine:
    """One run of a tiled or mapped module."""

    def __init__(self, module: Module, seed: int, order: int | None) -> None:
        """``seed``: of the run's random bits; ``order`` draws the order of what has none."""
        self.module = module
        self.seed = seed
        self.random = None if order is None else random.Random(order)
        self.actors = Actors()
        self.programs = microprograms(module)
        self.buffers: dict[Value, Memory] = {}
        self.entries: dict[str, tuple[Op, TensorEntry]] = {}
        self.indices: list[int] = []
        self.waiting: list[tuple[Op, list[int]]] = []
        self.cores = max(1, cast("int", module.attrs.get("cores", 1)))

    # ------------------------------------------------------------------ memory

    def tensors(
        self, inputs: Mapping[str, npt.ArrayLike], state: Mapping[str, npt.ArrayLike]
    ) -> None:
        """Make the DRAM tensors and fill those that hold something from the start."""
        for op in self.module.func("step").body.ops:
            if op.name != "tile.dram":
                continue
            name, role = op.str_attr("name"), op.str_attr("role")
            memory = Memory(f"tensor {name}", op.int_attr("bytes"), self.actors)
            self.buffers[op.result] = memory
            entry = tensor_entry(op)
            self.entries[name] = op, entry
            if role in {"input", "target"}:
                if name not in inputs:
                    raise ValueError(f"input {name!r} is missing")
                found = np.asarray(inputs[name])
                if found.shape != op.result.type.shape:
                    raise ValueError(
                        f"input {name!r} has shape {found.shape}, not {op.result.type.shape}"
                    )
                self._put(memory, entry, found)
            elif name in state and role in {"param", "state", "const"}:
                shape = op.result.type.shape
                self._put(memory, entry, np.broadcast_to(np.asarray(state[name]), shape))
            else:
                self._initial(op, memory, entry)

    def _put(self, memory: Memory, entry: TensorEntry, values: Array) -> None:
        array = Fp16().value(values, entry.dtype)
        self._write(memory, entry, array.reshape(entry.shape))

    @staticmethod
    def _write(memory: Memory, entry: TensorEntry, values: Array) -> None:
        local = TensorEntry(entry.name, entry.role, entry.dtype, entry.shape, 0, entry.layout)
        write_tensor(local, memory.bytes[: memory.size], values)
        memory.known.fill(True)

    def _initial(self, op: Op, memory: Memory, entry: TensorEntry) -> None:
        data = initial_data(op, entry, self.module)
        if data is not None:
            memory.bytes[: len(data.data)] = np.frombuffer(data.data, np.uint8)
            memory.known.fill(True)
        elif "source" in op.attrs:
            memory.data.fill(0)
            memory.known.fill(True)

    def outputs(self) -> dict[str, Array]:
        """Return exported results, and the parameters and states that were written."""
        found: dict[str, Array] = {}
        for op in self.module.func("step").body.ops:
            if op.name == "tile.export":
                memory = self.buffers[op.operands[0]]
                found[op.str_attr("name")] = self._get(memory, export_entry(op)).reshape(
                    op.ints_attr("dims")
                )
        for name, (op, entry) in self.entries.items():
            memory = self.buffers[op.result]
            if op.str_attr("role") in {"param", "state"} and memory.touched:
                value = self._get(memory, entry).reshape(op.result.type.shape)
                found[f"{op.str_attr('role')}/{name}"] = value
        return found

    @staticmethod
    def _get(memory: Memory, entry: TensorEntry) -> Array:
        local = TensorEntry(entry.name, entry.role, entry.dtype, entry.shape, 0, entry.layout)
        known = np.where(memory.known, np.uint16(0xFFFF), np.uint16(0)).view(np.uint8)
        if not (read_tensor(local, known[: memory.size]) != 0).all():
            raise TileError(f"{memory.name} is a result, but was not written everywhere")
        array = read_tensor(local, memory.bytes[: memory.size])
        return array.astype({"bit": np.bool_, "i32": np.int64}.get(entry.dtype, np.float32))

    # ------------------------------------------------------------------ order

    def run(self) -> None:
        """Run all tasks."""
        self._sequence(self.module.func("step").body)
        self._between_barriers()

    def _sequence(self, block: Block) -> None:
        """Run tasks, or let them wait for the next barrier."""
        for op in block.ops:
            if op.name == "tile.task":
                if self.module.stage == "mapped":
                    self.waiting.append((op, [*self.indices]))
                else:
                    with _named(op):
                        self._tiled_task(op)
            elif op.name == "tile.barrier":
                self._between_barriers()
            elif op.name == "tile.steps":
                for i in range(op.int_attr("trips")):
                    self.indices.append(i)
                    self._sequence(op.regions[0])
                    self.indices.pop()

    def _between_barriers(self) -> None:
        """Run waiting tasks, which only the order within each core binds."""
        queues: dict[int, list[tuple[Op, list[int]]]] = {}
        for task, indices in self.waiting:
            everything = whole(task, self.cores)
            for core in range(self.cores):
                if everything.run(core):
                    queues.setdefault(core, []).append((task, indices))
        self.waiting = []
        outer = self.indices
        first = self.actors.start(max(queues, default=0) + 1)
        ready = sorted(queues)
        while ready:
            core = ready[0] if self.random is None else self.random.choice(ready)
            self.actors.now = first + core
            task, indices = queues[core].pop(0)
            self.indices = [*indices]
            with _named(task, core):
                self._mapped_task(task, core)
            if not queues[core]:
                ready.remove(core)
        self.indices = outer

    def _mapped_task(self, task: Op, core: int) -> None:
        """Run a core's iterations of a task."""
        self._buffers(task)
        mine = portions(task, self.cores)
        for op in task.regions[0].ops:
            if op.name != "tile.parallel":
                self._operation(op)
                continue
            for index in mine[op].run(core):
                self.indices.append(index)
                self._block(op.regions[0])
                self.indices.pop()

    def _tiled_task(self, task: Op) -> None:
        """Run the iterations of a task as if each had a core of its own."""
        made = self._buffers(task)
        loops = [o for o in task.regions[0].ops if o.name == "tile.parallel"]
        total = sum(o.int_attr("trips") for o in loops)
        first = self.actors.start(total + 1)
        self.actors.now = first + total
        for op in task.regions[0].ops:
            if op.name == "tile.st":
                raise TileError("every core would store what stands outside the parallel loop")
            if op.name != "tile.parallel":
                self._operation(op)
        common = [(m, m.data.copy(), m.known.copy()) for m in made]
        iterations = list(_iterations(loops))
        if self.random is not None:
            self.random.shuffle(iterations)
        for number, (loop, index) in enumerate(iterations):
            for memory, data, known in common:
                memory.data[...], memory.known[...] = data, known
            self.actors.now = first + number
            self.indices.append(index)
            self._block(loop.regions[0])
            self.indices.pop()

    def _buffers(self, task: Op) -> list[Memory]:
        made: list[Memory] = []
        for op in task.regions[0].ops:
            if op.name == "tile.sram":
                size = op.result.type.size * op.int_attr("slots")
                memory = Memory(f"buffer {op.str_attr('name')}", size)
                self.buffers[op.result] = memory
                made.append(memory)
        return made

    # ------------------------------------------------------------------ operations

    def _block(self, block: Block) -> None:
        for op in block.ops:
            self._operation(op)

    def _operation(self, op: Op) -> None:
        if op.name == "tile.sram":
            return
        if op.name in LOOPS:
            if op.name == "tile.parallel":
                raise TileError("a parallel loop inside another loop or in a mapped task")
            for i in range(op.int_attr("trips")):
                self.indices.append(i)
                self._block(op.regions[0])
                self.indices.pop()
            return
        mnemonic = op.name.partition(".")[2]
        try:
            if "streams" in op.attrs:
                self._lanes(op)
            else:
                places = self._places(op)
                if mnemonic not in {"ld", "st"} and any(
                    p.memory.space == "dram" for p in places.values()
                ):
                    raise TileError("works on DRAM")
                run(op, places)
        except TileError as error:
            raise TileError(f"{mnemonic} at {op.loc}, loops {self.indices}: {error}") from error

    def _offset(self, at: Affine) -> int:
        if len(at) != 1 + len(self.indices):
            raise TileError(f"an offset has {len(at) - 1} loops, not {len(self.indices)}")
        return at[0] + sum(c * i for c, i in zip(at[1:], self.indices, strict=True))

    def _places(self, op: Op) -> dict[str, Place]:
        at = cast("tuple[Affine, ...]", op.attrs["at"])
        return {
            name: Place(self.buffers[buffer], self._offset(a))
            for name, buffer, a in zip(op.strs_attr("addr"), op.operands, at, strict=True)
        }

    def _lanes(self, op: Op) -> None:
        streams: list[Stream] = []
        uses = cast("tuple[tuple[int, Affine, int, int], ...]", op.attrs["streams"])
        for index, at, step, row in uses:
            base = self._offset(at)
            place = Place(self.buffers[op.operands[index]], base) if index >= 0 else None
            if place is not None and place.memory.space != "sram":
                raise TileError(f"a stream over {place.memory.name}")
            streams.append(Stream(place, base, step, row))
        run_lanes(
            op.name.partition(".")[2],
            self.programs[op.str_attr("prog")],
            streams,
            steps=op.int_attr("steps"),
            rows=op.int_attr("rows"),
            cols=op.int_attr("cols"),
            seed=self.seed,
        )


def _iterations(loops: Sequence[Op]) -> Iterator[tuple[Op, int]]:
    for loop in loops:
        for index in range(loop.int_attr("trips")):
            yield loop, index


def evaluate_tiled(
    module: Module,
    inputs: Mapping[str, npt.ArrayLike],
    *,
    state: Mapping[str, npt.ArrayLike] | None = None,
    seed: int = 0,
    order: int | None = None,
) -> dict[str, Array]:
    """Run ``@step`` of a tiled or mapped module; raise TileError where it does what it may not.

    Returns exported results by name, and as ``param/NAME`` and ``state/NAME`` what was written to
    parameters and states.
    """
    machine = TiledMachine(module, seed, order)
    with np.errstate(all="ignore"):
        machine.tensors(inputs, state or {})
        machine.run()
        return machine.outputs()

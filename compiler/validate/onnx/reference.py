"""An ONNX file as the reference of its import: executed node by node, in float64."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from snncc.compiler.frontend.flat.exporter_names import FileNames
from snncc.compiler.frontend.onnx.file import TensorReader, read_model
from snncc.compiler.ir.core import Attribute, Module
from snncc.compiler.validate.arithmetic import Arithmetic, Array, Smooth
from snncc.compiler.validate.compare import Evaluation, NotValidated
from snncc.compiler.validate.draws import Point, is_uniform
from snncc.compiler.validate.import_side import Spikes
from snncc.compiler.validate.onnx.replay import Replay
from snncc.compiler.validate.onnx.tape import Scope, Tape, opset_of


@dataclass(frozen=True)
class Sizes:
    """Whether a file can be executed at a module's sizes, leaves its batch open, holds one step."""

    fits_batch: bool
    fits_steps: bool
    open_batch: bool
    one_step: bool


class OnnxReference:
    """The file that a module was imported from; the module says only how its inputs are laid out.

    A file that holds one step is executed once for every step; its states, the inputs after the
    first, start at zero and come from its last outputs.
    """

    def __init__(
        self,
        path: Path,
        module: Module,
        *,
        batch_statistics: bool,
        trained: Collection[str] = (),
    ) -> None:
        """``batch_statistics``: normalise by the mean and variance of the batch.

        ``trained``: names of initializers that are parameters whatever they look like.
        """
        self.path = path
        self.model = read_model(path)
        self.reader = TensorReader(path)
        self.names = FileNames(self.model, trained)
        self.module = module
        self.batch_statistics = batch_statistics
        self.replay: Replay | None = None
        self.states: frozenset[str] = frozenset()
        held = {t.name for t in self.model.graph.initializer}
        self.infos = [i for i in self.model.graph.input if i.name not in held]
        self._parameters = {
            t.name: np.asarray(self.reader.array(t), np.float64)
            for t in self.model.graph.initializer
            if self.reader.array(t).dtype.kind == "f"
        }

    # ---------------------------------------------------------------- the contract
    @property
    def file(self) -> str:
        """The file's path."""
        return str(self.path)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The floating initializers."""
        return self._parameters

    @property
    def constants(self) -> frozenset[str]:
        """Numbers that an exporter computed."""
        return frozenset(
            name
            for name, a in self._parameters.items()
            if is_uniform(a)
            and (self.names.numbered(name) or (a.size == 1 and self.names.setting(name)))
        )

    @property
    def kinds(self) -> dict[str, str]:
        """Which inputs are no real numbers: ``integer``, ``integer<N`` (rows) or ``truth``."""
        out: dict[str, str] = {}
        for info in self.infos:
            kind = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type).kind
            if kind in "iu":
                rows = self._rows_chosen_by(info.name)
                out[info.name] = f"integer<{rows}" if rows else "integer"
            elif kind == "b":
                out[info.name] = "truth"
        return out

    def _rows_chosen_by(self, name: str) -> int:
        """Return how many rows the smallest table has that an input chooses from, 0 for none."""
        reached, found = {name}, 0
        for n in self.model.graph.node:  # in topological order
            table = self._parameters.get(n.input[0]) if n.op_type == "Gather" else None
            if table is not None and table.ndim and n.input[1] in reached:
                axis = next((a.i for a in n.attribute if a.name == "axis"), 0)
                found = min(found or table.shape[axis], table.shape[axis])
            elif reached.intersection(n.input):
                reached.update(n.output)
        return found

    def needed(self) -> frozenset[str]:
        """Parameters that an output depends on."""
        assert self.replay is not None
        return self.replay.needed()

    def evaluate(
        self,
        inputs: Mapping[str, Array],
        parameters: Mapping[str, Array],
        arithmetic: Arithmetic,
    ) -> Evaluation:
        """Evaluate the file; the first call records what it executes."""
        given = {name: self._outward(name, np.asarray(a)) for name, a in inputs.items()}
        if self.replay is None:
            self.replay = self._record({n: np.real(a) for n, a in given.items()})
        found = self.replay.evaluate(given, parameters, arithmetic, self.batch_statistics)
        return replace(found, states=self.states)

    def decide_resets(self, spikes: Sequence[Spikes], point: Point) -> None:
        """Find each spike function of the file among the import's layers by what it fires."""
        self.evaluate(point.inputs, point.file_parameters, Smooth())
        assert self.replay is not None
        self.replay.decide(spikes)

    def other_threshold(self, spikes: Sequence[Spikes]) -> str:
        """Name a comparison that is strict where the import's is not, or the other way round."""
        assert self.replay is not None
        return self.replay.other_threshold(spikes)

    def fixed_sizes(self) -> Sizes:
        """Compare the sizes that the file fixes with those of the module."""
        batch = steps = True
        free = one = False
        for info in self.infos:
            arg = self._argument(info.name)
            if arg is None:
                continue
            dims = info.type.tensor_type.shape.dim
            fixed = [d.dim_value if d.HasField("dim_value") else None for d in dims]
            timed = arg.type.kind == "seq"
            single = timed and self._one_step(info.name, len(dims))
            one = one or single
            given = [*arg.type.step_shape]
            merged = self._facts(info.name).get("batch_in_time") is True
            if merged:
                given[0] *= self.module.steps
            elif timed and not single:
                given.insert(self._time_place(info.name), self.module.steps)
            if len(given) != len(fixed):
                raise NotValidated(f"input {info.name!r} has another number of axes in the import")
            for k, (size, there) in enumerate(zip(given, fixed, strict=True)):
                is_time = timed and not single and not merged and k == self._time_place(info.name)
                if size == there:
                    continue
                if there is None:
                    free = free or not is_time
                elif is_time:
                    steps = False
                else:
                    batch = False
                    steps = steps and not merged
        return Sizes(batch, steps, free, one)

    def _time_place(self, name: str) -> int:
        axis = self._facts(name).get("axis", 0)
        return axis if isinstance(axis, int) and axis > 0 else 0

    # ---------------------------------------------------------------- layouts
    def _argument(self, name: str) -> Any:
        return next((a for a in self.module.func("main").body.args if a.name == name), None)

    def _facts(self, name: str) -> Mapping[str, Attribute]:
        table = self.module.attrs.get("inputs")
        facts = table.get(name) if isinstance(table, Mapping) else None
        return facts if isinstance(facts, Mapping) else {}

    def _one_step(self, name: str, rank: int) -> bool:
        """Whether the file's input holds one step where the module's argument holds all."""
        arg = self._argument(name)
        merged = self._facts(name).get("batch_in_time") is True
        if arg is None or arg.type.kind != "seq" or merged:
            return False
        return len(arg.type.shape) == rank + 1

    def _outward(self, name: str, a: Array) -> Array:
        """Return an argument's array in the file's layout; that of one step keeps time first."""
        info = next((i for i in self.infos if i.name == name), None)
        if info is None:
            raise NotValidated(f"the file has no input {name!r}")
        arg = self._argument(name)
        rank = len(info.type.tensor_type.shape.dim)
        if arg.type.kind != "seq" or self._one_step(name, rank):
            return a
        facts = self._facts(name)
        if facts.get("batch_in_time") is True:
            a = np.moveaxis(a, 0, 1)
            return a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])
        axis = facts.get("axis", 0)
        return np.moveaxis(a, 0, axis) if isinstance(axis, int) and axis > 0 else a

    # ---------------------------------------------------------------- execution
    def _record(self, given: Mapping[str, Array]) -> Replay:
        tape = Tape(self.model, self.reader, self.names)
        scope = Scope({}, opset=opset_of(self.model.opset_import))
        over = [i.name for i in self.infos if i.name in given and self._steps_of(i)]
        if over:
            outputs = self._each_step(tape, scope, given, over)
        else:
            for info in self.infos:
                array = given.get(info.name)
                array = array if array is not None else self._zeros(info, given)
                kind = self.kinds.get(info.name)
                scope.env[info.name] = tape.feed(info.name, _typed(array, kind))
            found = tape.graph(self.model.graph, scope)
            outputs = [v if isinstance(v, int) else -1 for v in found]
        names = [o.name for o in self.model.graph.output]
        return Replay(tape, dict(zip(names, outputs, strict=True)), self.kinds)

    def _steps_of(self, info: onnx.ValueInfoProto) -> bool:
        return self._one_step(info.name, len(info.type.tensor_type.shape.dim))

    def _zeros(self, info: onnx.ValueInfoProto, given: Mapping[str, Array]) -> Array:
        """The initial value of an input that the import does not have: a state."""
        known: dict[str, int] = {}
        for other in self.infos:
            array = given.get(other.name)
            if array is None:
                continue
            shape = array.shape[1:] if self._steps_of(other) else array.shape
            for d, n in zip(other.type.tensor_type.shape.dim, shape, strict=False):
                if d.dim_param:
                    known.setdefault(d.dim_param, n)
        sizes: list[int] = []
        for k, d in enumerate(info.type.tensor_type.shape.dim):
            size = d.dim_value if d.HasField("dim_value") else known.get(d.dim_param)
            if size is None and k == 0:
                size = self.module.batch
            if size is None:
                raise NotValidated(f"axis {k} of input {info.name!r} is open")
            sizes.append(size)
        return np.zeros(sizes)

    def _each_step(
        self, tape: Tape, scope: Scope, given: Mapping[str, Array], over: list[str]
    ) -> list[int]:
        """Execute a file of one step for every step; outputs are stacked."""
        graph = self.model.graph
        steps = given[over[0]].shape[0]
        states = [i for i in self.infos if i.name not in given]
        names = [o.name for o in graph.output]
        self.states = frozenset(names[len(names) - len(states) :] if states else ())
        now = {i.name: tape.feed(i.name, self._zeros(i, given)) for i in states}
        whole = {n: tape.feed(n, _typed(a, self.kinds.get(n))) for n, a in given.items()}
        columns: list[list[int]] = [[] for _ in graph.output]
        for t in range(steps):
            env: dict[str, Any] = dict(now)
            for name, at in whole.items():
                env[name] = tape.picked(at, t, 0, name) if name in over else at
            found = tape.graph(graph, Scope(env, opset=scope.opset))
            outs = [v if isinstance(v, int) else -1 for v in found]
            for column, v in zip(columns, outs, strict=True):
                column.append(v)
            now = self._next_states(tape, states, outs)
        return [tape.joined(c, 0, True, o.name) for c, o in zip(columns, graph.output, strict=True)]

    def _next_states(
        self, tape: Tape, states: list[onnx.ValueInfoProto], outs: list[int]
    ) -> dict[str, int]:
        """Pair the states with the last outputs, in order."""
        if len(outs) < len(states):
            raise NotValidated(f"{len(states)} states, {len(outs)} outputs: which feeds which?")
        last = outs[len(outs) - len(states) :]
        for info, v in zip(states, last, strict=True):
            dims = info.type.tensor_type.shape.dim
            shape = tape.value[v].shape
            fits = len(dims) == len(shape) and all(
                not d.HasField("dim_value") or d.dim_value == n
                for d, n in zip(dims, shape, strict=True)
            )
            if not fits:
                raise NotValidated(
                    f"state {info.name!r} and the output at its place have different shapes"
                )
        return {i.name: v for i, v in zip(states, last, strict=True)}


def _typed(array: Array, kind: str | None) -> Array:
    if kind is not None and kind.startswith("integer"):
        return array.astype(np.int64)
    return array.astype(np.bool_) if kind == "truth" else array

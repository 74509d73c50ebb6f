"""Writing NIR files from the graph IR (docs/nir.md).

The constants become those of the differential equations for a time step ``dt``; reading the file
with this ``dt`` gives the same network.  What NIR cannot say is refused.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.diag import fail
from snncc.compiler.ir.build import number
from snncc.compiler.ir.core import Module, Op, Value
from snncc.compiler.ir.neuron_step import param_names
from snncc.isa.files.whole_file import write_whole

Array: TypeAlias = npt.NDArray[Any]
DEFAULT_DT = 1e-4
VERSION = "1.0.4"
LATE = "\0"
"""Begins the name of a state until its nodes are known."""
SAME = ("graph.cast", "graph.stop_gradient", "graph.dropout")
WORDS = {
    "graph.pool": "maximum pooling (or another than 2-D pooling)",
    "graph.relu": "ReLU",
    "graph.matmul": "products of activations",
    "graph.softmax": "softmax",
    "graph.concat": "concatenation",
    "graph.reduce": "reductions",
    "graph.reduce_time": "reductions over time",
    "graph.conv_transpose": "transposed convolution",
    "graph.batchnorm": "batch normalisation that does not follow a layer it can be folded into",
}


def export_nir(module: Module, path: Path, dt: float | None = None) -> float:
    """Write a graph module; return the time step that was used."""
    held = module.attrs.get("dt")
    step = dt if dt is not None else held if isinstance(held, float) else DEFAULT_DT
    writer = _Writer(module, str(path), step)
    writer.run()
    _write(path, writer.nodes, sorted(writer.edges))
    return step


def _write(path: Path, nodes: Mapping[str, dict[str, Any]], edges: list[tuple[str, str]]) -> None:
    try:
        import h5py
    except ImportError:
        fail("E0026", "writing NIR files needs the package h5py", str(path),
             help='pip install h5py (or "snncc[nir]")')  # fmt: skip
    h5: Any = h5py
    out = io.BytesIO()
    with h5.File(out, "w") as file:
        file["version"] = VERSION
        root = file.create_group("node")
        root["type"] = "NIRGraph"
        inner = root.create_group("nodes")
        for name, node in nodes.items():
            made = inner.create_group(name)
            for key, value in node.items():
                made[key] = value
        root["edges"] = [[a.encode(), b.encode()] for a, b in edges]
    try:
        write_whole(path, [out.getvalue()])
    except OSError as error:
        fail("E0005", f"cannot write: {error.strerror}", str(path))


@dataclass(slots=True)
class _Writer:
    module: Module
    file: str
    dt: float
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    edges: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    sources: dict[Value, list[str]] = field(default_factory=dict[Value, list[str]])
    """The nodes whose sum a value is."""
    states: dict[str, Value] = field(default_factory=dict[str, Value])

    def refuse(self, op: Op, what: str, help_: str = "") -> NoReturn:
        fail("E0115", f"NIR cannot say {what}", str(op.loc), help=help_)

    # ------------------------------------------------------------------ values
    def array(self, value: Value) -> Array | None:
        """Return a constant as the IR has it; None when it is computed."""
        op = value.owner
        if not isinstance(op, Op) or op.name not in ("graph.param", "graph.const"):
            return None
        name = op.attrs.get("resource")
        if isinstance(name, str):
            return np.asarray(self.module.resources[name], np.float64)
        return np.asarray(op.attrs.get("value", 0.0), np.float64)

    def add(self, name: str, kind: str, inputs: list[str], **values: Any) -> str:
        """Add a node and the edges to it."""
        made, n = name, 1
        while made in self.nodes:
            n += 1
            made = f"{name}_{n}"
        self.nodes[made] = {"type": kind, **values}
        self.edges |= {(i, made) for i in inputs}
        return made

    def inputs(self, value: Value, op: Op) -> list[str]:
        """Return the nodes that a value is the sum of."""
        found = self.sources.get(value)
        if found is None:
            self.refuse(op, "a constant in this place")
        return found

    def name(self, op: Op, default: str) -> str:
        """Return a node's name: the layer's, or that of its weights."""
        layer = op.attrs.get("layer")
        if isinstance(layer, str) and layer:
            return layer
        for value in op.operands[1:]:
            if isinstance(value.owner, Op) and value.owner.name == "graph.param":
                label = value.owner.str_attr("name").rpartition(".")[0]
                if label:
                    return label
        return default

    # ------------------------------------------------------------------ ops
    def run(self) -> None:
        """Translate the main function."""
        block = self.module.func("main").body
        if len(block.args) != 1:
            fail("E0115", "a NIR file has one input", self.file)
        x = block.args[0]
        self.nodes["input"] = {"type": "Input", "shape": np.asarray(x.type.step_shape[1:])}
        self.sources[x] = ["input"]
        for op in block.ops:
            if op.name == "graph.delay_next":
                self.states[op.str_attr("state")] = op.operands[0]
        cyclic = _cyclic(list(block.ops), self.states)
        for op in block.ops:
            if op.name == "graph.delay":
                self.delay(op, op.str_attr("state") in cyclic)
        for op in block.ops:
            self.op(op)
        self.edges = {(i, target) for source, target in self.edges for i in self.resolved(source)}

    def op(self, op: Op) -> None:
        """Translate one op."""
        if op.name in ("graph.param", "graph.const", "graph.delay", "graph.delay_next"):
            return
        if op.name in SAME:
            self.sources[op.result] = self.inputs(op.operands[0], op)
            return
        special = getattr(self, "op_" + op.name.removeprefix("graph."), None)
        if special is None:
            self.refuse(op, WORDS.get(op.name, op.name.removeprefix("graph.")))
        special(op)

    def delay(self, op: Op, cyclic: bool) -> None:
        """Translate a value of the step before: a feedback edge has this delay by itself."""
        if op.operands or op.attrs.get("init") not in (None, 0, 0.0):
            self.refuse(op, "initial values of delays")
        state = LATE + op.str_attr("state")
        if not cyclic:
            size = np.full(op.result.type.step_shape[1:], self.dt)
            state = self.add(f"{state[1:]}.late", "Delay", [state], delay=size)
        self.sources[op.result] = [state]

    def resolved(self, source: str) -> list[str]:
        """Return the nodes that feed a state."""
        if not source.startswith(LATE):
            return [source]
        value = self.states[source[1:]]
        return [i for s in self.sources.get(value, []) for i in self.resolved(s)]

    def op_output(self, op: Op) -> None:
        """Translate a result."""
        value = op.operands[0]
        if value.type.kind != "seq":
            self.refuse(op, "a result without time")
        name = self.add(op.str_attr("name"), "Output", self.inputs(value, op))
        self.nodes[name]["shape"] = np.asarray(value.type.step_shape[1:])

    def op_add(self, op: Op) -> None:
        """Translate a sum: several edges into one node."""
        if any(self.array(v) is not None for v in op.operands):
            self.refuse(op, "the addition of a constant")
        first, second = (self.inputs(v, op) for v in op.operands)
        if op.operands[0].type.step_shape != op.operands[1].type.step_shape:
            self.refuse(op, "sums of different shapes")
        if set(first) & set(second):
            ones = np.ones(op.result.type.step_shape[1:])
            second = [self.add("again", "Scale", second, scale=ones)]
        self.sources[op.result] = first + second

    def op_linear(self, op: Op) -> None:
        """Translate a product with a matrix."""
        if len(op.result.type.step_shape) != 2:
            self.refuse(op, "products with anything but flat samples")
        self.weighted(op, "Linear", "Affine", {}, True)

    def op_conv(self, op: Op) -> None:
        """Translate a convolution."""
        weight = self.array(op.operands[1])
        rank = len(op.operands[0].type.step_shape) - 2
        padding = op.ints_attr("padding", (0,) * (2 * rank))
        if weight is None or padding[:rank] != padding[rank:]:
            self.refuse(op, "different padding before and after")
        values: dict[str, Any] = {
            "input_shape": np.asarray(op.operands[0].type.step_shape[2:]),
            "stride": np.asarray(op.ints_attr("stride", (1,) * rank)),
            "padding": np.asarray(padding[:rank]),
            "dilation": np.asarray(op.ints_attr("dilation", (1,) * rank)),
            "groups": op.int_attr("groups", 1),
        }
        if rank == 1:
            values = {k: v if k == "groups" else int(v[0]) for k, v in values.items()}
        kind = f"Conv{rank}d"
        self.weighted(op, kind, kind, values, False)

    def weighted(self, op: Op, plain: str, biased: str, values: dict[str, Any], swap: bool) -> None:
        """Add a node with weights, batch normalisation behind it folded in."""
        weight = self.array(op.operands[1])
        if weight is None:
            self.refuse(op, "computed weights")
        weight = weight.T if swap else weight
        size = weight.shape[0]
        bias = self.array(op.operands[2]) if len(op.operands) > 2 else None
        norm = _only_user(op.result)
        result = op.result
        if norm is not None and norm.name == "graph.batchnorm":
            scale, shift, mean, var = (self.array(v) for v in norm.operands[1:])
            if scale is None or shift is None or mean is None or var is None:
                self.refuse(norm, "computed statistics")
            factor = scale / np.sqrt(var + number(norm.attrs, "eps", 1e-5))
            weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
            bias = ((bias if bias is not None else 0) - mean) * factor + shift
            result = norm.result
        if bias is not None or plain == biased:
            values["bias"] = np.zeros(size) if bias is None else np.broadcast_to(bias, (size,))
        kind = biased if bias is not None else plain
        inputs = self.inputs(op.operands[0], op)
        name = self.add(self.name(op, "layer"), kind, inputs, weight=weight, **values)
        self.sources[result] = [name]

    def op_batchnorm(self, op: Op) -> None:
        """Accept batch normalisation that was folded."""
        if op.result not in self.sources:
            self.refuse(op, WORDS["graph.batchnorm"])

    def op_pool(self, op: Op) -> None:
        """Translate pooling."""
        kind, padding = op.str_attr("kind"), op.ints_attr("padding", (0,) * 4)
        rank = len(op.operands[0].type.step_shape) - 2
        counted = kind == "sum" or op.bool_attr("count_pad", False) or not any(padding)
        if kind == "max" or rank != 2 or padding[:2] != padding[2:] or not counted:
            self.refuse(op, WORDS["graph.pool"], "use average or sum pooling")
        values = {
            "kernel_size": np.asarray(op.ints_attr("kernel")),
            "stride": np.asarray(op.ints_attr("stride", (1, 1))),
            "padding": np.asarray(padding[:2]),
        }
        node = "AvgPool2d" if kind == "avg" else "SumPool2d"
        inputs = self.inputs(op.operands[0], op)
        self.sources[op.result] = [self.add("pool", node, inputs, **values)]

    def op_reshape(self, op: Op) -> None:
        """Translate flattening."""
        old, new = op.operands[0].type.step_shape, op.result.type.step_shape
        if self.array(op.operands[0]) is not None or new != (old[0], math.prod(old[1:])):
            self.refuse(op, f"a reshape of {old[1:]} to {new[1:]}", "only flattening can be said")
        values = {"start_dim": 0, "end_dim": -1, "input_type": np.asarray(old[1:])}
        inputs = self.inputs(op.operands[0], op)
        self.sources[op.result] = [self.add("flatten", "Flatten", inputs, **values)]

    def op_mul(self, op: Op) -> None:
        """Translate a multiplication with a constant."""
        for x, k in (op.operands, op.operands[::-1]):
            scale = self.array(k)
            if scale is not None and self.array(x) is None:
                full = np.broadcast_to(scale, x.type.step_shape[1:])
                name = self.add(self.name(op, "scale"), "Scale", self.inputs(x, op), scale=full)
                self.sources[op.result] = [name]
                return
        self.refuse(op, "products of activations")

    def op_spike(self, op: Op) -> None:
        """Translate a comparison."""
        theta = self.array(op.operands[1])
        if theta is None or op.attrs.get("compare") != "strict":
            self.refuse(op, "this comparison", "strict, with a constant threshold")
        full = np.broadcast_to(theta, op.result.type.step_shape[1:])
        inputs = self.inputs(op.operands[0], op)
        name = self.add(self.name(op, "threshold"), "Threshold", inputs, threshold=full)
        self.sources[op.result] = [name]

    # ------------------------------------------------------------------ neurons
    def op_neuron(self, op: Op) -> None:
        """Translate a neuron: the constants of its differential equation."""
        self._check_neuron(op)
        shape = op.results[0].type.step_shape[1:]
        constants = dict(zip(param_names(op.attrs), op.operands[1:], strict=True))

        def get(key: str, default: float | None = None) -> Array:
            value = op.attrs.get(key, default)
            given = self.array(constants[key]) if key in constants else None
            if given is None and not isinstance(value, (int, float)):
                self.refuse(op, f"a computed {key}")
            return np.broadcast_to(np.asarray(value if given is None else given, float), shape)

        fires = op.attrs.get("compare", "strict") != "none"
        values: dict[str, Array] = {}
        has = {*op.attrs, *constants}
        dynamics, ones = op.str_attr("dynamics"), np.ones(shape)
        if dynamics == "integrate" or (dynamics == "leaky" and bool(np.all(get("beta") == 1))):
            kind, values["r"] = "I", ones / self.dt
        else:
            kind = "LI"
            if dynamics == "leaky":
                rate = 1 - get("beta")
                if not np.all(rate > 0):
                    self.refuse(op, "beta of one and more for some neurons only")
                gain = rate if op.bool_attr("norm_input", False) else ones
            else:
                rate = get("rate") if "rate" in has else 1 / get("tau")
                gain = rate
            values |= {"tau": self.dt / rate, "r": gain / rate, "v_leak": get("v_rest", 0.0)}
        if op.attrs.get("synapse", "none") != "none":
            if kind == "I":
                self.refuse(op, "a synapse in front of a neuron without leak")
            fast, kind = 1 - get("a_syn"), "CubaLI"
            values["tau_mem"] = values.pop("tau")
            values |= {"tau_syn": self.dt / fast, "w_in": 1 / fast}
        if fires:
            kind = f"{kind}F"
            values["v_threshold"], to = get("threshold"), get("reset_value", 0.0)
            if to.any():  # older versions of the nir package do not know v_reset
                values["v_reset"] = to
        inputs = self.inputs(op.operands[0], op)
        self.sources[op.results[0]] = [self.add(self.name(op, "neuron"), kind, inputs, **values)]

    def _check_neuron(self, op: Op) -> None:
        """Refuse what no NIR neuron does."""
        at = op.attrs
        help_ = "NIR neurons fire above the threshold and go to v_reset in the same step"
        if at.get("compare", "strict") != "none":
            if at.get("compare", "strict") != "strict":
                self.refuse(op, f"the comparison {at.get('compare')}", help_)
            if at.get("reset", "none") != "hard":
                self.refuse(op, f"the reset {at.get('reset', 'none')!r}", help_)
            if at.get("delay"):
                self.refuse(op, "a reset that comes one step late", help_)
        if at.get("synapse", "none") not in ("none", "before"):
            self.refuse(op, f"the synapse {at.get('synapse')!r}", "only synapse = before")
        names = {*at, *param_names(at)}
        for key in ("v_min", "v_init", "i_init"):
            nothing = (None,) if key == "v_min" else (None, 0, 0.0)
            if key in names and (key in param_names(at) or at.get(key) not in nothing):
                self.refuse(op, key)
        if len(op.results) > 1 and op.results[1].uses:
            self.refuse(op, "the membrane of a neuron that fires as a value")


def _only_user(value: Value) -> Op | None:
    uses = list(value.uses)
    return uses[0][0] if len(uses) == 1 else None


def _cyclic(ops: list[Op], states: Mapping[str, Value]) -> set[str]:
    """Return the states whose value depends on themselves."""
    found: set[str] = set()
    for start in states:
        work, seen = [states[start]], set[int]()
        while work:
            value = work.pop()
            op = value.owner
            if not isinstance(op, Op) or id(op) in seen:
                continue
            seen.add(id(op))
            if op.name == "graph.delay":
                state = op.str_attr("state")
                if state == start:
                    found.add(start)
                    break
                work.append(states[state])
            work.extend(op.operands)
    return found

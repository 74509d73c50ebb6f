"""What a .snn file says that no forward value shows: parameters, first weights, surrogates, ...

Compared by name with the import after the file was evaluated; a difference is ``E0114``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from snncc.compiler.diag import fail
from snncc.compiler.ir.build import flag
from snncc.compiler.ir.core import Attribute, Module, Op
from snncc.compiler.validate.arithmetic import Array
from snncc.compiler.validate.compare import CODE, HELP
from snncc.compiler.validate.dsl.options import Meant, Surrogate
from snncc.compiler.validate.dsl.reference import DslReference
from snncc.compiler.validate.dsl.start import starts_as

STATISTICS = ("running_mean", "running_var")


def parameters_of(module: Module) -> dict[str, Array]:
    """Return a module's parameters in the file's layout, float64."""
    return {op.str_attr("name"): held(module, op) for op in _ops(module, "graph.param")}


def held(module: Module, op: Op) -> Array:
    """Return the array of a parameter op in the file's layout."""
    array = np.asarray(module.resources[op.str_attr("resource")], np.float64)
    return array.T if flag(op.attrs, "transpose") else array


def check_declared(
    module: Module, reference: DslReference, weights: Mapping[str, Array] | None
) -> None:
    """Compare what is said with what was imported; ``weights``: the arrays of the file's npz."""
    _check_parameters(module, reference, weights)
    neurons = {op.str_attr("layer"): op for op in _ops(module, "graph.neuron")}
    for label, meant in reference.neurons.items():
        _check_neuron(reference, label, meant, neurons)
    _same(reference, "momentum of bn", reference.momenta, _numbers(module, "batchnorm", "momentum"))
    _same(reference, "rate of dropout", reference.rates, _numbers(module, "dropout", "rate"))
    streams = [op.attrs.get("stream") for op in _ops(module, "graph.dropout")]
    if len(set(streams)) < len(streams):
        fail(CODE, "two dropouts of the import draw the same numbers", reference.file, help=HELP)


def _ops(module: Module, name: str) -> list[Op]:
    return [op for op in module.walk() if op.name == name]


def _numbers(module: Module, name: str, key: str) -> list[float]:
    return [op.float_attr(key) for op in _ops(module, f"graph.{name}")]


def _same(reference: DslReference, what: str, said: Iterable[float], found: list[float]) -> None:
    if list(said) != found:
        text = f"{what}: the file says {list(said)}, the import {found}"
        fail(CODE, text, reference.file, help=HELP)


def _check_parameters(
    module: Module, reference: DslReference, weights: Mapping[str, Array] | None
) -> None:
    ops = {op.str_attr("name"): op for op in _ops(module, "graph.param")}
    more = sorted(set(ops) - set(reference.starts))
    if more:
        text = f"the import has a parameter {more[0]!r}, the file has none of this name"
        fail(CODE, text, reference.file, help=HELP)
    init = reference.top("init")
    seed = 0 if init is None else init.whole("seed")
    gain = 1.0 if init is None else init.number("gain")
    for name, start in reference.starts.items():
        array = held(module, ops[name])
        given = None if weights is None else weights.get(name)
        if given is not None:
            right = np.array_equal(given.astype(np.float32), array.astype(np.float32))
        else:
            right = starts_as(name, array, start, seed, gain)
        if not right:
            text = f"the first values of {name} are not those that the file says"
            fail(CODE, text, f"{reference.file}:{name}", help=HELP)
        trained = not name.endswith(STATISTICS)
        if flag(ops[name].attrs, "train") != trained:
            text = f"{name} is {'not ' * trained}trained in the import"
            fail(CODE, text, f"{reference.file}:{name}", help=HELP)


def _check_neuron(
    reference: DslReference, label: str, meant: Meant, neurons: Mapping[str, Op]
) -> None:
    where = f"{reference.file}:{label}"
    op = neurons.get(label)
    if op is None:
        fail(CODE, f"the import has no neurons {label!r}", where, help=HELP)
    compare = meant.options.get("compare", "none")
    if op.attrs.get("compare") != compare:
        text = f"compare: the file says {compare}, the import {op.attrs.get('compare')}"
        fail(CODE, text, where, help=HELP)
    said, found = meant.options.get("surrogate"), op.attrs.get("surrogate")
    wanted: Attribute = None
    if isinstance(said, Surrogate):
        wanted = {"name": said.name, **dict(said.numbers)}
    if wanted != found:
        fail(CODE, f"surrogate: the file says {wanted}, the import {found}", where, help=HELP)
    if "detach" in meant.given:
        wanted = "detached" if meant.options["detach"] is True else "attached"
        origin = op.attrs.get("origin")
        kept = isinstance(origin, Mapping) and origin.get("reset_gradient") == "file"
        if op.attrs.get("reset_gradient") != wanted or not kept:
            text = f"gradient of the reset: the file says {wanted}, the import does not keep it"
            fail(CODE, text, where, help=HELP)

"""Which initializers of a file are no parameters: what its exporter made up, settings of layers.

Frameworks keep settings of a layer beside its parameters, and a file does not tell which is which.
Parameters keep the name that they have in the model; what an exporter folded, or wrote as a tensor
because the format wants one, is numbered or named after the operator that made it.  Snncc's own
exports call numbers ``number_N`` and states before the first step ``LAYER.first``.

A name alone proves little, as anybody may call a parameter so.  What only one tool writes counts
where the file shows that this tool wrote it, and whatever might be somebody's parameter after all
is listed (``doubtful``) for ``snncc check`` to show; ``parameters.train`` trains it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

Array: TypeAlias = npt.NDArray[Any]

SNNCC = "snncc"
"""Name of the producer, and the domain ``ai.snncc`` of the functions, of snncc's own exports."""
_MADE_UP = re.compile(
    r"/.*|.*::.*|c\d+|_?val_\d+(_\d+)?|(.*\.)?_?lifted_tensor(_constant)?_?\d+"
    r"|_?tensor_constant\d+|.*_default(_\d+)?|.*_cast(_\d+)?|const(ant)?_?\d+|scalar_tensor.*"
    r"|(r?sub|add|mul|div|neg|abs|exp|log|sqrt|rsqrt|pow|reciprocal|sigmoid|tanh|relu|softplus"
    r"|clamp|select|where|full|ones|zeros|one|zero|expand|unsqueeze|squeeze|view|reshape|clone|to"
    r"|_to_copy|detach|linear|addmm|mm|bmm|matmul|conv\d?d?|slice|index|cat|stack|mean|sum|max|min|arange)(_like)?(_\d+)?"
)
_NOBODYS = re.compile(r"/.*|.*::.*|_?val_\d+(_\d+)?|(.*\.)?_?lifted_tensor(_constant)?_?\d+")
"""Made-up names that no module of a framework can have."""
_TURNED = re.compile(r"(t|transpose|permute|numpy_t)(_\d+)?")
"""What an exporter calls the transpose of a weight; a parameter could have the name, too."""
_OURS = re.compile(r".*\.first|number_\d+")
BENDING = frozenset(("Sigmoid", "Tanh", "Exp", "Log", "Softplus", "Reciprocal", "Sqrt", "Pow"))
"""Operators of which the derivative depends on what they are applied to."""
_SNNTORCH = frozenset(("graded_spikes_factor", "reset_mechanism_val", "R", "C", "time_step"))
"""Numbers that snnTorch's neurons register although they are not trained."""
_BESIDE = frozenset(("threshold", "graded_spikes_factor"))
"""What every neuron of snnTorch that an exporter of names wrote has beside them."""


class FileNames:
    """What the names of one ONNX file mean.

    ``trained``: names, in full, that the configuration wants trained; they are parameters whatever
    they look like.
    """

    def __init__(self, model: onnx.ModelProto, trained: Collection[str] = ()) -> None:
        self._trained = frozenset(trained)
        self._from_snncc = model.producer_name == SNNCC
        self._ours = self._from_snncc or any(f.domain == f"ai.{SNNCC}" for f in model.functions)
        self._held = tuple(dict.fromkeys(t.name for t in _initializers(model.graph)))
        self._users: dict[str, list[onnx.NodeProto]] = {}
        self._fixed = set(self._held)
        for node in model.graph.node if trained else ():
            if node.op_type == "Constant" or self._fixed.issuperset(filter(None, node.input)):
                self._fixed.update(node.output)
            for i in node.input:
                self._users.setdefault(i, []).append(node)
        layers: dict[str, set[str]] = {}
        # Equal numbers are merged; an Identity then carries the name of the one that is gone.
        merged = (n.output[0] for n in model.graph.node if n.op_type == "Identity" and n.output)
        self._named = tuple(dict.fromkeys((*self._held, *merged)))
        for name in self._named:
            layer, _, last = name.rpartition(".")
            layers.setdefault(layer, set()).add(last)
        self._snntorch = frozenset(k for k, v in layers.items() if k and v >= _BESIDE)

    def numbered(self, name: str) -> bool:
        """Whether the exporter made up the name of an initializer."""
        if name in self._trained:
            return False
        if self._ours and _OURS.fullmatch(name):
            return True
        return _MADE_UP.fullmatch(name) is not None

    def may_copy(self, name: str) -> bool:
        """Whether an exporter may have made up the name for the transpose of a weight."""
        return self.numbered(name) or _TURNED.fullmatch(name) is not None

    def setting(self, name: str) -> bool:
        """Whether a number is a setting of a framework's layer, as the layer's other names show."""
        layer, _, last = name.rpartition(".")
        return last in _SNNTORCH and layer in self._snntorch and name not in self._trained

    def computed(self, name: str) -> bool:
        """Whether the configuration trains a number that the file computes another one from.

        A leak that is ``sigmoid(w)``; a number that is used as it is, a neuron has as a constant.
        """
        if not any(name == pattern or fnmatchcase(name, pattern) for pattern in self._trained):
            return False
        known, todo = set[str](), [name]
        while todo:
            value = todo.pop()
            for node in self._users.get(value, ()):
                others = (i for i in node.input if i and i not in known and i != value)
                if not node.output or any(i not in self._fixed for i in others):
                    continue
                if node.op_type in BENDING:
                    return True
                if node.output[0] not in known:
                    known.add(node.output[0])
                    todo.append(node.output[0])
        return False

    def doubtful(self) -> tuple[str, ...]:
        """Names that count as made up or as settings, and could be those of parameters."""
        return tuple(n for n in self._named if self.setting(n)) + tuple(
            n for n in self._held if self.numbered(n) and not self._surely(n)
        )

    def _surely(self, name: str) -> bool:
        if _NOBODYS.fullmatch(name):
            return True
        return self._from_snncc and _OURS.fullmatch(name) is not None


def transposed(array: Array, held: Iterable[tuple[str, Array]]) -> str:
    """Return the name of the weight that an array is the transpose of, or an empty one.

    ``x @ w.T`` beside ``s @ w`` is written as two tensors, and is one parameter.  A symmetric one,
    such as a unit matrix, may be anybody's.
    """
    if array.ndim != 2 or array.dtype.kind != "f" or np.array_equal(array, array.T):
        return ""
    if bool((array == array.reshape(-1)[:1]).all()):
        return ""
    turned = (n for n, each in held if each.shape[::-1] == array.shape and (each.T == array).all())
    return next(turned, "")


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield the initializers of a graph and of the bodies of its loops."""
    open_ = [graph]
    while open_:
        inner = open_.pop()
        yield from inner.initializer
        for node in inner.node:
            open_ += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]

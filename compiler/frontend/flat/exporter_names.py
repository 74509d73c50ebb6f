"""Names that exporters make up for constants which they keep among the initializers.

Frameworks keep settings of a layer beside its parameters, and a file does not tell which is which.
Parameters keep the name that they have in the model; what an exporter folded, or wrote as a tensor
because the format wants one, is numbered or named after the operator that made it.  Snncc's own
exports call numbers ``number_N`` and states before the first step ``LAYER.first``.
"""

from __future__ import annotations

import re

_MADE_UP = re.compile(
    r"/.*|.*::.*|.*\.first|number_\d+|c\d+|_?val_\d+(_\d+)?|(.*\.)?_?lifted_tensor(_constant)?_?\d+"
    r"|_?tensor_constant\d+|.*_default(_\d+)?|.*_cast(_\d+)?|const(ant)?_?\d+|scalar_tensor.*"
    r"|(r?sub|add|mul|div|neg|abs|exp|log|sqrt|rsqrt|pow|reciprocal|sigmoid|tanh|relu|softplus"
    r"|clamp|select|where|full|ones|zeros|one|zero|expand|unsqueeze|squeeze|view|reshape|clone|to"
    r"|_to_copy|detach|linear|addmm|mm|bmm|matmul|conv\d?d?|slice|index|cat|stack|mean|sum|max|min|arange)(_like)?(_\d+)?"
)


def numbered(name: str) -> bool:
    """Whether an exporter made up the name of an initializer."""
    return _MADE_UP.fullmatch(name) is not None


SETTINGS = frozenset(("graded_spikes_factor", "reset_mechanism_val", "R", "C", "time_step"))
"""Numbers that snnTorch's neurons register although they are not trained."""


def setting(name: str) -> bool:
    """Whether a number is a setting of a framework's layer, going by its name."""
    return name.rpartition(".")[2] in SETTINGS and "." in name

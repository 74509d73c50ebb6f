"""Einsum as transpositions, sums and products.

Operands are taken two at a time.  Indices that only one of them has, and the result does not, are
summed first.  Then they are multiplied: an index that both have and nothing needs later is summed
by a matrix product; without one, the product is element-wise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_letters

from snncc.compiler.diag import fail
from snncc.compiler.frontend.flat.flat import Val, attr_str, prod
from snncc.compiler.frontend.onnx.build import Bound, Call, GraphBuilder, rule


@dataclass(frozen=True, slots=True)
class Term:
    """A value and the letter of each of its axes."""

    value: Val
    letters: str

    def size(self, letter: str) -> int:
        """Return the length of an axis."""
        return self.value.shape[self.letters.index(letter)]


@rule("Einsum")
def einsum(b: GraphBuilder, c: Call) -> Sequence[Bound]:
    """Sums of products, named by an equation."""
    operands = [c.val(i) for i in range(len(c.ins))]
    terms, wanted = read_equation(attr_str(c.attrs, "equation", ""), operands)
    for t in terms:
        if len(set(t.letters)) != len(t.letters):
            fail("E0104", f"Einsum with an index twice in one operand ({t.letters})",
                 b.where(c.name), help="take the diagonal in another way")  # fmt: skip
    sizes: dict[str, set[int]] = {}
    for t in terms:
        for letter in t.letters:
            sizes.setdefault(letter, set()).add(t.size(letter))
    odd = [letter for letter, found in sizes.items() if len(found - {1}) > 1]
    if odd or not set(wanted) <= set(sizes):
        raise ValueError(f"the equation does not fit {[list(v.shape) for v in operands]}")
    result = terms[0]
    for i, t in enumerate(terms[1:], 1):
        needed = wanted + "".join(other.letters for other in terms[i + 1 :])
        result = _product(c, result, t, needed)
    return [_transposed(c, _summed(c, result, wanted), wanted).value]


def read_equation(equation: str, operands: Sequence[Val]) -> tuple[list[Term], str]:
    """Return the operands with the letters of their axes, and the letters of the result.

    The axes of an ellipsis get letters that the equation does not use.  Raises ValueError.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands):
        raise ValueError(f"{len(operands)} operands, and the equation is {equation!r}")
    free = [a for a in reversed(ascii_letters) if a not in equation]
    ranks = [
        len(v.shape) - len(text.replace("...", ""))
        for text, v in zip(inputs, operands, strict=True)
        if "..." in text
    ]
    more = "".join(free[: max(ranks, default=0)])
    terms: list[Term] = []
    for text, v in zip(inputs, operands, strict=True):
        count = len(v.shape) - len(text.replace("...", ""))
        if count < 0 or (count and "..." not in text):
            raise ValueError(f"{list(v.shape)} does not fit {text!r}")
        terms.append(Term(v, text.replace("...", more[len(more) - count :])))
    if arrow:
        return terms, right.replace("...", more)
    every = "".join(t.letters for t in terms)
    return terms, more + "".join(sorted(a for a in set(every) - set(more) if every.count(a) == 1))


def _summed(c: Call, t: Term, needed: str) -> Term:
    """Sum the axes that nothing needs."""
    drop = [i for i, a in enumerate(t.letters) if a not in needed]
    if not drop:
        return t
    y = c.add("ReduceSum", [t.value, c.ints(*drop)], {"keepdims": 0})[0]
    return Term(y, "".join(a for a in t.letters if a in needed))


def _transposed(c: Call, t: Term, letters: str) -> Term:
    """Put the axes of a value in an order."""
    if t.letters == letters:
        return t
    perm = tuple(t.letters.index(a) for a in letters)
    return Term(c.add("Transpose", [t.value], {"perm": perm})[0], letters)


def _reshaped(c: Call, t: Term, *shape: int) -> Val:
    return t.value if t.value.shape == shape else c.one("Reshape", t.value, c.ints(*shape))


def _product(c: Call, a: Term, b: Term, needed: str) -> Term:
    """Multiply two values; the result has every index that is needed."""
    a = _summed(c, a, needed + b.letters)
    b = _summed(c, b, needed + a.letters)
    if a.value.fixed and not b.value.fixed:
        a, b = b, a  # weights stand on the right
    both = [x for x in a.letters if x in b.letters]
    inner = "".join(x for x in both if x not in needed and a.size(x) == b.size(x))
    batch = "".join(x for x in both if x not in inner)
    rows = "".join(x for x in a.letters if x not in both)
    columns = "".join(x for x in b.letters if x not in both)
    if not inner:
        return _summed(c, _elementwise(c, a, b), needed)
    a = _transposed(c, a, batch + rows + inner)
    b = _transposed(c, b, batch + inner + columns)
    k = prod(tuple(a.size(x) for x in inner))
    n = prod(tuple(b.size(x) for x in columns))
    many, wide = [a.size(x) for x in batch], [b.size(x) for x in batch]
    each = [a.size(x) for x in rows]
    flat = each if not batch and each else [prod(tuple(each))]  # one matrix: its rows stay apart
    left, right = _reshaped(c, a, *many, *flat, k), _reshaped(c, b, *wide, k, n)
    y = Term(c.one("MatMul", left, right), "")
    shape = [max(pair) for pair in zip(many, wide, strict=True)]
    out = [*shape, *each, *(b.size(x) for x in columns)]
    return Term(_reshaped(c, y, *out), batch + rows + columns)


def _elementwise(c: Call, a: Term, b: Term) -> Term:
    """Multiply with broadcasting: nothing is summed."""
    letters = a.letters + "".join(x for x in b.letters if x not in a.letters)
    parts: list[Val] = []
    for t in (a, b):
        order = "".join(x for x in letters if x in t.letters)
        t = _transposed(c, t, order)
        shape = [t.size(x) if x in order else 1 for x in letters]
        first = next((i for i, x in enumerate(letters) if x in order), 0)
        parts.append(_reshaped(c, t, *shape[first:]))
    return Term(c.one("Mul", *parts), letters)

"""Shapes of targets, by hand: a class per sample, a class per place, or a number per element."""

import pytest

from snncc.compiler.ir.core import Type, seq, tensor
from snncc.compiler.ir.losses import CLASSES, PIXELS, VALUES, Target, target_of

T, B = 5, 4
IMAGE = (B, 3, 6, 7)


@pytest.mark.parametrize(
    ("read", "kind", "timed", "wanted"),
    [
        (tensor((B, 10)), CLASSES, False, Target(CLASSES, (B,), "i32", 10, False)),
        (tensor(IMAGE), CLASSES, False, Target(CLASSES, (B,), "i32", 3 * 6 * 7, False)),
        (seq((T, B, 10)), CLASSES, True, Target(CLASSES, (T, B), "i32", 10, True)),
        (seq((T, B, 10)), CLASSES, False, Target(CLASSES, (B,), "i32", 10, False)),
        (tensor((B, 10)), CLASSES, True, Target(CLASSES, (B,), "i32", 10, False)),
        (tensor(IMAGE), PIXELS, False, Target(PIXELS, (B, 6, 7), "i32", 3, False)),
        (seq((T, *IMAGE)), PIXELS, True, Target(PIXELS, (T, B, 6, 7), "i32", 3, True)),
        (seq((T, *IMAGE)), PIXELS, False, Target(PIXELS, (B, 6, 7), "i32", 3, False)),
        (tensor((B, 2, 9)), PIXELS, False, Target(PIXELS, (B, 9), "i32", 2, False)),
        (tensor(IMAGE), VALUES, False, Target(VALUES, IMAGE, "f16", 0, False)),
        (seq((T, B, 10)), VALUES, True, Target(VALUES, (T, B, 10), "f16", 0, True)),
        (seq((T, B, 10)), VALUES, False, Target(VALUES, (B, 10), "f16", 0, False)),
        (tensor((B,)), CLASSES, False, Target(CLASSES, (B,), "i32", 1, False)),
    ],
)
def test_targets_of_a_batch(read: Type, kind: str, timed: bool, wanted: Target) -> None:
    assert target_of(read, kind, timed, B) == wanted


def test_logits_without_a_batch_axis_are_one_sample() -> None:
    assert target_of(tensor((10,)), CLASSES, False, 1) == Target(CLASSES, (1,), "i32", 10, False)
    assert target_of(tensor((1,)), CLASSES, False, 1) == Target(CLASSES, (1,), "i32", 1, False)
    timed = target_of(seq((T, 10)), CLASSES, True, 1)
    assert timed == Target(CLASSES, (T, 1), "i32", 10, True)
    assert target_of(tensor((10,)), VALUES, False, 1) == Target(VALUES, (10,), "f16", 0, False)


@pytest.mark.parametrize(
    ("read", "sample"),
    [(tensor((B, 10)), "10"), (tensor((B,)), "nothing"), (seq((T, B, 10)), "10")],
)
def test_what_has_no_places_is_refused(read: Type, sample: str) -> None:
    told = f"^a sample of {sample} has no places beside its classes$"
    with pytest.raises(ValueError, match=told):
        target_of(read, PIXELS, False, B)

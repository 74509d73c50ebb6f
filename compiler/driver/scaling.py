"""Watching a training run for overflow, and moving the loss scale (docs/design/overflow.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from snncc.compiler.config.loss_scale import SCALE_STATE, LossScale
from snncc.compiler.diag import fail
from snncc.compiler.driver.overflow import Lost, Watch, listed
from snncc.compiler.driver.simulate import LoadedProgram
from snncc.isa.program.layout import extent

Array: TypeAlias = npt.NDArray[Any]
GOOD_STEPS = "loss#good_steps"
"""Beside the program's states in a checkpoint: steps since the scale last changed."""


class Guard:
    """Looks at what every step left; with a dynamic scale undoes a step that overflowed.

    Call :meth:`before` and :meth:`after` around each step of the chip.
    """

    def __init__(self, chip: LoadedProgram, rule: LossScale, where: str = "") -> None:
        """``where``: the model, for messages."""
        self.chip, self.rule, self.where = chip, rule, where
        self.watch = Watch(chip.program)
        self.good = 0
        self.skipped = False
        self._places = [
            extent(t) for t in chip.program.tensors if t.role in ("param", "state")
        ]  # what a step leaves to the next one
        self._kept: list[Array] = []

    @property
    def scale(self) -> float:
        """The scale of the next step."""
        if not self.rule.dynamic:
            return self.rule.initial
        return float(self.chip.system.read_tensor(SCALE_STATE))

    def before(self) -> None:
        """Keep what a skipped step must leave as it was."""
        if self.rule.dynamic:
            dram = self.chip.system.dram
            self._kept = [dram[low:high].copy() for low, high in self._places]

    def after(self, number: int) -> None:
        """Judge step ``number`` (from 0): go on, undo it, or raise E0360."""
        rule, system = self.rule, self.chip.system
        used = self.scale
        lost = self.watch.look(
            system, ("gradient", "weight", "state"), used if rule.dynamic else None
        )
        self.skipped = False
        if not rule.dynamic:
            kept = [each for each in lost if each.kind != "gradient"]
            if kept or (lost and used >= 1.0):  # below 1 only the report of a gradient may overflow
                self._stop(lost, number, _static_help(lost, used))
            return
        if not lost:
            self._good()
            return
        if all(each.kind != "gradient" for each in lost):
            self._stop(lost, number, _RATE)
        if used <= rule.minimum:
            self._stop(lost, number, f"the scale is {used:g} already: {_RATE}")
        for (low, high), memory in zip(self._places, self._kept, strict=True):
            system.dram[low:high] = memory
        self.skipped = True
        self._set(max(rule.minimum, used / 2))

    def _stop(self, lost: list[Lost], number: int, help_: str) -> NoReturn:
        text = f"training step {number + 1} left infinite or NaN values: {listed(lost)}"
        fail("E0360", text, self.where, help=help_)

    def _good(self) -> None:
        self.good += 1
        if self.good >= self.rule.growth_interval:
            self._set(min(self.rule.maximum, self.scale * 2))

    def _set(self, scale: float) -> None:
        self.good = 0
        self.chip.system.write_tensor(SCALE_STATE, np.asarray(scale, np.float32))

    def stats(self) -> dict[str, Any]:
        """Return the scale of the next step and whether the last one was skipped."""
        return {"loss_scale": self.scale, "skipped": int(self.skipped)} if self.rule.dynamic else {}

    def state(self) -> dict[str, Array]:
        """Return what a checkpoint must hold beside the chip's memory."""
        return {GOOD_STEPS: np.asarray(self.good, np.int64)} if self.rule.dynamic else {}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Go on from a checkpoint, whose parameters and states the chip holds already."""
        lost = self.watch.look(self.chip.system, ("weight", "state"))
        if lost:
            fail(
                "E0027",
                f"the checkpoint holds numbers that are not finite: {listed(lost)}",
                help="start anew, with a smaller loss.scale or optimizer.lr",
            )
        if self.rule.dynamic:
            good = state.get(GOOD_STEPS)
            if good is None or good.shape != () or good.dtype.kind not in "iu" or good < 0:
                fail("E0027", "the checkpoint does not say how many steps were good")
            self.good = int(good)

    def check_start(self) -> None:
        """Refuse to train weights that are not finite from the start (E0360)."""
        lost = self.watch.look(self.chip.system, ("weight", "state"))
        if lost:
            fail(
                "E0360",
                f"the model's numbers are not finite in binary16 (largest: 65504): {listed(lost)}",
                self.where,
                help="scale the layers down, or freeze them: [parameters] freeze",
            )


_RATE = "lower optimizer.lr; `snncc check` names sums that may overflow"


def _static_help(lost: list[Lost], scale: float) -> str:
    if any(each.kind == "gradient" for each in lost):
        return (
            f"lower loss.scale (it is {scale:g}) or optimizer.lr; --loss-scale dynamic finds a "
            "scale that fits"
        )
    return _RATE

"""How many labels a network gets right, where its targets are classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scorer:
    """Compares logits with labels.

    ``logits_time`` is the time axis that logits still have, None without one; of labels that have
    one it is axis 1, behind the samples.  Logits of every step are summed over the steps for labels
    without one.
    """

    logits_time: int | None = None
    labels_time: bool = False

    def right(self, logits: Array, labels: Array) -> int:
        """Return how many labels have the largest logit; ``labels`` have the samples first."""
        if self.logits_time is not None:
            logits = np.moveaxis(logits, self.logits_time, 0)
            if not self.labels_time:
                logits = logits.sum(0)
        if self.labels_time:
            return int(np.sum(np.argmax(logits, 2) == np.moveaxis(labels, 1, 0)))
        return int(np.sum(np.argmax(logits, 1) == labels))

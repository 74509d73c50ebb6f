"""Event recordings (N-MNIST and the like) as arrays that a model takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recordings:
    """Events of many recordings, one after the other; ``offset[i]`` begins recording i."""

    x: IntArray
    y: IntArray
    polarity: IntArray
    time: IntArray
    """In microseconds."""
    offset: IntArray
    label: IntArray
    train: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of recordings."""
        return len(self.label)

    def frames(
        self, which: npt.ArrayLike, window: int, steps: int, size: tuple[int, int] = (34, 34)
    ) -> FloatArray:
        """Return event counts [steps, recordings, polarity, row, column].

        Step k of a recording counts what lies ``k*window`` to ``(k+1)*window`` microseconds after
        its first event; later events are left out.
        """
        chosen = np.asarray(which, np.int64)
        out = np.zeros((steps, len(chosen), 2, *size), np.float32)
        for n, i in enumerate(chosen):
            piece = slice(int(self.offset[i]), int(self.offset[i + 1]))
            time = self.time[piece]
            if not len(time):
                continue
            step = (time - time[0]) // window
            keep = step < steps
            index = (step[keep], self.polarity[piece][keep], self.y[piece][keep],
                     self.x[piece][keep])  # fmt: skip
            np.add.at(out[:, n], index, 1)
        return out


def load_recordings(path: str | Path) -> Recordings:
    """Read an npz with x, y, p, t_us (all events), offset, label and is_train (per recording)."""
    with np.load(path, allow_pickle=False) as z:
        events = {k: np.asarray(z[k], np.int64) for k in ("x", "y", "p", "t_us", "offset", "label")}
        train = np.asarray(z["is_train"], np.bool_)
    return Recordings(events["x"], events["y"], events["p"], events["t_us"], events["offset"],
                      events["label"], train)  # fmt: skip

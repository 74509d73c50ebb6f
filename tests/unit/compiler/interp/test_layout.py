"""Results in the layout of the model's file."""

import numpy as np

from snncc.compiler.interp.layout import file_layout


def test_time_axis_transposes_and_folds() -> None:
    x = np.arange(24.0).reshape(3, 2, 4)  # T, B, N
    assert file_layout({"axis": 0}, x, True).shape == (3, 2, 4)
    np.testing.assert_array_equal(file_layout({"axis": 1}, x, True), np.swapaxes(x, 0, 1))
    folded = file_layout({"axis": 0, "batch_in_time": True}, x, True)
    np.testing.assert_array_equal(folded[1], x[1, 0])  # sample 0, step 1
    assert folded.shape == (6, 4)
    np.testing.assert_array_equal(file_layout({"transpose": True, "axis": -1}, x[0], False), x[0].T)
    assert file_layout({"axis": 0, "shape": (3, 2, 2, 2)}, x, True).shape == (3, 2, 2, 2)

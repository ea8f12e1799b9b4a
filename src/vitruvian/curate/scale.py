# SPDX-License-Identifier: Apache-2.0
"""Boxes of a copy and boxes of the original."""

import numpy as np
from numpy.typing import NDArray


def at_original_size(
    boxes: NDArray[np.float64], seen: tuple[int, ...], original: tuple[int, int]
) -> NDArray[np.float64]:
    """Return boxes found in a copy as boxes of the original.

    Args:
        boxes: (N, 4), x0, y0, x1, y1 of the centres of first and last pixels.
        seen: (height, width) of the copy.
        original: (height, width).

    Edges go to edges: a box that fills the copy fills the original.
    """
    scale = np.tile([original[1] / seen[1], original[0] / seen[0]], 2)
    half = np.array([-0.5, -0.5, 0.5, 0.5])
    return (boxes + half + 0.5) * scale - 0.5 - half

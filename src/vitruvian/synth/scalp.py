# SPDX-License-Identifier: Apache-2.0
"""Where hair grows: scalp, beard and brows on the canonical head, as metres inside of the region.

The lines were laid by eye on the canonical head (eyes at y = 1.722, crown at 1.838, forehead at
z = 0.16, ears at z = 0.05); they hold for every person, since canonical places follow the shape.
"""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import LinearNDInterpolator

from vitruvian.synth.body import load_body
from vitruvian.synth.subdivide import Piece

Floats = NDArray[np.floating]
EYES = 1.722


def scalp(places: Floats, *, receding: float = 0.0, bald: float = 0.0) -> Floats:
    """Return (n,) metres inside the hairline.

    Args:
        places: (n, 3) canonical.
        receding: 0 none, 1 temples and front about 3 cm higher.
        bald: 0 none, above 0.5 only a wreath is left.
    """
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    t = np.clip((0.155 - z) / 0.255, 0, 1)
    line = np.interp(
        t,
        [0.0, 0.12, 0.24, 0.31, 0.36, 0.42, 0.50, 0.62, 1.0],
        [0.074, 0.066, 0.050, 0.016, -0.026, -0.016, 0.0, -0.045, -0.088],
    )
    temples = np.exp(-(((x - 0.05) / 0.018) ** 2)) * (z > 0.07)
    line = line + receding * (
        0.03 * (z > 0.06) * np.clip((z - 0.06) / 0.05, 0, 1) + 0.025 * temples
    )
    inside = y - (EYES + line)
    if bald > 0:
        # a wreath below this height remains, lower in front
        top = EYES + 0.095 - 0.09 * bald - 0.15 * np.clip(z - 0.03, 0, 0.2)
        inside = np.minimum(inside, top - y)
    return inside


def hat_line(kind: str, places: Floats) -> Floats:
    """Return (n,) metres above the lower border of a hat."""
    y, z = places[:, 1], places[:, 2]
    front = np.clip((z - 0.03) / 0.12, -1, 1)
    line = {
        "cap": 1.754 + 0.022 * front,
        "hat": 1.758 + 0.020 * front,
        "beanie": 1.722 + 0.045 * np.clip(front, 0, 1) - 0.02 * np.clip(-front, 0, 1),
        "headscarf": np.full(len(y), 1.5),
    }[kind]
    return y - line


def beard(places: Floats, kind: str) -> Floats:
    """Return (n,) metres inside a beard: "full", "goatee", "moustache" or "shadow"."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    cheek = 1.655 + np.interp(
        x, [0.0, 0.02, 0.035, 0.055, 0.07], [0.014, 0.010, -0.004, 0.018, 0.06]
    )
    below = np.minimum(y - 1.59 + 0.25 * np.clip(0.12 - z, 0, 0.05), z - 0.035)
    full = np.minimum(np.minimum(cheek - y, below), 0.0745 - x)  # not on the ears
    moustache = np.minimum(np.minimum(y - 1.655, 1.674 - y), 0.031 - x)
    moustache = np.where(z > 0.1, moustache, -1.0)
    chin = np.minimum(np.minimum(1.6345 - y, y - 1.596), 0.024 - x)
    chin = np.where(z > 0.11, chin, -1.0)
    # the lips, and the bare patch beside the lower one
    mouth = np.hypot(x / 0.027, (y - 1.6485) / 0.011) - 1
    bare = np.where(z > 0.1, mouth * 0.011, 1.0)
    shape = {
        "full": full,
        "shadow": full + 0.004,
        "moustache": moustache,
        "goatee": np.maximum(
            np.maximum(moustache, chin), np.minimum(0.004 - np.abs(x - 0.027), full)
        ),
    }[kind]
    return np.minimum(shape, bare)


def brow(places: Floats, thick: float) -> Floats:
    """Return (n,) 0 … 1: how dense eyebrows are; ``thick`` scales their height."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    middle = np.interp(
        x, [0.013, 0.026, 0.038, 0.048, 0.057], [1.743, 1.7465, 1.7475, 1.7445, 1.738]
    )
    half = thick * np.interp(
        x, [0.011, 0.014, 0.026, 0.04, 0.058], [0.002, 0.0045, 0.0045, 0.0035, 0.001]
    )
    dense = np.clip(2.5 * (1 - np.abs(y - middle) / half), 0, 1)
    ends = np.clip((x - 0.010) / 0.005, 0, 1) * np.clip((0.0585 - x) / 0.006, 0, 1)
    return np.where(z > 0.1, dense * ends, 0.0)


@cache
def face_window() -> tuple[tuple[float, float, float, float], NDArray[np.float32]]:
    """Return the window of the face in texture space and (H, W, 3) canonical places of its texels.

    Texels are about 0.6 mm wide. Places outside of the skin are NaN.
    """
    model = load_body()
    which = model.group_faces("skin")
    uv = model.uv[which].reshape(-1, 2)
    places = model.canonical.vertices[0][model.faces[which]].reshape(-1, 3)
    face = (places[:, 1] > 1.56) & (places[:, 1] < 1.80) & (places[:, 2] > 0.02)
    nose = int(np.where(face, places[:, 2], 0).argmax())  # its tip is farthest in front
    face &= _patch(uv, nose)
    uv, places = uv[face], places[face]
    low, high = uv.min(axis=0), uv.max(axis=0)
    size = 480
    u = low[0] + (np.arange(size) + 0.5) / size * (high[0] - low[0])
    v = high[1] - (np.arange(size) + 0.5) / size * (high[1] - low[1])
    grid = np.stack(np.meshgrid(u, v), axis=-1)
    _, first = np.unique(np.round(uv, 6), axis=0, return_index=True)
    found = LinearNDInterpolator(uv[first].astype(np.float64), places[first])(grid)
    window = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
    return window, found.astype(np.float32)


def _patch(uv: Floats, corner: int) -> NDArray[np.bool_]:
    """Return which of the (3 F, 2) corners of faces are in one patch of the texture with one."""
    _, place = np.unique(np.round(uv, 5), axis=0, return_inverse=True)
    place = place.reshape(-1, 3)
    start, end = place.ravel(), place[:, [1, 2, 0]].ravel()
    count = int(place.max()) + 1
    graph = sparse.coo_array((np.ones(len(start)), (start, end)), shape=(count, count))
    patch = sparse.csgraph.connected_components(graph, directed=False)[1][start]
    return patch == patch[corner]


def paint_mask(dense: Floats) -> NDArray[np.uint8]:
    """Turn (H, W) densities 0 … 1 into a slightly softened uint8 mask."""
    values = (np.nan_to_num(dense) * 255).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), 0.8), np.uint8)


@cache
def ears(piece: Piece) -> NDArray[np.bool_]:
    """Return (F,) which faces of a piece of skin belong to the ears."""
    return load_body().mask("ears", piece.uv.mean(axis=1)) > 0.4

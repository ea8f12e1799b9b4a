# SPDX-License-Identifier: Apache-2.0
"""How cloth stands off the body: hanging from where it rests, and falling into folds."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vitruvian.synth import noise
from vitruvian.synth.garments import KINDS, TOPS, Garment
from vitruvian.synth.shells import UPPER_ARM, UPPER_LEG, Fitted

Floats = NDArray[np.floating]
_MODES: Any = ("nearest", "wrap")  # one per axis: rows end, columns go round


def hang(
    along: Floats, angle: Floats, radius: Floats, member: NDArray[np.bool_], slope: float
) -> NDArray[np.float32]:
    """Return how far cloth that hangs around a limb is from what it hangs on, metres.

    Going down, cloth comes back to the body by at most ``slope`` metres per metre: 0 hangs
    straight from the widest place above, 2 and more lies close.

    Args:
        along: (n,) metres downwards along the limb.
        angle: (n,) radians around it.
        radius: (n,) metres from its axis.
        member: (n,) who takes part.
        slope: metres per metre.
    """
    out = np.zeros(len(along), np.float32)
    if not member.any():
        return out
    rows, columns = 56, 40
    start, end = along[member].min(), along[member].max() + 1e-6
    row = (along[member] - start) / (end - start) * (rows - 1)
    column = (angle[member] / (2 * np.pi) + 0.5) * columns
    table = np.zeros((rows, columns))
    spot = np.rint(row).astype(int), np.rint(column).astype(int) % columns
    np.maximum.at(table, spot, radius[member])
    table = np.maximum(table, ndimage.grey_closing(table, (5, 5), mode=_MODES))
    fall = slope * (end - start) / (rows - 1)
    for k in range(1, rows):
        table[k] = np.maximum(table[k], table[k - 1] - fall)
    table = ndimage.gaussian_filter(table, (1.5, 1.5), mode=_MODES)
    found = ndimage.map_coordinates(
        np.concatenate([table, table[:, :1]], axis=1), [row, column], order=1, mode="nearest"
    )
    out[member] = np.clip(found - radius[member], 0, 0.14)
    return out


def _limb_polar(fitted: Fitted, kind: str) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return along, angle, radius and membership of the legs or arms of a fitted shell."""
    scalar = fitted.shell.leg if kind == "leg" else fitted.shell.arm
    names = {
        "leg": ("upperleg01", "lowerleg01", "foot"),
        "arm": ("upperarm01", "lowerarm01", "wrist"),
    }[kind]
    base = fitted.base.astype(np.float64)
    axis = np.zeros_like(base)
    direction = np.zeros_like(base)
    for letter, side in (("L", base[:, 0] > 0), ("R", base[:, 0] <= 0)):
        points = np.stack([fitted.wearer.bone(f"{name}.{letter}") for name in names])
        t = np.clip(scalar[side], 0, 2.0)
        for column in range(3):
            axis[side, column] = np.interp(t, [0, 1, 2], points[:, column])
        way = points[2] - points[0]
        direction[side] = way / np.linalg.norm(way)
    offset = base - axis
    offset -= direction * (offset * direction).sum(axis=1, keepdims=True)
    out = np.where(base[:, :1] > 0, np.array([[1.0, 0, 0]]), np.array([[-1.0, 0, 0]]))
    out = out - direction * (out * direction).sum(axis=1, keepdims=True)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    other = np.cross(direction, out)
    angle = np.arctan2((offset * other).sum(axis=1), (offset * out).sum(axis=1))
    # left and right side by side in one table: half a turn each would mix, so they are separate
    length = UPPER_LEG if kind == "leg" else UPPER_ARM
    member = scalar > (0.25 if kind == "leg" else 0.1)
    return scalar * length, angle, np.linalg.norm(offset, axis=1), member


def hung(fitted: Fitted, garment: Garment) -> NDArray[np.float32]:
    """Return (n,) metres a garment stands off because it hangs."""
    base, shell = fitted.base, fitted.shell
    out = np.zeros(len(base), np.float32)
    slope = 0.04 + 1.6 * (1 - garment.loose) ** 2
    if garment.kind in TOPS or garment.kind == "dress":
        trunk = (shell.arm < -1.6) & (shell.head < 0.3) & (shell.canonical[:, 1] < 1.44)
        trunk &= shell.canonical[:, 1] > 0.75
        axis = base[trunk, 2].mean() if trunk.any() else 0.0
        x, z = base[:, 0], base[:, 2] - axis
        reach = hang(-base[:, 1], np.arctan2(x, z), np.hypot(x, z), trunk, slope)
        out = np.maximum(out, reach)
        limbs = ("arm",) if garment.sleeve > 0.15 else ()
    else:
        limbs = ("leg",)
    for limb in limbs:
        along, angle, radius, member = _limb_polar(fitted, limb)
        for side in (base[:, 0] > 0, base[:, 0] <= 0):
            reach = hang(along, angle, radius, member & side, slope * 0.6)
            if limb == "leg":  # the inner sides must not meet
                inner = np.abs(base[:, 0]) < 0.1
                reach = np.where(inner, reach * 0.5, reach)
            out = np.maximum(out, reach)
    most = 0.03 + 0.06 * garment.loose
    return shell.smoothed(np.minimum(out, most), 4 * max(fitted.wearer.detail, 1) ** 2)


def quilted(fitted: Fitted, garment: Garment, reach: Floats) -> NDArray[np.float32]:
    """Return (n,) metres of filling, in tubes around the limbs, thinner towards the borders.

    Args:
        fitted: the shell.
        garment: which is padded.
        reach: (n,) metres inside of its borders.
    """
    shell = fitted.shell
    along = np.where(shell.arm > 0, shell.arm * UPPER_ARM, 1.6 - shell.canonical[:, 1])
    spacing = 0.05 + 0.04 * (fitted.wearer.seed % 7) / 6
    tube = np.abs(np.sin(np.pi * along / spacing)) ** 0.6
    thick = garment.padded * (0.6 + 0.4 * tube) * (0.3 + 0.7 * np.clip(reach / 0.06, 0, 1))
    return shell.smoothed(thick, 3 * max(fitted.wearer.detail, 1) ** 2)


def folds(fitted: Fitted, garment: Garment) -> NDArray[np.float32]:
    """Return (n,) metres of folds, mean about zero."""
    places = np.ascontiguousarray(fitted.shell.canonical.T)
    seed = fitted.wearer.seed + 7 * KINDS.index(garment.kind)
    upright = places * np.array([[1.0], [0.45], [1.0]], np.float32)
    wide = noise.smooth(upright, 9, seed=seed) - np.float32(0.5)
    lying = places * np.array([[0.6], [1.5], [0.6]], np.float32)
    fine = noise.smooth(lying, 16, seed=seed + 1) - np.float32(0.5)
    size = 0.002 + 0.02 * garment.loose
    joints = np.exp(-(((fitted.shell.leg - 1) / 0.2) ** 2))
    joints = joints + np.exp(-(((fitted.shell.arm - 1) / 0.25) ** 2))
    joints = joints + 0.7 * np.exp(-(((fitted.shell.leg - 1.9) / 0.15) ** 2))
    return (size * (wide + (0.35 + 0.5 * joints) * fine)).astype(np.float32)

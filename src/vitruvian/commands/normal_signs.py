# SPDX-License-Identifier: Apache-2.0
"""Which way the y and z axes of a normals network point, decided from one of its predictions.

Published files do not say it. Three facts about any opaque surface seen by a camera do:

* what is visible faces the viewer, which settles z;
* at the outline of a body the normal points out of it, so that the top of a head points up,
  which settles y when the outline is known;
* slopes are those of one surface z(x, y), so ∂²z/∂x∂y is the same read from either slope
  (Frankot and Chellappa, IEEE PAMI 10(4), 1988), which settles y without an outline.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError

_ENOUGH = 0.25  # agreement (-1 … 1) from which a fact counts
_FACING = 0.8  # share of pixels that must face the same way
_STEEP = 0.4  # |nz| below which slopes are too steep to compare


@dataclass(frozen=True, kw_only=True)
class SignEvidence:
    """What spoke for the signs; every agreement is -1 … 1, and ``None`` where it cannot be had.

    Attributes:
        pixels: how many were looked at.
        facing: share of them whose z is positive as the network gives it.
        outline_x: agreement of x with the outline's outward direction; positive in a sane result.
        outline_y: the same of y, downward positive.
        surface_y: agreement of the two readings of ∂²z/∂x∂y when y is taken as downward.
    """

    pixels: int
    facing: float
    outline_x: float | None
    outline_y: float | None
    surface_y: float | None

    @property
    def contradictory(self) -> bool:
        """Whether outline and surface disagree, or x points the wrong way."""
        outline, surface = self.outline_y, self.surface_y
        opposed = (
            outline is not None
            and surface is not None
            and min(abs(outline), abs(surface)) > _ENOUGH
            and outline * surface < 0
        )
        return opposed or (self.outline_x is not None and self.outline_x < -_ENOUGH)

    def __str__(self) -> str:
        """Say it in one line."""
        parts = [f"{self.facing:.0%} of {self.pixels} pixels have positive z"]
        for name, value in (
            ("outline x", self.outline_x),
            ("outline y", self.outline_y),
            ("surface y", self.surface_y),
        ):
            parts.append(f"{name} {'unknown' if value is None else format(value, '+.2f')}")
        return ", ".join(parts)


class NormalSigns(NamedTuple):
    """Factors from a network's axes to camera space (x right, y down, z forward).

    Each is 1, -1, or 0 when the prediction does not settle it.
    """

    y: int
    z: int
    evidence: SignEvidence


def decide_normal_signs(normals: ArrayLike, mask: ArrayLike | None = None) -> NormalSigns:
    """Decide the signs of y and z of predicted normals whose x points right.

    Args:
        normals: (H, W, 3) vectors in the network's own axes; their length does not matter.
        mask: (H, W) pixels on one body. Without it every pixel with a normal is used and the
            outline is not.

    Raises:
        InputError: for wrong shapes, or fewer than 100 pixels.
    """
    vectors = np.asarray(normals, dtype=np.float64)
    if vectors.ndim != 3 or vectors.shape[2] != 3:
        raise InputError(f"normals are (H, W, 3), got {vectors.shape}")
    length = np.linalg.norm(vectors, axis=-1)
    solid = np.isfinite(length) & (length > 1e-6)
    body = None if mask is None else np.asarray(mask, dtype=np.bool_)
    if body is not None and body.shape != solid.shape:
        raise InputError(f"mask of shape {body.shape} for normals of shape {solid.shape}")
    used = solid if body is None else solid & body
    if used.sum() < 100:
        raise InputError(f"{used.sum()} pixels with a normal: at least 100 are needed to decide")
    unit = np.where(used[..., None], vectors / np.where(solid, length, 1.0)[..., None], 0.0)

    facing = float((unit[..., 2][used] > 0).mean())
    z = -1 if facing >= _FACING else 1 if facing <= 1 - _FACING else 0
    outline_x, outline_y = (None, None) if body is None else _outline(unit, used, body)
    surface_y = _surface(unit, used)
    evidence = SignEvidence(
        pixels=int(used.sum()),
        facing=facing,
        outline_x=outline_x,
        outline_y=outline_y,
        surface_y=surface_y,
    )
    votes = [v for v in (outline_y, surface_y) if v is not None and abs(v) > _ENOUGH]
    y = 0 if not votes or evidence.contradictory else 1 if votes[0] > 0 else -1
    return NormalSigns(y, z, evidence)


def _outline(
    unit: NDArray[np.float64], used: NDArray[np.bool_], body: NDArray[np.bool_]
) -> tuple[float | None, float | None]:
    """Compare x and y with the outward direction in a band along the outline.

    Where the picture ends the body was cut, not rounded: that part of the outline says nothing.
    """
    sigma = max(1.0, 0.01 * float(np.sqrt(body.sum())))
    soft = cv2.GaussianBlur(body.astype(np.float64), (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    down, right = (-slope for slope in np.gradient(soft))
    strength = np.hypot(right, down)
    band = used & (strength > 0.25 * strength.max())
    if band.sum() < 20:
        return None, None
    flat = np.hypot(unit[..., 0], unit[..., 1])

    def agreement(outward: NDArray[np.float64], part: NDArray[np.float64]) -> float | None:
        weight = (np.abs(outward) * flat)[band].sum()
        return float((outward * part)[band].sum() / weight) if weight > 1e-9 else None

    return agreement(right, unit[..., 0]), agreement(down, unit[..., 1])


def _surface(unit: NDArray[np.float64], used: NDArray[np.bool_]) -> float | None:
    """Compare ∂/∂y of the x slope with ∂/∂x of the y slope."""
    depth = unit[..., 2]
    gentle = used & (np.abs(depth) > _STEEP)
    divisor = np.where(gentle, depth, 1.0)
    # A pixel counts when its four neighbours do: slopes are compared by central differences.
    inner = gentle[1:-1, 1:-1] & gentle[:-2, 1:-1] & gentle[2:, 1:-1]
    inner &= gentle[1:-1, :-2] & gentle[1:-1, 2:]
    if inner.sum() < 100:
        return None
    across, along = unit[..., 0] / divisor, unit[..., 1] / divisor
    first = ((across[2:, 1:-1] - across[:-2, 1:-1]) / 2)[inner]
    second = ((along[1:-1, 2:] - along[1:-1, :-2]) / 2)[inner]
    # Folds and edges of clothes are large and belong to two surfaces: leave out the outermost.
    size = np.hypot(first, second)
    kept = size <= np.quantile(size, 0.98)
    weight = (first[kept] ** 2 + second[kept] ** 2).sum()
    return float(2 * (first[kept] * second[kept]).sum() / weight) if weight > 1e-9 else None

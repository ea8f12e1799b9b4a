# SPDX-License-Identifier: Apache-2.0
"""Boxes, crops, rotations and similarity fits: the only owner of picture coordinates.

Convention: pixel (0, 0) is the *centre* of the first pixel, x grows to the right and y downwards.
A picture of width W therefore covers x from -0.5 to W - 0.5. Boxes are (x0, y0, x1, y1) of pixel
centres: the box of a whole picture is (0, 0, W - 1, H - 1). Sizes are (height, width).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError

Size = tuple[int, int]
"""(height, width) in pixels."""


def _matrix3(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def transform_points(matrix: NDArray[np.float64], xy: ArrayLike) -> NDArray[np.float64]:
    """Apply a 2×3 affine ``matrix`` to points (…, 2); NaN stays NaN."""
    points = np.asarray(xy, dtype=np.float64)
    return points @ matrix[:, :2].T + matrix[:, 2]


@dataclass(frozen=True, eq=False)
class Crop:
    """A window of a picture, as the affine map from picture to window, with an exact inverse.

    Attributes:
        matrix: (2, 3) float64, picture coordinates → window coordinates, both with pixel centres
            at whole numbers.
        size: (height, width) of the window in pixels.
    """

    matrix: NDArray[np.float64]
    size: Size

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (2, 3) or not np.isfinite(matrix).all():
            raise InputError(f"a crop needs a finite 2×3 matrix, got shape {matrix.shape}")
        if abs(float(np.linalg.det(matrix[:, :2]))) < 1e-12:
            raise InputError("a crop matrix must be invertible: the box has no width or no height")
        if min(self.size) < 1:
            raise InputError(f"a crop needs a size of at least 1×1 pixels, got {self.size}")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @property
    def inverse(self) -> NDArray[np.float64]:
        """(2, 3) map from window to picture coordinates."""
        return np.linalg.inv(_matrix3(self.matrix))[:2].astype(np.float64)

    @property
    def turn(self) -> NDArray[np.float64]:
        """(2, 2) orthogonal part of the map: how directions in the picture plane change.

        A rotation turns them; a mirror has determinant -1 and changes the sign of x.
        """
        u, _, vt = np.linalg.svd(self.matrix[:, :2])
        return u @ vt

    @property
    def mirrors(self) -> bool:
        """Whether left and right change places (the determinant is negative)."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    def to_window(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Map picture points (…, 2) into the window."""
        return transform_points(self.matrix, xy)

    def to_image(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Map window points (…, 2) back to the picture."""
        return transform_points(self.inverse, xy)

    def then(self, matrix: NDArray[np.float64], size: Size) -> "Crop":
        """Follow this crop by another affine map of its window."""
        return Crop(_matrix3(matrix)[:2] @ _matrix3(self.matrix), size)

    def mirrored(self) -> "Crop":
        """Return the same window seen in a mirror (x → width - 1 - x)."""
        return self.then(mirror_matrix(self.size[1]), self.size)

    def resized(self, size: Size) -> "Crop":
        """Return the same part of the picture sampled at another size (edges stay edges)."""
        return self.then(resize_matrix(self.size, size), size)

    @classmethod
    def whole(cls, image_size: Size) -> "Crop":
        """Return the picture itself."""
        return cls(np.array([[1.0, 0, 0], [0, 1.0, 0]]), image_size)

    @classmethod
    def stretch(cls, image_size: Size, size: Size) -> "Crop":
        """Fit the whole picture into ``size`` without keeping its aspect.

        This is how the first generation's dense tasks see a photograph (published code); half-pixel
        centres, like ``cv2.resize``.
        """
        return cls(resize_matrix(image_size, size), size)

    @classmethod
    def pad(cls, image_size: Size, size: Size) -> "Crop":
        """Fit the whole picture into ``size``, keeping its aspect, centred between margins.

        The scaled picture has floor(w s) × floor(h s) pixels and the left and top margins are
        rounded down, as the second generation does (published code).
        """
        height, width = image_size
        scale = min(size[1] / width, size[0] / height)
        inner = (max(1, math.floor(height * scale)), max(1, math.floor(width * scale)))
        matrix = resize_matrix(image_size, inner)
        matrix[:, 2] += ((size[1] - inner[1]) // 2, (size[0] - inner[0]) // 2)
        return cls(matrix, size)

    @classmethod
    def from_box(
        cls, box: ArrayLike, size: Size, *, padding: float = 1.25, rotation: float = 0.0
    ) -> "Crop":
        """Cut a person's box, enlarged and grown to the window's aspect ("UDP" crop).

        Args:
            box: (x0, y0, x1, y1).
            size: (height, width) of the window.
            padding: factor on the box's width and height, applied first (1.25 published).
            rotation: angle in radians by which the cut window is turned about the box centre.

        The enlarged box spans window coordinates 0 … width - 1 and 0 … height - 1, which is the
        unbiased data processing (UDP) convention of the published pose models.

        Raises:
            InputError: if the box is not finite or has no area.
        """
        centre, extent = padded_box(box, size, padding)
        kx, ky = (size[1] - 1) / extent[0], (size[0] - 1) / extent[1]
        cos, sin = math.cos(rotation), math.sin(rotation)
        cx, cy = centre
        matrix = [
            [cos * kx, -sin * kx, kx * (-cx * cos + cy * sin + 0.5 * extent[0])],
            [sin * ky, cos * ky, ky * (-cx * sin - cy * cos + 0.5 * extent[1])],
        ]
        return cls(np.array(matrix), size)


def padded_box(
    box: ArrayLike, size: Size, padding: float = 1.25
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre (x, y) and extent (width, height) of a box enlarged to the aspect of ``size``.

    The shorter side, relative to the window, grows; the longer one stays.
    """
    corners = np.asarray(box, dtype=np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all():
        raise InputError(f"a box is four finite numbers x0, y0, x1, y1, got {corners.tolist()}")
    extent = (corners[2:] - corners[:2]) * padding
    if extent.min() <= 0:
        raise InputError(
            f"box {corners.tolist()} has no area: it needs x1 > x0 and y1 > y0 (x0, y0, x1, y1)"
        )
    aspect = size[1] / size[0]
    width, height = float(extent[0]), float(extent[1])
    if width > aspect * height:
        height = width / aspect
    else:
        width = height * aspect
    return (corners[:2] + corners[2:]) / 2, np.array([width, height])


def mirror_matrix(width: int) -> NDArray[np.float64]:
    """Return the (2, 3) matrix of a mirror image: x → width - 1 - x."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def resize_matrix(source: Size, target: Size) -> NDArray[np.float64]:
    """Return the (2, 3) matrix of a resize that maps picture edges onto picture edges."""
    sy, sx = target[0] / source[0], target[1] / source[1]
    return np.array([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5]])


# ---------------------------------------------------------------------------------------- boxes


def box_of_points(xy: ArrayLike, *, margin: float = 0.0) -> NDArray[np.float64] | None:
    """Return the tight (x0, y0, x1, y1) of the finite points (…, 2), grown by ``margin`` × size.

    Returns ``None`` when no point is finite.
    """
    points = np.asarray(xy, dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    grow = (high - low) * margin
    return np.concatenate([low - grow, high + grow])


def box_of_mask(mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the tight box of the true pixels of ``mask`` (H, W), or ``None`` if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)


def boxes_iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return intersection over union (N, M) of boxes (N, 4) and (M, 4)."""
    first = np.asarray(a, dtype=np.float64).reshape(-1, 4)[:, None]
    second = np.asarray(b, dtype=np.float64).reshape(-1, 4)[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = np.prod(first[..., 2:] - first[..., :2], axis=-1)
    areas = areas + np.prod(second[..., 2:] - second[..., :2], axis=-1)
    return np.divide(overlap, areas - overlap, out=np.zeros_like(overlap), where=areas > overlap)


def suppress(boxes: ArrayLike, scores: ArrayLike, iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the kept boxes, best score first.

    A box goes when it overlaps a better kept one by more than ``iou``; ties keep input order.
    """
    table = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    overlaps = boxes_iou(table, table)
    kept: list[int] = []
    while len(order):
        best = int(order[0])
        kept.append(best)
        order = order[1:][overlaps[best, order[1:]] <= iou]
    return np.array(kept, dtype=np.intp)


def clip_box(box: ArrayLike, image_size: Size) -> NDArray[np.float64]:
    """Clip (x0, y0, x1, y1) to the pixel centres of a picture."""
    limits = np.array([image_size[1] - 1, image_size[0] - 1] * 2, dtype=np.float64)
    return np.clip(np.asarray(box, dtype=np.float64), 0, limits)


def xywh_to_box(xywh: ArrayLike) -> NDArray[np.float64]:
    """Turn (x, y, width, height) boxes (…, 4) into (x0, y0, x1, y1)."""
    boxes = np.array(xywh, dtype=np.float64)
    boxes[..., 2:] += boxes[..., :2]
    return boxes


def box_to_xywh(box: ArrayLike) -> NDArray[np.float64]:
    """Turn (x0, y0, x1, y1) boxes (…, 4) into (x, y, width, height)."""
    boxes = np.array(box, dtype=np.float64)
    boxes[..., 2:] -= boxes[..., :2]
    return boxes


# ------------------------------------------------------------------------- rotations and fits


def rotation_about(axis: ArrayLike, angle: ArrayLike) -> NDArray[np.float64]:
    """Return rotation matrices (…, 3, 3) by ``angle`` (…) radians about ``axis`` (…, 3)."""
    unit = np.asarray(axis, dtype=np.float64)
    unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
    theta = np.asarray(angle, dtype=np.float64)[..., None, None]
    x, y, z = np.moveaxis(unit, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    cross = cross.reshape(*unit.shape[:-1], 3, 3)
    return np.eye(3) + np.sin(theta) * cross + (1 - np.cos(theta)) * (cross @ cross)


@dataclass(frozen=True, eq=False)
class Similarity:
    """y = scale · rotation · x + translation."""

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Apply to points (…, D)."""
        xs = np.asarray(points, dtype=np.float64)
        return self.scale * xs @ self.rotation.T + self.translation


def fit_similarity(
    source: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None, scale: bool = True
) -> Similarity:
    """Fit the least-squares similarity from ``source`` to ``target`` points (N, D).

    Closed form by Umeyama (1991); the rotation never mirrors. ``scale=False`` fits a rigid motion.

    Raises:
        InputError: for fewer than two points or unequal shapes.
    """
    xs, ys = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if xs.shape != ys.shape or xs.ndim != 2 or len(xs) < 2:
        raise InputError(f"a fit needs two equal (N ≥ 2, D) arrays, got {xs.shape} and {ys.shape}")
    w = np.ones(len(xs)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.sum()
    mean_x, mean_y = w @ xs, w @ ys
    dx, dy = xs - mean_x, ys - mean_y
    u, singular, vt = np.linalg.svd((dy * w[:, None]).T @ dx)
    signs = np.ones(xs.shape[1])
    signs[-1] = np.sign(np.linalg.det(u @ vt)) or 1.0
    rotation: NDArray[Any] = u @ np.diag(signs) @ vt
    spread = float(w @ (dx**2).sum(axis=1))
    factor = float(singular @ signs) / spread if scale and spread > 0 else 1.0
    return Similarity(factor, rotation, mean_y - factor * rotation @ mean_x)

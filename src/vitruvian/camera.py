# SPDX-License-Identifier: Apache-2.0
"""Calibrated cameras: world ↔ camera space ↔ picture, and depth ↔ position ↔ normals.

Convention: camera space is OpenCV's (x right, y down, z forward, metres); a point is in front of
the camera when z > 0. Depth is z, not the distance to the optical centre. Pixel (0, 0) is the
centre of the first pixel. Normals are unit vectors in camera space that point towards the viewer,
so a wall facing the camera has the normal (0, 0, -1).
"""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError


def _no_rotation() -> NDArray[np.float64]:
    return np.eye(3)


def _zeros3() -> NDArray[np.float64]:
    return np.zeros(3)


def _no_distortion() -> NDArray[np.float64]:
    return np.zeros(0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A pinhole camera with lens distortion.

    Attributes:
        matrix: (3, 3) intrinsics K in pixels.
        size: (height, width) of its pictures in pixels.
        rotation: (3, 3) world → camera. Its determinant is -1 for a picture seen in a mirror.
        translation: (3,) world → camera, metres: x_camera = rotation · x_world + translation.
        distortion: OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]]; empty for none.
    """

    matrix: NDArray[np.float64]
    size: tuple[int, int]
    rotation: NDArray[np.float64] = field(default_factory=_no_rotation)
    translation: NDArray[np.float64] = field(default_factory=_zeros3)
    distortion: NDArray[np.float64] = field(default_factory=_no_distortion)

    def __post_init__(self) -> None:
        shapes = {"matrix": (3, 3), "rotation": (3, 3), "translation": (3,)}
        for name in ("matrix", "rotation", "translation", "distortion"):
            value = np.array(getattr(self, name), dtype=np.float64)
            if name in shapes and value.shape != shapes[name]:
                raise InputError(f"camera {name} needs shape {shapes[name]}, got {value.shape}")
            if not np.isfinite(value).all():
                raise InputError(f"camera {name} has values that are not finite")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if self.distortion.shape not in {(0,), (4,), (5,), (8,)}:
            raise InputError(
                f"camera distortion needs 0, 4, 5 or 8 numbers, got {self.distortion.shape}"
            )
        if np.abs(self.rotation @ self.rotation.T - np.eye(3)).max() > 1e-4:
            raise InputError("camera rotation must be orthogonal: its rows need length 1")

    @classmethod
    def from_focal(cls, focal: float, size: tuple[int, int]) -> "Camera":
        """Build a camera at the origin with focal length in pixels and a centred optical axis."""
        cx, cy = (size[1] - 1) / 2, (size[0] - 1) / 2
        return cls(matrix=np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]]), size=size)

    @property
    def centre(self) -> NDArray[np.float64]:
        """(3,) position of the optical centre in the world, metres."""
        return -self.rotation.T @ self.translation

    def to_camera(self, world: ArrayLike) -> NDArray[np.float64]:
        """Map world points (…, 3) into camera space."""
        return np.asarray(world, dtype=np.float64) @ self.rotation.T + self.translation

    def to_world(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map camera-space points (…, 3) into the world."""
        return (np.asarray(points, dtype=np.float64) - self.translation) @ self.rotation

    def project(self, world: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Project world points (…, 3) to pixels (…, 2) and depth z (…,) in metres.

        Points at or behind the camera plane (z ≤ 0) get NaN pixels.
        """
        points = self.to_camera(world)
        depth = points[..., 2]
        safe = np.where(depth > 0, depth, np.nan)
        xy = _distort(points[..., :2] / safe[..., None], self.distortion)
        return xy @ self.matrix[:2, :2].T + self.matrix[:2, 2], depth

    def rays(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Return camera-space directions (…, 3) with z = 1 through pixels (…, 2)."""
        points = np.asarray(xy, dtype=np.float64)
        flat = (points.reshape(-1, 2) - self.matrix[:2, 2]) @ np.linalg.inv(self.matrix[:2, :2]).T
        if len(self.distortion) and len(flat):
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
            undistorted = cast(
                "NDArray[np.float64]",
                cv2.undistortPoints(flat[:, None], np.eye(3), self.distortion, criteria=criteria),
            )
            flat = undistorted.reshape(-1, 2)
        rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        return rays.reshape(*points.shape[:-1], 3)

    def lift(self, xy: ArrayLike, depth: ArrayLike) -> NDArray[np.float64]:
        """Lift pixels (…, 2) with depth z (…,) to world points (…, 3)."""
        return self.to_world(self.rays(xy) * np.asarray(depth, dtype=np.float64)[..., None])

    def cropped(self, matrix: NDArray[np.float64], size: tuple[int, int]) -> "Camera":
        """Return the camera of the window that the 2×3 affine ``matrix`` cuts from the picture.

        A turned or mirrored window turns or mirrors camera space with it, so that intrinsics stay
        those of a lens: vectors and positions in the window's camera space are
        ``diag(turn, 1)`` times the old ones, where ``turn`` is the orthogonal part of ``matrix``.
        """
        u, _, vt = np.linalg.svd(matrix[:, :2])
        turn = np.eye(3)
        turn[:2, :2] = u @ vt
        affine = np.vstack([matrix, [0.0, 0.0, 1.0]])
        distortion = self.distortion.copy()
        if len(distortion):  # tangential terms are a direction, stored as (p1, p2) = (y, x)
            distortion[[3, 2]] = turn[:2, :2] @ distortion[[3, 2]]
        return replace(
            self,
            matrix=affine @ self.matrix @ turn.T,
            size=size,
            rotation=turn @ self.rotation,
            translation=turn @ self.translation,
            distortion=distortion,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON; :meth:`from_dict` is the inverse."""
        names = ("matrix", "rotation", "translation", "distortion")
        return {"size": list(self.size), **{name: getattr(self, name).tolist() for name in names}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Camera":
        """Read what :meth:`to_dict` wrote.

        Raises:
            InputError: for missing or unknown keys.
        """
        wanted = {"size", "matrix", "rotation", "translation", "distortion"}
        if set(values) != wanted:
            raise InputError(f"a camera needs the keys {sorted(wanted)}, got {sorted(values)}")
        height, width = values["size"]
        arrays = {name: np.array(values[name], dtype=np.float64) for name in wanted - {"size"}}
        return cls(size=(int(height), int(width)), **arrays)


def _distort(xy: NDArray[np.float64], distortion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply OpenCV's lens model to normalised coordinates (…, 2)."""
    if not len(distortion):
        return xy
    k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(distortion, (0, 8 - len(distortion)))
    x, y = xy[..., 0], xy[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([x * radial + dx, y * radial + dy], axis=-1)


def pixel_grid(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the (H, W, 2) x, y of every pixel centre."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([x, y], axis=-1).astype(np.float64)


def depth_to_position(depth: NDArray[np.floating], camera: Camera) -> NDArray[np.float32]:
    """Turn metric depth z (H, W) into camera-space positions (H, W, 3), metres.

    Invalid depth (0 or NaN) gives NaN positions.

    Raises:
        InputError: if the depth map has another size than the camera's pictures.
    """
    if depth.shape != camera.size:
        raise InputError(f"depth map of {depth.shape} for a camera of {camera.size} (H, W) pixels")
    z = np.where(depth > 0, depth, np.nan)
    return (camera.rays(pixel_grid(camera.size)) * z[..., None]).astype(np.float32)


def position_to_normals(position: NDArray[np.floating]) -> NDArray[np.float32]:
    """Estimate unit normals (H, W, 3) of a surface from its positions (H, W, 3), camera space.

    Cross product of central differences; NaN where a neighbour is missing, borders included.
    """
    normals = np.full(position.shape, np.nan)
    across = position[1:-1, 2:].astype(np.float64) - position[1:-1, :-2]
    down = position[2:, 1:-1].astype(np.float64) - position[:-2, 1:-1]
    normal = np.cross(down, across)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.divide(normal, length, out=np.full_like(normal, np.nan), where=length > 0)
    facing = (normal * position[1:-1, 1:-1]).sum(axis=-1, keepdims=True)
    normals[1:-1, 1:-1] = np.where(facing > 0, -normal, normal)
    return normals.astype(np.float32)

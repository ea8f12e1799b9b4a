# SPDX-License-Identifier: Apache-2.0
"""Where rays meet triangles: Embree on the CPU, or the same answers from plain torch anywhere.

Both engines answer two questions for many rays at once: which triangle is met first and where, and
whether anything is met at all. Embree is some twenty times faster on a CPU; the torch engine runs
where Embree has no package (Linux on ARM) and on GPUs, and in float64 is the judge of the other.
"""

import platform
import sys
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError, unknown_name

Engine = Literal["embree", "torch"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """The first triangle along each of N rays.

    Attributes:
        face: (N,) int32, -1 where nothing is met.
        u: (N,) float32 weight of the triangle's second corner.
        v: (N,) float32 weight of its third corner.
        distance: (N,) float32 in lengths of the ray's direction; infinite where nothing is met.
    """

    face: NDArray[np.int32]
    u: NDArray[np.float32]
    v: NDArray[np.float32]
    distance: NDArray[np.float32]


class Intersector(Protocol):
    """Triangles that rays can meet. Rays are (N, 3) origins and directions of any length."""

    def nearest(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> Nearest:
        """Return the first triangle along each ray, from either side."""
        ...

    def occluded(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        reach: NDArray[np.float32] | None = None,
    ) -> NDArray[np.bool_]:
        """Return (N,) whether anything lies on the ray, within (N,) ``reach`` directions of it."""
        ...


def default_engine() -> Engine:
    """Return "embree", or "torch" on the one platform without a package of it."""
    arm = platform.machine().lower() in ("aarch64", "arm64")
    return "torch" if sys.platform == "linux" and arm else "embree"


def make_intersector(
    vertices: NDArray[np.float32],
    faces: NDArray[np.int32],
    *,
    engine: Engine | None = None,
    device: str = "cpu",
) -> Intersector:
    """Prepare triangles for rays.

    Args:
        vertices: (V, 3) metres; near the origin, as float32 has 7 digits.
        faces: (F, 3).
        engine: "embree" or "torch"; by default what :func:`default_engine` says.
        device: where the torch engine works, such as "cuda".

    Raises:
        MissingExtraError: if Embree's package is not installed.
        InputError: for another engine, or Embree on another device than the CPU.
    """
    chosen = engine or ("torch" if device != "cpu" else default_engine())
    if chosen == "torch":
        from vitruvian.synth.wavefront import TorchIntersector  # loading torch takes seconds

        return TorchIntersector(vertices, faces, device=device)
    if chosen != "embree":
        raise unknown_name("intersection engine", chosen, ("embree", "torch"))
    if device != "cpu":
        raise InputError(f"Embree works on the CPU, not on {device!r}: use the engine 'torch'")
    from vitruvian.synth.embree import EmbreeIntersector

    return EmbreeIntersector(vertices, faces)


def nothing(count: int) -> Nearest:
    """Return the answer of ``count`` rays that meet nothing."""
    return Nearest(
        face=np.full(count, -1, np.int32),
        u=np.zeros(count, np.float32),
        v=np.zeros(count, np.float32),
        distance=np.full(count, np.inf, np.float32),
    )

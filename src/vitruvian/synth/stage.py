# SPDX-License-Identifier: Apache-2.0
"""The stage: people put beside each other, so that nobody is in anybody else.

Only geometry and chance live here; nothing is rendered. People come as :class:`Actor` values, each
standing at the origin and looking along +z.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.synth.mesh import Mesh
from vitruvian.synth.recipe import Standing

Floats = NDArray[np.floating]

SLAB = 0.2
"""Height in metres of the slabs in which footprints are compared."""
MARGIN = 0.03
"""Metres that stay free between two people."""
CROWD = (0.55, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01)
"""How often a group has one, two … eight people."""
_HIPS_SHARE, _NECK_SHARE = 0.5, 0.84  # of a scan's height, where nothing better is known


@dataclass(frozen=True, kw_only=True, eq=False)
class Actor:
    """One person ready to be put on the stage.

    Attributes:
        meshes: in the world, at the origin; their ``surfaces`` index into ``surfaces`` below.
        surfaces: what light does there.
        points: (K, 3) keypoints in the same world, NaN where unknown; ``None`` for none at all.
        regions: framing → (N, 3) points that a picture of that framing has to show.
        fronts: framing → (3,) unit direction it looks along: the chest, or for "face" the face;
            +z where nothing is said.
        facts: parameters, for the recipe (JSON).
        keep: anything else the renderer needs to know of the person.
    """

    meshes: tuple[Mesh, ...]
    surfaces: tuple[Any, ...] = ()
    points: NDArray[np.floating] | None = None
    regions: Mapping[str, Floats] = field(default_factory=dict)
    fronts: Mapping[str, Floats] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    keep: Any = None

    def cloud(self, most: int = 4000) -> NDArray[np.float64]:
        """Return about ``most`` (N, 3) vertices, evenly picked."""
        everything = np.concatenate([mesh.vertices for mesh in self.meshes])
        return everything[:: max(len(everything) // most, 1)].astype(np.float64)

    def front(self, framing: str) -> NDArray[np.float64]:
        """Return the (3,) direction in which what a framing shows looks."""
        return np.asarray(self.fronts.get(framing, (0.0, 0.0, 1.0)), np.float64)

    def region(self, framing: str) -> NDArray[np.float64]:
        """Return the (N, 3) points that a picture of that framing has to show."""
        if framing in self.regions and len(self.regions[framing]):
            return np.asarray(self.regions[framing], np.float64)
        cloud = self.cloud()
        if framing == "full":
            return cloud
        low, high = cloud[:, 1].min(), cloud[:, 1].max()
        share = _HIPS_SHARE if framing == "upper" else _NECK_SHARE
        return cloud[cloud[:, 1] > low + share * (high - low)]


def turn(yaw: float) -> NDArray[np.float64]:
    """Return the (3, 3) rotation about the vertical that turns +z towards +x by ``yaw``."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def stood(actor: Actor, standing: Standing, number: int) -> Actor:
    """Return the actor where they stand, as person ``number`` of the picture."""
    rotation = turn(standing.yaw)
    shift = np.array([standing.place[0], 0.0, standing.place[1]])

    def moved(points: Floats) -> Floats:
        return np.asarray(points, np.float64) @ rotation.T + shift

    meshes = tuple(
        replace(
            mesh,
            vertices=moved(mesh.vertices).astype(np.float32),
            normals=(mesh.normals @ rotation.T.astype(np.float32)).astype(np.float32),
            # things, such as seats, are nobody's
            instance=number if mesh.instance else 0,
        )
        for mesh in actor.meshes
    )
    return replace(
        actor,
        meshes=meshes,
        points=None if actor.points is None else moved(actor.points),
        regions={name: moved(points) for name, points in actor.regions.items()},
        fronts={name: rotation @ actor.front(name) for name in ("face", "upper", "full")},
    )


# ------------------------------------------------------------------------------ putting apart


@dataclass(frozen=True, kw_only=True, eq=False)
class Footprint:
    """What someone takes up: per slab of height the convex outline seen from above, with margin.

    Attributes:
        slabs: number of the slab → (n, 2) float32 x and z of its corners.
    """

    slabs: Mapping[int, NDArray[np.float32]]

    def moved(self, standing: Standing) -> "Footprint":
        """Return the footprint turned and shifted."""
        flat = turn(standing.yaw)[np.ix_([0, 2], [0, 2])]
        shift = np.array(standing.place)
        return Footprint(
            slabs={
                slab: (corners @ flat.T + shift).astype(np.float32)
                for slab, corners in self.slabs.items()
            }
        )

    def touches(self, other: "Footprint") -> bool:
        """Return whether two footprints overlap in any slab."""
        return any(
            _overlap(corners, other.slabs[slab])
            for slab, corners in self.slabs.items()
            if slab in other.slabs
        )


def _overlap(first: Floats, second: Floats) -> bool:
    """Return whether two convex outlines overlap: no side of either separates them."""
    for one, other in ((first, second), (second, first)):
        side = np.roll(one, -1, axis=0) - one
        normal = np.stack([side[:, 1], -side[:, 0]])  # (2, sides)
        own, others = one @ normal, other @ normal
        apart = (own.max(axis=0) < others.min(axis=0)) | (others.max(axis=0) < own.min(axis=0))
        if apart.any():
            return False
    return True


def footprint(points: Floats, margin: float = MARGIN) -> Footprint:
    """Return the footprint of (N, 3) points that lie densely on someone."""
    points = np.asarray(points, np.float64)
    slab = np.floor(points[:, 1] / SLAB).astype(int)
    angle = np.arange(8) * (np.pi / 4)
    around = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (margin / 2)
    slabs: dict[int, NDArray[np.float32]] = {}
    for number in np.unique(slab):
        flat = points[slab == number][:, [0, 2]]
        grown = (flat[:, None] + around).reshape(-1, 2).astype(np.float32)
        slabs[int(number)] = cv2.convexHull(grown)[:, 0].astype(np.float32)
    return Footprint(slabs=slabs)


def crowd_size(rng: np.random.Generator, most: int) -> int:
    """Draw how many people a group has, up to ``most``."""
    share = np.array(CROWD[:most])
    return int(rng.choice(most, p=share / share.sum())) + 1


def arrange(rng: np.random.Generator, footprints: Sequence[Footprint]) -> tuple[Standing, ...]:
    """Put people close to each other, nobody in anybody; the first stands at the origin.

    Most look about the same way, as people do before a camera; some look anywhere. Each further
    one is moved away from someone who stands already until they no longer touch, and then a little
    more: from a camera they hide each other.
    """
    standing: list[Standing] = []
    taken: list[Footprint] = []
    for number, own in enumerate(footprints):
        yaw = float(rng.vonmises(0, 2.0) if rng.random() < 0.75 else rng.uniform(-np.pi, np.pi))
        if number == 0:
            standing.append(Standing(yaw=yaw))
            taken.append(own.moved(standing[0]))
            continue
        for _ in range(16):
            beside = standing[int(rng.integers(len(standing)))].place
            # more often beside than in front of or behind each other
            heading = float(rng.choice([0.0, np.pi]) + rng.normal(0, 0.6))
            gap = float(rng.exponential(0.25))
            found = _free(own, yaw, beside, heading, gap, taken)
            if found is not None:
                standing.append(found)
                taken.append(own.moved(found))
                break
        else:
            raise InputError(f"no room for person {number + 1} among {len(taken)}")
    return tuple(standing)


def _free(
    own: Footprint,
    yaw: float,
    beside: tuple[float, float],
    heading: float,
    gap: float,
    taken: Sequence[Footprint],
) -> Standing | None:
    """Return the first free place on a line away from ``beside``, or ``None`` within 6 m."""
    way = np.cos(heading), np.sin(heading)
    for step in np.arange(0.15, 6.0, 0.05):
        reach = float(step) + gap
        there = Standing(place=(beside[0] + way[0] * reach, beside[1] + way[1] * reach), yaw=yaw)
        placed = own.moved(there)
        if not any(placed.touches(other) for other in taken):
            return there
    return None

# SPDX-License-Identifier: Apache-2.0
"""The stage: people put beside each other, cameras that frame them, and a look for each picture.

Only geometry and chance live here; nothing is rendered. People come as :class:`Actor` values, each
standing at the origin and looking along +z; :func:`arrange` moves them apart so that nobody is in
anybody else, :func:`frame` finds a camera that shows one of them as a photographer would.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.errors import InputError
from vitruvian.synth.mesh import Mesh
from vitruvian.synth.recipe import FRAMINGS, Framing, Settings, Standing

Floats = NDArray[np.floating]

SLAB = 0.2
"""Height in metres of the slabs in which footprints are compared."""
MARGIN = 0.03
"""Metres that stay free between two people."""
DIAGONAL = 43.2666
"""Millimetres across a 24 × 36 mm picture: focal lengths are told for that size, as is usual."""
# kind of lens → (share, shortest, longest focal length in millimetres)
LENSES: Mapping[str, tuple[float, float, float]] = {
    "phone": (0.35, 23, 30),
    "normal": (0.35, 35, 60),
    "portrait": (0.2, 70, 105),
    "tele": (0.1, 105, 200),
}
CROWD = (0.55, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01)
"""How often a group has one, two … eight people."""
NEAREST = 0.25
"""Metres between a camera and anybody in its picture."""
_FAR = 1e6
_HIPS_SHARE, _NECK_SHARE = 0.5, 0.84  # of a scan's height, where nothing better is known


@dataclass(frozen=True, kw_only=True, eq=False)
class Actor:
    """One person ready to be put on the stage.

    Attributes:
        meshes: in the world, at the origin; their ``surfaces`` index into ``surfaces`` below.
        surfaces: what light does there.
        points: (K, 3) keypoints in the same world, NaN where unknown; ``None`` for none at all.
        regions: framing → (N, 3) points that a picture of that framing has to show.
        front: (3,) unit direction the chest, or for "face" the face, looks along.
        facts: parameters, for the recipe (JSON).
        keep: anything else the renderer needs to know of the person.
    """

    meshes: tuple[Mesh, ...]
    surfaces: tuple[Any, ...] = ()
    points: NDArray[np.floating] | None = None
    regions: Mapping[str, Floats] = field(default_factory=dict)
    front: Floats = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))
    facts: Mapping[str, Any] = field(default_factory=dict)
    keep: Any = None

    def cloud(self, most: int = 4000) -> NDArray[np.float64]:
        """Return about ``most`` (N, 3) vertices, evenly picked."""
        everything = np.concatenate([mesh.vertices for mesh in self.meshes])
        return everything[:: max(len(everything) // most, 1)].astype(np.float64)

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
            instance=number,
        )
        for mesh in actor.meshes
    )
    return replace(
        actor,
        meshes=meshes,
        points=None if actor.points is None else moved(actor.points),
        regions={name: moved(points) for name, points in actor.regions.items()},
        front=rotation @ np.asarray(actor.front, np.float64),
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


# ----------------------------------------------------------------------------------- cameras


def look_at(
    eye: Floats, target: Floats, roll: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rotation (3, 3) and translation (3,) of a camera at ``eye`` looking at ``target``.

    Args:
        eye: (3,) world.
        target: (3,) world.
        roll: radians by which the camera is turned clockwise about its axis; the picture turns
            the other way.
    """
    ahead = np.asarray(target, np.float64) - np.asarray(eye, np.float64)
    ahead /= np.linalg.norm(ahead)
    up = np.array([0.0, 1.0, 0.0]) if abs(ahead[1]) < 0.999 else np.array([0.0, 0.0, -1.0])
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.stack([c * right + s * down, c * down - s * right, ahead])
    return rotation, -rotation @ np.asarray(eye, np.float64)


def focal_pixels(millimetres: float, size: tuple[int, int]) -> float:
    """Turn a focal length for 24 × 36 mm into pixels of a picture of ``size``."""
    return millimetres / DIAGONAL * float(np.hypot(*size))


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """One camera on the stage.

    Attributes:
        camera: calibrated.
        framing: what it shows.
        subject: number of the person it looks at, from 1.
        attempt: how many cameras were thrown away before.
        facts: lens, focal length (mm), azimuth, elevation, roll (degrees), distance (m), share of
            the subject that others leave free.
    """

    camera: Camera
    framing: Framing
    subject: int
    attempt: int
    facts: Mapping[str, Any]


def shoot(rng: np.random.Generator, actors: Sequence[Actor], settings: Settings) -> Shot:
    """Draw a camera: framing, lens, height, pitch, roll and how tightly it frames its subject.

    Cameras that would be inside somebody, below the floor, or hardly see their subject are thrown
    away; after thirty of them a plain one from the front is taken.
    """
    shares = settings.shares
    clouds = [actor.cloud(1500) for actor in actors]
    best: Shot | None = None
    for attempt in range(30):
        framing = FRAMINGS[int(rng.choice(len(FRAMINGS), p=[shares[name] for name in FRAMINGS]))]
        subject = int(rng.integers(len(actors)))
        shot = _draw(rng, actors, clouds, settings.size, framing, subject, attempt)
        if shot is None:
            continue
        if shot.facts["free"] >= 0.35:
            return shot
        if best is None or shot.facts["free"] > best.facts["free"]:
            best = shot
    if best is None:
        best = _fallback(clouds, settings.size)
    return best


def _draw(
    rng: np.random.Generator,
    actors: Sequence[Actor],
    clouds: Sequence[Floats],
    size: tuple[int, int],
    framing: Framing,
    subject: int,
    attempt: int,
) -> Shot | None:
    names = list(LENSES)
    lens = str(rng.choice(names, p=[LENSES[name][0] for name in names]))
    _, short, long = LENSES[lens]
    millimetres = float(np.exp(rng.uniform(np.log(short), np.log(long))))
    front = actors[subject].front
    azimuth = float(np.arctan2(front[0], front[2]))
    # most pictures show somebody's front; many show any side
    spread = {"face": 0.55, "upper": 0.7, "full": 0.9}[framing]
    anywhere = 0.08 if framing == "face" else 0.22
    azimuth += float(
        rng.uniform(-np.pi, np.pi) if rng.random() < anywhere else rng.normal(0, spread)
    )
    kind = float(rng.random())
    if kind < 0.8:
        elevation = rng.normal(3, 8)
    elif kind < 0.93:
        elevation = rng.uniform(15, 60)
    else:
        elevation = rng.uniform(-30, -8)
    roll = rng.normal(0, 3) if rng.random() < 0.85 else rng.normal(0, 15)
    fill = {"face": (0.45, 1.15), "upper": (0.55, 1.2), "full": (0.4, 1.05)}[framing]
    everyone = framing == "full" and len(actors) > 1 and rng.random() < 0.7
    shown = (
        np.concatenate([actor.region(framing) for actor in actors])
        if everyone
        else actors[subject].region(framing)
    )
    shift = rng.normal(0, 0.06, 2)
    way = _direction(azimuth, np.radians(float(elevation)))
    camera = frame(
        shown,
        way,
        focal_pixels(millimetres, size),
        size,
        roll=np.radians(float(roll)),
        fill=float(rng.uniform(*fill)),
        shift=(float(shift[0]), float(shift[1])),
    )
    if camera is None or _inside(camera, clouds):
        return None
    eye = camera.centre
    toward = eye - shown.mean(axis=0)
    distance = float(np.linalg.norm(toward))
    relative = np.arctan2(toward[0], toward[2]) - np.arctan2(front[0], front[2])
    facts = {
        "lens": lens,
        "focal": round(millimetres, 2),
        "azimuth": round(float(np.degrees((relative + np.pi) % (2 * np.pi) - np.pi)), 2),
        "elevation": round(float(np.degrees(np.arcsin(toward[1] / distance))), 2),
        "roll": round(float(roll), 2),
        "distance": round(distance, 3),
        "height": round(float(eye[1]), 3),
        "free": round(visible_share(camera, clouds, subject), 3),
    }
    return Shot(camera=camera, framing=framing, subject=subject + 1, attempt=attempt, facts=facts)


def _fallback(clouds: Sequence[Floats], size: tuple[int, int]) -> Shot:
    everything = np.concatenate(clouds)
    camera = frame(everything, _direction(0.0, 0.1), focal_pixels(50, size), size, fill=0.8)
    assert camera is not None, "a camera ahead of everybody, above the floor, sees them"
    facts = {"lens": "normal", "focal": 50.0, "free": visible_share(camera, clouds, 0)}
    return Shot(camera=camera, framing="full", subject=1, attempt=30, facts=facts)


def _direction(azimuth: float, elevation: float) -> NDArray[np.float64]:
    flat = np.cos(elevation)
    return np.array([np.sin(azimuth) * flat, np.sin(elevation), np.cos(azimuth) * flat])


def frame(
    points: Floats,
    way: Floats,
    focal: float,
    size: tuple[int, int],
    *,
    roll: float = 0.0,
    fill: float = 0.8,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Camera | None:
    """Return a camera that shows points at a wanted size and place in the picture.

    Its optical axis stays in the middle of the picture, as in real ones: it is turned and moved,
    never cropped.

    Args:
        points: (N, 3) world.
        way: (3,) unit direction from the points to the camera.
        focal: length in pixels.
        size: (height, width).
        roll: radians.
        fill: share of the picture's width or height that the points span; above 1 they are cut.
        shift: (x, y) of the points' middle from the picture's, as shares of its size.

    Returns:
        The camera, or ``None`` when it would have to be below the floor (lower than 5 cm).
    """
    points = np.asarray(points, np.float64)
    way = np.asarray(way, np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    target = (low + high) / 2
    span = float(np.linalg.norm(high - low))
    distance = max(span, 0.3)
    plain = Camera.from_focal(focal, size)
    extent = np.array([size[1], size[0]], np.float64)
    centre = (extent - 1) / 2
    camera: Camera | None = None
    for _ in range(12):
        eye = target + way * distance
        rotation, translation = look_at(eye, target, roll)
        camera = replace(plain, rotation=rotation, translation=translation)
        pixels, depth = camera.project(points)
        near = float(depth.min())
        if near < 0.5 * NEAREST:
            distance += NEAREST - near
            continue
        box = np.array([pixels.min(axis=0), pixels.max(axis=0)])
        grows = float(((box[1] - box[0]) / extent).max()) / fill
        middle = box.mean(axis=0) - centre - np.array(shift) * extent
        # moving the target moves everything in the picture the other way
        aside = np.append(middle * (distance / focal), 0.0)
        target = target + rotation.T @ aside
        distance = max(distance * float(np.clip(grows, 0.6, 1.7)), NEAREST)
    assert camera is not None
    return camera if camera.centre[1] > 0.05 else None


def _inside(camera: Camera, clouds: Sequence[Floats]) -> bool:
    """Return whether somebody is too close to the camera, in its picture or around it."""
    for cloud in clouds:
        if float(np.linalg.norm(cloud - camera.centre, axis=1).min()) < NEAREST:
            return True
        pixels, depth = camera.project(cloud)
        seen = (pixels >= 0).all(axis=1) & (pixels < np.array(camera.size)[::-1]).all(axis=1)
        if (seen & (depth < NEAREST)).any():
            return True
    return False


def visible_share(camera: Camera, clouds: Sequence[Floats], subject: int) -> float:
    """Estimate the share of the subject, as far as it is in the picture, that others leave free.

    Points are dropped into cells 1/40 of the picture wide; in each cell the nearest counts. It is
    0 for a subject that is not in the picture at all.
    """
    cell = max(camera.size) / 40
    rows, columns = (int(np.ceil(side / cell)) for side in camera.size)
    nearest = np.full((len(clouds), rows, columns), _FAR, np.float32)
    for number, cloud in enumerate(clouds):
        pixels, depth = camera.project(cloud)
        seen = (depth > 0) & (pixels > -0.5).all(axis=1)
        seen &= (pixels < np.array(camera.size)[::-1] - 0.5).all(axis=1)
        place = np.floor((pixels[seen] + 0.5) / cell).astype(int)
        np.minimum.at(nearest[number], (place[:, 1], place[:, 0]), depth[seen])
    own = nearest[subject] < _FAR
    if not own.any():
        return 0.0
    others = np.delete(nearest, subject, axis=0)
    if not len(others):
        return 1.0
    # clouds have gaps that bodies have not: the least of a cell's neighbourhood closes them
    before = cv2.erode(others.min(axis=0), np.ones((3, 3), np.uint8))
    return float((nearest[subject][own] <= np.asarray(before)[own]).mean())

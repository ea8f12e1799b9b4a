# SPDX-License-Identifier: Apache-2.0
"""Cameras that show people as a photographer would: framing, lens, height, pitch and roll."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.synth.recipe import FRAMINGS, Framing, Settings
from vitruvian.synth.stage import Actor

Floats = NDArray[np.floating]

DIAGONAL = 43.2666
"""Millimetres across a 24 × 36 mm picture: focal lengths are told for that size, as is usual."""
# kind of lens → (share, shortest, longest focal length in millimetres)
LENSES: Mapping[str, tuple[float, float, float]] = {
    "phone": (0.35, 23, 30),
    "normal": (0.35, 35, 60),
    "portrait": (0.2, 70, 105),
    "tele": (0.1, 105, 200),
}
NEAREST = 0.25
"""Metres between a camera and anybody in its picture."""
_FAR = 1e6


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
        if shot.facts["free"] >= (0.6 if framing == "face" else 0.35):
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
    front = actors[subject].front(framing)
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

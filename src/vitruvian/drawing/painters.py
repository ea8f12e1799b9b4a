# SPDX-License-Identifier: Apache-2.0
"""One painter per law: what an annotation looks like on a picture.

Painters take an RGB uint8 canvas and change it in place (points, boxes) or return a new one (maps).
Widths follow the size of the person, so that a face in the crowd and a portrait are both readable.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.colour import normals_to_colours
from vitruvian.geometry import box_of_mask
from vitruvian.person import OCCLUDED, Person, Points, Raster
from vitruvian.vocabulary import Vocabulary

Canvas = NDArray[np.uint8]
Colour = tuple[int, int, int]

SURE = 0.3
"""Points scoring less are drawn hollow, the fainter the less they score."""
_NOTHING = 1 / 3
"""Share of ``SURE`` below which a point is not there, as knees of a portrait are not, and not
drawn: of held-out people's points 3 % of the visible, 79 % of those out of the picture."""
_FAINT = (0.25, 0.5)
"""Opacities of halves of what is between; occluded points count by their scores too."""
INVALID_GREY = 100
"""Level of invalid pixels in pictures of scalar maps (published code)."""
TRACK_COLOURS: tuple[Colour, ...] = (
    (56, 189, 248), (251, 146, 60), (163, 230, 53), (244, 114, 182), (167, 139, 250),
    (250, 204, 21), (45, 212, 191), (248, 113, 113), (129, 140, 248), (134, 239, 172),
)  # fmt: skip

_SHIFT = 4  # fractional bits of OpenCV's coordinates
_FAR = 1e6  # beyond this a coordinate would overflow them


# ------------------------------------------------------------------------------- points and boxes


def stroke(person: Person, size: tuple[int, int]) -> float:
    """Return the width of a limb's line in pixels for a person on a picture of ``size``."""
    x0, y0, x1, y1 = person.box
    extent = float(np.sqrt(max(x1 - x0, 1.0) * max(y1 - y0, 1.0)))
    return float(np.clip(extent * 0.012, 1.0, max(size) * 0.01 + 1))


def paint_points(canvas: Canvas, points: Points, width: float, sure: float = SURE) -> None:
    """Draw links and dots; what is unsure (a score below ``sure``, or occluded) faint and hollow.

    The less a point scores, the fainter it is, and what scores next to nothing is not drawn: a wild
    guess does not hide what was found.

    Args:
        canvas: RGB uint8, changed in place.
        points: in canvas pixels; those without a place are not drawn.
        width: of the lines in pixels.
        sure: the score from which a point is drawn solid.
    """
    xy = points.xy.astype(np.float64)
    there = points.present & (np.abs(np.nan_to_num(xy, nan=2 * _FAR)) < _FAR).all(axis=1)
    there &= ~(points.scores < sure * _NOTHING)  # unknown scores (NaN) are drawn
    if not there.any():
        return
    solid = there & (points.scores >= sure)
    if points.visibility is not None:
        solid &= points.visibility != OCCLUDED
    radii = _radii(xy, there, width)
    links = [
        (link.a, link.b, link.colour, min(width, 0.65 * (radii[link.a] + radii[link.b])))
        for link in points.vocabulary.links
        if there[link.a] and there[link.b]
    ]
    colours = _dot_colours(points.vocabulary)
    shares = (np.nan_to_num(points.scores) / max(sure, 1e-9) - _NOTHING) / (1 - _NOTHING)
    levels = np.clip(np.ceil(shares * len(_FAINT)) - 1, 0, len(_FAINT) - 1).astype(int)
    for level, opacity in enumerate(_FAINT):
        rows = np.flatnonzero(there & ~solid & (levels == level))
        lines = [
            link
            for link in links
            if not (solid[link[0]] and solid[link[1]])
            and min(levels[link[0]], levels[link[1]]) == level
        ]
        if not (len(rows) or lines):
            continue
        faint = canvas.copy()
        for a, b, colour, thick in lines:
            _line(faint, xy[a], xy[b], colour, thick * 0.7)
        for row in rows:
            _ring(faint, xy[row], radii[row], colours[row])
        cv2.addWeighted(faint, opacity, canvas, 1 - opacity, 0, dst=canvas)
    sure_links = [link for link in links if solid[link[0]] and solid[link[1]]]
    for a, b, colour, thick in sure_links:
        if thick >= 2.5:  # a dark rim lifts the lines off bright clothes
            _line(canvas, xy[a], xy[b], _dark(colour), thick * 1.5)
    for a, b, colour, thick in sure_links:
        _line(canvas, xy[a], xy[b], colour, thick)
    for row in np.flatnonzero(solid):
        if radii[row] >= 2.5:
            _dot(canvas, xy[row], radii[row] * 1.3, _dark(colours[row]))
        _dot(canvas, xy[row], radii[row], colours[row])


@cache
def _dot_colours(vocabulary: Vocabulary) -> tuple[Colour, ...]:
    """Colours of the dots: the vocabulary's, or the links' where a whole group has but one."""
    colours: list[Colour] = [(int(r), int(g), int(b)) for r, g, b in vocabulary.colours]
    linked: dict[int, Colour] = {}
    for link in vocabulary.links:
        linked.setdefault(link.b, link.colour)
        linked.setdefault(link.a, link.colour)
    for rows in vocabulary.groups.values():
        if len({colours[row] for row in rows}) == 1:
            for row in rows:
                colours[row] = linked.get(row, colours[row])
    return tuple(colours)


def _radii(xy: NDArray[np.float64], there: NDArray[np.bool_], width: float) -> NDArray[np.float64]:
    """Radius of each dot: as wide as a line, smaller where points crowd (faces, hands)."""
    spots = xy[there]
    gaps = np.linalg.norm(spots[:, None] - spots[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    radii = np.zeros(len(xy))
    radii[there] = np.clip(gaps.min(axis=1) * 0.36, max(0.8, width * 0.25), width * 0.9 + 0.5)
    return radii


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    scale = 1 << _SHIFT
    return round(float(point[0]) * scale), round(float(point[1]) * scale)


def _dark(colour: Sequence[int]) -> Colour:
    r, g, b = colour
    return r // 5, g // 5, b // 5


def _line(
    canvas: Canvas,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    colour: Sequence[int],
    width: float,
) -> None:
    thickness = int(np.clip(round(width), 1, 250))
    cv2.line(canvas, _fixed(start), _fixed(end), colour, thickness, cv2.LINE_AA, _SHIFT)


def _dot(canvas: Canvas, at: NDArray[np.float64], radius: float, colour: Sequence[int]) -> None:
    size = max(1, round(radius * (1 << _SHIFT)))
    cv2.circle(canvas, _fixed(at), size, colour, -1, cv2.LINE_AA, _SHIFT)


def _ring(canvas: Canvas, at: NDArray[np.float64], radius: float, colour: Sequence[int]) -> None:
    size = max(1, round(radius * (1 << _SHIFT)))
    thickness = max(1, round(radius * 0.45))
    cv2.circle(canvas, _fixed(at), size, colour, thickness, cv2.LINE_AA, _SHIFT)


def person_colour(person: Person, index: int) -> Colour:
    """Return the colour of a person's box: by identity, or by place in the list."""
    number = index if person.identity is None else person.identity
    return TRACK_COLOURS[number % len(TRACK_COLOURS)]


def paint_boxes(canvas: Canvas, people: Iterable[Person]) -> None:
    """Draw everyone's box as four corners and a thin frame; labels are the business of text."""
    for index, person in enumerate(people):
        colour = person_colour(person, index)
        width = stroke(person, canvas.shape[:2])
        x0, y0, x1, y1 = np.clip(person.box, -_FAR, _FAR)
        corners = [np.array(corner) for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        reach = 0.18 * min(x1 - x0, y1 - y0)
        for here, there in zip(corners, corners[1:] + corners[:1], strict=True):
            _line(canvas, here, there, colour, max(1.0, width * 0.35))
            length = float(np.linalg.norm(there - here))
            if length > 0:
                step = (there - here) / length * reach
                _line(canvas, here, here + step, colour, width)
                _line(canvas, there, there - step, colour, width)


# ----------------------------------------------------------------------------------------- maps


def _window(shown: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the rows and columns that hold all true pixels, or ``None``: the rest stays as is."""
    box = box_of_mask(shown)
    if box is None:
        return None
    x0, y0, x1, y1 = (int(value) for value in box)
    return slice(y0, y1 + 1), slice(x0, x1 + 1)


def paint_labels(canvas: Canvas, raster: Raster, opacity: float = 0.6) -> Canvas:
    """Tint parts with their colours and draw their borders; background stays the photograph."""
    vocabulary = raster.vocabulary
    if vocabulary is None:
        return canvas
    shown = raster.mask & (raster.values < len(vocabulary))
    if vocabulary.background is not None:
        shown = shown & (raster.values != vocabulary.background)
    result = canvas.copy()
    window = _window(shown)
    if window is None:
        return result
    table = np.zeros((256, 3), np.uint8)
    table[: len(vocabulary)] = vocabulary.colours
    seen, under = shown[window], canvas[window]
    values = np.where(seen, raster.values[window], np.uint8(255))
    tint = np.dstack([cv2.LUT(values, np.ascontiguousarray(table[:, i])) for i in range(3)])
    tinted = cv2.addWeighted(tint, opacity, under, 1 - opacity, 0)
    edge = np.zeros(values.shape, np.uint8)
    edge[:, 1:] |= values[:, 1:] != values[:, :-1]
    edge[1:] |= values[1:] != values[:-1]
    edge[0], edge[:, 0] = 0, 0
    width = max(1, round(max(raster.size) / 900))
    edge = cv2.dilate(edge, np.ones((width, width), np.uint8))
    white = cv2.addWeighted(tinted, 0.45, np.full_like(tinted, 255), 0.55, 0)
    painted = cv2.copyTo(white, edge * seen.astype(np.uint8), tinted)
    result[window] = cv2.copyTo(painted, seen.astype(np.uint8), under.copy())
    return result


def scalar_limits(raster: Raster) -> tuple[float, float] | None:
    """Return the 1st and 99th percentile of the valid values, or ``None`` if there are none."""
    valid = raster.mask & np.isfinite(raster.values)
    if raster.kind in ("metric", "inverse"):
        valid = valid & (raster.values > 0)
    if not valid.any():
        return None
    low, high = np.percentile(raster.values[valid].astype(np.float64), (1, 99))
    return float(low), float(high)


def brightness(raster: Raster, limits: tuple[float, float] | None = None) -> NDArray[np.float32]:
    """Return how bright each pixel of a scalar map is drawn: 0 … 1, near ones brighter, or NaN.

    Larger is brighter for inverse depth and free kinds, darker for metric and relative depth.
    """
    limits = scalar_limits(raster) if limits is None else limits
    if limits is None:
        return np.full(raster.size, np.nan, np.float32)
    low, high = limits
    valid = raster.mask & np.isfinite(raster.values)
    if raster.kind in ("metric", "inverse"):
        valid = valid & (raster.values > 0)
    safe = np.where(valid, raster.values, low)
    share = (safe - low) / (high - low) if high > low else np.full(raster.size, 0.5)
    share = np.clip(share, 0, 1)
    if raster.kind in ("metric", "relative"):
        share = 1 - share
    return np.where(valid, share, np.nan).astype(np.float32)


def scalar_colours(share: NDArray[np.float32]) -> Canvas:
    """Colour 0 … 1 with the perceptual map "inferno"; NaN becomes grey ``INVALID_GREY``."""
    levels = (np.nan_to_num(share, nan=0.0) * 255 + 0.5).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.where(np.isnan(share)[..., None], np.uint8(INVALID_GREY), colours)


def paint_vectors(canvas: Canvas, raster: Raster) -> Canvas:
    """Show normals in OpenGL colours where they are valid, the photograph elsewhere."""
    result = canvas.copy()
    window = _window(raster.mask)
    if window is not None:
        vectors = raster.values[window]
        valid = raster.mask[window] & np.isfinite(vectors.sum(axis=2))
        result[window][valid] = normals_to_colours(vectors[valid])
    return result


def paint_colours(canvas: Canvas, raster: Raster) -> Canvas:
    """Show a colour map where it is valid, the photograph elsewhere."""
    result = canvas.copy()
    window = _window(raster.mask)
    if window is not None:
        colours, valid = raster.values[window], raster.mask[window]
        if colours.dtype != np.uint8:
            colours = (np.clip(np.nan_to_num(colours), 0, 1) * 255 + 0.5).astype(np.uint8)
        result[window][valid] = colours[valid]
    return result

# SPDX-License-Identifier: Apache-2.0
"""A picture from which a person can check every name of a vocabulary.

Keypoints are drawn on a schematic person, once as a whole and then enlarged wherever points are
close together; every dot carries its row number, and beside each drawing the numbers are spelled
out. Parts become a sheet of their colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vitruvian.commands.schematic import EYE, outlines, places
from vitruvian.vocabulary import Vocabulary

_COLUMN = 860  # pixels
_GAP = 36
_ROW = 23  # height of a line of a list
_TEXT = 17
_LABEL = 16
_INK = (30, 30, 34)
_GREY = (120, 120, 128)
_FIGURE = (226, 228, 234)
_CONTOUR = (176, 180, 190)
_DOT = 7
_FEWEST = 3  # an enlargement of fewer points than this is not worth its place

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """A window onto the schematic person.

    Attributes:
        title: Heading of the drawing.
        column: Column of the page it stands in; the subject's right is left of the left.
        view: What the window shows.
        owns: The part of it whose points it numbers, unless a closer window does.
    """

    title: str
    column: int
    view: Box
    owns: Box


def _around(x: float, y: float, half_width: float, half_height: float) -> Box:
    return x - half_width, y - half_height, x + half_width, y + half_height


def _panels() -> list[_Panel]:
    """Return the windows, enlargements before what they enlarge."""
    eyes: list[_Panel] = []
    ears: list[_Panel] = []
    hands: list[_Panel] = []
    for column, sign, side in ((2, -1, "right"), (3, 1, "left")):
        eye = _around(sign * EYE[0], EYE[1] - 1.3, 10.4, 7.4)
        eyes.append(_Panel(title=f"{side} eye", column=column, view=eye, owns=eye))
        ear = _around(sign * 44.5, 57, 17.5, 16.5)
        owns = _around(sign * 45.5, 57, 10.5, 16.5)
        ears.append(_Panel(title=f"{side} ear, folded out", column=column, view=ear, owns=owns))
        hand = _around(sign * 110, 371, 50, 47)
        owns = _around(sign * 110, 375, 50, 43)
        hands.append(_Panel(title=f"{side} hand", column=column, view=hand, owns=owns))
    nose, mouth = _around(0, 57, 16.5, 16.5), _around(0, 82.2, 16, 9)
    head, feet = _around(0, 52, 58, 58), _around(0, 711, 84, 38)
    body = _around(0, 373, 178, 387)
    return [
        *eyes,
        *ears,
        _Panel(title="nose", column=1, view=nose, owns=_around(0, 57, 12, 16)),
        _Panel(title="mouth", column=1, view=mouth, owns=mouth),
        _Panel(title="face", column=1, view=head, owns=_around(0, 50, 58, 54)),
        *hands,
        _Panel(title="feet", column=0, view=feet, owns=_around(0, 722, 84, 26)),
        _Panel(title="body", column=0, view=body, owns=body),
    ]


def draw_poster(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """Draw every point of a vocabulary on a schematic person, or every class as a colour.

    Returns:
        (height, width, 3) RGB on white. The person is seen from the front, so the subject's right
        is on the left of the picture. Points of which no place is known are listed, not drawn.
    """
    if vocabulary.kind == "parts":
        return _assemble(vocabulary, [[_swatches(vocabulary)]])
    where = places(vocabulary)
    owner = _owners(where)
    columns: list[list[NDArray[np.uint8]]] = [[], [], [], []]
    for number, panel in reversed(list(enumerate(_panels()))):
        if (owner == number).any():
            block = _points_block(vocabulary, where, owner, number, panel)
            columns[panel.column].append(block)
    unplaced = np.flatnonzero(owner < 0)
    if len(unplaced):
        lines = _list_names(vocabulary, unplaced.tolist())
        columns[0].append(np.vstack([_heading("no place known"), lines]))
    return _assemble(vocabulary, [column for column in columns if column])


def _inside(where: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    x, y = where[:, 0], where[:, 1]
    return (x >= box[0]) & (x <= box[2]) & (y >= box[1]) & (y <= box[3])


def _owners(where: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return for each point the panel that numbers it: the closest one with company, or -1."""
    owner = np.full(len(where), -1, np.intp)
    panels = _panels()
    for number, panel in enumerate(panels):
        mine = (owner < 0) & _inside(where, panel.owns)
        if mine.sum() >= _FEWEST or number == len(panels) - 1:
            owner[mine] = number
    return owner


def _points_block(
    vocabulary: Vocabulary,
    where: NDArray[np.float64],
    owner: NDArray[np.intp],
    number: int,
    panel: _Panel,
) -> NDArray[np.uint8]:
    """Draw one window with its dots and numbers, and the list of their names below."""
    x0, y0, x1, y1 = panel.view
    scale = (_COLUMN - 2) / (x1 - x0)
    canvas = np.full((round((y1 - y0) * scale), _COLUMN, 3), 255, np.uint8)
    _draw_person(canvas, (x0, y0), scale)
    at = (where - (x0, y0)) * scale
    shown = np.flatnonzero(_inside(where, panel.view))
    lined = canvas.copy()
    for link in vocabulary.links:
        if (link.a in shown or link.b in shown) and not np.isnan(at[[link.a, link.b]]).any():
            ends = np.round(at[[link.a, link.b]] * 16).astype(np.int32)
            cv2.polylines(lined, [ends], False, link.colour, 3, cv2.LINE_AA, 4)
    canvas = cv2.addWeighted(canvas, 0.5, lined, 0.5, 0).astype(np.uint8)
    _draw_dots(canvas, vocabulary, at, shown, owner[shown] >= number)
    mine = [int(i) for i in shown if owner[i] == number]
    # The wrist belongs to the body but is numbered beside the hand too; a closer view's points not.
    numbered = mine + [int(i) for i in shown if owner[i] > number]
    boxes = _place_labels(at[numbered], [str(i) for i in numbered], at[shown], canvas.shape)
    for i, box in zip(numbered, boxes, strict=True):
        _draw_leader(canvas, at[i], box)
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for i, box in zip(numbered, boxes, strict=True):
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        pen.text(
            middle,
            str(i),
            fill=_INK if i in mine else _GREY,
            font=_font(),
            anchor="mm",
            stroke_width=2,
            stroke_fill="white",
        )
    pen.rectangle((0, 0, image.width - 1, image.height - 1), outline=_CONTOUR)
    title = f"{panel.title} · {len(mine)} point{'s' if len(mine) > 1 else ''}"
    return np.vstack([_heading(title), np.asarray(image), _list_names(vocabulary, mine)])


def _draw_person(canvas: NDArray[np.uint8], origin: tuple[float, float], scale: float) -> None:
    # Wide strokes are built from quadrangles and discs: OpenCV draws no line above 255 pixels.
    for stroke in outlines():
        points = (stroke.points - origin) * scale
        fixed = np.round(points * 16).astype(np.int32)
        if stroke.filled:
            cv2.fillPoly(canvas, [fixed], _FIGURE, cv2.LINE_AA, 4)
        radius = stroke.width * scale / 2
        if radius == 0:
            continue
        for centre in fixed:
            cv2.circle(canvas, centre.tolist(), round(radius * 16), _FIGURE, -1, cv2.LINE_AA, 4)
        for a, b in pairwise(points):
            across = (b - a)[::-1] * (1, -1) * radius / max(float(np.linalg.norm(b - a)), 1e-6)
            corners = np.stack([a + across, b + across, b - across, a - across])
            cv2.fillPoly(canvas, [np.round(corners * 16).astype(np.int32)], _FIGURE, 16, 4)
    for stroke in outlines():
        if stroke.width == 0:
            fixed = np.round((stroke.points - origin) * scale * 16).astype(np.int32)
            cv2.polylines(canvas, [fixed], False, _CONTOUR, 1, cv2.LINE_AA, 4)


def _draw_dots(
    canvas: NDArray[np.uint8],
    vocabulary: Vocabulary,
    at: NDArray[np.float64],
    shown: NDArray[np.intp],
    large: NDArray[np.bool_],
) -> None:
    """Draw the dots; points at one place become rings around each other."""
    rings: list[tuple[int, int]] = []
    for k, i in enumerate(shown):
        distance = np.linalg.norm(at[shown[k + 1 :]] - at[i], axis=1)
        radius = _DOT + 5 * int((distance < 2).sum()) if large[k] else 3
        rings.append((radius, int(i)))
    for radius, i in sorted(rings, reverse=True):
        centre = tuple(np.round(at[i] * 16).astype(int).tolist())
        colour = tuple(vocabulary.colours[i].tolist())
        cv2.circle(canvas, centre, radius * 16, colour, -1, cv2.LINE_AA, 4)
        cv2.circle(canvas, centre, radius * 16, _INK, 1, cv2.LINE_AA, 4)


def _place_labels(
    points: NDArray[np.float64],
    texts: Sequence[str],
    dots: NDArray[np.float64],
    shape: tuple[int, ...],
) -> list[Box]:
    """Return a free box near each point, the crowded points first.

    Boxes never leave the canvas; of all places within reach the one with the least overlap of dots,
    labels and their leaders is taken, then the nearest.
    """
    angles = np.deg2rad(np.arange(0, 360, 22.5))
    reach = np.array([19, 26, 36, 50, 68, 90])
    radius, angle = (grid.ravel() for grid in np.meshgrid(reach, angles, indexing="ij"))
    offsets = np.stack([radius * np.cos(angle) * 1.15, radius * np.sin(angle)], axis=1)
    crowd = np.sort(np.linalg.norm(points[:, None] - dots[None], axis=2), axis=1)
    taken = np.empty((0, 4))  # boxes of labels
    leaders = np.empty((0, 2))  # places along the leaders drawn
    boxes: dict[int, Box] = {}
    for i in np.argsort(crowd[:, :5].sum(axis=1)).tolist():
        half = np.array([5 * len(texts[i]) + 3, _LABEL / 2 + 2])
        low, high = points[i] + offsets - half, points[i] + offsets + half
        near = dots[np.abs(dots - points[i]).max(axis=1) < 150]
        cost = radius / 400 + np.abs(np.sin(2 * angle)) / 200
        cost += 50.0 * ((low < 2) | (high > (shape[1] - 2, shape[0] - 2))).any(axis=1)
        touch = np.clip(near[None], low[:, None], high[:, None]) - near[None]
        cost += 10.0 * (np.abs(touch).max(axis=2) < _DOT + 1).sum(axis=1)
        apart = (low[:, None] >= taken[None, :, 2:]) | (high[:, None] <= taken[None, :, :2])
        cost += 20.0 * (~apart.any(axis=2)).sum(axis=1)
        hit = (leaders > low[:, None]) & (leaders < high[:, None])
        cost += 3.0 * hit.all(axis=2).sum(axis=1)
        along = points[i] + np.linspace(0.2, 1, 6)[:, None, None] * offsets  # (6, places, 2)
        others = near[np.abs(near - points[i]).max(axis=1) > 2]
        gap = np.abs(along[:, :, None] - others).max(axis=3)
        cost += 2.0 * np.any(gap < _DOT, -1).sum(axis=0)
        through = (along[:, :, None] > taken[:, :2]) & (along[:, :, None] < taken[:, 2:])
        cost += 4.0 * np.any(through.all(axis=3), -1).sum(axis=0)
        best = int(np.argmin(cost))
        x0, y0 = low[best].tolist()
        x1, y1 = high[best].tolist()
        boxes[i] = (x0, y0, x1, y1)
        taken = np.vstack([taken, boxes[i]])
        leaders = np.vstack([leaders, along[1:, best]])
    return [boxes[i] for i in range(len(points))]


def _draw_leader(canvas: NDArray[np.uint8], point: NDArray[np.float64], box: Box) -> None:
    end = np.clip(point, (box[0] + 1, box[1] + 2), (box[2] - 1, box[3] - 2))
    length = float(np.linalg.norm(end - point))
    if length > _DOT + 3:
        start = point + (end - point) * (_DOT / length)
        line = np.round(np.stack([start, end]) * 16).astype(np.int32)
        cv2.polylines(canvas, [line], False, _GREY, 1, cv2.LINE_AA, 4)


def _font(size: int = _LABEL) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _heading(title: str) -> NDArray[np.uint8]:
    image = Image.new("RGB", (_COLUMN, 40), "white")
    ImageDraw.Draw(image).text((0, 20), title, fill=_INK, font=_font(24), anchor="lm")
    return np.asarray(image)


def _list_names(vocabulary: Vocabulary, rows: Sequence[int]) -> NDArray[np.uint8]:
    """List numbers and names in two columns, each with its colour."""
    columns = 2 if len(rows) > 3 else 1
    height = -(-len(rows) // columns)
    image = Image.new("RGB", (_COLUMN, height * _ROW + 14), "white")
    pen = ImageDraw.Draw(image)
    for k, i in enumerate(rows):
        x, y = (k // height) * (_COLUMN // 2), 10 + (k % height) * _ROW
        colour = tuple(vocabulary.colours[i].tolist())
        pen.ellipse((x + 2, y + 4, x + 16, y + 18), fill=colour, outline=_INK)
        pen.text((x + 54, y), str(i), fill=_INK, font=_font(_TEXT), anchor="ra")
        name = vocabulary.names[i] + ("*" if vocabulary.names[i] in vocabulary.corrected else "")
        pen.text((x + 62, y), name, fill=_INK, font=_font(_TEXT))
    return np.asarray(image)


def _swatches(vocabulary: Vocabulary) -> NDArray[np.uint8]:
    """Draw one row for each class: its colour, number, name, mirror partner and weight."""
    height, width = 44, 2 * _COLUMN
    image = Image.new("RGB", (width, height * (len(vocabulary) + 1)), "white")
    pen = ImageDraw.Draw(image)
    columns = (150, 230, 640, 900, 1060, 1480)
    weights = vocabulary.loss_weights
    group = {i: name for name, rows in vocabulary.groups.items() for i in rows}
    table = [("value", "class", "group", "side", "mirror partner", "weight")]
    for i, name in enumerate(vocabulary.names):
        partner = int(vocabulary.mirror[i])
        swaps = f"{partner} {vocabulary.names[partner]}" if partner != i else "-"
        weight = "-" if weights is None else f"{weights[i]:g}"
        table.append((str(i), name, group[i], vocabulary.sides[i], swaps, weight))
    for k, row in enumerate(table):
        y = k * height + height // 2
        if k:
            colour = tuple(vocabulary.colours[k - 1].tolist())
            pen.rectangle((0, y - 18, 120, y + 18), fill=colour, outline=_INK)
        for x, text in zip(columns, row, strict=True):
            pen.text((x, y), text, fill=_INK if k else _GREY, font=_font(22), anchor="lm")
    return np.asarray(image)


def _assemble(vocabulary: Vocabulary, columns: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Set columns of blocks beside each other under a heading."""
    width = columns[0][0].shape[1]
    title = _title(vocabulary, max(len(columns) * (width + _GAP) + _GAP, 2 * _COLUMN))
    height = max(sum(block.shape[0] + _GAP for block in column) for column in columns)
    page = np.full((title.shape[0] + height, title.shape[1], 3), 255, np.uint8)
    page[: title.shape[0]] = title
    for k, column in enumerate(columns):
        x, y = _GAP + k * (width + _GAP), title.shape[0]
        for block in column:
            page[y : y + block.shape[0], x : x + width] = block
            y += block.shape[0] + _GAP
    return page


def _title(vocabulary: Vocabulary, width: int) -> NDArray[np.uint8]:
    what = "points" if vocabulary.kind == "points" else "classes"
    notes = vocabulary.about.splitlines()
    if vocabulary.kind == "points":
        notes.append(
            "Seen from the front, the subject's right on your left. A scheme, not to scale: ears "
            "are folded out, and points at one place are rings."
        )
    notes += [f"* {a} should read {b}" for a, b in vocabulary.corrected.items()]
    image = Image.new("RGB", (width, 110 + 28 * len(notes)), "white")
    pen = ImageDraw.Draw(image)
    heading = f"{vocabulary.name} · {len(vocabulary)} {what} · version {vocabulary.version}"
    pen.text((_GAP, 30), heading, fill=_INK, font=_font(40))
    for k, note in enumerate(notes):
        pen.text((_GAP, 88 + 28 * k), note, fill=_GREY, font=_font(20))
    return np.asarray(image)

# SPDX-License-Identifier: Apache-2.0
"""Words on pictures: labels of boxes, captions, and legends that stand under a picture."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vitruvian.colour import normals_to_colours
from vitruvian.drawing.painters import Canvas, Colour, person_colour, scalar_colours
from vitruvian.image import resize
from vitruvian.person import Person, Raster
from vitruvian.vocabulary import Vocabulary

PAPER: Colour = (22, 24, 29)
INK: Colour = (228, 231, 236)
PALE: Colour = (148, 156, 168)
_DOT: Colour = (51, 153, 255)
_FINE = 3  # strips are drawn so many times finer and averaged: Pillow does not smooth edges


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the typeface that ships with Pillow, ``size`` pixels high."""
    return ImageFont.load_default(max(size, 6))


def text_width(text: str, size: int) -> int:
    """Return how wide ``text`` is, in pixels."""
    return int(np.ceil(font(size).getlength(text)))


def text_height(picture_size: tuple[int, int]) -> int:
    """Return a readable height of letters for a picture of (height, width)."""
    return int(np.clip(round(max(picture_size) / 55), 11, 60))


def _strip(width: int, height: int, paint: Callable[[ImageDraw.ImageDraw, int], None]) -> Canvas:
    """Return a strip of paper that ``paint`` draws on, all its measures times the factor given."""
    picture = Image.new("RGB", (max(width, 1) * _FINE, max(height, 1) * _FINE), PAPER)
    paint(ImageDraw.Draw(picture), _FINE)
    return resize(np.array(picture), (max(height, 1), max(width, 1)), "area")


def label_boxes(canvas: Canvas, people: Sequence[Person]) -> Canvas:
    """Write identity and score on a chip at each box's upper left corner."""
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    size = max(10, round(text_height(canvas.shape[:2]) * 0.85))
    for index, person in enumerate(people):
        name = "" if person.identity is None else f"#{person.identity}  "
        text = f"{name}{person.score:.2f}"
        pad = max(2, size // 4)
        width, height = text_width(text, size) + 2 * pad, size + 2 * pad
        x = int(np.clip(person.box[0], 0, max(canvas.shape[1] - width, 0)))
        y = int(np.clip(person.box[1] - height, 0, max(canvas.shape[0] - height, 0)))
        chip = (x, y, x + width, y + height)
        pen.rounded_rectangle(chip, radius=pad, fill=person_colour(person, index))
        pen.text((x + pad, y + height / 2), text, PAPER, font(size), anchor="lm")
    return np.array(picture)


def caption(width: int, text: str, size: int, note: str = "") -> Canvas:
    """Return a strip with a title, and a paler note to its right if there is room."""
    height, small = size * 2, round(size * 0.8)
    left = text_width(text, size) + size
    fits = left + text_width(note, small) <= width

    def paint(pen: ImageDraw.ImageDraw, k: int) -> None:
        pen.text((0, height * k / 2), text, INK, font(size * k), anchor="lm")
        if note and fits:
            pen.text((left * k, height * k / 2), note, PALE, font(small * k), anchor="lm")

    return _strip(width, height, paint)


def swatches(width: int, entries: Sequence[tuple[str, Colour]], size: int) -> Canvas:
    """Return a strip of names beside patches of their colour, in as many columns as fit."""
    if not entries:
        return np.zeros((0, width, 3), np.uint8)
    longest = max(text_width(name, size) for name, _ in entries)
    cell = round(size * 2.6) + longest
    columns = max(1, min(len(entries), (width + size) // cell))
    rows = -(-len(entries) // columns)
    pitch = round(size * 1.55)

    def paint(pen: ImageDraw.ImageDraw, k: int) -> None:
        for index, (name, colour) in enumerate(entries):
            column, row = divmod(index, rows)
            x, y, patch = column * cell * k, (row * pitch + size // 2) * k, size * k
            pen.rounded_rectangle((x, y, x + patch, y + patch), radius=patch // 4, fill=colour)
            where = (x + patch * 1.5, y + patch / 2)
            pen.text(where, name, INK, font(size * k), anchor="lm")

    return _strip(width, rows * pitch + size // 2, paint)


def label_entries(raster: Raster, vocabulary: Vocabulary) -> list[tuple[str, Colour]]:
    """Return name and colour of the parts that a label map shows, in the vocabulary's order."""
    found = np.unique(raster.values[raster.mask])
    return [
        (vocabulary.names[value].replace("_", " "), _colour(vocabulary.colours[value]))
        for value in found.tolist()
        if value < len(vocabulary) and value != vocabulary.background
    ]


def _colour(values: NDArray[np.uint8]) -> Colour:
    r, g, b = values.tolist()
    return r, g, b


def scale_bar(width: int, dark: str, bright: str, size: int) -> Canvas:
    """Return the colours of a scalar map from dark to bright, with words at the ends."""
    left, right = (text_width(word, size) + size // 2 for word in (dark, bright))
    length = max(min(width - left - right, size * 16), 1)
    top = size // 2

    def paint(pen: ImageDraw.ImageDraw, k: int) -> None:
        middle = (top + size / 2) * k
        pen.text((0, middle), dark, INK, font(size * k), anchor="lm")
        end = (left + length + size // 2) * k
        pen.text((end, middle), bright, INK, font(size * k), anchor="lm")

    strip = _strip(width, size * 2, paint)
    shades = np.linspace(0, 1, length, dtype=np.float32)[None]
    end = min(left + length, width)
    strip[top : top + size, left:end] = scalar_colours(shades)[:, : max(end - left, 0)]
    return strip


def normal_key(width: int, size: int) -> Canvas:
    """Return a sphere in the colours of its normals, with the axes in words."""
    across = round(size * 2.6)
    height = across + size // 2

    def paint(pen: ImageDraw.ImageDraw, k: int) -> None:
        where = ((across + size * 0.7) * k, height * k / 2)
        pen.text(where, "x right, y up, z to the viewer", INK, font(size * k), anchor="lm")

    axis = (np.arange(across * _FINE) + 0.5) / (across * _FINE) * 2 - 1
    x, y = np.meshgrid(axis, axis)
    z = -np.sqrt(np.clip(1 - x * x - y * y, 0, None))
    ball = normals_to_colours(np.stack([x, y, z], axis=-1).astype(np.float32))
    ball = np.where((x * x + y * y <= 1)[..., None], ball, np.array(PAPER, np.uint8))
    strip = _strip(max(width, across), height, paint)
    strip[size // 4 : size // 4 + across, :across] = resize(ball, (across, across), "area")
    return strip


def point_key(width: int, sure: float, size: int) -> Canvas:
    """Return what solid and hollow dots mean."""
    texts = (f"score {sure:g} and more", "less, or occluded")

    def paint(pen: ImageDraw.ImageDraw, k: int) -> None:
        middle, radius, x = size * k, size * k * 0.36, size * k * 0.4
        for text, filled in zip(texts, (True, False), strict=True):
            circle = (x - radius, middle - radius, x + radius, middle + radius)
            if filled:
                pen.ellipse(circle, fill=_DOT)
            else:
                pen.ellipse(circle, outline=tuple(c * 3 // 4 for c in _DOT), width=size * k // 7)
            pen.text((x + size * k, middle), text, INK, font(size * k), anchor="lm")
            x += (size * 2 + text_width(text, size)) * k

    return _strip(width, size * 2, paint)

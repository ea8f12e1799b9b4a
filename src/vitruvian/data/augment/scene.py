# SPDX-License-Identifier: Apache-2.0
"""Whole scenes, for finding people: several pictures side by side, near and far, cut by the frame.

One matrix per picture decides what is seen of it, as everywhere in augmentation; boxes follow.
Pictures that leave room and people cut out and pasted show people at all sizes. Parts of pictures
without people are laid in between, so that the edge of something pasted does not give anybody away.
"""

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import image as images
from vitruvian.data.augment.backgrounds import foreground
from vitruvian.data.augment.clutter import Clutter
from vitruvian.data.augment.pixels import PixelAugment
from vitruvian.data.augment.view import Range, check_chance
from vitruvian.data.source import Source
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, Size, box_of_mask, resize_matrix
from vitruvian.person import Person, Sample

_NO_CHANGE = PixelAugment()
_LEAST = 24  # pixels of the shorter side of a part without people that is worth showing
_SOLID = 0.2  # share of a box that must be person: others are scattered pieces of somebody hidden
_TALL = 48  # pixels of the longer side of somebody worth pasting
_ENLARGED = 2.0  # times, at most


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A picture as training sees it.

    Attributes:
        image: RGB uint8 window.
        boxes: (N, 4) of what is visible of each person, in window pixels.
        ignored: (N,) who is too small, or too little of them visible, to be asked for.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    ignored: NDArray[np.bool_]

    def sample(self) -> Sample:
        """Return it with the people that are asked for, to look at."""
        wanted = self.boxes[~self.ignored]
        return Sample(image=self.image, people=tuple(Person(box=box) for box in wanted))


@dataclass(frozen=True, kw_only=True)
class SceneAugment:
    """Draws a window of one to four pictures.

    Attributes:
        size: (height, width) of the window.
        clutter: other surroundings for a picture's people, and, where nobody is wanted, as often
            instead of parts of the pictures that show nobody.
        several: chance of more than one picture in the window.
        empty: chance that a tile beside the first shows nobody.
        zoom: range of the size of a picture; 1 fits its longer side into its tile. What it leaves
            free is filled by something without people, or by ``margin``.
        margin: colour of the margins when a trained network is used.
        pasted: most people cut out of other pictures and laid on the window,
        pasted_height: as tall as this share of it.
        scraps: most pieces without people laid on the window in the same way.
        stretch: largest factor between the changes of width and height.
        mirror: chance of a mirror image.
        rotation: chance of turning a picture
        rotation_by: by up to this many degrees.
        grey: chance of a grey window.
        smallest: people whose box is lower and narrower than this (pixels) are ignored.
        visible: and those of whose box the frame leaves less than this share.
        pixels: what happens to the pixels.
    """

    size: Size = (256, 256)
    clutter: Clutter | None = None
    several: float = 0.5
    empty: float = 0.2
    zoom: Range = (0.6, 2.0)
    margin: tuple[int, int, int] = (124, 116, 104)
    pasted: int = 3
    pasted_height: Range = (0.08, 0.9)
    scraps: int = 2
    stretch: float = 1.2
    mirror: float = 0.5
    rotation: float = 0.2
    rotation_by: float = 8.0
    grey: float = 0.15
    smallest: float = 12.0
    visible: float = 0.25
    pixels: PixelAugment = field(default=_NO_CHANGE)

    def __post_init__(self) -> None:
        for name in ("several", "empty", "mirror", "rotation", "grey"):
            check_chance(name, getattr(self, name))
        if not 0 < self.zoom[0] <= self.zoom[1] or self.stretch < 1:
            raise InputError(
                f"zoom {self.zoom}, stretch {self.stretch} · wanted above 0, 1 or more"
            )

    def __call__(self, sample: Sample, others: Source, rng: np.random.Generator) -> Scene:
        """Return a window with ``sample`` and perhaps some of ``others`` in it."""
        window = np.empty((*self.size, 3), np.uint8)
        boxes: list[NDArray[np.float64]] = []
        ignored: list[NDArray[np.bool_]] = []
        for number, (y0, x0, y1, x1) in enumerate(self._tiles(rng)):
            shown = others[int(rng.integers(len(others)))] if number else sample
            size = (y1 - y0, x1 - x0)
            if number and rng.random() < self.empty:
                window[y0:y1, x0:x1] = self._nobody(shown, size, rng)
                continue
            tile = self._tile(shown, others, size, rng)
            window[y0:y1, x0:x1] = tile.image
            boxes.append(tile.boxes + np.array([x0, y0, x0, y0]))
            ignored.append(tile.ignored)
        scene = Scene(image=window, boxes=np.concatenate(boxes), ignored=np.concatenate(ignored))
        for _ in range(int(rng.integers(self.scraps + 1))):
            self._lay_scrap(window, others[int(rng.integers(len(others)))], scene, rng)
        for _ in range(int(rng.integers(self.pasted + 1))):
            scene = self._pasted(scene, others[int(rng.integers(len(others)))], rng)
        window = scene.image
        if rng.random() < self.grey:
            window = np.repeat(cv2.cvtColor(window, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        image = self.pixels(np.ascontiguousarray(window, dtype=np.uint8), rng)
        return replace(scene, image=image)

    def _tiles(self, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
        """Draw one, two or four parts (y0, x0, y1, x1) of the window, in random order."""
        height, width = self.size
        if rng.random() >= self.several:
            return [(0, 0, height, width)]
        y, x = (int(side * rng.uniform(0.35, 0.65)) for side in self.size)
        kind = int(rng.integers(4))
        if kind == 0:
            tiles = [(0, 0, y, width), (y, 0, height, width)]
        elif kind == 1:
            tiles = [(0, 0, height, x), (0, x, height, width)]
        else:
            tiles = [(0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width)]
        return [tiles[i] for i in rng.permutation(len(tiles))]

    def _tile(self, sample: Sample, others: Source, size: Size, rng: np.random.Generator) -> Scene:
        zoom = math.exp(rng.uniform(*np.log(self.zoom)))
        scale = zoom * min(size[0] / sample.size[0], size[1] / sample.size[1])
        bend = math.exp(rng.uniform(-0.5, 0.5) * math.log(self.stretch))
        inner = [max(2, round(sample.size[0] * scale * bend))]
        inner.append(max(2, round(sample.size[1] * scale / bend)))
        crop = Crop(resize_matrix(sample.size, (inner[0], inner[1])), (inner[0], inner[1]))
        if rng.random() < self.mirror:
            crop = crop.mirrored()
        angle = 0.0
        if rng.random() < self.rotation:
            angle = rng.uniform(-self.rotation_by, self.rotation_by)
            middle = ((inner[1] - 1) / 2, (inner[0] - 1) / 2)
            turn = np.asarray(cv2.getRotationMatrix2D(middle, angle, 1.0), dtype=np.float64)
            crop = crop.then(turn, crop.size)
        moved = _moved(sample, crop, math.radians(angle))
        shift = self._shift(moved, crop.size, size, rng)
        crop = crop.then(np.array([[1.0, 0, shift[0]], [0, 1, shift[1]]]), size)
        moved = moved + np.tile(shift, 2)
        return Scene(
            image=self._painted(sample, others, crop, scale, rng),
            **self._judged(moved, size),
        )

    def _shift(
        self, boxes: NDArray[np.float64], inner: Size, size: Size, rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Draw where the picture's corner lies in its tile; a cut-out mostly shows somebody."""
        room = np.array([size[1] - inner[1], size[0] - inner[0]], dtype=np.float64)
        free = rng.uniform(np.minimum(room, 0), np.maximum(room, 0))
        if len(boxes) and room.min() < 0 and rng.random() < 0.8:
            box = boxes[int(rng.integers(len(boxes)))]
            spot = rng.uniform(0.15, 0.85, 2) * np.array([size[1], size[0]])
            aim = spot - (box[:2] + (box[2:] - box[:2]) * rng.uniform(0.2, 0.8, 2))
            free = np.where(room < 0, np.clip(aim, room, 0), free)
        return np.rint(free)

    def _painted(
        self, sample: Sample, others: Source, crop: Crop, scale: float, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        pixels, matrix = sample.image, crop.matrix
        if scale < 0.7:  # shrinking a lot needs averaging
            small = tuple(max(1, round(side * scale)) for side in sample.size)
            pixels = images.resize(pixels, (small[0], small[1]), "area")
            back = Crop(resize_matrix((small[0], small[1]), sample.size), sample.size)
            matrix = back.then(matrix, crop.size).matrix
        window = images.warp(pixels, matrix, crop.size)
        if self.clutter is not None:
            window = self.clutter(window, sample.people, crop, sample.size, rng)
        inside = images.warp(np.full(pixels.shape[:2], 255, np.uint8), matrix, crop.size)
        if inside.min() == 255:
            return window
        if rng.random() < 0.5:
            behind = np.empty_like(window)
            behind[:] = self.margin
        else:
            behind = self._nobody(others[int(rng.integers(len(others)))], crop.size, rng)
        return _laid(behind, window, inside)

    def _lay_scrap(
        self, window: NDArray[np.uint8], sample: Sample, scene: Scene, rng: np.random.Generator
    ) -> None:
        """Lay a piece without people on the window, where it hides nobody."""
        share = rng.uniform(0.1, 0.5, 2)
        height, width = (max(2, round(n * s)) for n, s in zip(self.size, share, strict=True))
        y = int(rng.integers(self.size[0] - height + 1))
        x = int(rng.integers(self.size[1] - width + 1))
        low, high = scene.boxes[:, :2], scene.boxes[:, 2:]
        if ((low < [x + width, y + height]) & (high > [x, y])).all(axis=1).any():
            return
        window[y : y + height, x : x + width] = self._nobody(sample, (height, width), rng)

    def _pasted(self, scene: Scene, sample: Sample, rng: np.random.Generator) -> Scene:
        """Lay somebody from another picture on the window; whom that hides is ignored."""
        if not sample.people:
            return scene
        person = sample.people[int(rng.integers(len(sample.people)))]
        mask = foreground(person)
        body = None if mask is None else box_of_mask(mask.values > 0.5)
        if mask is None or body is None:
            return scene
        x0, y0, x1, y1 = body.astype(int)
        alpha = mask.values[y0 : y1 + 1, x0 : x1 + 1].astype(np.float32)
        if alpha.mean() < _SOLID or max(alpha.shape) < _TALL:
            return scene
        height, width = alpha.shape
        x, y = mask.origin[0] + x0, mask.origin[1] + y0
        colours = sample.image[y : y + height, x : x + width]
        tall = math.exp(rng.uniform(*np.log(self.pasted_height))) * self.size[0]
        scale = min(tall / height, 1.5 * self.size[1] / width, _ENLARGED)
        inner = (max(2, round(height * scale)), max(2, round(width * scale)))
        method = "area" if scale < 1 else "linear"
        alpha = images.resize(alpha, inner, method)
        colours = images.resize(np.ascontiguousarray(colours), inner, method)
        if rng.random() < self.mirror:
            alpha, colours = alpha[:, ::-1], colours[:, ::-1]
        room = np.array([self.size[1] - inner[1], self.size[0] - inner[0]])
        spare = np.array([inner[1], inner[0]]) * 0.4  # so much of them may lie outside
        corner = np.rint(rng.uniform(np.minimum(-spare, room), np.maximum(room + spare, 0)))
        crop = Crop(np.array([[1.0, 0, corner[0]], [0, 1, corner[1]]]), self.size)
        window = images.warp(np.ascontiguousarray(colours), crop.matrix, self.size)
        cover = images.warp(np.ascontiguousarray(alpha), crop.matrix, self.size)
        box = np.concatenate([corner, corner + np.array([inner[1] - 1, inner[0] - 1])])
        judged = self._judged(box[None], self.size)
        hidden = np.array([_share(cover, one) > 0.6 for one in scene.boxes], dtype=np.bool_)
        return Scene(
            image=_laid(scene.image, window, np.rint(cover * 255).astype(np.uint8)),
            boxes=np.concatenate([scene.boxes, judged["boxes"]]),
            ignored=np.concatenate([scene.ignored | hidden, judged["ignored"]]),
        )

    def _judged(self, boxes: NDArray[np.float64], size: Size) -> dict[str, NDArray]:
        """Clip boxes to a tile, and say who is not asked for; who is not there at all goes."""
        limits = np.array([size[1] - 1, size[0] - 1] * 2, dtype=np.float64)
        clipped = np.clip(boxes, 0, limits)
        left = np.prod(clipped[:, 2:] - clipped[:, :2], axis=1)
        share = left / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-6)
        there = left > 0
        ignored = (share < self.visible) | (
            (clipped[:, 2:] - clipped[:, :2]).max(axis=1, initial=0) < self.smallest
        )
        return {"boxes": clipped[there], "ignored": ignored[there]}

    def _nobody(self, sample: Sample, size: Size, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a window without people: a background, an invented or plain one, or a part."""
        if self.clutter is not None and rng.random() < self.clutter.chance:
            return self.clutter.picture(size, rng)
        part = without_people(sample)
        if part is None or rng.random() < 0.15:
            colour = rng.integers(0, 256, 3)
            return np.broadcast_to(colour, (*size, 3)).astype(np.uint8)
        return _random_part(part, size, rng)


def _laid(
    behind: NDArray[np.uint8], front: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    return images.compose(behind, front, alpha.astype(np.float32) / np.float32(255))


def _share(cover: NDArray[np.float32], box: NDArray[np.float64]) -> float:
    """Return which share of a box is covered."""
    x0, y0, x1, y1 = np.rint(box).astype(int)
    return float(cover[y0 : y1 + 1, x0 : x1 + 1].mean())


def without_people(sample: Sample) -> NDArray[np.uint8] | None:
    """Return the largest strip along an edge that shows nobody, if it is wide enough."""
    height, width = sample.size
    if not sample.people:
        return sample.image
    boxes = np.stack([person.box for person in sample.people])
    x0, y0 = np.floor(np.clip(boxes[:, :2].min(axis=0) - 2, 0, None)).astype(int)
    x1, y1 = np.ceil(boxes[:, 2:].max(axis=0) + 3).astype(int)
    parts = (
        sample.image[:, :x0], sample.image[:, x1:], sample.image[:y0], sample.image[y1:],
    )  # fmt: skip
    best = max(parts, key=lambda part: part.size)
    return best if min(best.shape[:2]) >= min(_LEAST, height, width) else None


def _random_part(
    picture: NDArray[np.uint8], size: Size, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a random part of a picture at ``size``, mirrored as it falls."""
    share = rng.uniform(0.5, 1.0, 2)
    height, width = (max(1, round(n * s)) for n, s in zip(picture.shape[:2], share, strict=True))
    y = int(rng.integers(picture.shape[0] - height + 1))
    x = int(rng.integers(picture.shape[1] - width + 1))
    part = picture[y : y + height, x : x + width]
    if rng.random() < 0.5:
        part = part[:, ::-1]
    method = "area" if height > 1.5 * size[0] else "linear"
    return images.resize(np.ascontiguousarray(part), size, method)


def _moved(sample: Sample, crop: Crop, angle: float) -> NDArray[np.float64]:
    """Return everybody's box (N, 4) in the window; a turned one bounds the ellipse inside it."""
    if not sample.people:
        return np.zeros((0, 4))
    boxes = np.stack([person.box for person in sample.people])
    middle = crop.to_window((boxes[:, :2] + boxes[:, 2:]) / 2)
    zoom = np.linalg.norm(crop.matrix[:, :2], axis=0)
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * zoom
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.hypot(half * cos, half[:, ::-1] * sin)
    return np.concatenate([middle - turned, middle + turned], axis=1)

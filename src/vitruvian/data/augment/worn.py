# SPDX-License-Identifier: Apache-2.0
"""What rendered people wear too seldom: gloves, and hats of every colour."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.data.augment.backgrounds import person_alpha
from vitruvian.data.augment.clutter import Clutter, Picture
from vitruvian.data.augment.view import Range, check_chance, check_range
from vitruvian.geometry import Crop
from vitruvian.person import Person, Points, Raster

_FEWEST = 20  # pixels of labels below which a hat is too small to be seen as one


@dataclass(frozen=True, kw_only=True)
class Gloves:
    """Colours hands as if they wore gloves, which rendered people have not.

    A gloved hand keeps its label: where it ends is as plain as that of a bare one.

    Attributes:
        chance: of doing so.
    """

    chance: float = 0.1

    def __post_init__(self) -> None:
        check_chance("chance", self.chance)

    def __call__(
        self, window: Picture, person: Person, crop: Crop, rng: np.random.Generator
    ) -> Picture:
        """Return the RGB window, as it is where nothing says which pixels are hands."""
        if rng.random() >= self.chance:
            return window
        for _, raster, names in _labelled(person):
            rows = [row for row, name in enumerate(names) if name.endswith("Hand")]
            if rows:
                alpha = _seen(np.isin(raster.values, rows) & raster.mask, raster, crop)
                return _coloured(window, alpha, _colour(rng))
        return window


@dataclass(frozen=True, kw_only=True)
class Hats:
    """Makes smooth cloth of what is above a line across the forehead, and calls it Apparel.

    That is hair, skin, or the hat of those who wear one. So something dark on a head is as likely a
    hat as hair, and only what it looks like decides.

    Attributes:
        chance: of doing so.
        line: range of the line's height above the glabella, as a share of the way that leads there
            from the chin.
        tilt: standard deviation of the line's rise to one side.
        banded: chance of a lower band of another colour, as wide as a share from ``bands`` of that
            way.
        bands: see ``banded``.
        patterned: chance of a pattern or badge on the cloth,
        look: as invented pictures have it.
    """

    chance: float = 0.15
    line: Range = (0.05, 0.6)
    tilt: float = 0.15
    banded: float = 0.4
    bands: Range = (0.1, 0.5)
    patterned: float = 0.4
    look: Clutter = field(default_factory=lambda: Clutter(shapes=(5, 80), sizes=(0.01, 0.15)))

    def __post_init__(self) -> None:
        for name in ("chance", "banded", "patterned"):
            check_chance(name, getattr(self, name))
        check_range("line", self.line)
        check_range("bands", self.bands)

    def __call__(
        self, window: Picture, person: Person, crop: Crop, rng: np.random.Generator
    ) -> tuple[Picture, Person]:
        """Return the RGB window and the person with a hat on.

        Both stay as they are where it is not known which pixels are hair and skin, or where chin
        and glabella are, and where both are at one place, as from above.
        """
        if rng.random() >= self.chance:
            return window, person
        for key, raster, names in _labelled(person):
            upwards = _above_glabella(person, raster)
            if upwards is None or not {"Hair", "Face_Neck", "Apparel"}.issubset(names):
                continue
            height, aside = upwards
            height = height - rng.uniform(*self.line) - rng.normal(0, self.tilt) * aside
            above = [names.index(name) for name in ("Hair", "Face_Neck", "Apparel")]
            hat = np.isin(raster.values, above) & raster.mask & (height > 0)
            if hat.sum() < _FEWEST:
                return window, person
            alpha, cloth = _seen(hat, raster, crop), _colour(rng)
            if rng.random() < self.patterned:
                cloth = self.look.picture(crop.size, rng).astype(np.float32)
            smooth = float(np.sqrt(alpha.sum())) / 8  # no strand of hair is left to be seen
            worn = _coloured(window, alpha, cloth, smooth)
            if rng.random() < self.banded:
                band = _seen(hat & (height < rng.uniform(*self.bands)), raster, crop)
                worn = image.compose(worn, _coloured(window, alpha, _colour(rng), smooth), band)
            labels = np.where(hat, np.uint8(names.index("Apparel")), raster.values)
            changed = {**person.annotations, key: replace(raster, values=labels)}
            return worn, replace(person, annotations=changed)
        return window, person


def _labelled(person: Person) -> list[tuple[str, Raster, tuple[str, ...]]]:
    """Return the label maps of a person, with the names of their values."""
    return [
        (key, raster, raster.vocabulary.names)
        for key, raster in person.annotations.items()
        if isinstance(raster, Raster) and raster.vocabulary is not None
    ]


def _above_glabella(
    person: Person, raster: Raster
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return (H, W) how far pixels of a map are above the glabella, and beside it.

    The unit is the way to it from the chin; ``None`` where that is not known, or a few pixels.
    """
    for points in person.annotations.values():
        if not isinstance(points, Points):
            continue
        names = points.vocabulary.names
        if "tip_of_chin" not in names or "center_of_glabella" not in names:
            continue
        rows = [names.index("tip_of_chin"), names.index("center_of_glabella")]
        chin, glabella = points.xy[rows].astype(np.float64)
        up = glabella - chin
        length = float(up @ up)
        if not points.present[rows].all() or length < 16:
            continue
        y, x = np.ogrid[: raster.size[0], : raster.size[1]]
        x, y = x + raster.origin[0] - glabella[0], y + raster.origin[1] - glabella[1]
        return (x * up[0] + y * up[1]) / length, (y * up[0] - x * up[1]) / length
    return None


def _seen(there: NDArray[np.bool_], raster: Raster, crop: Crop) -> NDArray[np.float32]:
    """Return some pixels of a map as the window shows them, 0 … 1."""
    mask = Raster(law="scalar", values=there, origin=raster.origin, kind="mask")
    return person_alpha(mask, crop)


def _colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a colour; half of them are dark and grey."""
    return rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(5, 70))


def _coloured(
    window: Picture,
    alpha: NDArray[np.float32],
    colour: NDArray[np.floating],
    smooth: float = 0.0,
) -> Picture:
    """Return the window with a colour, or a picture, where ``alpha`` says; its shade stays.

    Shade is ``smooth``: blurred by so many pixels of standard deviation.
    """
    if alpha.max() < 0.5:
        return window
    light = window.astype(np.float32).mean(axis=2)
    if smooth:
        inside = alpha + np.float32(1e-3)  # what is outside throws no shade
        light = cv2.GaussianBlur(light * inside, (0, 0), smooth)
        light /= cv2.GaussianBlur(inside, (0, 0), smooth)
    shade = light / max(float(light[alpha >= 0.5].mean()), 1.0)
    cloth = np.clip(shade[..., None] * colour, 0, 255).astype(np.uint8)
    return image.compose(window, cloth, alpha)

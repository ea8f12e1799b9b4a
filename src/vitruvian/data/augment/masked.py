# SPDX-License-Identifier: Apache-2.0
"""Random parts of pictures, for masked pretraining."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from vitruvian.data.augment.view import Range, shape_of_area
from vitruvian.geometry import Size
from vitruvian.person import Sample

_ALIASES = 1.5


@dataclass(frozen=True, kw_only=True)
class MaskedAugment:
    """Random resized crops, for pretraining; the defaults are the published ones of Sapiens.

    Attributes:
        size: (height, width) of the window.
        area: range of the share of the picture's area.
        aspect: range of width by height, uniform in its logarithm.
        tries: how often a part is drawn that may not fit, before the centre is taken.
        mirror: chance of a mirror image.
    """

    size: Size = (1024, 1024)
    area: Range = (0.2, 1.0)
    aspect: Range = (3 / 4, 4 / 3)
    tries: int = 10
    mirror: float = 0.5

    @classmethod
    def sapiens2(cls) -> "MaskedAugment":
        """Global views of the second generation: at least half of the picture (published)."""
        return cls(size=(1024, 768), area=(0.5, 1.0))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return an RGB uint8 window, resampled bicubically."""
        y, x, height, width = self.part(sample.size, rng)
        part = sample.image[y : y + height, x : x + width]
        window = resize_smoothly(part, self.size)
        if rng.random() < self.mirror:
            return np.asarray(cv2.flip(window, 1), dtype=np.uint8)
        return window

    def part(self, size: Size, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Draw y, x, height and width of the part of a picture of ``size``."""
        for _ in range(self.tries):
            found = shape_of_area(size, self.area, self.aspect, rng)
            if found is not None:
                height, width = found
                y = int(rng.integers(size[0] - height + 1))
                return y, int(rng.integers(size[1] - width + 1)), height, width
        height, width = size
        ratio = min(max(width / height, self.aspect[0]), self.aspect[1])
        height, width = min(height, round(width / ratio)), min(width, round(height * ratio))
        return (size[0] - height) // 2, (size[1] - width) // 2, height, width


def resize_smoothly(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Resample RGB uint8 bicubically; with antialiasing where a side shrinks by ``_ALIASES``.

    Up to there OpenCV's plain bicubic takes a third of the time and stays within 48 dB of Pillow's
    antialiased one on noisy photographs; beyond, torch's stays within 70 dB.
    """
    height, width = picture.shape[:2]
    whole = np.ascontiguousarray(picture)
    if max(height / size[0], width / size[1]) <= _ALIASES:
        made = cv2.resize(whole, size[::-1], interpolation=cv2.INTER_CUBIC)
        return np.asarray(made, dtype=np.uint8)
    if not whole.flags.writeable:
        whole = whole.copy()
    tensor = torch.from_numpy(whole).permute(2, 0, 1)[None]
    smooth = F.interpolate(tensor, size=size, mode="bicubic", antialias=True)
    return np.ascontiguousarray(smooth[0].permute(1, 2, 0).numpy())

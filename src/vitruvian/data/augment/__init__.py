# SPDX-License-Identifier: Apache-2.0
"""Augmentation, written once for every task: one window is drawn, one warp cuts it.

An augmentation only decides *which* window of the photograph is seen (scaled, turned, mirrored: one
matrix) and what happens to the window's pixels. How annotations follow is their own law, so the
result is handed to any task as ``task.encode(view.person, view.crop)``.

The fields are the published parameters; the class methods give the published values of each task.
Differences to the published code, on purpose: everything is interpolated once instead of up to five
times; depth and normals are interpolated by their law, not by nearest neighbours; what a turn
brings in from outside the photograph is unknown to every task, not background. Its defects can be
had by the name ``paper``.
"""

from vitruvian.data.augment.backgrounds import Backgrounds, foreground
from vitruvian.data.augment.clutter import Clutter
from vitruvian.data.augment.dense import DenseAugment
from vitruvian.data.augment.masked import MaskedAugment
from vitruvian.data.augment.occluders import Occluders
from vitruvian.data.augment.pixels import Photometric, PixelAugment
from vitruvian.data.augment.pose import PoseAugment
from vitruvian.data.augment.scene import Scene, SceneAugment
from vitruvian.data.augment.view import View
from vitruvian.data.augment.worn import Gloves, Hats

__all__ = [
    "Backgrounds",
    "Clutter",
    "DenseAugment",
    "Gloves",
    "Hats",
    "MaskedAugment",
    "Occluders",
    "Photometric",
    "PixelAugment",
    "PoseAugment",
    "Scene",
    "SceneAugment",
    "View",
    "foreground",
]

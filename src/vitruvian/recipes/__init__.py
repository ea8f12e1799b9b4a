# SPDX-License-Identifier: Apache-2.0
"""Recipes: functions that return a ``Run`` with the published values of a size and their source.

``RECIPES`` is the one list.
"""

from collections.abc import Callable

from vitruvian.recipes.dense import depth, normals, parts
from vitruvian.recipes.multi import multi
from vitruvian.recipes.people import people
from vitruvian.recipes.pose import pose
from vitruvian.recipes.pretrain import pretrain
from vitruvian.recipes.run import Asked, Part, Probed, Run

__all__ = [
    "RECIPES", "Asked", "Part", "Probed", "Run",
    "depth", "multi", "normals", "parts", "people", "pose", "pretrain",
]  # fmt: skip

RECIPES: dict[str, Callable[..., Run]] = {
    "pretrain": pretrain,
    "pose": pose,
    "parts": parts,
    "depth": depth,
    "normals": normals,
    "multi": multi,
    "people": people,
}

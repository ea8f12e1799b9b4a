# SPDX-License-Identifier: Apache-2.0
"""True maps beside answered ones, on the whole photograph."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.evaluate.cases import whole_raster
from vitruvian.geometry import boxes_iou
from vitruvian.person import Person, Raster, Sample, layers_of


@dataclass(frozen=True, kw_only=True, eq=False)
class MapPair:
    """What a task's answer is held against, on a photograph of (H, W) pixels.

    Attributes:
        true: the truth.
        guess: the answer; ``None`` if nobody has one.
        mask: (H, W) known pixels of people, the only ones at which depth and normals are compared.
        views: (H, W) pixels of the same number were answered together; depth is aligned by each.
    """

    true: Raster
    guess: Raster | None
    mask: NDArray[np.bool_]
    views: NDArray[np.int32]


def paired(similarity: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return for each of G people the answer that is theirs, or -1.

    The most similar two of (D, G) go together first; who is similar to nobody stays alone.
    """
    partner = np.full(similarity.shape[1], -1, np.intp)
    left = similarity.copy()
    while left.size and left.max() > 0:
        d, g = np.unravel_index(int(left.argmax()), left.shape)
        partner[g] = d
        left[d], left[:, g] = -1, -1
    return partner


def map_pair(truth: Sample, seen: Sample | None, task: str) -> MapPair | None:
    """Return the true map of a task and the answer to it; ``None`` without truth.

    A network that looks at one person at a time also says something about the neighbours in the
    window, which nobody asked. So where truth and answer have a map per person, everyone's answer
    counts at their own pixels alone, and is a view of its own. Labels need no such rule: each
    person's map calls the others background.

    Raises:
        InputError: if the two are of different sizes.
    """
    true = whole_raster(truth, task)
    if true is None:
        return None
    guess = None if seen is None else whole_raster(seen, task)
    if guess is not None and guess.size != true.size:
        raise InputError(f"{task} of {guess.size}, the truth is {true.size}")
    there = person_pixels(truth)
    mask = true.mask if there is None else true.mask & there
    views = np.zeros(true.size, np.int32)
    pair = MapPair(true=true, guess=guess, mask=mask, views=views)
    if seen is None or guess is None or true.law == "label":
        return pair
    if task in truth.rasters or task in seen.rasters:
        return pair
    wanted, given = layers_of(truth.people, task), layers_of(seen.people, task)
    boxes = (np.array([person.box for person in people]) for people in (given, wanted))
    values, valid = guess.values.copy(), np.zeros(true.size, bool)
    for row, partner in enumerate(paired(boxes_iou(*boxes))):
        own = _own_pixels(truth, wanted[row], task)
        views[own], valid[own] = row + 1, False
        if partner >= 0:
            layer = given[partner].raster(task).placed(true.size)
            values[own], valid[own] = layer.values[own], layer.mask[own]
    guess = replace(guess, values=values, valid=valid)
    return replace(pair, guess=guess, mask=mask & (views > 0))


def _own_pixels(truth: Sample, person: Person, task: str) -> NDArray[np.bool_]:
    """Return where a person's map of a task is known, on that person alone."""
    known = person.raster(task).placed(truth.size).mask
    own = person_pixels(replace(truth, people=(person,), rasters={}))
    return known if own is None else known & own


def person_pixels(truth: Sample) -> NDArray[np.bool_] | None:
    """Return where people are, by their parts or masks; ``None`` if neither is known."""
    found: NDArray[np.bool_] | None = None
    for name in ("parts", "mask"):
        raster = whole_raster(truth, name)
        if raster is not None and raster.vocabulary is not None:
            here = raster.values != raster.vocabulary.background
            if raster.valid is not None and raster.vocabulary.ignore is None:
                here = here & raster.valid
            found = here if found is None else found | here
    return found

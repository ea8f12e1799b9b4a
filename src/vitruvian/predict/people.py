# SPDX-License-Identifier: Apache-2.0
"""The detector that comes with the package: a small network of our own, offline, on any device."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vitruvian import image as images
from vitruvian.errors import InputError, WeightsError
from vitruvian.geometry import Crop, resize_matrix
from vitruvian.model.card import Card
from vitruvian.model.network import Network
from vitruvian.model.weights import load
from vitruvian.predict.detect import Boxes, ScoreKind
from vitruvian.tasks.people import Found, People

BUILT_IN = Path(__file__).parents[1] / "default" / "people.safetensors"
"""Weights inside the package; trained by ``vitruvian train people`` on rendered people."""


class PeopleFinder:
    """Finds people with a network that ``vitruvian train people`` made.

    Pictures are fitted into the square the card names, between margins, so people of about a
    fifteenth of the longer side and larger can be found.
    """

    score_kind: ScoreKind = "sigmoid"
    confirm: float
    """The least score of people whom keypoints confirm, see ``ConfirmedFinder``; 0 if unknown."""
    min_score: float
    """Who scores lower is left out."""

    def __init__(
        self,
        weights: str | Path = BUILT_IN,
        *,
        min_score: float | None = None,
        device: str = "cpu",
    ) -> None:
        """Open weights.

        Args:
            weights: a file whose card has the task "people".
            min_score: people scored lower are left out; the card's limit if not given.
            device: torch device.

        Raises:
            WeightsError: no such file, damaged, or for something else.
            InputError: a score outside 0 … 1.
        """
        if min_score is not None and not 0 <= min_score <= 1:
            raise InputError(f"min_score {min_score} · wanted a score from 0 to 1")
        self._network, card = _opened(weights)
        self._people = People(**card.tasks[People.name].settings)
        self.min_score = self._people.min_score if min_score is None else min_score
        self.confirm = self._people.confirm
        self._size, self._mean, self._std = card.input_size, card.mean, card.std
        self._fill, self._flip = card.fill, card.flip
        self._device = torch.device(device)
        self._network.to(self._device, dtype=torch.float32)

    @torch.inference_mode()
    def detect(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Boxes]:
        """Return the people in each RGB picture (H, W, 3); ``names`` are not needed."""
        del names
        found: list[Found] = []
        for image in images:  # one by one: a batch is no faster on a CPU, and memory stays flat
            window, crop = self._window(image)
            pixels = self._normalised(window)
            output = self._network(pixels)[People.name]
            if self._flip:
                mirrored = self._network(pixels.flip(-1))[People.name]
                output = (output + self._people.unmirror(mirrored)) / 2
            size = (image.shape[0], image.shape[1])
            found += self._people.decode(output, [crop], [size], min_score=self.min_score)
        return [Boxes(boxes, scores) for boxes, scores in found]

    def _window(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Crop]:
        """Return the picture between margins, and picture → window."""
        size = (image.shape[0], image.shape[1])
        crop = Crop.pad(size, self._size)
        inner = np.rint(np.array(size) * [crop.matrix[1, 1], crop.matrix[0, 0]]).astype(int)
        inner = (max(1, int(inner[0])), max(1, int(inner[1])))
        method = "area" if inner[0] < size[0] else "linear"
        small = images.resize(image, inner, method)
        back = Crop(resize_matrix(inner, size), size)
        placed = back.then(crop.matrix, self._size).matrix
        return images.warp(small, placed, self._size, fill=self._fill), crop

    def _normalised(self, window: NDArray[np.uint8]) -> torch.Tensor:
        planes = images.to_planes(window, self._mean, self._std)
        return torch.from_numpy(planes)[None].to(self._device)


def _opened(weights: str | Path) -> tuple[Network, Card]:
    network, card = load(weights)
    if People.name not in card.tasks:
        heads = ", ".join(card.tasks) or "no head"
        raise WeightsError(
            f"{weights} has {heads} · wanted weights that find people, as  vitruvian train people  "
            "makes them"
        )
    return network, card

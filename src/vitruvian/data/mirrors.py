# SPDX-License-Identifier: Apache-2.0
"""Are left and right what they seem? A suspicion from where the partners of a mirror pair lie.

Whether somebody is seen from the front or from behind, nearly all of their left points lie on the
same side of the right ones. A pair that mostly disagrees with the other pairs has its names
swapped. And since people in pictures mostly face the camera, their left is mostly to the right.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.vocabulary import Vocabulary

FEWEST = 8
"""People needed for a suspicion."""
_DOUBTFUL = 0.3


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """What the places of left and right suggest.

    Attributes:
        people: those with at least one pair, seen from one side.
        facing: share of them with their left on the right of the picture.
        swapped: pairs that disagree with the others in most people, as (left name, share that
            agrees).
    """

    people: int
    facing: float
    swapped: tuple[tuple[str, float], ...]

    @property
    def throughout(self) -> bool:
        """Whether left and right seem exchanged in everything, or the pictures mirrored."""
        return self.people >= FEWEST and self.facing < _DOUBTFUL


class MirrorTally:
    """Counts over people, see the module text."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Find the pairs of a vocabulary."""
        left = [i for i, side in enumerate(vocabulary.sides) if side == "left"]
        self._left = np.array(left, dtype=np.intp)
        self._right = np.asarray(vocabulary.mirror[self._left], dtype=np.intp)
        self._names = [vocabulary.names[i] for i in left]
        self._agreed = np.zeros(len(left), dtype=np.int64)
        self._seen = np.zeros(len(left), dtype=np.int64)
        self._people = self._facing = 0

    def add(self, x: NDArray[np.floating]) -> None:
        """Count a person.

        Args:
            x: (K,) columns where the K names are; NaN for those that are not there.
        """
        side = np.sign(x[self._left] - x[self._right])
        known = np.isfinite(side) & (side != 0)
        majority = np.sign(side[known].sum())
        if majority == 0:
            return
        self._people += 1
        self._facing += int(majority > 0)
        # a pair is compared with the others, not with itself
        others = np.sign(side[known].sum() - side)
        voted = known & (others != 0)
        self._seen += voted
        self._agreed += voted & (side == others)

    def result(self) -> Mirrored:
        """Return what was counted."""
        share = self._agreed / np.maximum(self._seen, 1)
        odd = np.flatnonzero((self._seen >= FEWEST) & (share < _DOUBTFUL))
        return Mirrored(
            people=self._people,
            facing=self._facing / max(self._people, 1),
            swapped=tuple((self._names[i], float(share[i])) for i in odd),
        )

# SPDX-License-Identifier: Apache-2.0
"""Are left and right what they seem? A suspicion from where the partners of a mirror pair lie.

Whether somebody is seen from the front or from behind, nearly all of their left points lie on the
same side of the right ones. A pair that mostly disagrees with the other pairs has its names
swapped. Places alone cannot tell whether all are swapped: somebody seen from behind with left and
right exchanged looks like somebody seen from the front. What can is the face: whose nose is marked
visible shows it to the camera, and then their left lies on the right of the picture, whatever the
rest of the data is like. Were that true of nine in ten (a turned head), then fewer than three in
ten among twenty such people would be seen once in 10¹⁰ sets that are right.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.vocabulary import Vocabulary

FEWEST = 8
"""People needed for a suspicion."""
SURE = 20
"""People (with a face, or a pair) needed for a refusal."""
_DOUBTFUL = 0.3


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """What the places of left and right suggest.

    Attributes:
        people: those with at least one pair, seen from one side.
        facing: share of them with their left on the right of the picture.
        faces: those of them whose face is visible.
        fronts: share of these with their left on the right of the picture.
        telling: whether some people's faces are marked hidden, so that visible ones say something.
        swapped: pairs that disagree with the others in most people, as (left name, share that
            agrees).
    """

    people: int
    facing: float
    faces: int
    fronts: float
    telling: bool
    swapped: tuple[tuple[str, float], ...]

    @property
    def throughout(self) -> bool:
        """Whether left and right seem exchanged in everything, or the pictures mirrored."""
        return self.people >= FEWEST and self.facing < _DOUBTFUL

    @property
    def exchanged(self) -> bool:
        """Whether people who show their face have left and right exchanged."""
        return self.faces >= SURE and self.fronts < _DOUBTFUL

    @property
    def ambiguous(self) -> bool:
        """Whether people who show their face have left and right either way."""
        return self.telling and self.faces >= SURE and _DOUBTFUL <= self.fronts < 1 - _DOUBTFUL


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
        self._people = self._facing = self._faces = self._fronts = self._hidden = 0

    def add(self, x: NDArray[np.floating], *, face: bool | None = None) -> None:
        """Count a person.

        Args:
            x: (K,) columns where the K names are; NaN for those that are not there.
            face: whether the face is visible; ``None`` if nobody says.
        """
        side = np.sign(x[self._left] - x[self._right])
        known = np.isfinite(side) & (side != 0)
        majority = np.sign(side[known].sum())
        if majority == 0:
            return
        self._people += 1
        self._facing += int(majority > 0)
        self._faces += face is True
        self._fronts += face is True and bool(majority > 0)
        self._hidden += face is False
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
            faces=self._faces,
            fronts=self._fronts / max(self._faces, 1),
            telling=self._hidden > 0,
            swapped=tuple((self._names[i], float(share[i])) for i in odd),
        )

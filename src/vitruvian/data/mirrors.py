# SPDX-License-Identifier: Apache-2.0
"""Are left and right what they seem? A suspicion from where the partners of a mirror pair lie.

Whether somebody is seen from the front or from behind, nearly all of their left points lie on the
same side of the right ones. A pair that mostly disagrees with the other pairs has its names
swapped. Places alone cannot tell whether all are swapped: somebody seen from behind with left and
right exchanged looks like somebody seen from the front. What can is the face: whose nose is marked
visible shows it to the camera, and then their left lies on the right of the picture, whatever the
rest of the data is like. Were that true of nine in ten (a turned head), then fewer than three in
ten among twenty such people would be seen once in 10¹⁰ sets that are right.

Partners of a pair lie level with each other more often than with those of other pairs. If two
pairs were clearly more level with each other's right, in far more people than the other way
round, then the vocabulary has paired them wrongly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.sides import derive_mirror, read_side
from vitruvian.vocabulary import Vocabulary

FEWEST = 8
"""People needed for a suspicion."""
SURE = 20
"""People (with a face, or a pair) needed for a refusal."""
_DOUBTFUL = 0.3
_CLEARLY = 0.9  # corners of both eyes are as level either way
_CROSSED = 0.3  # of 1,841 rendered people at most 0.10, for joints of fingers and elbows
_RATHER = 4  # times as many as those in whom the pairs are more level as they are


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
        crossed: pairs that are more level with each other's right, as (left name, left name, share
            of people in whom they are).
        alone: left names without a partner though there is one of that name.
    """

    people: int
    facing: float
    faces: int
    fronts: float
    telling: bool
    swapped: tuple[tuple[str, float], ...]
    crossed: tuple[tuple[str, str, float], ...]
    alone: tuple[str, ...]

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
        self._alone = _alone(vocabulary)
        self._agreed = np.zeros(len(left), dtype=np.int64)
        self._seen = np.zeros(len(left), dtype=np.int64)
        self._crossed = np.zeros((len(left), len(left)), dtype=np.int64)
        self._kept, self._both = np.zeros_like(self._crossed), np.zeros_like(self._crossed)
        self._gain = np.zeros(self._crossed.shape)
        self._people = self._facing = self._faces = self._fronts = self._hidden = 0

    def add(self, xy: NDArray[np.floating], *, face: bool | None = None) -> None:
        """Count a person.

        Args:
            xy: (K, 2) columns and rows where the K names are; NaN for those that are not there.
            face: whether the face is visible; ``None`` if nobody says.
        """
        x, y = xy[:, 0], xy[:, 1]
        between = np.abs(y[self._left][:, None] - y[self._right])
        now = between.diagonal()[:, None] + between.diagonal()
        then = between + between.T
        self._crossed += then < _CLEARLY * now
        self._gain += np.nan_to_num(now - then)
        self._kept += now < _CLEARLY * then
        self._both += np.isfinite(now)
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
        closer = np.triu(self._crossed / np.maximum(self._both, 1))
        clear = (self._both >= SURE) & (self._crossed > _RATHER * self._kept)
        found = np.argwhere(clear & (closer > _CROSSED)).tolist()
        # Beside a wrong pair right ones may seem wrong too: those that gain most come first.
        wrong = dict[int, int]()
        for i, j in sorted(found, key=lambda pair: -self._gain[*pair]):
            if not {i, j} & {*wrong, *wrong.values()}:
                wrong[i] = j
        return Mirrored(
            people=self._people,
            facing=self._facing / max(self._people, 1),
            faces=self._faces,
            fronts=self._fronts / max(self._faces, 1),
            telling=self._hidden > 0,
            swapped=tuple((self._names[i], float(share[i])) for i in odd),
            crossed=tuple(
                (self._names[i], self._names[j], float(closer[i, j])) for i, j in wrong.items()
            ),
            alone=self._alone,
        )


def _alone(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return left names that are their own partners though their right is there."""
    try:
        derived = derive_mirror(vocabulary.name, vocabulary.names)
    except InputError:  # names that do not tell
        return ()
    return tuple(
        name
        for i, name in enumerate(vocabulary.names)
        if vocabulary.mirror[i] == i != derived[i] and read_side(name) == "left"
    )

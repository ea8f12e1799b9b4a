# SPDX-License-Identifier: Apache-2.0
"""The scorer of keypoints, see ``vitruvian.evaluate.scoring``."""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError
from vitruvian.evaluate.answers import Answer, FoundPoses, sigmas_of
from vitruvian.evaluate.cases import Cases, Floats, TruePoses
from vitruvian.evaluate.pairs import paired
from vitruvian.metrics import (
    PCK,
    Accumulator,
    Calibration,
    KeypointAP,
    Tracks,
    oks_matrix,
    point_similarity,
)
from vitruvian.vocabulary import Vocabulary

Arrays = dict[str, NDArray[Any]]
FOUND = 0.5
"""OKS from which an annotated person counts as found in a photograph's row."""
PCK_SHARES = (0.05, 0.1, 0.2)
"""Of the longer side of a person's box."""
HEADS = (("head_top", "upper_neck"), ("head_top", "neck"), ("top_head", "neck"), ("head", "neck"))
"""Names of the two ends of the head; their distance is the reference of PCKh."""
_NUMBER = (re.compile(r"frame[_-]?(\d+)", re.IGNORECASE), re.compile(r"(\d+)(?=\D*$)"))


class Kept:
    """Accumulators by name, merged and stored together."""

    def __init__(self, parts: Mapping[str, Accumulator]) -> None:
        self._parts = dict(parts)

    def result(self) -> dict[str, float]:
        """Return the numbers of the set so far."""
        return {key: value for part in self._parts.values() for key, value in part.result().items()}

    def state_dict(self) -> Arrays:
        """Return everything seen so far."""
        return {
            f"{name}:{key}": array
            for name, part in self._parts.items()
            for key, array in part.state_dict().items()
        }

    def merge(self, state: Mapping[str, ArrayLike]) -> None:
        """Take in what another scorer of the same settings has seen."""
        for name, part in self._parts.items():
            other = part.empty()
            prefix = f"{name}:"
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            other.load_state_dict(own)
            part.merge(other)


def groups_of(words: Vocabulary) -> dict[str, list[int]] | None:
    """Return the groups a vocabulary is evaluated in; ``None``: only as a whole, without a name.

    Besides its own groups there are all points ("whole") and both hands together ("hand").
    """
    own = {name: list(members) for name, members in words.groups.items()}
    everything = list(range(len(words)))
    if not own or all(sorted(members) == everything for members in own.values()):
        return None
    groups = {"whole": everything}
    for name, members in own.items():
        groups[name] = members
    if "left_hand" in own and "right_hand" in own:
        groups["hand"] = own["left_hand"] + own["right_hand"]
    return groups


class PoseScorer(Kept):
    """Keypoints: OKS average precision by groups, PCK, and whether scores mean what they say.

    A photograph's row has its mean OKS over people to be found (who was missed counts 0), and how
    many were to be found, were missed (OKS below ``FOUND``), and were seen though nobody is there.
    PCK counts points within shares of the longer side of a person's box, PCKh (where the
    vocabulary has both ends of the head) within half the head's length; ECE compares keypoint
    scores with the similarity of points to the truth, of people found. Where people have identities
    and photographs frame numbers, the jitter of those found is measured over three frames in a row.
    """

    task, sort, worst = "pose", "OKS", "low"

    def __init__(self, words: Vocabulary) -> None:
        """Choose the vocabulary to evaluate in."""
        groups = self._groups = groups_of(words)
        self.words, self._sigmas = words, sigmas_of(words)
        # The reference code for 133 points takes a detection's area from the body, in all groups.
        body = groups["body"] if groups is not None and "body" in groups else None
        self._ap = KeypointAP(self._sigmas, groups=groups, area_points=body)
        self._pck = PCK(len(words), thresholds=PCK_SHARES)
        self._head = next(
            (tuple(map(words.index, pair)) for pair in HEADS if set(pair) <= set(words.names)), None
        )
        self._pckh = PCK(len(words), thresholds=(0.5,))
        self._ece, self._tracks = Calibration(), Tracks(len(words))
        parts = {"ap": self._ap, "pck": self._pck, "pckh": self._pckh, "ece": self._ece}
        super().__init__({**parts, "tracks": self._tracks})

    def result(self) -> dict[str, float]:
        """Return the numbers of the set so far; without what cannot be measured on it."""
        found = {**self._ap.result(), **self._pck.result()}
        if self._head is not None:
            heads = self._pckh.result()
            found |= {key.replace("PCK", "PCKh"): value for key, value in heads.items()}
        moved = {k: v for k, v in self._tracks.result().items() if not math.isnan(v)}
        return {**found, **self._ece.result(), **moved}

    def update(self, cases: Cases, answer: Answer) -> dict[str, float]:
        """Take in one photograph."""
        truth, found = cases.poses(answer.place, answer.truth), answer.poses
        assert found is not None
        count = len(self.words)
        if truth is None:
            truth = TruePoses(
                vocabulary=self.words, xy=np.zeros((0, count, 2)), areas=np.zeros(0),
                labelled=np.zeros((0, count), bool), boxes=np.zeros((0, 4)),
                crowd=np.zeros(0, bool),
            )  # fmt: skip
        if truth.vocabulary != self.words or found.vocabulary != self.words:
            raise InputError(
                f"{cases.names[answer.place]}: points of {truth.vocabulary.name!r} and "
                f"{found.vocabulary.name!r}, to be compared in {self.words.name!r}: name with "
                "--compare-points what both can be turned into"
            )
        # A map of zeros may decode to no place (exact mode); such a point is as wrong as any.
        xy = np.where(np.isfinite(found.xy), found.xy, 0.0)
        self._ap.update(
            image=int(cases.numbers[answer.place]),
            points=xy,
            scores=found.ranks,
            truth=truth.xy,
            labelled=truth.labelled,
            areas=truth.areas,
            boxes=truth.boxes,
            crowd=truth.crowd,
            point_scores=None if self._groups is None else found.scores,
        )
        return self._pairs(truth, found, xy, cases.names[answer.place])

    def _pairs(
        self, truth: TruePoses, found: FoundPoses, xy: Floats, name: str
    ) -> dict[str, float]:
        wanted = truth.wanted
        known, labelled = truth.xy[wanted], truth.labelled[wanted]
        areas, boxes = truth.areas[wanted], truth.boxes[wanted]
        oks = oks_matrix(xy, known, labelled, areas=areas, sigmas=self._sigmas)
        partner = paired(oks)
        met = partner >= 0
        reached, points = np.zeros(len(wanted)), np.full(known.shape, np.nan)
        reached[met] = oks[partner[met], np.flatnonzero(met)]
        points[met] = xy[partner[met]]
        sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1) if len(boxes) else np.zeros(0)
        self._pck.update(points=points, truth=known, labelled=labelled, reference=sides)
        if self._head is not None:
            top, neck = self._head
            both = labelled[:, top] & labelled[:, neck]
            lengths = np.where(both, np.linalg.norm(known[:, top] - known[:, neck], axis=1), 0)
            self._pckh.update(points=points, truth=known, labelled=labelled, reference=lengths)
        seen = met & (reached >= FOUND)
        self._follow(truth, seen, points, name)
        if seen.any():
            right = point_similarity(points[seen], known[seen], areas[seen], self._sigmas)
            self._ece.update(
                scores=found.scores[partner[seen]], correct=right, valid=labelled[seen]
            )
        # A detection on a crowd or on somebody without points is nobody's mistake.
        spared = np.setdiff1d(np.arange(len(truth.xy)), wanted)
        alone = np.setdiff1d(np.arange(len(xy)), partner[seen])
        if len(spared) and len(alone):
            near = oks_matrix(
                xy[alone], truth.xy[spared], truth.labelled[spared],
                areas=truth.areas[spared], sigmas=self._sigmas, boxes=truth.boxes[spared],
            )  # fmt: skip
            alone = alone[(near < FOUND).all(axis=1)]
        return {
            "OKS": float(reached.mean()) if len(wanted) else math.nan,
            "people": float(len(wanted)),
            "missed": float(len(wanted) - seen.sum()),
            "false": float(len(alone)),
        }

    def _follow(self, truth: TruePoses, seen: NDArray[np.bool_], points: Floats, name: str) -> None:
        """Note where people with an identity are in a numbered frame."""
        numbered = frame_of(name)
        if truth.identities is None or numbered is None:
            return
        wanted = truth.wanted
        who = truth.identities[wanted]
        use = seen & (who >= 0)
        rows = wanted[use]
        known = np.where(truth.labelled[rows][..., None], truth.xy[rows], np.nan)
        self._tracks.update(
            clip=numbered[0], frame=numbered[1], ids=who[use], points=points[use], truth=known
        )

    def evidence(self) -> Arrays:
        """Return the rows of average precision: what was right and wrong of each detection."""
        state = self._ap.state_dict()
        return {key.removeprefix("rows."): state[key] for key in state if key.startswith("rows.")}


def frame_of(name: str) -> tuple[int, int] | None:
    """Return the clip and the number of a frame by its name, ``None`` if it has no number.

    The number is the one after "frame", else the last one; all that is left of the name is the
    clip, as a number that is the same everywhere.
    """
    found = next((m for m in (pattern.search(name) for pattern in _NUMBER) if m), None)
    if found is None:
        return None
    rest = name[: found.start(1)] + "#" + name[found.end(1) :]
    digest = hashlib.blake2b(rest.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True), int(found[1])

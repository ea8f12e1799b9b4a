# SPDX-License-Identifier: Apache-2.0
"""What is in a set of samples, and what looks wrong with it, in sentences with a remedy."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian.data.mirrors import FEWEST, SURE, Mirrored, MirrorTally
from vitruvian.data.sources.files import listed
from vitruvian.person import VISIBLE, Person, Points, Raster, Sample
from vitruvian.vocabulary import Vocabulary

_SMALL = 32  # pixels; people narrower and lower than this teach little
_GRAZING = 0.01
_MANY = 1000  # vectors of a map that must be there to judge it alone


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A sentence on a set.

    Attributes:
        state: "note" for what is there, "odd" for what may be meant, "bad" for what is not.
        text: the sentence.
        remedy: what to do about it, or "".
        about: "sides" if it is about left and right.
    """

    state: Literal["note", "odd", "bad"]
    text: str
    remedy: str = ""
    about: Literal["", "sides"] = ""

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}" if self.remedy else self.text


@dataclass
class _PointTally:
    vocabulary: Vocabulary
    mirror: MirrorTally
    people: int = 0
    present: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    outside: int = 0
    off_box: int = 0


@dataclass
class _LabelTally:
    vocabulary: Vocabulary
    mirror: MirrorTally
    maps: int = 0
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    holding: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    unknown: int = 0
    empty: int = 0


@dataclass
class _ValueTally:
    law: str
    kinds: set[str] = field(default_factory=set[str])
    maps: int = 0
    shares: list[float] = field(default_factory=list[float])
    low: float = np.inf
    high: float = -np.inf
    flat: int = 0
    facing: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])


class Survey:
    """Looks at samples one by one, then tells what it found."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.samples = 0
        self._failed: list[tuple[str, str]] = []
        self._names: dict[str, int] = {}
        self._sides: list[tuple[int, int]] = []
        self._people: list[int] = []
        self._boxes: dict[str, int] = {"no area": 0, "outside": 0, "small": 0}
        self._points: dict[str, _PointTally] = {}
        self._labels: dict[str, _LabelTally] = {}
        self._values: dict[str, _ValueTally] = {}
        self._cameras = 0

    def fail(self, where: str, why: str) -> None:
        """Note a sample that cannot be read."""
        self._failed.append((where, why))

    def add(self, sample: Sample) -> None:
        """Look at a sample."""
        self.samples += 1
        self._names[sample.name] = self._names.get(sample.name, 0) + 1
        self._sides.append(sample.size)
        self._people.append(len(sample.people))
        self._cameras += sample.camera is not None
        for person in sample.people:
            self._add_box(person, sample.size)
            for name, annotation in person.annotations.items():
                if isinstance(annotation, Points):
                    self._add_points(name, annotation, person, sample.size)
                else:
                    self._add_raster(name, annotation)
        for name, raster in sample.rasters.items():
            self._add_raster(name, raster)

    def _add_box(self, person: Person, size: tuple[int, int]) -> None:
        x0, y0, x1, y1 = person.box
        if x1 - x0 <= 0 or y1 - y0 <= 0:
            self._boxes["no area"] += 1
        elif x1 < 0 or y1 < 0 or x0 > size[1] - 1 or y0 > size[0] - 1:
            self._boxes["outside"] += 1
        elif max(x1 - x0, y1 - y0) < _SMALL:
            self._boxes["small"] += 1

    def _add_points(self, name: str, points: Points, person: Person, size: tuple[int, int]) -> None:
        words = points.vocabulary
        tally = self._points.get(name)
        if tally is None or tally.vocabulary != words:
            key = name if tally is None else f"{name} ({words.name})"
            tally = self._points.setdefault(
                key, _PointTally(words, MirrorTally(words), present=np.zeros(len(words), np.int64))
            )
        there = points.present
        tally.people += 1
        tally.present += there
        xy = points.xy[there]
        limits = np.array([size[1], size[0]]) - 0.5
        tally.outside += int(((xy < -0.5) | (xy > limits)).any(axis=1).sum())
        low, high = person.box[:2], person.box[2:]
        margin = 0.25 * (high - low)
        if len(xy):
            away = ((xy < low - margin) | (xy > high + margin)).any(axis=1)
            tally.off_box += bool(away.mean() > 0.5)
        face = _face_visible(points)
        tally.mirror.add(np.where(there[:, None], points.xy, np.nan), face=face)

    def _add_raster(self, name: str, raster: Raster) -> None:
        if raster.vocabulary is not None:
            self._add_labels(name, raster, raster.vocabulary)
            return
        tally = self._values.setdefault(name, _ValueTally(raster.law))
        tally.maps += 1
        tally.kinds.add(raster.kind or "")
        valid = raster.mask
        tally.shares.append(float(valid.mean()))
        inside = raster.values[valid]
        if not len(inside):
            return
        if raster.law == "scalar":
            low, high = float(inside.min()), float(inside.max())
            tally.low, tally.high = min(tally.low, low), max(tally.high, high)
            tally.flat += low == high
        if raster.law == "vector":
            tally.facing.append((float(np.mean(inside[:, 2] < _GRAZING)), len(inside)))

    def _add_labels(self, name: str, raster: Raster, words: Vocabulary) -> None:
        tally = self._labels.get(name)
        if tally is None or tally.vocabulary != words:
            key = name if tally is None else f"{name} ({words.name})"
            tally = self._labels.setdefault(key, _LabelTally(words, MirrorTally(words)))
        mask = raster.mask
        counts = np.bincount(raster.values[mask], minlength=256)
        tally.maps += 1
        tally.pixels += counts
        tally.holding += counts > 0
        tally.unknown += int(mask.size - mask.sum())
        foreground = counts.copy()
        if words.background is not None:
            foreground[words.background] = 0
        tally.empty += not foreground.any()
        # the mean place of each class: weighted histograms over all pixels
        columns, rows = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in mask.shape[::-1]))
        sums = [
            np.bincount(raster.values[mask], weights=at[mask], minlength=256)
            for at in (columns, rows)
        ]
        with np.errstate(invalid="ignore", divide="ignore"):
            places = (np.stack(sums, 1) / counts[:, None])[: len(words)]
        tally.mirror.add(places, face=_mouth_seen(words, counts))

    # --------------------------------------------------------------------------- telling

    def findings(self) -> list[Finding]:
        """Return what was found; what is bad stands last."""
        order = {"note": 0, "odd": 1, "bad": 2}
        return sorted(self._findings(), key=lambda finding: order[finding.state])

    def _findings(self) -> Iterator[Finding]:
        for where, why in self._failed[:10]:
            yield Finding(state="bad", text=why if where in why else f"{where}: {why}")
        if len(self._failed) > 10:
            yield Finding(state="bad", text=f"{len(self._failed) - 10} more samples cannot be read")
        if not self.samples:
            yield Finding(state="bad", text="no sample could be read")
            return
        sides = np.array(self._sides)
        area = sides.prod(axis=1) / 1e6
        yield Finding(
            state="note",
            text=f"{self.samples} samples, {sum(self._people)} people; pictures of "
            f"{area.min():.2g} to {area.max():.2g} million pixels, half below "
            f"{np.median(area):.2g}"
            + (f"; {self._cameras} with a camera" if self._cameras else ""),
        )
        twice = [name for name, count in self._names.items() if count > 1 and name]
        if twice:
            yield Finding(
                state="odd",
                text=f"the same name for several samples: {listed(twice)}",
                remedy="remove repeats, or they count more and may stand in two splits",
            )
        yield from self._about_boxes()
        for name, points in self._points.items():
            yield from _about_points(name, points)
        for name, labels in self._labels.items():
            yield from _about_labels(name, labels)
        for name, values in self._values.items():
            yield from _about_values(name, values)

    def _about_boxes(self) -> Iterator[Finding]:
        everyone = max(sum(self._people), 1)
        if self._boxes["no area"]:
            yield Finding(
                state="bad",
                text=f"{self._boxes['no area']} of {everyone} boxes have no width or no height",
                remedy="mend or remove these people; boxes in COCO files are x, y, width, height",
            )
        if self._boxes["outside"]:
            yield Finding(
                state="bad",
                text=f"{self._boxes['outside']} of {everyone} boxes lie outside their picture",
                remedy="the pictures were resized, cropped or turned after they were annotated",
            )
        if self._boxes["small"]:
            yield Finding(
                state="odd",
                text=f"{self._boxes['small']} of {everyone} people are below {_SMALL} pixels",
                remedy="leave them out if their points are guesses",
            )


def _about_points(name: str, tally: _PointTally) -> Iterator[Finding]:
    words, people = tally.vocabulary, tally.people
    mean = tally.present.sum() / people
    yield Finding(
        state="note",
        text=f"{name}: {people} people with points of {words.name} ({len(words)}), "
        f"{mean:.1f} present on average",
    )
    never = [words.names[i] for i in np.flatnonzero(tally.present == 0)]
    if never:
        yield Finding(
            state="odd",
            text=f"{name}: never present: {listed(never, 5)}",
            remedy="a network learns nothing about them; check the order of the points if that is "
            "not meant",
        )
    total = max(int(tally.present.sum()), 1)
    if tally.outside:
        share = tally.outside / total
        yield Finding(
            state="bad" if share > 0.2 else "odd",
            text=f"{name}: {tally.outside} of {total} points lie outside their picture",
            remedy="the pictures were resized or turned after they were annotated"
            if share > 0.2
            else "mark them absent (v = 0) unless they are known exactly",
        )
    if tally.off_box:
        share = tally.off_box / people
        yield Finding(
            state="bad" if share > 0.2 else "odd",
            text=f"{name}: most points of {tally.off_box} of {people} people lie outside their box",
            remedy="boxes or points belong to somebody else, or boxes are not x, y, width, height",
        )
    yield from _about_mirrors(name, tally.mirror.result(), "points")


def _face_visible(points: Points) -> bool | None:
    """Whether nose and eyes are marked visible; ``None`` without such points or marks."""
    names = points.vocabulary.names
    rows = [i for i, name in enumerate(names) if name in ("nose", "left_eye", "right_eye")]
    if not any(names[i] == "nose" for i in rows):
        return None
    seen = points.present if points.visibility is None else points.visibility == VISIBLE
    return bool(seen[rows].all())


def _mouth_seen(words: Vocabulary, counts: NDArray[np.integer]) -> bool | None:
    """Whether all lips (and a nose) of the classes are seen; ``None`` if there are no such."""
    told = [re.split(r"\W|_", name.lower()) for name in words.names]
    rows = [i for i, name in enumerate(told) if "lip" in name or "nose" in name]
    return bool((counts[rows] > 0).all()) if rows else None


def _about_mirrors(name: str, found: Mirrored, what: str) -> Iterator[Finding]:
    if found.crossed:
        pairs = listed((f"{a} and {b} ({share:.0%})" for a, b, share in found.crossed), 3)
        yield Finding(
            state="bad",
            text=f"{name}: mirror partners seem wrong for {pairs}: in that share of people each "
            "lies level with the other's partner rather than with its own",
            remedy="write the right mirror partners into the vocabulary, or none where the names "
            "say left and right",
            about="sides",
        )
    if found.alone:
        yield Finding(
            state="odd",
            text=f"{name}: no mirror partners: {listed(found.alone, 5)}",
            remedy="a mirrored picture then calls left what is right; leave the partners out of "
            "the vocabulary, and they are read from the names",
            about="sides",
        )
    if found.swapped:
        pairs = listed((f"{pair} ({share:.0%})" for pair, share in found.swapped), 6)
        yield Finding(
            state="bad" if found.people >= SURE else "odd",
            text=f"{name}: left and right seem swapped for {pairs}: that share of people has them "
            "on the same side as the other pairs",
            remedy=f"check the order of the {what}, and the vocabulary's mirror partners",
            about="sides",
        )
    elif found.exchanged or found.ambiguous:
        seem = "are swapped" if found.exchanged else "are ambiguous"
        yield Finding(
            state="bad",
            text=f"{name}: left and right {seem}: of {found.faces} people whose face is visible "
            f"only {found.fronts:.0%} have their left on the right of the picture, where people "
            "who face the camera have it",
            remedy="left is the subject's own: exchange the names, or undo the mirroring of the "
            "pictures"
            if found.exchanged
            else "some of the sets are mirrored or named from the viewer's side: mend those, or "
            "mark hidden noses as not visible",
            about="sides",
        )
    elif found.throughout:
        yield Finding(
            state="odd",
            text=f"{name}: only {found.facing:.0%} of {found.people} people have their left on "
            "the right of the picture, as people who face the camera do",
            remedy="left and right seem swapped throughout, or the pictures are mirrored; left is "
            "the subject's own (fine if they are seen from behind)",
            about="sides",
        )
    elif found.people >= FEWEST:
        yield Finding(
            state="note",
            text=f"{name}: left and right agree with each other; {found.facing:.0%} of people face "
            "the camera",
        )


def _about_labels(name: str, tally: _LabelTally) -> Iterator[Finding]:
    words = tally.vocabulary
    total = max(int(tally.pixels.sum()), 1)
    count = len(words)
    shares: Mapping[str, float] = {
        words.names[i]: tally.pixels[i] / total for i in np.flatnonzero(tally.pixels[:count])
    }
    most = sorted(shares.items(), key=lambda item: -item[1])
    told = ", ".join(f"{one} {share:.1%}" for one, share in most[:6])
    known = total / (total + tally.unknown)
    yield Finding(
        state="note",
        text=f"{name}: {tally.maps} label maps of {words.name} ({count} classes), {known:.0%} of "
        f"pixels known; {len(shares)} classes occur: {told}{', …' if len(most) > 6 else ''}",
    )
    beyond = np.flatnonzero(tally.pixels[count:]) + count
    if len(beyond):
        yield Finding(
            state="bad",
            text=f"{name}: label values {listed(map(str, beyond.tolist()))}, but {words.name} has "
            f"{count} classes from 0",
            remedy="name the vocabulary the labels were made with",
        )
    never = [words.names[i] for i in np.flatnonzero(tally.pixels[:count] == 0)]
    if never:
        yield Finding(
            state="odd",
            text=f"{name}: never seen: {listed(never, 5)}",
            remedy="a network learns nothing about them; check the values if that is not meant",
        )
    if tally.empty:
        yield Finding(
            state="bad" if tally.empty > tally.maps / 2 else "odd",
            text=f"{name}: {tally.empty} of {tally.maps} label maps are background alone",
            remedy="remove them, or mend their labels",
        )
    yield from _about_mirrors(name, tally.mirror.result(), "classes")


def _about_values(name: str, tally: _ValueTally) -> Iterator[Finding]:
    kinds = " and ".join(sorted(kind or "no stated kind" for kind in tally.kinds))
    share = float(np.mean(tally.shares))
    text = f"{name}: {tally.maps} {tally.law} maps"
    if tally.law == "scalar":
        text += f", {kinds}, from {tally.low:.4g} to {tally.high:.4g}"
    if tally.facing:
        text += f", {_facing(tally):.0%} of vectors face the viewer"
    yield Finding(state="note", text=f"{text}; {share:.0%} of pixels known")
    if len(tally.kinds) > 1:
        yield Finding(
            state="bad",
            text=f"{name}: maps of several kinds: {kinds}",
            remedy="pack each kind by itself; they cannot be learned together",
        )
    nothing = sum(one == 0 for one in tally.shares)
    if nothing:
        yield Finding(
            state="bad",
            text=f"{name}: {nothing} of {tally.maps} maps have no valid pixel",
            remedy="remove these samples, or mend their masks",
        )
    if tally.flat:
        yield Finding(
            state="odd",
            text=f"{name}: {tally.flat} of {tally.maps} maps have one and the same value all over",
            remedy="check how they were written",
        )
    # Slivers of people at the edge of a wide view may honestly turn away from its axis.
    away = sum(share < 0.5 and count >= _MANY for share, count in tally.facing)
    if tally.facing and (away or _facing(tally) < 0.95):
        yield Finding(
            state="bad",
            text=f"{name}: {_facing(tally):.0%} of all normals face the viewer, and in {away} of "
            f"{tally.maps} maps fewer than half do; visible surfaces do",
            remedy="their axes are not what was stated: pack them again with the right convention",
        )


def _facing(tally: _ValueTally) -> float:
    """Return the share of all vectors that face the viewer."""
    shares, counts = np.array(tally.facing).T
    return float((shares * counts).sum() / counts.sum())

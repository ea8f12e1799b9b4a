# SPDX-License-Identifier: Apache-2.0
"""A photograph without its pixels: what result files hold, and what the readers return."""

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.geometry import Size
from vitruvian.person import ABSENT, OCCLUDED, VISIBLE, Person, Points, Sample
from vitruvian.vocabulary import Vocabulary, available, load, make

CONVENTION = "pixel (0, 0) is the centre of the first pixel; x to the right, y down"
"""Written into every file that holds picture coordinates."""

_BY_COUNT = {17: "coco17", 133: "wholebody133", 308: "sapiens308"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """The people of one photograph.

    Attributes:
        name: file name, or path relative to the folder of photographs, with "/".
        size: (height, width) in pixels, or ``None`` where a file does not say.
        people: everyone, in the order of the file.
        id: the number a COCO file gave the photograph, or ``None``.
    """

    name: str
    size: Size | None = None
    people: tuple[Person, ...] = ()
    id: int | None = None

    @classmethod
    def of(cls, sample: Sample, *, id: int | None = None) -> "Record":
        """Keep everything of a sample but its pixels."""
        return cls(name=sample.name, size=sample.size, people=sample.people, id=id)


@contextlib.contextmanager
def layout(path: str | Path, what: str) -> Generator[None, None, None]:
    """Turn the stumbling of a reader over an unexpected file into an error that names both."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: not laid out as {what}: {error!r}") from error


def vocabulary_of_count(count: int) -> Vocabulary:
    """Return the vocabulary that files without names mean by ``count`` points.

    Raises:
        InputError: if none, or several, have that many.
    """
    if count in _BY_COUNT:
        return load(_BY_COUNT[count])
    names = [n for n in available() if load(n).kind == "points" and len(load(n)) == count]
    if len(names) == 1:
        return load(names[0])
    known = f"it may be {' or '.join(names)}" if names else "no shipped vocabulary has that many"
    raise InputError(f"{count} points without names: {known}; give vocabulary=")


def describe_vocabulary(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what rebuilds the vocabulary of a result file; names are kept beside it."""
    return {
        "vocabulary": vocabulary.name,
        "vocabulary_version": vocabulary.version,
        "mirror": vocabulary.mirror.tolist(),
        "sides": list(vocabulary.sides),
    }


def rebuild_vocabulary(
    described: Mapping[str, Any],
    names: list[str],
    links: list[tuple[int, int]],
    colours: list[Any] | None = None,
    kind: Any = "points",
) -> Vocabulary:
    """Return the shipped vocabulary a file names if its list is the same, else one like the file's.

    Args:
        described: from `describe_vocabulary`.
        names: the names, in order.
        links: pairs of indices from 0.
        colours: RGB of each name.
        kind: "points" or "parts".
    """
    name = str(described["vocabulary"])
    if name in available() and load(name).names == tuple(names):
        return load(name)
    mirror = [int(partner) for partner in described["mirror"]]
    return make(
        name,
        names,
        kind=kind,
        version=str(described.get("vocabulary_version", "1")),
        sides=described["sides"],
        mirror_pairs=[(names[i], names[j]) for i, j in enumerate(mirror) if i < j],
        links=[(names[a], names[b]) for a, b in links],
        colours=None if colours is None else [tuple(colour) for colour in colours],
    )


def make_points(
    vocabulary: Vocabulary,
    xy: NDArray[Any],
    scores: NDArray[Any],
    visibility: NDArray[Any] | None = None,
    xyz: NDArray[Any] | None = None,
) -> Points:
    """Build points from a file's rows, saying so when their number does not fit.

    Raises:
        InputError: if there are more or fewer rows than names, or a visibility that is not 0, 1
            or 2.
    """
    if len(xy) != len(vocabulary) or len(scores) != len(vocabulary):
        raise InputError(
            f"{len(xy)} points with {len(scores)} scores for the vocabulary {vocabulary.name!r} "
            f"of {len(vocabulary)}: give vocabulary= the one the file was made with"
        )
    if visibility is not None:
        odd = visibility[~np.isin(visibility, (ABSENT, OCCLUDED, VISIBLE))]
        if len(odd):
            raise InputError(
                f"a point of the visibility {odd[0]} · wanted 0 (not there), 1 (occluded) or 2 "
                "(visible) · a file with scores in that place needs 2 there instead and the scores "
                "in a list of their own (COCO: 'keypoint_scores')"
            )
    return Points(
        vocabulary=vocabulary,
        xy=xy.astype(np.float32),
        scores=scores.astype(np.float32),
        visibility=None if visibility is None else visibility.astype(np.uint8),
        xyz=None if xyz is None else xyz.astype(np.float32),
    )


def box_around(points: Points | None) -> NDArray[np.float64]:
    """Return the box of the placed points, or an empty box at the origin."""
    box = None if points is None else points.box()
    return np.zeros(4) if box is None else box

# SPDX-License-Identifier: Apache-2.0
"""Names of keypoints and body parts: mirror partners, groups, links, colours and sigmas.

A ``Vocabulary`` says what row 41 of a keypoint array or value 5 of a label map means. The ones that
ship are data files in ``vitruvian/vocabularies``; ``load`` reads one by name, or a file of your own
in the same format, and ``make`` and ``from_coco_category`` build one without any file.
"""

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError, unknown_name
from vitruvian.sides import Side, derive_mirror, read_side
from vitruvian.vocabularies import DEFAULT_SIGMA, FOLDER, Colour, Half, read_toml, read_vocabulary

_SIDE_COLOURS: Mapping[Side, Colour] = {
    "left": (0, 255, 0),
    "right": (255, 128, 0),
    "centre": (51, 153, 255),
}
_PAIRED = (("left", "right"), ("right", "left"))
_CENTRAL = (("centre", "centre"),)
_MAPPINGS = ("groups", "corrected", "means", "fallbacks", "label_maps")


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """A line between points ``a`` and ``b`` (indices), drawn in RGB ``colour``."""

    a: int
    b: int
    colour: Colour


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Vocabulary:
    """What each row of a keypoint array, or each value of a label map, means.

    Attributes:
        name: Short name, as given to ``load``.
        kind: ``"points"`` or ``"parts"``.
        version: Version of this list; written into result files.
        names: The K names, in the order of the rows (values).
        mirror: (K,) index of the partner under a left-right mirror, itself when central.
        sides: The subject's own side of each name.
        groups: Group name to indices, in evaluation order; the groups partition the names.
        colours: (K, 3) uint8 RGB.
        links: Lines to draw between points; empty for parts.
        sigmas: (K,) OKS sigmas as COCO defines them (OKS = exp(-d² / (2 A (2 sigma)²))); points.
        halves: Which half of the body a point counts for in half-body augmentation, or None.
        loss_weights: (K,) published cross-entropy class weights, or None.
        background: Label value of "nobody" (parts).
        ignore: Label value of "not known" (parts).
        about: What this list is and where it comes from.
        corrected: Names as they should read, where a published name is known to be wrong.
        means: Points that this vocabulary defines as the mean of others of it, by name.
        fallbacks: Points that may stand in (as a mean) when a source has no point of that name.
        label_maps: Other label sets that convert to this one: for each of their values, in order,
            its name and the name of our class, or ``"ignore"``.
    """

    name: str
    kind: Literal["points", "parts"]
    version: str = "1"
    names: tuple[str, ...]
    mirror: NDArray[np.intp]
    sides: tuple[Side, ...]
    groups: Mapping[str, tuple[int, ...]]
    colours: NDArray[np.uint8]
    links: tuple[Link, ...] = ()
    sigmas: NDArray[np.float64] | None = None
    halves: tuple[Half | None, ...] = ()
    loss_weights: NDArray[np.float64] | None = None
    background: int | None = 0
    ignore: int | None = 255
    about: str = ""
    corrected: Mapping[str, str] = field(default_factory=dict[str, str])
    means: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    label_maps: Mapping[str, tuple[tuple[str, str], ...]] = field(
        default_factory=dict[str, tuple[tuple[str, str], ...]]
    )

    def __post_init__(self) -> None:
        count = len(self.names)
        if count == 0:
            raise self._wrong("no names", "one or more")
        for key, dtype, shape in (
            ("mirror", np.intp, (count,)),
            ("colours", np.uint8, (count, 3)),
            ("sigmas", np.float64, (count,)),
            ("loss_weights", np.float64, (count,)),
        ):
            value = getattr(self, key)
            if value is not None:
                array = np.array(value, dtype=dtype)
                if array.shape != shape:
                    raise self._wrong(f"{key} has the shape {array.shape}", f"{shape}")
                array.setflags(write=False)
                object.__setattr__(self, key, array)
        for key in _MAPPINGS:
            object.__setattr__(self, key, MappingProxyType(dict(getattr(self, key))))
        if not self.halves:
            object.__setattr__(self, "halves", (None,) * count)
        self._validate()

    def _wrong(self, given: str, wanted: str) -> InputError:
        return InputError(f"vocabulary {self.name!r}: {given}; wanted {wanted}")

    def _validate(self) -> None:
        names, mirror, count = self.names, self.mirror, len(self.names)
        if len(set(names)) != count:
            twice = sorted({n for n in names if names.count(n) > 1})
            raise self._wrong(f"{', '.join(twice)} given more than once", "unique names")
        if len(self.sides) != count or len(self.halves) != count:
            raise self._wrong(f"{len(self.sides)} sides, {len(self.halves)} halves", f"{count}")
        if mirror.min() < 0 or mirror.max() >= count or (mirror[mirror] != np.arange(count)).any():
            raise self._wrong("mirror partners do not point at each other", "an involution")
        partners: list[int] = mirror.tolist()
        for i, j in enumerate(partners):
            pair = self.sides[i], self.sides[j]
            if pair not in (_PAIRED if i != j else _CENTRAL):
                raise self._wrong(
                    f"{names[i]} ({self.sides[i]}) mirrors to {names[j]} ({self.sides[j]})",
                    "partners on opposite sides, and a central point as its own partner",
                )
        for half in set(self.halves) - {None, "upper", "lower"}:
            raise self._wrong(f"the half {half!r}", "upper, lower or none")
        if sorted(i for g in self.groups.values() for i in g) != list(range(count)):
            raise self._wrong("groups overlap or leave names out", "each name in one group")
        for link in self.links:
            if not (0 <= link.a < count and 0 <= link.b < count and link.a != link.b):
                raise self._wrong(f"a link from {link.a} to {link.b}", "two of the points")
        if self.sigmas is not None and (self.sigmas <= 0).any():
            raise self._wrong("a sigma that is not positive", "sigmas above 0")
        for others in (*self.means.values(), *self.fallbacks.values()):
            for other in others:
                self.index(other)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Vocabulary({self.name!r}, version {self.version}, {len(self)} {self.kind})"

    def __hash__(self) -> int:
        return hash((self.name, self.version))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Vocabulary):
            return NotImplemented
        return self._identity == other._identity

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return _rebuild, (values | {key: dict(values[key]) for key in _MAPPINGS},)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Vocabulary":
        return self

    @cached_property
    def _identity(self) -> tuple[Any, ...]:
        values = (self.name, self.version, self.kind, self.names, self.mirror.tolist())
        return (*values, self.background, self.ignore, *(dict(getattr(self, k)) for k in _MAPPINGS))

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def __contains__(self, name: object) -> bool:
        return name in self._indices

    def index(self, name: str) -> int:
        """Return the row (value) of ``name``.

        Raises:
            UnknownNameError: There is no such name; the text lists close ones.
        """
        try:
            return self._indices[name]
        except KeyError:
            what = "point" if self.kind == "points" else "class"
            raise unknown_name(f"{what} of {self.name}", name, self.names) from None

    @property
    def corrected_names(self) -> tuple[str, ...]:
        """The names with known mistakes of the published list put right (order unchanged)."""
        return tuple(self.corrected.get(name, name) for name in self.names)


def _rebuild(values: dict[str, Any]) -> Vocabulary:
    return Vocabulary(**values)


def available() -> tuple[str, ...]:
    """Return the names of the vocabularies that ship with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name: str | Path) -> Vocabulary:
    """Return a shipped vocabulary by name, or read a TOML file of your own.

    The same object is returned each time, as long as the file does not change.

    Raises:
        UnknownNameError: No vocabulary of that name ships, and it is not a ``.toml`` file.
        InputError: The file is missing, or what it says is not a vocabulary.
    """
    if isinstance(name, str) and not name.endswith(".toml"):
        if name not in available():
            raise unknown_name("vocabulary (or path of a .toml file)", name, available())
        path = FOLDER / f"{name}.toml"
    else:
        path = Path(name).resolve()
        if not path.is_file():
            raise InputError(
                f"no vocabulary file {path}: give a .toml file or one of {available()}"
            )
    return _load(path, path.stat().st_mtime_ns)


@cache
def _load(path: Path, _changed: int) -> Vocabulary:
    table = read_toml(path)
    try:
        return make(**read_vocabulary(table, path.stem))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: {error}") from error


def make(
    name: str,
    names: Iterable[str],
    *,
    kind: Literal["points", "parts"] = "points",
    version: str = "1",
    mirror_pairs: Iterable[tuple[str, str]] | None = None,
    sides: Sequence[Side] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    colours: Sequence[Colour | None] | None = None,
    links: Iterable[tuple[str, str] | tuple[str, str, Colour | None]] = (),
    sigmas: Sequence[float] | None = None,
    halves: Sequence[Half | None] = (),
    loss_weights: Sequence[float] | None = None,
    background: int | None = 0,
    ignore: int | None = 255,
    **notes: Any,
) -> Vocabulary:
    """Build a vocabulary of your own points or classes, without any file.

    Args:
        name: What to call it.
        names: The K names, in the order of the rows (label values).
        kind: ``"points"`` or ``"parts"``.
        version: Version written into result files.
        mirror_pairs: Names that swap under a left-right mirror. None derives them from the words
            left and right (``left_eye``, ``Left-arm``, ``eye.R``, ``LShoulder``), and refuses when
            that leaves a doubt; an empty list states that nothing swaps.
        sides: The subject's side of each name; None takes it from the names.
        groups: The names of each group, in evaluation order; None is one group.
        colours: RGB of each name; None chooses.
        links: Pairs of names to join, with an optional colour.
        sigmas: OKS sigma of each point; None is ``DEFAULT_SIGMA`` for all.
        halves: Half-body tag of each point.
        loss_weights: Class weights (parts).
        background: Label value of "nobody" (parts); None for none.
        ignore: Label value of "not known" (parts); None for none.
        **notes: ``about``, ``corrected``, ``means``, ``fallbacks``, ``label_maps``: see
            ``Vocabulary``.

    Raises:
        InputError: The lists disagree, or left and right cannot be told from the names.
        UnknownNameError: A pair or link speaks of a name that is not in the list.
    """
    known = tuple(names)
    indices = {n: i for i, n in enumerate(known)}

    def find(one: str) -> int:
        if one not in indices:
            raise unknown_name(f"name in {name}", one, known)
        return indices[one]

    if mirror_pairs is None:
        mirror = derive_mirror(name, known)
    else:
        mirror = list(range(len(known)))
        for a, b in mirror_pairs:
            i, j = find(a), find(b)
            mirror[i], mirror[j] = j, i
    if sides is None:
        sides = ["centre" if mirror[i] == i else read_side(n) for i, n in enumerate(known)]
    groups = {"all": known} if groups is None else groups
    given = colours or [None] * len(known)
    chosen = [c or _default_colour(kind, i, sides[i]) for i, c in enumerate(given)]
    joined: list[Link] = []
    for link in links:
        a, b = find(link[0]), find(link[1])
        colour = link[2] if len(link) == 3 else None
        joined.append(Link(a=a, b=b, colour=colour or chosen[a]))
    return Vocabulary(
        name=name,
        kind=kind,
        version=version,
        names=known,
        mirror=np.array(mirror, dtype=np.intp),
        sides=tuple(sides),
        groups={k: tuple(map(find, v)) for k, v in groups.items()},
        colours=np.array(chosen, dtype=np.uint8).reshape(-1, 3),
        links=tuple(joined),
        sigmas=None if kind == "parts" else np.array(sigmas or [DEFAULT_SIGMA] * len(known)),
        halves=tuple(halves),
        loss_weights=None if loss_weights is None else np.array(loss_weights),
        background=background if kind == "parts" else None,
        ignore=ignore if kind == "parts" else None,
        **notes,
    )


def _default_colour(kind: str, index: int, side: Side) -> Colour:
    if kind == "points":
        return _SIDE_COLOURS[side]
    if index == 0:
        return (0, 0, 0)
    # Steps of the golden angle keep neighbouring classes far apart in hue.
    r, g, b = colorsys.hsv_to_rgb(index * 0.61803 % 1, 0.55 + 0.45 * (index % 2), 0.95)
    return round(255 * r), round(255 * g), round(255 * b)


def from_coco_category(category: Mapping[str, Any]) -> Vocabulary:
    """Build a vocabulary from an entry of ``categories`` in a COCO keypoints file.

    The ``keypoints`` are the names and ``skeleton`` the links, counted from 1. A list that equals a
    shipped vocabulary's is that vocabulary; otherwise mirror partners are read from the names.

    Raises:
        InputError: No keypoints, a link to a point that does not exist, or sides in doubt.
    """
    name = str(category.get("name", "category"))
    names = tuple(str(n) for n in category.get("keypoints", ()))
    if not names:
        raise InputError(
            f"the COCO category {name!r} has no 'keypoints': give one that lists names"
        )
    for known in available():
        shipped = load(known)
        if shipped.kind == "points" and shipped.names == names:
            return shipped
    links: list[tuple[str, str]] = []
    skeleton: Iterable[tuple[int, int]] = category.get("skeleton", ())
    for a, b in skeleton:
        if not (1 <= a <= len(names) and 1 <= b <= len(names)):
            raise InputError(
                f"the COCO category {name!r} links {a} to {b}; wanted 1 to {len(names)}"
            )
        links.append((names[a - 1], names[b - 1]))
    return make(name, names, links=links)

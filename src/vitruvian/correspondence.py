# SPDX-License-Identifier: Apache-2.0
"""One vocabulary in the words of another: keypoints and label maps, converted by name.

A point of the target is taken from the point of equal name, or from a documented pair of names
(the files in ``vocabularies/correspondences`` say how sure each pair is), or, where the target
defines it so, from the middle of others. What has no counterpart keeps its row: NaN with score 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError, unknown_name
from vitruvian.vocabularies import FOLDER, IGNORE, read_rows, read_toml
from vitruvian.vocabulary import Vocabulary, available, load

Confidence = Literal["exact", "high", "medium", "low", "none"]
"""How sure it is that two points are the same place of the body."""

_RANK: tuple[Confidence, ...] = ("none", "low", "medium", "high", "exact")


@dataclass(frozen=True, kw_only=True, eq=False)
class Correspondence:
    """Where each row of ``target`` comes from in ``source``.

    Attributes:
        source: Vocabulary converted from.
        target: Vocabulary converted to, of K rows.
        parts: For each target row the source rows whose mean it is: one as a rule, two for the
            middle of a pair, none where nothing corresponds.
        confidence: For each target row how sure the correspondence is, ``"none"`` where empty.
        basis: For each target row on what it rests, in words.
    """

    source: Vocabulary
    target: Vocabulary
    parts: tuple[tuple[int, ...], ...]
    confidence: tuple[Confidence, ...]
    basis: tuple[str, ...]

    @property
    def mapped(self) -> NDArray[np.intp]:
        """Target rows that something corresponds to."""
        return np.array([i for i, rows in enumerate(self.parts) if rows], dtype=np.intp)

    @property
    def unmapped(self) -> tuple[str, ...]:
        """Names of the target rows that nothing corresponds to."""
        return tuple(self.target.names[i] for i, rows in enumerate(self.parts) if not rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Table:
    between: tuple[str, ...]
    pairs: Mapping[str, tuple[tuple[str, Confidence, str], ...]]  # by name, both ways
    homonyms: Mapping[str, tuple[Confidence, str]]


_Candidate = tuple[tuple[int, ...], Confidence, str]
_NOTHING: _Candidate = ((), "none", "no counterpart")


def tables() -> tuple[str, ...]:
    """Return the documented tables of corresponding names, e.g. ``published53``."""
    return tuple(sorted(path.stem for path in (FOLDER / "correspondences").glob("*.toml")))


@cache
def _table(name: str) -> _Table:
    content = read_toml(FOLDER / "correspondences" / f"{name}.toml")
    basis: dict[str, str] = content["basis"]
    columns = ("first", "second", "confidence", "basis", "alternatives")
    pairs: dict[str, tuple[tuple[str, Confidence, str], ...]] = {}
    for row in read_rows(content["pairs"], columns, required=4):
        how = cast(Confidence, row["confidence"]), basis[row["basis"]]
        for a, b in {(row["first"], row["second"]), (row["second"], row["first"])}:
            pairs[a] = (*pairs.get(a, ()), (b, *how))
    homonyms: dict[str, tuple[Confidence, str]] = {
        row["name"]: (cast(Confidence, row["confidence"]), basis[row["basis"]])
        for row in read_rows(
            content.get("homonyms", ""), ("name", "confidence", "basis"), required=3
        )
    }
    return _Table(between=tuple(content.get("between", ())), pairs=pairs, homonyms=homonyms)


def correspond(
    source: Vocabulary | str, target: Vocabulary | str, *, table: str = "best"
) -> Correspondence:
    """Find where each point of ``target`` comes from in ``source``.

    Args:
        source: Vocabulary of the points you have, or its name.
        target: Vocabulary you want, or its name.
        table: ``"best"`` uses every documented pair of names, the surest first. ``"names"`` uses
            equal names only. Between sapiens308 and wholebody133, ``"published53"`` is what the
            published code maps, and ``"reconstructed114"`` our reconstruction of the paper's 114
            shared points (the best there is; the 53 are among them).

    Raises:
        InputError: One of the two names parts, not one point corresponds, or the table is between
            two other vocabularies.
        UnknownNameError: No such vocabulary or table.
    """
    source, target = _loaded(source), _loaded(target)
    for vocabulary in (source, target):
        if vocabulary.kind != "points":
            raise InputError(
                f"{vocabulary.name} names parts; keypoints convert between vocabularies of points "
                "(label maps convert with convert_labels)"
            )
    if table in ("best", "names"):
        chosen = [_table(name) for name in tables()] if table == "best" else []
    elif table in tables():
        chosen = [_table(table)]
        between = chosen[0].between
        if between and {source.name, target.name} != set(between):
            raise InputError(
                f"the table {table} is between {' and '.join(between)}; for {source.name} to "
                f"{target.name} use 'best' or 'names'"
            )
    else:
        raise unknown_name("table", table, ("best", "names", *tables()))
    homonyms = _table("synonyms").homonyms
    rows = [
        _find(name, source, target, chosen, homonyms, strict=table not in ("best", "names"))
        for name in target.names
    ]
    if not any(found for found, _, _ in rows):
        raise InputError(
            f"no point of {source.name} corresponds to one of {target.name}: they share no name, "
            "and no table pairs any"
        )
    parts, confidence, basis = zip(*rows, strict=True)
    return Correspondence(
        source=source, target=target, parts=parts, confidence=confidence, basis=basis
    )


def _loaded(vocabulary: Vocabulary | str) -> Vocabulary:
    return vocabulary if isinstance(vocabulary, Vocabulary) else load(vocabulary)


def _find(
    name: str,
    source: Vocabulary,
    target: Vocabulary,
    chosen: list[_Table],
    homonyms: Mapping[str, tuple[Confidence, str]],
    *,
    strict: bool,
) -> _Candidate:
    """Return the surest rows of ``source`` for the point ``name`` of ``target``."""
    same = source == target
    if name in target.means and not same:
        return _middle(target.means[name], source, "high", "by definition the middle of")
    found = [_NOTHING]
    if name in source and not strict:
        how = ("exact", "same name") if same else homonyms.get(name, ("exact", "same name"))
        found.append(((source.index(name),), *cast(tuple[Confidence, str], how)))
    for table in chosen:
        for other, confidence, basis in table.pairs.get(name, ()):
            if other in source:
                found.append(((source.index(other),), confidence, basis))
    if chosen and not strict:
        stand_in = target.fallbacks.get(name, ())
        found.append(_middle(stand_in, source, "medium", "in its place, the middle of"))
    return max(found, key=lambda candidate: _RANK.index(candidate[1]))


def _middle(
    names: tuple[str, ...], source: Vocabulary, confidence: Confidence, words: str
) -> _Candidate:
    if not names or any(name not in source for name in names):
        return _NOTHING
    words = words if len(names) > 1 else words.replace("the middle of", "").rstrip(" ,")
    return tuple(source.index(n) for n in names), confidence, f"{words} {' and '.join(names)}"


def convert_points(
    xy: NDArray[Any], scores: NDArray[Any], correspondence: Correspondence
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return points in the rows of the target vocabulary.

    Args:
        xy: (…, K, D) coordinates in the source's rows, any unit; D is 2 or 3.
        scores: (…, K) scores.
        correspondence: From ``correspond``.

    Returns:
        (…, K', D) coordinates and (…, K') scores. A row nothing corresponds to is NaN with score
        0. A row that is the mean of several has the lowest of their scores, and is NaN when one of
        those is 0. Integers become float64.

    Raises:
        InputError: The arrays have not the rows of the source vocabulary.
    """
    count = len(correspondence.source)
    if xy.ndim < 2 or xy.shape[-2] != count or scores.shape != xy.shape[:-1]:
        raise InputError(
            f"points {xy.shape} with scores {scores.shape}; {correspondence.source.name} wants "
            f"(…, {count}, 2) and (…, {count})"
        )
    xy = xy if np.issubdtype(xy.dtype, np.floating) else xy.astype(np.float64)
    # Row K stands for "nothing": one gather then moves every row but the means.
    rows = [found[0] if found else count for found in correspondence.parts]
    nowhere = np.full((*xy.shape[:-2], 1, xy.shape[-1]), np.nan, xy.dtype)
    new_xy = np.concatenate([xy, nowhere], axis=-2)[..., rows, :]
    unsure = np.zeros((*scores.shape[:-1], 1), scores.dtype)
    new_scores = np.concatenate([scores, unsure], axis=-1)[..., rows]
    for i, found in enumerate(correspondence.parts):
        if len(found) > 1:
            new_scores[..., i] = scores[..., list(found)].min(axis=-1)
            mean = xy[..., list(found), :].mean(axis=-2)
            new_xy[..., i, :] = np.where(new_scores[..., i, None] > 0, mean, np.nan)
    return new_xy, new_scores


def convert_labels(
    labels: NDArray[np.uint8], source: Vocabulary | str, target: Vocabulary | str
) -> NDArray[np.uint8]:
    """Return a label map in the classes of another vocabulary.

    Args:
        labels: Label values of any shape, uint8.
        source: What the values mean now: a vocabulary, its name, or one of the label sets that the
            target documents (``studio34``, ``detailed52``, ``internal33``).
        target: Vocabulary of parts wanted, or its name. Classes without a counterpart become its
            ``ignore`` value (``Eyeglass`` of parts29 in parts28, as when those 28 were trained).

    Raises:
        InputError: No map between the two is documented, or a value is no class of the source.
        UnknownNameError: No such vocabulary or label set.
    """
    target = _loaded(target)
    table, valid = _label_table(source, target)
    if not valid.all():
        wrong = np.unique(labels)
        wrong = wrong[~valid[wrong]]
        if len(wrong):
            given = ", ".join(str(value) for value in wrong[:8].tolist())
            name = source if isinstance(source, str) else source.name
            raise InputError(
                f"label values {given} are no class of {name} ({int(valid.sum())} values are); "
                "give the vocabulary the labels were made with"
            )
    return table[labels]


@cache
def _label_table(
    source: Vocabulary | str, target: Vocabulary
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return what each of the 256 values becomes, and which of them may occur."""
    own = source if isinstance(source, Vocabulary) else None
    if isinstance(source, str) and source in available():
        own = load(source)
    name = own.name if own else str(source)
    if target.kind != "parts" or (own and own.kind != "parts"):
        raise InputError(
            f"{name} to {target.name}: label maps convert between vocabularies of parts"
        )
    if own is not None and own == target:
        pairs = [(n, n) for n in target.names]
    elif own is not None and name not in target.label_maps and set(own.names) <= set(target.names):
        pairs = [(n, n) for n in own.names]
    else:
        pairs = _documented(name, target)
    ignore = target.ignore
    if ignore is None and any(to == IGNORE for _, to in pairs):
        raise InputError(
            f"{name} to {target.name}: classes without counterpart need an ignore value"
        )
    table = np.full(256, 0 if ignore is None else ignore, np.uint8)
    valid = np.zeros(256, np.bool_)
    for value, (_, to) in enumerate(pairs):
        valid[value] = True
        if to != IGNORE:
            table[value] = target.index(to)
    kept = 255 if own is None else own.ignore
    if kept is not None and ignore is not None:
        table[kept], valid[kept] = ignore, True
    table.setflags(write=False)
    return table, valid


def _documented(name: str, target: Vocabulary) -> list[tuple[str, str]]:
    """Return (label, class) of ``target`` for each label of the set ``name``."""
    if name in target.label_maps:
        return list(target.label_maps[name])
    parts = [v for v in (load(n) for n in available()) if v.kind == "parts"]
    routes: list[list[tuple[str, str]]] = []
    for between in parts:
        if between.name in target.label_maps and name in between.label_maps:
            onward = {**dict(target.label_maps[between.name]), IGNORE: IGNORE}
            routes.append([(label, onward[to]) for label, to in between.label_maps[name]])
    if routes:
        return min(routes, key=lambda route: sum(to == IGNORE for _, to in route))
    sets = {s for v in (*parts, target) for s in v.label_maps} | {v.name for v in parts}
    if name not in sets:
        raise unknown_name("label set", name, sets)
    documented = ", ".join(target.label_maps) or "no other set"
    raise InputError(
        f"no map from {name} to {target.name} is documented (into {target.name}: {documented}); "
        "write one as [label_maps] in a .toml file of your own"
    )

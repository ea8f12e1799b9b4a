# SPDX-License-Identifier: Apache-2.0
"""A ``Sample`` as files, each by the law of what it holds; any tool can open them.

A sample is stored as members that share a key, as in webdataset tars::

    KEY.json                 name, people, points, camera, vocabularies, what the other members are
    KEY.jpg (.png, .webp)    the picture; the bytes it was found as, where there were any
    KEY.depth.png            a map of the whole picture
    KEY.0.parts.png          a map of the first person

Coordinates are picture pixels, pixel (0, 0) being the centre of the first; boxes are x0, y0, x1,
y1; a missing place is null. Points, boxes and cameras come back exactly; maps as
`vitruvian.data.rasters` says. Of a vocabulary that ships with the package the name, version and a
digest are stored, of any other all of it.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.camera import Camera
from vitruvian.data.rasters import decode_raster, encode_raster
from vitruvian.errors import InputError
from vitruvian.person import Annotation, Person, Points, Raster, Sample
from vitruvian.vocabularies.description import describe, rebuild
from vitruvian.vocabulary import Vocabulary

FORMAT = "vitruvian sample 1"
PICTURES = ("jpg", "png", "webp")
"""Suffixes a picture may have, in the order they are looked for."""
_FOREIGN = {"jpg": ("jpg", "jpeg"), "png": ("png",), "webp": ("webp",)}
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_FORMATS = {"jpeg": "jpg", "png": "png", "webp": "webp"}


# ------------------------------------------------------------------------------------ writing


def encode(
    sample: Sample, *, picture: bytes | None = None, quality: int | None = None
) -> dict[str, bytes]:
    """Return the members of a sample: suffix (``json``, ``jpg``, ``0.parts.png``, …) → bytes.

    Equal samples give equal bytes.

    Args:
        sample: what to store.
        picture: the file its pixels were read from; kept as it is if JPEG, PNG or WebP.
        quality: without such a file: JPEG of this quality (1 … 100, colours at full resolution);
            ``None`` stores the pixels exactly, as PNG.

    Raises:
        InputError: if the picture has another size than the sample, an annotation's name is no
            plain word, or a value has no place in a file (infinite coordinates).
    """
    suffix, data = _picture(sample, picture, quality)
    members: dict[str, bytes] = {"json": b"", suffix: data}
    words: dict[str, Any] = {}
    rasters = {
        name: _annotation(name, f"{name}", raster, members, words)
        for name, raster in sample.rasters.items()
    }
    people: list[dict[str, Any]] = []
    for number, person in enumerate(sample.people):
        found = {
            name: _annotation(name, f"{number}.{name}", annotation, members, words)
            for name, annotation in person.annotations.items()
        }
        entry: dict[str, Any] = {"box": person.box.tolist(), "score": float(person.score)}
        if person.identity is not None:
            entry["identity"] = int(person.identity)
        people.append(entry | {"annotations": found})
    content: dict[str, Any] = {
        "format": FORMAT,
        "name": sample.name,
        "size": list(sample.size),
        "picture": suffix,
        "people": people,
    }
    if rasters:
        content["rasters"] = rasters
    if sample.camera is not None:
        content["camera"] = sample.camera.to_dict()
    if words:
        content["vocabularies"] = words
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    members["json"] = text.encode()
    return members


def _picture(sample: Sample, picture: bytes | None, quality: int | None) -> tuple[str, bytes]:
    if picture is not None:
        header = image.probe(picture)
        if (header.height, header.width) != sample.size:
            raise InputError(
                f"{sample.name or 'sample'}: the picture file is {header.height}×{header.width}, "
                f"the sample {sample.size[0]}×{sample.size[1]}: give the file it was read from"
            )
        if header.format in _FORMATS and not header.animated:
            return _FORMATS[header.format], bytes(picture)
    if quality is None:
        return "png", image.encode(sample.image, ".png")
    return "jpg", image.encode(sample.image, ".jpg", quality=quality)


def _annotation(
    name: str,
    stem: str,
    annotation: Annotation,
    members: dict[str, bytes],
    words: dict[str, Any],
) -> dict[str, Any]:
    if not _NAME.fullmatch(name) or name.isdecimal() or name == "json":
        raise InputError(
            f"an annotation called {name!r} cannot be stored: its name becomes part of a file's, "
            "use letters, digits, - and _ (not digits alone, not 'json')"
        )
    entry: dict[str, Any]
    if isinstance(annotation, Points):
        entry = _points(annotation)
    else:
        entry, files = encode_raster(annotation)
        entry["file"] = stem
        members |= {f"{stem}.{suffix}": data for suffix, data in files.items()}
    if annotation.vocabulary is not None:
        entry["vocabulary"] = annotation.vocabulary.name
        described = describe(annotation.vocabulary)
        if words.setdefault(annotation.vocabulary.name, described) != described:
            raise InputError(
                f"two different vocabularies are called {annotation.vocabulary.name!r} in one "
                "sample: rename one"
            )
    return entry


def _points(points: Points) -> dict[str, Any]:
    entry: dict[str, Any] = {"law": "points", "xy": _numbers(points.xy)}
    entry["scores"] = _numbers(points.scores)
    if points.visibility is not None:
        entry["visibility"] = points.visibility.tolist()
    if points.xyz is not None:
        entry["xyz"] = _numbers(points.xyz)
    return entry


def _numbers(values: NDArray[np.float32]) -> list[Any]:
    """Return nested lists of the shortest decimals that give the same float32; NaN is None."""
    if np.isinf(values).any():
        raise InputError("points at infinity cannot be stored: make them NaN, no place at all")
    # numpy's text of a float32 is the shortest that reads back equal
    text = values.ravel().astype("U24").tolist()
    flat = [None if word == "nan" else float(word) for word in text]
    if values.ndim == 1:
        return flat
    columns = values.shape[1]
    return [flat[start : start + columns] for start in range(0, len(flat), columns)]


# ------------------------------------------------------------------------------------ reading


def decode(
    members: Mapping[str, bytes],
    *,
    only: Collection[str] | None = None,
    person: int | None = None,
    name: str = "",
) -> Sample:
    """Return the sample that ``encode`` stored; of foreign members (no JSON of ours) the picture.

    Args:
        members: suffix → bytes.
        only: annotations wanted, by name; the others are not decoded. ``None`` is all.
        person: number of the only one wanted; ``None`` is everybody.
        name: what to call a sample whose members do not say.

    Raises:
        InputError: if a member is missing, damaged, or of a newer format.
        IndexError: if there are fewer people than ``person``.
    """
    content = read_json_member(members)
    if content is None:
        if person is not None:
            raise IndexError(f"person {person} of a sample without people")
        return Sample(image=image.read(picture_of(members)[1]), name=name)
    data = members.get(content["picture"])
    if data is None:
        raise InputError(f"its picture .{content['picture']} is missing")
    words = {key: rebuild(value) for key, value in content.get("vocabularies", {}).items()}
    people = [
        Person(
            box=entry["box"],
            score=entry["score"],
            identity=entry.get("identity"),
            annotations=_annotations(entry["annotations"], members, words, only),
        )
        for entry in (content["people"] if person is None else [content["people"][person]])
    ]
    rasters = _annotations(content.get("rasters", {}), members, words, only)
    camera = content.get("camera")
    return Sample(
        image=image.read(data),
        people=tuple(people),
        camera=None if camera is None else Camera.from_dict(camera),
        rasters={key: value for key, value in rasters.items() if isinstance(value, Raster)},
        name=content["name"],
    )


def read_json_member(members: Mapping[str, bytes]) -> dict[str, Any] | None:
    """Return the JSON of a stored sample; ``None`` when there is none, or it is not ours."""
    if "json" not in members:
        return None
    try:
        content = json.loads(members["json"])
    except ValueError as error:
        raise InputError(f"its .json is damaged ({error})") from error
    stated = content.get("format", "") if isinstance(content, dict) else ""
    if not str(stated).startswith("vitruvian sample"):
        return None
    if stated != FORMAT:
        raise InputError(f"it is a {stated!r}, this version reads {FORMAT!r}: update vitruvian")
    return content


def picture_of(members: Mapping[str, bytes]) -> tuple[str, bytes]:
    """Return suffix and bytes of the picture among members without our JSON.

    Raises:
        InputError: if there is no picture.
    """
    for suffix in members:
        for known, spellings in _FOREIGN.items():
            if suffix.lower() in spellings:
                return known, members[suffix]
    raise InputError(f"no picture among its members ({', '.join(members)}): wanted .jpg or .png")


def _annotations(
    entries: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, bytes],
    words: Mapping[str, Vocabulary],
    only: Collection[str] | None,
) -> dict[str, Annotation]:
    found: dict[str, Annotation] = {}
    for name, entry in entries.items():
        if only is not None and name not in only:
            continue
        vocabulary = words[entry["vocabulary"]] if "vocabulary" in entry else None
        if entry["law"] == "points":
            assert vocabulary is not None
            optional = {
                key: np.array(entry[key], dtype=np.float64)
                for key in ("visibility", "xyz")
                if key in entry
            }
            found[name] = Points(
                vocabulary=vocabulary,
                xy=np.array(entry["xy"], dtype=np.float64).astype(np.float32),
                scores=np.array(entry["scores"], dtype=np.float64).astype(np.float32),
                **{key: value.astype(_TYPES[key]) for key, value in optional.items()},
            )
            continue
        stem = f"{entry['file']}."
        files = {
            key.removeprefix(stem): data for key, data in members.items() if key.startswith(stem)
        }
        try:
            found[name] = decode_raster(entry, files, vocabulary)
        except InputError as error:
            raise InputError(f"map {name!r}: {error}") from error
    return found


_TYPES: Mapping[str, Any] = {"visibility": np.uint8, "xyz": np.float32}

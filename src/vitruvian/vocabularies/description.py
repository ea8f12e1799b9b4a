# SPDX-License-Identifier: Apache-2.0
"""A vocabulary as JSON values, for files that must be readable without it: shards, weights, runs.

One that ships with the package is written by name, version and digest, any other one whole.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from vitruvian.errors import InputError
from vitruvian.vocabulary import Vocabulary, available, load, make


def describe(vocabulary: Vocabulary) -> dict[str, Any]:
    """Return what ``rebuild`` needs: name, version and digest of a shipped one, else everything."""
    head = {"version": vocabulary.version, "name": vocabulary.name}
    if vocabulary.name in available() and load(vocabulary.name) == vocabulary:
        return head | {"digest": _digest(vocabulary.names)}
    names, mirror = vocabulary.names, vocabulary.mirror.tolist()
    entry: dict[str, Any] = head | {
        "kind": vocabulary.kind,
        "names": list(names),
        "mirror_pairs": [(names[i], names[j]) for i, j in enumerate(mirror) if i < j],
        "sides": list(vocabulary.sides),
        "groups": {key: [names[i] for i in rows] for key, rows in vocabulary.groups.items()},
        "colours": vocabulary.colours.tolist(),
        "links": [
            (names[link.a], names[link.b], [int(part) for part in link.colour])
            for link in vocabulary.links
        ],
        "halves": list(vocabulary.halves),
        "background": vocabulary.background,
        "ignore": vocabulary.ignore,
    }
    for key in ("sigmas", "loss_weights"):
        value = getattr(vocabulary, key)
        entry[key] = None if value is None else value.tolist()
    for key in ("corrected", "means", "fallbacks", "label_maps"):
        value = dict(getattr(vocabulary, key))
        if value:
            entry[key] = value
    return json.loads(json.dumps(entry))


def rebuild(entry: Mapping[str, Any]) -> Vocabulary:
    """Return the vocabulary that ``describe`` described; equal ones are the same object.

    Raises:
        InputError: if it names a shipped one that has other names here.
    """
    return _rebuilt(json.dumps(entry, sort_keys=True))


@lru_cache(maxsize=256)
def _rebuilt(text: str) -> Vocabulary:
    entry: dict[str, Any] = json.loads(text)
    if "digest" in entry:
        name, version = entry["name"], entry["version"]
        found = load(name) if name in available() else None
        if found is None or _digest(found.names) != entry["digest"]:
            here = "has none of that name" if found is None else f"has version {found.version}"
            raise InputError(
                f"stored with the vocabulary {name!r}, version {version}; this installation "
                f"{here}: read it with the version of vitruvian that wrote it"
            )
        return found
    frozen: dict[str, Any] = {
        key: {name: _tuples(value) for name, value in entry.pop(key, {}).items()}
        for key in ("corrected", "means", "fallbacks", "label_maps")
    }
    entry["links"] = [(a, b, tuple(colour)) for a, b, colour in entry["links"]]
    entry["colours"] = [tuple(colour) for colour in entry["colours"]]
    return make(**entry, **frozen)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]

# SPDX-License-Identifier: Apache-2.0
"""What the files of an evaluation hold, so that chunks of others never count as theirs."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from vitruvian.evaluate.plan import Plan
from vitruvian.files import sha256
from vitruvian.model import catalogue
from vitruvian.predict.people import BUILT_IN
from vitruvian.vocabulary import Vocabulary


def checksums(plan: Plan, *, leave_out: str | Path) -> dict[str, str]:
    """Return a digest of everything a plan names, by the plan's own names for it.

    A file counts with its SHA-256: weights, annotations, predictions, boxes, a detector, a
    vocabulary of your own. A folder counts with names, sizes and times of change of the files in
    it, hidden ones left out: replaced maps and shards show, and none of them is read. Pictures
    that an annotation file names do not count.

    Args:
        plan: whose files are all there.
        leave_out: a folder that does not count where it lies in another: the results.
    """
    found: dict[str, str] = {}
    for name, place in _named(plan):
        if place.is_dir():
            found[name] = _folder(place, Path(leave_out))
        elif place.is_file():
            found[name] = sha256(place)
    words = plan.predicted.parts
    if words is not None:
        found[f"{words.name} (--predicted-parts)"] = _vocabulary(words)
    return found


def _named(plan: Plan) -> Iterator[tuple[str, Path]]:
    for name in plan.models:
        yield name, catalogue.find(name)
    yield plan.data, Path(plan.data)
    if plan.predictions:
        yield plan.predictions, Path(plan.predictions)
    elif plan.boxes == "auto":
        yield "the people finder (--boxes auto)", BUILT_IN
    elif plan.boxes.startswith("hf:"):
        yield plan.boxes, catalogue.find(plan.boxes)
    elif plan.boxes not in ("truth", "whole"):
        yield plan.boxes, Path(plan.boxes)
    for name in (plan.points, plan.parts, plan.options.points, plan.options.parts):
        if name is not None and name.endswith(".toml"):
            yield name, Path(name)


def _folder(place: Path, leave_out: Path) -> str:
    told = hashlib.sha256()
    seen = {leave_out.resolve()}  # links may lead in circles
    for root, folders, files in os.walk(place, followlinks=True):
        here = Path(root)
        if here.resolve() in seen:
            folders.clear()
            continue
        seen.add(here.resolve())
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            with contextlib.suppress(OSError):  # a link to nowhere, or deleted meanwhile
                facts = (here / name).stat()
                line = (here / name).relative_to(place).as_posix(), facts.st_size, facts.st_mtime_ns
                told.update(json.dumps(line).encode())
    return told.hexdigest()


def _vocabulary(words: Vocabulary) -> str:
    told = [words.name, words.version, *words.names, words.background, words.ignore]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()

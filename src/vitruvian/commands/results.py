# SPDX-License-Identifier: Apache-2.0
"""Which photographs a run looks at, and what it leaves in its folder so that the next can go on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json

if TYPE_CHECKING:
    from vitruvian.formats import Format, Record
    from vitruvian.person import Sample

SUFFIXES = frozenset(
    f".{name}"
    for name in ("jpg", "jpeg", "jpe", "png", "webp", "bmp", "tif", "tiff", "gif", "avif", "heic")
)
"""What counts as a photograph in a folder; a file named directly is tried whatever its name."""
ENDS = ("pose", "parts", "depth", "normals", "normals-16", "sheet", "boxes")
"""What follows the stem of a photograph, after "_", in the names of results that are pictures."""
_MARKER = Path(".vitruvian") / "run.json"


@dataclass(frozen=True)
class Photo:
    """A photograph to look at.

    Attributes:
        path: where it is, resolved.
        name: its name in results: relative to the folder it was found in, with "/".
        stem: what its result files are called.
    """

    path: Path
    name: str
    stem: str = ""

    @property
    def source(self) -> dict[str, Any]:
        """What tells that a file is still the one that was looked at."""
        stat = self.path.stat()
        return {"path": str(self.path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def list_photos(paths: Sequence[str], *, leave_out: Path | None = None) -> list[Photo]:
    """Expand files, folders and globs, in a stable order, each file once; stems are still open.

    Args:
        paths: what the user named.
        leave_out: a folder of results. What folders and globs find in it is no photograph; a file
            named there is one, unless it is among the results.

    Raises:
        InputError: for a path that does not exist, a pattern that cannot be matched, or when no
            photograph is found.
    """
    if not paths:
        raise InputError("no photographs given: name files, folders or quoted globs")
    found: dict[Path, Photo] = {}
    results = None if leave_out is None else leave_out.resolve()
    made: set[str] | None = None
    hidden = False
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            entries = [(p, p.relative_to(path).as_posix()) for p in sorted(inside)]
        elif path.is_file():
            entries = [(path, path.name)]
        elif any(mark in given for mark in "*?["):
            root = Path(path.anchor) if path.is_absolute() else Path()
            pattern = path.relative_to(path.anchor) if path.is_absolute() else path
            _check_pattern(given, path)
            entries = [(p, p.name) for p in sorted(root.glob(str(pattern))) if p.is_file()]
        else:
            raise InputError(f"no file, folder or match called {given!r}")
        named = path.is_file()
        for place, name in entries:
            place = place.resolve()
            if results is not None and place.is_relative_to(results):
                # A shell turns *.jpg into names, those of earlier results among them.
                made = _written(results) if made is None else made
                if not named or place.relative_to(results).as_posix() in made:
                    hidden = True
                    continue
            found.setdefault(place, Photo(place, name))
    if not found:
        remedy = f": what lies in {leave_out} counts as results · give another --out"
        raise InputError(f"no photograph found in {', '.join(paths)}{remedy if hidden else ''}")
    return list(found.values())


def _check_pattern(given: str, path: Path) -> None:
    """Refuse "**" inside a name, which Python 3.11 cannot match and others read as "*"."""
    wanted = Path()
    for part in path.parts:
        inside = "**" in part and part != "**"
        wanted = wanted / "**" / re.sub(r"\*+", "*", part) if inside else wanted / part
    if wanted != path:
        raise InputError(
            f"{given!r} has '**' inside a name · wanted '**' in the place of folders · write "
            f"{wanted.as_posix()!r}"
        )


def _written(out: Path) -> set[str]:
    """Return every file that the notes of a folder of results name, relative to it."""
    names: list[str] = []
    if (out / _MARKER).is_file():
        names += read_json(out / _MARKER).get("shared", [])
    for path in (out / _MARKER).parent.rglob("*.done.json"):
        note = read_json(path)
        names += [*note["files"], *note.get("shared", [])]
    return set(names)


class ResultFolder:
    """A folder of results, with a memory of what made them.

    A photograph is done when its files, its people and, last of all, a note about the very file
    that was looked at are written. A file that changed since is looked at again.
    """

    def __init__(self, out: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
        """Look at the folder; nothing is written before :meth:`begin`.

        Raises:
            InputError: if it is a file, or holds results made with other settings.
        """
        self.out = out
        self._settings = settings
        self._overwrite = overwrite
        self._marker = out / _MARKER
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file: --out needs a folder")
        if self._marker.exists() and not overwrite:
            before = read_json(self._marker)
            changed = [key for key in settings if before.get(key) != settings[key]]
            if changed:
                raise InputError(
                    f"{out} holds results made with other settings ({', '.join(changed)}): give "
                    "another --out, or --overwrite to start again"
                )
        notes = sorted((out / ".vitruvian").rglob("*.done.json"))
        self._notes: dict[str, dict[str, Any]] = {}
        for note in map(read_json, notes):
            self._notes[note["source"]["path"]] = note

    @property
    def answers(self) -> list[str]:
        """Names of the tasks that the results hold."""
        return list(read_json(self._marker)["answers"])

    def begin(self, answers: Sequence[str]) -> None:
        """Make the folder and note the settings, once everything needed is known to be there.

        To overwrite removes what earlier runs wrote, and nothing else.
        """
        if self._overwrite:
            for name in _written(self.out):
                (self.out / name).unlink(missing_ok=True)
            for old in self._marker.parent.rglob("*.json"):
                old.unlink()
            self._notes, self._overwrite = {}, False
        self._marker.parent.mkdir(parents=True, exist_ok=True)
        before = read_json(self._marker) if self._marker.exists() else {}
        noted = {"answers": list(answers), "shared": before.get("shared", [])}
        write_json(self._marker, {**self._settings, **noted}, indent=1)

    def named(self, photos: Sequence[Photo]) -> list[Photo]:
        """Give each photograph a name and a stem that nobody else has, here or from before.

        Raises:
            InputError: if results of one would be called like another.
        """
        notes = {} if self._overwrite else self._notes
        names = {note["name"] for note in notes.values()}
        stems = {note["stem"] for note in notes.values()}
        result = []
        for photo in photos:
            note = notes.get(str(photo.path))
            if note is None:
                name = _free(photo.name, names)
                plain = str(Path(name).with_suffix(""))
                # a.jpg beside a.png: its results keep the suffix in their name
                stem = _free(plain if plain not in stems else name.replace(".", "_"), stems)
                result.append(replace(photo, name=name, stem=stem))
                names.add(name)
                stems.add(stem)
            else:
                result.append(replace(photo, name=note["name"], stem=note["stem"]))
        self._check_apart(result)
        return result

    def _check_apart(self, photos: Sequence[Photo]) -> None:
        known = [photo.path for photo in photos] + [Path(path) for path in self._notes]
        places = {path.with_suffix(""): path for path in known}
        for photo in photos:
            for end in ENDS:
                place = places.get(self.out.resolve() / f"{photo.stem}_{end}")
                if place is not None:
                    raise InputError(
                        f"{place} is called like a result of {photo.name!r}, which would be "
                        "written over it · wanted results away from photographs · give another "
                        "--out"
                    )

    def done(self, photo: Photo) -> bool:
        """Whether this very file was finished before."""
        if self._overwrite:
            return False
        note = self._notes.get(str(photo.path))
        return note is not None and note["source"] == photo.source

    def write(
        self, photo: Photo, sample: "Sample", wanted: Sequence["Format"], convention: str
    ) -> None:
        """Write a photograph's files, its people, and the note that they are complete."""
        from vitruvian import formats
        from vitruvian.drawing import write_drawing
        from vitruvian.formats import coco

        source = photo.source
        stem = self.out / photo.stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        named = replace(sample, name=photo.name)
        files: list[Path] = []
        shared: list[str] = []
        for entry in wanted:
            if entry.scope == "photo":
                made = formats.write_photo(entry.name, named, stem, convention=convention)
                files += made
                if made and entry.shared:
                    shared.append((stem.parent / entry.shared).relative_to(self.out).as_posix())
            elif entry.scope == "drawing":
                files += write_drawing(entry.name, named, stem)
        record = self._record(photo.name)
        record.parent.mkdir(parents=True, exist_ok=True)
        coco.write_keypoints(record, [formats.Record.of(named)])
        note = {
            "source": source,
            "name": photo.name,
            "stem": photo.stem,
            "files": [path.relative_to(self.out).as_posix() for path in files],
            "shared": shared,
        }
        before = self._notes.get(str(photo.path), {"files": ()})
        for name in {*before["files"]} - {*note["files"]}:  # of the photograph as it was
            (self.out / name).unlink(missing_ok=True)
        write_json(_note(record), note)
        self._notes[str(photo.path)] = note

    def forget(self, photo: Photo) -> None:
        """Remove what is left of a photograph that cannot be read any more."""
        note = self._notes.pop(str(photo.path), None)
        if note is None:
            return
        record = self._record(note["name"])
        for path in (_note(record), record, *(self.out / name for name in note["files"])):
            path.unlink(missing_ok=True)

    def write_run(self, wanted: Sequence["Format"]) -> "list[Record]":
        """Write the files of the whole run; return the people of every photograph, by name."""
        from vitruvian import formats

        records = self.records()
        entries = [entry for entry in wanted if entry.scope == "run"]
        for entry in entries:
            formats.write_run(entry.name, records, self.out)
        shared = [entry.suffix for entry in entries]
        write_json(self._marker, {**read_json(self._marker), "shared": shared}, indent=1)
        return records

    def _record(self, name: str) -> Path:
        return self._marker.parent / "photos" / f"{name}.json"

    def records(self) -> "list[Record]":
        """Read back the people of every photograph in the folder, by name."""
        from vitruvian.formats import coco

        names = sorted(note["name"] for note in self._notes.values())
        return [record for name in names for record in coco.read(self._record(name))]


def _note(record: Path) -> Path:
    """Return where the note is that a record and all files of its photograph are complete."""
    return record.with_name(record.name.removesuffix(".json") + ".done.json")


def _free(name: str, taken: set[str]) -> str:
    """Return ``name``, or with the first number that makes it new: "a-2.jpg"."""
    path, number, free = Path(name), 2, name
    while free in taken:
        free = f"{path.with_suffix('')}-{number}{path.suffix}"
        number += 1
    return free

# SPDX-License-Identifier: Apache-2.0
"""``vitruvian predict``: photographs in, files that other tools open out; resumable."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vitruvian import __version__
from vitruvian.errors import InputError, VitruvianError
from vitruvian.files import read_json, write_json

if TYPE_CHECKING:
    from vitruvian.formats import Record
    from vitruvian.person import Sample

SUFFIXES = frozenset(
    f".{name}"
    for name in ("jpg", "jpeg", "jpe", "png", "webp", "bmp", "tif", "tiff", "gif", "avif", "heic")
)
"""What counts as a photograph in a folder; a file named directly is tried whatever its name."""


def predict(
    paths: Annotated[tuple[str, ...], tyro.conf.Positional],
    /,
    *,
    model: tuple[str, ...],
    out: Path = Path("out"),
    tasks: tuple[str, ...] = (),
    write: tuple[str, ...] = ("json", "labels-png", "depth-png", "normals-png", "sheet"),
    detector: str = "auto",
    min_score: float | None = None,
    framing: Literal["person", "pad", "stretch"] = "person",
    mask: Literal["parts", "none"] = "parts",
    flip: bool = False,
    exact: bool = False,
    normalisation: Literal["card", "full", "lite"] = "card",
    normal_signs: tuple[int, int, int] | None = None,
    convention: Literal["opengl", "opencv", "directx", "dsine"] = "opengl",
    batch: int = 4,
    device: str = "auto",
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    overwrite: bool = False,
) -> int:
    """See people in photographs.

    Interrupt it at any time: the same command goes on where it stopped. A file that cannot be read
    is listed at the end (exit code 1) and stops nothing.

    Args:
        paths: photographs, folders (searched through) and quoted globs.
        model: weights, one or several: files, catalogue names or hf:org/name.
        out: folder for the results.
        tasks: answer only these (pose parts depth normals); by default all the models know.
        write: what to write. One file for all: json (COCO keypoints), results (COCO results), csv,
            parquet. Per photograph: openpose, labels-png, npz, depth-png, depth-exr, normals-png,
            normals-png16, normals-exr. To look at: overlay, sheet.
        detector: who finds the people: auto (the default detector, once fetched), whole (each
            picture is one person), a COCO .json or MOT .txt file of boxes, a folder or hf:org/name
            of a transformers object detector.
        min_score: leave out people found with a lower score (default 0.5 for detectors).
        framing: what dense tasks look at: each person, or the whole photograph with margins (pad)
            or stretched (stretch, as published).
        mask: mark depth and normals off the person invalid where parts are known, or not.
        flip: average with the mirrored prediction; twice the time.
        exact: the published numerics, known defects included, instead of the corrected ones.
        normalisation: pixel statistics of the weights file, or of the published full or lite
            pipeline.
        normal_signs: signs of x, y, z from the network's axes to camera space (x right, y down,
            z forward), where the weights do not say; see vitruvian doctor --model.
        convention: axes of normals in files; opengl makes a wall facing the camera (128, 128, 255).
        batch: windows per forward pass.
        device: auto, cpu, mps or cuda:N.
        dtype: precision of the network.
        overwrite: forget what an earlier run left in the folder.
    """
    from vitruvian import formats
    from vitruvian.predict.load import load

    wanted = [formats.find(name) for name in write]
    photos = list_photos(paths, leave_out=out if out.is_dir() else None)
    settings = {
        "vitruvian": __version__,
        "model": list(model),
        "tasks": list(tasks),
        "write": list(write),
        "detector": detector,
        "min_score": min_score,
        "framing": framing,
        "mask": mask,
        "flip": flip,
        "exact": exact,
        "normalisation": normalisation,
        "normal_signs": None if normal_signs is None else list(normal_signs),
        "convention": convention,
    }
    run = _Run(out, settings, overwrite=overwrite)
    todo = [photo for photo in photos if not run.done(photo)]
    start = time.perf_counter()
    failed: list[tuple[str, VitruvianError]] = []
    if todo:
        predictor = load(
            *model,
            detector=detector,
            tasks=tasks or None,
            settings={} if normal_signs is None else {"normals": {"signs": normal_signs}},
            normalisation=normalisation,
            device=device,
            min_score=min_score,
            framing=framing,
            mask=mask,
            flip=flip,
            exact=exact,
            batch=batch,
            dtype=dtype,
        )
        run.begin(settings)
        by_path = {str(photo.path): photo for photo in todo}
        found = predictor.stream(photo.path for photo in todo)
        for outcome in _with_progress(found, len(todo)):
            photo = by_path[outcome.name]
            if outcome.sample is None:
                assert outcome.error is not None
                failed.append((photo.name, outcome.error))
                continue
            run.write(photo, outcome.sample, wanted, convention)
    records = run.records(photos)
    for entry in wanted:
        if entry.scope == "run":
            formats.write_run(entry.name, records, out)
    _report(out, photos, records, todo, failed, time.perf_counter() - start)
    return 1 if failed else 0


@dataclass(frozen=True)
class Photo:
    """A photograph to look at.

    Attributes:
        path: where it is.
        name: its name in results: relative to the folder it was found in, with "/".
        stem: what its result files are called, unique within the run.
    """

    path: Path
    name: str
    stem: str


def list_photos(paths: Sequence[str], *, leave_out: Path | None = None) -> list[Photo]:
    """Expand files, folders and globs, in a stable order, each file once.

    Args:
        paths: what the user named.
        leave_out: a folder of results, whose pictures are not photographs.

    Raises:
        InputError: for a path that does not exist, or when no photograph is found.
    """
    if not paths:
        raise InputError("no photographs given: name files, folders or quoted globs")
    found: dict[Path, tuple[Path, str]] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
            entries = [(p, p.relative_to(path).as_posix()) for p in sorted(inside)]
        elif path.is_file():
            entries = [(path, path.name)]
        elif any(mark in given for mark in "*?["):
            root = Path(path.anchor) if path.is_absolute() else Path()
            pattern = str(path.relative_to(path.anchor) if path.is_absolute() else path)
            entries = [(p, p.name) for p in sorted(root.glob(pattern)) if p.is_file()]
        else:
            raise InputError(f"no file, folder or match called {given!r}")
        for entry in entries:
            place = entry[0].resolve()
            if leave_out is None or not place.is_relative_to(leave_out.resolve()):
                found.setdefault(place, entry)
    if not found:
        raise InputError(f"no photograph found in {', '.join(paths)}")
    return _named(list(found.values()))


def _named(entries: Sequence[tuple[Path, str]]) -> list[Photo]:
    """Give each photograph a name and a stem nobody else has."""
    names: set[str] = set()
    stems: set[str] = set()
    photos = []
    for path, name in entries:
        unique = name
        number = 2
        while unique in names:  # equal names from different folders
            unique = f"{Path(name).with_suffix('')}-{number}{Path(name).suffix}"
            number += 1
        stem = str(Path(unique).with_suffix(""))
        if stem in stems:  # a.jpg beside a.png
            stem = unique.replace(".", "_")
        names.add(unique)
        stems.add(stem)
        photos.append(Photo(path, unique, stem))
    return photos


class _Run:
    """What a run leaves in its folder, so that the next one can go on."""

    def __init__(self, out: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
        self.out = out
        self.memory = out / ".vitruvian"
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file: --out needs a folder")
        self.marker = self.memory / "run.json"
        self.fresh = overwrite
        if self.marker.exists() and not overwrite:
            before = read_json(self.marker)
            changed = [key for key in settings if before.get(key) != settings[key]]
            if changed:
                raise InputError(
                    f"{out} holds results made with other settings ({', '.join(changed)}): give "
                    "another --out, or --overwrite to start again"
                )

    def begin(self, settings: dict[str, Any]) -> None:
        """Make the folder and note the settings, once everything needed is known to be there."""
        if self.fresh:
            for old in self.memory.rglob("*.json"):
                old.unlink()
            self.fresh = False
        self.memory.mkdir(parents=True, exist_ok=True)
        write_json(self.marker, settings, indent=1)

    def _record(self, photo: Photo) -> Path:
        return self.memory / "photos" / f"{photo.stem}.json"

    def done(self, photo: Photo) -> bool:
        """Whether an earlier run, or this one, finished the photograph."""
        return not self.fresh and self._record(photo).exists()

    def write(self, photo: Photo, sample: "Sample", wanted: Sequence[Any], convention: str) -> None:
        """Write a photograph's files; its record comes last and says that they are complete."""
        from dataclasses import replace

        from vitruvian import formats
        from vitruvian.drawing import write_drawing
        from vitruvian.formats import coco

        stem = self.out / photo.stem
        stem.parent.mkdir(parents=True, exist_ok=True)
        named = replace(sample, name=photo.name)
        for entry in wanted:
            if entry.scope == "photo":
                formats.write_photo(entry.name, named, stem, convention=convention)
            elif entry.scope == "drawing":
                write_drawing(entry.name, named, stem)
        record = self._record(photo)
        record.parent.mkdir(parents=True, exist_ok=True)
        coco.write_keypoints(record, [formats.Record.of(named)])

    def records(self, photos: Sequence[Photo]) -> "list[Record]":
        """Read back what is known of every photograph that is done."""
        from vitruvian.formats import coco

        return [
            record
            for photo in photos
            if self.done(photo)
            for record in coco.read(self._record(photo))
        ]


def _with_progress(outcomes: Iterator[Any], total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("photographs", total=total)
        for outcome in outcomes:
            yield outcome
            progress.advance(bar)


def _report(
    out: Path,
    photos: Sequence[Photo],
    records: "Sequence[Record]",
    todo: Sequence[Photo],
    failed: Sequence[tuple[str, VitruvianError]],
    seconds: float,
) -> None:
    people = sum(len(record.people) for record in records)
    kept = len(photos) - len(todo)
    text = f"{people} people in {len(records)} photographs, {out}/"
    if todo:
        text += f" ({len(todo) - len(failed)} new in {seconds:.1f} s"
        text += f", {kept} kept from before)" if kept else ")"
    else:
        text += " (all done before)"
    sys.stdout.write(text + "\n")
    for name, error in failed:
        sys.stderr.write(f"failed: {name}: {error}\n")
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(photos)} photographs failed\n")

# SPDX-License-Identifier: Apache-2.0
"""``vitruvian predict``: photographs in, files that other tools open out; resumable."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vitruvian import __version__
from vitruvian.commands.progress import progress_bar
from vitruvian.commands.results import Photo, ResultFolder, list_photos
from vitruvian.errors import InputError, VitruvianError

if TYPE_CHECKING:
    from vitruvian.formats import Format, Record
    from vitruvian.predict.predictor import Predictor

_DEFAULT = ("json", "labels-png", "depth-png", "normals-png", "sheet")

_LAWS = {"pose": "points", "parts": "label", "depth": "scalar", "normals": "vector"}


def predict(
    paths: Annotated[tuple[str, ...], tyro.conf.Positional],
    /,
    *,
    model: tuple[str, ...] = ("default",),
    out: Path = Path("out"),
    tasks: tuple[str, ...] = (),
    write: tuple[str, ...] = (),
    detector: str = "auto",
    min_score: float | None = None,
    framing: Literal["person", "pad", "stretch"] = "person",
    mask: Literal["parts", "none"] = "parts",
    flip: bool | None = None,
    zooms: tuple[float, ...] | None = None,
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
        model: weights, one or several: default (those of the package), files, catalogue names or
            hf:org/name.
        out: folder for the results.
        tasks: answer only these (pose parts depth normals); by default all the models know.
        write: what to write. One file for all: json (COCO keypoints), results (COCO results), csv,
            parquet. Per photograph: openpose, labels-png, npz, depth-png, depth-exr, normals-png,
            normals-png16, normals-exr. To look at: overlay, sheet. By default json, labels-png,
            depth-png, normals-png and sheet, as far as the tasks can fill them.
        detector: who finds the people: auto (the network that comes with the package), whole (each
            picture is one person), a COCO .json or MOT .txt file of boxes, a .safetensors file
            that train people made, a folder or hf:org/name of a transformers object detector.
        min_score: leave out people found with a lower score; by default what our weights say, 0.5
            for transformers' detectors.
        framing: what dense tasks look at: each person, or the whole photograph with margins (pad)
            or stretched (stretch, as published).
        mask: mark depth and normals off the person invalid where parts are known, or not.
        flip: average with the mirrored prediction, for twice the time; by default as the weights
            say (those of the package do, published ones do not).
        zooms: average keypoints with those of windows enlarged by these factors, each for as much
            time again; by default as the weights say, none for none.
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
    from vitruvian.predict.device import pick_device, pick_dtype
    from vitruvian.predict.load import load

    for name in write:
        formats.find(name)
    found = list_photos(paths, leave_out=out if out.is_dir() else None)
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
        "zooms": None if zooms is None else list(zooms),
        "exact": exact,
        "normalisation": normalisation,
        "normal_signs": None if normal_signs is None else list(normal_signs),
        "convention": convention,
        "dtype": str(pick_dtype(dtype, pick_device(device))),
        **_contents(model, detector),
    }
    run = ResultFolder(out, settings, overwrite=overwrite)
    photos = run.named(found)
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
            zooms=zooms,
            exact=exact,
            batch=batch,
            dtype=dtype,
        )
        _check_options(predictor, photos, normal_signs)
        wanted = _fitting(write, predictor.tasks)
        for entry in wanted:
            formats.check_extra(entry)
        run.begin(predictor.tasks)
        by_name = {photo.name: photo for photo in todo}
        outcomes = predictor.stream(
            (photo.path for photo in todo), names=(photo.name for photo in todo)
        )
        with progress_bar(len(todo), "photographs") as advance:
            for done, outcome in enumerate(outcomes, 1):
                photo = by_name[outcome.name]
                if outcome.sample is None:
                    assert outcome.error is not None
                    failed.append((photo.name, outcome.error))
                    run.forget(photo)
                else:
                    run.write(photo, outcome.sample, wanted, convention)
                advance(done)
    records = run.write_run(_fitting(write, run.answers))
    _report(out, photos, records, todo, failed, time.perf_counter() - start)
    return 1 if failed else 0


def _contents(models: Sequence[str], detector: str) -> dict[str, Any]:
    """Return the checksums of the files that are given, so that a replaced one is noticed.

    Raises:
        InputError: for weights that are not on this machine.
    """
    from vitruvian.files import sha256
    from vitruvian.model.catalogue import find

    files = [find(name) for name in models]
    if Path(detector).suffix.lower() in (".json", ".txt", ".safetensors"):
        files.append(Path(detector).expanduser())
    sums = {path: sha256(path) for path in {*files} if path.is_file()}  # each read once
    given = [sums.get(path) for path in files]
    return {
        "what the files of --model hold": given[: len(models)],
        "what the file of --detector holds": given[len(models) :],
    }


def _fitting(write: Sequence[str], tasks: Sequence[str]) -> "list[Format]":
    """Return the formats to write: those asked for, or a choice of what the tasks can fill.

    Raises:
        InputError: for a format that none of the tasks can fill.
    """
    from vitruvian import formats

    laws = {_LAWS[task] for task in tasks}

    def fits(entry: "Format") -> bool:
        maps = entry.law == "raster" and laws != {"points"}
        return entry.law in laws or entry.law == "any" or maps

    chosen = [formats.find(name) for name in write or _DEFAULT]
    useless = [entry.name for entry in chosen if not fits(entry)]
    if write and useless:
        raise InputError(
            f"--write {' '.join(useless)} has nothing to write: these models answer "
            f"{', '.join(tasks)}"
        )
    return [entry for entry in chosen if fits(entry)]


def _check_options(predictor: "Predictor", photos: Sequence[Photo], signs: Any) -> None:
    """Refuse options that would have no effect.

    Raises:
        InputError: naming the option.
    """
    from vitruvian.predict.detect import GivenBoxes

    tasks = predictor.tasks
    if signs is not None and "normals" not in tasks:
        raise InputError("--normal-signs has no effect: these models answer no normals")
    if predictor.framing != "person" and tasks == ["pose"]:
        raise InputError(
            f"--framing {predictor.framing} has no effect: keypoints always come from people's "
            "windows"
        )
    detector = predictor.detector
    if isinstance(detector, GivenBoxes) and not any(detector.knows(p.name) for p in photos):
        raise InputError(
            f"the boxes name none of these photographs: they name {detector.example!r}, the "
            f"photographs are called like {photos[0].name!r}"
        )


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

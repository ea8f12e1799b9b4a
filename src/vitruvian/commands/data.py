# SPDX-License-Identifier: Apache-2.0
"""``vitruvian data``: pack training data into shards, check it, look at a sample."""

import sys
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from vitruvian.commands.progress import progress_bar
from vitruvian.data.options import SourceOptions
from vitruvian.errors import InputError, VitruvianError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vitruvian.data.source import Source
    from vitruvian.person import Sample

_TILE = 300  # longer side of a picture on the contact sheet
LayoutName = Literal[
    "auto",
    "coco",
    "mpii",
    "crowdpose",
    "aic",
    "folder",
    "manifest",
    "lip",
    "cihp",
    "atr",
    "face",
    "hi4d",
    "images",
    "webdataset",
    "shards",
]
_PLAIN = SourceOptions()


def pack(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    layout: LayoutName = "auto",
    options: SourceOptions = _PLAIN,
    on_bad: Literal["raise", "skip"] = "raise",
    quality: int | None = None,
    prefix: str = "shard",
    shard_samples: int = 4096,
    shard_megabytes: int = 512,
    workers: int = 0,
) -> int:
    """Pack training data of any layout into shards: plain tars with an index.

    Interrupt it at any time: the same command goes on after the last finished shard. JPEG, PNG and
    WebP files are kept as they are. Exit code 1: done, but samples were left out.

    Args:
        source: a folder, an annotation file (.json) or a tar.
        out: folder for the shards.
        layout: how the data is laid out; auto tells from the files. coco: keypoints JSON of COCO,
            COCO-WholeBody, the published 308 points or your own. mpii, crowdpose, aic: these sets.
            folder: pictures, masks, parts, depths, normals in folders, with equal stems. manifest:
            train.json. lip, cihp, atr, face: public parsing sets. images: pictures alone.
            webdataset: tars of others. shards: packed ones.
        options: what the files do not say.
        on_bad: what to do about a sample that cannot be used.
        quality: JPEG quality for pictures whose files cannot be kept; without it they become PNG.
        prefix: beginning of the shards' names.
        shard_samples: most samples in a shard.
        shard_megabytes: most megabytes in a shard.
        workers: processes that read and encode; 0 for none beside this one.
    """
    from vitruvian.data import pack as packing

    samples, name = _open(source, layout, options)
    settings = {f.name: getattr(options, f.name) for f in fields(options)}
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    start = time.perf_counter()
    with progress_bar(len(samples), "samples") as advance:
        report = packing.pack(
            samples,
            out,
            prefix=prefix,
            quality=quality,
            max_samples=shard_samples,
            max_bytes=shard_megabytes << 20,
            workers=workers,
            on_bad=on_bad,
            settings={"layout": name, **settings},
            progress=lambda number: advance(number + 1),
        )
    text = f"{report.samples} samples in {out}/ (read as {name}"
    seconds = time.perf_counter() - start
    text += f", {report.new} new in {seconds:.1f} s)" if report.new else ", all packed before)"
    sys.stdout.write(text + "\n")
    for _, why in report.failed:
        sys.stderr.write(f"left out: {why}\n")
    return 1 if report.failed else 0


def check(
    source: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path | None = None,
    sheet: int = 12,
    limit: int = 1000,
    verify: bool = False,
    layout: LayoutName = "auto",
    options: SourceOptions = _PLAIN,
) -> int:
    """Say what is in a training set, and what looks wrong with it; draw some of it.

    Exit code 1: something is bad.

    Args:
        source: packed shards, or data of any layout that pack reads.
        out: contact sheet to write (.jpg or .png); without it none is drawn.
        sheet: samples on the contact sheet.
        limit: look at so many samples, spread over the set; 0 for all.
        verify: also compare every tar with the checksum of its index.
        layout: as in pack.
        options: what the files do not say.
    """
    import numpy as np

    from vitruvian import image
    from vitruvian.data.reader import Shards
    from vitruvian.data.survey import Survey

    samples, name = _open(source, layout, options)
    if verify:
        if not isinstance(samples, Shards):
            raise InputError(
                f"verify compares tars with their index; {source} is {name}, no shards"
            )
        samples.verify()
    count = len(samples) if limit < 1 else min(limit, len(samples))
    numbers = np.unique(np.linspace(0, len(samples) - 1, count).round().astype(int))
    drawn = set(numbers[np.linspace(0, count - 1, min(sheet, count)).round().astype(int)].tolist())
    survey, shown = Survey(), list["Sample"]()
    with progress_bar(count, "samples") as advance:
        for done, number in enumerate(numbers.tolist()):
            try:
                sample = samples[number]
            except VitruvianError as error:
                survey.fail(samples.where(number), str(error))
            else:
                survey.add(sample)
                if number in drawn and out is not None:
                    shown.append(_small(sample))
            advance(done + 1)
    some = "" if count == len(samples) else f", {count} of them looked at"
    sys.stdout.write(f"{source}: {len(samples)} samples, read as {name}{some}\n")
    found = survey.findings()
    marks = {"note": " ", "odd": "?", "bad": "!"}
    for finding in found:
        sys.stdout.write(f"{marks[finding.state]} {finding}\n")
    if out is not None and shown:
        image.write(out, contact_sheet(shown))
        sys.stdout.write(f"  drawn: {out}\n")
    bad = sum(finding.state == "bad" for finding in found)
    sys.stdout.write(f"{bad} bad findings\n" if bad else "nothing bad found\n")
    return 1 if bad else 0


def show(
    source: Annotated[Path, tyro.conf.Positional],
    which: Annotated[str, tyro.conf.Positional],
    /,
    *,
    out: Path,
    layout: LayoutName = "auto",
    options: SourceOptions = _PLAIN,
) -> None:
    """Draw one sample with everything that is known about it.

    Args:
        source: packed shards, or data of any layout that pack reads.
        which: number of the sample from 0; for shards also its key, or its uid in hexadecimal.
        out: picture to write (.png or .jpg).
        layout: as in pack.
        options: what the files do not say.
    """
    from vitruvian import drawing, image

    samples, _ = _open(source, layout, options)
    number = _number(samples, which)
    sample = samples[number]
    image.write(out, drawing.sheet(sample))
    sys.stdout.write(f"{samples.where(number)}: {_described(sample)}; drawn: {out}\n")


def _open(path: Path, layout: str, options: SourceOptions) -> "tuple[Source, str]":
    from vitruvian.data.sources import open_source

    samples, chosen = open_source(path, layout, options)
    return samples, chosen.name


def _number(samples: "Source", which: str) -> int:
    """Return the number of a sample from what the user wrote."""
    from vitruvian.data.reader import Shards

    if which.isdecimal():
        number = int(which)
        if number >= len(samples):
            raise InputError(f"no sample {number}: there are {len(samples)}, counted from 0")
        return number
    if isinstance(samples, Shards):
        return samples.find(which)
    found = [i for i in range(len(samples)) if samples.where(i).endswith(which)]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} samples end in {which!r}: give the number of one, from 0 to "
            f"{len(samples) - 1}"
        )
    return found[0]


def _described(sample: "Sample") -> str:
    height, width = sample.size
    names = sorted({name for person in sample.people for name in person.annotations})
    text = f"{width}×{height} (width × height), {len(sample.people)} people"
    if names:
        text += f" with {', '.join(names)}"
    if sample.rasters:
        text += f", maps of the whole picture: {', '.join(sample.rasters)}"
    return text + (", a camera" if sample.camera is not None else "")


def contact_sheet(samples: "Sequence[Sample]") -> "NDArray[np.uint8]":
    """Draw samples on one page: each with one picture per annotation, side by side.

    Args:
        samples: what to draw; large pictures should be made small before.

    Returns:
        RGB uint8.
    """
    import numpy as np

    from vitruvian import drawing

    cells: list[tuple[str, NDArray[np.uint8]]] = []
    for number, sample in enumerate(samples):
        names = dict.fromkeys([*(n for p in sample.people for n in p.annotations), *sample.rasters])
        pictures = [drawing.overlay(sample, task=name, key=False) for name in names]
        if not pictures:
            pictures = [drawing.overlay(sample, key=False)]
        gap = np.full((sample.size[0], 6, 3), drawing.PAPER, dtype=np.uint8)
        row = [part for picture in pictures for part in (picture, gap)][:-1]
        cells.append((sample.name or f"sample {number}", np.hstack(row)))
    return drawing.grid(cells)


def _small(sample: "Sample") -> "Sample":
    """Return a small copy of a sample, to draw."""
    from vitruvian.geometry import Crop
    from vitruvian.image import resize

    factor = _TILE / max(sample.size)
    size = max(round(sample.size[0] * factor), 1), max(round(sample.size[1] * factor), 1)
    picture = resize(sample.image, size, "area" if factor < 1 else "cubic")
    moved = sample.warped(Crop.whole(sample.size).resized(size))
    return replace(moved, image=picture, camera=None)

# SPDX-License-Identifier: Apache-2.0
"""``vitruvian synth``: rendered people with exact labels, as shards; resumable, on all cores."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vitruvian import __version__
from vitruvian.errors import InputError

if TYPE_CHECKING:
    from vitruvian.synth.writer import Engine, Job, Maker

Framing = Literal["mixed", "face", "upper", "full"]


def people(
    *,
    out: Path,
    count: int = 1000,
    size: str = "1024x768",
    seed: int = 0,
    workers: int = 0,
    engine: Literal["local", "ray"] = "local",
    preview: int = 0,
    framing: Framing = "mixed",
    views: int = 4,
    people_max: int = 8,
    children: bool = False,
    backgrounds: Path | None = None,
    lights: Path | None = None,
    optics: bool = True,
    device: str = "cpu",
    quality: int = 95,
    per_shard: int = 64,
    gallery: int = 60,
) -> int:
    """Render people with exact labels: parts, depth, normals, base colour, 308 keypoints.

    Interrupt it at any time: the same command goes on with the next unfinished shard. A larger
    --count later adds to the same set. Picture N depends on the settings, --seed and N alone.

    Args:
        out: folder for shards, recipes, contact sheet, gallery and data card.
        count: how many pictures.
        size: HEIGHTxWIDTH of pictures in pixels.
        seed: of chance; another seed is another set.
        workers: processes; 0 takes one per core.
        engine: local processes, or a Ray cluster whose machines all see --out.
        preview: make only so many pictures, small, and a sheet of them: 16 take under a minute.
        framing: face, upper body, full body, or a mixture of all.
        views: pictures per posed group of people; more are quicker and vary less.
        people_max: most people in one picture, 1 to 8.
        children: let children appear too; adults only otherwise.
        backgrounds: folder of photographs without people; invented places otherwise.
        lights: folder of lat-long .hdr or .exr environment maps; invented light otherwise.
        optics: blur, noise, casts and compression as real cameras have them.
        device: where rays meet people: cpu (Embree), auto, or a GPU such as cuda:1.
        quality: JPEG quality of the pictures, 1 to 100; 0 for PNG.
        per_shard: pictures per shard.
        gallery: pictures in the gallery.
    """
    from vitruvian.synth import production

    wanted = Wanted(
        out=out, count=count, seed=seed, workers=workers, engine=engine, preview=preview,
        quality=quality, per_shard=per_shard, gallery=gallery,
    )  # fmt: skip
    settings = _settings(
        size, preview, framing, views, people_max, children, backgrounds, lights, optics, device
    )
    production.check_folders(settings)
    return make(wanted, settings.to_dict(), production.people, "people")


def scans(
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    count: int = 1000,
    size: str = "1024x768",
    seed: int = 0,
    workers: int = 0,
    engine: Literal["local", "ray"] = "local",
    preview: int = 0,
    framing: Framing = "mixed",
    views: int = 8,
    people_max: int = 1,
    backgrounds: Path | None = None,
    lights: Path | None = None,
    optics: bool = True,
    device: str = "cpu",
    unit: Literal["auto", "m", "cm", "mm"] = "auto",
    scale: float = 0.0,
    up: Literal["auto", "x", "y", "z", "-x", "-y", "-z"] = "auto",
    turn: float = 0.0,
    triangles_max: int = 2_000_000,
    texture_max: int = 8192,
    quality: int = 95,
    per_shard: int = 64,
    gallery: int = 60,
) -> int:
    """Render your own textured scans with exact depth and normals.

    Beside a scan NAME.obj may lie NAME.keypoints.json and NAME.parts.png (see the documentation);
    then its pictures have these labels too.

    Args:
        folder: of OBJ, GLB, glTF, PLY, STL or OFF files, or one of them.
        out: folder for shards, recipes, contact sheet, gallery and data card.
        count: how many pictures.
        size: HEIGHTxWIDTH of pictures in pixels.
        seed: of chance.
        workers: processes; 0 takes one per core.
        engine: local processes, or a Ray cluster whose machines all see --out and the scans.
        preview: make only so many pictures, small, and a sheet of them.
        framing: face, upper body, full body, or a mixture of all.
        views: pictures per scan before the next scan comes.
        people_max: most scans in one picture.
        backgrounds: folder of photographs without people.
        lights: folder of lat-long .hdr or .exr environment maps.
        optics: blur, noise, casts and compression as real cameras have them.
        device: where rays meet people: cpu (Embree), auto, or a GPU such as cuda:1.
        unit: of the files.
        scale: metres per unit of the files, instead of --unit.
        up: which of the files' axes points up.
        turn: degrees about the vertical that make people look along +z (towards the viewer).
        triangles_max: refuse larger scans.
        texture_max: scale larger textures down to so many pixels.
        quality: JPEG quality of the pictures, 1 to 100; 0 for PNG.
        per_shard: pictures per shard.
        gallery: pictures in the gallery.
    """
    from vitruvian.synth import production
    from vitruvian.synth.scan import find_scans, load_scan

    wanted = Wanted(
        out=out, count=count, seed=seed, workers=workers, engine=engine, preview=preview,
        quality=quality, per_shard=per_shard, gallery=gallery,
    )  # fmt: skip
    settings = _settings(
        size, preview, framing, views, people_max, False, backgrounds, lights, optics, device
    )
    production.check_folders(settings)
    if scale < 0:
        raise InputError(f"--scale is metres per unit, above 0, got {scale}")
    options: dict[str, Any] = {
        "unit": scale or unit,
        "up": up,
        "turn": turn,
        "most_triangles": triangles_max,
        "texture_side": texture_max,
    }
    files = find_scans(folder)
    wanted.check()
    for file in files:  # what is wrong with any scan is said before hours of work
        found = load_scan(file, **options)
        for line in found.warnings:
            sys.stderr.write(f"warning: {file.name}: {line}\n")
    maker = production.ScanMaker(
        files=tuple(str(file) for file in files), options=tuple(options.items())
    )
    about = {"scans": [file.name for file in files], "options": options}
    return make(wanted, settings.to_dict(), maker, "scans", about)


def rig(
    *,
    out: Path,
    clips: int = 10,
    frames: int = 1,
    cameras: int = 8,
    shape: Literal["ring", "dome"] = "ring",
    rig: Path | None = None,
    radius: float = 3.5,
    height: float = 1.4,
    focal: float = 35.0,
    arc: float = 360.0,
    size: str = "1024x768",
    seed: int = 0,
    workers: int = 0,
    engine: Literal["local", "ray"] = "local",
    preview: int = 0,
    people_max: int = 2,
    children: bool = False,
    bvh: Path | None = None,
    lights: Path | None = None,
    optics: bool = True,
    device: str = "cpu",
    quality: int = 95,
    gallery: int = 60,
) -> int:
    """Render the same moments from many calibrated cameras, as frozen moments or short clips.

    A sample is called clip000003/frame0007/camera02; people keep their identity, clothes and place
    for a whole clip. The cameras are also written to cameras.json.

    Args:
        out: folder for shards, recipes, cameras, contact sheet, gallery and data card.
        clips: how many.
        frames: of each clip; 1 is a frozen moment.
        cameras: how many.
        shape: cameras on a circle, or over half a sphere.
        rig: JSON file of your own cameras, instead of the options before.
        radius: of ring or dome, metres.
        height: of the ring, metres.
        focal: length in millimetres of 24 x 36.
        arc: degrees the ring covers, centred on the front.
        size: HEIGHTxWIDTH of pictures in pixels.
        seed: of chance.
        workers: processes; 0 takes one per core.
        engine: local processes, or a Ray cluster whose machines all see --out.
        preview: make only so many pictures, small, and a sheet of them.
        people_max: most people in a clip.
        children: let children appear too; adults only otherwise.
        bvh: file or folder of recorded motion for the people; invented poses otherwise.
        lights: folder of lat-long .hdr or .exr environment maps.
        optics: a little noise as real cameras have it.
        device: where rays meet people: cpu (Embree), auto, or a GPU such as cuda:1.
        quality: JPEG quality of the pictures, 1 to 100; 0 for PNG.
        gallery: pictures in the gallery.
    """
    from vitruvian.synth import casting, production
    from vitruvian.synth import rig as rigs

    if clips < 1:
        raise InputError(f"--clips {clips}: ask for at least one")
    settings = _settings(
        size, preview, "full", 1, people_max, children, None, lights, optics, device
    )
    production.check_folders(settings)
    if rig is not None:
        placed = rigs.read_rig(rig)
    elif shape == "dome":
        placed = rigs.dome(cameras, size=settings.size, radius=radius, focal=focal)
    else:
        placed = rigs.ring(
            cameras, size=settings.size, radius=radius, height=height, focal=focal, arc=arc
        )
    if bvh is None:
        cast: Any = casting.moving
    else:
        cast = casting.Recorded(files=tuple(str(file) for file in casting.motions(bvh)))
    maker = rigs.RigMaker.of(placed, frames, cast)
    each = len(placed) * frames
    wanted = Wanted(
        out=out, count=clips * each, seed=seed, workers=workers, engine=engine, preview=preview,
        quality=quality, per_shard=each, gallery=gallery,
    )  # fmt: skip
    wanted.check()
    about = {"frames": frames, "cameras": dict(maker.cameras), "bvh": bvh is not None}
    folder = out / "preview" if preview else out
    if not (folder.exists() and not folder.is_dir()):
        rigs.write_rig(folder / "cameras.json", placed)
    return make(wanted, settings.to_dict(), maker, "rig", about)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What all verbs are told."""

    out: Path
    count: int
    seed: int
    workers: int
    engine: str
    preview: int
    quality: int
    per_shard: int
    gallery: int

    def check(self) -> None:
        """Refuse what cannot work before anything is read."""
        if self.count < 1:
            raise InputError(f"--count {self.count}: ask for at least one picture")
        if self.preview < 0:
            raise InputError(f"--preview {self.preview}: a number of pictures, or 0 for all")
        if not 0 <= self.quality <= 100:
            raise InputError(f"--quality {self.quality}: 1 to 100, or 0 for PNG")
        if self.workers < 0:
            raise InputError(f"--workers {self.workers}: a number of processes, 0 for one per core")


def parse_size(text: str) -> tuple[int, int]:
    """Read HEIGHTxWIDTH.

    Raises:
        InputError: if it is something else.
    """
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InputError(f"--size {text}: wanted HEIGHTxWIDTH, such as 1024x768")
    return int(parts[0]), int(parts[1])


_PREVIEW_HEIGHT = 256


def _settings(
    size: str,
    preview: int,
    framing: str,
    views: int,
    people_max: int,
    children: bool,
    backgrounds: Path | None,
    lights: Path | None,
    optics: bool,
    device: str,
) -> Any:
    from vitruvian.synth.recipe import SHARES, Settings

    if device != "cpu":
        from vitruvian.predict.device import pick_device  # loading torch takes seconds

        device = str(pick_device(device))
    height, width = parse_size(size)
    if preview and height > _PREVIEW_HEIGHT:  # the same pictures, smaller
        width, height = max(round(width * _PREVIEW_HEIGHT / height), 16), _PREVIEW_HEIGHT
    return Settings(
        size=(height, width),
        shares=dict(SHARES) if framing == "mixed" else {framing: 1.0},
        views=views,
        people_max=people_max,
        children=children,
        backgrounds=None if backgrounds is None else str(backgrounds),
        lights=None if lights is None else str(lights),
        optics=optics,
        device=device,
    )


def make(
    wanted: Wanted,
    settings: dict[str, Any],
    maker: "Maker",
    kind: str,
    about: dict[str, Any] | None = None,
) -> int:
    """Plan, render, and show what was made."""
    from vitruvian.synth import writer
    from vitruvian.synth.recipe import VERSION

    wanted.check()
    workers = wanted.workers or cores()
    out, count, per_shard = wanted.out, wanted.count, wanted.per_shard
    if wanted.preview:
        out, count = out / "preview", wanted.preview
        # every worker gets something to do, whole groups of views at a time
        views = settings["views"]
        per_shard = max(-(-count // (workers * views)), 1) * views
    described = {"kind": kind, "vitruvian": __version__, "generator": VERSION,
                 "seed": wanted.seed, "settings": settings, **(about or {})}  # fmt: skip
    jobs = writer.plan(
        out, count=count, seed=wanted.seed, settings=settings, prefix=kind, per_shard=per_shard,
        quality=wanted.quality or None, code=__version__,
    )  # fmt: skip
    runner: Engine = writer.Ray() if wanted.engine == "ray" else writer.Pool(workers)
    writer.claim(out, {**described, "per_shard": per_shard})
    left = writer.todo(jobs)
    start = time.perf_counter()
    made, errors = _run(runner, left, maker, count)
    seconds = time.perf_counter() - start
    shown = _show(out, wanted, described, preview=bool(wanted.preview))
    rate = f" ({made / seconds:.2f} a second)" if made else ""
    sys.stdout.write(f"{made} new of {count} pictures in {seconds:.0f} s{rate}, {out}/\n")
    for path in shown:
        sys.stdout.write(f"  {path}\n")
    for job, error in errors:
        sys.stderr.write(f"failed: {Path(job.path).name}: {error}\n")
    return 1 if errors else 0


def cores() -> int:
    """Return how many cores this process may use."""
    import os

    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def _run(
    runner: "Engine", left: "Sequence[Job]", maker: "Maker", count: int
) -> "tuple[int, list[tuple[Job, str]]]":
    """Run the jobs, showing progress; return pictures made and shards that failed."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    errors: list[tuple[Job, str]] = []
    made = 0
    if not left:
        return made, errors
    kept = count - sum(len(job) for job in left)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    start = time.perf_counter()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("pictures", total=count, completed=kept, rate="")
        events = runner.run(left, maker)
        try:
            for event in events:
                made += event.pictures
                if event.error is not None:
                    errors.append((event.job, event.error))
                rate = made / max(time.perf_counter() - start, 1e-9)
                progress.update(bar, completed=kept + made, rate=f"{rate:.2f}/s")
        finally:
            getattr(events, "close", lambda: None)()  # ends the processes at once
    return made, errors


def _show(out: Path, wanted: Wanted, described: dict[str, Any], *, preview: bool) -> list[Path]:
    """Write contact sheet, gallery and data card of what is finished."""
    from vitruvian import image
    from vitruvian.data.reader import Shards
    from vitruvian.data.shards import finished
    from vitruvian.synth import card, gallery

    if not finished(out):
        return []
    samples = Shards(out)
    sheet = out / "sheet.png"
    chosen = gallery.spread(len(samples), wanted.preview or 24)
    image.write(sheet, gallery.contact_sheet([samples[number] for number in chosen]))
    shown = [sheet]
    if not preview:
        shown.append(gallery.write_gallery(out, out / "gallery.html", most=wanted.gallery))
        shown.append(card.write_card(out, about=described))
    return shown

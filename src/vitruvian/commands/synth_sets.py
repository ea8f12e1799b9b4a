# SPDX-License-Identifier: Apache-2.0
"""``vitruvian synth thuman2|hi4d``: the truth of evaluation sets, made from their meshes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from vitruvian.commands.progress import progress_bar
from vitruvian.commands.synth import Wanted, cores, make
from vitruvian.errors import InputError

if TYPE_CHECKING:
    from vitruvian.data.sources.hi4d import Frame

FITS = 0.5
"""Least overlap (intersection over union) of a rendered scan with the distributed mask."""


def thuman2(
    scans: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    workers: int = 0,
    engine: Literal["local", "ray"] = "local",
    unit: Literal["auto", "m", "cm", "mm"] = "auto",
    turn: float = 0.0,
    triangles_max: int = 2_000_000,
    quality: int = 95,
    per_shard: int = 64,
) -> int:
    """Render the scans of THuman2.0 through the fixed cameras of the protocol thuman2.

    Each scan is seen once in each framing, face, upper body and full body: 1578 pictures with exact
    depth and normals in OUT/face, OUT/upper and OUT/full. Then measure with  vitruvian evaluate
    --protocol thuman2 --data OUT. Interrupt it at any time: the same command goes on.

    Args:
        scans: folder of the scans, 0000/0000.obj and so on, as distributed; views of scans that are
            not there are left out, and said.
        out: folder for the renders.
        workers: processes; 0 takes one per core.
        engine: local processes, or a Ray cluster whose machines all see --out and the scans.
        unit: of the files.
        turn: degrees about the vertical that make people look along +z (towards the viewer).
        triangles_max: refuse larger scans.
        quality: JPEG quality of the pictures, 1 to 100; 0 for PNG.
        per_shard: pictures per shard.
    """
    from vitruvian.evaluate.framings import FRAMINGS, manifest
    from vitruvian.synth.fixed import FixedMaker, View
    from vitruvian.synth.recipe import Settings
    from vitruvian.synth.scan import find_scans

    cameras = manifest("thuman2")
    files = {path.stem: str(path) for path in find_scans(scans)}
    views = [View(**view) for view in cameras.views if view["scan"] in files]
    wanted = {view["scan"] for view in cameras.views}
    if not views:
        raise InputError(
            f"{scans} has {len(files)} scans, such as {next(iter(files))}, none of them called "
            f"{min(wanted)} to {max(wanted)}: give the folder of THuman2.0's scans"
        )
    lost = wanted - files.keys()
    if lost:
        sys.stderr.write(
            f"warning: {len(lost)} of {len(wanted)} scans, such as {min(lost)}, are not in "
            f"{scans}: their views are left out\n"
        )
    options: dict[str, Any] = {"unit": unit, "turn": turn, "most_triangles": triangles_max}
    code = 0
    for framing in FRAMINGS:
        own = tuple(view for view in views if view.framing == framing)
        settings = Settings(
            size=cameras.size, shares={framing: 1.0}, views=1, people_max=1, optics=False
        )
        told = Wanted(
            out=out / framing, count=len(own), seed=0, workers=workers, engine=engine, preview=0,
            quality=quality, per_shard=per_shard, gallery=60,
        )  # fmt: skip
        maker = FixedMaker(
            views=own, files=tuple(files.items()), kind=cameras.name, options=tuple(options.items())
        )
        about = {**cameras.note(framing), "scans": [view.scan for view in own], "options": options}
        code = max(code, make(told, settings.to_dict(), maker, cameras.name, about))
    return code


def hi4d(
    data: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    pairs: tuple[str, ...] = ("28", "32", "37"),
    camera: int = 4,
    workers: int = 0,
    overwrite: bool = False,
) -> int:
    """Make depth and normals of Hi4D from its scans, through its own calibrated cameras.

    Writes depth/CAMERA/NNNNNN.npy (metres) and normals/CAMERA/NNNNNN.npy (OpenGL axes) beside the
    photographs. A scan that does not cover the distributed mask of its photograph is an error: then
    scan and camera do not belong together. Interrupt it at any time: the same command goes on.

    Args:
        data: folder that holds the pairs, as they unpack.
        pairs: whose photographs; by default those of the protocol hi4d.
        camera: whose photographs.
        workers: processes; 0 takes one per core.
        overwrite: make what is there already once more.
    """
    from vitruvian.data.sources.hi4d import frames

    if workers < 0:
        raise InputError(f"--workers {workers}: a number of processes, 0 for one per core")
    every = frames(data, pairs=pairs, camera=camera)
    left = [one for one in every if overwrite or not _made(one)]
    lost = [
        path for one in left for path in (one.mesh, one.mask, one.cameras) if not path.is_file()
    ]
    if lost:
        raise InputError(
            f"{data}: {len(lost)} files are missing, such as {lost[0]}: complete the set, or name "
            "the pairs that are there with --pairs"
        )
    with progress_bar(len(every), "photographs") as advance:
        done = len(every) - len(left)
        advance(done)
        for _ in _mapped([(one, camera) for one in left], min(workers or cores(), len(left))):
            done += 1
            advance(done)
    sys.stdout.write(
        f"{len(left)} of {len(every)} photographs got depth and normals; now  vitruvian evaluate "
        f"--protocol hi4d --data {data} --model …\n"
    )
    return 0


def _made(frame: "Frame") -> bool:
    return frame.depth.is_file() and frame.normals.is_file()


def _mapped(tasks: "list[tuple[Frame, int]]", workers: int) -> Any:
    if workers <= 1:
        yield from map(_make_maps, tasks)
        return
    import multiprocessing

    from vitruvian.data.workers import single_threaded

    with single_threaded():
        pool = multiprocessing.get_context("spawn").Pool(workers)
    with pool:
        yield from pool.imap_unordered(_make_maps, tasks)


def _make_maps(task: "tuple[Frame, int]") -> None:
    import numpy as np

    from vitruvian.camera import Camera
    from vitruvian.data.sources.hi4d import read_camera
    from vitruvian.data.sources.maps import read_mask
    from vitruvian.files import atomic
    from vitruvian.image import read
    from vitruvian.synth.fixed import seen_maps

    frame, number = task
    size = read(frame.picture).shape[:2]
    matrix, outer = read_camera(frame.cameras, number)
    camera = Camera(
        matrix=matrix, size=(size[0], size[1]), rotation=outer[:, :3], translation=outer[:, 3]
    )
    depth, normals, there = seen_maps(frame.mesh, camera)
    mask = read_mask(frame.mask, (size[0], size[1]))
    either = (there | mask).sum()
    overlap = float((there & mask).sum() / either) if either else 0.0
    if overlap < FITS:
        raise InputError(
            f"{frame.picture}: {frame.mesh.name} seen by camera {number} covers {overlap:.0%} of "
            "what it shares with the mask: scan, camera and photograph do not belong together"
        )
    for path, array in ((frame.depth, depth), (frame.normals, normals)):
        with atomic(path.with_suffix(".npy")) as temporary:
            np.save(temporary, array)

# SPDX-License-Identifier: Apache-2.0
"""Truth of mesh data sets: scans through fixed cameras, and maps of calibrated frames.

What decides a number is fixed outside; only backgrounds and their light are drawn, by the number of
the picture.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.errors import InputError
from vitruvian.synth.framing import focal_pixels, frame
from vitruvian.synth.gathered import gather
from vitruvian.synth.gbuffer import trace
from vitruvian.synth.mending import cleaned, outwards, welded_normals
from vitruvian.synth.mesh import Mesh
from vitruvian.synth.production import Sets, assemble, draw_look, facts_of, photograph, scan_actor
from vitruvian.synth.recipe import Framing, Recipe, Settings, Standing, stream
from vitruvian.synth.scan import read_meshes
from vitruvian.synth.stage import Actor
from vitruvian.synth.writer import Job, Picture

_PLAIN = 5.0  # degrees of elevation where the wanted camera would be below the floor


@dataclass(frozen=True, kw_only=True)
class View:
    """How a scan is to be seen.

    Attributes:
        scan: name of its file, without suffix.
        framing: what the camera shows.
        focal: length in millimetres of 24 × 36.
        azimuth: degrees from the scan's +z towards +x.
        elevation: degrees above the horizon.
        roll: degrees clockwise.
        fill: share of the picture's width or height that what is shown spans.
    """

    scan: str
    framing: Framing
    focal: float
    azimuth: float
    elevation: float
    roll: float
    fill: float

    def camera(self, actor: Actor, size: tuple[int, int]) -> Camera:
        """Return the camera for a scan that stands at the origin.

        Raises:
            InputError: if it would be below the floor even when raised.
        """
        shown, focal = actor.region(self.framing), focal_pixels(self.focal, size)
        for elevation in (self.elevation, _PLAIN):
            turn, rise = np.radians((self.azimuth, elevation))
            flat = np.cos(rise)
            way = np.array([np.sin(turn) * flat, np.sin(rise), np.cos(turn) * flat])
            roll = float(np.radians(self.roll))
            found = frame(shown, way, focal, size, roll=roll, fill=self.fill)
            if found is not None:
                return found
        raise InputError(f"{self.scan}: no camera above the floor shows its {self.framing}")


@dataclass(frozen=True, kw_only=True)
class FixedMaker:
    """Makes pictures of scans through fixed cameras; picklable, as other processes need it.

    Attributes:
        views: of the pictures, by number.
        files: name → file of the scans.
        kind: for the recipes and the names of samples.
        options: of ``scan.load_scan``, as pairs.
    """

    views: tuple[View, ...]
    files: tuple[tuple[str, str], ...]
    kind: str
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, job: Job) -> Iterator[Picture]:
        """Make the pictures of a job."""
        settings, files = Settings.from_dict(job.settings), dict(self.files)
        for index in range(job.first, job.last):
            view = self.views[index]
            actor = _actor(files[view.scan], self.options)
            camera = view.camera(actor, settings.size)
            group = assemble([actor], [Standing()], device=settings.device)
            sets = Sets(job.seed, index, group.actors, [camera])
            look = draw_look(job.seed, index, settings, sets, 0, view.focal)
            noise = stream(job.seed, index, "noise")
            made = photograph(group, camera, look, noise, name=f"{self.kind}-{view.scan}")
            told = {key: v for key, v in asdict(view).items() if not isinstance(v, str)}
            yield (
                made.sample,
                Recipe(
                    code=job.code,
                    kind=self.kind,
                    settings=job.settings,
                    seed=job.seed,
                    index=index,
                    framing=view.framing,
                    people=tuple(actor.facts for actor in group.actors),
                    standing=group.standing,
                    camera=camera.to_dict(),
                    view=told,
                    light=look.light_facts,
                    background=look.background_facts,
                    optics=asdict(look.lens),
                    facts=facts_of(made),
                ),
            )


@lru_cache(maxsize=1)
def _actor(path: str, options: tuple[tuple[str, Any], ...]) -> Actor:
    return scan_actor(path, **dict(options))


def seen_maps(
    path: str | Path, camera: Camera
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return what a calibrated camera sees of a mesh, in the mesh's own world (metres).

    Args:
        path: of the mesh.
        camera: that sees it.

    Returns:
        (H, W) depth in metres, 0 where nothing is; (H, W, 3) unit normals in OpenGL axes, 0 where
        nothing is; (H, W) where something is.

    Raises:
        InputError: if the mesh cannot be read, or has no triangles.
    """
    pieces = [cleaned(mesh.vertices, mesh.faces) for mesh in read_meshes(Path(path))]
    meshes = [_plain(vertices, faces) for vertices, faces, _ in pieces if len(faces)]
    if not meshes:
        raise InputError(f"{path}: no triangles: wanted a mesh")
    buffer = trace(gather(meshes), camera)
    depth = buffer.depth()
    normals = buffer.normals() * np.array([1, -1, -1], np.float32)
    return depth, normals + np.float32(0), depth > 0  # + 0: no negative zeros


def _plain(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> Mesh:
    faces, _ = outwards(vertices, faces)
    return Mesh(
        vertices=vertices.astype(np.float32),
        faces=faces,
        normals=welded_normals(vertices, faces),
        labels=np.full(len(faces), 255, np.uint8),
        surfaces=np.zeros(len(faces), np.int16),
        canonical=vertices.astype(np.float32),
        instance=1,
    )

# SPDX-License-Identifier: Apache-2.0
"""Many calibrated cameras around one moment, and short clips of it: data for capture and video.

Pictures are numbered clip by clip, frame by frame, camera by camera::

    index = (clip · frames + frame) · cameras + camera

Everybody keeps their number (``Person.identity``), clothes, place and light for a whole clip, and
cameras stand still. A rig with one frame per clip is a frozen moment.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian.camera import Camera
from vitruvian.errors import InputError
from vitruvian.files import read_json, write_json
from vitruvian.synth.framing import focal_pixels, look_at
from vitruvian.synth.optics import Optics
from vitruvian.synth.production import Look, Sets, assemble, draw_look, facts_of, photograph
from vitruvian.synth.recipe import Recipe, Settings, Standing, stream
from vitruvian.synth.stage import Actor, arrange, footprint, stood
from vitruvian.synth.writer import Job, Picture

Cameras = Mapping[str, Camera]
Moving = Callable[[int, int, int, int, Settings], Sequence[Actor]]
"""(seed, clip, frame, frames, settings) → the people of one frame, each at the origin."""


def ring(
    count: int,
    *,
    size: tuple[int, int],
    radius: float = 3.5,
    height: float = 1.4,
    target: float = 1.0,
    focal: float = 35.0,
    arc: float = 360.0,
    first: int = 0,
) -> dict[str, Camera]:
    """Return cameras on a circle about the vertical, all looking at its middle.

    Args:
        count: how many; the first stands in front (+z), the next ones towards +x.
        size: (height, width) of their pictures.
        radius: metres.
        height: of the cameras, metres.
        target: height they look at, metres.
        focal: length in millimetres of 24 × 36.
        arc: degrees they are spread over; less than 360 is centred on the front.
        first: number of the first, for names.

    Raises:
        InputError: for no camera, or one in the floor or in the middle.
    """
    if count < 1:
        raise InputError(f"a rig has at least one camera, got {count}")
    if radius <= 0 or height <= 0 or focal <= 0 or not 0 <= arc <= 360:
        raise InputError(
            "a ring's radius, height and focal length are above 0, its arc is 0 to 360 degrees"
        )
    if arc == 360:
        angles = np.arange(count) * 2 * np.pi / count
    else:
        angles = np.radians(np.linspace(-arc / 2, arc / 2, count) if count > 1 else [0.0])
    plain = Camera.from_focal(focal_pixels(focal, size), size)
    cameras: dict[str, Camera] = {}
    for number, angle in enumerate(angles, first):
        eye = np.array([np.sin(angle) * radius, height, np.cos(angle) * radius])
        rotation, translation = look_at(eye, np.array([0.0, target, 0.0]))
        name = f"camera{number:02d}"
        cameras[name] = replace(plain, rotation=rotation, translation=translation)
    return cameras


def dome(
    count: int, *, size: tuple[int, int], radius: float = 3.5, focal: float = 35.0
) -> dict[str, Camera]:
    """Return cameras spread evenly over the upper half of a sphere, looking at its middle.

    They lie on a spiral of equal areas from 5° to 75° above a middle one metre high.
    """
    if count < 1:
        raise InputError(f"a rig has at least one camera, got {count}")
    low, high = np.sin(np.radians(5)), np.sin(np.radians(75))
    rises = np.arcsin(low + (high - low) * (np.arange(count) + 0.5) / count)
    turns = np.arange(count) * np.pi * (3 - np.sqrt(5))  # the golden angle
    plain = Camera.from_focal(focal_pixels(focal, size), size)
    middle = np.array([0.0, 1.0, 0.0])
    cameras: dict[str, Camera] = {}
    for number, (rise, turn) in enumerate(zip(rises, turns, strict=True)):
        flat = np.cos(rise)
        way = np.array([np.sin(turn) * flat, np.sin(rise), np.cos(turn) * flat])
        rotation, translation = look_at(middle + way * radius, middle)
        cameras[f"camera{number:02d}"] = replace(plain, rotation=rotation, translation=translation)
    return cameras


def read_rig(path: str | Path) -> dict[str, Camera]:
    """Read a user's cameras: ``{"cameras": {NAME: {size, matrix, rotation, translation, …}}}``.

    The world is ours: metres, y up, floor y = 0, people about the origin looking along +z. Cameras
    are OpenCV's: x right, y down, z forward, x_camera = rotation · x_world + translation.
    ``distortion`` may be left out.

    Raises:
        InputError: if the file is something else, or a name is no plain word.
    """
    given = read_json(path)
    if not isinstance(given, dict) or not isinstance(given.get("cameras"), dict):
        raise InputError(f'{path}: wanted {{"cameras": {{NAME: {{"size": …}}}}}}')
    if not given["cameras"]:
        raise InputError(f"{path}: a rig has at least one camera")
    cameras: dict[str, Camera] = {}
    for name, values in given["cameras"].items():
        if not name.replace("-", "").replace("_", "").isalnum():
            raise InputError(f"{path}: a camera's name is letters, digits, - and _, got {name!r}")
        try:
            cameras[name] = Camera.from_dict({"distortion": [], **values})
        except InputError as error:
            raise InputError(f"{path}: camera {name}: {error}") from error
    return cameras


def write_rig(path: str | Path, cameras: Cameras) -> None:
    """Write cameras as :func:`read_rig` reads them."""
    write_json(path, {"cameras": {n: camera.to_dict() for n, camera in cameras.items()}}, indent=1)


# ---------------------------------------------------------------------------------- pictures


@dataclass(frozen=True)
class RigMaker:
    """Makes the pictures of a rig of a job; picklable, as other processes need it.

    Attributes:
        cameras: name and ``Camera.to_dict`` of each.
        frames: per clip.
        cast: makes the people of a frame; a module-level function.
    """

    cameras: tuple[tuple[str, dict[str, Any]], ...]
    frames: int
    cast: Moving

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise InputError(f"a clip has at least one frame, got {self.frames}")
        if not self.cameras:
            raise InputError("a rig has at least one camera")

    @classmethod
    def of(cls, cameras: Cameras, frames: int, cast: Moving) -> "RigMaker":
        """Build one from cameras."""
        pairs = tuple((name, camera.to_dict()) for name, camera in cameras.items())
        return cls(cameras=pairs, frames=frames, cast=cast)

    def __call__(self, job: Job) -> Iterator[Picture]:
        """Make the pictures of a job."""
        settings = Settings.from_dict(job.settings)
        cameras = {name: Camera.from_dict(values) for name, values in self.cameras}
        names = list(cameras)
        here = (-1, -1)
        group = None
        look: Look | None = None
        standing: tuple[Standing, ...] = ()
        clip = -1
        for index in range(job.first, job.last):
            moment, view = divmod(index, len(names))
            if here != divmod(moment, self.frames):
                here = divmod(moment, self.frames)
                if here[0] != clip:
                    clip = here[0]
                    standing, look = self._begin(job.seed, clip, settings, cameras)
                actors = self.cast(job.seed, *here, self.frames, settings)
                group = assemble(actors, standing, device=settings.device)
            assert group is not None
            assert look is not None
            frame = here[1]
            name = f"clip{clip:06d}/frame{frame:04d}/{names[view]}"
            camera = cameras[names[view]]
            made = photograph(group, camera, look, stream(job.seed, index, "noise"), name=name)
            recipe = Recipe(
                code=job.code,
                kind="rig",
                settings=job.settings,
                seed=job.seed,
                index=index,
                framing="rig",
                people=tuple(actor.facts for actor in group.actors),
                standing=group.standing,
                camera=camera.to_dict(),
                view={"clip": clip, "frame": frame, "camera": view},
                light=look.light_facts,
                background=look.background_facts,
                facts=facts_of(made),
            )
            yield made.sample, recipe

    def _begin(
        self, seed: int, clip: int, settings: Settings, cameras: Cameras
    ) -> tuple[tuple[Standing, ...], Look]:
        """Return places at which nobody meets anybody during a clip, and what it looks like.

        Both depend on the whole clip, never on the frame that is made first.
        """
        last = self.frames - 1
        chosen = sorted({0, last // 4, last // 2, 3 * last // 4, last})
        casts = [self.cast(seed, clip, frame, self.frames, settings) for frame in chosen]
        everyone = list(zip(*casts, strict=True))
        feet = [footprint(np.concatenate([one.cloud(6000) for one in same])) for same in everyone]
        standing = arrange(stream(seed, clip, "stand"), feet)
        placed = [
            stood(actor, where, 1)
            for same, where in zip(everyone, standing, strict=True)
            for actor in same
        ]
        sets = Sets(seed, clip, placed, list(cameras.values()))
        # photographs are flat: seen by many cameras they would contradict each other
        plain = replace(settings, backgrounds=None, optics=False)
        look = draw_look(seed, clip, plain, sets, 0, 35.0)
        if settings.optics:
            rng = stream(seed, clip, "optics")
            noise, read = rng.uniform(0, 3), rng.uniform(0, 1)
            look = replace(look, lens=Optics(noise=float(noise), read_noise=float(read)))
        return standing, look

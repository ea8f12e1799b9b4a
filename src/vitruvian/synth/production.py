# SPDX-License-Identifier: Apache-2.0
"""From a number to a picture: people are made, put on the stage, lit, and photographed.

:func:`people` and :func:`scans` make the pictures of one job of ``vitruvian.synth.writer``. A group
of people is built once and seen by several cameras; every group and every picture has its own
generators, so a picture depends on (settings, seed, index) alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian.camera import Camera
from vitruvian.errors import InputError
from vitruvian.synth import background, irradiance, light, place, places
from vitruvian.synth.background import Background
from vitruvian.synth.card import measured
from vitruvian.synth.casting import invented
from vitruvian.synth.clearing import Clearing
from vitruvian.synth.framing import Shot, shoot
from vitruvian.synth.irradiance import Quality
from vitruvian.synth.light import Light
from vitruvian.synth.optics import Optics
from vitruvian.synth.recipe import Recipe, Settings, Standing, stream
from vitruvian.synth.render import Figure, Landmarks, Rendered, Scene, Stage, prepare, render
from vitruvian.synth.stage import Actor, arrange, crowd_size, footprint, stood
from vitruvian.synth.writer import Job, Picture

Cast = Callable[[int, int, Settings], Sequence[Actor]]
"""(seed, group, settings) → the people of a group, each at the origin."""

_SHARING = 2  # pictures of a group that share an invented place


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Posed people who stand together, ready for cameras.

    Attributes:
        actors: where they stand, numbered from 1.
        standing: how they were put there.
        stage: their geometry, prepared for rays.
    """

    actors: tuple[Actor, ...]
    standing: tuple[Standing, ...]
    stage: Stage


def assemble(
    actors: Sequence[Actor], standing: Sequence[Standing], *, device: str = "cpu"
) -> Group:
    """Put actors where they stand and prepare them for cameras, for rays cast on a device."""
    placed = tuple(
        stood(actor, where, number)
        for number, (actor, where) in enumerate(zip(actors, standing, strict=True), 1)
    )
    stage = prepare(scene_of(placed), device=device)
    return Group(actors=placed, standing=tuple(standing), stage=stage)


def scene_of(actors: Sequence[Actor]) -> Scene:
    """Join placed actors into a scene; their surfaces are renumbered one after the other."""
    meshes = []
    surfaces: list[Any] = []
    figures: list[Figure] = []
    for number, actor in enumerate(actors, 1):
        start = np.int16(len(surfaces))
        meshes += [replace(mesh, surfaces=mesh.surfaces + start) for mesh in actor.meshes]
        surfaces += actor.surfaces
        landmarks: dict[str, Landmarks] = {}
        if isinstance(actor.keep, Landmarks) and actor.points is not None:
            landmarks["pose"] = replace(actor.keep, xyz=actor.points)
        figures.append(Figure(instance=number, landmarks=landmarks))
    return Scene(meshes=tuple(meshes), surfaces=tuple(surfaces), people=tuple(figures))


# ------------------------------------------------------------------------------------- looks


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """Light, background and lens of one picture, with what the recipe says of them."""

    backdrop: Background
    shine: Light | None
    lens: Optics
    background_facts: Mapping[str, Any]
    light_facts: Mapping[str, Any]


class Sets:
    """The invented places of one group, built when first wanted."""

    def __init__(
        self, seed: int, number: int, actors: Sequence[Actor], cameras: Sequence[Camera]
    ) -> None:
        """Remember whom and what the places have to leave free."""
        cloud = np.concatenate([actor.cloud(1500) for actor in actors])
        eyes = np.array([camera.centre for camera in cameras])
        self.clearing = Clearing(low=cloud.min(axis=0), high=cloud.max(axis=0), eyes=eyes)
        self._seed, self._number = seed, number
        self._built: dict[int, tuple[Background, str]] = {}

    def get(self, which: int) -> tuple[Background, str]:
        """Return one of the places, and its kind."""
        if which not in self._built:
            rng = stream(self._seed, self._number, "background", 1000 + which)
            names = places.KINDS
            kind = names[int(rng.choice(len(names), p=[0.45, 0.25, 0.2, 0.1]))]
            made = places.make_place(rng, self.clearing, kind=kind)
            self._built = {which: (place.prepare(made), kind)}  # one at a time: memory stays flat
        return self._built[which]


@lru_cache(maxsize=4)
def _photographs(folder: str) -> tuple[Path, ...]:
    return tuple(background.photographs(folder))


@lru_cache(maxsize=4)
def light_files(folder: str) -> tuple[Path, ...]:
    """Return the environment maps of a folder.

    Raises:
        InputError: if there is none.
    """
    path = Path(folder)
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in (".hdr", ".exr"))
    if not found:
        raise InputError(f"no .hdr or .exr file in {path}: put lat-long environment maps there")
    return tuple(found)


def check_folders(settings: Settings) -> None:
    """Look into the folders that the settings name, before any work is done.

    Raises:
        InputError: if one is missing or has nothing usable in it.
    """
    if settings.backgrounds is not None:
        _photographs(settings.backgrounds)
    if settings.lights is not None:
        light_files(settings.lights)


def draw_look(
    seed: int, index: int, settings: Settings, sets: Sets, which: int, focal: float
) -> Look:
    """Draw the background, light and lens of a picture.

    Args:
        seed: of the set.
        index: of the picture.
        settings: of the set.
        sets: the group's invented places.
        which: of them.
        focal: length in millimetres: long lenses blur the background more.
    """
    rng = stream(seed, index, "background")
    if settings.backgrounds is not None and rng.random() < 0.85:
        files = _photographs(settings.backgrounds)
        file = files[int(rng.integers(len(files)))]
        backdrop: Background = background.read_photo(file, rng)
        root = Path(settings.backgrounds)
        behind = {"kind": "photograph", "file": file.relative_to(root).as_posix()}
    else:
        backdrop, kind = sets.get(which)
        behind = {"kind": kind, "number": which}
    rng = stream(seed, index, "light")
    shine: Light | None = None
    about: dict[str, Any] = {"kind": "background"}
    if settings.lights is not None and rng.random() < 0.6:
        files = light_files(settings.lights)
        file = files[int(rng.integers(len(files)))]
        turn = float(rng.uniform(0, 2 * np.pi))
        shine = light.read_light(file, turn=turn)
        about = {"kind": "map", "file": file.name, "turn": round(turn, 4)}
    elif isinstance(backdrop, background.Photo) and rng.random() < 0.3:
        kinds = {"sky": light.sky, "indoor": light.indoor, "studio": light.studio}
        kind = list(kinds)[int(rng.integers(len(kinds)))]
        shine = kinds[kind](rng)
        about = {"kind": kind}
    lens = Optics()
    if settings.optics:
        lens = draw_optics(stream(seed, index, "optics"), settings.size, focal)
    return Look(
        backdrop=backdrop, shine=shine, lens=lens, background_facts=behind, light_facts=about
    )


def draw_optics(rng: np.random.Generator, size: tuple[int, int], focal: float) -> Optics:
    """Draw how a picture is taken: mostly well, sometimes badly."""
    pixel = size[0] / 1024  # lengths are told for pictures 1024 pixels high

    def sometimes(share: float, low: float, high: float) -> float:
        drawn, chance = float(rng.uniform(low, high)), float(rng.random())
        return drawn if chance < share else 0.0

    warm, green = rng.normal(0, 0.05), rng.normal(0, 0.02)
    blur = sometimes(0.45, 0.001, 0.006) * (1 + focal / 60)
    return Optics(
        exposure=float(rng.normal(0, 0.35)),
        background_blur=blur,
        defocus=sometimes(0.07, 0.5, 3) * pixel,
        motion=sometimes(0.06, 2, 14) * pixel,
        motion_angle=float(rng.uniform(0, np.pi)),
        vignette=sometimes(0.3, 0.05, 0.4),
        tint=(float(np.exp(warm)), float(np.exp(green)), float(np.exp(-warm))),
        noise=sometimes(0.6, 0.5, 7),
        read_noise=sometimes(0.4, 0.2, 3),
        fringe=sometimes(0.15, 0.3, 1.5) * pixel,
        grey=bool(rng.random() < 0.03),
        contrast=round(float(np.clip(rng.normal(1, 0.1), 0.7, 1.35)), 2),
        jpeg=int(sometimes(0.5, 55, 96)),
    )


# -------------------------------------------------------------------------------- the pictures


def pictures(job: Job, cast_of: Cast, *, kind: str = "people") -> Iterator[Picture]:
    """Make the pictures of a job.

    Args:
        job: which.
        cast_of: makes the people of a group.
        kind: for the recipes and the names of samples.
    """
    settings = Settings.from_dict(job.settings)
    for number in range(job.first // settings.views, -(-job.last // settings.views)):
        actors = cast_of(job.seed, number, settings)
        footprints = [footprint(actor.cloud(20_000)) for actor in actors]
        standing = arrange(stream(job.seed, number, "stand"), footprints)
        group = assemble(actors, standing, device=settings.device)
        start = number * settings.views
        indices = range(start, start + settings.views)
        # all cameras of a group are known before its places are: nothing is built into their view
        shots = [shoot(stream(job.seed, i, "camera"), group.actors, settings) for i in indices]
        sets = Sets(job.seed, number, group.actors, [shot.camera for shot in shots])
        for view, (index, shot) in enumerate(zip(indices, shots, strict=True)):
            if not job.first <= index < job.last:
                continue
            focal = float(shot.facts.get("focal", 50.0))
            look = draw_look(job.seed, index, settings, sets, view // _SHARING, focal)
            made = photograph(
                group, shot.camera, look, stream(job.seed, index, "noise"),
                name=f"{kind}-{index:08d}",
            )  # fmt: skip
            yield made.sample, _recipe(job, kind, index, group, shot, look, made)


def photograph(
    group: Group,
    camera: Camera,
    look: Look,
    rng: np.random.Generator,
    *,
    name: str,
    quality: Quality | None = None,
) -> Rendered:
    """Render a group."""
    quality = quality or irradiance.quality_for(camera.size[0])
    return render(
        group.stage, camera, look.backdrop, rng, light=look.shine, optics=look.lens,
        quality=quality, name=name,
    )  # fmt: skip


def _recipe(
    job: Job, kind: str, index: int, group: Group, shot: Shot, look: Look, made: Rendered
) -> Recipe:
    return Recipe(
        code=job.code,
        kind=kind,
        settings=job.settings,
        seed=job.seed,
        index=index,
        attempt=shot.attempt,
        framing=shot.framing,
        subject=shot.subject,
        people=tuple(actor.facts for actor in group.actors),
        standing=group.standing,
        camera=shot.camera.to_dict(),
        view={key: value for key, value in shot.facts.items() if not isinstance(value, str)},
        light=look.light_facts,
        background=look.background_facts,
        optics=asdict(look.lens),
        facts=facts_of(made),
    )


def remake(recipe: Mapping[str, Any]) -> Picture:
    """Make a picture of people again from its recipe (a line of ``….recipes.jsonl``).

    Raises:
        InputError: for a recipe of another version of the generator, or of another kind: scans and
            rigs also need their files.
    """
    given = Recipe.from_dict(recipe)
    if given.kind != "people":
        raise InputError(f"a recipe of {given.kind}: run its command again to make its pictures")
    job = Job(
        number=0,
        first=given.index,
        last=given.index + 1,
        path="",
        seed=given.seed,
        settings=dict(given.settings),
        code=given.code,
    )
    return next(people(job))


def facts_of(made: Rendered) -> dict[str, Any]:
    """Measure a finished picture: heights of people, pixels of parts, pixels per person."""
    height = made.sample.size[0]
    instances = np.bincount(made.instances.ravel())
    return {
        "heights": [round(float(p.box[3] - p.box[1] + 1) / height, 4) for p in made.sample.people],
        "pixels": {str(k): int(n) for k, n in enumerate(instances) if k and n},
        "parts": measured(made.buffer.labels()),
    }


# -------------------------------------------------------------------------------------- casts


def people(job: Job) -> Iterator[Picture]:
    """Make the pictures of people of a job."""
    return pictures(job, invented)


@lru_cache(maxsize=2)
def _scan_actor(path: str, options: tuple[tuple[str, Any], ...]) -> Actor:
    return scan_actor(path, **dict(options))


def scan_actor(path: str | Path, **options: Any) -> Actor:
    """Read a scan as an actor; options as of ``scan.load_scan``."""
    from vitruvian import vocabulary
    from vitruvian.synth.scan import load_scan

    found = load_scan(path, **options)
    keep = None
    if found.points is not None and found.words is not None:
        words = vocabulary.load(found.words)
        tolerance = np.full(len(words), 0.05, np.float32)
        keep = Landmarks(vocabulary=words, xyz=found.points, tolerance=tolerance)
    return Actor(
        meshes=found.meshes,
        surfaces=found.surfaces,
        points=found.points,
        facts={"scan": found.name, "height": round(found.height, 3), "parts": found.parts},
        keep=keep,
    )


@dataclass(frozen=True)
class ScanMaker:
    """Makes the pictures of scans of a job; picklable, as other processes need it.

    Attributes:
        files: the scans.
        options: of ``scan.load_scan``, as pairs.
    """

    files: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, job: Job) -> Iterator[Picture]:
        """Make the pictures of a job."""
        return pictures(job, self._cast, kind="scans")

    def _cast(self, seed: int, group: int, settings: Settings) -> list[Actor]:
        rng = stream(seed, group, "scan")
        count = min(crowd_size(rng, settings.people_max), len(self.files))
        # the first of each group goes through all scans in turn, so that every scan is seen
        chosen = [group % len(self.files)]
        others = [k for k in range(len(self.files)) if k != chosen[0]]
        chosen += [int(k) for k in rng.permutation(others)[: count - 1]]
        return [_scan_actor(self.files[k], self.options) for k in chosen]

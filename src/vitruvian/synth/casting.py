# SPDX-License-Identifier: Apache-2.0
"""Who is on the stage: invented people, in poses of their own, in motion, or in recorded motion.

Everything here is a function of (seed, group or clip, frame, settings); the people themselves come
from ``vitruvian.synth.people``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian.errors import InputError
from vitruvian.synth.actors import person_actor
from vitruvian.synth.body import load_body
from vitruvian.synth.bvh import bvh_poses, read_bvh
from vitruvian.synth.families import sample_pose
from vitruvian.synth.landmarks import landmark_table
from vitruvian.synth.motion import between, eased
from vitruvian.synth.pose import Pose
from vitruvian.synth.recipe import Settings, stream
from vitruvian.synth.render import Landmarks
from vitruvian.synth.stage import Actor, crowd_size

_KEYS = 24  # frames from one key pose to the next


def invented(seed: int, group: int, settings: Settings) -> list[Actor]:
    """Invent the people of a group."""
    specs = _specs(seed, group, settings)
    return [_built(spec, settings, len(specs), None) for spec in specs]


def moving(seed: int, clip: int, frame: int, frames: int, settings: Settings) -> list[Actor]:
    """Return the people of one frame of a clip who move between poses of their own."""
    specs = _specs(seed, clip, settings)
    if frames == 1:
        return [_built(spec, settings, len(specs), None) for spec in specs]
    keys = max(2, round(frames / _KEYS) + 1)
    number, share = eased(frame, frames, keys)
    actors: list[Actor] = []
    for place, spec in enumerate(specs):
        first, second = (
            _key_pose(spec, seed, clip, 100 * place + key) for key in (number, number + 1)
        )
        actors.append(_built(spec, settings, len(specs), between(first, second, share)))
    return actors


def motions(path: str | Path) -> list[Path]:
    """Return the BVH files of a folder, or the one file named.

    Raises:
        InputError: if there is none.
    """
    given = Path(path)
    if given.is_file():
        return [given]
    found = sorted(given.rglob("*.bvh")) if given.is_dir() else []
    if not found:
        raise InputError(f"no .bvh file in {given}: name one, or a folder of recorded motion")
    return found


@dataclass(frozen=True)
class Recorded:
    """Returns the people of one frame of a clip who do what was recorded; picklable.

    Attributes:
        files: BVH files; each person of a clip takes one, and a stretch of it, by chance.
    """

    files: tuple[str, ...]

    def __call__(
        self, seed: int, clip: int, frame: int, frames: int, settings: Settings
    ) -> list[Actor]:
        """Return the people of one frame of a clip."""
        specs = _specs(seed, clip, settings)
        rng = stream(seed, clip, "clip")
        actors: list[Actor] = []
        for spec in specs:
            file = self.files[int(rng.integers(len(self.files)))]
            start = float(rng.random())
            poses = _recorded(file, spec, start, frames)
            actors.append(_built(spec, settings, len(specs), poses[min(frame, len(poses) - 1)]))
        return actors


# ---------------------------------------------------------------- what we ask of the people


def _specs(seed: int, group: int, settings: Settings) -> Sequence[Any]:
    from vitruvian.synth import people

    rng = stream(seed, group, "people")
    count = crowd_size(rng, settings.people_max)
    ages = "all" if settings.children else "adult"
    return [people.sample_person(rng, ages=ages) for _ in range(count)]


def _built(spec: Any, settings: Settings, count: int, pose: Pose | None) -> Actor:
    """Build a person, in another pose than their own if one is given."""
    from vitruvian.synth import people

    detail = settings.detail
    if detail is None:
        detail = 1 if settings.size[0] <= 640 or count > 3 else 2
    person = people.build_person(spec, detail=detail, pose=pose)
    table = landmark_table(1)
    landmarks = Landmarks(
        vocabulary=table.vocabulary, xyz=np.asarray(person.landmarks), tolerance=table.tolerance
    )
    facts = {"spec": spec, "pose": person.pose.family}  # the family, also where chance drew it
    return person_actor(
        person.meshes, person.surfaces, landmarks, facts=facts, seat=person.pose.seat
    )


def _key_pose(spec: Any, seed: int, clip: int, key: int) -> Pose:
    """Draw one pose of a clip that a person moves through; people who move stand on their feet."""
    from vitruvian.synth import people

    rng = stream(seed, clip, "clip", key)
    family = ("stand", "walk", "reach", "gesture")[int(rng.integers(4))]
    return sample_pose(load_body(), people.rest_body(spec), rng, family=family)[0]


@lru_cache(maxsize=8)
def _read(file: str) -> Any:
    return read_bvh(file)


def _recorded(file: str, spec: Any, start: float, frames: int) -> list[Pose]:
    from vitruvian.synth import people

    motion = _read(file)
    total = len(motion)
    first = int(start * max(total - frames, 0))
    wanted = [min(first + frame, total - 1) for frame in range(frames)]
    return bvh_poses(load_body(), people.rest_body(spec), motion, frames=wanted)

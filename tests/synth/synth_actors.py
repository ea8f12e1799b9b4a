# SPDX-License-Identifier: Apache-2.0
"""People of capsules in the place of real ones, and makers that other processes can import."""

import numpy as np

from synth_shapes import mannequin
from vitruvian import vocabulary
from vitruvian.synth import production
from vitruvian.synth.recipe import stream
from vitruvian.synth.render import Landmarks
from vitruvian.synth.stage import Actor, crowd_size
from vitruvian.synth.surfaces import Solid

WORDS = vocabulary.load("coco17")
PLACES = {"nose": (0, 1.58, 0.11), "left_wrist": (0.36, 0.86, 0.15), "left_ankle": (0.11, 0.1, 0)}


def figure(height=1.0):
    """One person of capsules, ``height`` times the usual 1.72 m."""
    points = np.full((len(WORDS), 3), np.nan)
    for name, place in PLACES.items():
        points[WORDS.index(name)] = np.array(place) * height
    colours = ((0.5, 0.3, 0.2), (0.2, 0.3, 0.6), (0.1, 0.1, 0.12), (0.05, 0.04, 0.03))
    meshes = []
    for mesh in mannequin(rows=8):
        values = {name: getattr(mesh, name) for name in mesh.__dataclass_fields__}
        values["vertices"] = (mesh.vertices * np.float32(height)).astype(np.float32)
        meshes.append(type(mesh)(**values))
    return Actor(
        meshes=tuple(meshes),
        surfaces=tuple(Solid(colour=colour) for colour in colours),
        points=points,
        facts={"height": height, "family": "stand"},
        keep=Landmarks(vocabulary=WORDS, xyz=points, tolerance=np.full(len(WORDS), 0.1)),
    )


def cast(seed, group, settings):
    rng = stream(seed, group, "people")
    return [
        figure(float(rng.uniform(0.9, 1.1))) for _ in range(crowd_size(rng, settings.people_max))
    ]


def rendered(job):
    return production.pictures(job, cast)

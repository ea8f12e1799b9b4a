# SPDX-License-Identifier: Apache-2.0
"""People for tests: someone at rest to dress, and built people that several tests look at."""

from functools import cache

import numpy as np
from scipy.spatial import KDTree

from vitruvian.synth.bare import bare_skin
from vitruvian.synth.body import Phenotype, load_body, shape_bodies
from vitruvian.synth.complexion import skin_surface
from vitruvian.synth.people import BuiltPerson, Person, build_person, rest_body, sample_person
from vitruvian.synth.shells import Part, Wearer

ALL = 0.5  # metres: a margin that hides nothing


@cache
def still(detail=0, seed=4, **phenotype) -> Wearer:
    """Someone at rest."""
    model = load_body()
    rest = shape_bodies(model, [Phenotype(**({"gender": 0.9, "weight": 0.6} | phenotype))])
    return Wearer(
        rest=rest.vertices[0],
        heads=rest.heads[0],
        vertices=rest.vertices[0],
        transforms=np.tile(np.eye(3, 4, dtype=np.float32), (len(model.bones), 1, 1)),
        detail=detail,
        seed=seed,
    )


@cache
def somebody(seed: int, family: str | None = None) -> Person:
    """A person drawn by chance."""
    return sample_person(np.random.default_rng([seed, 21]), family=family)


@cache
def built(seed: int, family: str | None = None, detail: int = 0) -> BuiltPerson:
    """The same, built."""
    return build_person(somebody(seed, family), detail=detail)


def whole_skin(person: Person, own: BuiltPerson) -> Part:
    """All of a built person's skin, also what is hidden by clothes."""
    rest = rest_body(person)
    wearer = Wearer(
        rest=rest.vertices[0],
        heads=rest.heads[0],
        vertices=own.posed.vertices,
        transforms=own.posed.transforms,
        detail=0,
        seed=0,
    )
    nothing = [(lambda shell: [np.full(len(shell.arm), -1.0)], ALL)]
    return bare_skin(wearer, nothing, skin_surface(person.complexion, person.hair, 0))


def gaps(points, vertices, faces, count=24):
    """Distances from (n, 3) points to the nearest of the triangles whose middles are nearest."""
    corners = vertices[faces].astype(np.float64)
    near = KDTree(corners.mean(axis=1)).query(points, k=min(count, len(faces)))[1]
    a, b, c = (corners[near][:, :, k] for k in range(3))
    p = np.asarray(points, np.float64)[:, None]

    def edge(start, end):
        way = end - start
        t = ((p - start) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-30)
        return np.linalg.norm(p - start - np.clip(t, 0, 1)[..., None] * way, axis=-1)

    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-30)
    height = ((p - a) * normal).sum(-1)
    foot = p - height[..., None] * normal
    pairs = ((a, b), (b, c), (c, a))
    inside = np.all([(np.cross(e - s, foot - s) * normal).sum(-1) >= 0 for s, e in pairs], axis=0)
    return np.where(inside, np.abs(height), np.min([edge(s, e) for s, e in pairs], 0)).min(axis=1)

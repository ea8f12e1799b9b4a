# SPDX-License-Identifier: Apache-2.0
"""Both engines against each other, against brute force, and at the edges of the input."""

import numpy as np
import pytest
import torch

from synth_shapes import mannequin, quad, sphere
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.synth import embree, intersect
from vitruvian.synth.embree import EmbreeIntersector
from vitruvian.synth.intersect import make_intersector
from vitruvian.synth.wavefront import TorchIntersector

pytest.importorskip("embreex")
torch.set_num_threads(1)


def rays(count=2000, seed=0, spread=0.7):
    rng = np.random.default_rng(seed)
    origins = rng.normal(size=(count, 3))
    origins *= 3 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.normal(scale=spread, size=(count, 3)) - origins
    return origins.astype(np.float32), directions.astype(np.float32)


def brute_force(vertices, faces, origins, directions):
    """Nearest distance by testing every pair in float64, solving 3×3 systems."""
    corners = vertices[faces].astype(np.float64)
    best = np.full(len(origins), np.inf)
    for index, (origin, way) in enumerate(zip(origins, directions, strict=True)):
        matrix = np.stack(
            [
                corners[:, 1] - corners[:, 0],
                corners[:, 2] - corners[:, 0],
                -np.tile(way, (len(corners), 1)),
            ],
            axis=2,
        )
        regular = np.abs(np.linalg.det(matrix)) > 1e-12
        solved = np.linalg.solve(matrix[regular], (origin - corners[regular, 0])[..., None])[..., 0]
        met = (solved[:, 0] >= 0) & (solved[:, 1] >= 0) & (solved[:, :2].sum(1) <= 1)
        met &= solved[:, 2] > 0
        if met.any():
            best[index] = solved[met, 2].min()
    return best


def joined(meshes):
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    faces = [m.faces + s for m, s in zip(meshes, starts[:-1], strict=True)]
    return np.concatenate([m.vertices for m in meshes]), np.concatenate(faces).astype(np.int32)


def slowly(vertices, faces):
    """Embree, filled through the binding."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embree, "hand_over", lambda *_: False)
        return EmbreeIntersector(vertices, faces)


ENGINES = (
    EmbreeIntersector,
    slowly,
    TorchIntersector,
    lambda vertices, faces: TorchIntersector(vertices, faces, pairs=1 << 12),
)


NAMES = ["embree", "embree by its binding", "torch", "torch in small batches"]


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_nearest_is_that_of_brute_force(engine):
    body = sphere(0.8, rows=8)
    origins, directions = rays(300)
    wanted = brute_force(body.vertices, body.faces, origins, directions)
    found = engine(body.vertices, body.faces).nearest(origins, directions)
    assert np.array_equal(np.isfinite(wanted), found.face >= 0)
    assert 50 < np.isfinite(wanted).sum() < 290
    hit = found.face >= 0
    np.testing.assert_allclose(found.distance[hit], wanted[hit], rtol=1e-5)
    corners = body.vertices[body.faces[found.face[hit]]]
    u, v = found.u[hit, None], found.v[hit, None]
    inside = corners[:, 0] * (1 - u - v) + corners[:, 1] * u + corners[:, 2] * v
    met = origins[hit] + directions[hit] * found.distance[hit, None]
    np.testing.assert_allclose(inside, met, atol=2e-5)
    assert (found.distance[~hit] == np.inf).all()


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_occluded_is_nearest_within_reach(engine):
    vertices, faces = joined(mannequin(rows=8))
    origins, directions = rays(spread=0.4)
    origins[:, 1] += 1
    directions[:, 1] *= 0.5
    one = engine(vertices, faces)
    found = one.nearest(origins, directions)
    assert 100 < (found.face >= 0).sum() < 1900
    assert np.array_equal(one.occluded(origins, directions), found.face >= 0)
    reach = np.full(len(origins), 0.9, np.float32)
    assert np.array_equal(one.occluded(origins, directions, reach), found.distance <= 0.9)


def test_engines_agree():
    vertices, faces = joined(mannequin(rows=16))
    origins, directions = rays(6000, seed=4, spread=0.4)
    origins[:, 1] += 1
    directions[:, 1] *= 0.5
    embree = make_intersector(vertices, faces, engine="embree").nearest(origins, directions)
    torch64 = TorchIntersector(vertices, faces, dtype=torch.float64).nearest(origins, directions)
    hit = embree.face >= 0
    assert (hit != (torch64.face >= 0)).sum() <= 2
    both = hit & (torch64.face >= 0)
    assert (embree.face == torch64.face)[both].mean() > 0.999
    error = np.abs(embree.distance[both] - torch64.distance[both])
    assert np.quantile(error, 0.99) < 1e-5


def test_both_ways_into_embree_give_the_same_bytes():
    vertices, faces = joined(mannequin(rows=16))
    origins, directions = rays(6000, seed=4, spread=0.4)
    one = EmbreeIntersector(vertices, faces).nearest(origins, directions)
    two = slowly(vertices, faces).nearest(origins, directions)
    assert np.array_equal(one.face, two.face)
    hit = one.face >= 0
    assert np.array_equal(one.distance, two.distance)
    assert np.array_equal(one.u[hit], two.u[hit])


def test_another_version_of_the_binding_is_left_alone(monkeypatch):
    class Other:
        pass

    body = sphere(rows=4)
    assert not embree.hand_over(Other(), body.vertices, body.faces)
    monkeypatch.setattr(embree.metadata, "version", lambda _: "5.0.0")
    embree._library.cache_clear()
    try:
        assert embree._library() is None
    finally:
        embree._library.cache_clear()


def test_shared_origin_and_ties():
    wall = quad((-1, -1, 0), (2, 0, 0), (0, 2, 0))
    twice = np.concatenate([wall.faces, wall.faces]).astype(np.int32)
    diagonal = np.array([[0, 0, -1], [0.1, 0.1, -1]], np.float32)
    for engine in (EmbreeIntersector, TorchIntersector):
        found = engine(wall.vertices, wall.faces).nearest(np.array([0, 0, 2.0]), diagonal)
        np.testing.assert_allclose(found.distance, 2, rtol=1e-6)
    assert (
        TorchIntersector(wall.vertices, twice).nearest(np.array([0, 0, 2.0]), diagonal).face < 2
    ).all()


@pytest.mark.parametrize("engine", ["embree", "torch"])
def test_nothing_to_meet(engine):
    none = make_intersector(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), engine=engine)
    origins, directions = rays(5)
    assert (none.nearest(origins, directions).face == -1).all()
    assert not none.occluded(origins, directions).any()
    body = sphere(rows=4)
    some = make_intersector(body.vertices, body.faces, engine=engine)
    assert len(some.nearest(origins[:0], directions[:0]).face) == 0


def test_engines_are_chosen_by_name_and_device(monkeypatch):
    body = sphere(rows=4)
    with pytest.raises(UnknownNameError, match="embree"):
        make_intersector(body.vertices, body.faces, engine="embre")
    with pytest.raises(InputError, match="on the CPU"):
        make_intersector(body.vertices, body.faces, engine="embree", device="cuda")
    monkeypatch.setattr(intersect.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(intersect.sys, "platform", "linux")
    assert isinstance(make_intersector(body.vertices, body.faces), TorchIntersector)


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    from vitruvian.errors import MissingExtraError

    body = sphere(rows=4)
    monkeypatch.setitem(__import__("sys").modules, "embreex.mesh_construction", None)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[synth\]"):
        make_intersector(body.vertices, body.faces, engine="embree")


def test_torch_works_where_it_is_told_to():
    """All tensors are made on the engine's device, as on a GPU: elsewhere is a place to trip on."""
    vertices, faces = joined([sphere(0.8, rows=8)])
    origins, directions = rays(200)
    plain = TorchIntersector(vertices, faces, device="cpu").nearest(origins, directions)
    with torch.device("meta"):  # tensors of no stated device cannot be mixed with the engine's
        engine = TorchIntersector(vertices, faces, device="cpu")
        met = engine.nearest(origins, directions)
        engine.occluded(origins, directions, np.ones(len(directions), np.float32))
    assert np.array_equal(met.face, plain.face)
    assert np.array_equal(met.distance, plain.distance)

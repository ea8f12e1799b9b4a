# SPDX-License-Identifier: Apache-2.0
"""Exactness on dressed people, through all of production: depth, normals, keypoints, mirrors.

The judge casts its own rays in float64, at the meshes themselves, with code that shares nothing
with the engine that made the pictures.
"""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from synth_shapes import PARTS, mirrored
from vitruvian.camera import Camera
from vitruvian.person import ABSENT, VISIBLE, composite
from vitruvian.synth import casting, framing, production, render, surfaces, writer
from vitruvian.synth.recipe import Settings, Standing, stream
from vitruvian.synth.wavefront import TorchIntersector

pytest.importorskip("embreex")

SETTINGS = Settings(size=(192, 144), views=2, people_max=1, detail=2, optics=False)
SEED, SKIRTED, GROUP = 4, 32, 0
STANDING = (Standing(place=(0.0, 0.0), yaw=0.3), Standing(place=(0.75, -0.4), yaw=-0.4))


@pytest.fixture(scope="module")
def group():
    actors = [casting.invented(seed, GROUP, SETTINGS)[0] for seed in (SEED, SKIRTED)]
    worn = {garment.kind for garment in actors[1].facts["spec"].garments}
    assert worn & {"skirt", "dress"}, "cloth with the largest facets belongs into the test"
    return production.assemble(actors, STANDING)


@pytest.fixture(scope="module")
def shot(group):
    """A picture of two people close to each other, in an invented room."""
    camera = framing.frame(
        np.concatenate([actor.region("full") for actor in group.actors]),
        np.array([0.25, 0.12, 0.96]),
        framing.focal_pixels(50, SETTINGS.size),
        SETTINGS.size,
        fill=0.95,
    )
    sets = production.Sets(SEED, GROUP, group.actors, [camera])
    look = production.draw_look(SEED, GROUP, SETTINGS, sets, 0, 50.0)
    made = production.photograph(group, camera, look, stream(SEED, 0, "noise"), name="x")
    return made, look


def triangles(group):
    """All corners of the scene in the world, in float64, and what each triangle is."""
    meshes = group.stage.scene.meshes
    corners = np.concatenate([mesh.vertices.astype(np.float64)[mesh.faces] for mesh in meshes])
    labels = np.concatenate([mesh.labels for mesh in meshes])
    own = np.concatenate([np.full(len(mesh.faces), mesh.instance) for mesh in meshes])
    kinds = np.concatenate([mesh.surfaces for mesh in meshes])
    return corners, labels, own, kinds


@pytest.fixture(scope="module")
def judge(group):
    corners = triangles(group)[0]
    return TorchIntersector(
        corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3), dtype=torch.float64
    )


def seen(judge, camera):
    """What the judge's rays through all pixel centres meet."""
    height, width = camera.size
    y, x = np.mgrid[:height, :width]
    ways = camera.rays(np.stack([x.ravel(), y.ravel()], axis=1)) @ camera.rotation
    return judge.nearest(camera.centre, ways), ways


def whole(sample, name):
    raster = composite(sample.people, name, sample.size)
    assert raster is not None
    return raster


def test_depth_and_labels_are_those_of_independent_rays(group, shot, judge):
    sample = shot[0].sample
    met, _ = seen(judge, sample.camera)
    _, labels, own, _ = triangles(group)
    face = met.face.reshape(sample.size)
    person = np.where(face >= 0, own[face], 0)
    assert ((person > 0) != (shot[0].instances > 0)).sum() <= 2
    both = (person > 0) & (shot[0].instances > 0)
    assert both.sum() > 4000
    assert (person == shot[0].instances)[both].mean() > 0.9995
    assert (labels[face] == whole(sample, "parts").values)[both].mean() > 0.9995
    depth = whole(sample, "depth").values
    wrong = np.abs(depth / met.distance.reshape(sample.size) - 1)[both] > 1e-4
    # where two strands of hair cross at a pixel's centre, rounding decides which is first
    assert wrong.mean() < 5e-4


def test_lifted_depth_lies_on_the_triangles(group, shot, judge):
    sample = shot[0].sample
    met, _ = seen(judge, sample.camera)
    corners = triangles(group)[0]
    depth = whole(sample, "depth")
    pixel = np.flatnonzero(depth.mask.ravel() & (met.face >= 0))
    y, x = np.divmod(pixel, sample.size[1])
    world = sample.camera.lift(np.stack([x, y], axis=1), depth.values[y, x])
    a, b, c = corners[met.face[pixel]].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    off = np.abs(((world - a) * normal).sum(axis=1))
    assert np.quantile(off, 0.999) < 2e-5  # metres


def test_normals_are_smooth_ones_of_their_faces(group, shot):
    buffer = shot[0].buffer
    hits = buffer.hits
    hair = [
        number
        for number, one in enumerate(group.stage.scene.surfaces)
        if isinstance(one, surfaces.Hair)
    ]
    chosen = (hits.instance > 0) & ~np.isin(hits.surface, hair)
    cosine = np.clip((hits.normal * hits.plane).sum(axis=0), -1, 1)
    angle = np.degrees(np.arccos(cosine))[chosen]
    assert np.median(angle) <= 4
    assert np.quantile(angle, 0.95) <= 10
    normals = whole(shot[0].sample, "normals")
    length = np.linalg.norm(normals.values[normals.mask], axis=1)
    np.testing.assert_allclose(length, 1, atol=1e-5)
    height, width = buffer.camera.size
    y, x = np.mgrid[:height, :width]
    rays = buffer.camera.rays(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(height, width, 3)
    assert ((normals.values * rays).sum(axis=2)[normals.mask] < 0).all(), "they face the viewer"


def test_all_308_keypoints_project_from_their_3d_and_are_seen_by_exact_rays(group, shot, judge):
    sample, look = shot[0].sample, shot[1]
    camera = sample.camera
    for person, actor in zip(sample.people, group.actors, strict=True):
        points = person.points()
        assert len(points.vocabulary) == 308
        xyz = points.xyz.astype(np.float64)
        xy = xyz[:, :2] / xyz[:, 2:] @ camera.matrix[:2, :2].T + camera.matrix[:2, 2]
        assert np.abs(xy - points.xy).max() < 0.01
        np.testing.assert_allclose(camera.project(actor.points)[0], points.xy, atol=0.01)
        inside = points.visibility != ABSENT
        assert inside.sum() > 250
        way = actor.points[inside] - camera.centre
        length = np.linalg.norm(way, axis=1)
        first = judge.nearest(camera.centre, way).distance
        margin = (1 - first) * length - actor.keep.tolerance[inside]
        wall = look.backdrop.intersector.nearest(
            camera.centre.astype(np.float32), way.astype(np.float32)
        )
        clear = (margin <= 0) & (wall.distance > 1 - 1e-3)
        sure = np.abs(margin) > 1e-4
        assert np.array_equal(clear[sure], (points.visibility[inside] == VISIBLE)[sure])
        assert sure.mean() > 0.98
        assert 0 < clear.sum() < 308


def test_a_mirrored_scene_of_people_has_the_mirrored_labels(group, shot):
    """Sides, depth, normals, boxes and keypoints: the laws say what a mirror does."""
    sample = shot[0].sample
    camera, look = sample.camera, shot[1]
    flip = np.diag([-1.0, 1, 1])
    matrix = flip @ camera.matrix @ flip
    matrix[0, 2] = camera.size[1] - 1 - camera.matrix[0, 2]
    twin = Camera(
        matrix=matrix, size=camera.size, rotation=flip @ camera.rotation @ flip,
        translation=flip @ camera.translation,
    )  # fmt: skip
    scene = group.stage.scene

    def swapped(own):
        order = own.vocabulary.mirror
        return replace(own, xyz=own.xyz[order] * [-1, 1, 1], tolerance=own.tolerance[order])

    other = replace(
        scene,
        meshes=tuple(mirrored(mesh) for mesh in scene.meshes),
        people=tuple(
            replace(one, landmarks={"pose": swapped(one.landmarks["pose"])}) for one in scene.people
        ),
    )
    # one background for both: walls would have to be mirrored too
    flat = render.backgrounds.Photo(image=np.full((8, 6, 3), 128, np.uint8))
    rng = stream(SEED, 0, "noise")
    one = render.render(group.stage, camera, flat, rng, light=look.shine).sample.mirrored()
    two = render.render(render.prepare(other), twin, flat, rng, light=look.shine).sample
    first, second = whole(one, "parts"), whole(two, "parts")
    differ = first.values != second.values
    assert differ.sum() <= 8
    assert (second.values == PARTS.index("Left_Hand")).any() or (
        second.values == PARTS.index("Right_Hand")
    ).any()
    depth = whole(one, "depth"), whole(two, "depth")
    both = depth[0].mask & depth[1].mask & ~differ
    gap = np.abs(depth[0].values - depth[1].values)[both]
    assert np.quantile(gap, 0.999) < 1e-4
    normals = whole(one, "normals"), whole(two, "normals")
    gap = np.abs(normals[0].values - normals[1].values)[both].max(axis=1)
    assert np.quantile(gap, 0.999) < 1e-2
    assert len(one.people) == len(two.people) == 2
    for left, right in zip(one.people, two.people, strict=True):
        np.testing.assert_allclose(left.points().xy, right.points().xy, atol=2e-3)
        np.testing.assert_allclose(left.points().xyz, right.points().xyz, atol=1e-5)
        assert (left.points().visibility != right.points().visibility).sum() <= 2
        np.testing.assert_allclose(np.sort(left.box), np.sort(right.box), atol=1)


def jobs(folder):
    small = Settings(size=(32, 24), views=2, people_max=1, detail=0)
    return writer.plan(folder, count=4, seed=2, settings=small.to_dict(), per_shard=2)


def contents(folder):
    files = sorted(path for path in folder.iterdir() if path.suffix in (".tar", ".jsonl"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_one_worker_two_and_none_make_the_same_bytes_of_people(tmp_path):
    here, one, two = (tmp_path / name for name in ("here", "one", "two"))
    list(writer.Here().run(jobs(here), production.people))
    for folder, workers in ((one, 1), (two, 2)):
        events = list(writer.Pool(workers).run(jobs(folder), production.people))
        assert not [event.error for event in events if event.error]
    assert len(contents(here)) == 4
    assert contents(here) == contents(one) == contents(two)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray leaves sockets and files to its own processes
def test_a_ray_cluster_makes_the_same_bytes_of_people(tmp_path):
    ray = pytest.importorskip("ray")
    here, there = tmp_path / "here", tmp_path / "there"
    list(writer.Here().run(jobs(here), production.people))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        events = list(writer.Ray().run(jobs(there), production.people))
    finally:
        ray.shutdown()
    assert not [event.error for event in events if event.error]
    assert sum(event.pictures for event in events) == 4
    assert contents(here) == contents(there)

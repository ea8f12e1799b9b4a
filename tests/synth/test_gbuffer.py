# SPDX-License-Identifier: Apache-2.0
"""Exactness: closed forms, an independent float64 caster, mirrored scenes, and lifting back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from synth_shapes import PARTS, box, look, mannequin, mirrored, quad, sphere
from vitruvian.camera import Camera, depth_to_position, pixel_grid, position_to_normals
from vitruvian.errors import InputError
from vitruvian.geometry import Crop
from vitruvian.person import Raster
from vitruvian.synth.gathered import gather
from vitruvian.synth.gbuffer import cast, interpolate, places, strands, trace
from vitruvian.synth.wavefront import TorchIntersector

pytest.importorskip("embreex")
torch.set_num_threads(1)


def degrees(a, b):
    return np.degrees(np.arccos(np.clip((a * b).sum(axis=-1), -1, 1)))


def inner(mask, width=1):
    """Pixels whose neighbours up to ``width`` away are in the mask too."""
    result = mask.copy()
    for axis in (0, 1):
        for step in range(-width, width + 1):
            result &= np.roll(mask, step, axis)
    return result


def test_sphere_is_its_closed_form():
    centre, radius = np.array([0.1, 1.2, -0.3]), 0.5
    camera = look((0.4, 1.6, 2.0), (0, 1.2, -0.3), size=(240, 180), roll=0.2)
    buffer = trace(gather([sphere(radius, centre, rows=300)]), camera)
    rays = camera.rays(pixel_grid(camera.size))
    middle = camera.to_camera(centre)
    a = (rays * rays).sum(-1)
    b = rays @ middle
    root = b * b - a * (middle @ middle - radius**2)
    depth = (b - np.sqrt(np.maximum(root, 0))) / a
    normals = (rays * depth[..., None] - middle) / radius
    wanted = root > 0
    seen = buffer.depth() > 0
    assert (seen != wanted).sum() <= 6  # the mesh is a hair smaller than the sphere
    safe = inner(wanted & seen, 2) & (-(normals * rays).sum(-1) / np.sqrt(a) > 0.1)
    assert safe.sum() > 5000
    assert (np.abs(buffer.depth() - depth) / depth)[safe].max() < 1e-4
    assert degrees(buffer.normals(), normals)[safe].max() < 0.1
    lengths = np.linalg.norm(buffer.normals()[seen], axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    assert ((buffer.normals() * rays).sum(-1)[seen] < 0).all()


def test_plane_is_its_closed_form():
    normal = np.array([0.3, 0.2, 1.0]) / np.linalg.norm([0.3, 0.2, 1.0])
    first = np.cross([0, 1.0, 0], normal)
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    wall = quad(-20 * (first + second), 40 * first, 40 * second, labels=7)
    camera = look((0.5, 1.0, 5.0), (0, 0, 0), size=(120, 160))
    buffer = trace(gather([wall]), camera)
    rays = camera.rays(pixel_grid(camera.size)) @ camera.rotation
    depth = -(camera.centre @ normal) / (rays @ normal)
    assert (np.abs(buffer.depth() - depth) / depth).max() < 1e-5
    wanted = np.broadcast_to(camera.rotation @ normal, (*camera.size, 3))
    assert degrees(buffer.normals().astype(np.float64), wanted).max() < 0.1
    assert (buffer.labels() == 7).all()
    behind = trace(gather([wall]), look((0.5, 1.0, -5.0), (0, 0, 0), size=(12, 16)))
    assert (behind.normals()[..., 2] < 0).all(), "a wall seen from behind faces the viewer too"


def test_box_is_its_closed_form():
    low, high = np.array([-0.4, 0.0, -0.3]), np.array([0.5, 1.1, 0.2])
    camera = look((1.5, 2.0, 2.5), (0, 0.5, 0), size=(200, 160))
    buffer = trace(gather(box(low, high)), camera)
    rays = camera.rays(pixel_grid(camera.size)) @ camera.rotation
    enter = np.minimum((low - camera.centre) / rays, (high - camera.centre) / rays)
    leave = np.maximum((low - camera.centre) / rays, (high - camera.centre) / rays).min(-1)
    axis = enter.argmax(-1)
    depth = enter.max(-1)
    hit = leave > depth
    side = np.take_along_axis(rays, axis[..., None], -1)[..., 0] < 0  # seen from above this axis
    labels = np.where(hit, 1 + 2 * axis + side, 0)
    # away from half-pixel borders: all four corners of the pixel see the same side
    sure = inner(labels == labels, 1)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            sure &= np.roll(labels, (dy, dx), (0, 1)) == labels
    assert sure.mean() > 0.9
    assert np.array_equal(buffer.labels()[sure], labels[sure])
    inside = hit & sure
    assert (np.abs(buffer.depth() - depth) / depth)[inside].max() < 1e-5
    normals = np.zeros((*camera.size, 3))
    np.put_along_axis(normals, axis[..., None], np.where(side, 1.0, -1.0)[..., None], -1)
    assert degrees(buffer.normals(), normals @ camera.rotation.T)[inside].max() < 0.1


def scene():
    return [*mannequin(instance=1), *mannequin(instance=2, shift=(0.5, 0, -0.6))]


def test_depth_is_exact_on_the_triangle_that_was_met():
    camera = look((0.8, 1.4, 2.6), (0.2, 0.9, 0), size=(256, 192))
    geometry = gather(scene())
    hits = trace(geometry, camera).hits
    eye = camera.centre - geometry.centre
    xy = np.stack([hits.ray % 192, hits.ray // 192], axis=1)
    rays = camera.rays(xy) @ camera.rotation
    corners = geometry.vertices[geometry.faces[hits.face]].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    depth = (normal * (corners[:, 0] - eye)).sum(1) / (normal * rays).sum(1)
    assert np.abs(hits.depth - depth).max() < 1e-5
    at = (
        interpolate(geometry, hits, slice(None), geometry.attributes[:, :3]).T - geometry.centre
    ).T
    np.testing.assert_allclose(at, hits.position, atol=2e-4)  # seen at grazing angles


def test_engines_see_the_same_people():
    camera = look((0.8, 1.4, 2.6), (0.2, 0.9, 0), size=(256, 192))
    geometry = gather(scene())
    judge = TorchIntersector(geometry.vertices, geometry.faces, dtype=torch.float64)
    embree, other = trace(geometry, camera), trace(replace(geometry, intersector=judge), camera)
    first, second = embree.instances(), other.instances()
    assert ((first > 0) != (second > 0)).sum() <= 5
    both = (first > 0) & (second > 0)
    assert (embree.labels() == other.labels())[both].mean() >= 0.9999
    assert np.quantile(np.abs(embree.depth() - other.depth())[both], 0.999) < 1e-5
    assert set(np.unique(first)) == {0, 1, 2}


def test_lifted_depth_lies_on_the_mesh_and_agrees_with_its_normals():
    camera = look((0.8, 1.4, 2.6), (0.2, 0.9, 0), size=(512, 384))
    buffer = trace(gather(mannequin(rows=48)), camera)
    depth, labels = buffer.depth(), buffer.labels()
    y, x = np.nonzero(depth)
    world = camera.lift(np.stack([x, y], axis=1), depth[y, x])
    again, z = camera.project(world)
    np.testing.assert_allclose(again, np.stack([x, y], axis=1), atol=1e-3)
    np.testing.assert_allclose(z, depth[y, x], rtol=1e-6)
    # every lifted point of the first head is a capsule's radius away from its axis
    head = buffer.instances()[y, x] == 1
    head &= (labels[y, x] == PARTS.index("Face_Neck")) & (world[:, 1] > 1.51)
    start, end = np.array([0, 1.5, 0]), np.array([0, 1.62, 0.01])
    along = np.clip((world[head] - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
    distance = np.linalg.norm(world[head] - start - along[:, None] * (end - start), axis=1)
    assert head.sum() > 500
    np.testing.assert_allclose(distance, 0.1, atol=3e-4)  # the facets of the capsule
    finite = position_to_normals(depth_to_position(depth, camera))
    smooth = inner(depth > 0, 2) & np.isfinite(finite).all(-1)
    for shift in ((0, 2), (2, 0), (0, -2), (-2, 0)):
        smooth &= np.abs(np.roll(depth, shift, (0, 1)) - depth) < 0.01
    angles = degrees(finite, buffer.normals())[smooth]
    assert np.median(angles) < 4
    assert np.quantile(angles, 0.95) < 10


def test_a_mirrored_scene_gives_mirrored_labels():
    camera = look((0.8, 1.4, 2.6), (0.2, 0.9, 0), size=(256, 192), roll=0.1)
    flip = np.diag([-1.0, 1, 1])
    # the camera at the mirrored place, its pictures mirrored by flipping its own x axis
    matrix = flip @ camera.matrix @ flip
    matrix[0, 2] = camera.size[1] - 1 - camera.matrix[0, 2]
    twin = Camera(
        matrix=matrix,
        size=camera.size,
        rotation=flip @ camera.rotation @ flip,
        translation=flip @ camera.translation,
    )
    one = trace(gather(scene()), camera)
    two = trace(gather([mirrored(body) for body in scene()]), twin)
    crop = Crop.whole(camera.size).mirrored()
    labels = Raster(law="label", values=one.labels(), vocabulary=PARTS).warped(crop)
    differ = labels.values != two.labels()
    assert differ.sum() <= 3
    same = ~differ
    depth = Raster(law="scalar", values=one.depth(), kind="metric").warped(crop)
    normals = Raster(law="vector", values=one.normals(), valid=one.depth() > 0).warped(crop)
    np.testing.assert_allclose(depth.values[same], two.depth()[same], atol=1e-5)
    np.testing.assert_allclose(normals.values[same], two.normals()[same], atol=2e-3)
    left = (two.labels() == PARTS.index("Left_Hand")).sum()
    assert left == (one.labels() == PARTS.index("Right_Hand")).sum() > 0


def test_a_lens_bends_rays_not_depth():
    plain = look((0.3, 1.3, 2.6), (0, 0.9, 0), size=(200, 150))
    lens = replace(plain, distortion=np.array([-0.2, 0.05, 0.001, -0.002]))
    geometry = gather(mannequin())
    buffer = trace(geometry, lens)
    y, x = np.nonzero(buffer.depth())
    world = lens.lift(np.stack([x, y], axis=1), buffer.depth()[y, x])
    inside = world - geometry.centre
    np.testing.assert_allclose(inside.T, buffer.hits.position, atol=1e-4)
    assert (buffer.labels() != trace(geometry, plain).labels()).mean() > 0.005


def test_rays_are_cast_only_where_something_can_be():
    geometry = gather(mannequin())
    far = trace(geometry, look((0, 1, 12), (0, 1, 0), size=(240, 320)))
    x0, y0, x1, y1 = far.window
    assert (x1 - x0) * (y1 - y0) < 240 * 320 / 10
    assert (far.depth() > 0).sum() > 100
    near = trace(geometry, look((0, 1.3, 0.05), (0, 1.3, -3), size=(24, 32)))
    assert near.window == (0, 0, 32, 24)
    away = trace(geometry, look((0, 1, 5), (0, 1, 10), size=(24, 32)))
    assert len(away.hits) == 0
    assert not away.labels().any()


def test_places_know_their_pixel_and_strands_their_direction():
    camera = look((0, 0, 3), (0, 0, 0), size=(100, 100))
    uv = np.array([[0, 0], [2, 0], [2, 1], [0, 1]], np.float32)
    sheet = quad((-0.5, -0.5, 0), (1, 0, 0), (0.3, 1, 0), uv=uv, surface=2)
    geometry = gather([sheet])
    hits = trace(geometry, camera).hits
    spots = places(geometry, hits, np.arange(len(hits)), 2, camera)
    assert spots.footprint == pytest.approx(3 / camera.matrix[0, 0], rel=1e-3)
    np.testing.assert_allclose(spots.facing, [[0], [0], [1]] * np.ones(len(hits)), atol=1e-6)
    np.testing.assert_allclose(spots.uv[1], spots.canonical[1] + 0.5, atol=1e-6)
    along = strands(geometry, hits, np.arange(len(hits)))
    wanted = np.array([[0.3], [1], [0]]) / np.linalg.norm([0.3, 1])
    np.testing.assert_allclose(along, wanted * np.ones(len(hits)), atol=1e-6)


def test_positions_between_pixels_can_be_cast():
    camera = look((0, 1, 3), (0, 1, 0), size=(64, 48))
    geometry = gather(mannequin())
    x, y = pixel_grid(camera.size).reshape(-1, 2).T
    whole = cast(geometry, camera, x, y)
    assert np.array_equal(whole.ray, trace(geometry, camera).hits.ray)
    moved = cast(geometry, camera, x + 0.25, y + 0.25)
    assert 0 < (np.setxor1d(moved.ray, whole.ray)).size < 200


def test_empty_and_broken_meshes_are_refused():
    with pytest.raises(InputError, match="at least one mesh"):
        gather([])
    broken = sphere(rows=4)
    broken.vertices[3] = np.nan
    with pytest.raises(InputError, match="finite"):
        gather([broken])
    with pytest.raises(InputError, match="255"):
        gather([sphere(rows=4, instance=300)])

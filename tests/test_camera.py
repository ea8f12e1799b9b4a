# SPDX-License-Identifier: Apache-2.0
"""Cameras, and the way between depth, positions and normals."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.camera import Camera, depth_to_position, pixel_grid, position_to_normals
from vitruvian.errors import InputError
from vitruvian.geometry import Crop, rotation_about


def some_camera(distortion=()):
    return Camera(
        matrix=np.array([[900.0, 0, 310], [0, 880, 250], [0, 0, 1]]),
        size=(480, 640),
        rotation=rotation_about([0.2, 1, 0.1], 0.4),
        translation=np.array([0.1, -0.2, 3.0]),
        distortion=np.array(distortion),
    )


LENSES = [(), (0.1, -0.05, 0.002, -0.003), (0.1, -0.05, 0.002, -0.003, 0.01)]
LENSES.append((0.1, -0.05, 0.002, -0.003, 0.01, 0.05, 0.01, 0.001))


@pytest.mark.parametrize("lens", LENSES)
def test_projection_equals_opencv(lens):
    camera = some_camera(lens)
    world = np.random.default_rng(0).normal(size=(50, 3)) * 0.5
    ours, depth = camera.project(world)
    rotation = cv2.Rodrigues(camera.rotation)[0]
    distortion = camera.distortion if len(lens) else None
    theirs = cv2.projectPoints(world, rotation, camera.translation, camera.matrix, distortion)[0]
    np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-6)
    np.testing.assert_allclose(depth, camera.to_camera(world)[:, 2])


@pytest.mark.parametrize("lens", LENSES)
def test_lifting_undoes_projection(lens):
    camera = some_camera(lens)
    world = np.random.default_rng(1).normal(size=(4, 5, 3)) * 0.3
    xy, depth = camera.project(world)
    np.testing.assert_allclose(camera.lift(xy, depth), world, atol=1e-5)


def test_points_behind_the_camera_have_no_pixel():
    xy, depth = Camera.from_focal(100, (10, 10)).project([[0, 0, -1.0], [0, 0, 2]])
    assert np.isnan(xy[0]).all()
    np.testing.assert_allclose(xy[1], [4.5, 4.5])
    np.testing.assert_allclose(depth, [-1, 2])


@given(st.floats(-3, 3), st.booleans(), st.integers(0, len(LENSES) - 1))
def test_a_cropped_camera_sees_what_the_crop_shows(angle, mirror, lens):
    camera = some_camera(LENSES[lens])
    crop = Crop.from_box((100, 80, 300, 400), (256, 192), rotation=angle)
    crop = crop.mirrored() if mirror else crop
    window = camera.cropped(crop.matrix, crop.size)
    world = np.random.default_rng(2).normal(size=(20, 3)) * 0.3
    xy, depth = camera.project(world)
    seen, seen_depth = window.project(world)
    np.testing.assert_allclose(seen, crop.to_window(xy), atol=1e-6)
    np.testing.assert_allclose(seen_depth, depth)
    turned = camera.to_camera(world)
    turned[:, :2] = turned[:, :2] @ crop.turn.T
    np.testing.assert_allclose(window.to_camera(world), turned, atol=1e-9)


def test_json_round_trip_and_strictness():
    camera = some_camera(LENSES[1])
    again = Camera.from_dict(camera.to_dict())
    np.testing.assert_array_equal(again.matrix, camera.matrix)
    np.testing.assert_array_equal(again.distortion, camera.distortion)
    with pytest.raises(InputError, match="keys"):
        Camera.from_dict({**camera.to_dict(), "focal": 3})


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("matrix", np.eye(2), "shape"),
        ("rotation", np.eye(3) * 2, "orthogonal"),
        ("translation", np.array([0, 0, np.inf]), "finite"),
        ("distortion", np.zeros(3), "0, 4, 5 or 8"),
    ],
)
def test_bad_cameras_are_refused(field, value, word):
    fields = {"matrix": np.eye(3), "size": (4, 4), field: value}
    with pytest.raises(InputError, match=word):
        Camera(**fields)


def plane_depth(camera, normal, offset):
    """Depth of the plane normal · X = offset, by its closed form along every pixel's ray."""
    return offset / (camera.rays(pixel_grid(camera.size)) @ normal)


@pytest.mark.parametrize("normal", [(0, 0, -1.0), (0.6, 0, -0.8), (0, -0.6, -0.8)])
def test_planes_have_their_normals(normal):
    camera = Camera.from_focal(60, (40, 50))
    depth = plane_depth(camera, np.array(normal), -2.0)
    position = depth_to_position(depth, camera)
    normals = position_to_normals(position)
    np.testing.assert_allclose(normals[1:-1, 1:-1], np.broadcast_to(normal, (38, 48, 3)), atol=2e-3)
    assert np.isnan(normals[0]).all()


def test_a_sphere_has_the_normals_of_a_sphere():
    camera = Camera.from_focal(400, (101, 101))
    rays = camera.rays(pixel_grid(camera.size))
    centre, radius = np.array([0, 0, 5.0]), 0.5
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    inside = b * b - a * c
    hit = inside > 0
    depth = np.where(hit, (b - np.sqrt(np.where(hit, inside, 0))) / a, 0)
    position = depth_to_position(depth, camera)
    assert np.isnan(position[~hit]).all()
    truth = (position - centre) / radius
    normals = position_to_normals(position)
    core = np.isfinite(normals).all(-1) & (truth[..., 2] < -0.5)
    assert core.sum() > 1000
    assert (normals[core] * truth[core]).sum(-1).min() > np.cos(np.deg2rad(2))


def test_depth_needs_the_cameras_size():
    with pytest.raises(InputError, match="camera of"):
        depth_to_position(np.ones((3, 3), np.float32), Camera.from_focal(10, (4, 4)))

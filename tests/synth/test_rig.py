# SPDX-License-Identifier: Apache-2.0
"""Calibrated cameras that agree with each other, and clips in which people keep their names."""

import json
from pathlib import Path

import numpy as np
import pytest
import synth_actors

from vitruvian.camera import Camera
from vitruvian.data.codec import encode
from vitruvian.errors import InputError
from vitruvian.synth import motion, rig, writer
from vitruvian.synth.pose import Pose
from vitruvian.synth.recipe import Settings

SIZE = (64, 48)
SETTINGS = Settings(size=SIZE, people_max=2)


def test_a_ring_looks_at_its_middle():
    cameras = rig.ring(4, size=SIZE, radius=3, height=1.4, target=1.0)
    assert list(cameras) == ["camera00", "camera01", "camera02", "camera03"]
    for camera in cameras.values():
        pixel, depth = camera.project(np.array([0, 1.0, 0]))
        np.testing.assert_allclose(pixel, [23.5, 31.5], atol=1e-9)
        assert depth == pytest.approx(np.hypot(3, 0.4))
        assert camera.centre[1] == pytest.approx(1.4)
    np.testing.assert_allclose(cameras["camera00"].centre, [0, 1.4, 3], atol=1e-12)
    np.testing.assert_allclose(cameras["camera01"].centre, [3, 1.4, 0], atol=1e-12)


def test_an_arc_is_centred_on_the_front():
    left, middle, right = rig.ring(3, size=SIZE, arc=90).values()
    assert middle.centre[0] == pytest.approx(0)
    assert left.centre[0] == pytest.approx(-right.centre[0])
    assert next(iter(rig.ring(1, size=SIZE, arc=90))) == "camera00"


def test_a_dome_looks_down_from_all_sides():
    cameras = list(rig.dome(20, size=SIZE).values())
    eyes = np.array([camera.centre for camera in cameras])
    assert eyes[:, 1].min() > 1.2
    np.testing.assert_allclose(np.linalg.norm(eyes - [0, 1, 0], axis=1), 3.5)
    gaps = np.linalg.norm(eyes[:, None] - eyes[None], axis=-1) + 9 * np.eye(20)
    assert gaps.min() > 0.6


def test_rigs_survive_json(tmp_path):
    cameras = rig.ring(2, size=SIZE)
    rig.write_rig(tmp_path / "rig.json", cameras)
    again = rig.read_rig(tmp_path / "rig.json")
    assert list(again) == list(cameras)
    np.testing.assert_array_equal(again["camera01"].rotation, cameras["camera01"].rotation)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({}, "wanted"),
        ({"cameras": {}}, "at least one camera"),
        ({"cameras": {"a.b": {}}}, "letters, digits"),
        ({"cameras": {"a": {"size": [4, 4]}}}, "camera a: .*needs the keys"),
    ],
)
def test_other_json_is_refused(tmp_path, content, text):
    (tmp_path / "rig.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=text):
        rig.read_rig(tmp_path / "rig.json")


@pytest.mark.parametrize(
    "values", [{"count": 0}, {"count": 2, "radius": 0}, {"count": 2, "arc": 400}]
)
def test_impossible_rings_are_refused(values):
    with pytest.raises(InputError):
        rig.ring(size=SIZE, **values)
    with pytest.raises(InputError):
        rig.dome(0, size=SIZE)


def test_poses_are_interpolated_the_short_way():
    turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
    first = Pose(rotations=np.eye(3)[None], translation=np.zeros(3))
    second = Pose(rotations=turn[None], translation=np.array([0, 2.0, 0]))
    half = motion.between(first, second, 0.5)
    root = np.sqrt(0.5)
    np.testing.assert_allclose(half.rotations[0, :2, :2], [[root, -root], [root, root]], atol=1e-9)
    np.testing.assert_allclose(half.translation, [0, 1, 0])
    assert motion.between(first, second, 0) is first
    assert motion.between(first, second, 1) is second


def test_frames_ease_from_key_to_key():
    places = [motion.eased(frame, 9, 3) for frame in range(9)]
    assert places[0] == (0, 0)
    assert places[4] == (1, 0)
    assert places[8] == (1, 1)
    flat = [number + share for number, share in places]
    assert flat == sorted(flat)
    assert motion.eased(0, 1, 3) == (0, 0)


def moving(seed, clip, frame, frames, settings):
    """Two people; the second grows from frame to frame."""
    return [synth_actors.figure(), synth_actors.figure(0.9 + 0.1 * frame)]


def made(count, first=0, frames=2):
    maker = rig.RigMaker.of(rig.ring(2, size=SIZE), frames, moving)
    (job,) = writer.plan(
        Path("nowhere"), count=count, seed=2, settings=SETTINGS.to_dict(), per_shard=count
    )
    values = {name: getattr(job, name) for name in job.__dataclass_fields__} | {"first": first}
    return list(maker(writer.Job(**values)))


def test_clips_keep_names_cameras_and_light():
    every = made(6)
    assert [sample.name for sample, _ in every] == [
        f"clip{clip:06d}/frame{frame:04d}/camera{camera:02d}"
        for clip, frame, camera in [
            (0, 0, 0),
            (0, 0, 1),
            (0, 1, 0),
            (0, 1, 1),
            (1, 0, 0),
            (1, 0, 1),
        ]
    ]
    first, second, third = (every[k] for k in (0, 1, 2))
    assert {person.identity for person in first[0].people} == {1, 2}
    assert first[1].standing == third[1].standing
    assert first[1].background == third[1].background
    assert first[1].camera == third[1].camera != second[1].camera
    # the same moment from two places: keypoints are the same points of the world
    one, two = first[0], second[0]
    for person in one.people:
        (twin,) = [other for other in two.people if other.identity == person.identity]
        here, there = person.points(), twin.points()
        known = np.isfinite(here.xyz).all(axis=1)
        np.testing.assert_allclose(
            one.camera.to_world(here.xyz[known]), two.camera.to_world(there.xyz[known]), atol=1e-5
        )


def test_a_frame_alone_equals_the_frame_in_its_clip():
    every, alone = made(4), made(4, first=3)
    assert encode(every[3][0]) == encode(alone[0][0])


def test_rigs_need_cameras_and_frames():
    with pytest.raises(InputError, match="one frame"):
        rig.RigMaker.of(rig.ring(1, size=SIZE), 0, moving)
    with pytest.raises(InputError, match="one camera"):
        rig.RigMaker.of({}, 1, moving)
    assert isinstance(rig.ring(1, size=SIZE)["camera00"], Camera)

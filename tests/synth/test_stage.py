# SPDX-License-Identifier: Apache-2.0
"""People stand apart, cameras frame them, and a picture is a function of seed and number alone."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import synth_actors
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.data.codec import encode
from vitruvian.synth import framing, production, stage, writer
from vitruvian.synth.recipe import FRAMINGS, Settings, Standing, stream, to_line

SMALL = Settings(size=(64, 48), views=2)


def group(seed, count):
    actor = synth_actors.figure()
    foot = stage.footprint(actor.cloud())
    standing = stage.arrange(stream(seed, 0, "stand"), [foot] * count)
    actors = [stage.stood(actor, where, k) for k, where in enumerate(standing, 1)]
    return actors, standing, foot


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 5))
def test_nobody_stands_in_anybody(seed, count):
    _, standing, foot = group(seed, count)
    assert standing[0].place == (0, 0)
    placed = [foot.moved(where) for where in standing]
    assert not any(one.touches(other) for one, other in combinations(placed, 2))


def test_nobody_stands_in_anybody_by_the_vertices_themselves():
    from scipy.spatial import cKDTree

    for seed in range(5):
        actors, _, _ = group(seed, 3)
        clouds = [actor.cloud(20_000) for actor in actors]
        for one, other in combinations(clouds, 2):
            assert cKDTree(one).query(other)[0].min() > stage.MARGIN / 2


def test_people_of_a_group_are_close():
    _, standing, _ = group(1, 4)
    places = np.array([where.place for where in standing])
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(4) * 9
    assert gaps.min(axis=1).max() < 2.5


def test_footprints_touch_only_at_equal_heights():
    square = np.array([[x, 0.1, z] for x in (0, 1) for z in (0, 1)], float)
    low, high = stage.footprint(square), stage.footprint(square + np.array([0, 1, 0]))
    assert low.touches(low)
    assert not low.touches(high)
    assert not low.touches(low.moved(Standing(place=(1.1, 0))))
    assert low.touches(low.moved(Standing(place=(0.9, 0.9))))
    # the corner of a turned square does not reach a square beside its side
    assert not low.touches(low.moved(Standing(place=(2.0, 2.0), yaw=np.pi / 4)))


def test_cameras_look_where_they_are_told():
    rotation, translation = framing.look_at(np.array([0, 1, 3.0]), np.array([0, 1, 0.0]))
    np.testing.assert_allclose(rotation, np.diag([1.0, -1, -1]), atol=1e-12)
    np.testing.assert_allclose(rotation @ [0, 1, 0] + translation, [0, 0, 3], atol=1e-12)
    # a camera turned clockwise sees the world turned the other way: up goes to the left
    rotation, _ = framing.look_at(np.array([0, 0, 3.0]), np.zeros(3), roll=np.radians(10))
    up = rotation @ [0, 1, 0]
    assert up[1] < 0
    assert up[0] < 0
    assert np.linalg.det(rotation) == pytest.approx(1)
    straight, _ = framing.look_at(np.array([0, 3.0, 0]), np.zeros(3))
    assert np.linalg.det(straight) == pytest.approx(1)


def test_turning_left_is_turning_towards_plus_x():
    np.testing.assert_allclose(stage.turn(np.pi / 2) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    actor = stage.stood(synth_actors.figure(), Standing(place=(1, 2), yaw=np.pi / 2), 3)
    np.testing.assert_allclose(actor.front("full"), [1, 0, 0], atol=1e-12)
    assert actor.meshes[0].instance == 3
    assert abs(actor.cloud()[:, [0, 2]].mean(axis=0) - [1, 2]).max() < 0.1


@pytest.mark.parametrize("fill", [0.5, 0.9])
def test_a_frame_is_filled_as_asked(fill):
    cloud = synth_actors.figure().cloud()
    camera = framing.frame(
        cloud, np.array([0.1, 0.05, 1]) / np.sqrt(1.0125), 120.0, (128, 96), fill=fill
    )
    pixels, _ = camera.project(cloud)
    extent = np.ptp(pixels, axis=0) / [96, 128]
    assert extent.max() == pytest.approx(fill, rel=0.02)
    middle = (pixels.min(axis=0) + pixels.max(axis=0)) / 2
    np.testing.assert_allclose(middle, [47.5, 63.5], atol=1.5)


def test_a_camera_below_the_floor_is_refused():
    cloud = synth_actors.figure().cloud()
    assert framing.frame(cloud, np.array([0, -0.8, 0.6]), 120.0, (128, 96)) is None


def test_shots_vary_see_their_subject_and_stand_outside():
    shots = []
    for seed in range(25):
        actors, _, _ = group(seed, 1 + seed % 3)
        shot = framing.shoot(stream(seed, 0, "camera"), actors, SMALL)
        clouds = [actor.cloud() for actor in actors]
        gaps = [np.linalg.norm(cloud - shot.camera.centre, axis=1).min() for cloud in clouds]
        assert min(gaps) >= 0.9 * framing.NEAREST
        assert shot.camera.centre[1] > 0.05
        assert framing.visible_share(shot.camera, clouds, shot.subject - 1) > 0.2
        shots.append(shot)
    assert {shot.framing for shot in shots} == set(FRAMINGS)
    focal = [shot.facts["focal"] for shot in shots]
    assert min(focal) < 30
    assert max(focal) > 70
    assert np.std([shot.facts["azimuth"] for shot in shots]) > 30


def test_framings_follow_their_shares():
    only = Settings(size=(64, 48), shares={"face": 1})
    actors, _, _ = group(0, 1)
    found = {framing.shoot(stream(k, 0, "camera"), actors, only).framing for k in range(10)}
    assert found == {"face"}


def test_who_is_behind_somebody_is_not_free():
    actors = [
        stage.stood(synth_actors.figure(), Standing(place=(0, z)), k)
        for k, z in enumerate((0.0, 0.6), 1)
    ]
    clouds = [actor.cloud() for actor in actors]
    camera = framing.frame(clouds[0], np.array([0, 0, 1.0]), 120.0, (128, 96))
    assert framing.visible_share(camera, clouds, 0) < 0.4
    assert framing.visible_share(camera, clouds, 1) > 0.9
    away = framing.frame(clouds[0] + np.array([50, 0, 0]), np.array([0, 0, 1.0]), 120.0, (128, 96))
    assert framing.visible_share(away, clouds, 0) == 0


def test_crowds_keep_to_their_limit():
    sizes = [stage.crowd_size(np.random.default_rng(k), 3) for k in range(100)]
    assert set(sizes) == {1, 2, 3}
    assert sizes.count(1) > 40


def pictures(first, last):
    (job,) = writer.plan(
        Path("nowhere"), count=last, seed=5, settings=SMALL.to_dict(), per_shard=last
    )
    values = {name: getattr(job, name) for name in job.__dataclass_fields__} | {"first": first}
    return list(synth_actors.rendered(writer.Job(**values)))


def test_a_picture_is_a_function_of_seed_and_number():
    """Number 3 alone, in the middle of its group, equals number 3 made after 0, 1 and 2."""
    every, alone = pictures(0, 4), pictures(3, 4)
    assert [recipe.index for _, recipe in every] == [0, 1, 2, 3]
    assert to_line(every[3][1]) == to_line(alone[0][1])
    assert encode(every[3][0]) == encode(alone[0][0])
    sample, recipe = every[0]
    assert sample.size == (64, 48)
    assert sample.name == "people-00000000"
    assert recipe.facts["parts"]["Background"] > 0
    assert len(recipe.people) == len(recipe.standing)
    # two pictures of a group show the same people from two places
    assert every[0][1].people == every[1][1].people
    assert every[0][1].camera != every[1][1].camera


def test_a_look_may_come_from_folders(tmp_path):
    import cv2

    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.full((40, 40, 3), 200, np.uint8))
    chosen = Settings(size=(64, 48), backgrounds=str(tmp_path / "photos"))
    production.check_folders(chosen)
    actors, _, _ = group(0, 1)
    shot = framing.shoot(stream(0, 0, "camera"), actors, chosen)
    sets = production.Sets(0, 0, actors, [shot.camera])
    looks = [production.draw_look(1, k, chosen, sets, 0, 50) for k in range(20)]
    kinds = {look.background_facts["kind"] for look in looks}
    assert "photograph" in kinds
    assert len({look.light_facts["kind"] for look in looks}) > 1


@pytest.mark.parametrize("name", ["backgrounds", "lights"])
def test_an_empty_folder_is_one_clear_error(tmp_path, name):
    from vitruvian.errors import InputError

    with pytest.raises(InputError, match=str(tmp_path)):
        production.check_folders(Settings(**{name: str(tmp_path)}))

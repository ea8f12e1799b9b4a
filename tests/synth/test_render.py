# SPDX-License-Identifier: Apache-2.0
"""Whole pictures: what a sample holds, that labels are exact, and that light never changes them."""

from dataclasses import replace

import numpy as np
import pytest

from synth_shapes import LIMBS, PARTS, box, label_of, look, mannequin, mirrored, quad, sphere
from vitruvian import vocabulary
from vitruvian.camera import Camera
from vitruvian.errors import InputError
from vitruvian.person import ABSENT, OCCLUDED, VISIBLE, composite
from vitruvian.synth import antialias, gathered, gbuffer, light, place, places, render, surfaces
from vitruvian.synth.background import Photo
from vitruvian.synth.clearing import Clearing
from vitruvian.synth.optics import Optics
from vitruvian.synth.patterns import Plain, Stripes
from vitruvian.synth.render import Figure, Landmarks, Scene, prepare

pytest.importorskip("embreex")

SIZE = (128, 96)
COCO = vocabulary.load("coco17")
SURFACES = (
    surfaces.Skin(tone=(0.45, 0.27, 0.2)),
    surfaces.Cloth(pattern=Stripes(colours=((0.6, 0.1, 0.1), (0.8, 0.8, 0.8)), period=0.08)),
    surfaces.Cloth(pattern=Plain(colour=(0.05, 0.07, 0.15))),
    surfaces.Solid(colour=(0.1, 0.05, 0.03), roughness=0.3),
    surfaces.Glass(),
    surfaces.Hair(colour=(0.1, 0.05, 0.03)),
)
CAMERA = look((0.6, 1.3, 3.4), (0.25, 0.9, 0), size=SIZE)
PHOTO = Photo(image=np.random.default_rng(0).integers(40, 220, (40, 30, 3), dtype=np.uint8))


def landmarks(shift=(0, 0, 0)):
    """Centres of limbs under the names of COCO's points; the rest at the nose."""
    centres = {name: (np.add(a, b) / 2, radius) for name, a, b, radius, _ in LIMBS}
    wanted = {
        "left_wrist": "Left_Hand", "right_wrist": "Right_Hand", "left_elbow": "Left_Upper_Arm",
        "right_elbow": "Right_Upper_Arm", "left_ankle": "Left_Shoe", "right_ankle": "Right_Shoe",
    }  # fmt: skip
    xyz = np.tile(np.array([0.0, 1.6, 0.111]), (17, 1))
    tolerance = np.full(17, 0.01)
    for name, limb in wanted.items():
        xyz[COCO.index(name)], radius = centres[limb]
        tolerance[COCO.index(name)] = radius * 2.2
    return Landmarks(vocabulary=COCO, xyz=xyz + np.asarray(shift), tolerance=tolerance)


def scene():
    second = (0.55, 0, -0.5)
    return Scene(
        meshes=(*mannequin(), *mannequin(instance=2, shift=second)),
        surfaces=SURFACES,
        people=(
            Figure(instance=1, landmarks={"pose": landmarks()}),
            Figure(instance=2, landmarks={"pose": landmarks(second)}),
        ),
    )


@pytest.fixture(scope="module")
def stage():
    return prepare(scene())


@pytest.fixture(scope="module")
def room():
    clearing = Clearing(
        low=np.array([-0.5, 0, -1]), high=np.array([1.2, 1.8, 0.4]), eyes=CAMERA.centre[None]
    )
    return place.prepare(places.make_place(np.random.default_rng(1), clearing, kind="room"))


def shot(stage, background, camera=CAMERA, seed=0, **settings):
    return render.render(stage, camera, background, np.random.default_rng(seed), **settings)


def test_a_sample_holds_everything(stage, room):
    made = shot(stage, room, name="first")
    sample = made.sample
    assert sample.name == "first"
    assert sample.image.shape == (*SIZE, 3)
    assert 30 < sample.image.mean() < 220
    assert sample.camera is CAMERA
    assert [person.identity for person in sample.people] == [1, 2]
    labels = made.buffer.labels()
    parts = composite(sample.people, "parts", SIZE)
    assert parts is not None
    assert np.array_equal(parts.values, labels)
    for person in sample.people:
        mine = made.instances == person.identity
        y, x = np.nonzero(mine)
        assert person.box.tolist() == [x.min(), y.min(), x.max(), y.max()]
        depth = person.raster("depth").placed(SIZE)
        assert depth.kind == "metric"
        assert np.array_equal(depth.valid, mine)
        assert np.array_equal(depth.values, np.where(mine, made.buffer.depth(), 0))
        normals = person.raster("normals").placed(SIZE)
        np.testing.assert_allclose(np.linalg.norm(normals.values[mine], axis=1), 1, atol=1e-5)
        assert np.array_equal(normals.values[mine], made.buffer.normals()[mine])
        albedo = person.raster("albedo").placed(SIZE).values
        trousers = mine & (labels == label_of("Lower_Clothing"))
        assert albedo[trousers].mean(axis=0) == pytest.approx((63, 74, 107), abs=12)  # sRGB


def test_the_same_seed_gives_the_same_bytes(stage, room):
    lens = Optics(noise=3.0, jpeg=90, background_blur=0.01)
    one, two = (shot(stage, room, seed=5, optics=lens).sample.image for _ in range(2))
    assert np.array_equal(one, two)
    again = shot(prepare(scene()), room, seed=5, optics=lens).sample.image
    assert np.array_equal(one, again)
    assert not np.array_equal(one, shot(stage, room, seed=6, optics=lens).sample.image)


def test_labels_never_depend_on_light_or_optics(stage, room):
    plain = shot(stage, room)
    night = light.studio(np.random.default_rng(3))
    lens = Optics(background_blur=0.06, defocus=2, motion=5, vignette=0.3, grey=True, exposure=-1)
    other = shot(stage, room, seed=9, light=night, optics=lens)
    assert not np.array_equal(plain.sample.image, other.sample.image)
    for one, two in zip(plain.sample.people, other.sample.people, strict=True):
        assert one.box.tolist() == two.box.tolist()
        for name in ("parts", "depth", "normals", "albedo"):
            assert np.array_equal(one.raster(name).values, two.raster(name).values)
        assert np.array_equal(one.points().visibility, two.points().visibility)


def test_keypoints_project_from_their_own_3d(stage, room):
    for person in shot(stage, room).sample.people:
        points = person.points()
        assert points.xyz is not None
        xyz = points.xyz.astype(np.float64)
        xy = xyz[:, :2] / xyz[:, 2:] @ CAMERA.matrix[:2, :2].T + CAMERA.matrix[:2, 2]
        assert np.abs(xy - points.xy).max() < 0.01
        world = landmarks((0, 0, 0) if person.identity == 1 else (0.55, 0, -0.5)).xyz
        assert np.abs(CAMERA.project(world)[0] - points.xy).max() < 0.01


def test_visibility_comes_from_exact_rays(stage):
    geometry = stage.geometry
    own = landmarks()
    front = look((0, 1.2, 4), (0, 0.9, 0), size=SIZE)
    back = look((0, 1.2, -4), (0, 0.9, 0), size=SIZE)
    nose, wrist = COCO.index("nose"), COCO.index("right_wrist")
    seen = render.locate(geometry, own, front).visibility
    assert seen is not None
    assert seen[nose] == VISIBLE
    assert seen[wrist] == VISIBLE
    hidden = render.locate(geometry, own, back).visibility
    assert hidden is not None
    assert hidden[nose] == OCCLUDED, "a face seen from behind"
    assert hidden[wrist] == OCCLUDED, "a hand before the chest, seen from behind"
    near = look((0, 1.55, 1.0), (0, 1.55, 0), size=SIZE, field=20)
    cut = render.locate(geometry, own, near)
    ankle = COCO.index("left_ankle")
    assert cut.visibility is not None
    assert cut.visibility[ankle] == ABSENT
    assert cut.scores[ankle] == 0
    assert np.isfinite(cut.xy[ankle]).all()
    away = render.locate(geometry, own, look((0, 1.5, 3), (0, 1.5, 9), size=SIZE))
    assert away.visibility is not None
    assert (away.visibility == ABSENT).all()
    missing = replace(own, xyz=np.where(np.arange(17)[:, None] == 3, np.nan, own.xyz))
    assert not render.locate(geometry, missing, front).present[3]


def test_furniture_in_front_hides_people_exactly(stage):
    """A wall of a place that covers the left half: nobody has labels or visible points there."""
    wall = place.Place(
        corners=np.array([[-10.0, -1, 1.0]]),
        edges=np.array([[[10.02, 0, 0], [0, 5, 0]]]),
        finish=np.array([0]),
        finishes=(place.Finish(pattern=Plain(colour=(0.5, 0.5, 0.5))),),
        sky=light.sky(np.random.default_rng(0)),
        balls=np.zeros((0, 4)),
        ball_finish=np.zeros(0, np.int64),
    )
    camera = look((0, 1.2, 4), (0, 0.9, 0), size=SIZE)
    made = [
        shot(stage, place.prepare(wall), camera, optics=Optics(background_blur=blur))
        for blur in (0.0, 0.05)
    ]
    assert np.array_equal(made[0].instances, made[1].instances)
    edge = camera.project(np.array([0.02, 1.2, 1.0]))[0][0]
    columns = np.arange(SIZE[1])
    assert not made[0].instances[:, columns < edge - 1].any()
    assert made[0].instances[:, columns > edge + 1].any()
    points = made[0].sample.people[0].points()
    assert points.visibility is not None
    behind = np.flatnonzero((points.xy[:, 0] < edge - 1) & (points.visibility > ABSENT))
    assert len(behind) >= 2
    assert (points.visibility[behind] == OCCLUDED).all()


@pytest.mark.parametrize("blur", [0.0, 0.02, 0.06])
def test_leaving_out_what_nobody_sees_changes_nothing(stage, room, monkeypatch, blur):
    """A background is not shaded where people cover it: pictures are the same with all of it."""
    whole = prepare(replace(scene(), meshes=(*scene().meshes, quad(
        (-0.3, 1.3, 0.5), (0.6, 0, 0), (0, 0.5, 0), surface=4, labels=label_of("Eyeglass")
    ))))  # fmt: skip
    lens = Optics(background_blur=blur)
    # exposure is measured on what is shown of the background too: not on quite the same
    monkeypatch.setattr(render, "_metered", lambda *_, **__: 1.5)
    for camera in (CAMERA, look((0.1, 1.5, 1.6), (0, 1.4, 0), size=SIZE)):
        lazy = shot(whole, room, camera, optics=lens)
        with monkeypatch.context() as patch:
            patch.setattr(render, "_covered", lambda *_: np.zeros(SIZE, bool))
            thorough = shot(whole, room, camera, optics=lens)
        gap = np.abs(lazy.sample.image.astype(int) - thorough.sample.image)
        assert gap.max() <= 1


def test_a_mirrored_scene_gives_the_mirrored_sample(stage, room):
    del room
    flip = np.diag([-1.0, 1, 1])
    matrix = flip @ CAMERA.matrix @ flip
    matrix[0, 2] = SIZE[1] - 1 - CAMERA.matrix[0, 2]
    twin = Camera(
        matrix=matrix, size=SIZE, rotation=flip @ CAMERA.rotation @ flip,
        translation=flip @ CAMERA.translation,
    )  # fmt: skip

    def swapped(own):
        order = COCO.mirror
        return Landmarks(
            vocabulary=COCO, xyz=own.xyz[order] * [-1, 1, 1], tolerance=own.tolerance[order]
        )

    plain = scene()
    other = Scene(
        meshes=tuple(mirrored(mesh) for mesh in plain.meshes),
        surfaces=SURFACES,
        people=tuple(
            replace(f, landmarks={"pose": swapped(f.landmarks["pose"])}) for f in plain.people
        ),
    )
    one = shot(stage, PHOTO).sample.mirrored()
    two = shot(prepare(other), PHOTO, twin).sample
    parts = [composite(sample.people, "parts", SIZE) for sample in (one, two)]
    assert parts[0] is not None
    assert parts[1] is not None
    assert (parts[0].values != parts[1].values).sum() <= 2
    for first, second in zip(one.people, two.people, strict=True):
        np.testing.assert_allclose(first.points().xy, second.points().xy, atol=1e-3)
        assert np.array_equal(first.points().visibility, second.points().visibility)
        np.testing.assert_allclose(first.points().xyz, second.points().xyz, atol=1e-5)
        np.testing.assert_allclose(np.sort(first.box), np.sort(second.box), atol=1)


def test_shading_and_edges_of_an_unlit_world():
    """A bright square before a dark floor: smoothed edges carry the share that is covered."""
    glow = surfaces.Solid(colour=(0.8, 0.8, 0.8), roughness=1.0)
    square = quad((-0.5, 0.5, 0), (1, 0, 0), (0, 1, 0))
    camera = look((0, 1.0, 3), (0, 1.0, 0), size=(64, 64), roll=0.2)
    stage = prepare(Scene(meshes=(square,), surfaces=(glow,)))
    white = light.Light(environment=np.ones((8, 16, 3), np.float32))
    black = place.Place(
        corners=np.array([[-50.0, -50, -40]]),
        edges=np.array([[[100.0, 0, 0], [0, 100, 0]]]),
        finish=np.array([0]),
        finishes=(place.Finish(pattern=Plain(colour=(0, 0, 0))),),
        sky=white,
        balls=np.zeros((0, 4)),
        ball_finish=np.zeros(0, np.int64),
    )
    made = shot(stage, place.prepare(black), camera, light=white)
    seen = made.sample.image[..., 0].astype(float)
    inside = made.buffer.depth() > 0
    edges, rays = antialias.edges(made.buffer, (glow,))
    assert rays == 4
    edge = np.zeros(64 * 64, bool)
    edge[edges] = True
    edge = edge.reshape(64, 64)
    assert np.ptp(seen[inside & ~edge]) <= 2, "an even light on an even square"
    assert seen[~inside & ~edge].max() <= 2
    between = seen[edge]
    full = seen[inside & ~edge].mean()
    assert ((between > 5) & (between < full - 5)).mean() > 0.3, "steps are softened"
    assert not made.sample.people, "nobody was named"


def test_hair_never_costs_more_than_its_budget():
    uv = np.array([[0, 0], [0.9, 0], [0.9, 1], [0, 1]], np.float32)
    curtain = quad((-5, -5, 0), (10, 0, 0), (0, 10, 0), uv=uv, surface=5)
    buffer = gbuffer.trace(gathered.gather([curtain]), look((0, 0, 2), (0, 0, 0), size=SIZE))
    pixels, rays = antialias.edges(buffer, SURFACES)
    assert len(pixels) == SIZE[0] * SIZE[1]
    assert rays == 1
    assert antialias.edges(buffer, SURFACES, budget=5 * len(pixels))[1] == 4
    assert antialias.edges(buffer, SURFACES, budget=2 * len(pixels))[1] == 2
    assert antialias.edges(buffer, SURFACES, budget=10)[1] == 1


def test_glass_shows_what_is_behind_it():
    pane = quad((-0.3, 1.3, 0.5), (0.6, 0, 0), (0, 0.5, 0), surface=4,
                labels=label_of("Eyeglass"))  # fmt: skip
    camera = look((0, 1.55, 2.0), (0, 1.55, 0), size=SIZE, field=30)
    lamp = light.studio(np.random.default_rng(0))
    bare = shot(
        prepare(Scene(meshes=tuple(mannequin()), surfaces=SURFACES)), PHOTO, camera, light=lamp
    )
    both = prepare(Scene(meshes=(*mannequin(), pane), surfaces=SURFACES))
    made = shot(both, PHOTO, camera, light=lamp)
    through = made.buffer.labels() == label_of("Eyeglass")
    face = through & (bare.buffer.labels() == label_of("Face_Neck"))
    assert face.sum() > 300
    difference = np.abs(made.sample.image[face].astype(int) - bare.sample.image[face]).mean()
    assert difference < 45
    assert np.ptp(made.buffer.depth()[face]) < 1e-3, "depth is the pane's"


def test_dark_skin_stays_darker_than_light_skin():
    means = []
    for tone in ((0.5, 0.35, 0.28), (0.08, 0.045, 0.03)):
        own = (surfaces.Skin(tone=tone), *SURFACES[1:])
        made = shot(
            prepare(replace(scene(), surfaces=own)),
            PHOTO,
            light=light.studio(np.random.default_rng(2)),
        )
        face = made.buffer.labels() == label_of("Face_Neck")
        means.append(made.sample.image[face].mean())
    assert means[0] > 1.2 * means[1]
    assert means[1] > 35
    assert means[0] < 235


def test_scenes_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="surface 3"):
        prepare(Scene(meshes=tuple(mannequin()), surfaces=SURFACES[:2]))
    with pytest.raises(InputError, match=r"\[3\]"):
        prepare(replace(scene(), people=(Figure(instance=3),)))
    with pytest.raises(InputError, match="17"):
        Landmarks(vocabulary=COCO, xyz=np.zeros((3, 3)), tolerance=np.zeros(3))


def test_people_who_are_not_seen_are_left_out(stage, room):
    away = look((0, 1.2, -1.5), (0, 1.2, -9), size=SIZE)
    made = shot(stage, room, away)
    assert made.sample.people == ()
    assert not made.instances.any()
    things = Scene(meshes=(*box((-0.3, 0, -0.3), (0.3, 1, 0.3), instance=0, surface=3),
                           sphere(0.2, (0, 1.2, 0), rows=12)), surfaces=SURFACES,
                   people=(Figure(instance=1),))  # fmt: skip
    made = shot(prepare(things), PHOTO)
    assert len(made.sample.people) == 1
    assert set(np.unique(made.buffer.labels())) <= set(range(len(PARTS)))


def test_somebody_one_pixel_wide_has_no_box(stage, room):
    """A sliver at the frame's edge: its box would have no area, which training refuses."""
    slivers = 0
    for turn in np.linspace(0, 0.6, 61):
        made = shot(stage, room, look((0.6, 1.3, 3.4), (0.25 + 4 * turn, 0.9, 0), size=SIZE))
        slivers += len(np.unique(np.nonzero(made.instances == 1)[1])) == 1
        for person in made.sample.people:
            assert ((person.box[2:] - person.box[:2]) > 0).all()
    assert slivers

# SPDX-License-Identifier: Apache-2.0
"""Whole people: dressed, adults unless asked, repeatable, on the floor, labels with sides."""

import json
from dataclasses import replace

import numpy as np
import pytest
from dressed import built, gaps, somebody, still, whole_skin

from vitruvian import vocabulary
from vitruvian.correspondence import convert_labels
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.synth.body import Phenotype, load_body
from vitruvian.synth.dressing import dress
from vitruvian.synth.expression import sample_face_angles
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.families import sample_pose
from vitruvian.synth.garments import KINDS, Garment
from vitruvian.synth.hairstyles import HairChoice
from vitruvian.synth.intersect import make_intersector
from vitruvian.synth.landmarks import eye, landmark_table
from vitruvian.synth.people import Person, build_person, rest_body, sample_person
from vitruvian.synth.phenotype import sample_phenotype
from vitruvian.synth.shells import shell
from vitruvian.synth.shoes import Shoes
from vitruvian.synth.stance import lying_gaps
from vitruvian.synth.surfaces import Eye
from vitruvian.synth.wardrobe import sample_outfit

PARTS = vocabulary.load("parts29")
PLAIN = Fabric()
CASUAL = (
    Garment(kind="t-shirt", fabric=PLAIN),
    Garment(kind="shorts", fabric=PLAIN, low=0.5),
)
CASES = [(1, None), (2, "sit"), (3, "lie"), (4, "crouch"), (5, "walk"), (6, "gesture")]


@pytest.mark.parametrize("feminine", [False, True])
def test_torso_and_hips_are_covered_by_every_outfit(feminine):
    own = shell(("skin",), 1)
    x, y, z = np.abs(own.canonical[:, 0]), own.canonical[:, 1], own.canonical[:, 2]
    chest = (own.trunk > 0.9) & (x < 0.10) & (y > 1.03) & (y < 1.36)
    hips = (y > 0.88) & (y < 1.03) & (own.arm < -0.5)
    assert min(chest.sum(), hips.sum(), (z > 0.1).sum()) > 100
    kinds = set()
    for seed in range(9):
        outfit, _ = sample_outfit(np.random.default_rng([seed, feminine]), feminine=feminine)
        kinds |= {one.kind for one in outfit}
        worn = [replace(one, open=False) for one in outfit if one.kind != "jacket"]
        _, covers, _ = dress(still(), worn)
        hidden = np.max([np.min(reach(own), axis=0) for reach, _ in covers], axis=0)
        assert hidden[chest].min() > 0, outfit
        assert hidden[hips].min() > 0, outfit
    assert len(kinds) > 4


def test_nobody_is_undressed():
    trousers = Garment(kind="trousers", fabric=PLAIN)
    jacket = Garment(kind="jacket", fabric=PLAIN, open=True)
    for worn in ((), (trousers,), (trousers, jacket), (Garment(kind="dress", fabric=PLAIN),)):
        with pytest.raises(InputError, match="wanted at least"):
            Person(garments=worn)
    with pytest.raises(UnknownNameError, match="backpack"):
        Person(garments=CASUAL, accessories={"back pack": PLAIN})


def test_adults_unless_children_are_asked_for():
    rng = np.random.default_rng(0)
    ages = [sample_person(rng).phenotype.age for _ in range(30)]
    assert min(ages) >= 0.6
    assert max(ages) > 0.8
    young = [sample_person(rng, ages="child") for _ in range(12)]
    assert max(one.phenotype.age for one in young) < 0.5
    assert not any(one.complexion.lips or one.hair.beard for one in young)
    assert all(one.shoes is None or one.shoes.kind != "pumps" for one in young)
    both = [sample_person(rng, ages="all").phenotype.age < 0.55 for _ in range(40)]
    assert 1 <= sum(both) <= 14
    with pytest.raises(InputError, match="adult"):
        sample_person(rng, ages="teen")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="share of children"):
        sample_phenotype(rng, children=1.5)


def test_people_differ():
    people = [somebody(seed) for seed in range(80)]
    share = np.mean([one.phenotype.gender > 0.5 for one in people])
    assert 0.35 < share < 0.65
    assert {one.complexion.step for one in people} == set(range(1, 11))
    assert len({one.hair.style for one in people}) >= 12
    assert len({one.complexion.eyes for one in people}) >= 5
    assert {one.hair.beard for one in people} == {"", "shadow", "full", "goatee", "moustache"}
    assert all(not one.hair.beard for one in people if one.phenotype.gender > 0.5)
    assert np.ptp([one.phenotype.weight for one in people]) > 0.8
    assert len({one.garments[0].fabric.pattern for one in people}) >= 5


def test_the_same_person_has_the_same_bytes_also_after_json():
    person, first = somebody(2, "sit"), built(2, "sit")
    again = Person.from_dict(json.loads(json.dumps(person.to_dict())))
    assert again == person
    second = build_person(again, detail=0)
    assert first.parts == second.parts
    for a, b in zip(first.meshes, second.meshes, strict=True):
        for name in ("vertices", "faces", "normals", "labels", "surfaces", "canonical"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert first.landmarks.tobytes() == second.landmarks.tobytes()
    with pytest.raises(InputError, match="detail"):
        build_person(person, detail=3)


@pytest.mark.parametrize(("seed", "family"), CASES)
def test_meshes_are_sound_and_stand_on_the_floor(seed, family):
    own = built(seed, family)
    lowest = min(mesh.vertices[:, 1].min() for mesh in own.meshes)
    assert -2e-3 < lowest < 5e-3 or own.pose.family == "run"
    for name, mesh in zip(own.parts, own.meshes, strict=True):
        assert np.isfinite(mesh.vertices).all(), name
        assert mesh.faces.min() >= 0, name
        assert mesh.faces.max() < len(mesh.vertices), name
        assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3), name
        assert (mesh.labels > 0).all(), name  # nobody is background
        assert (mesh.labels < len(PARTS.names)).all(), name
        assert (mesh.surfaces < len(own.surfaces)).all(), name
        narrower = convert_labels(mesh.labels[None], PARTS, vocabulary.load("parts28"))
        assert (narrower > 0).all(), name
    sit = own.pose.seat is not None and own.pose.seat.height > 0.2
    assert sit == (family == "sit") or family == "gesture"


@pytest.mark.parametrize(("seed", "family"), CASES)
def test_skin_does_not_come_through_cloth(seed, family):
    """Skin ends under hems; what is left of it lies below the cloth, but for arms on a lap."""
    own = built(seed, family)
    skin = own.meshes[own.parts.index("skin")]
    cloth = [mesh for name, mesh in zip(own.parts, own.meshes, strict=True) if name in KINDS]
    start = np.cumsum([0, *(len(mesh.vertices) for mesh in cloth)])
    faces = [mesh.faces + first for mesh, first in zip(cloth, start, strict=False)]
    rays = make_intersector(
        np.concatenate([mesh.vertices for mesh in cloth]), np.concatenate(faces).astype(np.int32)
    )
    away, normal = 1e-4 * skin.normals, skin.normals
    covered = rays.nearest(skin.vertices + away, normal).distance < 0.08
    through = rays.nearest(skin.vertices - away, -normal).distance < 0.012
    body = np.abs(skin.canonical[:, 0]) < 0.2
    assert covered.any()
    assert (through & ~covered & body).sum() < 0.02 * covered.sum()


def test_who_lies_touches_the_floor_with_trunk_and_legs():
    """Thick soles lift who stands, not who lies."""
    shod = replace(somebody(3, "lie"), shoes=Shoes(kind="boots", upper=PLAIN))
    for person in (somebody(3, "lie"), shod):
        own = build_person(person, detail=0)
        assert own.pose.family == "lie"
        assert max(lying_gaps(load_body(), own.posed.vertices)) < 0.051
        assert min(mesh.vertices[:, 1].min() for mesh in own.meshes) > -1e-3


def test_all_classes_can_come_from_somebody():
    pair = Shoes(kind="sneakers", upper=PLAIN)
    socks = Garment(kind="socks", fabric=PLAIN, low=1.6, loose=0.0)
    bare = Person(garments=CASUAL, accessories={"watch": PLAIN, "glasses": PLAIN}, family="stand")
    shod = Person(garments=(*CASUAL, socks), shoes=pair, family="stand")
    seen = set()
    for person in (bare, shod):
        for mesh in build_person(person, detail=0).meshes:
            seen |= set(np.unique(mesh.labels).tolist())
    assert {PARTS.names[k] for k in range(1, 29)} - {PARTS.names[k] for k in seen} == set()


def test_a_mirrored_pose_swaps_the_labels():
    """Symmetric people in mirrored poses: areas of classes and keypoints change sides."""
    model = load_body()
    flip, swap = np.array([-1.0, 1, 1]), _partners(model.bones)
    socks = Garment(kind="socks", fabric=PLAIN, low=1.6, loose=0.0)
    worn = (*CASUAL, socks)
    pair = Shoes(kind="high tops", upper=PLAIN)
    person = Person(garments=worn, shoes=pair, hair=HairChoice(style="bald"))
    pose, _ = sample_pose(model, rest_body(person), np.random.default_rng(5), family="reach")
    mirrored = replace(
        pose,
        rotations=(flip[:, None] * pose.rotations * flip)[swap],
        translation=pose.translation * flip,
    )
    one, other = (build_person(person, detail=0, pose=p) for p in (pose, mirrored))
    names = landmark_table(1).vocabulary
    assert np.abs(other.landmarks[names.mirror] * flip - one.landmarks).max() < 3e-3
    areas = [_areas(own) for own in (one, other)]
    np.testing.assert_allclose(areas[1][PARTS.mirror], areas[0], rtol=0.06, atol=4e-4)
    middles = [_middles(own) for own in (one, other)]
    present = areas[0] > 1e-3
    assert np.abs(middles[1][PARTS.mirror] * flip - middles[0])[present].max() < 0.01


def _partners(bones):
    index = {bone: i for i, bone in enumerate(bones)}
    letters = str.maketrans("LR", "RL")
    sided = (".L", ".R")
    return [
        index[b[:-1] + b[-1].translate(letters)] if b[-2:] in sided else index[b] for b in bones
    ]


def _areas(own):
    out = np.zeros(len(PARTS.names))
    for mesh in own.meshes:
        a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
        out += np.bincount(mesh.labels, weights=area, minlength=len(out))
    return out


def _middles(own):
    out, total = np.zeros((len(PARTS.names), 3)), np.zeros(len(PARTS.names))
    for mesh in own.meshes:
        middle = mesh.vertices[mesh.faces].mean(axis=1)
        np.add.at(out, mesh.labels, middle)
        np.add.at(total, mesh.labels, 1)
    return out / np.maximum(total, 1)[:, None]


# ------------------------------------------------------------------- keypoints and eyes


@pytest.mark.parametrize("detail", [0, 1, 2])
def test_keypoints_lie_on_the_surface_that_is_built(detail):
    """Points of skin and eyes: less than a millimetre away, whatever the level of detail."""
    person = replace(somebody(5, "walk"), hair=HairChoice(style="bald"))
    own = build_person(person, detail=detail)
    skin = whole_skin(person, own)
    eyes = [own.meshes[own.parts.index(f"{side}_eye")] for side in ("left", "right")]
    start = np.cumsum([0, len(skin.vertices), len(eyes[0].vertices)])
    meshes = [(skin.vertices, skin.faces), *((mesh.vertices, mesh.faces) for mesh in eyes)]
    vertices = np.concatenate([v for v, _ in meshes])
    faces = np.concatenate([f + s for (_, f), s in zip(meshes, start, strict=True)])
    table = landmark_table(1)
    inner = {"neck", "left_eye", "right_eye"}  # means of several places
    points = [
        i
        for i, name in enumerate(table.vocabulary.names)
        if table.joints[[i]].nnz == 0 and name not in inner
    ]
    assert len(points) > 250
    away = gaps(own.landmarks[points], vertices, faces)
    worst = table.vocabulary.names[points[int(away.argmax())]]
    assert away.max() < 1e-3, worst
    # the face of the built mesh is that skin
    built_skin = own.meshes[own.parts.index("skin")]
    face = [i for i in points if i in set(table.vocabulary.groups["face"])]
    shown = np.concatenate([built_skin.vertices, eyes[0].vertices, eyes[1].vertices])
    start = np.cumsum([0, len(built_skin.vertices), len(eyes[0].vertices)])
    parts = (built_skin.faces, eyes[0].faces, eyes[1].faces)
    faces = np.concatenate([f + s for f, s in zip(parts, start, strict=True)])
    assert gaps(own.landmarks[face], shown, faces).max() < 1e-3


def test_irises_are_painted_where_their_keypoints_are():
    own, table = built(5, "walk"), landmark_table(1)
    assert np.degrees([table.iris, table.pupil]) == pytest.approx([20.5, 7.5])
    painted = [surface for surface in own.surfaces if isinstance(surface, Eye)]
    assert len(painted) == 2
    for surface, side in zip(painted, ("left", "right"), strict=True):
        ball = eye(side)
        assert (surface.iris_angle, surface.pupil_angle) == (table.iris, table.pupil)
        np.testing.assert_allclose(surface.centre, ball.centre)
        np.testing.assert_allclose(surface.axis, ball.forwards)
        # canonical places of the keypoints, seen from the centre
        canonical = table.vertices @ load_body().canonical.vertices[0]
        for ring, angle in (("iris", table.iris), ("pupil", table.pupil)):
            for hour in ("12", "3", "6", "9"):
                name = f"{side[0]}_border_of_{ring}_{hour}"
                way = canonical[table.vocabulary.index(name)] - ball.centre
                cosine = way @ ball.forwards / np.linalg.norm(way)
                assert np.arccos(cosine) == pytest.approx(angle, abs=np.radians(0.3))


@pytest.mark.parametrize(("family", "kind"), [("run", "pumps"), ("free", "boots")])
def test_extreme_builds_can_be_built(family, kind):
    for weight, height, gender in ((0.05, 0.2, 1.0), (1.0, 0.65, 0.0)):
        person = Person(
            phenotype=Phenotype(gender=gender, weight=weight, height=height),
            garments=CASUAL,
            shoes=Shoes(kind=kind, upper=PLAIN),
            gaze=sample_face_angles(np.random.default_rng(0), {}),
            hair=HairChoice(style="bald"),
            family=family,
        )
        own = build_person(person, detail=0)
        assert min(mesh.vertices[:, 1].min() for mesh in own.meshes) > -2e-3

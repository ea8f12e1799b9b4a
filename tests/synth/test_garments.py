# SPDX-License-Identifier: Apache-2.0
"""Clothes: what they cover, that layers do not cross, that shoes stand flat."""

from dataclasses import replace

import numpy as np
import pytest

from vitruvian.errors import UnknownNameError
from vitruvian.synth import shoes
from vitruvian.synth.body import Phenotype, load_body, shape_bodies
from vitruvian.synth.cut import open_edges
from vitruvian.synth.draping import hang
from vitruvian.synth.dressing import dress
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.garments import Garment, reach_of
from vitruvian.synth.intersect import make_intersector
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.shells import Wearer, label, nearest, shell
from vitruvian.synth.shoes import Shoes
from vitruvian.synth.wardrobe import sample_outfit

PLAIN = Fabric()


@pytest.fixture(scope="module")
def wearer():
    """Someone at rest."""
    model = load_body()
    rest = shape_bodies(model, [Phenotype(gender=0.9, weight=0.6)])
    still = np.tile(np.eye(3, 4, dtype=np.float32), (len(model.bones), 1, 1))
    return Wearer(
        rest=rest.vertices[0],
        heads=rest.heads[0],
        vertices=rest.vertices[0],
        transforms=still,
        detail=0,
        seed=4,
    )


def named(parts, name):
    """The one part of a name."""
    (found,) = [part for part in parts if part.name == name]
    return found


def layered(outer, inner):
    """Which points of inner cloth lie under outer cloth, and which above it.

    Points near borders are left out: rays along the strip that closes a hem leave it sideways.
    """
    borders = [part.vertices[np.unique(open_edges(part.faces))] for part in (outer, inner)]
    places = inner.vertices + 2e-4 * inner.normals
    away = [nearest(border, places)[0] for border in borders]
    kept = (away[0] > 0.010) & (away[1] > 0.008)
    places, normals = places[kept], inner.normals[kept]
    rays = make_intersector(outer.vertices, outer.faces)
    return (
        rays.nearest(places, normals).distance < 0.15,
        rays.nearest(places, -normals).distance < 0.03,
    )


def test_sleeves_and_hems_end_where_they_are_asked_to(wearer):
    top = Garment(kind="t-shirt", fabric=PLAIN, sleeve=0.5, low=0.97, loose=0.4)
    below = Garment(kind="trousers", fabric=PLAIN, low=1.5, loose=0.4)
    parts, covers, _ = dress(wearer, [top, below])
    shirt, trousers = named(parts, "t-shirt"), named(parts, "trousers")
    assert shirt.canonical[:, 1].min() == pytest.approx(0.97, abs=2e-3)
    assert trousers.canonical[:, 1].min() == pytest.approx(0.31, abs=0.05)
    assert set(np.unique(shirt.labels)) == {label("Upper_Clothing")}
    assert set(np.unique(trousers.labels)) == {label("Lower_Clothing")}
    assert len(covers) == 2
    for part in parts:
        assert np.isfinite(part.vertices).all()
        assert np.allclose(np.linalg.norm(part.normals, axis=1), 1, atol=1e-3)
        drawn = vertex_normals(part.vertices, part.faces)
        agree = (drawn * part.normals).sum(axis=1)
        assert (agree > 0).mean() > 0.98  # faces look where normals look


@pytest.mark.parametrize("tucked", [True, False])
def test_layers_do_not_cross(wearer, tucked):
    """Inner cloth is never above the outer cloth it is next to, well inside the outer one."""
    worn = [
        Garment(
            kind="shirt",
            fabric=PLAIN,
            sleeve=1.9,
            low=0.95,
            neck="collar",
            loose=0.5,
            tucked=tucked,
        ),
        Garment(kind="jeans", fabric=PLAIN, low=1.95, loose=0.3),
        Garment(kind="jacket", fabric=PLAIN, sleeve=1.95, low=0.94, loose=0.6, open=True),
    ]
    parts, _, fitted = dress(wearer, worn)
    shirt_and_jeans = ("jeans", "shirt") if tucked else ("shirt", "jeans")
    for over, below in (("jacket", "shirt"), ("jacket", "jeans"), shirt_and_jeans):
        outer, inner = named(parts, over), named(parts, below)
        covered, pierced = layered(outer, inner)
        assert covered.sum() > 10
        # a point in the fold between the buttocks may stick out, unseen
        assert (covered & pierced).sum() <= 1, (over, below)
    assert (fitted.worn >= 0).all()


def test_filling_makes_a_jacket_stout_in_tubes_and_thin_at_its_borders(wearer):
    thin = Garment(kind="jacket", fabric=PLAIN, sleeve=1.95, low=0.94, loose=0.3)
    under = Garment(kind="shirt", fabric=PLAIN, sleeve=1.9, low=0.95, neck="collar")
    padded = [
        named(dress(wearer, [replace(thin, padded=by), under])[0], "jacket") for by in (0, 0.04)
    ]
    near = nearest(padded[0].vertices, padded[1].vertices)[0]
    y, x = padded[1].canonical[:, 1], np.abs(padded[1].canonical[:, 0])
    trunk = (y > 1.05) & (y < 1.35) & (x < 0.12)
    assert 0.018 < near[trunk].mean() < 0.04
    assert near[trunk].min() < 0.85 * near[trunk].max()
    assert near[y < 0.945].mean() < 0.6 * near[trunk].mean()
    parts, _, _ = dress(wearer, [replace(thin, padded=0.04), under])
    covered, pierced = layered(named(parts, "jacket"), named(parts, "shirt"))
    assert covered.sum() > 10
    assert not (covered & pierced).any()


def test_wardrobes_have_suits_and_quilted_jackets():
    worn = [sample_outfit(np.random.default_rng(seed), feminine=False)[0] for seed in range(150)]
    jackets = [g for outfit in worn for g in outfit if g.kind == "jacket"]
    assert 0.2 < len(jackets) / len(worn) < 0.5
    assert 0.1 < np.mean([g.padded > 0 for g in jackets]) < 0.4
    suits = [o for o in worn for g in o if g.kind == "jacket" and o[1].fabric == g.fabric]
    dark = [max(outfit[1].fabric.colours[0]) < 0.08 for outfit in suits]  # linear
    assert np.mean(dark) > 0.5


def test_a_skirt_hangs_around_both_legs(wearer):
    slip = Garment(kind="slip", fabric=PLAIN, low=0.33, loose=0.0)
    for kind, part in (("dress", "Upper_Clothing"), ("skirt", "Lower_Clothing")):
        worn = [Garment(kind=kind, fabric=PLAIN, low=0.9, high=1.09, sleeve=0.3), slip]
        parts, _, _ = dress(wearer, worn)
        skirt = [p for p in parts if p.name == kind][-1]
        low = skirt.vertices[skirt.canonical[:, 1] < 0.65]
        assert np.ptp(low[:, 0]) > 0.3  # one tube, not two
        assert np.abs(low[:, 0]).min() < 0.02
        assert set(np.unique(skirt.labels)) == {label(part)}


def test_socks_and_shoes_have_sides(wearer):
    pair = Shoes(kind="sneakers", upper=PLAIN)
    socks = Garment(kind="socks", fabric=PLAIN, low=1.6, loose=0.0)
    parts, _, fitted = dress(wearer, [socks], [lambda own: shoes.covered(pair, own)])
    sock = named(parts, "socks")
    middle = sock.vertices[sock.faces].mean(axis=1)
    assert ((sock.labels == label("Left_Sock")) == (middle[:, 0] > 0)).all()
    for part in shoes.wear(fitted, pair):
        middle = part.vertices[part.faces].mean(axis=1)
        assert ((part.labels == label("Left_Shoe")) == (middle[:, 0] > 0)).all()


@pytest.mark.parametrize("kind", sorted(shoes.KINDS))
def test_soles_are_flat_and_below_the_foot(wearer, kind):
    _, _, fitted = dress(wearer, [])
    parts = shoes.wear(fitted, Shoes(kind=kind, upper=PLAIN))
    soles = [part for part in parts if part.name == "sole"]
    assert len(soles) == 2
    foot = wearer.rest[load_body().group_vertices("skin"), 1].min()
    for sole in soles:
        lowest = sole.vertices[:, 1].min()
        assert 0.008 < foot - lowest < 0.06
        flat = sole.vertices[sole.vertices[:, 1] < lowest + 0.004]
        assert np.ptp(flat[:, 2]) > 0.08  # it stands on a surface, not on an edge
        assert (sole.normals[sole.vertices[:, 1] < lowest + 0.001, 1] < 0).all()


def test_cloth_hangs_straight_down_from_the_widest_place():
    # a cone that gets thinner downwards
    rng = np.random.default_rng(0)
    along, angle = rng.uniform(0, 1, 4000), rng.uniform(-np.pi, np.pi, 4000)
    radius = 0.2 - 0.1 * along
    member = np.ones(4000, bool)
    loose = radius + hang(along, angle, radius, member, 0.0)
    tight = radius + hang(along, angle, radius, member, 5.0)
    middle = (along > 0.15) & (along < 0.9)
    assert np.abs(loose[middle] - 0.2).max() < 0.012
    assert np.abs(tight[middle] - radius[middle]).max() < 0.012


def test_reaches_are_symmetric():
    """A garment covers the left as the right: what mirrored labels rest on."""
    own = shell(("tights",), 1)
    other = nearest(own.canonical, own.canonical * [-1, 1, 1])[1]
    for kind in ("tank", "shirt", "trousers", "socks"):
        for reach in reach_of(Garment(kind=kind, fabric=PLAIN))(own):
            assert np.abs(reach - reach[other]).max() < 2e-3


def test_unknown_words_are_refused():
    with pytest.raises(UnknownNameError, match="trousers"):
        Garment(kind="trouser", fabric=PLAIN)
    with pytest.raises(UnknownNameError):
        Shoes(kind="shoes", upper=PLAIN)
    with pytest.raises(UnknownNameError):
        Fabric(stuff="coton")

# SPDX-License-Identifier: Apache-2.0
"""Hats, glasses, watches, bags: every kind, where it belongs, labelled, outside of the skin."""

from functools import cache

import numpy as np
import pytest
from dressed import still

from vitruvian.errors import UnknownNameError
from vitruvian.synth import accessories
from vitruvian.synth.bare import bare_skin
from vitruvian.synth.body import load_body
from vitruvian.synth.complexion import Complexion, skin_surface
from vitruvian.synth.cut import open_edges
from vitruvian.synth.dressing import dress
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.forms import rounded, slab, tube
from vitruvian.synth.garments import Garment
from vitruvian.synth.hairstyles import HairChoice
from vitruvian.synth.scalp import hat_line
from vitruvian.synth.shells import label, nearest
from vitruvian.synth.wardrobe import sample_accessories

PLAIN = Fabric()
WORN = (Garment(kind="t-shirt", fabric=PLAIN), Garment(kind="jeans", fabric=PLAIN))


@cache
def worn(kind):
    _, _, fitted = dress(still(), WORN)
    return accessories.wear(fitted, {kind: PLAIN})[0]


@cache
def skin():
    nothing = [(lambda own: [np.full(len(own.arm), -1.0)], 0.5)]
    return bare_skin(still(), nothing, skin_surface(Complexion(), HairChoice(), 0))


@pytest.mark.parametrize("kind", accessories.KINDS)
def test_every_kind_is_sound_and_outside_of_the_body(kind):
    parts = worn(kind)
    assert parts
    expected = label("Eyeglass" if "glasses" in kind else "Apparel")
    for part in parts:
        assert set(np.unique(part.labels)) == {expected}
        assert np.isfinite(part.vertices).all()
        assert np.allclose(np.linalg.norm(part.normals, axis=1), 1, atol=1e-3), part.name
        # outside of the skin, but for rims that turn inwards and straps under an arm
        distance, near = nearest(skin().vertices, part.vertices)
        away = ((part.vertices - skin().vertices[near]) * skin().normals[near]).sum(axis=1)
        assert ((away < -0.006) & (distance < 0.02)).mean() < 0.05, part.name
        assert distance.max() < 0.25, part.name


def test_glasses_are_before_the_eyes():
    lenses = next(part for part in worn("glasses") if part.name == "lenses")
    model, wearer = load_body(), still()
    for side in ("left", "right"):
        ball = wearer.rest[model.group_vertices(f"{side}_eye")]
        own = lenses.vertices[np.sign(lenses.vertices[:, 0]) == np.sign(ball[:, 0].mean())]
        assert own[:, 2].min() > ball[:, 2].max() + 0.003
        low, high = own.min(axis=0), own.max(axis=0)
        assert (low[:2] < ball.mean(axis=0)[:2]).all()
        assert (high[:2] > ball.mean(axis=0)[:2]).all()


@pytest.mark.parametrize("kind", ["cap", "beanie", "hat"])
def test_hats_sit_on_the_head_above_their_line(kind):
    crown = next(part for part in worn(kind) if part.name == kind)
    top = still().rest[load_body().group_vertices("skin"), 1].max()
    assert 0.005 < crown.vertices[:, 1].max() - top < 0.08
    assert hat_line(kind, crown.canonical).min() > -0.02


def test_a_watch_is_on_one_wrist():
    case = next(part for part in worn("watch") if part.name == "watch case")
    wearer = still()
    wrists = np.array([wearer.bone(f"wrist.{side}") for side in "LR"])
    away = np.linalg.norm(wrists - case.vertices.mean(axis=0), axis=1)
    assert away.min() < 0.07
    assert away.max() > 0.4


def test_accessories_are_drawn_to_go_together():
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(300):
        drawn = sample_accessories(rng, WORN, feminine=True, child=False)
        accessories.check(list(drawn))
        assert len(set(drawn) & {"glasses", "sunglasses"}) <= 1
        assert len(set(drawn) & set(accessories.HATS)) <= 1
        seen |= set(drawn)
    assert seen == set(accessories.KINDS) - {"belt"}  # nothing is tucked in
    with pytest.raises(UnknownNameError, match="watch"):
        accessories.check(["wach"])


def test_solids_are_closed_and_look_outwards():
    angle = np.arange(12) * (np.pi / 6)
    ring = np.stack([np.cos(angle), np.zeros(12), np.sin(angle)], axis=1)
    grid = np.linspace(0.4, 1.0, 4)[:, None, None] * ring[None, ::-1]
    solids = {
        "tube": tube(np.linspace([0, 0, 0], [0, 1, 0], 5), 0.1),
        "ring": tube(ring, 0.1, closed=True),
        "ball": rounded((0.1, 0.2, 0.3), power=2.0),
        "slab": slab(np.linspace([[0.0, 0, 0], [1, 0, 0]], [[0, 0, 1], [1, 0, 1]], 3), 0.1),
        "brim": slab(grid, 0.1, closed=True),
    }
    for name, (vertices, faces) in solids.items():
        a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
        volume = (a * np.cross(b, c)).sum() / 6
        if name != "brim":  # slabs are open at their first row, where the hat is
            assert volume > 0, name
        if name in ("tube", "ring"):
            assert len(open_edges(faces)) == 0, name
    ball = solids["ball"][0]
    assert np.allclose(np.linalg.norm(ball / [0.1, 0.2, 0.3], axis=1), 1, atol=1e-5)

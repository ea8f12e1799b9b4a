# SPDX-License-Identifier: Apache-2.0
"""Hair: rooted on the scalp, hanging together, off the face and outside of the body."""

from functools import cache

import numpy as np
import pytest
from dressed import still

from vitruvian.errors import UnknownNameError
from vitruvian.synth.bare import bare_skin
from vitruvian.synth.complexion import Complexion, skin_surface
from vitruvian.synth.hair import grow
from vitruvian.synth.hairstyles import STYLES, HairChoice
from vitruvian.synth.landmarks import landmarks
from vitruvian.synth.scalp import beard, brow, face_window, hat_line, scalp
from vitruvian.synth.shells import label, nearest
from vitruvian.vocabulary import load

NAMES = load("sapiens308")


@cache
def skin():
    nothing = [(lambda own: [np.full(len(own.arm), -1.0)], 0.5)]
    return bare_skin(still(), nothing, skin_surface(Complexion(), HairChoice(), 0))


@cache
def points():
    wearer = still()
    return landmarks(wearer.vertices, wearer.heads)


def at(name):
    return points()[NAMES.index(name)]


def strands(part):
    """(n, s, 3) middles of ribbons, root first: vertices run along strands, two by two."""
    first = part.faces[0]
    assert first.tolist() == [0, 1, 2]
    number = np.floor(part.uv[:, 0]).astype(int)
    count = number.max() + 1
    return part.vertices.reshape(count, -1, 2, 3).mean(axis=2)


def height(places):
    """Metres above the nearest skin, and how far it is away."""
    own = skin()
    distance, near = nearest(own.vertices, places)
    return ((places - own.vertices[near]) * own.normals[near]).sum(axis=1), distance


@pytest.mark.parametrize("style", sorted(STYLES))
def test_strands_are_rooted_on_the_scalp_and_hang_together(style):
    hair, cap = grow(still(), HairChoice(style=style), [skin()])
    own = strands(hair)
    roots, away = height(own[:, 0])
    assert away.max() < 0.012
    assert np.abs(roots).max() < 0.008  # nothing floats
    canonical = hair.canonical.reshape(len(own), -1, 3)[:, 0]
    assert scalp(canonical).min() > -0.01
    # a strand is one line: no step is long, and it ends about as far away as the style is long
    assert np.linalg.norm(np.diff(own, axis=1), axis=2).max() < 0.13
    reach = np.linalg.norm(own - own[:, :1], axis=2).max()
    assert reach < 1.1 * STYLES[style].length + 0.01 + 0.2 * bool(STYLES[style].tie)
    # out of the head, but for what the next surface hides
    above, distance = height(own.reshape(-1, 3))
    assert ((above < -0.004) & (distance < 0.03)).mean() < 0.03
    # the cap below closes the view to the scalp
    assert (height(cap.vertices)[0] > -0.002).all()
    for part in (hair, cap):
        assert set(np.unique(part.labels)) == {label("Hair")}
        assert np.isfinite(part.vertices).all()
        assert np.allclose(np.linalg.norm(part.normals, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("style", ["bob", "long straight", "long wavy", "curly", "ponytail"])
def test_long_hair_leaves_the_face_free(style):
    own = strands(grow(still(), HairChoice(style=style), [skin()])[0]).reshape(-1, 3)
    eyes = at("left_eye"), at("right_eye")
    for spot in (*eyes, at("tip_of_nose"), at("center_of_lower_outer_lip")):
        before = own[own[:, 2] > spot[2] - 0.02]
        near = np.linalg.norm(before[:, :2] - spot[:2], axis=1) < 0.012
        assert near.sum() < 0.002 * len(own)


def test_hats_flatten_and_headscarves_hide():
    free = grow(still(), HairChoice(style="afro"), [skin()])[0]
    below = grow(still(), HairChoice(style="afro"), [skin()], hat="beanie")[0]
    top = [part.vertices[:, 1].max() for part in (free, below)]
    assert top[1] < top[0] - 0.02
    under = hat_line("beanie", below.canonical) > 0.035
    assert not under.any()  # no hair where the hat hides it
    assert grow(still(), HairChoice(style="afro"), [skin()], hat="headscarf") == []
    assert grow(still(), HairChoice(style="bald"), [skin()]) == []


@pytest.mark.parametrize("kind", ["full", "goatee", "moustache"])
def test_beards_grow_on_chin_and_lip(kind):
    (part,) = grow(still(), HairChoice(style="bald", beard=kind, beard_length=0.01), [skin()])
    own = strands(part)
    assert np.abs(height(own[:, 0])[0]).max() < 0.003
    mouth = at("center_of_upper_inner_lip")
    assert own[:, 0, 1].max() < at("tip_of_nose")[1] + (0.06 if kind == "full" else 0.005)
    assert np.abs(own[:, 0, 0] - mouth[0]).max() < (0.09 if kind == "full" else 0.045)
    assert grow(still(), HairChoice(style="bald", beard="shadow"), [skin()]) == []


def test_growing_is_repeatable_and_finer_with_detail():
    counts = []
    for detail in (0, 1):
        one, two = (grow(still(detail), HairChoice(style="bob"), [skin()])[0] for _ in range(2))
        assert one.vertices.tobytes() == two.vertices.tobytes()
        counts.append(len(strands(one)))
    assert counts[1] > 3 * counts[0]


def test_brows_are_painted_above_the_eyes():
    _, places = face_window()
    flat = places.reshape(-1, 3)
    spacing = np.nanmedian(np.linalg.norm(np.diff(places, axis=1), axis=2))
    assert spacing < 0.001  # texels fine enough for brows
    dense = np.nan_to_num(brow(flat, 1.0))
    painted = flat[dense > 0.5]
    assert 200 < len(painted) < 4000
    assert painted[:, 1].min() > 1.735
    assert painted[:, 1].max() < 1.76
    assert (np.abs(painted[:, 0]) > 0.008).all()
    # the two are alike
    assert abs((painted[:, 0] > 0).mean() - 0.5) < 0.05
    assert np.nanmax(beard(flat, "shadow")[np.abs(flat[:, 0]) > 0.08]) < 0  # not on the ears


def test_unknown_styles_are_refused():
    with pytest.raises(UnknownNameError, match="bob"):
        HairChoice(style="bobb")
    with pytest.raises(UnknownNameError, match="full"):
        HairChoice(beard="ful")

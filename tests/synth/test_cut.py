# SPDX-License-Identifier: Apache-2.0
"""Cutting meshes along iso-lines: nothing lost, nothing doubled, the border where it belongs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitruvian.synth.cut import cut, open_edges, rim


def grid(count=7):
    """A square of 2 count² triangles in the plane z = 0, counter-clockwise from +z."""
    ticks = np.linspace(-1, 1, count + 1)
    x, y = np.meshgrid(ticks, ticks)
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(count)[:, None] * (count + 1) + np.arange(count)).ravel()
    a, b, c, d = corner, corner + 1, corner + count + 1, corner + count + 2
    return vertices, np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])


def areas(vertices, faces):
    """Signed areas seen from +z."""
    a, b, c = (vertices[faces[:, k], :2] for k in range(3))
    first, second = b - a, c - a
    return 0.5 * (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])


@settings(max_examples=25, deadline=None)
@given(st.floats(-3.1, 3.1), st.floats(-1.2, 1.2), st.booleans())
def test_halves_make_the_whole(angle, offset, bent):
    vertices, faces = grid()
    values = np.cos(angle) * vertices[:, 0] + np.sin(angle) * vertices[:, 1] - offset
    if bent:
        values = values + 0.3 * np.sin(5 * vertices[:, 0])
    inside, outside = cut(faces, values), cut(faces, -values)
    total = 0.0
    for part in (inside, outside):
        own = areas(part.apply(vertices), part.faces)
        assert (own > -1e-12).all()  # orientation is kept
        total += own.sum()
    assert total == pytest.approx(4.0, abs=1e-5)


def test_border_lies_on_the_iso_line_and_is_shared():
    vertices, faces = grid()
    values = vertices[:, 0] + 0.37 * vertices[:, 1] - 0.11
    part = cut(faces, values)
    at = part.apply(values)
    assert np.abs(at[part.border]).max() < 1e-6
    assert at.min() > -1e-6
    # one connected sheet: every vertex is used, none is there twice, open edges form one ring
    places = part.apply(vertices)
    assert len(np.unique(np.round(places, 9), axis=0)) == len(places)
    edges = open_edges(part.faces)
    assert np.array_equal(np.sort(edges[:, 0]), np.sort(edges[:, 1]))
    on_line = part.border[edges].all(axis=1)
    length = np.linalg.norm(np.diff(places[edges[on_line]], axis=1)[:, 0], axis=1).sum()
    assert length == pytest.approx(2 * np.hypot(1, 0.37), rel=1e-4)


def test_all_or_nothing():
    _, faces = grid(3)
    everything, nothing = cut(faces, np.ones(16)), cut(faces, -np.ones(16))
    assert np.array_equal(everything.faces, faces)
    assert len(nothing.faces) == 0
    assert len(cut(faces, np.zeros(16)).faces) == len(faces)  # on the line counts as inside


def test_attributes_follow_linearly():
    vertices, faces = grid()
    part = cut(faces, vertices[:, 1] - 0.23)
    linear = 3 * vertices[:, 0] - 2 * vertices[:, 1] + 1
    places = part.apply(vertices)
    assert np.allclose(part.apply(linear), 3 * places[:, 0] - 2 * places[:, 1] + 1, atol=1e-6)
    unit = part.directions(vertices + np.array([0, 0, 1.0]))
    assert np.allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)


def test_rim_closes_the_edge_inwards():
    vertices, faces = grid(4)
    up = np.tile([0.0, 0, 1], (len(vertices), 1))
    strip, parents, places = rim(faces, vertices, up, 0.1)
    whole = np.concatenate([vertices, places])
    assert len(strip) == 2 * len(open_edges(faces)) == 32
    assert np.allclose(places, vertices[parents] - [0, 0, 0.1])
    a, b, c = (whole[strip[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    # a square around the origin: its rim looks outwards
    assert ((normal * (a + b + c)).sum(axis=1) > 0).all()
    assert len(open_edges(np.concatenate([faces, strip]))) == 16  # only the lower edge is open

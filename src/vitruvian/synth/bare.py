# SPDX-License-Identifier: Apache-2.0
"""What of a person is not put on: the skin that clothes leave free, eyes, lashes, teeth, tongue."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth.complexion import Complexion, eye_surface
from vitruvian.synth.cut import cut
from vitruvian.synth.garments import Reach
from vitruvian.synth.hairstyles import HairChoice
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.shells import Part, Wearer, shell
from vitruvian.synth.subdivide import Piece, piece
from vitruvian.synth.surfaces import Skin, Solid, Surface

_WHITE, _GUM = (0.78, 0.74, 0.66), (0.42, 0.13, 0.12)


def bare_skin(wearer: Wearer, hidden: Sequence[tuple[Reach, float]], surface: Skin) -> Part:
    """Return the skin that clothes leave free, with a margin under their hems."""
    own = shell(("skin",), 1)
    keep = np.min([depth - np.min(reach(own), axis=0) for reach, depth in hidden], axis=0)
    vertices = wearer.skinned(own.piece.weights, own.piece.operator @ wearer.rest)
    normals = vertex_normals(vertices, own.piece.faces)
    kept = cut(own.piece.faces, keep)
    part = Part(
        vertices=kept.apply(vertices),
        faces=kept.faces,
        normals=kept.directions(normals),
        canonical=kept.apply(own.canonical),
        labels=own.piece.labels[kept.source],
        surface=surface,
        name="skin",
        soft=False,
    )
    return _textured(part, own.piece, kept.source, kept.first, kept.second, kept.share)


def _textured(
    part: Part,
    own: Piece,
    source: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    share: NDArray[np.float32],
) -> Part:
    """Give a cut part its texture coordinates: vertices are doubled where the texture has seams."""
    corners = np.concatenate([own.faces[source], -np.ones((len(source), 1), np.int64)], axis=1)
    uv = own.uv[source]
    # of each new corner: the coordinates of its two old vertices within the old face
    a, b = first[part.faces], second[part.faces]
    found_a = (corners[:, None, :3] == a[:, :, None]).argmax(axis=2)
    found_b = (corners[:, None, :3] == b[:, :, None]).argmax(axis=2)
    row = np.arange(len(uv))[:, None]
    mixed = uv[row, found_a]
    mixed = mixed + (uv[row, found_b] - mixed) * share[part.faces][..., None]
    flat = np.rint(mixed.reshape(-1, 2) * 65535).astype(np.int64)
    key = (part.faces.reshape(-1).astype(np.int64) << 34) | (flat[:, 0] << 17) | flat[:, 1]
    _, where, back = np.unique(key, return_index=True, return_inverse=True)
    vertex = part.faces.reshape(-1)[where]
    return replace(
        part,
        vertices=part.vertices[vertex],
        normals=part.normals[vertex],
        canonical=part.canonical[vertex],
        faces=back.reshape(-1, 3).astype(np.int32),
        uv=mixed.reshape(-1, 2)[where],
    )


def head_parts(wearer: Wearer, own: Complexion, hair: HairChoice) -> list[Part]:
    """Return eyes, lashes, teeth and tongue."""
    seed = wearer.seed
    lash = tuple(0.4 * c for c in hair.beard_colour)
    surfaces: list[tuple[tuple[str, ...], int, Surface]] = [
        (("left_eye",), 1, eye_surface(own, "left", seed)),
        (("right_eye",), 1, eye_surface(own, "right", seed)),
        (("upper_teeth", "lower_teeth"), 1, Solid(colour=_WHITE, roughness=0.2, mottle=0.05)),
        (("tongue",), 1, Solid(colour=_GUM, roughness=0.3, grain=0.5)),
        (
            ("left_upper_lashes", "right_upper_lashes"),
            0,
            Solid(colour=(lash[0], lash[1], lash[2]), roughness=0.5),
        ),
    ]
    parts: list[Part] = []
    for groups, levels, surface in surfaces:
        made = piece(groups, levels)
        vertices = wearer.skinned(made.weights, made.operator @ wearer.rest)
        parts.append(
            Part(
                vertices=vertices,
                faces=made.faces,
                normals=vertex_normals(vertices, made.faces),
                canonical=made.canonical,
                labels=made.labels,
                surface=surface,
                name=groups[0],
                soft=False,
            )
        )
    return parts

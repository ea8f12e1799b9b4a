# SPDX-License-Identifier: Apache-2.0
"""Skirts, and the lower ends of dresses and long tops: what hangs around both legs at once."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import KDTree

from vitruvian.synth import noise
from vitruvian.synth.body import load_body
from vitruvian.synth.cut import cut
from vitruvian.synth.garments import LOWEST, TOPS, Garment, Reach, opening
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.shells import (
    Obstacles,
    Part,
    Wearer,
    fit,
    hemmed,
    label,
    neighbour_mean,
    shell,
)

Floats = NDArray[np.floating]
_LEVELS = 2  # of subdivision: the body's skirt has facets of 5 cm


def skirt_of(
    wearer: Wearer,
    garment: Garment,
    below: Obstacles,
    under: Sequence[tuple[Reach, float]] = (),
) -> Part:
    """Make what hangs around both legs, from the body's own skirt shell, and lay it over them.

    Args:
        wearer: who.
        garment: a skirt, a dress or a long top.
        below: what it lies on.
        under: reaches of what is worn above it, with how many metres inside of them it ends.
    """
    fitted = fit(wearer, ("skirt",), smooth=0, levels=_LEVELS)
    own = fitted.shell
    places = own.canonical
    top, bottom = places[:, 1].max(), places[:, 1].min()
    angle = np.arctan2(places[:, 0], places[:, 2] - 0.02)
    pleats = 7 + wearer.seed % 9
    wander = noise.smooth(np.ascontiguousarray(places.T), 3, seed=wearer.seed)
    wave = np.sin(angle * pleats + 4 * wander)
    fall = np.clip((top - 0.08 - places[:, 1]) / 0.5, 0, 1.2)
    height = 0.012 + (0.004 + 0.022 * garment.loose) * wave * fall
    height += 0.05 * garment.loose * fall
    if garment.kind in TOPS:
        height = 0.014 + 0.4 * (height - 0.012)
        low, high = garment.low, LOWEST + 0.13
    else:
        low = float(np.interp(garment.low, [0, 1, 2], [0.977, 0.532, 0.081]))
        high = garment.high if garment.kind == "skirt" else top
    keep = [places[:, 1] - max(low, bottom + 0.01), high - places[:, 1]]
    if garment.open:
        keep.append(opening(places))
    keep += [depth - np.min(reach(own), axis=0) for reach, depth in under]
    rest = fitted.base + fitted.normals * height[:, None]
    everything = np.concatenate([wearer.skinned(_skirt_weights(), rest), rest, places], axis=1)
    faces, fields = own.piece.faces, np.stack(keep, axis=1)
    for k in range(len(keep)):
        kept = cut(faces, fields[:, k])
        faces, everything, fields = kept.faces, kept.apply(everything), kept.apply(fields)
    vertices = _around_legs(wearer, everything[:, :3], everything[:, 3:6], faces)
    # at the waist it lies on what is below
    above = everything[:, 7] - high
    waist, height = np.clip(above / 0.06 + 1.5, 0, 1), np.full(len(above), 0.006)
    if garment.kind in TOPS:  # it comes out from under the upper part, without a ledge
        height -= 0.011 * np.clip(above / 0.06 + 1, 0, 1)
    clear = below.outside(vertices, height - 0.001, reach=0.05)
    vertices = below.onto(clear, height, waist)
    vertices = vertices.astype(np.float32)
    name = "Lower_Clothing" if garment.kind == "skirt" else "Upper_Clothing"
    part = Part(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces),
        canonical=everything[:, 6:],
        labels=np.full(len(faces), label(name), np.uint8),
        surface=garment.fabric.surface(),
        name=garment.kind,
    )
    return hemmed(part, 0.004)


@cache
def _skirt_weights() -> sparse.csr_array:
    """Return the skirt's skin weights; around the hips, those of the trunk's own shell."""
    skirt, trunk = shell(("skirt",), _LEVELS), shell(("tights",), _LEVELS)
    high = skirt.canonical[:, 1]
    near = KDTree(trunk.canonical).query(skirt.canonical)[1]
    own = np.clip((0.99 - high) / 0.09, 0, 1)
    mixed = sparse.diags_array(1 - own) @ trunk.piece.weights[near]
    mixed = mixed + sparse.diags_array(own) @ skirt.piece.weights
    return sparse.csr_array(mixed, dtype=np.float32)


def _around_legs(
    wearer: Wearer, vertices: Floats, rest: Floats, faces: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Push cloth out of the thighs and shins, which it met where they are bent."""
    limbs = []
    for letter in "LR":
        names = [f"{name}.{letter}" for name in _LEG]
        still, posed = ([place(n) for n in names] for place in (wearer.bone, wearer.posed_bone))
        for k, bone in enumerate(("upperleg01", "lowerleg01")):
            start, end = posed[k], posed[k + 1]
            radii = _thickness(wearer, f"{bone}.{letter}", start, end)
            t, offset = _from_axis(rest.astype(np.float64), still[k], still[k + 1])
            # no nearer than now, nor than at rest: there it fits already
            wanted = np.interp(t, np.linspace(0, 1, len(radii)), radii) + 0.008
            limbs.append((start, end, np.minimum(wanted, np.linalg.norm(offset, axis=1))))
    out = vertices.astype(np.float64)
    mean = neighbour_mean(faces, len(out))
    for _ in range(6):
        for start, end, wanted in limbs:
            _, offset = _from_axis(out, start, end)
            distance = np.linalg.norm(offset, axis=1)
            push = np.maximum(wanted / np.maximum(distance, 1e-4) - 1, 0)
            out += offset * np.minimum(push, 3.0)[:, None]
        moved = np.abs(out - vertices).max(axis=1) > 1e-3
        out = np.where(moved[:, None], 0.5 * (out + mean @ out), out)
    return out.astype(np.float32)


def _from_axis(points: Floats, start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Return how far along a bone points are, 0 … 1, and their vectors from it."""
    way = end - start
    t = np.clip((points - start) @ way / (way @ way), 0, 1)
    return t, points - (start + t[:, None] * way)


_LEG = ("upperleg01", "lowerleg01", "foot")


def _thickness(
    wearer: Wearer, bone: str, start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how thick a posed leg is at nine places from start to end."""
    vertices = wearer.vertices[_leg_vertices(bone)].astype(np.float64)
    way = end - start
    t = (vertices - start) @ way / (way @ way)
    offset = np.linalg.norm(vertices - (start + t[:, None] * way), axis=1)
    radii = np.zeros(9)
    np.maximum.at(radii, np.clip(np.rint(t * 8), 0, 8).astype(int), offset)
    return np.where(radii > 0, radii, np.median(radii[radii > 0]))


@cache
def _leg_vertices(bone: str) -> NDArray[np.int64]:
    """Return the vertices of the skin that one leg bone (and its twist bone) moves most."""
    model = load_body()
    bones = [model.bone_index[bone], model.bone_index[bone.replace("01", "02")]]
    share = np.asarray(model.weights[:, bones].sum(axis=1)).ravel()
    of_skin = np.zeros(len(share), bool)
    of_skin[model.group_vertices("skin")] = True
    return np.flatnonzero((share > 0.6) & of_skin)

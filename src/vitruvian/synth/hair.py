# SPDX-License-Identifier: Apache-2.0
"""Hair on heads and chins: ribbons along grown strands, over a cap that hides the scalp.

Label: Hair, also for beards longer than stubble.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth import noise
from vitruvian.synth.cut import cut
from vitruvian.synth.hairstyles import STYLES, HairChoice, Style
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.scalp import beard, hat_line, scalp
from vitruvian.synth.shells import Part, Wearer, label
from vitruvian.synth.strands import (
    Head,
    fineness,
    followed,
    grown,
    head_of,
    spread_roots,
    tied,
    unit,
)
from vitruvian.synth.surfaces import Hair

Floats = NDArray[np.floating]
STRANDS = (1800, 9000, 30000)
"""Strands of a full head of hair, by level of detail."""
_TRIANGLES = (30_000, 150_000, 700_000)  # at most, by level of detail: then fewer, wider strands
_WIDTHS = (0.0042, 0.0017, 0.0006)  # metres of a ribbon at its root, by level of detail


def grow(wearer: Wearer, chosen: HairChoice, others: list[Part], *, hat: str = "") -> list[Part]:
    """Grow head hair and beard.

    Args:
        wearer: who.
        chosen: their hair.
        others: skin and clothes, which hair lies on.
        hat: the hat they wear, "" for none: it flattens hair, a headscarf leaves only the beard.
    """
    place = head_of(wearer, others)
    rng = np.random.default_rng([wearer.seed, 71])
    parts: list[Part] = []
    if chosen.style != "bald" and hat != "headscarf":
        style = STYLES[chosen.style]
        volume = style.volume * chosen.volume
        if hat:
            volume = min(volume, 0.004)
            style = replace(style, lift=min(style.lift, 0.1), tie="low" if style.tie else "")
            if style.stiff > 0.9:
                style = replace(style, length=min(style.length, 0.012))
        style = replace(style, length=style.length * chosen.length, volume=volume)
        parts += _head_hair(wearer, place, chosen, style, rng, hat)
    if chosen.beard not in ("", "shadow"):
        parts.append(_beard(wearer, place, chosen, rng))
    return parts


def _head_hair(
    wearer: Wearer,
    place: Head,
    chosen: HairChoice,
    style: Style,
    rng: np.random.Generator,
    hat: str,
) -> list[Part]:
    ragged = noise.smooth(
        np.ascontiguousarray(place.canonical.T, np.float32), 110, seed=wearer.seed
    )
    inside = scalp(place.canonical, receding=chosen.receding, bald=chosen.balding)
    inside = inside + 0.006 * (ragged - 0.5)
    if hat:  # what grows farther up is pressed flat under it
        inside = np.minimum(inside, 0.012 - hat_line(hat, place.canonical))
    if not (inside > 0).any():
        return []
    detail = wearer.detail
    covered = np.clip((inside > 0).mean() / 0.35, 0.3, 1)
    count = int(STRANDS[detail] * covered * (0.6 if hat else 1))
    most = _TRIANGLES[detail] // (2 * max(fineness(style) - 1, 1))
    wide = float(np.clip(np.sqrt(count / most), 1, 2))
    count = min(count, most)
    guides = spread_roots(place, inside, int((420, 700, 1100)[detail] * covered), rng)
    roots = spread_roots(place, inside, count, rng)
    paths = tied(place, guides, style, chosen, rng) if style.tie else None
    if paths is None:
        paths = grown(place, guides, style, chosen, rng)
    strands = followed(place, roots, guides, paths, style, rng)
    surface = Hair(colour=chosen.colour, tip=chosen.tip, seed=wearer.seed % 1000)
    width = _WIDTHS[detail] * wide * (1.3 if style.clumps > 100 else 1.0)
    parts = [_ribbons(place, strands, roots.canonical, width, surface, "hair", rng)]
    under = replace(surface, colour=_darker(chosen.colour, 0.8), gloss=0.3)
    parts.append(_cap(place, inside, style, under, bool(hat)))
    return parts


def _darker(colour: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    return colour[0] * share, colour[1] * share, colour[2] * share


def _ribbons(
    place: Head,
    strands: Floats,
    canonical: Floats,
    width: float,
    surface: Hair,
    name: str,
    rng: np.random.Generator,
) -> Part:
    """Turn (n, s, 3) strands into ribbons in the world."""
    count, steps = strands.shape[:2]
    way = unit(np.gradient(strands, axis=1))
    outwards = unit(strands - place.middle)
    side = unit(np.cross(way, outwards) + rng.normal(0, 0.45, (count, 1, 3)))
    side = unit(side - way * (side * way).sum(axis=2, keepdims=True))
    normal = np.cross(side, way)
    normal *= np.where((normal * outwards).sum(axis=2, keepdims=True) < 0, -1, 1)
    normal = unit(normal + 0.8 * outwards)
    half = 0.5 * width * np.interp(np.linspace(0, 1, steps), [0, 0.15, 0.7, 1], [0.8, 1, 0.9, 0.15])
    edges = np.stack(
        [strands - side * half[None, :, None], strands + side * half[None, :, None]], 2
    )
    turn, shift = place.transform[:, :3], place.transform[:, 3]
    vertices = edges.reshape(-1, 3) @ turn.T + shift
    normals = np.repeat(normal.reshape(-1, 3), 2, axis=0) @ turn.T
    number = np.arange(count)[:, None, None] + np.array([0.0, 0.98])
    u = np.broadcast_to(number, (count, steps, 2))
    v = np.broadcast_to(np.linspace(0, 1, steps)[None, :, None], (count, steps, 2))
    row = (np.arange(count)[:, None] * steps + np.arange(steps - 1)).ravel() * 2
    faces = np.concatenate(
        [np.stack([row, row + 1, row + 2], axis=1), np.stack([row + 1, row + 3, row + 2], axis=1)]
    )
    return Part(
        vertices=vertices.astype(np.float32),
        faces=faces.astype(np.int32),
        normals=normals.astype(np.float32),
        canonical=np.repeat(canonical, steps * 2, axis=0).astype(np.float32),
        labels=np.full(len(faces), label("Hair"), np.uint8),
        surface=surface,
        uv=np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32),
        name=name,
    )


def _cap(place: Head, inside: Floats, style: Style, surface: Hair, hat: bool) -> Part:
    """Make the layer under the strands that hides the scalp."""
    core = 0.0015
    if style.stiff > 0.9 and not hat:
        core = max(core, 0.62 * style.length * (style.length > 0.02))
    elif style.length > 0.03 and not hat:
        core = max(core, 0.35 * style.volume)
    # thinner towards the hairline
    height = core * np.clip(inside / (0.012 + 0.9 * core), 0, 1) ** 0.6
    points = place.rest + place.normals * height[:, None]
    if core > 0.01:
        bumps = noise.smooth(np.ascontiguousarray(place.canonical.T, np.float32), 55, seed=3)
        points = points + place.normals * ((bumps - 0.5) * 0.5 * height)[:, None]
    kept = cut(place.faces, inside - 0.002)
    vertices = kept.apply(points)
    offset = vertices - place.middle
    # combed lines from the crown downwards, as strands have
    crown = unit(offset)
    u = np.arctan2(crown[:, 0], -crown[:, 2]) / (2 * np.pi) * 900
    v = np.arccos(np.clip(crown[:, 1], -1, 1)) / np.pi
    turn, shift = place.transform[:, :3], place.transform[:, 3]
    world = vertices @ turn.T + shift
    return Part(
        vertices=world.astype(np.float32),
        faces=kept.faces,
        normals=vertex_normals(world, kept.faces),
        canonical=kept.apply(place.canonical).astype(np.float32),
        labels=np.full(len(kept.faces), label("Hair"), np.uint8),
        surface=surface,
        uv=np.stack([u, v], axis=1).astype(np.float32),
        name="hair cap",
    )


def _beard(wearer: Wearer, place: Head, chosen: HairChoice, rng: np.random.Generator) -> Part:
    """Grow a beard: short strands that bend downwards."""
    inside = beard(place.canonical, chosen.beard)
    count = int(
        STRANDS[wearer.detail] * {"full": 1.0, "goatee": 0.3, "moustache": 0.2}[chosen.beard]
    )
    roots = spread_roots(place, inside, count, rng)
    length = chosen.beard_length * rng.uniform(0.6, 1.1, count)
    length *= np.clip(0.3 + roots.inside / 0.010, 0.3, 1)
    short = np.clip(length / 0.02, 0.2, 1)[:, None]  # short hairs lie along the skin
    if chosen.beard != "moustache":
        upper = roots.canonical[:, 1] > 1.65
        length = np.where(upper, np.minimum(length, 0.008), length)
    else:
        length = np.minimum(length, 0.014)
    steps = 5
    apart = np.stack([np.sign(roots.place[:, 0]), np.zeros(count), np.zeros(count)], axis=1)
    lip = (roots.canonical[:, 1] > 1.652) & (np.abs(roots.canonical[:, 0]) < 0.035)
    goal = place.down + 0.9 * apart * lip[:, None] + 0.35 * short * roots.normal
    way = unit(roots.normal * (0.15 + 0.5 * short) + 0.6 * goal + rng.normal(0, 0.15, (count, 3)))
    points, out = roots.place.copy(), [roots.place]
    for _ in range(steps):
        way = unit(0.7 * way + 0.3 * goal)
        points = points + way * (length / steps)[:, None]
        out.append(points)
    surface = Hair(colour=chosen.beard_colour, tip=1.1, seed=wearer.seed % 1000 + 1)
    width = _WIDTHS[wearer.detail] * 0.4
    return _ribbons(place, np.stack(out, axis=1), roots.canonical, width, surface, "beard", rng)

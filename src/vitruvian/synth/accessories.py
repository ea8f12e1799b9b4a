# SPDX-License-Identifier: Apache-2.0
"""What people wear besides clothes: hats, glasses, watches, jewellery, scarves, belts, bags.

Labels: Apparel, and Eyeglass for glasses with their lenses. Hats and glasses sit rigidly on the
head; straps and belts are bands of the clothes' own shell, above everything worn.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import unknown_name
from vitruvian.synth import noise
from vitruvian.synth.body import load_body
from vitruvian.synth.cut import cut
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.forms import Solid, merged, rounded, slab, tube
from vitruvian.synth.garments import Reach, neckline
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.scalp import hat_line
from vitruvian.synth.shells import (
    UPPER_ARM,
    Fitted,
    Part,
    Shell,
    Wearer,
    label,
    sheet,
    shell,
)
from vitruvian.synth.shells import fit as fitted_shell
from vitruvian.synth.surfaces import Glass, Surface
from vitruvian.synth.surfaces import Solid as SolidSurface

Floats = NDArray[np.floating]
HATS = ("cap", "beanie", "hat", "headscarf")
KINDS = (
    *HATS, "glasses", "sunglasses", "watch", "bracelet", "necklace", "scarf", "belt", "backpack",
    "shoulder bag",
)  # fmt: skip


def check(kinds: Sequence[str]) -> None:
    """Refuse unknown accessories.

    Raises:
        UnknownNameError: naming it.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name("accessory", kind, KINDS)


def wear(fitted: Fitted, chosen: Mapping[str, Fabric]) -> tuple[list[Part], list[Reach]]:
    """Put on accessories, above what ``fitted`` wears.

    Returns:
        Their parts, and what skin they hide.
    """
    parts: list[Part] = []
    hidden: list[Reach] = []
    for kind, fabric in chosen.items():
        if kind in HATS:
            parts += _hat(fitted, kind, fabric)
            if kind == "headscarf":
                hidden.append(_veiled)
        else:
            parts += _MAKERS[kind](fitted, fabric)
    return parts, hidden


def _metal(fabric: Fabric) -> SolidSurface:
    colour = fabric.colours[0]
    gold = colour[0] > colour[2] * 1.1
    return SolidSurface(
        colour=(0.9, 0.68, 0.34) if gold else (0.75, 0.75, 0.77), roughness=0.25, metal=True
    )


def _rigid(
    wearer: Wearer, solid: Solid, bone: str, surface: Surface, name: str, kind: str = "Apparel"
) -> Part:
    """Pose a solid that was made at rest with one bone."""
    vertices, faces = solid
    transform = wearer.transform(bone)
    posed = (vertices @ transform[:, :3].T + transform[:, 3]).astype(np.float32)
    return Part(
        vertices=posed,
        faces=faces,
        normals=vertex_normals(posed, faces),
        canonical=vertices + _to_canonical(wearer, bone),
        labels=np.full(len(faces), label(kind), np.uint8),
        surface=surface,
        name=name,
        soft=False,
    )


def _to_canonical(wearer: Wearer, bone: str) -> NDArray[np.float32]:
    """Return what takes a place at rest near a bone about to the canonical body."""
    model = load_body()
    canonical = model.canonical.heads[0, model.bone_index[bone]]
    return (canonical - wearer.heads[model.bone_index[bone]]).astype(np.float32)


# ---------------------------------------------------------------------------------------- hats


def _face_opening(places: Floats) -> Floats:
    """Return metres outside of the oval that a headscarf leaves free."""
    x, y, z = np.abs(places[:, 0]), places[:, 1], places[:, 2]
    oval = (np.hypot(x / 0.068, (y - 1.69) / 0.088) - 1) * 0.07
    return np.where(z > 0.055, oval, 0.05)


def _veiled(own: Shell) -> list[Floats]:
    """Return the reach of a headscarf."""
    head = np.where(own.head > 0.2, 0.1, -1.0)
    return [head, own.canonical[:, 1] - 1.5, _face_opening(own.canonical) - 0.008]


def _hat(fitted: Fitted, kind: str, fabric: Fabric) -> list[Part]:
    wearer = fitted.wearer
    own = shell(("skin",), 0)
    rest = own.piece.operator @ wearer.rest
    base = own.smoothed(rest, 40 if kind == "headscarf" else 10)
    normals = vertex_normals(base, own.piece.faces)
    places = own.smoothed(own.canonical, 40 if kind == "headscarf" else 10)
    above = hat_line(kind, places)
    height = np.full(len(base), 0.013)
    if kind == "cap":
        height += 0.014 * np.clip(above / 0.05, 0, 1)
    elif kind == "beanie":
        slack = noise.smooth(np.ascontiguousarray(places.T), 14, seed=wearer.seed)
        height += 0.006 + 0.012 * np.clip((above - 0.05) / 0.05, 0, 1) * (0.5 + slack)
    elif kind == "hat":
        height += 0.03 * np.clip(above / 0.07, 0, 1)
    else:
        slack = noise.smooth(np.ascontiguousarray(places.T), 20, seed=wearer.seed)
        height += 0.012 * slack + 0.012
    on_head = Fitted(
        shell=own, wearer=wearer, base=base, normals=normals, worn=np.zeros(len(base), np.float32)
    )
    surface = fabric.surface()
    mine = np.where(own.head > 0.75, 1.0, -1.0)
    apparel = label("Apparel")
    keep = [np.where(own.head > 0.3, 1.0, -1.0), above, _face_opening(places)]
    if kind != "headscarf":
        keep = [mine, above]
    parts = [
        sheet(on_head, height, keep, surface=surface, labels=apparel, thickness=0.006, name=kind)
    ]
    if kind == "beanie":
        band = [mine, above, 0.042 - above]
        parts.append(
            sheet(on_head, height + 0.007, band, surface=surface, labels=apparel, name="cuff")
        )
    if kind == "headscarf":
        chest = fitted.shell.canonical
        x, y = np.abs(chest[:, 0]), chest[:, 1]
        wrap = [np.where(fitted.shell.arm < -0.2, 1.0, -1.0), y - 1.43 - 0.5 * x]
        high = fitted.worn + 0.016 + 0.2 * np.clip(y - 1.5, 0, 0.1)
        parts.append(sheet(fitted, high, wrap, surface=surface, labels=apparel, name="wrap"))
    if kind in ("cap", "hat"):
        parts.append(_brim(wearer, own, base + normals * height[:, None], above, kind, surface))
    return [part for part in parts if part is not None]


def _brim(
    wearer: Wearer, own: Shell, places: Floats, above: Floats, kind: str, surface: Surface
) -> Part:
    """Make the peak of a cap, or the brim around a hat, from the hat's lower border."""
    kept = cut(own.piece.faces, np.where(own.head > 0.75, above, -1.0))
    ring = kept.apply(places)[kept.border]
    middle = ring.mean(axis=0)
    angle = np.arctan2(ring[:, 0] - middle[0], ring[:, 2] - middle[2])
    order = np.argsort(angle)
    angle, ring = angle[order], ring[order]
    whole = kind == "hat"
    count = 72 if whole else 33
    at = (
        np.linspace(-np.pi, np.pi, count, endpoint=False)
        if whole
        else np.linspace(-1.05, 1.05, count)
    )
    start = np.stack([np.interp(at, angle, ring[:, k], period=2 * np.pi) for k in range(3)], axis=1)
    out = np.stack([np.sin(at), np.zeros(count), np.cos(at)], axis=1)
    rng = np.random.default_rng([wearer.seed, 3])
    if whole:
        reach = np.full(count, rng.uniform(0.04, 0.085))
        drop = rng.uniform(-0.1, 0.35) + 0.25 * np.cos(2 * at) * rng.uniform(0, 1)
    else:
        reach = rng.uniform(0.06, 0.075) * np.clip(np.cos(at / 1.05 * np.pi / 2), 0, 1) ** 0.5
        drop = 0.15 + 0.35 * (at / 1.05) ** 2
    steps = np.linspace(-0.08, 1, 6)[:, None]
    grid = start[None] + out[None] * (reach * steps)[..., None]
    grid[..., 1] -= reach * drop * np.clip(steps, 0, 1) ** 1.3
    solid = slab(grid, 0.003, closed=whole)
    return _rigid(wearer, solid, "head", surface, "brim")


# ------------------------------------------------------------------------------------- glasses


def _glasses(fitted: Fitted, fabric: Fabric) -> list[Part]:
    return _spectacles(fitted.wearer, fabric, dark=False)


def _sunglasses(fitted: Fitted, fabric: Fabric) -> list[Part]:
    return _spectacles(fitted.wearer, fabric, dark=True)


def _spectacles(wearer: Wearer, fabric: Fabric, *, dark: bool) -> list[Part]:
    model = load_body()
    rng = np.random.default_rng([wearer.seed, 11])
    eyes = [wearer.rest[model.group_vertices(f"{side}_eye")] for side in ("left", "right")]
    centres = [points.mean(axis=0).astype(np.float64) for points in eyes]
    lashes = wearer.rest[model.group_vertices("left_upper_lashes", "right_upper_lashes")]
    plane = float(max(points[:, 2].max() for points in eyes))
    plane = max(plane + 0.014, float(lashes[:, 2].max()) + 0.004)
    wide = float(rng.uniform(0.021, 0.026)) * (1.12 if dark else 1)
    high = float(rng.uniform(0.75, 1.0)) * wide * (1.0 if dark else 0.9)
    power, rim = float(rng.choice([2.0, 2.6, 3.4])), float(rng.uniform(0.0008, 0.0022))
    angle = np.arange(36) * (2 * np.pi / 36)

    def square(values: Floats) -> Floats:
        return np.sign(values) * np.abs(values) ** (2 / power)

    frame, lenses = [], []
    for centre in centres:
        sign = np.sign(centre[0])
        x = centre[0] + sign * 0.001 + wide * square(np.cos(angle))
        y = centre[1] - 0.003 + high * square(np.sin(angle))
        # the frame bows around the face
        z = plane - 1.6 * np.clip(np.abs(x) - 0.02, 0, 1) ** 2
        ring = np.stack([x, y, z], axis=1)
        frame.append(tube(ring, rim, sides=6, closed=True))
        middle = ring.mean(axis=0)
        rings = [middle + (ring - middle) * share for share in (0.999, 0.66, 0.33)]
        rings = [
            r + [0, 0, 0.0016 * (1 - s * s)] for r, s in zip(rings, (1, 0.66, 0.33), strict=True)
        ]
        vertices = np.concatenate([*rings, (middle + [0, 0, 0.0016])[None]])
        quads = [
            [k * 36 + i, k * 36 + (i + 1) % 36, (k + 1) * 36 + (i + 1) % 36]
            for k in range(2) for i in range(36)
        ]  # fmt: skip
        quads += [
            [k * 36 + i, (k + 1) * 36 + (i + 1) % 36, (k + 1) * 36 + i]
            for k in range(2) for i in range(36)
        ]  # fmt: skip
        quads += [[72 + i, 72 + (i + 1) % 36, 108] for i in range(36)]
        lenses.append((vertices.astype(np.float32), np.array(quads, np.int32)))
    left, right = centres
    x = np.linspace(right[0] + wide - 0.001, left[0] - wide + 0.001, 7)
    arch = 0.004 * (1 - (2 * (x - x[0]) / (x[-1] - x[0]) - 1) ** 2)
    level = 0.5 * (left[1] + right[1]) + 0.002
    frame.append(tube(np.stack([x, level + arch, np.full(7, plane)], axis=1), rim))
    ears = wearer.bone("head")
    for centre in centres:
        sign = np.sign(centre[0])
        start = np.array([
            centre[0] + sign * wide, centre[1] + 0.004,
            plane - 1.6 * max(abs(centre[0]) + wide - 0.02, 0) ** 2,
        ])  # fmt: skip
        side = sign * _head_width(wearer)
        over = np.array([side, centre[1] + 0.008, ears[2] + 0.008])
        behind = np.array([side * 0.98, centre[1] - 0.022, ears[2] - 0.014])
        hinge = np.array([side * 0.99, start[1] + 0.002, start[2] - 0.012])
        path = np.concatenate([
            np.linspace(start, hinge, 3), np.linspace(hinge, over, 6)[1:], np.linspace(over, behind, 4)[1:],
        ])  # fmt: skip
        frame.append(tube(path, max(rim, 0.0012)))
    colour = fabric.colours[0]
    surface: Surface = SolidSurface(colour=colour, roughness=0.25)
    if rim < 0.0012:
        surface = _metal(fabric)
    glass: Surface = Glass()
    if dark:
        glass = SolidSurface(colour=(0.012, 0.011, 0.01), roughness=0.06)
    return [
        _rigid(wearer, merged(frame), "head", surface, "frame", "Eyeglass"),
        _rigid(wearer, merged(lenses), "head", glass, "lenses", "Eyeglass"),
    ]


def _head_width(wearer: Wearer) -> float:
    """Return half the width of the head between the ears and the temples."""
    model = load_body()
    canonical = model.canonical.vertices[0]
    skin = model.group_vertices("skin")
    places = canonical[skin]
    near = (np.abs(places[:, 1] - 1.728) < 0.012) & (np.abs(places[:, 2] - 0.075) < 0.02)
    return float(np.abs(wearer.rest[skin[near], 0]).max()) + 0.0015


# --------------------------------------------------------------------- wrists, necks and trunks


def _band(fitted: Fitted, name: str, low: float, high: float, surface: Surface) -> Part | None:
    """Make a band around one forearm, the one the wearer's seed chooses."""
    bare = fitted_shell(fitted.wearer, ("skin",), smooth=0, levels=1)
    sign = 1.0 if fitted.wearer.seed % 3 else -1.0
    own = bare.shell
    side = np.where((own.canonical[:, 0] * sign > 0) & (own.arm > 1), 1.0, -1.0)
    keep = [side, (own.arm - low) * UPPER_ARM, (high - own.arm) * UPPER_ARM]
    height = np.full(len(own.arm), 0.0028)
    return sheet(
        bare, height, keep, surface=surface, labels=label("Apparel"), thickness=0.003, name=name
    )


def _watch(fitted: Fitted, fabric: Fabric) -> list[Part]:
    wearer = fitted.wearer
    band = _band(fitted, "watch", 1.80, 1.87, fabric.surface())
    if band is None:
        return []
    letter = "L" if wearer.seed % 3 else "R"
    wrist, finger = wearer.bone(f"wrist.{letter}"), wearer.bone(f"finger3-1.{letter}")
    across = wearer.bone(f"finger2-1.{letter}") - wearer.bone(f"finger5-1.{letter}")
    along = finger - wrist
    # out of the back of the hand
    back = np.cross(across, along) * (1.0 if letter == "L" else -1.0)
    transform = wearer.transform(f"lowerarm02.{letter}")
    turn = transform[:, :3] @ (back / np.linalg.norm(back))
    way = transform[:, :3] @ (along / np.linalg.norm(along))
    points = band.vertices.astype(np.float64)
    middle = points.mean(axis=0)
    top = middle + turn * float(((points - middle) @ turn).max())
    frame = np.stack([np.cross(turn, way), turn, np.cross(np.cross(turn, way), turn)], axis=1)
    frame /= np.linalg.norm(frame, axis=0)
    radius = float(np.random.default_rng([wearer.seed, 5]).uniform(0.013, 0.019))
    vertices, faces = rounded((radius, 0.0045, radius), power=2.0 if wearer.seed % 2 else 5.0)
    posed = (vertices @ frame.T + top + turn * 0.001).astype(np.float32)
    case = Part(
        vertices=posed,
        faces=faces,
        normals=vertex_normals(posed, faces),
        canonical=vertices + band.canonical.mean(axis=0),
        labels=np.full(len(faces), label("Apparel"), np.uint8),
        surface=_metal(fabric),
        name="watch case",
        soft=False,
    )
    return [band, case]


def _bracelet(fitted: Fitted, fabric: Fabric) -> list[Part]:
    wide = 0.01 + 0.05 * ((fitted.wearer.seed // 7) % 5) / 5
    part = _band(fitted, "bracelet", 1.86 - wide, 1.87, _metal(fabric))
    return [] if part is None else [part]


def _ring_around_neck(fitted: Fitted, drop: float, away: float) -> NDArray[np.float64]:
    """Return (64, 3) posed places around the neck, ``drop`` metres below its foot in front."""
    own = fitted.shell
    places = own.canonical
    line = neckline(places, "crew") + 0.015 - drop * np.clip(places[:, 2] / 0.09, 0, 1)
    kept = cut(own.piece.faces, np.where(own.arm < -0.4, line, -1.0))
    vertices = kept.apply(fitted.posed(fitted.worn + np.float32(away))[0])[kept.border]
    canonical = kept.apply(places)[kept.border]
    inner = np.abs(kept.apply(line)[kept.border]) < 1e-3
    angle = np.arctan2(canonical[inner, 0], canonical[inner, 2] - 0.01)
    order = np.argsort(angle)
    at = np.arange(64) * (2 * np.pi / 64) - np.pi
    ring = vertices[inner][order].astype(np.float64)
    path = np.stack(
        [np.interp(at, angle[order], ring[:, k], period=2 * np.pi) for k in range(3)], 1
    )
    for _ in range(2):
        path = 0.5 * path + 0.25 * (np.roll(path, 1, axis=0) + np.roll(path, -1, axis=0))
    return path


def _loose(fitted: Fitted, solid: Solid, surface: Surface, name: str, canonical: Floats) -> Part:
    vertices, faces = solid
    return Part(
        vertices=vertices,
        faces=faces,
        normals=vertex_normals(vertices, faces),
        canonical=canonical.astype(np.float32),
        labels=np.full(len(faces), label("Apparel"), np.uint8),
        surface=surface,
        name=name,
    )


def _necklace(fitted: Fitted, fabric: Fabric) -> list[Part]:
    path = _ring_around_neck(fitted, 0.012, 0.003)
    rng = np.random.default_rng([fitted.wearer.seed, 6])
    pieces = [tube(path, float(rng.uniform(0.0008, 0.0022)), closed=True)]
    if rng.random() < 0.6:
        front = path[32]
        vertices, faces = rounded((0.007, 0.009, 0.003), power=2.5, rings=8)
        pieces.append(((vertices + front + [0, -0.009, 0.003]).astype(np.float32), faces))
    solid = merged(pieces)
    return [_loose(fitted, solid, _metal(fabric), "necklace", solid[0])]


def _scarf(fitted: Fitted, fabric: Fabric) -> list[Part]:
    rng = np.random.default_rng([fitted.wearer.seed, 8])
    loops = []
    for k in range(2):
        path = _ring_around_neck(fitted, 0.0, 0.020 + 0.004 * k)
        up = fitted.wearer.transform("neck01")[:, :3] @ [0.0, 1.0, 0.0]
        wave = np.sin(np.arange(64) / 64 * 2 * np.pi * rng.integers(1, 3) + rng.uniform(0, 6))
        path = path + up * (0.018 * k + 0.012 + 0.006 * wave[:, None])
        bumps = np.interp(np.arange(64), np.arange(0, 65, 8), rng.uniform(0.8, 1.15, 9))
        loops.append(tube(path, 0.021 * bumps, sides=12, closed=True))
    solid = merged(loops)
    angle = np.tile(np.repeat(np.arange(64), 12) / 64 * 2 * np.pi, 2)
    canonical = np.stack(
        [0.09 * np.sin(angle), 1.53 + solid[0][:, 1] - solid[0][:, 1].mean(), 0.09 * np.cos(angle)],
        1,
    )
    surface = fabric.surface()
    places = fitted.shell.canonical
    x, y, z = places.T
    middle = float(rng.uniform(-0.05, 0.05))
    hanging = [0.035 - x + middle, x - middle + 0.035, y - float(rng.uniform(1.1, 1.3)), 1.51 - y]
    end = sheet(
        fitted, fitted.worn + 0.012, [np.where(z > 0.02, 1.0, -1.0), *hanging], surface=surface,
        labels=label("Apparel"), thickness=0.006, name="scarf",
    )  # fmt: skip
    parts = [_loose(fitted, solid, surface, "scarf", canonical)]
    return parts if end is None else [*parts, end]


def _belt(fitted: Fitted, fabric: Fabric) -> list[Part]:
    x, y, z = fitted.shell.canonical.T
    level = y - 1.035 + 0.12 * np.minimum(z, 0)
    around = [np.where(fitted.shell.arm < -0.4, 1.0, -1.0), level + 0.018, 0.018 - level]
    apparel = label("Apparel")
    band = sheet(
        fitted, fitted.worn + 0.003, around, surface=fabric.surface(), labels=apparel,
        thickness=0.004, name="belt",
    )  # fmt: skip
    front = [np.where(z > 0.03, 1.0, -1.0), 0.022 - x, x + 0.022]
    buckle = sheet(
        fitted, fitted.worn + 0.006, [*around, *front], surface=_metal(fabric), labels=apparel,
        thickness=0.003, name="buckle",
    )  # fmt: skip
    return [part for part in (band, buckle) if part is not None]


def _backpack(fitted: Fitted, fabric: Fabric) -> list[Part]:
    wearer = fitted.wearer
    rng = np.random.default_rng([wearer.seed, 9])
    spine = wearer.bone("spine02")
    size = rng.uniform(0.12, 0.16), rng.uniform(0.18, 0.24), rng.uniform(0.055, 0.085)
    own = fitted.shell.canonical
    back = (np.abs(own[:, 0]) < 0.1) & (own[:, 1] > 1.2) & (own[:, 1] < 1.45) & (own[:, 2] < 0)
    outer = fitted.base + fitted.normals * fitted.worn[:, None]
    behind = float(outer[back, 2].min())
    centre = np.array([0.0, spine[1] + 0.03, behind - size[2] * 0.9])
    body, faces = rounded((float(size[0]), float(size[1]), float(size[2])), power=4.5, rings=16)
    pocket, others = rounded((size[0] * 0.8, size[1] * 0.4, 0.03), power=4.5, rings=10)
    solid = merged([
        ((body + centre).astype(np.float32), faces),
        ((pocket + centre + [0, -0.4 * size[1], -size[2]]).astype(np.float32), others),
    ])  # fmt: skip
    surface = fabric.surface()
    parts: list[Part | None] = [_rigid(wearer, solid, "spine02", surface, "backpack")]
    x, y, _ = own.T
    inner = np.where(fitted.shell.arm < 0.1, 1.0, -1.0)
    for sign in (1, -1):
        from_middle = sign * x - 0.095 - 0.25 * np.clip(1.35 - y, 0, 0.2)
        strap = [inner, 0.022 - from_middle, from_middle + 0.022, y - 1.2]
        parts.append(
            sheet(
                fitted,
                fitted.worn + 0.005,
                strap,
                surface=surface,
                labels=label("Apparel"),
                thickness=0.006,
                name="strap",
            )  # fmt: skip
        )
    return [part for part in parts if part is not None]


def _shoulder_bag(fitted: Fitted, fabric: Fabric) -> list[Part]:
    wearer = fitted.wearer
    sign = 1.0 if wearer.seed % 2 else -1.0
    own = fitted.shell.canonical
    x, y, _ = own.T
    # a loop from one shoulder to the other hip
    level = 0.78 * (x * sign + 0.02) + 0.62 * (y - 1.27)
    inner = np.where((fitted.shell.arm < 0.0) & (y > 0.95), 1.0, -1.0)
    strap = sheet(
        fitted, fitted.worn + 0.004, [inner, level + 0.014, 0.014 - level], surface=fabric.surface(),
        labels=label("Apparel"), thickness=0.004, name="strap",
    )  # fmt: skip
    outer = fitted.base + fitted.normals * fitted.worn[:, None]
    hip = (np.abs(y - 1.0) < 0.06) & (x * sign < 0)
    side = outer[hip]
    edge = side[np.abs(side[:, 0]).argmax()].astype(np.float64)
    rng = np.random.default_rng([wearer.seed, 10])
    size = rng.uniform(0.03, 0.045), rng.uniform(0.08, 0.12), rng.uniform(0.10, 0.14)
    body, faces = rounded((float(size[0]), float(size[1]), float(size[2])), power=5.0, rings=14)
    centre = edge + [-sign * size[0] * 0.9, 0.02, 0.0]
    solid = ((body + centre).astype(np.float32), faces)
    parts = [_rigid(wearer, solid, "spine05", fabric.surface(), "bag")]
    return parts if strap is None else [*parts, strap]


_MAKERS: Mapping[str, Callable[[Fitted, Fabric], list[Part]]] = {
    "glasses": _glasses,
    "sunglasses": _sunglasses,
    "watch": _watch,
    "bracelet": _bracelet,
    "necklace": _necklace,
    "scarf": _scarf,
    "belt": _belt,
    "backpack": _backpack,
    "shoulder bag": _shoulder_bag,
}

# SPDX-License-Identifier: Apache-2.0
"""What people wear besides clothes: hats, glasses, watches, jewellery, scarves, belts, bags.

Labels: Apparel, and Eyeglass for glasses with their lenses. Hats and glasses sit rigidly on the
head; straps and belts are bands of the clothes' own shell, above everything worn.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import unknown_name
from vitruvian.synth.carried import metal, rigid
from vitruvian.synth.cut import cut
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.forms import Solid, merged, rounded, tube
from vitruvian.synth.garments import Reach, neckline
from vitruvian.synth.hats import HATS, hat_of, veiled
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.shells import UPPER_ARM, Fitted, Part, label, sheet
from vitruvian.synth.shells import fit as fitted_shell
from vitruvian.synth.spectacles import spectacles
from vitruvian.synth.surfaces import Surface

Floats = NDArray[np.floating]
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
            parts += hat_of(fitted, kind, fabric)
            if kind == "headscarf":
                hidden.append(veiled)
        else:
            parts += _MAKERS[kind](fitted, fabric)
    return parts, hidden


def _glasses(fitted: Fitted, fabric: Fabric) -> list[Part]:
    return spectacles(fitted.wearer, fabric, dark=False)


def _sunglasses(fitted: Fitted, fabric: Fabric) -> list[Part]:
    return spectacles(fitted.wearer, fabric, dark=True)


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
        surface=metal(fabric),
        name="watch case",
        soft=False,
    )
    return [band, case]


def _bracelet(fitted: Fitted, fabric: Fabric) -> list[Part]:
    wide = 0.01 + 0.05 * ((fitted.wearer.seed // 7) % 5) / 5
    part = _band(fitted, "bracelet", 1.86 - wide, 1.87, metal(fabric))
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
    return [_loose(fitted, solid, metal(fabric), "necklace", solid[0])]


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
        fitted, fitted.worn + 0.006, [*around, *front], surface=metal(fabric), labels=apparel,
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
    parts: list[Part | None] = [rigid(wearer, solid, "spine02", surface, "backpack")]
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
            )
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
        fitted,
        fitted.worn + 0.004,
        [inner, level + 0.014, 0.014 - level],
        surface=fabric.surface(),
        labels=label("Apparel"),
        thickness=0.004,
        name="strap",
    )
    outer = fitted.base + fitted.normals * fitted.worn[:, None]
    hip = (np.abs(y - 1.0) < 0.06) & (x * sign < 0)
    side = outer[hip]
    edge = side[np.abs(side[:, 0]).argmax()].astype(np.float64)
    rng = np.random.default_rng([wearer.seed, 10])
    size = rng.uniform(0.03, 0.045), rng.uniform(0.08, 0.12), rng.uniform(0.10, 0.14)
    body, faces = rounded((float(size[0]), float(size[1]), float(size[2])), power=5.0, rings=14)
    centre = edge + np.array([-sign * size[0] * 0.9, 0.02, 0.0])
    solid = ((body + centre).astype(np.float32), faces)
    parts = [rigid(wearer, solid, "spine05", fabric.surface(), "bag")]
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

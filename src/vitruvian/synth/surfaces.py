# SPDX-License-Identifier: Apache-2.0
"""What light meets: skin, cloth, hair, eyes, teeth, leather, metal, glass and scanned textures.

A surface is a frozen value; a scene keeps a list of them and every mesh face names one. The single
function :func:`evaluate` turns a surface and many places on it into what shading needs. Detail
lives in *canonical* coordinates (the person at rest) or in texture coordinates, so it sticks to
the body when the body moves. Colours are linear RGB in 0 … 1, lengths metres.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.synth import noise, patterns
from vitruvian.synth.patterns import Colour, Floats, Pattern, Texture


@dataclass(frozen=True, kw_only=True, eq=False)
class Paint:
    """Something painted on skin through a mask: brows, a beard, lips, nails, freckles, a tan.

    Attributes:
        mask: (H, W) uint8, 255 where the paint is full; nothing is painted outside of it.
        window: texture coordinates (u0, v0, u1, v1) it covers; v upwards, its first row at v1.
        colour: linear RGB.
        opacity: of the paint where the mask is full, 0 … 1.
        tints: whether the colour multiplies what is below (lips, blush) instead of covering it.
        strand: width of single hairs the paint breaks into, metres; 0 for none.
    """

    mask: NDArray[np.uint8]
    colour: Colour
    opacity: float = 1.0
    tints: bool = False
    strand: float = 0.0
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.mask.dtype != np.uint8 or self.mask.ndim != 2 or 0 in self.mask.shape:
            raise InputError(
                f"a paint needs an (H, W) uint8 mask, got {self.mask.dtype} {self.mask.shape}"
            )
        u0, v0, u1, v1 = self.window
        if not (u0 < u1 and v0 < v1):
            raise InputError(f"a paint's window is u0, v0, u1 > u0, v1 > v0, got {self.window}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Skin:
    """Human skin.

    Attributes:
        tone: mean colour.
        paints: laid on one after the other.
        mottle: contrast of its slow changes of tone and redness.
        pores: depth of the fine relief, 0 … 1.
        roughness: of the oily film on top.
        seed: of the random fields.
    """

    tone: Colour
    paints: tuple[Paint, ...] = ()
    mottle: float = 0.2
    pores: float = 0.5
    roughness: float = 0.5
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloth:
    """Woven, knitted or printed fabric.

    Attributes:
        pattern: its colours.
        coordinates: where the pattern lives: "canonical" lays it flat on front, back, sides and
            top of the body at rest (metres); "uv" uses texture coordinates times ``width``.
        width: metres from u = 0 to u = 1, for "uv".
        roughness: 0.3 for satin, 0.9 for wool.
        sheen: light caught by fibres at grazing angles, 0 … 1.
        wrinkles: strength of small folds that the mesh has not, 0 … 1.
        weave: metres between threads; 0 for none.
        seed: of the random fields.
    """

    pattern: Pattern
    coordinates: Literal["canonical", "uv"] = "canonical"
    width: float = 1.0
    roughness: float = 0.8
    sheen: float = 0.1
    wrinkles: float = 0.3
    weave: float = 0.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Hair:
    """Strands of hair.

    Their mesh's texture coordinates are u = number of the strand + place across it (0 … 0.98) and
    v = 0 at the root … 1 at the tip: where v grows fastest is the direction in which strands run.

    Attributes:
        colour: of the strands.
        spread: how much strands differ in brightness, 0 … 1.
        tip: brightness of the tips relative to the roots.
        gloss: strength of the highlights.
        seed: of the random fields.
    """

    colour: Colour
    spread: float = 0.3
    tip: float = 1.2
    gloss: float = 1.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Eye:
    """An eyeball, drawn analytically around its centre in canonical coordinates.

    Attributes:
        centre: canonical, metres.
        iris: colour.
        axis: canonical direction of gaze at rest.
        iris_angle: half the angle of the iris at the centre, radians (20.5°: about 12 mm).
        pupil_angle: the same of the pupil (7.5°).
        sclera: colour of the white.
        seed: of the fibres.
    """

    centre: Colour
    iris: Colour
    axis: Colour = (0.0, 0.0, 1.0)
    iris_angle: float = 0.358
    pupil_angle: float = 0.131
    sclera: Colour = (0.72, 0.68, 0.65)
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """Something of one colour: teeth, tongue, lashes, leather, rubber, plastic, metal.

    Attributes:
        colour: diffuse colour, or that of the highlights for metal.
        roughness: 0.1 for wet or polished, 0.6 for leather, 0.9 for chalk.
        metal: whether it is a metal.
        mottle: contrast of its stains.
        grain: depth of a fine relief, 0 … 1.
        seed: of the random fields.
    """

    colour: Colour
    roughness: float = 0.5
    metal: bool = False
    mottle: float = 0.0
    grain: float = 0.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Glass:
    """A thin pane. Labels, depth and normals are the pane's; the picture shows what is behind too.

    Attributes:
        tint: share of each colour that passes.
    """

    tint: Colour = (0.9, 0.9, 0.9)


@dataclass(frozen=True, kw_only=True, eq=False)
class Textured:
    """A scan's photograph, looked up by texture coordinates (repeating, v upwards)."""

    texture: Texture
    roughness: float = 0.7


@dataclass(frozen=True, kw_only=True, eq=False)
class Painted:
    """A scan coloured per vertex: its mesh holds linear RGB in the place of canonical positions."""

    roughness: float = 0.7


Surface = Skin | Cloth | Hair | Eye | Solid | Glass | Textured | Painted


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where rays met one surface, one contiguous row per coordinate.

    Attributes:
        canonical: (3, n) float32 position on the person at rest.
        facing: (3, n) float32 unit normal of the face at rest; which side a pattern is laid on.
        uv: (2, n) float32.
        footprint: metres that one pixel covers here, roughly.
        uv_footprint: how much of u one pixel covers here, roughly.
    """

    canonical: Floats
    facing: Floats
    uv: Floats
    footprint: float = 1e-3
    uv_footprint: float = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What shading needs to know of n places of one surface.

    Attributes:
        albedo: (3, n) float32 share of light that returns diffusely; of a metal, its colour.
        roughness: GGX roughness, 0 … 1.
        specular: reflectance at normal incidence, of what is no metal.
        kind: which reflection model.
        translucency: how much light wanders under the surface, 0 … 1.
        sheen: light caught by fibres at grazing angles.
        gloss: strength of hair highlights.
        relief: (3, n) what to add to unit normals, or ``None``.
    """

    albedo: Floats
    roughness: float = 0.5
    specular: float = 0.04
    kind: Literal["dielectric", "metal", "hair", "glass"] = "dielectric"
    translucency: float = 0.0
    sheen: float = 0.0
    gloss: float = 0.0
    relief: Floats | None = None


def evaluate(surface: Surface, places: Places) -> Material:
    """Return what light meets at many places of one surface; a pure function of its arguments."""
    match surface:
        case Skin():
            return _skin(surface, places)
        case Cloth():
            return _cloth(surface, places)
        case Hair():
            return _hair(surface, places)
        case Eye():
            return _eye(surface, places)
        case Solid():
            return _solid(surface, places)
        case Glass():
            albedo = _filled(surface.tint, places)
            return Material(albedo=albedo, roughness=0.03, kind="glass")
        case Textured():
            u, v = places.uv
            albedo = patterns.sample(surface.texture, u, v, places.uv_footprint)
            return Material(albedo=albedo, roughness=surface.roughness)
        case Painted():
            albedo = np.clip(places.canonical, 0, 1)
            return Material(albedo=albedo, roughness=surface.roughness)


def _filled(colour: Colour, places: Places) -> Floats:
    column = np.array(colour, np.float32)[:, None]
    return np.repeat(column, places.canonical.shape[1], axis=1)


def _shows(size: float, places: Places) -> float:
    """Return how much of a detail of ``size`` metres the pixels still show, 0 … 1.

    Nothing from pixels of 1.5 times the size; a wave of length p has details of a third of it.
    """
    return float(np.clip(1.5 - places.footprint / size, 0, 1))


def _skin(skin: Skin, places: Places) -> Material:
    points = places.canonical
    tone = noise.fractal(points, 9, seed=skin.seed) - np.float32(0.5)
    blood = noise.fractal(points, 25, seed=skin.seed + 1) - np.float32(0.5)
    brightness = np.float32(1) + np.float32(0.5 * skin.mottle) * tone
    redness = np.float32(skin.mottle) * blood
    albedo = _filled(skin.tone, places)
    # blood takes green and blue away (haemoglobin's absorption) and hardly any red
    albedo[0] *= brightness * (np.float32(1) + np.float32(0.15) * redness)
    albedo[1] *= brightness * (np.float32(1) - np.float32(0.55) * redness)
    albedo[2] *= brightness * (np.float32(1) - np.float32(0.45) * redness)
    relief = None
    fade = _shows(0.0006, places)
    if fade > 0 and skin.pores > 0:
        relief = noise.vectors(points, 700, seed=skin.seed + 2)
        albedo *= np.float32(1) + np.float32(0.12 * fade * skin.pores) * relief[0]
        relief *= np.float32(0.12 * fade * skin.pores)
    for paint in skin.paints:
        _lay(paint, albedo, places)
    np.clip(albedo, 0, 0.95, out=albedo)
    return Material(
        albedo=albedo,
        roughness=skin.roughness,
        specular=0.028,  # refractive index 1.4
        translucency=1.0,
        relief=relief,
    )


def _lay(paint: Paint, albedo: Floats, places: Places) -> None:
    """Lay a paint on the colours, in place, looking only at places within its window."""
    rows, columns = paint.mask.shape
    u0, v0, u1, v1 = (np.float32(edge) for edge in paint.window)
    u, v = places.uv
    where = np.flatnonzero((u > u0) & (u < u1) & (v > v0) & (v < v1))
    if not len(where):
        return
    x = (u[where] - u0) * (np.float32(columns) / (u1 - u0)) - np.float32(0.5)
    y = (v1 - v[where]) * (np.float32(rows) / (v1 - v0)) - np.float32(0.5)
    # OpenCV samples at most 32767 places of a row
    mask = cv2.remap(
        paint.mask, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )[0]
    amount = mask.astype(np.float32) * np.float32(paint.opacity / 255)
    if paint.strand > 0:
        points = places.canonical[:, where] * np.array([[1.0], [0.4], [1.0]], np.float32)
        fade = np.float32(_shows(paint.strand * 2, places))
        hairs = np.clip(noise.smooth(points, 0.5 / paint.strand) * 2.4 - 0.5, 0, 1)
        # a thin beard is few hairs, not grey skin: the mask decides how many are left
        amount *= np.float32(1) - fade * (np.float32(1) - hairs.astype(np.float32))
    below = albedo[:, where]
    colour = np.array(paint.colour, np.float32)[:, None]
    above = below * colour if paint.tints else colour
    albedo[:, where] = below + (above - below) * amount


def _cloth(cloth: Cloth, places: Places) -> Material:
    points = places.canonical
    plane = places.uv * np.float32(cloth.width) if cloth.coordinates == "uv" else _laid_flat(places)
    albedo = patterns.evaluate(cloth.pattern, plane, points, places.footprint)
    wear = noise.fractal(points, 12, seed=cloth.seed) - np.float32(0.5)
    albedo *= np.float32(1) + np.float32(0.12) * wear
    relief = None
    if cloth.wrinkles > 0:
        stretched = points * np.array([[1.0], [1.7], [1.0]], np.float32)
        relief = noise.vectors(stretched, 11, seed=cloth.seed + 1)
        relief *= np.float32(0.28 * cloth.wrinkles)
    fade = _shows(cloth.weave / 3, places) if cloth.weave > 0 else 0.0
    if fade > 0:
        thread = np.float32(2 * np.pi / cloth.weave)
        across, down = np.sin(plane[0] * thread), np.sin(plane[1] * thread)
        albedo *= np.float32(1) + np.float32(0.14 * fade) * across * down
    np.clip(albedo, 0, 0.95, out=albedo)
    return Material(albedo=albedo, roughness=cloth.roughness, sheen=cloth.sheen, relief=relief)


def _laid_flat(places: Places) -> Floats:
    """Return (2, n) metres on the front, side or top of the body, whichever a face looks at."""
    x, y, z = places.canonical
    size = np.abs(places.facing)
    side = size[0] > size[2]
    # shoulders are cut like the front and the back; hats and soles are not
    top = (size[1] > np.float32(0.92)) & ((y > np.float32(1.62)) | (y < np.float32(0.15)))
    return np.stack([np.where(side, z, x), np.where(top, z, y)])


def _hair(hair: Hair, places: Places) -> Material:
    number = np.floor(places.uv[0])
    # a fractional hash: one brightness per strand
    shade = np.sin((number + np.float32(hair.seed % 1009)) * np.float32(12.9898))
    shade *= np.float32(437.585)
    shade -= np.floor(shade)
    lock = noise.fractal(places.canonical, 25, seed=hair.seed)
    brightness = np.float32(1) + np.float32(hair.spread) * (shade + lock - np.float32(1))
    along = np.clip(places.uv[1], 0, 1)
    brightness *= np.float32(1) + np.float32(hair.tip - 1) * along
    albedo = np.array(hair.colour, np.float32)[:, None] * brightness
    np.clip(albedo, 0, 0.95, out=albedo)
    return Material(albedo=albedo, roughness=0.35, specular=0.046, kind="hair", gloss=hair.gloss)


def _eye(eye: Eye, places: Places) -> Material:
    offset = places.canonical - np.array(eye.centre, np.float32)[:, None]
    radius = np.maximum(np.sqrt((offset * offset).sum(axis=0)), np.float32(1e-6))
    axis = np.array(eye.axis, np.float32)
    axis /= np.linalg.norm(axis)
    angle = np.arccos(np.clip((axis @ offset) / radius, -1, 1))
    soft = np.float32(max(places.footprint / 0.012, 0.03))  # radians; an eyeball's radius is 12 mm

    def within(limit: float) -> Floats:
        return np.clip((np.float32(limit) - angle) / soft + np.float32(0.5), 0, 1)

    fibres = noise.smooth(offset / radius * np.float32(0.01), 2500, seed=eye.seed)
    rim = np.clip(angle / np.float32(eye.iris_angle), 0, 1)
    glow = np.float32(0.6) + np.float32(0.8) * fibres
    glow *= np.float32(1.15) - np.float32(0.75) * rim * rim * rim * rim
    redness = np.clip((angle - np.float32(eye.iris_angle)) * np.float32(0.25), 0, 0.3)
    albedo = _filled(eye.sclera, places)
    albedo[1:] *= np.float32(1) - redness
    iris = np.array(eye.iris, np.float32)[:, None] * glow
    albedo += (iris - albedo) * within(eye.iris_angle)
    albedo += (np.float32(0.004) - albedo) * within(eye.pupil_angle)
    return Material(albedo=np.clip(albedo, 0, 0.95), roughness=0.05, specular=0.04)


def _solid(solid: Solid, places: Places) -> Material:
    albedo = _filled(solid.colour, places)
    if solid.mottle > 0:
        stains = noise.fractal(places.canonical, 30, seed=solid.seed) - np.float32(0.5)
        albedo *= np.float32(1) + np.float32(2 * solid.mottle) * stains
        np.clip(albedo, 0, 0.98, out=albedo)
    relief = None
    fade = _shows(0.0012, places)
    if solid.grain > 0 and fade > 0:
        relief = noise.vectors(places.canonical, 400, seed=solid.seed + 1)
        relief *= np.float32(0.3 * solid.grain * fade)
    kind = "metal" if solid.metal else "dielectric"
    return Material(albedo=albedo, roughness=solid.roughness, kind=kind, relief=relief)

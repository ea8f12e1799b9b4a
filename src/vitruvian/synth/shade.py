# SPDX-License-Identifier: Apache-2.0
"""From what is hit and the light it receives to the radiance that reaches the camera.

Diffuse light is what was received times the albedo; skin lets the sun wrap around its edge, red
the furthest. Highlights are GGX (Walter et al., EGSR 2007) with Schlick's Fresnel and his
approximation of Smith's shadowing; hair follows Kajiya & Kay (1989) with the two
highlights of Marschner et al. (2003). Everything works on rows per coordinate, in blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.synth import gbuffer, light, surfaces
from vitruvian.synth.gathered import BLOCK, Geometry
from vitruvian.synth.gbuffer import Hits
from vitruvian.synth.irradiance import Received
from vitruvian.synth.light import Lamps
from vitruvian.synth.surfaces import Glass, Hair, Material, Surface

Floats = NDArray[np.floating]

_ONE = np.float32(1)
_WRAP = np.array([[0.30], [0.12], [0.06]], np.float32)  # how far skin carries red, green and blue
_HAIR_SHIFTS = (-0.08, 0.12)  # tilt of the scales: white highlight towards the root, coloured away


@dataclass(frozen=True, kw_only=True, eq=False)
class Shaded:
    """What n hits send to the camera.

    Attributes:
        radiance: (3, n) float32 linear.
        albedo: (3, n) float32 base colour, 0 … 1.
    """

    radiance: NDArray[np.float32]
    albedo: NDArray[np.float32]


def shade(
    geometry: Geometry,
    materials: Sequence[Surface],
    hits: Hits,
    received: Received,
    lamps: Lamps,
    camera: Camera,
) -> Shaded:
    """Shade hits; those on glass get the reflection only (see :func:`glass`)."""
    result = Shaded(
        radiance=np.empty((3, len(hits)), np.float32), albedo=np.empty((3, len(hits)), np.float32)
    )
    for surface, order in gbuffer.grouped(hits.surface):
        for start in range(0, len(order), BLOCK):
            part = order[start : start + BLOCK]
            spots = gbuffer.places(geometry, hits, part, surface, camera)
            material = surfaces.evaluate(materials[surface], spots)
            result.albedo[:, part] = material.albedo
            if material.kind == "hair":
                along = gbuffer.strands(geometry, hits, part)
                shone = _hair(material, along, hits, part, received, lamps)
            else:
                shone = _solid(material, hits, part, received, lamps)
            result.radiance[:, part] = shone
    return result


def hair(materials: Sequence[Surface]) -> list[int]:
    """Return the indices of surfaces that are hair."""
    return [index for index, surface in enumerate(materials) if isinstance(surface, Hair)]


def glass(materials: Sequence[Surface], hits: Hits) -> NDArray[np.intp]:
    """Return which hits are on glass."""
    panes = [index for index, surface in enumerate(materials) if isinstance(surface, Glass)]
    return np.flatnonzero(np.isin(hits.surface, panes)) if panes else np.zeros(0, np.intp)


def transmitted(materials: Sequence[Surface], hits: Hits, part: NDArray[np.intp]) -> Floats:
    """Return (3, n) the share of light from behind that passes each pane."""
    shares = np.zeros((3, len(materials)), np.float32)
    for index, surface in enumerate(materials):
        if isinstance(surface, Glass):
            shares[:, index] = surface.tint
    cosine = np.clip(-(hits.normal[:, part] * hits.view[:, part]).sum(axis=0), 0, 1)
    return shares[:, hits.surface[part]] * (_ONE - _fresnel(0.04, cosine))


def _fresnel(at_normal: float, cosine: Floats) -> Floats:
    """Schlick's approximation of the share of light that is reflected."""
    rest = _ONE - cosine
    square = rest * rest
    return np.float32(at_normal) + np.float32(1 - at_normal) * (square * square * rest)


def _solid(
    material: Material, hits: Hits, part: NDArray[np.intp], received: Received, lamps: Lamps
) -> Floats:
    """Shade everything that is not hair."""
    normal, view = hits.normal[:, part], hits.view[:, part]
    if material.relief is not None:
        normal = _bent(normal, view, material.relief)
    sun, sky, openness = received.sun[part], received.sky[:, part], received.open[part]
    toward_sun = lamps.sun @ normal
    cosine = np.maximum(-(normal * view).sum(axis=0), np.float32(0.02))
    diffuse = _diffuse(material, toward_sun, sun, sky, lamps)
    reflected = view + normal * (np.float32(2) * cosine)
    rough = material.roughness
    mirror = light.sample(lamps.sharp if rough < 0.2 else lamps.glossy, reflected)
    if rough > 0.5:  # a wide lobe sees much of the sky
        mirror += (light.sample(lamps.soft, normal) - mirror) * np.float32(min(2 * rough - 1, 1))
    lobe = _lobe(rough, lamps, toward_sun, cosine, view)
    lit = lamps.sun_colour[:, None] * (lobe * sun * np.maximum(toward_sun, 0))
    grazing = _ONE - cosine
    edge = grazing * grazing
    edge *= edge * grazing
    if material.kind == "metal":
        tint = material.albedo + (_ONE - material.albedo) * edge
        return (mirror * openness + lit) * tint
    share = _sky_share(material.specular, rough, cosine)
    gloss = mirror * (share * openness) + lit * _fresnel(material.specular, _half(lamps, view))
    if material.kind == "glass":
        return gloss
    if material.sheen > 0:
        gloss += diffuse * (np.float32(0.3 * material.sheen) * edge)
    diffuse *= _ONE - share  # what is mirrored does not enter
    return material.albedo * diffuse + gloss


def _sky_share(specular: float, roughness: float, cosine: Floats) -> Floats:
    """Return the share of the sky that a GGX surface mirrors (fit of B. Karis, 2014)."""
    gloss = np.float32(1 - roughness)
    tail = np.minimum(gloss * gloss, np.exp2(np.float32(-9.28) * cosine)) * gloss
    tail += np.float32(0.0425 - 0.0275 * roughness)
    scale = np.float32(1.04 - 0.572 * roughness) - np.float32(1.04) * tail
    offset = np.float32(1.04) * tail + np.float32(0.022 * roughness - 0.04)
    return np.float32(specular) * scale + np.maximum(offset, 0)


def _bent(normal: Floats, view: Floats, relief: Floats) -> Floats:
    """Return unit normals bent by a relief, still facing the viewer."""
    bent = normal + relief
    away = np.maximum((bent * view).sum(axis=0) + np.float32(0.02), 0)
    bent -= view * away
    bent /= np.sqrt((bent * bent).sum(axis=0))
    return bent


def _diffuse(
    material: Material, toward_sun: Floats, sun: Floats, sky: Floats, lamps: Lamps
) -> Floats:
    """Return (3, n) light received over π, from sun and sky."""
    colour = lamps.sun_colour[:, None] * np.float32(1 / np.pi)
    if material.translucency <= 0:
        return sky + colour * (np.maximum(toward_sun, 0) * sun)
    wrap = _WRAP * np.float32(material.translucency)
    wrapped = np.maximum((toward_sun + wrap) / (_ONE + wrap), 0)
    # under the horizon the sun is hidden by the skin itself; some light leaks there all the same
    leak = np.clip(_ONE - np.abs(toward_sun) * np.float32(4), 0, 1)
    seen = sun + (_ONE - sun) * leak * np.float32(0.35 * material.translucency)
    return sky + colour * (wrapped * wrapped * seen + wrapped * (_ONE - wrapped) * sun)


def _half(lamps: Lamps, view: Floats) -> Floats:
    """Return the cosine between the sun and the half vector of sun and viewer."""
    towards = -(lamps.sun @ view)
    return np.sqrt(np.maximum((_ONE + towards) * np.float32(0.5), 0))


def _lobe(
    roughness: float, lamps: Lamps, toward_sun: Floats, cosine: Floats, view: Floats
) -> Floats:
    """Return the GGX lobe without Fresnel, widened by the sun's own size."""
    alpha = np.float32(min(max(roughness, 0.05) ** 2 + 0.5 * lamps.sun_radius, 1.0))
    towards = -(lamps.sun @ view)
    length = np.sqrt(np.maximum(np.float32(2) + np.float32(2) * towards, np.float32(1e-4)))
    upright = np.clip((toward_sun + cosine) / length, 0, 1)
    square = alpha * alpha
    denominator = upright * upright * (square - _ONE) + _ONE
    k = alpha * np.float32(0.5)
    shadowed = (np.maximum(toward_sun, 0) * (_ONE - k) + k) * (cosine * (_ONE - k) + k)
    return square / (np.float32(4 * np.pi) * denominator * denominator * shadowed)


def _hair(
    material: Material,
    along: Floats,
    hits: Hits,
    part: NDArray[np.intp],
    received: Received,
    lamps: Lamps,
) -> Floats:
    """Shade strands by the angles that light and view make with their direction."""
    view = hits.view[:, part]
    sun, sky, openness = received.sun[part], received.sky[:, part], received.open[part]
    sun_along = lamps.sun @ along
    view_along = -(along * view).sum(axis=0)
    sun_across = np.sqrt(np.maximum(_ONE - sun_along * sun_along, 0))
    view_across = np.sqrt(np.maximum(_ONE - view_along * view_along, 0))
    colour = lamps.sun_colour[:, None]
    radiance = material.albedo * (sky + colour * (sun_across * sun * np.float32(0.75 / np.pi)))
    # light that passes through blond hair brightens it against the sun
    behind = np.maximum(lamps.sun @ view, 0)
    radiance += material.albedo * material.albedo * colour * (behind * behind * sun * 0.25)
    tints = (np.float32(1), np.minimum(material.albedo * 3, _ONE))
    powers, strengths = (90.0, 16.0), (0.16, 0.5)
    for shift, tint, power, strength in zip(_HAIR_SHIFTS, tints, powers, strengths, strict=True):
        tilted = sun_along + np.float32(shift)
        peak = np.clip(sun_across * view_across - tilted * view_along, 0, 1)
        lobe = np.exp((peak - _ONE) * np.float32(power)) * np.float32(strength * material.gloss)
        radiance += colour * tint * (lobe * sun * np.float32(0.5))
        # the sky gives the same highlight, drawn out: the brightest ring across the strand
        ring = openness * view_across * np.float32(0.06 * strength * material.gloss)
        radiance += sky * tint * ring
    return radiance

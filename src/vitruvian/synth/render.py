# SPDX-License-Identifier: Apache-2.0
"""From a scene, a camera and a light to a picture with exact labels, as the project's ``Sample``.

A scene is prepared once and rendered from any number of cameras, with other lights and backgrounds
if wanted. Labels come from rays through pixel centres (``gbuffer``); the picture is shaded, its
edges smoothed, exposed on faces, and passed through the camera's optics. The picture of a person
therefore changes with light and optics, the labels never.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import vocabulary
from vitruvian.camera import Camera
from vitruvian.errors import InputError
from vitruvian.person import ABSENT, OCCLUDED, VISIBLE, Annotation, Person, Points, Raster, Sample
from vitruvian.synth import antialias, gathered, gbuffer, irradiance, shade
from vitruvian.synth import background as backgrounds
from vitruvian.synth import light as lights
from vitruvian.synth import optics as films
from vitruvian.synth.background import Background
from vitruvian.synth.gathered import Geometry
from vitruvian.synth.gbuffer import GBuffer
from vitruvian.synth.intersect import Engine
from vitruvian.synth.irradiance import Quality
from vitruvian.synth.light import Lamps, Light
from vitruvian.synth.mesh import Mesh
from vitruvian.synth.optics import Optics
from vitruvian.synth.surfaces import Glass, Hair, Surface
from vitruvian.vocabulary import Vocabulary

Floats = NDArray[np.floating]

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Landmarks:
    """Named points of one person in the world.

    Attributes:
        vocabulary: their names.
        xyz: (K, 3) world metres; NaN where a person has no such point.
        tolerance: (K,) metres: the point counts as seen if nothing is met more than this before
            it. Joints lie inside limbs (0.04 to 0.16), points of the face under the skin (0.01).
    """

    vocabulary: Vocabulary
    xyz: NDArray[np.floating]
    tolerance: NDArray[np.floating]

    def __post_init__(self) -> None:
        count = len(self.vocabulary)
        if self.xyz.shape != (count, 3) or self.tolerance.shape != (count,):
            raise InputError(
                f"landmarks {self.vocabulary.name!r} need xyz ({count}, 3) and tolerance "
                f"({count},), got {self.xyz.shape} and {self.tolerance.shape}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Figure:
    """One person of a scene.

    Attributes:
        instance: the number their meshes carry, from 1.
        landmarks: annotation name ("pose", …) → points.
    """

    instance: int
    landmarks: Mapping[str, Landmarks] = field(default_factory=dict[str, Landmarks])


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Everything that has labels, in the world (``vitruvian.synth.mesh``: y up, floor y = 0).

    Attributes:
        meshes: of people (instance 1 and above) and things (instance 0).
        surfaces: what mesh faces name by index.
        people: who they are.
    """

    meshes: tuple[Mesh, ...]
    surfaces: tuple[Surface, ...]
    people: tuple[Figure, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A scene ready for cameras."""

    scene: Scene
    geometry: Geometry


@dataclass(frozen=True, kw_only=True, eq=False)
class Rendered:
    """A picture and everything known about it.

    Attributes:
        sample: the picture, its camera, and per person a box, "parts", "depth", "normals", "albedo"
            and the points of their landmarks. Rasters cover the person's box; depth, normals and
            albedo are valid where the person is seen, parts are background elsewhere.
        instances: (H, W) uint8 person numbers, 0 for nobody.
        buffer: the exact geometry.
        exposure: what radiance was multiplied with before the film.
    """

    sample: Sample
    instances: NDArray[np.uint8]
    buffer: GBuffer
    exposure: float


def prepare(scene: Scene, *, engine: Engine | None = None, device: str = "cpu") -> Stage:
    """Prepare a scene for cameras; once per posed group of people.

    Raises:
        InputError: for faces that name a surface which is not there, or people without a mesh.
    """
    geometry = gathered.gather(scene.meshes, engine=engine, device=device)
    highest = int(geometry.surfaces.max())
    if highest >= len(scene.surfaces) or int(geometry.surfaces.min()) < 0:
        raise InputError(
            f"mesh faces name surface {highest}, but the scene has {len(scene.surfaces)}"
        )
    missing = {figure.instance for figure in scene.people} - set(np.unique(geometry.instances))
    if missing:
        raise InputError(f"no mesh belongs to the people {sorted(missing)}")
    return Stage(scene=scene, geometry=geometry)


def render(
    stage: Stage,
    camera: Camera,
    background: Background,
    rng: np.random.Generator,
    *,
    light: Light | None = None,
    optics: Optics | None = None,
    quality: Quality | None = None,
    name: str = "",
) -> Rendered:
    """Render a scene.

    Args:
        stage: the scene, prepared.
        camera: who looks; its size is the picture's.
        background: what is behind.
        rng: where noise comes from; nothing else is left to chance.
        light: by default that of the background.
        optics: how the picture is taken; by default ideally.
        quality: rays spent on light; by default what the picture's height needs.
        name: of the sample.
    """
    optics = optics or Optics()
    quality = quality or irradiance.quality_for(camera.size[0])
    first, second = (float(part) for part in rng.random(2))
    jitter = (first, second)
    geometry, surfaces = stage.geometry, stage.scene.surfaces
    if light is None:
        light = backgrounds.light_of(background, camera, geometry.centre)
    lamps = lights.prepare(light)
    blur = optics.background_blur * camera.size[0]
    shrink = 4 if blur > 10 else 2 if blur > 3 else 1
    buffer = _before(gbuffer.trace(geometry, camera), background)
    # where people cover the background, and no blur carries it out from behind them: its kernel
    # reaches at most 2.3 times its radius, because it works on a smaller picture
    covered = _covered(buffer, surfaces, int(2.3 * blur) + 3 * shrink)
    behind = backgrounds.view(background, camera, shrink=shrink, covered=covered)
    behind = backgrounds.shadowed(behind, geometry, lamps, jitter)
    far_radiance, far = backgrounds.enlarged(behind, camera)
    received = _received(stage, buffer, lamps, quality, jitter)
    shaded = shade.shade(geometry, surfaces, buffer.hits, received, lamps, camera)
    exposure = _metered(buffer, shaded, far_radiance, displayed=behind.displayed)
    if behind.displayed:
        far_radiance = films.display_to_scene(far_radiance) / np.float32(exposure)
    blurred = _blurred(far_radiance, camera.size, blur)
    _look_through(stage, buffer, shaded, blurred, lamps, quality, jitter, camera)
    picture = blurred.copy()
    picture[:, buffer.hits.ray] = shaded.radiance
    antialias.resolve(
        picture, blurred, far, geometry, surfaces, buffer, received, lamps, quality,
        jitter, exposure,
    )  # fmt: skip
    radiance = np.ascontiguousarray(picture.T).reshape(*camera.size, 3)
    image = films.expose(radiance, exposure, optics)
    image = films.finish(image, optics, rng)
    people = tuple(_people(stage, buffer, background, shaded.albedo))
    sample = Sample(image=image, people=people, camera=camera, name=name)
    return Rendered(sample=sample, instances=buffer.instances(), buffer=buffer, exposure=exposure)


def _covered(buffer: GBuffer, surfaces: Sequence[Surface], reach: int) -> NDArray[np.bool_]:
    """Return (H, W) pixels more than ``reach`` inside of what hides the background.

    Light comes through glass, and rays beside a pixel's centre pass between strands of hair.
    """
    open_ones = [k for k, surface in enumerate(surfaces) if isinstance(surface, Glass | Hair)]
    mask = buffer.raster((~np.isin(buffer.hits.surface, open_ones)).astype(np.uint8))
    size = 2 * reach + 1
    inner = cv2.erode(mask, np.ones((size, size), np.uint8), borderValue=1)
    return np.asarray(inner) > 0


def _before(buffer: GBuffer, background: Background) -> GBuffer:
    """Return what is seen before a background; labels never depend on how it is blurred."""
    hits = buffer.hits
    wall = backgrounds.depth_at(background, buffer.camera, hits.ray)
    seen = np.flatnonzero(hits.depth < wall + 1e-3)
    return replace(buffer, hits=antialias.select(hits, seen))


# --------------------------------------------------------------------------------------- light


def _received(
    stage: Stage, buffer: GBuffer, lamps: Lamps, quality: Quality, jitter: tuple[float, float]
) -> irradiance.Received:
    """Return the smoothed light of all hits."""
    hits, hair = buffer.hits, shade.hair(stage.scene.surfaces)
    tile = irradiance.tile_numbers(hits.ray, buffer.camera.size[1], quality.tile)
    received = irradiance.receive(
        stage.geometry.intersector, lamps, hits.position, hits.normal, hits.plane,
        irradiance.clearances(hits, hair), tile, quality, jitter,
    )  # fmt: skip
    soft = lamps.sun_radius > 0.02
    return irradiance.smooth(buffer, received, quality.tile, sun=soft, hair=hair)


def _metered(
    buffer: GBuffer, shaded: shade.Shaded, behind: NDArray[np.float32], *, displayed: bool
) -> float:
    """Return what radiance is multiplied with.

    Between a meter that makes every face grey (0.3 of it) and one that measures only the light on
    it: dark skin stays darker than light skin, as in photographs. A bright background pulls it
    down, as in cameras. A background that is a finished
    picture (``displayed``) has been exposed already: people are adapted to it only half way.
    """
    hits = buffer.hits
    everyone = np.flatnonzero(hits.instance > 0)
    face = np.flatnonzero(hits.label == _face_label())
    chosen = face if len(face) > max(30, 0.02 * len(everyone)) else everyone
    shown = behind[:, ::7]
    shown = shown[:, shown[1] > 0]
    around = float(np.median(_LUMINANCE @ shown)) if shown.size else 0.2
    if not len(chosen):
        return 1.0 if displayed else 0.2 / max(around, 1e-4)
    chosen = chosen[:: max(len(chosen) // 4000, 1)]
    sent = float(np.median(_LUMINANCE @ shaded.radiance[:, chosen]))
    base = float(np.median(_LUMINANCE @ shaded.albedo[:, chosen]))
    incident = sent / max(base, 0.02)
    exposure = (0.22 / max(sent, 1e-4)) ** 0.3 * (0.85 / max(incident, 1e-4)) ** 0.7
    if displayed:
        return float(np.clip(np.sqrt(exposure), 0.6, 1.7))
    return exposure * min(1.0, (0.5 / max(exposure * around, 1e-4)) ** 0.5)


def _face_label() -> int:
    return vocabulary.load("parts29").index("Face_Neck")


def _blurred(
    radiance: NDArray[np.float32], size: tuple[int, int], blur: float
) -> NDArray[np.float32]:
    """Return the background out of focus; at least so much that its edges are not jagged."""
    image = np.ascontiguousarray(radiance.T).reshape(*size, 3)
    image = films.blurred(image, max(blur, 0.5))
    return np.ascontiguousarray(image.reshape(-1, 3).T)


def _look_through(
    stage: Stage,
    buffer: GBuffer,
    shaded: shade.Shaded,
    behind: NDArray[np.float32],
    lamps: Lamps,
    quality: Quality,
    jitter: tuple[float, float],
    camera: Camera,
) -> None:
    """Add what is behind glass to the radiance of hits on it, in place; one pane deep."""
    surfaces, hits = stage.scene.surfaces, buffer.hits
    panes = shade.glass(surfaces, hits)
    if not len(panes):
        return
    colour = behind[:, hits.ray[panes]]
    second = gbuffer.beyond(stage.geometry, hits, panes)
    second = antialias.select(second, np.flatnonzero(~np.isin(
        np.arange(len(second)), shade.glass(surfaces, second)
    )))  # fmt: skip
    if len(second):
        number = irradiance.tile_numbers(hits.ray[panes][second.ray], camera.size[1], quality.tile)
        received = irradiance.receive(
            stage.geometry.intersector, lamps, second.position, second.normal, second.plane,
            irradiance.clearances(second, shade.hair(surfaces)), number, replace(quality, rays=4),
            jitter,
        )  # fmt: skip
        shone = shade.shade(stage.geometry, surfaces, second, received, lamps, camera)
        colour[:, second.ray] = shone.radiance
    shaded.radiance[:, panes] += colour * shade.transmitted(surfaces, hits, panes)


# -------------------------------------------------------------------------------------- labels


def _people(
    stage: Stage, buffer: GBuffer, background: Background, albedo: NDArray[np.float32]
) -> Sequence[Person]:
    """Return the people who are seen, with all that is known of them."""
    hits = buffer.hits
    parts = vocabulary.load("parts29")
    width = buffer.camera.size[1]
    turned = buffer.camera.rotation.astype(np.float32) @ hits.normal
    found: list[Person] = []
    for figure in stage.scene.people:
        mine = np.flatnonzero(hits.instance == figure.instance)
        if not len(mine):
            continue
        y, x = np.divmod(hits.ray[mine], width)
        x0, y0, x1, y1 = int(x.min()), int(y.min()), int(x.max()), int(y.max())
        if x0 == x1 or y0 == y1:  # a box of one line has no area; nobody can learn from it
            continue
        shape = (y1 - y0 + 1, x1 - x0 + 1)
        place = (y - y0) * shape[1] + (x - x0)

        def laid(
            values: NDArray, place: NDArray = place, shape: tuple[int, int] = shape
        ) -> NDArray:
            raster = np.zeros((shape[0] * shape[1], *values.shape[1:]), values.dtype)
            raster[place] = values
            return raster.reshape(*shape, *values.shape[1:])

        valid = laid(np.ones(len(mine), np.bool_))
        labels, depth = laid(hits.label[mine]), laid(hits.depth[mine])
        normals = laid(np.ascontiguousarray(turned[:, mine].T))
        levels = (albedo[:, mine] * np.float32(4095) + np.float32(0.5)).astype(np.int16)
        base = laid(np.ascontiguousarray(_bytes().take(levels).T))
        origin = (x0, y0)
        annotations: dict[str, Annotation] = {
            "parts": Raster(law="label", values=labels, vocabulary=parts, origin=origin),
            "depth": Raster(law="scalar", values=depth, valid=valid, kind="metric", origin=origin),
            "normals": Raster(law="vector", values=normals, valid=valid, origin=origin),
            "albedo": Raster(law="colour", values=base, valid=valid, origin=origin),
        }
        for name, landmarks in figure.landmarks.items():
            annotations[name] = locate(stage.geometry, landmarks, buffer.camera, background)
        box = np.array([x0, y0, x1, y1], np.float64)
        found.append(Person(box=box, identity=figure.instance, annotations=annotations))
    return found


def locate(
    geometry: Geometry,
    landmarks: Landmarks,
    camera: Camera,
    background: Background | None = None,
) -> Points:
    """Project landmarks, and decide by exact rays which are seen.

    Points outside the picture are absent: they keep their place but have score 0.

    Args:
        geometry: what may hide them.
        landmarks: of one person.
        camera: who looks.
        background: may hide them too.
    """
    xy, depth = camera.project(landmarks.xyz)
    height, width = camera.size
    with np.errstate(invalid="ignore"):
        inside = (depth > 0) & (xy >= -0.5).all(axis=1)
        inside &= (xy[:, 0] <= width - 0.5) & (xy[:, 1] <= height - 0.5)
    way = landmarks.xyz - camera.centre
    asked = np.flatnonzero(inside)
    eye = (camera.centre - geometry.centre).astype(np.float32)
    met = geometry.intersector.nearest(eye, way[asked].astype(np.float32)).distance
    length = np.linalg.norm(way[asked], axis=1)
    clear = (1 - met) * length <= landmarks.tolerance[asked]
    if background is not None:
        clear &= ~backgrounds.hides(background, camera.centre, landmarks.xyz[asked])
    visibility = np.full(len(xy), ABSENT, np.uint8)
    visibility[asked] = np.where(clear, VISIBLE, OCCLUDED)
    return Points(
        vocabulary=landmarks.vocabulary,
        xy=xy.astype(np.float32),
        scores=inside.astype(np.float32),
        visibility=visibility,
        xyz=camera.to_camera(landmarks.xyz).astype(np.float32),
    )


@lru_cache(maxsize=1)
def _bytes() -> NDArray[np.uint8]:
    """Return sRGB bytes of 4096 linear values 0 … 1, without any film."""
    linear = np.linspace(0, 1, 4096)
    dark, bright = linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    return (np.where(linear <= 0.0031308, dark, bright) * 255 + 0.5).astype(np.uint8)

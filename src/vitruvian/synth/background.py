# SPDX-License-Identifier: Apache-2.0
"""What is behind people: an invented place, or a photograph without people; and their shadows.

A place is geometry that every camera sees rightly (``places.make_place``, ``place.prepare``). A
photograph fills the picture; its light is guessed from it, and people stand on the floor y = 0.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.errors import InputError
from vitruvian.geometry import resize_matrix
from vitruvian.image import read
from vitruvian.synth import gbuffer, irradiance, light, patterns, place
from vitruvian.synth.gathered import Geometry
from vitruvian.synth.irradiance import Quality
from vitruvian.synth.light import Lamps, Light
from vitruvian.synth.place import LitPlace

Floats = NDArray[np.floating]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_SHADOW_REACH = 1.6  # metres around people within which they darken the floor's sky light


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A photograph without people.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        zoom: how much larger than necessary to fill the picture it is shown, 1 or more.
        shift: (x, y) where in the remaining room the picture is cut, 0 … 1 each.
        mirrored: whether it is shown mirrored.
        floor: whether people throw shadows on the floor y = 0.
    """

    image: NDArray[np.uint8]
    zoom: float = 1.0
    shift: tuple[float, float] = (0.5, 0.5)
    mirrored: bool = False
    floor: bool = True

    def __post_init__(self) -> None:
        patterns.Texture(image=self.image[:1, :1])  # says what it needs
        if self.zoom < 1:
            raise InputError(f"a photograph's zoom is 1 or more, got {self.zoom}")

    def cut(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the part that is shown, at (height, width)."""
        height, width = self.image.shape[:2]
        scale = max(size[0] / height, size[1] / width) * self.zoom
        rows, columns = min(size[0] / scale, height), min(size[1] / scale, width)
        top = round((height - rows) * self.shift[1])
        left = round((width - columns) * self.shift[0])
        part = self.image[top : top + max(round(rows), 1), left : left + max(round(columns), 1)]
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        shown = cv2.resize(np.ascontiguousarray(part), size[::-1], interpolation=method)
        return np.ascontiguousarray(shown[:, ::-1] if self.mirrored else shown, np.uint8)


Background = LitPlace | Photo


@dataclass(frozen=True, kw_only=True, eq=False)
class Backdrop:
    """What a camera sees where nobody is, row by row: n = height · width.

    Attributes:
        camera: of this size.
        radiance: (3, n) linear; of a photograph, as displayed (0 … 1).
        depth: (n,) camera z of what is seen, infinite for a photograph and the sky.
        floor: (n,) camera z of what people's shadows fall on, infinite where on nothing.
        normal: (3, n) world normal there.
        displayed: whether the radiance is that of a finished picture.
    """

    camera: Camera
    radiance: NDArray[np.float32]
    depth: NDArray[np.float32]
    floor: NDArray[np.float32]
    normal: NDArray[np.float32]
    displayed: bool = False


def photographs(folder: str | Path) -> list[Path]:
    """Return the pictures of a folder, sorted by name.

    Raises:
        InputError: if there is no such folder or no picture in it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"{path} is no folder: give one with photographs without people")
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    if not found:
        raise InputError(
            f"no photograph in {path}: put some without people there ({', '.join(_SUFFIXES)}), or "
            "leave the folder out for invented places"
        )
    return found


def read_photo(path: str | Path, rng: np.random.Generator) -> Photo:
    """Read a photograph and cut it by chance; errors as in ``vitruvian.image.read``."""
    x, y = rng.random(2)
    return Photo(
        image=read(path),
        zoom=float(rng.uniform(1, 1.6)),
        shift=(float(x), float(y)),
        mirrored=bool(rng.random() < 0.5),
    )


def light_of(background: Background, camera: Camera, point: Floats) -> Light:
    """Return the light that a background sheds on people at a point, seen by a camera."""
    if isinstance(background, LitPlace):
        return place.light_at(background, point)
    return _guessed(background, camera)


def view(
    background: Background,
    camera: Camera,
    *,
    shrink: int = 1,
    covered: NDArray[np.bool_] | None = None,
) -> Backdrop:
    """Return what a camera sees of a background.

    Args:
        background: what is behind.
        camera: who looks.
        shrink: how many times smaller to look, if the result will be blurred.
        covered: (H, W) pixels in which nobody will see it: there it may be black and far away.
    """
    wanted = None if covered is None else ~covered.ravel()
    if shrink > 1:
        size = (-(-camera.size[0] // shrink), -(-camera.size[1] // shrink))
        if covered is not None:
            share = cv2.resize(covered.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
            wanted = np.asarray(share).ravel() < 1
        camera = camera.cropped(resize_matrix(camera.size, size), size)
    count = camera.size[0] * camera.size[1]
    if isinstance(background, LitPlace):
        seen = place.see_pixels(background, camera, wanted)
        normal = background.normals.take(seen.face, axis=0).T  # of the sky any: it has no floor
        return Backdrop(
            camera=camera,
            radiance=seen.radiance,
            depth=seen.distance,
            floor=seen.distance,
            normal=normal,
        )
    shown = background.cut(camera.size).reshape(-1, 3).T
    depth = np.full(count, np.inf, np.float32)
    floor = depth.copy()
    if background.floor:
        down = gbuffer.directions(camera, *gbuffer.grid((0, 0, camera.size[1], camera.size[0])))[1]
        reach = -camera.centre[1] / np.where(np.abs(down) < 1e-9, -1e-9, down)
        floor = np.where((reach > 0) & (reach < 60), reach, np.inf).astype(np.float32)
    normal = np.zeros((3, count), np.float32)
    normal[1] = 1
    linear = patterns.to_linear(shown.astype(np.float32) / 255)
    return Backdrop(
        camera=camera, radiance=linear, depth=depth, floor=floor, normal=normal, displayed=True
    )


def depth_at(
    background: Background, camera: Camera, pixel: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the exact depth of a background at pixels (flat), infinite for photographs."""
    if not isinstance(background, LitPlace):
        return np.full(len(pixel), np.inf, np.float32)
    y, x = np.divmod(pixel, camera.size[1])
    ways = gbuffer.directions(camera, x, y).astype(np.float32)
    return background.intersector.nearest(camera.centre.astype(np.float32), ways.T).distance


def hides(background: Background, eye: Floats, points: Floats) -> NDArray[np.bool_]:
    """Return (n,) whether a background stands between an eye and points (n, 3)."""
    if not isinstance(background, LitPlace):
        return np.zeros(len(points), np.bool_)
    reach = np.full(len(points), 1 - 1e-3, np.float32)  # feet touch the floor
    ways = (points - eye).astype(np.float32)
    return background.intersector.occluded(eye.astype(np.float32), ways, reach)


def enlarged(backdrop: Backdrop, camera: Camera) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the (3, n) radiance and (n,) depth of a backdrop at the full size of ``camera``."""
    if backdrop.camera.size == camera.size:
        return backdrop.radiance, backdrop.depth
    size, shown = backdrop.camera.size, camera.size[::-1]
    radiance = np.ascontiguousarray(backdrop.radiance.T).reshape(*size, 3)
    radiance = cv2.resize(radiance, shown, interpolation=cv2.INTER_LINEAR).reshape(-1, 3)
    depth = backdrop.depth.reshape(size)
    depth = cv2.resize(depth, shown, interpolation=cv2.INTER_NEAREST_EXACT).ravel()
    return np.ascontiguousarray(radiance.T, np.float32), np.asarray(depth, np.float32)


def shadowed(
    backdrop: Backdrop, geometry: Geometry, lamps: Lamps, jitter: tuple[float, float]
) -> Backdrop:
    """Return the backdrop darkened where people hide the light.

    The sky's part is asked on a coarse grid, because a floor's ambient occlusion is smooth; the
    sun's at every pixel that its shadow can reach.
    """
    camera = backdrop.camera
    height, width = camera.size
    low = geometry.spans[:, 0].min(axis=0) + geometry.centre
    high = geometry.spans[:, 1].max(axis=0) + geometry.centre
    pixel, position = _receivers(backdrop, camera, low - _SHADOW_REACH, high + _SHADOW_REACH)
    # how much of the light is the sun's, by the floor's own share of each
    normal = backdrop.normal
    direct = np.maximum(lamps.sun @ normal, 0) * float(lamps.sun_colour.mean()) / np.pi
    ambient = float(lamps.ambient.mean()) + 1e-6
    share = direct / (direct + ambient)
    kept = np.ones(height * width, np.float32)
    if len(pixel):
        step = int(np.clip(np.sqrt(len(pixel) / 4000), 1, 16))
        kept -= (1 - share) * (1 - _openness(geometry, lamps, camera, backdrop, pixel, position,
                                             step, jitter))  # fmt: skip
    if lamps.sun_colour.any() and lamps.sun[1] > 0.02:
        reach = np.minimum((high[1] - low[1]) / lamps.sun[1], 8) * lamps.sun
        away = np.stack([low, high, low - reach, high - reach])
        pixel, position = _receivers(backdrop, camera, away.min(0) - 0.3, away.max(0) + 0.3)
        kept -= share * (1 - _sunlight(geometry, lamps, camera, backdrop, pixel, position, jitter))
    kept = np.clip(kept, 0.04, 1)
    return replace(backdrop, radiance=backdrop.radiance * kept)


def _receivers(
    backdrop: Backdrop, camera: Camera, low: Floats, high: Floats
) -> tuple[NDArray[np.intp], Floats]:
    """Return pixels whose floor lies in a box, and (3, n) its world positions there."""
    near, far = _depth_range(camera, low, high)
    pixel = np.flatnonzero((backdrop.floor > near) & (backdrop.floor < far))
    y, x = np.divmod(pixel, camera.size[1])
    position = gbuffer.directions(camera, x, y) * backdrop.floor[pixel]
    position += camera.centre[:, None]
    inside = ((position > low[:, None]) & (position < high[:, None])).all(axis=0)
    return pixel[inside], position[:, inside]


def _depth_range(camera: Camera, low: Floats, high: Floats) -> tuple[float, float]:
    corners = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
    depth = camera.to_camera(low + corners * (high - low))[:, 2]
    return max(float(depth.min()), 0.01), float(depth.max())


def _asked(
    geometry: Geometry, lamps: Lamps, backdrop: Backdrop, pixel: NDArray[np.intp],
    position: Floats, number: NDArray[np.integer], quality: Quality, jitter: tuple[float, float],
) -> irradiance.Received:  # fmt: skip
    normal = np.ascontiguousarray(backdrop.normal[:, pixel])
    relative = (position - geometry.centre[:, None]).astype(np.float32)
    clearance = np.full(len(pixel), 1.6e-3, np.float32)
    return irradiance.receive(
        geometry.intersector, lamps, relative, normal, normal, clearance, number, quality, jitter
    )


def _openness(
    geometry: Geometry, lamps: Lamps, camera: Camera, backdrop: Backdrop,
    pixel: NDArray[np.intp], position: Floats, step: int, jitter: tuple[float, float],
) -> NDArray[np.float32]:  # fmt: skip
    """Return (n,) share of the sky's light that people leave, asked on every ``step``th pixel."""
    height, width = camera.size
    x, y = pixel % width, pixel // width
    chosen = (x % step == 0) & (y % step == 0)
    x, y = x[chosen] // step, y[chosen] // step
    columns, rows = -(-width // step), -(-height // step)
    dark = replace(lamps, sun_colour=np.zeros(3, np.float32))
    number = irradiance.tile_numbers(y * columns + x, columns, 4)
    quality = Quality(rays=3, tile=4)
    seen = _asked(
        geometry, dark, backdrop, pixel[chosen], position[:, chosen], number, quality, jitter
    )
    grid = np.zeros((rows, columns, 2), np.float32)
    grid[..., 0] = 0
    grid[y, x, 0] = 1 - seen.open
    grid[y, x, 1] = 1
    box = np.stack([cv2.blur(np.ascontiguousarray(grid[..., k]), (4, 4)) for k in (0, 1)])
    hidden = box[0] / np.maximum(box[1], 1e-3)
    hidden = cv2.GaussianBlur(hidden, (0, 0), 1.0)
    # grid cell (j, i) stands for pixel (j · step, i · step)
    shift = np.array([[step, 0, 0], [0, step, 0]], np.float64)
    large = cv2.warpAffine(
        hidden, shift, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return 1 - np.asarray(large, np.float32).ravel()


def _sunlight(
    geometry: Geometry, lamps: Lamps, camera: Camera, backdrop: Backdrop,
    pixel: NDArray[np.intp], position: Floats, jitter: tuple[float, float],
) -> NDArray[np.float32]:  # fmt: skip
    """Return (n,) share of the sun that people leave."""
    height, width = camera.size
    soft = lamps.sun_radius > 0.03
    number = irradiance.tile_numbers(pixel, width, 4)
    seen = _asked(geometry, lamps, backdrop, pixel, position, number, Quality(rays=0), jitter).sun
    # what faces away from the sun has no sun to lose
    facing = lamps.sun @ backdrop.normal[:, pixel] > 0
    share = np.ones(height * width, np.float32)
    share[pixel[facing]] = seen[facing]
    if soft:
        size = max(5, height // 96 | 1)
        share = cv2.blur(share.reshape(height, width), (size, size)).ravel()
    return np.asarray(share, np.float32)


def _guessed(photo: Photo, camera: Camera) -> Light:
    """Guess the light of a photograph: its own colours all around, brighter from above.

    The picture is spread over the half of the world it shows and mirrored onto the other. The sun
    stands where its bright side is, stronger the harder its contrast.
    """
    small = cv2.resize(photo.cut((64, 64)), (16, 16), interpolation=cv2.INTER_AREA)
    linear = patterns.to_linear(small.astype(np.float32) / 255)
    directions = light.map_directions(32, 64) @ camera.rotation.T  # camera axes
    heading = np.arctan2(directions[..., 0], directions[..., 2])
    height = np.arcsin(np.clip(-directions[..., 1], -1, 1))
    across = np.abs(np.mod(heading / np.pi + 1.5, 2.0) - 1)  # 0 left, 1 right, mirrored behind
    u = (across * 15).astype(np.float32)
    v = ((0.5 - height / np.pi) * 15).astype(np.float32)
    around = cv2.remap(linear, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # walls return about a third of what they receive; light comes from above more than from below
    lift = (1 + 0.5 * np.sin(height))[..., None]
    environment = np.asarray(around, np.float32) * lift.astype(np.float32) * np.float32(2.2)
    brightness = linear.mean(axis=2)
    contrast = float(np.quantile(brightness, 0.95) / max(float(np.median(brightness)), 1e-3))
    weight = brightness**2 / max(float((brightness**2).sum()), 1e-9)
    y, x = np.mgrid[-1:1:16j, -1:1:16j]
    side, above = float((weight * x).sum()), -float((weight * y).sum())
    toward = np.array([2.5 * side, -(0.75 + max(above, -0.3)), -0.45])
    sun = (toward / np.linalg.norm(toward)) @ camera.rotation
    bright = linear.reshape(-1, 3)[np.argsort(brightness.ravel())[-26:]].mean(axis=0)
    colour = bright / max(float(bright.mean()), 1e-6) * float(environment.mean())
    colour = colour * np.clip(contrast - 1.2, 0.15, 2.5)
    return Light(
        environment=environment,
        sun=(float(sun[0]), float(sun[1]), float(sun[2])),
        sun_colour=(float(colour[0]), float(colour[1]), float(colour[2])),
        sun_radius=float(np.clip(0.4 - 0.1 * contrast, 0.05, 0.35)),
    )

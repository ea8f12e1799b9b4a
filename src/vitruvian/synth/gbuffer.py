# SPDX-License-Identifier: Apache-2.0
"""Exact geometry per pixel: what the ray through each pixel's centre meets first.

All labels come from here and belong to the pixel centre; nothing is ever averaged. Depth is solved
in float64 on the triangle that was met, so it is as exact as the mesh. Normals are interpolated
between vertices (smooth shading) and face the viewer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vitruvian.camera import Camera
from vitruvian.synth.gathered import BLOCK, Geometry, cross
from vitruvian.synth.intersect import Nearest
from vitruvian.synth.surfaces import Places


@dataclass(frozen=True, kw_only=True, eq=False)
class Hits:
    """What N rays met, one contiguous row per coordinate; positions relative, axes of the world.

    Attributes:
        ray: (N,) int64 which ray of those cast, ascending.
        face: (N,) int32.
        weights: (3, N) float32 of the face's corners.
        depth: (N,) float32 camera z, metres.
        position: (3, N) float32.
        view: (3, N) float32 unit direction from the camera.
        normal: (3, N) float32 unit, smooth, facing the viewer.
        plane: (3, N) float32 unit normal of the face itself, facing the viewer.
        label: (N,) uint8.
        surface: (N,) int16.
        instance: (N,) uint8.
    """

    ray: NDArray[np.int64]
    face: NDArray[np.int32]
    weights: NDArray[np.float32]
    depth: NDArray[np.float32]
    position: NDArray[np.float32]
    view: NDArray[np.float32]
    normal: NDArray[np.float32]
    plane: NDArray[np.float32]
    label: NDArray[np.uint8]
    surface: NDArray[np.int16]
    instance: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ray)


@dataclass(frozen=True, kw_only=True, eq=False)
class GBuffer:
    """What a camera sees, pixel by pixel.

    Attributes:
        camera: the camera.
        window: (x0, y0, x1, y1) the pixels that rays were cast through, x1 and y1 excluded;
            nothing is outside.
        hits: what they met; ``ray`` counts pixels of the whole picture, row by row.
    """

    camera: Camera
    window: tuple[int, int, int, int]
    hits: Hits

    def raster(self, values: NDArray, fill: float = 0) -> NDArray:
        """Lay values (N,) or (C, N) of the hits on the picture: (H, W) or (H, W, C)."""
        height, width = self.camera.size
        channels = values.shape[:-1]
        result = np.full((height * width, *channels), fill, values.dtype)
        result[self.hits.ray] = values.T
        return result.reshape(height, width, *channels)

    def depth(self) -> NDArray[np.float32]:
        """(H, W) metric depth z, 0 where nothing is."""
        return self.raster(self.hits.depth)

    def normals(self) -> NDArray[np.float32]:
        """(H, W, 3) unit normals in camera space facing the viewer, 0 where nothing is."""
        turned = self.camera.rotation.astype(np.float32) @ self.hits.normal
        return self.raster(turned)

    def labels(self) -> NDArray[np.uint8]:
        """(H, W) "parts29" labels, 0 where nothing is."""
        return self.raster(self.hits.label)

    def instances(self) -> NDArray[np.uint8]:
        """(H, W) person numbers, 0 where nobody is."""
        return self.raster(self.hits.instance)


def trace(geometry: Geometry, camera: Camera) -> GBuffer:
    """Cast a ray through the centre of every pixel that may see something."""
    window = _window(geometry, camera)
    hits = cast(geometry, camera, *grid(window))
    y, x = np.divmod(hits.ray, max(window[2] - window[0], 1))
    pixel = (y + window[1]) * camera.size[1] + x + window[0]
    return GBuffer(camera=camera, window=window, hits=replace(hits, ray=pixel))


def cast(
    geometry: Geometry, camera: Camera, x: NDArray[np.floating], y: NDArray[np.floating]
) -> Hits:
    """Cast rays through picture positions, (N,) each; ``ray`` of the result counts them."""
    ways = directions(camera, x, y)
    return filled(geometry, camera, meet(geometry, camera, ways), ways)


def meet(geometry: Geometry, camera: Camera, ways: NDArray[np.float64]) -> Nearest:
    """Return what rays from the camera in directions (3, N) meet; their distance is depth."""
    eye = camera.centre - geometry.centre
    return geometry.intersector.nearest(eye.astype(np.float32), ways.astype(np.float32).T)


def filled(geometry: Geometry, camera: Camera, nearest: Nearest, ways: NDArray[np.float64]) -> Hits:
    """Compute all there is to know of what rays from the camera met."""
    return _filled(geometry, nearest, (camera.centre - geometry.centre)[:, None], ways)


def grid(window: tuple[int, int, int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y of the pixels of a window (x0, y0, x1, y1), row by row."""
    x0, y0, x1, y1 = window
    y, x = np.mgrid[y0:y1, x0:x1]
    return x.ravel().astype(np.float64), y.ravel().astype(np.float64)


def directions(
    camera: Camera, x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return (3, N) world directions with camera z = 1 through picture positions.

    The same as ``camera.rays``, in rows per coordinate and much faster for a plain lens.
    """
    if len(camera.distortion):
        return np.ascontiguousarray((camera.rays(np.stack([x, y], axis=1)) @ camera.rotation).T)
    matrix = camera.rotation.T @ np.linalg.inv(camera.matrix)
    ways = np.empty((3, len(x)))
    for row, (across, down, start) in zip(ways, matrix, strict=True):
        np.multiply(x, across, out=row)
        row += y * down
        row += start
    return ways


def beyond(geometry: Geometry, hits: Hits, which: NDArray[np.integer]) -> Hits:
    """Cast the rays of some hits further; ``ray`` of the result counts those, depth goes on."""
    start = hits.position[:, which].astype(np.float64) + hits.view[:, which] * 2e-4
    ways = hits.view[:, which].astype(np.float64)
    nearest = geometry.intersector.nearest(start.astype(np.float32).T, ways.astype(np.float32).T)
    further = _filled(geometry, nearest, start, ways)
    return replace(further, depth=further.depth + hits.depth[which][further.ray])


def interpolate(
    geometry: Geometry,
    hits: Hits,
    part: slice | NDArray[np.integer],
    values: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return (C, n) values of vertices (V, C), interpolated at some of the hits."""
    corners = geometry.faces.take(hits.face[part], axis=0).T
    weights = hits.weights[:, part]
    total = values.take(corners[0], axis=0).T * weights[0]
    for corner in (1, 2):
        total += values.take(corners[corner], axis=0).T * weights[corner]
    return np.ascontiguousarray(total)


def places(
    geometry: Geometry, hits: Hits, part: NDArray[np.integer], surface: int, camera: Camera
) -> Places:
    """Return what a surface's appearance depends on, at some hits of that surface."""
    index = geometry.faces.take(hits.face[part], axis=0).T
    corners = [np.ascontiguousarray(geometry.attributes.take(row, axis=0).T) for row in index]
    weights = hits.weights[:, part]
    total = corners[0] * weights[0]
    total += corners[1] * weights[1]
    total += corners[2] * weights[2]
    rest = [corner[:3] for corner in corners]
    facing = cross(rest[1] - rest[0], rest[2] - rest[0])
    facing /= np.maximum(np.sqrt((facing * facing).sum(axis=0)), np.float32(1e-20))
    footprint = float(hits.depth[part].mean()) / focal(camera)
    return Places(
        canonical=total[:3],
        facing=facing,
        uv=total[3:],
        footprint=footprint,
        uv_footprint=footprint * float(geometry.uv_scale[surface]),
    )


def strands(geometry: Geometry, hits: Hits, part: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return (3, n) unit directions in which v grows on some hits: along the strands of hair."""
    index = geometry.faces[hits.face[part]].T
    vertices = [geometry.vertices.take(row, axis=0).T for row in index]
    edge1, edge2 = vertices[1] - vertices[0], vertices[2] - vertices[0]
    u, v = (np.stack([geometry.attributes[row, axis] for row in index]) for axis in (3, 4))
    # gradient of the position along v at constant u, up to its length
    along = edge2 * (u[1] - u[0]) - edge1 * (u[2] - u[0])
    sign = (u[1] - u[0]) * (v[2] - v[0]) - (u[2] - u[0]) * (v[1] - v[0])
    along *= np.where(sign < 0, np.float32(-1), np.float32(1))
    length = np.sqrt((along * along).sum(axis=0))
    return along / np.maximum(length, np.float32(1e-20))


def grouped(values: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Yield each value and the ascending indices where it is."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, len(ordered))
    start = 0
    for end in ends if len(ordered) else ():
        yield int(ordered[start]), order[start:end]
        start = end


def focal(camera: Camera) -> float:
    """Return the mean focal length in pixels."""
    return float(np.sqrt(abs(np.linalg.det(camera.matrix[:2, :2]))))


def _filled(
    geometry: Geometry,
    nearest: Nearest,
    start: NDArray[np.float64],
    ways: NDArray[np.float64],
) -> Hits:
    """Compute what rays met from where they start, (3, 1) or (3, N), block by block."""
    ray = np.flatnonzero(nearest.face >= 0)
    hits = _allocated(ray, nearest.face[ray])
    for first in range(0, len(ray), BLOCK):
        part = slice(first, first + BLOCK)
        chosen = ray[part]
        eye = start if start.shape[1] == 1 else start[:, chosen]
        way = ways[:, chosen]
        u, v = nearest.u[chosen], nearest.v[chosen]
        _fill(geometry, hits, part, eye, way, u, v, nearest.distance[chosen])
    return hits


def _fill(
    geometry: Geometry,
    hits: Hits,
    part: slice,
    eye: NDArray[np.float64],
    way: NDArray[np.float64],
    u: NDArray[np.float32],
    v: NDArray[np.float32],
    distance: NDArray[np.float32],
) -> None:
    """Compute one block of hits."""
    face = hits.face[part]
    nx, ny, nz, offset = geometry.planes.take(face, axis=0).T
    toward = nx * way[0] + ny * way[1] + nz * way[2]
    ahead = offset - (nx * eye[0] + ny * eye[1] + nz * eye[2])
    edge_on = np.abs(toward) < 1e-9
    depth = ahead / np.where(edge_on, 1, toward)
    # the engine's answer stands where the plane is seen edge-on and cannot be solved
    wrong = edge_on | (np.abs(depth - distance) > 1e-3 * distance)
    depth = np.where(wrong, distance, depth)
    hits.depth[part] = depth
    for axis in range(3):
        hits.position[axis, part] = eye[axis] + way[axis] * depth
    view = way.astype(np.float32)
    view /= np.sqrt((view * view).sum(axis=0))
    hits.view[:, part] = view
    hits.weights[0, part], hits.weights[1, part], hits.weights[2, part] = 1 - u - v, u, v
    plane = np.stack([nx, ny, nz]).astype(np.float32)
    plane *= np.where(toward > 0, np.float32(-1), np.float32(1))
    hits.plane[:, part] = plane
    hits.normal[:, part] = _facing(interpolate(geometry, hits, part, geometry.normals), plane, view)
    hits.label[part] = geometry.labels[face]
    hits.surface[part] = geometry.surfaces[face]
    hits.instance[part] = geometry.instances[face]


def _facing(normal: NDArray, plane: NDArray, view: NDArray) -> NDArray:
    """Return unit normals turned to the side of the face that is seen, and towards the viewer.

    Near silhouettes an interpolated normal may point away although its face does not: its part
    along the ray is removed.
    """
    normal *= np.where((normal * plane).sum(axis=0) < 0, np.float32(-1), np.float32(1))
    length = np.sqrt((normal * normal).sum(axis=0))
    normal = np.where(length > 1e-6, normal, plane)
    normal /= np.where(length > 1e-6, length, 1)
    away = np.maximum((normal * view).sum(axis=0) + np.float32(0.01), 0)
    normal -= view * away
    normal /= np.sqrt((normal * normal).sum(axis=0))
    return normal


def _allocated(ray: NDArray[np.int64], face: NDArray[np.int32]) -> Hits:
    count = len(ray)
    vector = [np.empty((3, count), np.float32) for _ in range(5)]
    return Hits(
        ray=ray,
        face=face,
        weights=vector[0],
        depth=np.empty(count, np.float32),
        position=vector[1],
        view=vector[2],
        normal=vector[3],
        plane=vector[4],
        label=np.empty(count, np.uint8),
        surface=np.empty(count, np.int16),
        instance=np.empty(count, np.uint8),
    )


def _window(geometry: Geometry, camera: Camera) -> tuple[int, int, int, int]:
    """Return the pixels around the projected boxes of all meshes, or all if one is too near."""
    height, width = camera.size
    whole = (0, 0, width, height)
    low, high = geometry.spans[:, 0], geometry.spans[:, 1]
    corner = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], np.float64)
    points = low[:, None] + (high - low)[:, None] * corner
    xy, depth = camera.project(points.reshape(-1, 3) + geometry.centre)
    if len(camera.distortion) or (depth < 0.02).any():
        return whole
    x0, y0 = np.floor(xy.min(axis=0)).clip(0, (width, height)).astype(int)
    x1, y1 = (np.ceil(xy.max(axis=0)) + 1).clip(0, (width, height)).astype(int)
    return (int(x0), int(y0), int(x1), int(y1)) if x1 > x0 and y1 > y0 else (0, 0, 0, 0)

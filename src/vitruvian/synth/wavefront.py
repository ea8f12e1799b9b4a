# SPDX-License-Identifier: Apache-2.0
"""Rays by plain torch: the same answers as Embree's on any device, far slower on CPUs.

For GPUs, for platforms without Embree's package, and in float64 as the judge of the other engine.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitruvian.synth.intersect import Nearest, nothing

_FAN = 8  # children per box of the tree
_BLOCK = 1 << 16  # pairs worked on at once: what stays in a core's cache

_Rows = tuple[torch.Tensor, ...]


class TorchIntersector:
    """Triangles in an implicit tree of boxes, walked level by level for many rays together.

    Triangles are sorted along a space-filling curve; every eight neighbours share a box, every
    eight boxes a larger one. A level's pairs of ray and box that meet become the next level's
    pairs, until pairs of ray and triangle remain. Nothing is recursive, so the work is a few dozen
    large tensor operations: the same code on a CPU and on a GPU.
    """

    def __init__(
        self,
        vertices: NDArray[np.floating],
        faces: NDArray[np.integer],
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        pairs: int = 1 << 21,
    ) -> None:
        """Build the tree.

        Args:
            vertices: (V, 3).
            faces: (F, 3).
            device: torch device.
            dtype: float64 to judge another engine.
            pairs: how many pairs of ray and box may exist at once; bounds the memory.
        """
        self._device, self._dtype, self._pairs = torch.device(device), dtype, pairs
        self._count = len(faces)
        corners = torch.as_tensor(np.asarray(vertices), device=device).to(dtype)
        index = torch.as_tensor(np.asarray(faces, np.int64), device=device)
        triangles = corners[index]  # (F, 3, 3)
        order = _curve_order(triangles.mean(dim=1))
        self._order = order.to(torch.int32)
        triangles = triangles[order]
        edges = triangles[:, 1:] - triangles[:, :1]
        # one contiguous row per coordinate: gathering rows of one is ten times faster on a CPU
        self._corner = _rows(triangles[:, 0])
        self._edges = _rows(edges[:, 0]), _rows(edges[:, 1])
        low, high = triangles.amin(dim=1), triangles.amax(dim=1)
        self._levels: list[tuple[_Rows, _Rows]] = []
        while self._count:
            low, high = _grouped(low, high)
            self._levels.append((_rows(low), _rows(high)))
            if len(low) <= _FAN:
                break
        self._levels.reverse()

    def nearest(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> Nearest:
        """See :class:`Intersector`."""
        count = len(directions)
        result = nothing(count)
        for start, origin, direction in self._batches(origins, directions):
            size = len(direction)
            ray, face, t, u, v = self._meetings(origin, direction, None)
            best = torch.full((size,), torch.inf, dtype=self._dtype, device=self._device)
            best.scatter_reduce_(0, ray, t, "amin")
            # of triangles met at the same distance the first in the mesh wins
            first = torch.full((size,), self._count, dtype=torch.int64, device=self._device)
            original = self._order[face].long()
            tied = t == best[ray]
            first.scatter_reduce_(0, ray[tied], original[tied], "amin")
            chosen = tied & (original == first[ray])
            where = (ray[chosen] + start).cpu().numpy()
            result.face[where] = original[chosen].cpu().numpy()
            result.u[where] = u[chosen].float().cpu().numpy()
            result.v[where] = v[chosen].float().cpu().numpy()
            result.distance[where] = t[chosen].float().cpu().numpy()
        return result

    def occluded(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        reach: NDArray[np.float32] | None = None,
    ) -> NDArray[np.bool_]:
        """See :class:`Intersector`."""
        hidden = np.zeros(len(directions), np.bool_)
        for start, origin, direction in self._batches(origins, directions):
            limit = None
            if reach is not None:
                limit = self._tensor(reach[start : start + len(direction)])
            ray = self._meetings(origin, direction, limit)[0]
            hidden[(ray + start).cpu().numpy()] = True
        return hidden

    def _tensor(self, values: NDArray[np.floating]) -> torch.Tensor:
        return torch.as_tensor(np.array(values), device=self._device).to(self._dtype)

    def _batches(self, origins: NDArray[np.floating], directions: NDArray[np.floating]) -> Any:
        """Yield (start, origins, directions) of as many rays as memory allows."""
        origins = np.broadcast_to(origins, directions.shape)
        step = max(self._pairs // 256, 1)
        for start in range(0, len(directions) if self._count else 0, step):
            stop = start + step
            yield start, self._tensor(origins[start:stop]), self._tensor(directions[start:stop])

    def _meetings(
        self, origin: torch.Tensor, direction: torch.Tensor, limit: torch.Tensor | None
    ) -> tuple[torch.Tensor, ...]:
        """Return ray, face, distance, u, v of all triangles met, each (P,)."""
        inverse = 1 / torch.where(direction.abs() < 1e-20, 1e-20, direction)
        start, way, slope = _rows(origin), _rows(direction), _rows(inverse)
        tops = len(self._levels[0][0][0])
        ray = torch.arange(len(origin), device=self._device).repeat_interleave(tops)
        box = torch.arange(tops, device=self._device).repeat(len(origin))
        children = torch.arange(_FAN, device=self._device)
        sizes = [len(low[0]) for low, _ in self._levels[1:]] + [self._count]
        for (low, high), following in zip(self._levels, sizes, strict=True):
            pieces = zip(ray.split(_BLOCK), box.split(_BLOCK), strict=True)
            kept = [_boxes_met(start, slope, limit, r, b, low, high) for r, b in pieces]
            ray, box = (torch.cat(parts) for parts in zip(*kept, strict=True))
            ray = ray.repeat_interleave(_FAN)
            box = (box[:, None] * _FAN + children).reshape(-1)
            if following % _FAN:
                inside = (box < following).nonzero()[:, 0]
                ray, box = ray.index_select(0, inside), box.index_select(0, inside)
        pieces = zip(ray.split(_BLOCK), box.split(_BLOCK), strict=True)
        met = [self._triangles_met(start, way, limit, r, f) for r, f in pieces]
        return tuple(torch.cat(parts) for parts in zip(*met, strict=True))

    def _triangles_met(
        self,
        start: _Rows,
        way: _Rows,
        limit: torch.Tensor | None,
        ray: torch.Tensor,
        face: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Test pairs of ray and triangle (Möller & Trumbore 1997, both sides)."""
        edge1, edge2 = _pick(self._edges[0], face), _pick(self._edges[1], face)
        along = _pick(way, ray)
        across = _cross(along, edge2)
        volume = _dot(edge1, across)
        scale = 1 / torch.where(volume == 0, torch.inf, volume)
        corner = _pick(self._corner, face)
        offset = tuple(a - b for a, b in zip(_pick(start, ray), corner, strict=True))
        u = _dot(offset, across) * scale
        upright = _cross(offset, edge1)
        v = _dot(along, upright) * scale
        t = _dot(edge2, upright) * scale
        # a hair's breadth beyond the edges, so that no ray slips between neighbours
        slack = 1e-6 if self._dtype == torch.float32 else 1e-12
        met = (torch.minimum(u, v) >= -slack) & (u + v <= 1 + slack) & (t > 0) & (volume != 0)
        if limit is not None:
            met &= t <= limit[ray]
        where = met.nonzero()[:, 0]
        return tuple(values.index_select(0, where) for values in (ray, face, t, u, v))


def _rows(values: torch.Tensor) -> _Rows:
    """Split (N, 3) into three contiguous rows."""
    return tuple(values[:, axis].contiguous() for axis in range(3))


def _pick(rows: _Rows, index: torch.Tensor) -> _Rows:
    return tuple(row.index_select(0, index) for row in rows)


def _cross(a: _Rows, b: _Rows) -> _Rows:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _dot(a: _Rows, b: _Rows) -> torch.Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _curve_order(points: torch.Tensor) -> torch.Tensor:
    """Return the order of points along a Morton curve."""
    if not len(points):
        return torch.zeros(0, dtype=torch.int64, device=points.device)
    low = points.amin(dim=0)
    extent = (points.amax(dim=0) - low).clamp_min(1e-9)
    cells = ((points - low) / extent * 1023).long()
    code = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for bit in range(10):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return torch.argsort(code, stable=True)


def _grouped(low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the boxes around every eight boxes."""
    missing = -len(low) % _FAN
    low = torch.cat([low, low[-1:].expand(missing, 3)]) if missing else low
    high = torch.cat([high, high[-1:].expand(missing, 3)]) if missing else high
    return low.view(-1, _FAN, 3).amin(dim=1), high.view(-1, _FAN, 3).amax(dim=1)


def _boxes_met(
    start: _Rows,
    slope: _Rows,
    limit: torch.Tensor | None,
    ray: torch.Tensor,
    box: torch.Tensor,
    low: _Rows,
    high: _Rows,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pairs of ray and box that meet (slab test)."""
    enter = leave = torch.zeros(0)
    for axis in range(3):
        origin, inverse = start[axis].index_select(0, ray), slope[axis].index_select(0, ray)
        first = (low[axis].index_select(0, box) - origin) * inverse
        second = (high[axis].index_select(0, box) - origin) * inverse
        near, far = torch.minimum(first, second), torch.maximum(first, second)
        enter = near if axis == 0 else torch.maximum(enter, near)
        leave = far if axis == 0 else torch.minimum(leave, far)
    # rounding must not lose a box that a ray touches at its very edge
    met = (leave * (1 + 1e-5) + 1e-7 >= enter) & (leave >= 0)
    if limit is not None:
        met &= enter <= limit[ray] * (1 + 1e-5)
    where = met.nonzero()[:, 0]
    return ray.index_select(0, where), box.index_select(0, where)

# SPDX-License-Identifier: Apache-2.0
"""Exact cutting of triangle meshes along iso-lines, and rims that give cut cloth a thickness.

A cut keeps the part of a mesh where a value given per vertex is not negative. Triangles that the
iso-line crosses are split on it; neighbours share the new vertices, so no gaps or T-junctions
arise. Whatever else is known per vertex follows by :meth:`Cut.apply`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
_NUDGE = 1e-7
"""Values nearer to zero than this count as just inside: no triangle without area arises."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """What is left of a mesh of n vertices.

    Attributes:
        faces: (F, 3) int32 into the new vertices; same orientation as before.
        source: (F,) the face each came from.
        first: (V,) a vertex before the cut.
        second: (V,) another; the same one where the vertex was kept.
        share: (V,) float32 how far the new vertex is from the first towards the second.
    """

    faces: NDArray[np.int32]
    source: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: NDArray[np.float32]

    @property
    def border(self) -> NDArray[np.bool_]:
        """(V,) whether a vertex lies on the iso-line."""
        return self.first != self.second

    def apply(self, values: Floats) -> Floats:
        """Interpolate (n,) or (n, k) values of the vertices before the cut."""
        weight = self.share if values.ndim == 1 else self.share[:, None]
        start = values[self.first]
        return start + (values[self.second] - start) * weight

    def directions(self, values: Floats) -> NDArray[np.float32]:
        """Interpolate (n, 3) unit vectors and make them unit again."""
        mixed = self.apply(values)
        length = np.linalg.norm(mixed, axis=1, keepdims=True)
        return (mixed / np.where(length > 0, length, 1)).astype(np.float32)


def cut(faces: NDArray[np.integer], values: Floats) -> Cut:
    """Keep the part of a mesh where values are not negative.

    Args:
        faces: (F, 3).
        values: (n,) one per vertex; linear on each triangle.
    """
    values = np.asarray(values, np.float64)
    values = np.where(np.abs(values) < _NUDGE, _NUDGE, values)
    faces = np.asarray(faces, np.int64)
    inside = values > 0
    corners = inside[faces]
    count = corners.sum(axis=1)
    whole = np.flatnonzero(count == 3)
    pieces, sources = [faces[whole]], [whole]
    total = len(values)
    keys: list[NDArray[np.int64]] = []
    # the odd corner first: alone inside (1), or alone outside (2)
    for inner in (1, 2):
        which = np.flatnonzero(count == inner)
        odd = (corners[which] if inner == 1 else ~corners[which]).argmax(axis=1)
        turned = np.take_along_axis(faces[which], (odd[:, None] + np.arange(3)) % 3, axis=1)
        a, b, c = turned.T
        ab, ac = _key(a, b, total), _key(a, c, total)
        keys += [ab, ac]
        if inner == 1:
            pieces.append(np.stack([a, -1 - ab, -1 - ac], axis=1))
            sources.append(which)
        else:
            pieces.append(np.stack([-1 - ab, b, c], axis=1))
            pieces.append(np.stack([-1 - ab, c, -1 - ac], axis=1))
            sources += [which, which]
    edges = np.unique(np.concatenate(keys))
    low, high = np.divmod(edges, total)
    everything = np.concatenate(pieces)
    new = everything < 0
    everything[new] = total + np.searchsorted(edges, -1 - everything[new])
    used, compact = np.unique(everything, return_inverse=True)
    kept = used[used < total]
    made = used[used >= total] - total
    low, high = low[made], high[made]
    share = values[low] / (values[low] - values[high])
    return Cut(
        faces=compact.reshape(-1, 3).astype(np.int32),
        source=np.concatenate(sources),
        first=np.concatenate([kept, low]),
        second=np.concatenate([kept, high]),
        share=np.concatenate([np.zeros(len(kept)), share]).astype(np.float32),
    )


def _key(a: NDArray[np.int64], b: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Return one number per undirected edge, the same from both of its triangles."""
    return np.minimum(a, b) * total + np.maximum(a, b)


def open_edges(faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the (E, 2) edges that only one triangle uses, in its direction."""
    pairs = np.asarray(faces, np.int64)[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    keys = _key(pairs[:, 0], pairs[:, 1], int(faces.max()) + 1 if len(faces) else 1)
    _, where, uses = np.unique(keys, return_inverse=True, return_counts=True)
    return pairs[uses[where.reshape(-1)] == 1]


def rim(
    faces: NDArray[np.integer], vertices: Floats, normals: Floats, depth: float | Floats
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]:
    """Make a strip from all open edges inwards, as the thickness of a hem.

    Args:
        faces: (F, 3).
        vertices: (V, 3).
        normals: (V, 3) outwards.
        depth: metres, one or (V,).

    Returns:
        (F', 3) faces to add over the old vertices and the new ones; (K,) the old vertex each new
        one hangs from; (K, 3) places of the new ones, numbered from V.
    """
    edges = open_edges(faces)
    parents, local = np.unique(edges, return_inverse=True)
    local = local.reshape(-1, 2) + len(vertices)
    deep = np.broadcast_to(np.asarray(depth, np.float32), (len(vertices),))[parents]
    places = vertices[parents] - normals[parents] * deep[:, None]
    a, b = edges.T
    strip = np.concatenate(
        [np.stack([b, a, local[:, 0]], axis=1), np.stack([b, local[:, 0], local[:, 1]], axis=1)]
    )
    return strip.astype(np.int32), parents, places.astype(np.float32)

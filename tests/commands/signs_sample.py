# SPDX-License-Identifier: Apache-2.0
"""A rendered head and shoulders whose normals are known exactly."""

import numpy as np

SIZE = (200, 160)


def bust() -> tuple[np.ndarray, np.ndarray]:
    """Return normals (camera space: x right, y down, z forward) and mask of head and shoulders.

    Two ellipsoids under orthographic projection; the shoulders leave the picture at the bottom.
    """
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(float)
    nearest = np.full(SIZE, np.inf)
    normals = np.zeros((*SIZE, 3))
    for centre, radii in (((80, 65, 0), (34, 45, 38)), ((80, 190, 10), (72, 95, 45))):
        u, v = (columns - centre[0]) / radii[0], (rows - centre[1]) / radii[1]
        square = 1 - u**2 - v**2
        w = -np.sqrt(np.maximum(square, 0))
        depth = np.where(square > 0, centre[2] + radii[2] * w, np.inf)
        closer = depth < nearest
        nearest = np.where(closer, depth, nearest)
        outward = np.stack([u / radii[0], v / radii[1], w / radii[2]], axis=-1)
        outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-12)
        normals = np.where(closer[..., None], outward, normals)
    return normals, np.isfinite(nearest)

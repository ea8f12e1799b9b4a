# SPDX-License-Identifier: Apache-2.0
"""Rays by Embree, Intel's library (Apache-2.0), through its binding embreex (BSD-2-Clause)."""

import ctypes
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import missing_extra
from vitruvian.synth.intersect import Nearest, nothing


class EmbreeIntersector:
    """Triangles in Embree's bounding volume hierarchy."""

    def __init__(self, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise missing_extra("embreex", "synth", "rendering people on the CPU") from error
        self._scene: Any = None
        if len(faces):
            self._scene = EmbreeScene(_device())
            vertices = np.asarray(vertices, np.float32)
            if not hand_over(self._scene, vertices, np.asarray(faces, np.int32)):
                # the binding copies corners of triangles faster than vertices and indices
                TriangleMesh(self._scene, vertices[faces])

    def nearest(self, origins: NDArray[np.float32], directions: NDArray[np.float32]) -> Nearest:
        """See :class:`Intersector`."""
        if self._scene is None or not len(directions):
            return nothing(len(directions))
        found = self._scene.run(*_rays(origins, directions), query="INTERSECT", output=True)
        face: NDArray[np.int32] = found["primID"]
        distance = np.where(face >= 0, found["tfar"], np.float32(np.inf))
        return Nearest(face=face, u=found["u"], v=found["v"], distance=distance)

    def occluded(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        reach: NDArray[np.float32] | None = None,
    ) -> NDArray[np.bool_]:
        """See :class:`Intersector`."""
        if self._scene is None or not len(directions):
            return np.zeros(len(directions), np.bool_)
        extra = {} if reach is None else {"dists": np.ascontiguousarray(reach, np.float32)}
        return self._scene.run(*_rays(origins, directions), query="OCCLUDED", **extra) >= 0


@cache
def _device() -> Any:
    from embreex.rtcore import EmbreeDevice

    return EmbreeDevice()


def hand_over(scene: Any, vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> bool:
    """Put triangles into a new scene of the binding, as its ``TriangleMesh`` does, but in one copy.

    The binding boxes every number as a Python object: half a second for a person with hair, a third
    of the time it takes to make one. Its declarations for other extensions (``rtcore_scene.pxd``)
    say where a scene keeps Embree's handle; with that Embree's own C functions do the same in a
    tenth of the time.

    Returns:
        Whether it was possible: only with the one version of the binding that this was written for.
    """
    library = _library()
    first = object.__basicsize__  # fields begin behind the header that all objects have
    pointers = 2 * ctypes.sizeof(ctypes.c_void_p)  # the handle, then a padded int, the device
    if library is None or type(scene).__basicsize__ != first + pointers + 8:
        return False
    handle = ctypes.c_void_p.from_address(id(scene) + first).value
    device = library.rtcGetSceneDevice(handle)
    geometry = library.rtcNewGeometry(device, 0)  # triangles
    for kind, layout, values in ((1, 0x9003, vertices), (0, 0x5003, faces)):  # vertices, indices
        copy = library.rtcSetNewGeometryBuffer(geometry, kind, 0, layout, 12, len(values))
        ctypes.memmove(copy, np.ascontiguousarray(values).ctypes.data, 12 * len(values))
    library.rtcCommitGeometry(geometry)
    library.rtcAttachGeometry(handle, geometry)
    library.rtcReleaseGeometry(geometry)
    library.rtcReleaseDevice(device)
    return True


@cache
def _library() -> ctypes.CDLL | None:
    """Return the Embree that the binding brought with it and has loaded."""
    if not metadata.version("embreex").startswith("4.4."):
        return None
    files = metadata.files("embreex") or []
    found = [file for file in files if "embree4" in file.name]
    if len(found) != 1:
        return None
    library = ctypes.CDLL(str(found[0].locate()))
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for name, result, arguments in (
        ("rtcGetSceneDevice", pointer, [pointer]),
        ("rtcNewGeometry", pointer, [pointer, number]),
        ("rtcSetNewGeometryBuffer", pointer, [pointer, number, number, number, size, size]),
        ("rtcCommitGeometry", None, [pointer]),
        ("rtcAttachGeometry", number, [pointer, pointer]),
        ("rtcReleaseGeometry", None, [pointer]),
        ("rtcReleaseDevice", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _rays(
    origins: NDArray[np.float32], directions: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    directions = np.asarray(directions, np.float32)
    return np.broadcast_to(np.asarray(origins, np.float32), directions.shape), directions

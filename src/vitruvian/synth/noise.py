# SPDX-License-Identifier: Apache-2.0
"""Smooth random fields in space, looked up in small periodic volumes made once per process.

Values are uniform in 0 … 1, so that a threshold t covers the share t of space. Coordinates come as
(3, n): one contiguous row per axis is several times faster in numpy than n rows of three.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""Arrays of float32; the looser type spares casts after every operation."""

_SIDE = 64  # voxels; a power of two, so that wrapping is one bit mask
_SMOOTH_PERIOD = 4.0  # voxels per feature of the smooth field
_FRACTAL_PERIOD = 32.0  # voxels per largest feature of the fractal field; the smallest is a 16th
# Volumes repeat; looked up askew, no plane of the world repeats with them.
_TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]], np.float32) @ np.array(
    [[0.6, 0.0, 0.8], [0.0, 1.0, 0.0], [-0.8, 0.0, 0.6]], np.float32
)


def smooth(points: Floats, frequency: float, *, seed: int = 0) -> Floats:
    """Return (n,) values in 0 … 1 of a field with features of one size.

    Args:
        points: (3, n) metres.
        frequency: features per metre.
        seed: moves the field; equal seeds give equal fields.
    """
    return _look_up(_volumes()[0], *_address(points, frequency * _SMOOTH_PERIOD, seed))


def fractal(points: Floats, frequency: float, *, seed: int = 0) -> Floats:
    """Return (n,) values in 0 … 1 of a field with features from 1 / frequency to a 16th of it."""
    return _look_up(_volumes()[1], *_address(points, frequency * _FRACTAL_PERIOD, seed))


def vectors(points: Floats, frequency: float, *, seed: int = 0) -> Floats:
    """Return (3, n) random vectors with components in -1 … 1, as smooth as :func:`smooth`."""
    index, fraction = _address(points, frequency * _SMOOTH_PERIOD, seed)
    field = _volumes()[0]
    # three far-apart places of one volume: their correlation is that of distant points, none
    shifts = (0, 21, 42)
    rows = [_look_up(field, (index + np.int32(s)) & (_SIDE - 1), fraction) for s in shifts]
    return np.stack(rows) * np.float32(2) - np.float32(1)


@lru_cache(maxsize=256)
def _offset(seed: int) -> Floats:
    return (np.random.default_rng(seed).random((3, 1)) * _SIDE).astype(np.float32)


def _address(points: Floats, scale: float, seed: int) -> tuple[NDArray[np.int32], Floats]:
    """Return the voxel (3, n) below each point and the fraction (3, n) of the way to the next."""
    place = (_TURN * np.float32(scale)) @ points
    place += _offset(seed)
    below = np.floor(place)
    place -= below
    return below.astype(np.int32) & (_SIDE - 1), place


def _look_up(volume: Floats, index: NDArray[np.int32], fraction: Floats) -> Floats:
    """Interpolate the volume linearly between the eight voxels around each point."""
    following = (index + 1) & (_SIDE - 1)
    x = (index[0], following[0])
    fx, fy, fz = fraction
    planes: list[Floats] = []
    for k in (index[2], following[2]):
        rows: list[Floats] = []
        for j in (index[1], following[1]):
            row = (k * _SIDE + j) * _SIDE
            first = volume.take(row + x[0])
            second = volume.take(row + x[1])
            second -= first
            second *= fx
            rows.append(first + second)
        rows[1] -= rows[0]
        rows[1] *= fy
        planes.append(rows[0] + rows[1])
    planes[1] -= planes[0]
    planes[1] *= fz
    return planes[0] + planes[1]


@lru_cache(maxsize=1)
def _volumes() -> tuple[Floats, Floats]:
    """Make the smooth and the fractal volume, flat: white noise shaped in the frequency domain."""
    white = np.fft.rfftn(np.random.default_rng(20240).standard_normal((_SIDE,) * 3))
    across = np.fft.fftfreq(_SIDE)
    along = np.fft.rfftfreq(_SIDE)
    radius = np.sqrt(
        across[:, None, None] ** 2 + across[None, :, None] ** 2 + along[None, None, :] ** 2
    )
    band = np.exp(-(((radius * _SMOOTH_PERIOD - 1) / 0.35) ** 2))
    lowest, highest = 1 / _FRACTAL_PERIOD, 16 / _FRACTAL_PERIOD
    falling = np.where(radius >= lowest * 0.7, np.maximum(radius, lowest) ** -2.3, 0)
    falling *= np.exp(-((radius / highest) ** 4))
    fields = (
        np.fft.irfftn(white * shape, (_SIDE,) * 3, axes=(0, 1, 2)) for shape in (band, falling)
    )
    first, second = (_uniform(field.ravel()) for field in fields)
    return first, second


def _uniform(values: NDArray[np.float64]) -> Floats:
    """Replace values by their rank in 0 … 1."""
    ranks = np.empty(len(values), np.float32)
    ranks[np.argsort(values, kind="stable")] = np.linspace(0, 1, len(values), dtype=np.float32)
    return ranks

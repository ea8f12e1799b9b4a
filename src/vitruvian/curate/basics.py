# SPDX-License-Identifier: Apache-2.0
"""The cheap stages: is it whole, how large is it, what does it resemble, is it sharp."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from vitruvian.curate.shardwork import MAX_SIDE
from vitruvian.curate.stage import COPIES, Picture, Row, Scorer


def decoder_versions() -> dict[str, str]:
    """Return the versions of the libraries that pixels depend on."""
    import PIL

    return {"opencv": cv2.__version__, "pillow": PIL.__version__, "jpeg": simplejpeg.__version__}


_SIDE = 512  # of the copy that both hashes and blur look at


@dataclass(frozen=True, kw_only=True)
class Integrity:
    """Whether a file decodes strictly, and if not, why; ``ms`` is the time of decoding."""

    name: str = field(default="integrity", init=False)
    decodes: bool = field(default=True, init=False)
    upstream: None = field(default=None, init=False)
    schema: pa.Schema = field(init=False, repr=False, default=pa.schema([]))

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        return {"version": 1, "max_side": MAX_SIDE, "libraries": decoder_versions()}

    def open(self) -> Scorer:
        """Return the scorer."""
        return _integrity


def _integrity(pictures: Sequence[Picture]) -> list[Row]:
    return [{"status": p.status, "error": p.error, "ms": p.decode_ms} for p in pictures]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Size as a viewer shows it, format and orientation: from the header alone."""

    name: str = field(default="geometry", init=False)
    decodes: bool = field(default=False, init=False)
    upstream: None = field(default=None, init=False)
    schema: pa.Schema = field(
        init=False,
        repr=False,
        default=pa.schema(
            [
                ("width", pa.int32()),
                ("height", pa.int32()),
                ("format", pa.string()),
                ("orientation", pa.int8()),
                ("animated", pa.bool_()),
            ]
        ),
    )

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        return {"version": 1, "max_side": MAX_SIDE}

    def open(self) -> Scorer:
        """Return the scorer."""
        return _geometry


def _geometry(pictures: Sequence[Picture]) -> list[Row]:
    rows: list[Row] = []
    for picture in pictures:
        header = picture.header
        assert header is not None
        rows.append(
            {
                "width": header.width,
                "height": header.height,
                "format": header.format,
                "orientation": header.orientation,
                "animated": header.animated,
            }
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class Hashes:
    """A perceptual hash: 64 bits that differ in few places between copies of a picture.

    The signs, against their median, of the lowest 8×8 frequencies of a 32×32 grey copy.
    """

    name: str = field(default="hashes", init=False)
    decodes: bool = field(default=True, init=False)
    upstream: None = field(default=None, init=False)
    schema: pa.Schema = field(init=False, repr=False, default=pa.schema([("phash", pa.uint64())]))

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        return {"version": 1, "copies": COPIES, "libraries": decoder_versions()}

    def open(self) -> Scorer:
        """Return the scorer."""
        return lambda pictures: [{"phash": perceptual_hash(p.pixels(_SIDE))} for p in pictures]


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """Return the perceptual hash of an RGB picture."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[:8, :8].ravel()
    bits = low > np.median(low[1:])  # the first is the mean brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@dataclass(frozen=True, kw_only=True)
class Blur:
    """How sharp and how rich in contrast a picture is, at one size.

    ``sharpness`` is the variance of the Laplacian of a grey copy (Pech-Pacheco and others, 2000),
    ``contrast`` the standard deviation of its values, both in levels of 0 … 255.

    Attributes:
        side: longer side of the copy in pixels, so that large and small pictures compare.
    """

    side: int = _SIDE
    name: str = field(default="blur", init=False)
    decodes: bool = field(default=True, init=False)
    upstream: None = field(default=None, init=False)
    schema: pa.Schema = field(
        init=False,
        repr=False,
        default=pa.schema([("sharpness", pa.float32()), ("contrast", pa.float32())]),
    )

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        return {"version": 1, "side": self.side, "copies": COPIES, "libraries": decoder_versions()}

    def open(self) -> Scorer:
        """Return the scorer."""
        return self._score

    def _score(self, pictures: Sequence[Picture]) -> list[Row]:
        rows: list[Row] = []
        for picture in pictures:
            grey = cv2.cvtColor(picture.pixels(self.side), cv2.COLOR_RGB2GRAY)
            laplacian = cv2.Laplacian(grey, cv2.CV_32F)
            rows.append({"sharpness": float(laplacian.var()), "contrast": float(grey.std())})
        return rows

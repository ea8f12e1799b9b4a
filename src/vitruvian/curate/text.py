# SPDX-License-Identifier: Apache-2.0
"""The stage text: what can be read in a picture, and how much of it was laid over it later.

Regions are proposed by PP-OCR's detector on a small copy and count only if its recogniser then
reads something in them: the detector alone takes stripes, drawings and animals for text. Shirts and
shop signs are text too, so the overlaid share is told apart by where and how it stands.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitruvian.curate.basics import decoder_versions
from vitruvian.curate.stage import BASE, COPIES, Picture, Row, Scorer
from vitruvian.errors import missing_extra
from vitruvian.image import to_planes

REGION = pa.struct(
    [
        ("x0", pa.float32()), ("y0", pa.float32()), ("x1", pa.float32()), ("y1", pa.float32()),
        ("score", pa.float32()), ("text", pa.string()), ("overlay", pa.bool_()),
    ]
)  # fmt: skip
_MEAN = (127.5, 127.5, 127.5)  # levels; the standard deviation too: values become -1 … 1
_MOST = 40  # regions kept of one picture
_OWNED = re.compile(
    r"©|®|\(c\)|www\.|\.(com|net|org|co|de|ru|cn)\b|@\w|copyright|all rights|watermark|stock"
    r"|getty|alamy|dreamstime|istock|depositphotos|123rf|sample|preview",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Text:
    """Readable text: regions, the share of the picture they cover, and the share of overlays.

    A region is an overlay when its words claim ownership (©, an address, an agency), or when it
    stands upright and undistorted in the outer part of the picture, as captions, dates and logos
    do.

    Attributes:
        side: longer side of the copy in which regions are looked for, in pixels; what is read is
            cut out of the copy of `BASE` pixels.
        min_score: recognition below it does not count.
        min_letters: letters or digits a region must have.
        margin: share of height and width that counts as the outer part, on each side.
    """

    side: int = 640
    min_score: float = 0.8
    min_letters: int = 3
    margin: float = 0.15
    name: str = field(default="text", init=False)
    decodes: bool = field(default=True, init=False)
    one_at_a_time: bool = field(default=True, init=False)
    upstream: None = field(default=None, init=False)
    schema: pa.Schema = field(
        init=False,
        repr=False,
        default=pa.schema(
            [
                ("count", pa.int32()),
                ("area", pa.float32()),
                ("overlay_count", pa.int32()),
                ("overlay_area", pa.float32()),
                ("regions", pa.list_(REGION)),
            ]
        ),
    )

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            reader = {name: version(name) for name in ("rapidocr", "onnxruntime")}
        except PackageNotFoundError as error:
            raise missing_extra("rapidocr", "curate", "reading text in pictures") from error
        return {
            "version": 1, "side": self.side, "min_score": self.min_score,
            "min_letters": self.min_letters, "margin": self.margin, "copies": COPIES,
            "libraries": {**decoder_versions(), **reader},
        }  # fmt: skip

    def open(self) -> Scorer:
        """Load the two networks, which come with the package rapidocr."""
        return _Reader(self)


class _Reader:
    def __init__(self, stage: Text) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise missing_extra("rapidocr", "curate", "reading text in pictures") from error
        self._stage = stage
        self._ocr: Any = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,  # turns lines upside down; photographs stand upright
                "Global.text_score": 0.0,  # our own limit follows
                "Global.max_side_len": BASE,
                "Det.limit_side_len": stage.side,
                "Det.limit_type": "max",  # "min" would enlarge small pictures
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                # without it a quarter of the time goes into asking the system for memory
                "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
            }
        )
        self._ocr(np.zeros((64, 64, 3), np.uint8), use_rec=False)  # loads the detector
        self._ocr.use_rec = True
        self._ocr.text_det.get_preprocess = lambda: self._prepared

    def _prepared(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Do what rapidocr does before detection, in a fifth of the time."""
        size = detection_size(pixels.shape[:2], self._stage.side)
        if not min(size):
            return None
        small = cv2.resize(pixels, size[::-1])
        return to_planes(cast("NDArray[np.uint8]", small), _MEAN, _MEAN)[None]

    def __call__(self, pictures: Sequence[Picture]) -> list[Row]:
        return [self._row(picture) for picture in pictures]

    def _row(self, picture: Picture) -> Row:
        pixels = picture.pixels(BASE)
        regions = read_regions(self._ocr, pixels, self._stage)
        height, width = pixels.shape[:2]
        whole = np.zeros((height, width), np.uint8)
        overlaid = np.zeros((height, width), np.uint8)
        rows: list[dict[str, Any]] = []
        assert picture.header is not None
        scale = np.array([picture.header.width / width, picture.header.height / height])
        for corners, text, score, overlay in regions:
            for mask in (whole, overlaid) if overlay else (whole,):
                cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
            low, high = corners.min(axis=0) * scale, corners.max(axis=0) * scale
            place = {"x0": low[0], "y0": low[1], "x1": high[0], "y1": high[1]}
            rows.append({**place, "score": score, "text": text[:80], "overlay": overlay})
        return {
            "count": len(regions),
            "area": float(whole.mean()),
            "overlay_count": sum(region[3] for region in regions),
            "overlay_area": float(overlaid.mean()),
            "regions": rows[:_MOST],
        }


def detection_size(size: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return (height, width) regions are looked for at: multiples of 32, as the network needs."""
    ratio = min(1.0, side / max(size[:2]))
    height, width = (round(int(length * ratio) / 32) * 32 for length in size[:2])
    return height, width


Region = tuple[NDArray[np.float64], str, float, bool]


def read_regions(ocr: Any, pixels: NDArray[np.uint8], stage: Text) -> list[Region]:
    """Return (corners (4, 2), text, score, whether it is an overlay) of what can be read."""
    found = ocr(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if getattr(found, "boxes", None) is None or found.txts is None:
        return []
    regions: list[Region] = []
    for corners, text, score in zip(found.boxes, found.txts, found.scores, strict=True):
        letters = sum(letter.isalnum() for letter in text)
        if score >= stage.min_score and letters >= stage.min_letters:
            points = np.asarray(corners, np.float64)
            overlay = is_overlay(points, text, pixels.shape[:2], stage.margin)
            regions.append((points, str(text), float(score), overlay))
    return regions


def is_overlay(
    corners: NDArray[np.float64], text: str, size: tuple[int, ...], margin: float
) -> bool:
    """Whether a region looks laid over the picture; see `Text`.

    Args:
        corners: (4, 2) from the top left clockwise, in pixels.
        text: what was read.
        size: (height, width) of the picture.
        margin: share of each side that counts as its outer part.
    """
    if _OWNED.search(text):
        return True
    along = corners[1] - corners[0]
    below = corners[2] - corners[3]
    tilt = abs(np.degrees(np.arctan2(along[1], along[0])))
    taper = np.linalg.norm(along - below) / max(1.0, float(np.linalg.norm(along)))
    if tilt > 1.5 or taper > 0.06:  # degrees; share of the length
        return False
    centre = corners.mean(axis=0) / [size[1], size[0]]
    return bool((centre < margin).any() or (centre > 1 - margin).any())

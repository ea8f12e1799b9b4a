# SPDX-License-Identifier: Apache-2.0
"""The stage person: everyone a detector finds, at the scale of the original picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitruvian.curate.basics import decoder_versions
from vitruvian.curate.scale import at_original_size
from vitruvian.curate.stage import BASE, COPIES, Picture, Row, Scorer, file_digest
from vitruvian.errors import InputError
from vitruvian.model.catalogue import find
from vitruvian.predict.detect import DEFAULT_DETECTOR, Boxes, Detector
from vitruvian.predict.load import open_detector
from vitruvian.predict.people import BUILT_IN

BOX = pa.struct([(name, pa.float32()) for name in ("x0", "y0", "x1", "y1", "score")])
_LOWEST = 0.05  # people scored below are not even recorded
_STEP = 1 / 16  # pixels that boxes are rounded to: what was 300 pixels wide stays that, exactly
_MOST = 100  # boxes kept of one picture; the true count is kept beside them


@dataclass(frozen=True, kw_only=True)
class Person:
    """Boxes of people in pixels of the upright original, however small a copy the detector saw.

    Attributes:
        detector: folder of a detector of transformers, a fetched ``hf:org/name[@revision]``, a
            .safetensors file that ``train people`` made, or "auto" for the one inside the package.
        side: longer side of the copy the detector is given, in pixels.
        batch: pictures the detector is given at a time.
        device: torch device.
        make: makes another detector instead; a module-level function or object.
        key: what distinguishes that one's answers; needed with ``make``.
    """

    detector: str = DEFAULT_DETECTOR
    side: int = BASE
    batch: int = 8
    device: str = "cpu"
    make: Callable[[], Detector] | None = None
    key: str = ""
    name: str = field(default="person", init=False)
    decodes: bool = field(default=True, init=False)
    upstream: None = field(default=None, init=False)
    schema: pa.Schema = field(
        init=False,
        repr=False,
        default=pa.schema(
            [("count", pa.int32()), ("boxes", pa.list_(BOX)), ("score_kind", pa.string())]
        ),
    )

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on.

        Raises:
            WeightsError: if the detector was not fetched; names the command.
        """
        common = {
            "version": 2, "side": self.side, "copies": COPIES, "libraries": decoder_versions(),
        }  # fmt: skip
        if self.make is not None:
            assert self.key
            return {**common, "detector": self.key}
        return {**common, "detector": detector_identity(self.detector)}

    def open(self) -> Scorer:
        """Load the detector."""
        if self.make is not None:
            return _Finder(self.make(), self.side, self.batch)
        found = open_detector(self.detector, _LOWEST, self.device, confirm=False)
        return _Finder(found, self.side, self.batch)


def detector_identity(source: str) -> dict[str, Any]:
    """Return what a detector is, by its files.

    Raises:
        WeightsError: if it was not fetched; names the command.
        InputError: if there is no such file.
    """
    if source == "auto":
        source = str(BUILT_IN) if BUILT_IN.is_file() else DEFAULT_DETECTOR
    if not source.lower().endswith(".safetensors"):
        return model_identity(source)
    if not Path(source).is_file():
        raise InputError(f"no file {source}: give the weights that  vitruvian train people  made")
    return {"people.safetensors": file_digest(Path(source))}


def model_identity(source: str) -> dict[str, Any]:
    """Return what a model of transformers is, by its files: weights, configuration, preprocessing.

    Raises:
        WeightsError: if it was not fetched; names the command.
    """
    folder = find(source)
    if not (folder / "model.safetensors").is_file():
        raise InputError(
            f"no model in {source!r}: it needs a folder with config.json and model.safetensors, as "
            "save_pretrained writes it, or hf:org/name"
        )
    names = ("model.safetensors", "config.json", "preprocessor_config.json")
    return {name: file_digest(folder / name) for name in names if (folder / name).is_file()}


class _Finder:
    """Asks a detector, and puts boxes back to the size of the original."""

    def __init__(self, detector: Detector, side: int, batch: int) -> None:
        self._detector, self._side, self._batch = detector, side, batch

    def __call__(self, pictures: Sequence[Picture]) -> list[Row]:
        rows: list[Row] = []
        for start in range(0, len(pictures), self._batch):
            part = pictures[start : start + self._batch]
            shown = [self._shown(picture) for picture in part]
            found = self._detector.detect(shown, [picture.source for picture in part])
            for picture, seen, boxes in zip(part, shown, found, strict=True):
                rows.append(self._row(picture, seen, boxes))
        return rows

    def _shown(self, picture: Picture) -> NDArray[np.uint8]:
        if self._detector.score_kind == "given":  # looks up names; only the size matters
            assert picture.header is not None
            size = picture.header.height, picture.header.width, 3
            return np.broadcast_to(np.zeros(3, np.uint8), size)
        return picture.pixels(self._side)

    def _row(self, picture: Picture, seen: NDArray[np.uint8], found: Boxes) -> Row:
        assert picture.header is not None
        keep = found.scores >= _LOWEST
        boxes = at_original_size(
            found.boxes[keep], seen.shape[:2], (picture.header.height, picture.header.width)
        )
        boxes = np.round(boxes / _STEP) * _STEP
        names = BOX.names
        values = np.column_stack([boxes, found.scores[keep]])[:_MOST].tolist()
        return {
            "count": int(keep.sum()),
            "boxes": [dict(zip(names, row, strict=True)) for row in values],
            "score_kind": self._detector.score_kind,
        }

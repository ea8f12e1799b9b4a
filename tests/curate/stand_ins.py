# SPDX-License-Identifier: Apache-2.0
"""Stages and detectors that do as they are told; processes of the pool import them from here."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from vitruvian.curate import shardwork
from vitruvian.curate.stage import Picture, Row, Scorer

CRASH, HANG, RAISE, MEMORY = b"CRASHME!", b"HANGS!!!", b"RAISES!!", b"MEMORY!!"


@dataclass(frozen=True, kw_only=True)
class Obedient:
    """Does to its process what the end of a file says; slow, so that it can be killed meanwhile."""

    seconds: float = 0.0
    where: str = "score"  # or "decode"
    name: ClassVar[str] = "obedient"
    decodes: ClassVar[bool] = True
    upstream: ClassVar[None] = None
    schema: ClassVar[pa.Schema] = pa.schema([("mean", pa.float64())])

    def identity(self) -> Mapping[str, Any]:
        return {"version": 1}

    def open(self) -> Scorer:
        if self.where == "decode":
            plain = shardwork.read_reduced

            def reading(data, enough):
                obey(data)
                return plain(data, enough)

            shardwork.read_reduced = reading
        return self._score

    def _score(self, pictures: Sequence[Picture]) -> list[Row]:
        rows = []
        for picture in pictures:
            time.sleep(self.seconds)
            if self.where == "score":
                obey(picture.data)
            rows.append({"mean": float(picture.pixels(32).mean())})
        return rows


def obey(data: bytes) -> None:
    if data.endswith(CRASH):
        os.kill(os.getpid(), signal.SIGSEGV)
    if data.endswith(HANG):
        time.sleep(1000)
    if data.endswith(RAISE):
        raise ValueError("as told")
    if data.endswith(MEMORY):
        raise MemoryError


@dataclass(frozen=True)
class Scripted:
    """A detector that finds the same boxes, by the name of the picture, in original pixels."""

    boxes: Mapping[str, tuple[tuple[float, float, float, float, float], ...]]
    score_kind: ClassVar[Any] = "softmax"

    def detect(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[Any]:
        from vitruvian.predict.detect import Boxes  # torch takes its time, and few need it

        found = []
        for _, name in zip(images, names, strict=True):
            rows = np.array(self.boxes.get(name, ())).reshape(-1, 5)
            found.append(Boxes(rows[:, :4], rows[:, 4]))
        return found


class Blobs:
    """A detector that takes every red region for a person."""

    score_kind: ClassVar[Any] = "softmax"

    def detect(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[Any]:
        import cv2

        from vitruvian.predict.detect import Boxes

        found = []
        for image in images:
            red = (image[..., 0] > 185) & (image[..., 1] < 66) & (image[..., 2] < 66)
            count, _, stats, _ = cv2.connectedComponentsWithStats(red.astype(np.uint8))
            rows = stats[1:count][stats[1:count, 4] > 50].astype(float)
            corners = np.column_stack([rows[:, :2], rows[:, :2] + rows[:, 2:4] - 1])
            found.append(Boxes(corners, np.full(len(rows), 0.95)))
        return found


class Figures:
    """Takes whatever stands before a green wall for people, in the pixels of what it is shown."""

    score_kind: ClassVar[Any] = "softmax"

    def detect(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[Any]:
        import cv2

        from vitruvian.predict.detect import Boxes

        found = []
        for image in images:
            assert max(image.shape) <= 1024  # a copy, not the original
            red, green, blue = cv2.split(image.astype(np.int16))
            mask = (green - np.maximum(red, blue) < 80).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            rows = stats[1:count][stats[1:count, 4] > 200].astype(float)
            corners = np.column_stack([rows[:, :2], rows[:, :2] + rows[:, 2:4] - 1])
            found.append(Boxes(corners, np.full(len(rows), 0.95)))
        return found


@dataclass(frozen=True)
class Exact:
    """Knows the boxes of originals by the number a picture is called; answers at a copy's scale."""

    boxes: Mapping[str, tuple[float, float, float, float]]
    sizes: Mapping[str, tuple[int, int]]
    score_kind: ClassVar[Any] = "softmax"

    def detect(self, images: Sequence[np.ndarray], names: Sequence[str]) -> list[Any]:
        from vitruvian.predict.detect import Boxes

        found = []
        for image, name in zip(images, names, strict=True):
            height, width = self.sizes[name]
            scale = np.tile([image.shape[1] / width, image.shape[0] / height], 2)
            edges = np.add(self.boxes[name], [0, 0, 1, 1]) * scale  # an edge is where a pixel ends
            found.append(Boxes((edges - [0, 0, 1, 1])[None], np.full(1, 0.95)))
        return found


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Embeddings by the number a picture is called: n and n + 20 alike, odd and even apart."""

    name: ClassVar[str] = "embedding"
    decodes: ClassVar[bool] = False
    upstream: ClassVar[None] = None
    schema: ClassVar[pa.Schema] = pa.schema([("vector", pa.list_(pa.float16()))])

    def identity(self) -> Mapping[str, Any]:
        return {"version": 1}

    def open(self) -> Scorer:
        return lambda pictures: [{"vector": self._vector(p.source)} for p in pictures]

    def _vector(self, source: str) -> np.ndarray:
        number = int(source[:2]) % 20
        vector = np.zeros(8)
        vector[number % 2] = 3
        vector[2:] = np.random.default_rng(number).normal(0, 0.3, 6)
        return (vector / np.linalg.norm(vector)).astype(np.float16)

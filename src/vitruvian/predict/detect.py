# SPDX-License-Identifier: Apache-2.0
"""Finding people: one protocol, and the detectors that follow it.

Boxes are x0, y0, x1, y1 in pixel centres of the picture as read (EXIF orientation applied). No
person found is no box: a detector never falls back to the whole picture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from vitruvian.errors import InputError, missing_extra
from vitruvian.files import read_json
from vitruvian.geometry import clip_box, suppress
from vitruvian.model.catalogue import find

ScoreKind = Literal["softmax", "sigmoid", "given"]
"""What scores mean: they are not comparable between kinds."""

DEFAULT_DETECTOR = "hf:PekingU/rtdetr_v2_r18vd"
"""Apache-2.0 person detector on the Hugging Face hub (RT-DETRv2, ResNet-18)."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """People found in one picture, best score first.

    Attributes:
        boxes: (N, 4) float64.
        scores: (N,) float64 in 0 … 1.
        identities: (N,) track numbers, or ``None``.

    Raises:
        InputError: boxes that are not rows of four numbers, or not one score for each.
    """

    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    identities: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        boxes = _rows(self.boxes)
        scores = np.asarray(self.scores, dtype=np.float64).reshape(-1)
        if len(scores) != len(boxes):
            raise InputError(f"{len(boxes)} boxes with {len(scores)} scores: give one per box")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, boxes: "Boxes | ArrayLike") -> "Boxes":
        """Return boxes as they are; rows of x0, y0, x1, y1 (one alone will do) get scores of 1."""
        if isinstance(boxes, Boxes):
            return boxes
        rows = _rows(boxes)
        return cls(rows, np.ones(len(rows)))


def _rows(boxes: ArrayLike) -> NDArray[np.float64]:
    try:
        rows = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"boxes {boxes!r:.60} · wanted rows of x0, y0, x1, y1") from error
    if not rows.size:
        return np.zeros((0, 4))
    if rows.ndim > 2 or rows.shape[-1] != 4:
        raise InputError(f"boxes of shape {rows.shape} · wanted (N, 4): x0, y0, x1, y1 in pixels")
    return rows.reshape(-1, 4)


class Detector(Protocol):
    """Finds people in pictures."""

    score_kind: ScoreKind

    def detect(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Boxes]:
        """Return the people in each RGB picture (H, W, 3); ``names`` are the pictures' paths."""
        ...


class WholeImage:
    """Takes every picture as one person filling it; ask for it by name, it is never a fallback."""

    score_kind: ScoreKind = "given"

    def detect(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Boxes]:
        """Return one box per picture."""
        del names
        whole = [np.array([[0, 0, i.shape[1] - 1, i.shape[0] - 1]], float) for i in images]
        return [Boxes(box, np.ones(1)) for box in whole]


class GivenBoxes:
    """Boxes known beforehand, by picture name.

    A box file may name pictures by path, by file name, by stem or by frame number. The longest end
    of a picture's path that the file knows counts; where the file's own names have folders, a bare
    file name does not stand for a picture in a folder.
    """

    score_kind: ScoreKind = "given"

    def __init__(self, boxes: Mapping[str, Boxes], *, min_score: float = 0.0) -> None:
        """Take boxes by name; those scored below ``min_score`` are left out.

        Raises:
            InputError: if there are none at all.
        """
        if not boxes:
            raise InputError("the boxes file names no picture: it needs at least one box")
        self._boxes = dict(boxes)
        self._min_score = min_score
        self._folders = any("/" in name for name in boxes)

    @property
    def example(self) -> str:
        """One of the names it knows."""
        return next(iter(self._boxes))

    def knows(self, name: str) -> bool:
        """Whether it has boxes under this picture's name."""
        return self._key(name) is not None

    def _key(self, name: str) -> str | None:
        path = PurePosixPath(name.replace("\\", "/"))
        parts = path.parts
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        if self._folders and len(parts) > 1:
            ends = ends[:-1]
        else:
            ends += [path.stem] + ([str(int(path.stem))] if path.stem.isdecimal() else [])
        return next((end for end in ends if end in self._boxes), None)

    def detect(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Boxes]:
        """Return the boxes of each name, best first; a name that is not listed has no people."""
        found = []
        for image, name in zip(images, names, strict=True):
            key = self._key(name)
            given = Boxes() if key is None else self._boxes[key]
            keep = np.flatnonzero(given.scores >= self._min_score)
            keep = keep[np.argsort(-given.scores[keep], kind="stable")]
            clipped = clip_box(given.boxes[keep], (image.shape[0], image.shape[1]))
            solid = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
            keep = keep[solid]
            ids = None if given.identities is None else given.identities[keep]
            found.append(Boxes(given.boxes[keep], given.scores[keep], ids))
        return found


class TransformersDetector:
    """Any object detector of the transformers library, kept to its "person" class.

    Pictures are resized and normalised as the model's own preprocessor file says: to a fixed size
    without keeping the aspect (RT-DETR and kin), or by their shortest and longest edge (DETR).
    """

    score_kind: ScoreKind

    def __init__(
        self,
        source: str | Path,
        *,
        min_score: float = 0.5,
        max_overlap: float = 0.7,
        device: str = "cpu",
    ) -> None:
        """Open a local folder, or a fetched ``hf:org/name[@revision]``; nothing is downloaded.

        Args:
            source: where the detector is.
            min_score: people below it are left out. Detectors trained with focal loss (DETR kin)
                score far lower than softmax ones: 0.3 to 0.5 serves them, 0.9 does not.
            max_overlap: a box that overlaps a better one by more (IoU) is a duplicate and dropped.
            device: torch device.

        Raises:
            MissingExtraError: without the package transformers.
            WeightsError: if it was not fetched yet; names the command.
            InputError: if it is no detector, or knows no class "person".
        """
        try:
            import transformers
        except ImportError as error:
            raise missing_extra("transformers", "detect", "finding people") from error
        folder = _folder(source)
        settings = _preprocessor(folder)
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            self._model = transformers.AutoModelForObjectDetection.from_pretrained(
                folder, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"cannot open the detector {str(source)!r} ({reason}): give a folder that "
                "AutoModelForObjectDetection.save_pretrained wrote"
            ) from error
        labels = {int(i): str(name).lower() for i, name in (config.id2label or {}).items()}
        self._people = [index for index, name in labels.items() if name == "person"]
        if not self._people:
            raise InputError(
                f"the detector {str(source)!r} has no class 'person' among {len(labels)}"
            )
        kind = config.model_type
        # DETR and YOLOS score by softmax with a last "no object" class; the focal-loss kin do not.
        self.score_kind = "softmax" if kind in {"detr", "yolos", "table-transformer"} else "sigmoid"
        self._size: dict[str, int] = settings.get("size") or {"height": 640, "width": 640}
        self._mean, self._std = [0.0] * 3, [1.0] * 3
        if settings.get("do_normalize", False):
            self._mean = settings.get("image_mean", [0.485, 0.456, 0.406])
            self._std = settings.get("image_std", [0.229, 0.224, 0.225])
        self._min_score, self._max_overlap = min_score, max_overlap
        self._device = torch.device(device)
        self._model.to(self._device).eval()

    @torch.inference_mode()
    def detect(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[Boxes]:
        """Return the people in each picture."""
        del names
        if not images:
            return []
        pixels = [self._pixels(image) for image in images]
        if len({batch.shape for batch in pixels}) == 1:
            pixels = [torch.cat(pixels)]
        outputs = [self._model(pixel_values=batch) for batch in pixels]
        logits = torch.cat([output.logits for output in outputs]).float()
        places = torch.cat([output.pred_boxes for output in outputs]).float().cpu().numpy()
        if self.score_kind == "softmax":
            scores = logits.softmax(-1)[..., self._people].amax(-1)
        else:
            scores = logits.sigmoid()[..., self._people].amax(-1)
        found = []
        for image, score, box in zip(images, scores.cpu().numpy(), places, strict=True):
            keep = score >= self._min_score
            centre, extent = box[keep, :2].astype(np.float64), box[keep, 2:].astype(np.float64)
            # Relative to picture edges, which lie half a pixel outside the outer pixel centres.
            full = np.array([image.shape[1], image.shape[0]])
            corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
            corners = corners * np.tile(full, 2) - 0.5
            corners = clip_box(corners, (image.shape[0], image.shape[1]))
            solid = (corners[:, 2:] - corners[:, :2] >= 1).all(axis=1)
            corners, kept_scores = corners[solid], score[keep][solid].astype(np.float64)
            order = suppress(corners, kept_scores, self._max_overlap)
            found.append(Boxes(corners[order], kept_scores[order]))
        return found

    def _pixels(self, image: NDArray[np.uint8]) -> torch.Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).movedim(-1, 0)[None]
        size = self._network_size(image.shape[0], image.shape[1])
        pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        pixels = pixels.to(self._device).float() / 255
        mean = torch.tensor(self._mean, device=self._device).view(3, 1, 1)
        std = torch.tensor(self._std, device=self._device).view(3, 1, 1)
        return (pixels - mean) / std

    def _network_size(self, height: int, width: int) -> tuple[int, int]:
        if "height" in self._size:
            return int(self._size["height"]), int(self._size["width"])
        short, long = min(height, width), max(height, width)
        scale = self._size.get("shortest_edge", 800) / short
        scale = min(scale, self._size.get("longest_edge", 1333) / long)
        return max(32, round(height * scale)), max(32, round(width * scale))


def _folder(source: str | Path) -> Path:
    """Return the local folder of a detector; one from the hub must have been fetched before."""
    place = find(source) if str(source).startswith("hf:") else Path(source)
    if not (place / "config.json").is_file():
        raise InputError(
            f"no detector in {str(source)!r}: it needs a folder with config.json and "
            "model.safetensors, as save_pretrained writes it, or hf:org/name"
        )
    return place


def _preprocessor(folder: Path) -> dict[str, Any]:
    """Read the model's preprocessor settings; a detector without any uses the defaults."""
    path = folder / "preprocessor_config.json"
    return read_json(path) if path.is_file() else {}

# SPDX-License-Identifier: Apache-2.0
"""Stages on what a picture means: embeddings of CLIP or SigLIP, prompts, and trained probes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitruvian.curate.basics import decoder_versions
from vitruvian.curate.cascade import Gated
from vitruvian.curate.people import model_identity
from vitruvian.curate.stage import BASE, COPIES, Picture, Row, Scorer, file_digest
from vitruvian.errors import InputError, missing_extra
from vitruvian.files import read_json
from vitruvian.model.catalogue import find

DEFAULT_EMBEDDER = "hf:google/siglip2-base-patch16-224"
"""Apache-2.0 image and text encoder on the Hugging Face hub."""
CONCEPTS: Mapping[str, tuple[str, ...]] = {
    "neutral": (
        "a photo of a person", "a photo of people", "a portrait photo", "a street photo",
        "a candid photo of someone", "a photo of a crowd",
    ),
    "watermark": (
        "a stock photo with a watermark", "a photo with a logo printed over it",
        "a preview image with a semi-transparent watermark",
    ),
    "drawing": (
        "a drawing of a person", "a painting of a person", "a cartoon", "an anime character",
        "a sketch", "a comic", "a 3d render of a person", "a video game character",
    ),
    "screenshot": (
        "a screenshot of a website", "a screenshot of a phone", "a slide of a presentation",
        "a scanned document", "an advertisement poster", "a meme with text",
    ),
    "toy": (
        "a toy figure", "a doll", "a statue of a person", "a mannequin in a shop window",
        "an action figure", "a wax figure",
    ),
}  # fmt: skip
"""Prompts by concept; "neutral" is what every other one is compared with."""


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A vector of unit length per picture.

    Attributes:
        model: folder of a CLIP- or SigLIP-like model of transformers, or a fetched ``hf:…``.
        batch: pictures the model is given at a time.
        device: torch device.
    """

    model: str = DEFAULT_EMBEDDER
    batch: int = 16
    device: str = "cpu"
    name: str = field(default="embedding", init=False)
    decodes: bool = field(default=True, init=False)
    upstream: None = field(default=None, init=False)
    schema: pa.Schema = field(
        init=False, repr=False, default=pa.schema([("vector", pa.list_(pa.float16()))])
    )

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        return {
            "version": 1, "copies": COPIES, "model": model_identity(self.model),
            "libraries": decoder_versions(),
        }  # fmt: skip

    def open(self) -> Scorer:
        """Load the model."""
        model = Embedder(self.model, self.device)

        def score(pictures: Sequence[Picture]) -> list[Row]:
            rows: list[Row] = []
            for start in range(0, len(pictures), self.batch):
                part = [p.pixels(BASE) for p in pictures[start : start + self.batch]]
                rows += [{"vector": row} for row in model.images(part).astype(np.float16)]
            return rows

        return score


class Embedder:
    """An image and text encoder of transformers."""

    def __init__(self, source: str, device: str = "cpu") -> None:
        """Open a local folder or a fetched address; nothing is downloaded.

        Raises:
            MissingExtraError: without the package transformers.
            WeightsError: if it was not fetched.
            InputError: if it has no image and text features.
        """
        try:
            import transformers
        except ImportError as error:
            raise missing_extra("transformers", "curate", "embedding pictures") from error
        self.folder = find(source)
        try:
            self._model: Any = transformers.AutoModel.from_pretrained(
                self.folder, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"cannot open the model {source!r} ({reason}): give a folder that "
                "AutoModel.save_pretrained wrote"
            ) from error
        if not hasattr(self._model, "get_image_features"):
            kind = type(self._model).__name__
            raise InputError(f"{source!r} is a {kind}: wanted one like CLIP or SigLIP")
        self._device = device
        self._model.to(device).eval()
        path = self.folder / "preprocessor_config.json"
        settings: dict[str, Any] = read_json(path) if path.is_file() else {}
        self._settings = settings
        size = settings.get("crop_size") if settings.get("do_center_crop") else None
        size = size or settings.get("size") or {}
        square = size if isinstance(size, int) else size.get("height", size.get("shortest_edge"))
        self._size = int(square or self._model.config.vision_config.image_size)

    def images(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return (N, D) vectors of unit length of RGB pictures."""
        import torch

        if not pictures:
            return np.zeros((0, 0), np.float32)
        with torch.inference_mode():
            pixels = torch.cat([self._pixels(picture) for picture in pictures])
            found = self._model.get_image_features(pixel_values=pixels.to(self._device))
            return _unit(found)

    def _pixels(self, picture: NDArray[np.uint8]) -> Any:
        """Return (1, 3, S, S) as the model's own preprocessor would, within a level or two."""
        import torch
        import torch.nn.functional as F

        size, settings = self._size, self._settings
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).movedim(-1, 0)[None]
        mode = "bilinear" if settings.get("resample", 3) == 2 else "bicubic"  # as Pillow counts
        height, width = picture.shape[:2]
        if settings.get("do_center_crop"):
            scale = size / min(height, width)
            target = max(size, int(height * scale)), max(size, int(width * scale))
        else:
            target = size, size
        pixels = F.interpolate(pixels, size=target, mode=mode, antialias=True)
        top, left = (target[0] - size) // 2, (target[1] - size) // 2
        pixels = pixels[..., top : top + size, left : left + size].float() / 255
        mean = torch.tensor(settings.get("image_mean", [0.5] * 3)).view(3, 1, 1)
        std = torch.tensor(settings.get("image_std", [0.5] * 3)).view(3, 1, 1)
        return (pixels - mean) / std

    def texts(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, D) vectors of unit length of prompts."""
        import torch
        import transformers

        tokens: Any = transformers.AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        length = getattr(self._model.config.text_config, "max_position_embeddings", 64)
        given = tokens(
            list(prompts), padding="max_length", truncation=True, max_length=length,
            return_tensors="pt",
        )  # fmt: skip
        given = {k: v.to(self._device) for k, v in given.items() if k != "token_type_ids"}
        with torch.inference_mode():
            return _unit(self._model.get_text_features(**given))

    @property
    def scale(self) -> float:
        """What cosines are multiplied with before they are compared."""
        return float(self._model.logit_scale.detach().exp().cpu())


def _unit(found: Any) -> NDArray[np.float32]:
    features = getattr(found, "pooler_output", found)
    vectors = features.float().cpu().numpy()
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


# ---------------------------------------------------------------------------------- prompts


def write_bank(path: Path, model: str, concepts: Mapping[str, Sequence[str]] = CONCEPTS) -> Path:
    """Embed prompts once, so that no tokenizer is needed later.

    Args:
        path: .safetensors file to write.
        model: as of `Embedding`.
        concepts: prompts by concept; one must be "neutral".

    Raises:
        InputError: without "neutral", or with a concept without prompts.
    """
    from safetensors.numpy import save

    from vitruvian.files import write_bytes

    if "neutral" not in concepts or not all(concepts.values()):
        raise InputError("a prompt bank needs the concept 'neutral', and prompts for each concept")
    embedder = Embedder(model)
    vectors = {name: embedder.texts(prompts) for name, prompts in concepts.items()}
    about = {
        "format": "vitruvian prompts 1",
        "scale": embedder.scale,
        "model": model_identity(model),
        "concepts": {name: list(prompts) for name, prompts in concepts.items()},
    }
    write_bytes(path, save(vectors, {"vitruvian": json.dumps(about, sort_keys=True)}))
    return path


def bank_for(folder: Path, embedding: Embedding) -> Path:
    """Return the bank of `CONCEPTS` for a model, made when it is first asked for."""
    text = json.dumps([CONCEPTS, model_identity(embedding.model)], sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.safetensors"
    return path if path.exists() else write_bank(path, embedding.model)


def _read_tensors(path: Path, kind: str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and the note of a bank or probe."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            note = json.loads((file.metadata() or {}).get("vitruvian", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if note.get("format") != kind:
        raise InputError(f"{path}: wanted a file of {kind!r}, it says {note.get('format')!r}")
    return arrays, note


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """How much more a picture resembles a concept's prompts than neutral ones: 0 … 1 each.

    The better of a concept's prompts against the better of the neutral ones, by softmax.

    Attributes:
        bank: file that `write_bank` wrote.
        upstream: embeds the pictures, with the model the bank was made with; perhaps gated.
    """

    bank: str
    upstream: Embedding | Gated
    name: str = field(default="zero_shot", init=False)
    decodes: bool = field(default=True, init=False)

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        digest = file_digest(Path(self.bank))
        return {"version": 1, "bank": digest, "embedding": self.upstream.identity()}

    @property
    def schema(self) -> pa.Schema:
        """One column per concept."""
        concepts = _read_tensors(Path(self.bank), "vitruvian prompts 1")[1]["concepts"]
        return pa.schema([(n, pa.float32()) for n in sorted(concepts) if n != "neutral"])

    def open(self) -> Scorer:
        """Read the bank.

        Raises:
            InputError: if it belongs to another model.
        """
        arrays, note = _read_tensors(Path(self.bank), "vitruvian prompts 1")
        model = _model_of(self.upstream)
        if note["model"] != model_identity(model):
            raise InputError(f"{self.bank} was made with another model than {model}: make it anew")
        neutral, scale = arrays.pop("neutral"), note["scale"]

        def score(pictures: Sequence[Picture]) -> list[Row]:
            rows: list[Row] = []
            for vector in _vectors(pictures):
                if vector is None:
                    rows.append({"status": "skipped"})
                    continue
                calm = float((neutral @ vector).max())
                odds = {n: scale * (calm - float((a @ vector).max())) for n, a in arrays.items()}
                rows.append(
                    {n: float(1 / (1 + np.exp(np.clip(v, -60, 60)))) for n, v in odds.items()}
                )
            return rows

        return score


def _model_of(stage: Embedding | Gated) -> str:
    embedding = stage.inner if isinstance(stage, Gated) else stage
    assert isinstance(embedding, Embedding)
    return embedding.model


def _vectors(pictures: Sequence[Picture]) -> list[NDArray[np.float32] | None]:
    found = [picture.before.get("vector") for picture in pictures]
    return [None if one is None else np.asarray(one, np.float32) for one in found]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A small head on embeddings, trained by ``vitruvian curate fit-probe``: ``score`` is 0 … 1.

    Attributes:
        head: the file.
        upstream: embeds the pictures, with the model the head was trained on; perhaps gated.
    """

    head: str
    upstream: Embedding | Gated
    decodes: bool = field(default=True, init=False)
    schema: pa.Schema = field(init=False, repr=False, default=pa.schema([("score", pa.float32())]))

    @property
    def name(self) -> str:
        """``probe_`` and what the head is called."""
        return f"probe_{read_probe(Path(self.head))[1]['name']}"

    def identity(self) -> Mapping[str, Any]:
        """Return what its answers depend on."""
        digest = file_digest(Path(self.head))
        return {"version": 1, "head": digest, "embedding": self.upstream.identity()}

    def open(self) -> Scorer:
        """Read the head.

        Raises:
            InputError: if it belongs to another model.
        """
        arrays, note = read_probe(Path(self.head))
        model = _model_of(self.upstream)
        if note["model"] != model_identity(model):
            raise InputError(f"{self.head} was trained on another model than {model}: fit it anew")

        def score(pictures: Sequence[Picture]) -> list[Row]:
            rows: list[Row] = []
            for vector in _vectors(pictures):
                if vector is None:
                    rows.append({"status": "skipped"})
                else:
                    logit = float(arrays["weight"] @ vector + arrays["bias"])
                    rows.append({"score": float(1 / (1 + np.exp(-np.clip(logit, -60, 60))))})
            return rows

        return score


def read_probe(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return weight (D,), bias () and the note (name, model, labels, accuracy) of a head."""
    return _read_tensors(path, "vitruvian probe 1")

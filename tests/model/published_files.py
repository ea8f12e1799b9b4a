# SPDX-License-Identifier: Apache-2.0
"""Files as they were published, without their weights: names and shapes, written for real.

The lists in tests/golden/layouts are written with the width D of a size and a block number {i}.
"""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vitruvian.model.catalogue import Entry, entry

GOLDEN = Path(__file__).parents[1] / "golden"
FIRST = json.loads((GOLDEN / "layouts" / "sapiens.json").read_text())
SECOND = json.loads((GOLDEN / "layouts" / "sapiens2.json").read_text())

Shapes = dict[str, tuple[int, ...]]


def first_generation() -> Iterator[tuple[str, str]]:
    """Yield (layout, size) of all published first-generation files; "clean" is one of them."""
    for layout in (*FIRST["layouts"], "clean"):
        yield from ((layout, size) for size in FIRST["sizes"])


def second_generation() -> Iterator[tuple[str, str]]:
    """Yield (task as published, size)."""
    yield from (("pretrain", size) for size in SECOND["encoders"])
    yield from (tuple(name.split("_")) for name in SECOND["heads"])


def sapiens(layout: str, size: str) -> Shapes:
    """Return names and shapes of a first-generation file."""
    dim, depth, _ = FIRST["sizes"][size]
    rest = FIRST["layouts"]["pretrain" if layout == "clean" else layout]
    found: Shapes = {}
    for name, text in {**FIRST["encoder"], **rest}.items():
        if layout == "clean" and not name.startswith("backbone."):
            continue
        name = name.removeprefix("backbone.") if layout == "clean" else name
        for i in range(depth if "{i}" in name else 8 if "{j}" in name else 1):
            found[re.sub(r"\{[ij]\}", str(i), name)] = _shape(text, {"D": dim})
    return found


def sapiens2(task: str, size: str) -> Shapes:
    """Return names and shapes of a Sapiens2 file; the task as published ("seg", "normal")."""
    dim, depth, heads = SECOND["sizes"][size]
    encoder = _encoder2(dim, depth, dim // heads, tokenizer=size == "1b-4k")
    if task == "pretrain":
        return encoder
    head = SECOND["heads"][f"{task}_{size}"]
    return {f"backbone.{n}": s for n, s in encoder.items()} | {
        f"decode_head.{n}": _shape(text, {}) for n, text in head.items()
    }


def tiny_sapiens2(task: str) -> Shapes:
    """Return a Sapiens2 layout 16 times narrower and 18 blocks deep, two of them grouped."""
    size = "1b" if task == "matting" else "0.4b"
    encoder = _encoder2(SECOND["sizes"][size][0] // 16, 18, 16)
    head = {n: _shape(t, {}) for n, t in SECOND["heads"][f"{task}_{size}"].items()}
    narrow = {n: tuple(k // 16 if k >= 64 else k for k in s) for n, s in head.items()}
    return {f"backbone.{n}": s for n, s in encoder.items()} | {
        f"decode_head.{n}": s for n, s in narrow.items()
    }


def _encoder2(dim: int, depth: int, width: int, *, tokenizer: bool = False) -> Shapes:
    found: Shapes = {}
    for name, text in SECOND["encoder"].items():
        pooled = name.startswith("tokenizer.")
        if pooled and not tokenizer:
            continue
        for i in range((4 if pooled else depth) if "{i}" in name else 1):
            grouped = not pooled and "{i}" in name and 8 <= i < depth - 8
            values = {"D": dim, "h": width, "K": dim // 2 if grouped else dim}
            found[name.replace("{i}", str(i))] = _shape(text, values)
    return found


def _shape(text: str, values: Mapping[str, int]) -> tuple[int, ...]:
    def number(word: str) -> int:
        match = re.fullmatch(r"(\d*)([DhK]?)(?:/(\d+))?", word)
        assert match is not None, word
        return int(match[1] or 1) * values.get(match[2], 1) // int(match[3] or 1)

    return tuple(number(word) for word in text.split())


def write_hollow(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Path:
    """Write a safetensors file of these float32 tensors that takes no room: its numbers are a hole.

    Rotary periods are bfloat16, as published.
    """
    header, offset = {}, 0
    for name, shape in shapes.items():
        short, item = ("BF16", 2) if name.endswith("periods") else ("F32", 4)
        end = offset + int(np.prod(shape, dtype=np.int64)) * item
        header[name] = {"dtype": short, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return path


def tiny(name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the arrays of a golden network, and its weights under their published names."""
    with np.load(GOLDEN / f"{name}_tiny.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    weights = {k[2:]: v for k, v in arrays.items() if k.startswith("w.")}
    return {k: v for k, v in arrays.items() if not k.startswith("w.")}, weights


def narrowed(name: str, shapes: Mapping[str, tuple[int, ...]], label: str) -> Entry:
    """Return the catalogue's record of a name as if the published file were this small one."""
    count = sum(int(np.prod(s)) for n, s in shapes.items() if not n.endswith("periods"))
    return replace(entry(name), size=label, parameters=count)


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, torch.Tensor]:
    """Return small random tensors of these shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {n: 0.05 * torch.randn(s, generator=generator) for n, s in shapes.items()}

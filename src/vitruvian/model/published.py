# SPDX-License-Identifier: Apache-2.0
"""The shapes of the published heads and networks: the one place that knows them.

Sources: the code and configurations published for Sapiens (arXiv 2408.12569) and Sapiens2
(arXiv 2604.21681). Sizes are keys of ``SIZES``; those of the second generation begin "sapiens2-".
"""

from dataclasses import dataclass, replace
from typing import Any

from vitruvian.errors import InputError, unknown_name
from vitruvian.model.heads import DenseHeadConfig, HeadConfig, ScaleHeadConfig
from vitruvian.model.network import NetworkConfig
from vitruvian.model.sizes import SIZES

FIRST = ("0.3b", "0.6b", "1b", "2b")
SECOND = ("sapiens2-0.4b", "sapiens2-0.8b", "sapiens2-1b", "sapiens2-5b")


@dataclass(frozen=True, kw_only=True)
class _Shape:
    out: int
    fields: dict[str, Any]


def _first(task: str) -> _Shape | None:
    dense: dict[str, Any] = {"upsample": "deconv", "dropout": 0.1, "init": "library"}
    wide: dict[str, Any] = {"widths": (768,) * 3, "refine": (768,) * 3}
    return {
        "pose": _Shape(
            out=308,
            fields={
                "upsample": "deconv",
                "widths": (768,) * 2,
                "refine": (768,) * 2,
                "init": "small",
            },
        ),
        "parts": _Shape(out=28, fields=dense | wide),
        "depth": _Shape(out=1, fields=dense | {"widths": (384,) * 4, "refine": (384,) * 2}),
        "normals": _Shape(out=3, fields=dense | wide),
    }.get(task)


def _second(task: str, size: str) -> _Shape | None:
    largest = size == "sapiens2-5b"
    shuffle: dict[str, Any] = {"upsample": "shuffle", "stem": True, "refine_kernel": 3}
    narrow = (768, 512, 256, 128)
    wide = (1536, 768, 512, 256)
    few = (64, 32, 16)
    many = (128, 64, 32)
    pose: dict[str, Any] = {"widths": (1024, 768), "refine": (512, 512, 256)}
    if size == "sapiens2-1b":
        pose = {"widths": (1536, 1024), "refine": (768, 512, 256)}
    return {
        "pose": _Shape(out=308, fields=pose),
        "parts": _Shape(out=29, fields={"widths": (512, 256, 128, 64), "refine": (64, 64)}),
        "normals": _Shape(
            out=3,
            fields=shuffle
            | {"widths": wide if largest else narrow, "refine": many if largest else few},
        ),
        "pointmap": _Shape(
            out=3,
            fields=shuffle
            | {
                "widths": (1536, 768, 768, 768) if largest else wide,
                "refine": many if largest else few,
            },
        ),
        "albedo": _Shape(
            out=3,
            fields=shuffle | {"widths": wide if largest else narrow, "refine": few, "norm": "rms"},
        ),
        "matting": _Shape(
            out=4, fields=shuffle | {"widths": narrow, "refine": few, "activation": "sigmoid"}
        ),
    }.get(task)


def published_heads(task: str, size: str, out: int | None = None) -> dict[str, HeadConfig]:
    """Return the head of a published task by name; a pointmap has a second, "pointmap_scale".

    Args:
        task: "pose", "parts", "depth" or "normals" in the first generation; "pose", "parts",
            "normals", "pointmap", "albedo" or "matting" in the second.
        size: a published size; the shapes of the second generation differ between sizes.
        out: points or classes; by default 308 points, 28 parts (29 in the second generation).

    Raises:
        InputError: this task was not published for this size.
    """
    if size not in FIRST + SECOND:
        raise unknown_name("size with published heads", size, FIRST + SECOND)
    shape = _first(task) if size in FIRST else _second(task, size)
    if shape is None or (task == "matting" and size != "sapiens2-1b"):
        raise InputError(
            f"task {task!r} of size {size!r} · wanted one published for this generation: "
            + ("pose, parts, depth, normals" if size in FIRST else "pose, parts, normals, ")
            + ("" if size in FIRST else "pointmap, albedo, matting (1b only)")
        )
    dim = SIZES[size].dim
    dense = DenseHeadConfig(in_dim=dim, out=shape.out if out is None else out, **shape.fields)
    if task == "pointmap":
        return {task: dense, "pointmap_scale": ScaleHeadConfig(in_dim=dim)}
    return {task: dense}


def published_patch_padding(task: str, size: str, out: int | None = None) -> int:
    """Return the patch padding a published network was trained with; files do not show it.

    First generation: 2 for pose, normals and the 20 parts of LIP and CIHP, else 0; second: 0.
    """
    if size not in FIRST:
        return 0
    return 2 if task in ("pose", "normals") or (task == "parts" and out == 20) else 0


def published_network(task: str, size: str, out: int | None = None) -> NetworkConfig:
    """Return the whole published network for a task: backbone, patch padding and heads."""
    heads = published_heads(task, size, out)
    padding = published_patch_padding(task, size, out)
    return NetworkConfig(backbone=replace(SIZES[size], patch_padding=padding), heads=heads)

# SPDX-License-Identifier: Apache-2.0
"""What the files of a training set do not say themselves, in one place for Python and commands."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DepthKind = Literal["metric", "relative", "inverse"]
Convention = Literal["opengl", "opencv", "directx", "dsine"]
Missing = Literal["raise", "skip"]
"""What to do about files that something refers to and that are not there."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What the files of a source do not say; an option the layout has no use for is an error.

    Attributes:
        images: folder of the pictures, if it is not beside the annotations.
        points: vocabulary of the keypoints, a name or a .toml file.
        parts: vocabulary of label maps, a name or a .toml file; for lip, cihp and atr parts28 or
            parts29, to translate into.
        labels: label set the values are in, if not those of parts (studio34, detailed52, …).
        depth_kind: what depth files hold, if they do not say: metric (metres), relative, inverse.
        depth_scale: stored steps per unit of depth, such as 1000 for millimetres.
        normals: axes of normal maps, if they do not say: opengl (a wall facing the camera is 128,
            128, 255), opencv, directx, dsine.
        facing: refuse normals of which less than 95 % face the viewer.
        holes: keep person pixels without depth or normal (NaN) as not known, instead of refusing.
        split: which part of lip and cihp; by default train to learn from, val to evaluate on.
        missing: whether a file that is named and not there is an error, or its sample is left out.
    """

    images: Path | None = None
    points: str | None = None
    parts: str | None = None
    labels: str | None = None
    depth_kind: DepthKind | None = None
    depth_scale: float | None = None
    normals: Convention | None = None
    facing: bool = True
    holes: bool = False
    split: Literal["train", "val"] | None = None
    missing: Missing = "raise"

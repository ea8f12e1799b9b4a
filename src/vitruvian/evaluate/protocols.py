# SPDX-License-Identifier: Apache-2.0
"""Protocols: what is fed, what is compared, and where the data comes from.

Facts are those of the papers (Sapiens: arXiv 2408.12569; COCO-WholeBody: arXiv 2007.11858; COCO:
arXiv 1405.0312; Hi4D: arXiv 2303.15380; THuman2.0: arXiv 2105.02465 "Function4D") and of the
published code. What they leave open is marked "assumed".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from vitruvian.errors import InputError, unknown_name
from vitruvian.evaluate.scoring import Settings
from vitruvian.tasks import Framing


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a set is evaluated.

    Attributes:
        name: as in ``vitruvian evaluate --protocol``.
        about: what it is, in a line.
        tasks: what it may measure; the data and the model decide which of them it does.
        points: vocabulary its keypoints are in; "" for any.
        parts: vocabulary its labels are in; "" for any.
        layout: of the data, as in ``vitruvian data pack --layout``.
        flip: average with the mirrored prediction; ``None`` as the weights say.
        zooms: average keypoints with those of windows enlarged by these factors; ``None`` as the
            weights say.
        framing: what dense tasks look at.
        boxes: whose boxes published numbers used: "truth" or "detections" (a file).
        settings: what the numbers depend on.
        photographs: how many the whole set has; 0 where there is no such number.
        source: where it comes from.
        licence: its terms, in short.
        expected: how its files have to lie.
    """

    name: str
    about: str
    tasks: tuple[str, ...]
    points: str = ""
    parts: str = ""
    layout: str = "auto"
    flip: bool | None = False
    zooms: tuple[float, ...] | None = ()
    framing: Framing = "person"
    boxes: Literal["truth", "detections"] = "truth"
    settings: Settings = field(default_factory=Settings)
    photographs: int = 0
    source: str = ""
    licence: str = ""
    expected: str = ""

    def missing(self, what: str) -> InputError:
        """Return the error for data that is not there."""
        if not self.source:
            return InputError(what)
        return InputError(
            f"{what}\n  {self.name}: {self.about}\n  source: {self.source}\n"
            f"  licence: {self.licence}\n  expected: {self.expected}"
        )


_COCO_SITE = "https://cocodataset.org/#download"
_COCO_TERMS = "annotations CC BY 4.0; the photographs keep their authors' Flickr terms"
_TABLE = (
    Protocol(
        name="folder",
        about="any labelled data: COCO JSON, folders of maps, shards, LIP, CIHP, ATR",
        tasks=("pose", "parts", "depth", "normals"),
        flip=None,
        zooms=None,
    ),
    Protocol(
        name="coco",
        about="COCO val2017, 17 keypoints: AP and AR, boxes of a detections file, flip test",
        tasks=("pose",),
        points="coco17",
        layout="coco",
        flip=True,
        boxes="detections",
        photographs=5000,
        source=f"{_COCO_SITE} (val2017.zip, annotations_trainval2017.zip)",
        licence=_COCO_TERMS,
        expected="--data annotations/person_keypoints_val2017.json, with val2017/ beside the "
        "folder of the annotations (or --images FOLDER)",
    ),
    Protocol(
        name="wholebody",
        about="COCO-WholeBody val, 133 keypoints in six groups, detections file, flip test",
        tasks=("pose",),
        points="wholebody133",
        layout="coco",
        flip=True,
        boxes="detections",
        photographs=5000,
        source="https://github.com/jin-s13/COCO-WholeBody (coco_wholebody_val_v1.0.json) and the "
        f"photographs of {_COCO_SITE}",
        licence="annotations for non-commercial research only; photographs as in COCO",
        expected="--data annotations/coco_wholebody_val_v1.0.json, with val2017/ beside the folder",
    ),
    Protocol(
        name="humans5k",
        about="Humans-5K, 308 keypoints in groups, annotated boxes (assumed), flip test",
        tasks=("pose",),
        points="sapiens308",
        layout="coco",
        flip=True,
        photographs=5000,
        source="not public: its authors say it cannot be shared; any set in the published "
        "308-point JSON is evaluated in the same way with --protocol folder",
        licence="none was given",
        expected="--data ANNOTATIONS.json in COCO layout with 'goliath_wholebody_kpts' (308 × x, "
        "y, v) for every person, its photographs beside it; models of other points are compared "
        "with --compare-points common114",
    ),
    Protocol(
        name="humans2k",
        about="Humans-2K, 28 part classes, whole photographs: mIoU and mAcc with background",
        tasks=("parts",),
        parts="parts28",
        layout="folder",
        framing="stretch",
        photographs=2000,
        source="not public: its authors say it cannot be shared",
        licence="none was given",
        expected="--data FOLDER with images/NAME.jpg and parts/NAME.png (8-bit labels of parts28, "
        "255 = ignore)",
    ),
    Protocol(
        name="thuman2",
        about="THuman2.0 rendered by fixed cameras: depth and normals over the person",
        tasks=("depth", "normals"),
        framing="stretch",
        photographs=1578,
        source="https://github.com/ytrock/THuman2.0-Dataset (on request; 526 scans)",
        licence="non-commercial research, by signed agreement",
        expected="SCANS/NNNN/NNNN.obj with textures, NNNN from 0000 to 0525, as distributed; "
        "render them with  vitruvian synth thuman2 SCANS --out RENDERS  and give --data RENDERS "
        "(face/, upper/, full/); the published cameras are not known, ours are fixed in "
        "evaluate/cameras/thuman2.json",
    ),
    Protocol(
        name="hi4d",
        about="Hi4D, two people in contact seen by camera 4: depth and normals over both",
        tasks=("depth", "normals"),
        framing="stretch",
        photographs=1195,
        source="https://yifeiyin04.github.io/Hi4D/ (on request)",
        licence="non-commercial research, by signed agreement",
        layout="hi4d",
        expected="--data HI4D with pairNN/ACTION/{images/4/NNNNNN.jpg, seg/img_seg_mask/4/all/"
        "NNNNNN.png, cameras/rgb_cameras.npz, frames/mesh-fNNNNN.obj} for the pairs 28, 32 and 37;"
        "  vitruvian synth hi4d HI4D  then makes depth/4/NNNNNN.npy (metres) and "
        "normals/4/NNNNNN.npy (OpenGL axes) from the scans, through that camera",
    ),
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({entry.name: entry for entry in _TABLE})
"""Name → protocol."""


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name.

    Raises:
        UnknownNameError: if there is none.
    """
    if name not in PROTOCOLS:
        raise unknown_name("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]

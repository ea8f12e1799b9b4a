# SPDX-License-Identifier: Apache-2.0
"""Public sets of human parsing: LIP, CIHP, ATR and FaceSynthetics, as they are distributed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian.data.options import Missing
from vitruvian.data.source import Source
from vitruvian.data.sources.files import (
    Entry,
    files_by_stem,
    list_pictures,
    nearest_folder,
)
from vitruvian.data.sources.folder import Paired, open_folder
from vitruvian.data.sources.maps import SUFFIXES, MapSettings
from vitruvian.errors import InputError
from vitruvian.person import Person, Raster, Sample
from vitruvian.vocabulary import Vocabulary, load, make

Name = Literal["lip", "cihp", "atr", "face"]

_FOLDERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "lip": (
        ("images/train_images", "segmentations/train_segmentations"),
        ("images/val_images", "segmentations/val_segmentations"),
        ("train_images", "TrainVal_parsing_annotations/train_segmentations"),
        ("val_images", "TrainVal_parsing_annotations/val_segmentations"),
        ("train_images", "train_segmentations"),
        ("val_images", "val_segmentations"),
    ),
    "cihp": (
        ("Training/Images", "Training/Category_ids"),
        ("Validation/Images", "Validation/Category_ids"),
        ("Images", "Category_ids"),
    ),
    "atr": (("JPEGImages", "SegmentationClassAug"), ("images", "annotations")),
}
_ATR = (
    *("Background", "Hat", "Hair", "Sunglasses", "UpperClothes", "Skirt", "Pants", "Dress", "Belt"),
    *("Left-shoe", "Right-shoe", "Face", "Left-leg", "Right-leg", "Left-arm", "Right-arm"),
    *("Bag", "Scarf"),
)
# What the published adapters make of these names in the 28 classes of Sapiens (published code):
# clothes and shoes that exist there, everything else not known.
_TO_SAPIENS = {
    "Background": "Background",
    "Hair": "Hair",
    "UpperClothes": "Upper_Clothing",
    "Coat": "Upper_Clothing",
    "Skirt": "Upper_Clothing",
    "Pants": "Lower_Clothing",
    "Face": "Face_Neck",
    "Left-shoe": "Left_Shoe",
    "Right-shoe": "Right_Shoe",
}


@cache
def atr18() -> Vocabulary:
    """Return the 18 classes of ATR."""
    return make("atr18", _ATR, kind="parts")


@dataclass(frozen=True, eq=False)
class InSapiens:
    """LIP, CIHP or ATR in the 28 or 29 classes of Sapiens, by name; the rest is not known."""

    source: Source
    target: Vocabulary

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        sample = self.source[index]
        people = tuple(self._translated(person) for person in sample.people)
        return replace(sample, people=people)

    def _translated(self, person: Person) -> Person:
        raster = person.raster("parts")
        assert raster.vocabulary is not None
        table = sapiens_table(raster.vocabulary, self.target)
        moved = Raster(law="label", values=table[raster.values], vocabulary=self.target)
        return person.having(parts=moved)

    def where(self, index: int) -> str:
        """Return the path of a picture."""
        return self.source.where(index)

    def picture(self, index: int) -> bytes | None:
        """Return the file of a picture."""
        return self.source.picture(index)

    def people(self) -> NDArray[np.int32]:
        """Return how many people each picture has."""
        return self.source.people()


def sapiens_table(source: Vocabulary, target: Vocabulary) -> NDArray[np.uint8]:
    """Return what each of 256 label values of LIP, CIHP or ATR becomes in ``target``."""
    ignore = 255 if target.ignore is None else target.ignore
    table = np.full(256, ignore, dtype=np.uint8)
    for value, name in enumerate(source.names):
        if name in _TO_SAPIENS:
            table[value] = target.index(_TO_SAPIENS[name])
    return table


def open_parts(
    root: str | Path,
    name: Name,
    *,
    target: Vocabulary | None = None,
    missing: Missing = "raise",
    split: Literal["train", "val"] = "train",
) -> Source:
    """Read a public parsing set where it was unpacked.

    Args:
        root: its folder.
        name: "lip", "cihp", "atr", or "face" (FaceSynthetics: ``000001.png`` beside
            ``000001_seg.png``).
        target: parts28 or parts29, to translate into; ``None`` keeps the set's own classes.
        missing: whether a picture without labels is an error or left out.
        split: which part, of those that have two; folders that say neither are taken as they are.

    Raises:
        InputError: if its folders are not there, or only those of the other part.
    """
    base = Path(root)
    settings = MapSettings(parts=_own(name))
    if name == "face":
        paired = _open_faces(base, settings, missing)
    else:
        images, labels = _find(base, name, split)
        folders = {"images": images, "parts": labels}
        paired = open_folder(base, settings, folders=folders, missing=missing)
    if target is None:
        return paired
    if name == "face" or target.name not in ("parts28", "parts29"):
        raise InputError(
            f"{name} to {target.name}: only lip, cihp and atr are translated, into parts28 or "
            "parts29"
        )
    return InSapiens(paired, target)


def _own(name: Name) -> Vocabulary:
    return atr18() if name == "atr" else load("face19" if name == "face" else "lip20")


def _find(base: Path, name: str, split: str) -> tuple[Path, Path]:
    other = "val" if split == "train" else "train"
    pairs = [pair for pair in _FOLDERS[name] if other not in pair[0].lower()]
    for images, labels in pairs:
        found = _descend(base, images), _descend(base, labels)
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    wanted = " or ".join(f"{images} with {labels}" for images, labels in pairs)
    raise InputError(f"{base}: not laid out as {name} ({split}): wanted {wanted}")


def _descend(base: Path, path: str) -> Path | None:
    place: Path | None = base
    for part in path.split("/"):
        place = None if place is None else nearest_folder(place, part)
    return place


def _open_faces(base: Path, settings: MapSettings, missing: Missing) -> Paired:
    maps = files_by_stem(base, SUFFIXES)
    pairs = [
        (entry, {"parts": maps.get(f"{stem}_seg", base / f"{stem}_seg.png")})
        for entry, stem in _stems(list_pictures(base))
        if not stem.endswith("_seg") and not stem.endswith("_ldmks")
    ]
    return Paired(pairs, settings, what=str(base), missing=missing)


def _stems(entries: list[Entry]) -> list[tuple[Entry, str]]:
    return [(entry, entry.name.rpartition(".")[0]) for entry in entries]

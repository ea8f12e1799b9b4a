# SPDX-License-Identifier: Apache-2.0
"""Maps predicted elsewhere, in folders.

They are held to the photographs: what does not fit (a photograph without one, a map of another
size, labels of another vocabulary, normals that look away) is refused, with what to do about it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vitruvian.data.sources.files import files_by_stem, listed
from vitruvian.data.sources.folder import ROLES
from vitruvian.data.sources.maps import (
    SUFFIXES,
    MapSettings,
    read_depth,
    read_labels,
    read_normals,
)
from vitruvian.errors import InputError
from vitruvian.evaluate.answers import Answer
from vitruvian.evaluate.cases import ByName, Cases, whole_raster
from vitruvian.formats import png
from vitruvian.formats.maps import CLASSES
from vitruvian.person import Raster, Sample
from vitruvian.vocabulary import Vocabulary


class MapFolder:
    """Maps of photographs from a folder: ``STEM.png``, ``STEM_TASK.png`` or ``TASK/STEM.png``.

    PNG, .npy, .npz and .exr are read, at the size of the photographs. Depth that does not say what
    it is counts as relative, larger = farther.
    """

    def __init__(
        self,
        folder: str | Path,
        cases: Cases,
        tasks: Sequence[str],
        settings: MapSettings,
        *,
        parts: Vocabulary | None = None,
    ) -> None:
        """Find the files.

        Args:
            folder: that holds them.
            cases: the photographs.
            tasks: which maps are wanted: parts, depth, normals.
            settings: what the files do not say.
            parts: what label maps are in that do not say so.

        Raises:
            InputError: if photographs have none, or more than one.
        """
        self.tasks = list(tasks)
        self._folder, self._cases = Path(folder), cases
        self._settings = replace(settings, depth_kind=settings.depth_kind or "relative")
        self._parts = parts
        if not self._folder.is_dir():
            raise InputError(f"{folder}: no such folder of predicted maps")
        self._files = {task: self._find(task) for task in self.tasks}

    def _find(self, task: str) -> dict[int, Path]:
        inner = [self._folder / name for name in ROLES[task] if (self._folder / name).is_dir()]
        finder = ByName(self._cases.names)
        found: dict[int, Path] = {}
        for stem, path in files_by_stem(inner[0] if inner else self._folder, SUFFIXES).items():
            name = stem
            if not inner and stem.endswith(f"_{task}"):
                name = stem.removesuffix(f"_{task}")
            elif not inner and any(stem.endswith(f"_{other}") for other in ROLES):
                continue
            place = finder.find(name)
            if place is not None:
                found[place] = path
        lost = [name for place, name in enumerate(self._cases.names) if place not in found]
        if lost:
            raise InputError(
                f"{self._folder}: no {task} for {listed(lost)} of {len(self._cases)} photographs: "
                f"wanted NAME.png (.npy, .npz, .exr) for each, or NAME_{task}.png, or a folder "
                f"{task}/ of them, called like the photographs"
            )
        return found

    def stream(self, places: Sequence[int], *, draw: bool = False) -> Iterator[Answer]:
        """Answer about photographs in order."""
        del draw
        for place in places:
            truth = self._cases.sample(place)
            rasters = {task: self._read(task, place, truth) for task in self.tasks}
            sample = Sample(image=truth.image, rasters=rasters, name=truth.name)
            yield Answer(place=place, truth=truth, sample=sample)

    def _read(self, task: str, place: int, truth: Sample) -> Raster:
        path, settings = self._files[task][place], self._settings
        if task == "depth":
            return read_depth(path, truth.size, settings, None)
        if task == "normals":
            raster = read_normals(path, truth.size, replace(settings, facing=False), None)
            _check_facing(path, raster, truth)
            return raster
        if settings.parts is None and not _says_what(path):
            settings = replace(settings, parts=self._parts)
        try:
            return read_labels(path, truth.size, settings)
        except InputError as error:
            raise InputError(
                f"{error} (--predicted-parts names the vocabulary of predictions)"
            ) from error


def _check_facing(path: Path, raster: Raster, truth: Sample) -> None:
    """Refuse normals that mostly look away from the viewer: their axes are others."""
    true = whole_raster(truth, "normals")
    where = raster.mask if true is None else raster.mask & true.mask
    if not where.any():
        return
    share = float(np.mean(raster.values[where][:, 2] < 0))
    if share < 0.5:
        raise InputError(
            f"{path}: only {share:.0%} of its normals on people face the viewer, as visible "
            "surfaces do: name their axes with --predicted-normals opengl, opencv, directx or dsine"
        )


def _says_what(path: Path) -> bool:
    """Return whether a label map, or classes.json beside it, names its vocabulary."""
    if (path.parent / CLASSES).is_file():
        return True
    return path.suffix.lower() == ".png" and "vocabulary" in png.read(path)[1]

# SPDX-License-Identifier: Apache-2.0
"""Tars in the layout of webdataset: the files of a sample stand together and share a key."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.data.codec import decode, picture_of, read_json_member
from vitruvian.data.options import Missing
from vitruvian.data.reader import PlacedFile
from vitruvian.data.sources.files import listed
from vitruvian.data.tars import iterate_tar
from vitruvian.errors import InputError
from vitruvian.person import Sample

_PICTURES = ("jpg", "jpeg", "png", "webp")
_Members = dict[str, tuple[int, int]]


class Tars:
    """Samples of tars by number. Their headers are read once; every read is then one ``pread``."""

    def __init__(self, paths: Sequence[str | Path], *, missing: Missing = "raise") -> None:
        """Index the tars.

        Args:
            paths: .tar files, taken in the order of their names.
            missing: whether a key without a picture is an error or left out.

        Raises:
            InputError: if a tar is cut or none, keys repeat, or there is no picture.
        """
        self.paths = sorted(Path(path) for path in paths)
        self._rows: list[tuple[int, str, _Members]] = []
        bare: list[str] = []
        for number, path in enumerate(self.paths):
            for key, members in _groups(path):
                if any(suffix.lower() in _PICTURES for suffix in members):
                    self._rows.append((number, key, members))
                else:
                    bare.append(f"{path}, {key}")
        if bare and missing == "raise":
            raise InputError(
                f"{listed(bare)} without a picture ({', '.join(_PICTURES)}): leave such samples "
                "out with missing='skip'"
            )
        if not self._rows:
            raise InputError(f"{listed(map(str, self.paths)) or 'no tars'}: no picture in there")
        self._files: dict[int, PlacedFile] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind: another process opens its own."""
        return self.__dict__ | {"_files": {}}

    def __len__(self) -> int:
        return len(self._rows)

    def _read(self, index: int, suffix: str) -> bytes:
        number, _, members = self._rows[index]
        file = self._files.get(number)
        if file is None:
            file = self._files[number] = PlacedFile(self.paths[number])
        offset, length = members[suffix]
        data = file.read(offset, length)
        if len(data) != length:
            raise InputError(f"{self.where(index)}: {suffix} is cut: fetch the tar again")
        return data

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            InputError: if it cannot be read, naming tar and key.
        """
        _, key, members = self._rows[index]
        data = {suffix: self._read(index, suffix) for suffix in members}
        try:
            return decode(data, name=key)
        except InputError as error:
            raise InputError(f"{self.where(index)}: {error}") from error

    def where(self, index: int) -> str:
        """Return tar and key."""
        number, key, _ = self._rows[index]
        return f"{self.paths[number]}, {key}"

    def picture(self, index: int) -> bytes | None:
        """Return the file of a picture."""
        members = self._rows[index][2]
        found = [suffix for suffix in members if suffix.lower() in _PICTURES]
        return picture_of({found[0]: self._read(index, found[0])})[1]

    def people(self) -> NDArray[np.int32]:
        """Return how many people each sample has: nobody, unless the tar was written by us."""
        counts = np.zeros(len(self), dtype=np.int32)
        for index, (_, _, members) in enumerate(self._rows):
            if "json" in members:
                content = read_json_member({"json": self._read(index, "json")})
                counts[index] = 0 if content is None else len(content["people"])
        return counts


def _groups(path: Path) -> list[tuple[str, _Members]]:
    """Return key → suffix → (offset, length) of the neighbouring members of a tar."""
    found: list[tuple[str, _Members]] = []
    seen: set[str] = set()
    for name, offset, length in iterate_tar(path):
        folder, base = os.path.split(name.removeprefix("./"))
        stem, _, suffix = base.partition(".")
        if not stem or not suffix:  # hidden files, and files without a suffix
            continue
        key = f"{folder}/{stem}" if folder else stem
        if not found or found[-1][0] != key:
            if key in seen:
                raise InputError(
                    f"{path}: the files of {key!r} do not stand together: sort the tar by name"
                )
            seen.add(key)
            found.append((key, {}))
        if suffix in found[-1][1]:
            raise InputError(f"{path}: {name!r} is there twice: sort the tar by name")
        found[-1][1][suffix] = (offset, length)
    return found

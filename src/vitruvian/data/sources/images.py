# SPDX-License-Identifier: Apache-2.0
"""Pictures without annotations, for pretraining."""

from pathlib import Path

from vitruvian.data.sources.files import Files, list_pictures
from vitruvian.errors import InputError


def open_images(folder: str | Path) -> Files:
    """Read every picture of a folder and the folders in it.

    Raises:
        InputError: if there is none.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder of pictures")
    return Files(list_pictures(folder), what=str(folder), exist=False)

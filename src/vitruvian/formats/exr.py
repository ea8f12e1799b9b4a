# SPDX-License-Identifier: Apache-2.0
"""OpenEXR files of float32 channels with text in the header (extra ``exr``)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError, missing_extra
from vitruvian.files import atomic


def _package() -> Any:
    try:
        import OpenEXR
    except ImportError as error:
        raise missing_extra("OpenEXR", "exr", "reading and writing .exr files") from error
    return OpenEXR


def write(
    path: str | Path, channels: Mapping[str, NDArray[np.float32]], text: Mapping[str, str]
) -> None:
    """Write (H, W) channels as float32 with lossless ZIP compression, atomically.

    Raises:
        MissingExtraError: if the package OpenEXR is not installed.
    """
    package = _package()
    header = {"compression": package.ZIP_COMPRESSION, "type": package.scanlineimage, **text}
    arrays = {
        name: np.ascontiguousarray(plane, dtype=np.float32) for name, plane in channels.items()
    }
    with atomic(path) as temporary, package.File(header, arrays) as file:
        file.write(str(temporary))


def read(path: str | Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Read the channels of the first part, and the texts of its header.

    Channel names lose the name of their layer: ``Normal.X`` is X.

    Raises:
        InputError: if the file is missing or no intact EXR file.
        MissingExtraError: if the package OpenEXR is not installed.
    """
    package = _package()
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with package.File(str(path), separate_channels=True) as file:
            texts = {key: value for key, value in file.header().items() if isinstance(value, str)}
            planes = {
                name.rpartition(".")[2]: np.array(channel.pixels, dtype=np.float32)
                for name, channel in file.channels().items()
            }
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: no intact EXR file ({error})") from error
    return planes, texts

# SPDX-License-Identifier: Apache-2.0
"""Small Parquet files, hundreds of thousands of them: how they are written and opened."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table; words as a dictionary, numbers plainly (they are read faster, and smaller)."""
    words = [field.name for field in table.schema if pa.types.is_string(field.type)]
    pq.write_table(table, path, compression="zstd", use_dictionary=words)  # pyright: ignore


def read_footer(path: Path) -> pq.FileMetaData:
    """Return what is at the end of a file: its note, its number of rows.

    Raises:
        OSError: if it is missing.
        pyarrow.ArrowException: if it is not whole.
    """
    # of an open file pyarrow does not look for a file system first, which takes as long again
    with pa.OSFile(str(path)) as file:
        return pq.read_metadata(file)


def read_some(path: Path, columns: Sequence[str], words: Sequence[str] = ()) -> pa.Table:
    """Return columns of a file.

    Args:
        path: the file.
        columns: which.
        words: those of them to return as dictionaries.
    """
    with pa.OSFile(str(path)) as file:
        opened = pq.ParquetFile(file, read_dictionary=list(words))
        return opened.read(columns=list(columns), use_threads=False)

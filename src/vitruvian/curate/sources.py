# SPDX-License-Identifier: Apache-2.0
"""Where pictures come from: folders, tars, what img2dataset downloaded, lists of paths.

A place is a list of pieces (a tar, or a stretch of files), so that a run can go on at a piece and
share pieces with others. Files are taken whole and unopened: what they are is for stages to say.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from vitruvian.curate.raw import Found
from vitruvian.errors import InputError

Kind = Literal["folder", "tars", "img2dataset", "paths"]
_STRETCH = 4096  # files of a folder or list that make one piece
_PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
    ".jp2", ".ppm", ".pgm", ".heic", ".heif",
)  # fmt: skip
_COLUMNS = {
    "path": ("path", "image_path", "file", "filename", "file_path"),
    "source": ("url", "source", "source_url"),
    "licence": ("licence", "license"),
}


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a place.

    Attributes:
        kind: how it is read.
        paths: files of a stretch; of a tar the tar and, if there is one, its parquet.
        rows: what a list says of each file: (source, licence).
    """

    kind: Kind
    paths: tuple[Path, ...]
    rows: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where pictures come from.

    Attributes:
        kind: what it was understood as.
        pieces: its parts, in order.
        digest: of the names and sizes of all of them, to tell it from another.
    """

    kind: Kind
    pieces: tuple[Piece, ...]
    digest: str


def open_place(path: Path) -> Place:
    """Look at a folder, tar or parquet of paths.

    Raises:
        InputError: if there is nothing of the kind in it.
    """
    if path.is_dir():
        tars = sorted(path.rglob("*.tar"))
        if tars:
            return _tars(tars)
        files = sorted(p for p in path.rglob("*") if _is_picture(p))
        if not files:
            raise InputError(
                f"{path}: no picture ({', '.join(_PICTURES[:6])} …) and no .tar in it: give the "
                "folder they are in"
            )
        return _stretches("folder", files, [(p.relative_to(path).as_posix(), "") for p in files])
    if path.suffix == ".tar" and path.is_file():
        return _tars([path])
    if path.suffix == ".parquet" and path.is_file():
        return _list(path)
    raise InputError(
        f"{path}: wanted a folder of pictures, tars, what img2dataset downloaded (tar and parquet),"
        " or a .parquet with a column 'path'"
    )


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _PICTURES and not path.name.startswith(".") and path.is_file()


def _tars(tars: Sequence[Path]) -> Place:
    lists = [tar.with_suffix(".parquet") for tar in tars]
    kind: Kind = "img2dataset" if any(one.is_file() for one in lists) else "tars"
    pieces = tuple(
        Piece(kind=kind, paths=(tar, beside) if beside.is_file() else (tar,))
        for tar, beside in zip(tars, lists, strict=True)
    )
    return Place(kind=kind, pieces=pieces, digest=_digest(tars))


def _stretches(kind: Kind, files: Sequence[Path], rows: Sequence[tuple[str, str]]) -> Place:
    pieces = tuple(
        Piece(
            kind=kind,
            paths=tuple(files[start : start + _STRETCH]),
            rows=tuple(rows[start : start + _STRETCH]),
        )
        for start in range(0, len(files), _STRETCH)
    )
    return Place(kind=kind, pieces=pieces, digest=_digest(files))


def _digest(paths: Sequence[Path]) -> str:
    content = hashlib.sha256()
    for path in paths:
        size = path.stat().st_size if path.is_file() else -1
        content.update(f"{path.name} {size}\n".encode())
    return content.hexdigest()[:16]


def _list(path: Path) -> Place:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: no intact parquet ({error}): fetch it again") from error
    column = next((name for name in _COLUMNS["path"] if name in table.column_names), None)
    if column is None:
        raise InputError(
            f"{path}: no column of paths ({', '.join(_COLUMNS['path'])}) among "
            f"{', '.join(table.column_names)}: rename one to 'path'"
        )
    files = [path.parent / str(name) for name in table[column].to_pylist()]
    sources, licences = _column(table, "source"), _column(table, "licence")
    rows = [(s or str(f), c) for f, s, c in zip(files, sources, licences, strict=True)]
    if not files:
        raise InputError(f"{path}: it lists no file")
    return _stretches("paths", files, rows)


def _column(table: pa.Table, what: str) -> list[str]:
    name = next((name for name in _COLUMNS[what] if name in table.column_names), None)
    if name is None:
        return [""] * len(table)
    return ["" if value is None else str(value) for value in table[name].to_pylist()]


# ------------------------------------------------------------------------------------ reading


def read_piece(piece: Piece) -> Iterator[Found]:
    """Yield the files of a piece, in order; a file that cannot be read is one with a fault."""
    if piece.kind in ("folder", "paths"):
        for path, (source, licence) in zip(piece.paths, piece.rows, strict=True):
            try:
                yield Found(data=path.read_bytes(), source=source, licence=licence)
            except OSError as error:
                reason = error.strerror or type(error).__name__
                yield Found(data=b"", source=f"{source} ({reason})", fault="missing")
    else:
        yield from _read_tar(piece)


def _read_tar(piece: Piece) -> Iterator[Found]:
    """Yield the pictures of a tar as far as it is whole; its cut end is a file with a fault."""
    tar = piece.paths[0]
    said = _said(piece.paths[1]) if len(piece.paths) > 1 else {}
    size, member = tar.stat().st_size, ""
    with tar.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as opened:
                for info in opened:
                    member = info.name
                    if not info.isfile() or Path(member).suffix.lower() not in _PICTURES:
                        continue
                    if info.offset_data + info.size > size:
                        raise tarfile.ReadError("a member is cut")
                    inside = opened.extractfile(info)
                    assert inside is not None
                    source, licence = said.get(Path(member).stem, (f"{tar.name}/{member}", ""))
                    yield Found(data=inside.read(), source=source, licence=licence)
                # an archive ends with a block of zeros; without one it was cut between members
                if not _ends(file, opened.offset, size):
                    raise tarfile.ReadError("its end is missing")
        except (tarfile.TarError, EOFError, OSError) as error:
            where = f"{tar.name} after {member or 'its start'} ({error})"
            yield Found(data=b"", source=where, fault="tar_tail")


def _ends(file: Any, offset: int, size: int) -> bool:
    file.seek(max(0, min(offset, size) - 512))
    return b"\0" * 512 in file.read(2048)


def _said(path: Path) -> dict[str, tuple[str, str]]:
    """Return key → (address, licence) of what img2dataset says in the parquet beside a tar."""
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: no intact parquet ({error}): fetch it again") from error
    if "key" not in table.column_names:
        return {}
    rows = zip(
        table["key"].to_pylist(), _column(table, "source"), _column(table, "licence"), strict=True
    )
    return {str(key): (source, licence) for key, source, licence in rows}


def download_failures(place: Place) -> dict[str, int]:
    """Return how many addresses img2dataset could not download, by its own status."""
    counts: dict[str, int] = {}
    for piece in place.pieces:
        if len(piece.paths) > 1 and piece.kind == "img2dataset":
            table = pq.read_table(piece.paths[1])
            if "status" in table.column_names:
                for status in table["status"].to_pylist():
                    if status != "success":
                        counts[str(status)] = counts.get(str(status), 0) + 1
    return counts

# SPDX-License-Identifier: Apache-2.0
"""Large JSON files entry by entry: what is in memory is one entry, and where the others lie.

Files of annotations and results are lists of small objects, either the whole file or the value of a
key at its top (``annotations``). Read at once, an object of 308 points takes some 50 kB; where it
lies in the file takes 16 bytes.
"""

import json
import re
from array import array
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from vitruvian.errors import InputError

_PIECE = 1 << 20  # bytes that are read at once
_SPACE = re.compile(r"[ \t\r\n]*")
_BOM = "\xef\xbb\xbf"
_DECODER = json.JSONDecoder()


class Entry(NamedTuple):
    """One value of a file.

    Attributes:
        key: it stands under, at the top; "" if the file is a list.
        value: the entry.
        start: where it lies in the file, in bytes.
        size: how long it is, in bytes.
        listed: whether it is one of a list, and not all that stands under the key.
    """

    key: str
    value: Any
    start: int
    size: int
    listed: bool


def entries(path: str | Path, lists: Collection[str] = ()) -> Iterator[Entry]:
    """Yield what stands at the top of a JSON file, in order.

    Args:
        path: of the file.
        lists: keys whose lists are yielded entry by entry; others are read whole. A file that is
            itself a list is always yielded so; any other that is no object is one entry.

    Raises:
        InputError: if the file is missing or is not JSON, naming the file and the place.
    """
    try:
        with Path(path).open("rb") as file:
            yield from _Reader(file).top(lists)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # broken JSON and broken UTF-8
        raise InputError(f"{path}: not a JSON file ({error})") from error


class Places:
    """Which entries of a file belong to which of many things, read again when they are wanted."""

    def __init__(self, path: str | Path) -> None:
        """Name the file; it is opened when entries are wanted."""
        self._path = Path(path)
        self._new = (array("q"), array("q"), array("q"))
        self._places = np.zeros((3, 0), np.int64)  # owner, start and size of entries, by owner

    def add(self, owner: int, entry: Entry) -> None:
        """Note where an entry of ``owner`` lies."""
        for column, value in zip(self._new, (owner, entry.start, entry.size), strict=True):
            column.append(value)

    def owners(self) -> np.ndarray:
        """(N,) who has entries, rising, each once."""
        return np.unique(self._settled()[0])

    def read(self, owner: int) -> list[Any]:
        """Return the entries of ``owner`` in the order of the file.

        Raises:
            InputError: if the file has changed, or is gone.
        """
        places = self._settled()
        first, last = np.searchsorted(places[0], (owner, owner + 1))
        found: list[Any] = []
        try:
            with self._path.open("rb") as file:
                for start, size in places[1:, first:last].T.tolist():
                    file.seek(start)
                    found.append(json.loads(file.read(size)))
        except (OSError, ValueError) as error:
            raise InputError(f"{self._path}: changed while it was read ({error})") from error
        return found

    def _settled(self) -> np.ndarray:
        if self._new[0]:
            new = np.array(self._new)
            found = np.concatenate([self._places, new], axis=1)
            self._places = found[:, np.argsort(found[0], kind="stable")]
            self._new = (array("q"), array("q"), array("q"))
        return self._places


class _Reader:
    """A window onto a file, as Latin-1 text: a character is a byte, and JSON's signs are ASCII."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._text, self._at, self._before = file, "", 0, 0
        self._ended = False

    def top(self, lists: Collection[str]) -> Iterator[Entry]:
        while len(self._text) < len(_BOM) and not self._ended:
            self._more()
        if self._text.startswith(_BOM):
            self._at = len(_BOM)
        sign = self._sign()
        if sign == "[":
            yield from self._list("")
        elif sign == "{":
            yield from self._object(lists)
        else:
            yield self._entry("", listed=False)
        if self._sign():
            raise self._wrong("the end of the file")

    def _object(self, lists: Collection[str]) -> Iterator[Entry]:
        self._at += 1
        while self._sign() == '"':
            key = self._entry("", listed=False).value
            self._take(":")
            if key in lists and self._sign() == "[":
                yield from self._list(key)
            else:
                yield self._entry(key, listed=False)
            if self._sign() != ",":
                break
            self._at += 1
        self._take("}")

    def _list(self, key: str) -> Iterator[Entry]:
        self._at += 1
        while self._sign() != "]":
            yield self._entry(key, listed=True)
            if self._sign() != ",":
                break
            self._at += 1
            if self._sign() == "]":
                raise self._wrong("a value")
        self._take("]")

    def _entry(self, key: str, *, listed: bool) -> Entry:
        self._sign()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end < len(self._text) or self._ended:  # else a number may go on
                    break
            except ValueError:
                if self._ended:
                    raise self._wrong("a value") from None
            self._more()
        start, size = self._before + self._at, end - self._at
        text = self._text[self._at : end]
        if not text.isascii():
            value = json.loads(text.encode("latin-1"))
        self._at = end
        return Entry(key, value, start, size, listed)

    def _sign(self) -> str:
        """Return the next character that is no space; "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = self._at if found is None else found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more()

    def _take(self, sign: str) -> None:
        if self._sign() != sign:
            raise self._wrong(repr(sign))
        self._at += 1

    def _more(self) -> None:
        # What is left doubles at least, so that a long entry is not tried over and over.
        left = self._text[self._at :]
        piece = self._file.read(max(_PIECE, len(left)))
        self._ended = not piece
        self._before += self._at
        self._text, self._at = left + piece.decode("latin-1"), 0

    def _wrong(self, wanted: str) -> ValueError:
        seen = self._text[self._at : self._at + 20] or "the end"
        return ValueError(f"{seen!r} at byte {self._before + self._at}, wanted {wanted}")

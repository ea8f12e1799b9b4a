# SPDX-License-Identifier: Apache-2.0
"""Errors a user can meet, each saying what was given, what was wanted, and the remedy.

    VitruvianError
    ├── InputError            a value, file or combination that cannot work (also ValueError)
    │   ├── UnknownNameError  a name not in a known list (also KeyError); suggests close ones
    │   ├── ImageError        a picture that cannot be read
    │   └── WeightsError      a weights file that is not what was asked for
    ├── MissingExtraError     an optional dependency is not installed (also ImportError)
    └── LicenceError          a download whose licence was not accepted

The command line turns every ``VitruvianError`` into one line and exit code 2.
"""

import difflib
from collections.abc import Iterable


class VitruvianError(Exception):
    """Base of every error this package raises on purpose."""

    def __str__(self) -> str:
        """Return the message itself (``KeyError`` would quote it)."""
        return str(self.args[0]) if self.args else ""


class InputError(VitruvianError, ValueError):
    """A value, file or combination given by the caller cannot work; the text says what would."""


class UnknownNameError(InputError, KeyError):
    """A name that is not in a known list; the text lists close matches."""


class ImageError(InputError):
    """A picture that cannot be read: empty, truncated, too large, or not a picture."""


class WeightsError(InputError):
    """A weights file that is damaged, incomplete, or for something else than was asked."""


class MissingExtraError(VitruvianError, ImportError):
    """An optional dependency is needed; the text holds the install command."""


class LicenceError(VitruvianError):
    """A download whose licence was not accepted."""


def unknown_name(kind: str, given: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for a ``given`` name that is no ``kind``, with close matches or the list."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=3, cutoff=0.5)
    if close:
        hint = "did you mean " + " or ".join(close) + "?"
    elif len(names) <= 24:
        hint = "choose one of " + ", ".join(names)
    else:
        hint = f"there are {len(names)}, from {names[0]} to {names[-1]}"
    return UnknownNameError(f"unknown {kind} {given!r}: {hint}")


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtraError:
    """Build the error for an optional ``package`` that ``purpose`` needs."""
    return MissingExtraError(
        f"{purpose} needs the package {package!r}: install it with  "
        f"pip install 'vitruvian[{extra}]'"
    )

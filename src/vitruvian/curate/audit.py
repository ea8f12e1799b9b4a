# SPDX-License-Identifier: Apache-2.0
"""What a person said about verdicts: precision of each rule with its uncertainty, and labels."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from vitruvian.errors import InputError
from vitruvian.files import read_json

FORMAT = "vitruvian audit 1"
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One judgement.

    Attributes:
        uid: of the picture.
        rule: whose verdict was judged.
        verdict: "kept" or "dropped".
        right: what the person said.
    """

    uid: bytes
    rule: str
    verdict: str
    right: bool


def read_marks(path: Path) -> list[Mark]:
    """Read what a marked page saved.

    Raises:
        InputError: if it is something else, or nothing is marked.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: no marks: wanted the file a page of  report --audit  saved")
    try:
        marks = [
            Mark(
                uid=bytes.fromhex(one["uid"]), rule=one["rule"], verdict=one["verdict"],
                right=bool(one["right"]),
            )
            for one in content["marks"]
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: damaged marks ({error}): save the page again") from error
    if not marks:
        raise InputError(f"{path}: nothing is marked: mark some pictures and save again")
    return marks


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927)."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = right / total, _Z * _Z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * np.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def precision_text(marks: Sequence[Mark]) -> str:
    """Return, per rule and verdict, how often it was right, as a table for a terminal."""
    lines = [f"{'rule':<12} {'verdict':<8} {'right':>11}  share  95 % interval"]
    groups = sorted({(mark.rule, mark.verdict) for mark in marks})
    for rule, verdict in groups:
        judged = [mark.right for mark in marks if (mark.rule, mark.verdict) == (rule, verdict)]
        right, total = sum(judged), len(judged)
        low, high = wilson(right, total)
        counts = f"{right} of {total}"
        lines.append(
            f"{rule:<12} {verdict:<8} {counts:>11}  {right / total:5.2f}  {low:.2f} … {high:.2f}"
        )
    return "\n".join(lines) + "\n"


def read_labels(path: Path, rule: str = "") -> dict[bytes, bool]:
    """Return uid → whether a picture is what a probe shall find.

    Of a marked page: what the rule drops is what is to be found, so pictures rightly dropped or
    wrongly kept are.

    Args:
        path: a marked page's .json, or .csv or .parquet with columns uid (hexadecimal) and label.
        rule: of a marked page.

    Raises:
        InputError: if it cannot be read as one of these.
    """
    if path.suffix == ".json":
        marks = read_marks(path)
        rules = sorted({mark.rule for mark in marks})
        if rule not in rules:
            raise InputError(f"{path}: no marks of the rule {rule!r}: --rule one of {rules}")
        return {m.uid: m.right == (m.verdict == "dropped") for m in marks if m.rule == rule}
    if rule:
        raise InputError("--rule has an effect on a marked page only: leave it out")
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows: list[dict[str, Any]] = list(csv.DictReader(file))
        else:
            rows = pq.read_table(path, columns=["uid", "label"]).to_pylist()
        return {_uid(row["uid"]): _truth(row["label"]) for row in rows}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: wanted a .csv or .parquet with columns uid (32 hexadecimal digits) and label "
            f"(0 or 1): {error}"
        ) from error


def _uid(value: Any) -> bytes:
    found = value if isinstance(value, bytes) else bytes.fromhex(str(value))
    if len(found) != 16:
        raise ValueError(f"a uid of {len(found)} bytes")
    return found


def _truth(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true", "yes"):
        return True
    if text in ("0", "0.0", "false", "no"):
        return False
    raise ValueError(f"a label {value!r}")

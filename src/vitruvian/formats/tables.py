# SPDX-License-Identifier: Apache-2.0
"""Tables of results as CSV or Parquet, by the suffix of the file.

``write_points``: one row per keypoint, with names, for spreadsheets and statistics.
``write_people``: one row per person, with the files that hold their maps: the index of a run.
Boxes are x0, y0, x1, y1; pixel (0, 0) is the centre of the first pixel.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from vitruvian.errors import InputError
from vitruvian.files import atomic
from vitruvian.formats.record import (
    CONVENTION,
    Record,
    describe_vocabulary,
    layout,
    make_points,
    rebuild_vocabulary,
)
from vitruvian.person import Person
from vitruvian.vocabulary import Vocabulary, available, load

_PERSON = [
    ("image", pa.string()),
    ("height", pa.int32()),
    ("width", pa.int32()),
    ("person", pa.int32()),
    ("identity", pa.int64()),
    ("box_x0", pa.float64()),
    ("box_y0", pa.float64()),
    ("box_x1", pa.float64()),
    ("box_y1", pa.float64()),
    ("box_score", pa.float64()),
]
_POINT = [
    ("task", pa.string()),
    ("vocabulary", pa.string()),
    ("vocabulary_version", pa.string()),
    ("row", pa.int32()),
    ("keypoint", pa.string()),
    ("x", pa.float32()),
    ("y", pa.float32()),
    ("score", pa.float32()),
    ("visibility", pa.uint8()),
    ("x_metres", pa.float32()),
    ("y_metres", pa.float32()),
    ("z_metres", pa.float32()),
]
POINT_COLUMNS = pa.schema(_PERSON + _POINT)
"""Columns of `write_points`: (x, y) and metres are empty where a point has no place."""


def write_points(path: str | Path, records: Iterable[Record]) -> None:
    """Write one row per keypoint of every person and task.

    Pictures without people have no row; people without points have one with empty keypoint columns.

    Args:
        path: ends in .csv or .parquet; Parquet also keeps the vocabularies (links, mirror).
        records: the photographs.
    """
    columns: dict[str, list[Any]] = {name: [] for name in POINT_COLUMNS.names}
    vocabularies: dict[str, Vocabulary] = {}
    for record in records:
        for number, person in enumerate(record.people):
            shared = _person_row(record, number, person)
            tasks = [task for task, value in person.annotations.items() if value.law == "points"]
            for task in tasks:
                points = person.points(task)
                words = points.vocabulary
                vocabularies[words.name] = words
                count = len(words)
                repeated = shared | {
                    "task": task, "vocabulary": words.name, "vocabulary_version": words.version,
                }  # fmt: skip
                for name, value in repeated.items():
                    columns[name] += [value] * count
                columns["row"] += range(count)
                columns["keypoint"] += words.names
                for name, axis in (("x", 0), ("y", 1)):
                    columns[name] += _blanks(points.xy[:, axis])
                columns["score"] += points.scores.tolist()
                flags = points.visibility
                columns["visibility"] += [None] * count if flags is None else flags.tolist()
                for axis, name in enumerate(("x_metres", "y_metres", "z_metres")):
                    xyz = points.xyz
                    columns[name] += [None] * count if xyz is None else _blanks(xyz[:, axis])
            if not tasks:
                for name, values in columns.items():
                    values.append(shared.get(name))
    described = {
        name: describe_vocabulary(words)
        | {"names": words.names, "links": [[link.a, link.b] for link in words.links]}
        for name, words in vocabularies.items()
    }
    table = pa.table(columns, schema=POINT_COLUMNS)
    _write(path, table, {"vocabularies": json.dumps(described)})


def read_points(
    path: str | Path, *, vocabularies: Mapping[str, Vocabulary] | None = None
) -> list[Record]:
    """Read what `write_points` wrote.

    Args:
        path: the .csv or .parquet file.
        vocabularies: by name, for those that neither ship nor are in the file (CSV keeps none).

    Raises:
        InputError: if the file is missing, has other columns, or names an unknown vocabulary.
    """
    table, metadata = _read(path, POINT_COLUMNS)
    with layout(path, "a table of keypoints"):
        known = dict(vocabularies or {})
        for name, content in json.loads(metadata.get("vocabularies", "{}")).items():
            links = [(int(a), int(b)) for a, b in content["links"]]
            known.setdefault(name, rebuild_vocabulary(content, list(content["names"]), links))
        columns: dict[str, list[Any]] = table.to_pydict()
        people: dict[tuple[str, int], list[tuple[int, int]]] = {}
        start = 0
        keys = list(
            zip(columns["image"], columns["person"], columns["task"], columns["row"], strict=True)
        )
        for at in range(1, len(keys) + 1):
            last = at == len(keys) or keys[at][:3] != keys[start][:3]
            if last:
                people.setdefault(keys[start][:2], []).append((start, at))
                start = at
        records: dict[str, list[Person]] = {}
        sizes: dict[str, Any] = {}
        for (image, _), spans in people.items():
            first = spans[0][0]
            annotations = {
                columns["task"][a]: _span_points(path, columns, a, b, known)
                for a, b in spans
                if columns["task"][a]
            }
            person = Person(
                box=np.array([columns[f"box_{name}"][first] for name in ("x0", "y0", "x1", "y1")]),
                score=columns["box_score"][first],
                identity=columns["identity"][first],
                annotations=annotations,
            )
            records.setdefault(image, []).append(person)
            height, width = columns["height"][first], columns["width"][first]
            sizes[image] = None if height is None or width is None else (height, width)
        return [
            Record(name=image, size=sizes[image], people=tuple(found))
            for image, found in records.items()
        ]


def _span_points(
    path: str | Path,
    columns: Mapping[str, list[Any]],
    a: int,
    b: int,
    known: Mapping[str, Vocabulary],
) -> Any:
    name = columns["vocabulary"][a]
    if name not in known and name not in available():
        raise InputError(f"{path} has points of {name!r}, which does not ship: give vocabularies=")
    words = known.get(name) or load(name)
    if columns["keypoint"][a:b] != list(words.names):
        raise InputError(f"{path}: the rows of {name!r} are not its points, in order")

    def column(*names: str) -> Any:
        return np.array([columns[n][a:b] for n in names], dtype=np.float64).T

    flags = columns["visibility"][a:b]
    depth = columns["z_metres"][a:b]
    return make_points(
        words,
        column("x", "y"),
        column("score")[:, 0],
        None if None in flags else np.array(flags),
        None if all(value is None for value in depth) else column(*_METRES),
    )


_METRES = ("x_metres", "y_metres", "z_metres")


def write_people(
    path: str | Path,
    records: Iterable[Record],
    files: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write the index of a run: one row per person, or one with empty columns for a picture alone.

    Args:
        path: ends in .csv or .parquet.
        records: the photographs.
        files: picture name → what ("depth-png", "sheet", …) → file; one column each.
    """
    kinds = sorted({kind for entry in (files or {}).values() for kind in entry})
    fields = [*_PERSON, ("people", pa.int32()), *((kind, pa.string()) for kind in kinds)]
    rows: list[dict[str, Any]] = []
    for record in records:
        own = dict((files or {}).get(record.name, {}))
        height, width = record.size or (None, None)
        alone = {"image": record.name, "height": height, "width": width, "person": None}
        found = [_person_row(record, i, person) for i, person in enumerate(record.people)]
        rows += [row | own | {"people": len(found)} for row in found or [alone]]
    columns = {name: [row.get(name) for row in rows] for name, _ in fields}
    _write(path, pa.table(columns, schema=pa.schema(fields)), {})


def read_people(path: str | Path) -> tuple[list[Record], dict[str, dict[str, str]]]:
    """Read what `write_people` wrote: the records (boxes only) and the files of each picture."""
    table, _ = _read(path, pa.schema([*_PERSON, ("people", pa.int32())]))
    with layout(path, "an index of people"):
        rows: list[dict[str, Any]] = table.to_pylist()
        kinds = [name for name in table.column_names if name not in dict(_PERSON) | {"people": 0}]
        people: dict[str, list[Person]] = {}
        sizes: dict[str, Any] = {}
        files: dict[str, dict[str, str]] = {}
        for row in rows:
            found = people.setdefault(row["image"], [])
            known = row["height"] is not None and row["width"] is not None
            sizes[row["image"]] = (row["height"], row["width"]) if known else None
            files[row["image"]] = {kind: row[kind] for kind in kinds if row[kind]}
            if row["person"] is not None:
                box = np.array([row[f"box_{name}"] for name in ("x0", "y0", "x1", "y1")])
                score, identity = row["box_score"], row["identity"]
                found.append(Person(box=box, score=score, identity=identity))
        records = [
            Record(name=name, size=sizes[name], people=tuple(found))
            for name, found in people.items()
        ]
        return records, files


def _person_row(record: Record, number: int, person: Person) -> dict[str, Any]:
    height, width = record.size or (None, None)
    x0, y0, x1, y1 = person.box.tolist()
    values = (record.name, height, width, number, person.identity, x0, y0, x1, y1, person.score)
    return dict(zip((name for name, _ in _PERSON), values, strict=True))


def _blanks(values: Any) -> list[float | None]:
    """Return floats with ``None`` for NaN: an empty cell in every tool."""
    return [None if value != value else value for value in values.tolist()]


def _write(path: str | Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"{path}: a table ends in .csv or .parquet")
    with atomic(path) as temporary:
        if suffix == ".csv":
            pyarrow.csv.write_csv(table, temporary)
        else:
            content = {"coordinates": CONVENTION, "software": "vitruvian", **metadata}
            table = table.replace_schema_metadata(content)
            pyarrow.parquet.write_table(table, temporary, compression="zstd")


def _read(path: str | Path, schema: pa.Schema) -> tuple[pa.Table, dict[str, str]]:
    """Return a table with at least the columns of ``schema``, in its types, and its metadata."""
    try:
        if Path(path).suffix.lower() == ".csv":
            options = pyarrow.csv.ConvertOptions(
                column_types=schema, strings_can_be_null=True, quoted_strings_can_be_null=False
            )
            table = pyarrow.csv.read_csv(path, convert_options=options)
        else:
            table = pyarrow.parquet.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: no intact table ({error})") from error
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise InputError(f"{path} has no column {', '.join(missing)}: wanted a table of Vitruvian")
    metadata = table.schema.metadata or {}
    return table, {key.decode(): value.decode() for key, value in metadata.items()}

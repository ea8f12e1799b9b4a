# SPDX-License-Identifier: Apache-2.0
"""Pictures of what was found: overlays of one task, sheets of all tasks side by side.

Drawings are for looking: colours, widths and limits may change between versions, and nothing reads
them back. Data is written by `vitruvian.formats`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vitruvian.drawing import legend, painters
from vitruvian.drawing.legend import INK, PALE, PAPER
from vitruvian.drawing.painters import SURE, Canvas
from vitruvian.errors import InputError, UnknownNameError, unknown_name
from vitruvian.geometry import Crop
from vitruvian.image import Source, read, resize, write
from vitruvian.person import Annotation, Person, Points, Raster, Sample, composite

__all__ = ["INK", "PALE", "PAPER", "SURE", "draw", "grid", "overlay", "sheet", "write_drawing"]

_ORDER = ("points", "label", "scalar", "vector", "colour", "position")
_TILE = 900  # long side of a sheet's pictures
_NARROW = 260  # least width of a sheet's cells, for their captions


def draw(
    photo: Source | Sample,
    people: Sequence[Person] = (),
    task: str | None = None,
    *,
    sure: float = SURE,
) -> Image.Image:
    """Draw people on a photograph, as a Pillow picture: ``draw("a.jpg", people).save("b.png")``.

    Args:
        photo: a path, bytes, array or Pillow picture, or a sample with its people.
        people: who to draw (unless ``photo`` is a sample).
        task: draw this one over the photograph. Otherwise a single task is drawn over it, several
            stand side by side, and without any there are boxes.
        sure: points scoring less are faint and hollow, those below a third of it not drawn.

    Raises:
        UnknownNameError: if there are people and nobody has the task. Without any people the
            photograph stays as it is, whatever the task.
    """
    sample = _sample(photo, people)
    names = _tasks(sample)
    if task is None and len(names) > 1:
        return Image.fromarray(sheet(sample, sure=sure))
    return Image.fromarray(overlay(sample, task=task, sure=sure))


def overlay(
    photo: Source | Sample,
    people: Sequence[Person] = (),
    task: str | None = None,
    *,
    sure: float = SURE,
    boxes: bool = True,
    key: bool = True,
) -> Canvas:
    """Draw one task over a photograph at its own resolution.

    Args:
        photo: as in `draw`.
        people: as in `draw`.
        task: which; may be left out if there is only one (or none: then boxes alone).
        sure: as in `draw`.
        boxes: with points, also draw everyone's box, identity and score.
        key: add a strip below that explains the colours.

    Returns:
        RGB uint8; higher than the photograph by the strip.

    Raises:
        UnknownNameError: as in `draw`.
        InputError: if there are several tasks and none is chosen.
    """
    sample = _sample(photo, people)
    task = _chosen(sample, task)
    picture = _painted(sample, task, sure, boxes)
    if not key or task is None:
        return picture
    size = legend.text_height(sample.size)
    strip = _key(sample, task, max(picture.shape[1] - 2 * size, 1), size, sure)
    return _stacked([picture, _indented(strip, picture.shape[1], size)])


def sheet(
    photo: Source | Sample,
    people: Sequence[Person] = (),
    *,
    tasks: Sequence[str] | None = None,
    sure: float = SURE,
) -> Canvas:
    """Show the photograph and every task side by side, each with a title and a legend.

    Args:
        photo: as in `draw`.
        people: as in `draw`.
        tasks: which, in this order; all of them if not given.
        sure: as in `draw`.

    Returns:
        RGB uint8; each picture is about 900 pixels wide or high, whatever the photograph is.
    """
    sample = _scaled(_sample(photo, people), _TILE)
    size = 24
    count = len(sample.people)
    note = f"{count} {'person' if count == 1 else 'people'}"
    cells: list[tuple[str, str, Canvas, Canvas | None]] = []
    cells.append(("photograph", note, sample.image, None))
    names = _tasks(sample) if tasks is None else [_chosen(sample, task) for task in tasks]
    for task in names:
        if task is not None:
            picture = _painted(sample, task, sure, boxes=True)
            strip = _key(sample, task, max(picture.shape[1], _NARROW), round(size * 0.8), sure)
            cells.append((task, _note(_first(sample, task)), picture, strip))
    if len(cells) == 1 and count:
        cells.append(("boxes", "", _painted(sample, None, sure, boxes=True), None))
    titled = []
    for title, aside, picture, strip in cells:
        width = max(picture.shape[1], _NARROW)
        head = legend.caption(width, title, size, aside)
        titled.append(_stacked([head, picture] if strip is None else [head, picture, strip]))
    return _laid_out(titled, size)


def grid(pictures: Sequence[tuple[str, Canvas]], *, columns: int | None = None) -> Canvas:
    """Lay out titled pictures of any sizes in a grid.

    Args:
        pictures: title and RGB uint8 picture each.
        columns: how many; chosen for a landscape page if not given.
    """
    if not pictures:
        raise InputError("a grid needs at least one picture")
    size = legend.text_height(pictures[0][1].shape[:2])
    titled = [
        _stacked([legend.caption(max(picture.shape[1], 1), title, size), picture])
        for title, picture in pictures
    ]
    return _laid_out(titled, size, columns)


def write_drawing(name: str, sample: Sample, stem: str | Path, *, sure: float = SURE) -> list[Path]:
    """Write the drawings of one photograph as JPEG.

    Args:
        name: "overlay" (one file per task, ``out/a_pose.jpg``) or "sheet" (``out/a_sheet.jpg``).
        sample: the photograph with its people.
        stem: path of the files without suffix, such as ``out/a``.
        sure: as in `draw`.

    Returns:
        The files written; at least one, also for nobody.
    """
    base = Path(stem)
    if name == "sheet":
        drawings = {"sheet": sheet(sample, sure=sure)}
    elif name == "overlay":
        names = _tasks(sample)
        drawings = {task: overlay(sample, task=task, sure=sure) for task in names}
        drawings = drawings or {"boxes": overlay(sample, sure=sure)}
    else:
        raise unknown_name("drawing", name, ("overlay", "sheet"))
    written: list[Path] = []
    for task, picture in drawings.items():
        path = base.with_name(f"{base.name}_{task}.jpg")
        write(path, picture, quality=92)
        written.append(path)
    return written


# ------------------------------------------------------------------------------------- what to draw


def _sample(photo: Source | Sample, people: Sequence[Person]) -> Sample:
    if isinstance(photo, Sample):
        if people:
            raise InputError("a sample brings its people along: give one or the other")
        return photo
    return Sample(image=read(photo), people=tuple(people))


def _all(sample: Sample, task: str) -> list[Annotation]:
    found: list[Annotation] = [sample.rasters[task]] if task in sample.rasters else []
    found += [p.annotations[task] for p in sample.people if task in p.annotations]
    return found


def _first(sample: Sample, task: str) -> Annotation:
    return _all(sample, task)[0]


def _tasks(sample: Sample) -> list[str]:
    """Names of all annotations: points first, then maps by law."""
    names = dict.fromkeys(
        [*(task for person in sample.people for task in person.annotations), *sample.rasters]
    )
    return sorted(names, key=lambda task: _ORDER.index(_first(sample, task).law))


def _chosen(sample: Sample, task: str | None) -> str | None:
    names = _tasks(sample)
    if task is None:
        if len(names) > 1:
            raise InputError(f"an overlay shows one task: give task= one of {', '.join(names)}")
        return names[0] if names else None
    if names and task not in names:
        raise unknown_name("task of these people", task, names)
    if sample.people and not names:
        raise UnknownNameError(
            f"unknown task of these people {task!r}: they have none, only boxes: leave task= out"
        )
    return task if names else None  # nothing found at all: the photograph as it is


def _scaled(sample: Sample, side: int) -> Sample:
    """Return the sample at a size whose longer side is ``side`` pixels."""
    height, width = sample.size
    factor = side / max(height, width)
    size = (max(round(height * factor), 1), max(round(width * factor), 1))
    crop = Crop.whole(sample.size).resized(size)
    return replace(
        sample,
        image=resize(sample.image, size, "area" if factor < 1 else "cubic"),
        people=tuple(person.warped(crop) for person in sample.people),
        rasters={name: raster.warped(crop) for name, raster in sample.rasters.items()},
        camera=None,
    )


def _painted(sample: Sample, task: str | None, sure: float, boxes: bool) -> Canvas:
    """Draw a task on the photograph, without a legend."""
    law = "points" if task is None else _first(sample, task).law
    if task is None or law == "points":
        return _with_points(sample, task, sure, boxes)
    if law == "scalar":
        return painters.scalar_colours(_brightness(sample, task))
    raster = _whole(sample, task)
    canvas = np.ascontiguousarray(sample.image)
    if law == "label":
        return painters.paint_labels(canvas, raster)
    if law == "vector":
        return painters.paint_vectors(canvas, raster)
    if law == "colour":
        return painters.paint_colours(canvas, raster)
    depth = replace(raster, law="scalar", values=raster.values[..., 2], kind="metric")
    return painters.scalar_colours(painters.brightness(depth))


def _with_points(sample: Sample, task: str | None, sure: float, boxes: bool) -> Canvas:
    # Small pictures are drawn on a finer copy and averaged back: untouched pixels stay as they are.
    factor = int(np.clip(np.ceil(1600 / max(sample.size)), 1, 4))
    canvas = sample.image.repeat(factor, axis=0).repeat(factor, axis=1)
    fine = Crop.whole(sample.size).resized(canvas.shape[:2])
    people: list[Person] = []
    for person in sample.people:
        found = {} if task is None else {task: person.annotations.get(task)}
        points = {name: value for name, value in found.items() if isinstance(value, Points)}
        people.append(replace(person, annotations=points).warped(fine))  # maps need no moving
    if boxes:
        painters.paint_boxes(canvas, people)
    order = sorted(people, key=lambda person: -float(np.prod(person.box[2:] - person.box[:2])))
    for person in order:
        width = painters.stroke(person, canvas.shape[:2])
        for name in person.annotations:
            painters.paint_points(canvas, person.points(name), width, sure)
    if factor > 1:
        canvas = resize(canvas, sample.size, "area")
    return legend.label_boxes(canvas, sample.people) if boxes and sample.people else canvas


def _whole(sample: Sample, task: str) -> Raster:
    if task in sample.rasters:
        return sample.rasters[task].placed(sample.size)
    raster = composite(sample.people, task, sample.size)
    if raster is None:
        raise unknown_name("task of these people", task, _tasks(sample))
    return raster


def _brightness(sample: Sample, task: str) -> np.ndarray:
    """Brightness of a scalar task on the whole picture; relative depth counts for each person."""
    if task in sample.rasters or _first_kind(sample, task) != "relative":
        return painters.brightness(_whole(sample, task))
    people = []
    for person in sample.people:
        if task in person.annotations:
            share = painters.brightness(person.raster(task))
            shown = replace(person.raster(task), values=share, valid=~np.isnan(share), kind=None)
            people.append(replace(person, annotations={task: shown}))
    whole = composite(people, task, sample.size)
    if whole is None:
        return np.full(sample.size, np.nan, np.float32)
    return np.where(whole.mask, whole.values, np.float32(np.nan))


def _first_kind(sample: Sample, task: str) -> str | None:
    found = _first(sample, task)
    return found.kind if isinstance(found, Raster) else None


# ------------------------------------------------------------------------------------------ legends


def _note(found: Annotation) -> str:
    if isinstance(found, Points):
        return f"{len(found)} points, {found.vocabulary.name}"
    if found.law == "label" and found.vocabulary is not None:
        return f"{len(found.vocabulary)} classes, {found.vocabulary.name}"
    if found.law == "scalar":
        return found.kind or ""
    return ""


def _key(sample: Sample, task: str, width: int, size: int, sure: float) -> Canvas:
    found = _first(sample, task)
    if isinstance(found, Points):
        return legend.point_key(width, sure, size)
    if found.law == "label" and found.vocabulary is not None:
        raster = _whole(sample, task)
        return legend.swatches(width, legend.label_entries(raster, found.vocabulary), size)
    if found.law == "vector":
        return legend.normal_key(width, size)
    if found.law == "scalar":
        return legend.scale_bar(width, *_ends(sample, task, found.kind), size)
    return np.zeros((0, width, 3), np.uint8)


def _ends(sample: Sample, task: str, kind: str | None) -> tuple[str, str]:
    """Return what the dark and the bright end of a scalar map mean."""
    if kind == "relative":
        return "far", "near (of each person)"
    limits = painters.scalar_limits(_whole(sample, task))
    if limits is None:
        return "", "no valid pixel"
    low, high = (f"{limit:.3g}" for limit in limits)
    if kind == "metric":
        return f"{high} m", f"{low} m"
    return (f"far {low}", f"near {high}") if kind == "inverse" else (low, high)


# ------------------------------------------------------------------------------------------- layout


def _indented(strip: Canvas, width: int, margin: int) -> Canvas:
    """Put a strip on paper of the picture's width, with a margin around."""
    if strip.shape[0] == 0:
        return np.zeros((0, width, 3), np.uint8)
    height = strip.shape[0] + margin
    paper = np.full((height, max(width, strip.shape[1] + 2 * margin), 3), PAPER, np.uint8)
    paper[margin // 2 : margin // 2 + strip.shape[0], margin : margin + strip.shape[1]] = strip
    return paper


def _stacked(pictures: Sequence[Canvas]) -> Canvas:
    """Stack pictures, on paper as wide as the widest."""
    width = max(picture.shape[1] for picture in pictures)
    rows: list[Canvas] = []
    for picture in pictures:
        missing = width - picture.shape[1]
        paper = np.full((picture.shape[0], missing, 3), PAPER, np.uint8)
        rows.append(np.concatenate([picture, paper], axis=1))
    return np.concatenate(rows)


def _laid_out(cells: Sequence[Canvas], margin: int, columns: int | None = None) -> Canvas:
    width = max(cell.shape[1] for cell in cells)
    tall = max(cell.shape[0] for cell in cells)
    if columns is None:  # near to 16:10, few empty places

        def odd(count: int) -> float:
            rows = -(-len(cells) // count)
            stretch = abs(np.log(count * width / (rows * tall) / 1.6))
            return float(stretch + 0.2 * (rows * count - len(cells)))

        columns = min(range(1, len(cells) + 1), key=odd)
    rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) for row in rows]
    size = (sum(heights) + margin * (len(rows) + 1), columns * width + margin * (columns + 1), 3)
    page = np.full(size, PAPER, np.uint8)
    y = margin
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            x = margin + column * (width + margin)
            page[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
        y += height + margin
    return page

# SPDX-License-Identifier: Apache-2.0
"""The photographs that came out worst, on one page: the truth beside what was answered.

The page holds its pictures and loads nothing. For keypoints a third picture shows how far each
point is off, for maps where the map is wrong.
"""

import base64
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.drawing import overlay, painters
from vitruvian.evaluate.answers import Answer, FoundPoses, sigmas_of
from vitruvian.evaluate.cases import TruePoses
from vitruvian.evaluate.pairs import MapPair, map_pair, paired
from vitruvian.evaluate.plan import Evaluation
from vitruvian.evaluate.report import number
from vitruvian.evaluate.run import Measured, worst
from vitruvian.evaluate.scoring import Scorer, in_words, label_pair
from vitruvian.evaluate.scoring_pose import FOUND
from vitruvian.files import write_bytes
from vitruvian.geometry import Crop
from vitruvian.metrics import Alignment, oks_matrix
from vitruvian.metrics.depth import aligned
from vitruvian.metrics.normals import angles
from vitruvian.person import Person, Points, Raster, Sample
from vitruvian.vocabulary import Vocabulary

Canvas = NDArray[np.uint8]
PAGE = "worst.html"
_SIDE = 560  # longer side of a picture
_ROOM = 0.6  # of a person's box, shown around the people when they are small in the photograph
_SMALL = 0.45  # share of the photograph's side below which people are cut out
_FULL = {"depth": 0.25, "normals": 60.0}  # error shown in the strongest colour
_WORDS = {
    "pose": "A line leads from each true point (ring) to the one found (dot): green within one "
    "standard deviation of people's own labels, red from three on. Dashed boxes were missed.",
    "parts": "Red: another part than the truth. Grey: not known, and not counted.",
    "depth": "Relative error after alignment: dark is right, the brightest colour is 25 % or more.",
    "normals": "Angle between the normals: dark is right, the brightest colour is 60° or more.",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One photograph on the page.

    Attributes:
        name: of the photograph.
        task: it came out badly at.
        numbers: its row.
        pictures: (title, picture) from left to right.
    """

    name: str
    task: str
    numbers: Mapping[str, float]
    pictures: Sequence[tuple[str, Canvas]]


def write_page(
    evaluation: Evaluation, measured: Measured, found: Mapping[str, Any], out: str | Path,
    *, count: int,
) -> Path:  # fmt: skip
    """Write the page of the worst photographs of every task.

    Args:
        evaluation: answers once more about those photographs.
        measured: what came out.
        found: the report.
        out: folder of the page.
        count: photographs per task.
    """
    sections: list[str] = []
    for scorer in evaluation.scorers():
        places = list(worst(measured, scorer.task, scorer.sort, scorer.worst, count))
        cards = [_card(case) for case in worst_cases(evaluation, measured, scorer, places)]
        shown = _HEADS.format(
            task=html.escape(scorer.task),
            count=len(cards),
            sort=html.escape(scorer.sort),
            words=html.escape(_WORDS[scorer.task]),
        )
        sections.append(shown + "\n".join(cards))
    who = ", ".join(m["name"] for m in found["models"]) or str(found["predictions"]["path"])
    data = found["data"]
    text = _PAGE.format(
        title=html.escape(f"Worst of {data['photographs']} photographs"),
        about=html.escape(f"{who} on {data['path']}, protocol {found['protocol']['name']}"),
        body="\n".join(sections),
    )
    path = Path(out) / PAGE
    write_bytes(path, text.encode())
    return path


def worst_cases(
    evaluation: Evaluation, measured: Measured, scorer: Scorer, places: Sequence[int]
) -> Iterator[Case]:
    """Yield photographs of a task with their pictures, answered once more.

    Args:
        evaluation: answers about them.
        measured: what came out.
        scorer: of the task.
        places: of the photographs.
    """
    for answer in evaluation.answers.stream(places, draw=True):
        truth = answer.truth
        assert truth is not None
        numbers = measured.row(scorer.task, answer.place)
        if scorer.task == "pose":
            poses = evaluation.cases.poses(answer.place, truth)
            pictures = _pose_pictures(truth, poses, answer)
        else:
            pictures = _map_pictures(scorer.task, truth, answer, evaluation)
        name = str(evaluation.cases.names[answer.place])
        yield Case(name=name, task=scorer.task, numbers=numbers, pictures=pictures)


# ------------------------------------------------------------------------------------ keypoints


def _pose_pictures(
    truth: Sample, true: TruePoses | None, answer: Answer
) -> list[tuple[str, Canvas]]:
    found = answer.poses
    assert found is not None
    people = tuple(
        Person(
            box=_box(found.xy[row]),
            score=float(np.clip(found.ranks[row], 0, 1)),
            annotations={"pose": _points(found, row)},
        )
        for row in range(len(found.xy))
    )
    guess = replace(truth, people=people, rasters={})
    window = _window(truth, [person.box for person in truth.people])
    seen = [truth.warped(window), guess.warped(window)]
    sides = [overlay(sample, task=_task(sample), boxes=True, key=False) for sample in seen]
    pictures = [("truth", sides[0]), (f"found: {len(people)}", sides[1])]
    if true is not None:
        base = np.array(seen[0].image)
        pictures.append(("how far off", _offsets(base, true, found, window)))
    return pictures


def _task(sample: Sample) -> str | None:
    return "pose" if any("pose" in person.annotations for person in sample.people) else None


def _points(found: FoundPoses, row: int) -> Points:
    nowhere = (found.xy[row] == 0).all(axis=1) & (found.scores[row] == 0)
    return Points(
        vocabulary=found.vocabulary,
        xy=np.where(nowhere[:, None], np.nan, found.xy[row]).astype(np.float32),
        scores=found.scores[row].astype(np.float32),
    )


def _box(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    placed = xy[np.isfinite(xy).all(axis=1)]
    return np.concatenate([placed.min(axis=0), placed.max(axis=0)]) if len(placed) else np.zeros(4)


def _offsets(canvas: Canvas, true: TruePoses, found: FoundPoses, window: Crop) -> Canvas:
    """Draw every true point, where it was found, and a line between."""
    canvas = (canvas // 2 + 20).astype(np.uint8)
    sigmas = sigmas_of(true.vocabulary)
    wanted = true.wanted
    oks = oks_matrix(
        found.xy, true.xy[wanted], true.labelled[wanted], areas=true.areas[wanted], sigmas=sigmas
    )
    partner = paired(oks)
    scale = max(1, round(max(canvas.shape[:2]) / 400))
    for g, row in enumerate(wanted):
        known = np.flatnonzero(true.labelled[row])
        if partner[g] < 0 or oks[partner[g], g] < FOUND / 5:
            box = window.to_window(true.boxes[row].reshape(2, 2))
            _dashed(canvas, box, scale)
            for point in window.to_window(true.xy[row][known]):
                _ring(canvas, point, (255, 255, 255), scale)
            continue
        reach = 2 * sigmas[known] * math.sqrt(max(float(true.areas[row]), 1.0))
        places, guesses = true.xy[row][known], found.xy[partner[g]][known]
        off = np.linalg.norm(places - guesses, axis=1) / reach
        for place, guess, far in zip(
            window.to_window(places), window.to_window(guesses), off, strict=True
        ):
            colour = _traffic(far)
            ends = [tuple(np.rint(np.clip(end, -4096, 4096)).astype(int)) for end in (place, guess)]
            cv2.line(canvas, ends[0], ends[1], colour, scale, cv2.LINE_AA)
            _ring(canvas, place, colour, scale)
            cv2.circle(canvas, ends[1], 2 * scale, colour, -1, cv2.LINE_AA)
    return canvas


def _traffic(sigmas: float) -> tuple[int, int, int]:
    """Return green up to one standard deviation, red from three."""
    share = float(np.clip((sigmas - 1) / 2, 0, 1))
    return int(60 + 195 * share), int(220 - 160 * share), 70


def _ring(
    canvas: Canvas, at: NDArray[np.float64], colour: tuple[int, int, int], scale: int
) -> None:
    middle = tuple(np.rint(np.clip(at, -4096, 4096)).astype(int))
    cv2.circle(canvas, middle, 3 * scale, colour, scale, cv2.LINE_AA)


def _dashed(canvas: Canvas, box: NDArray[np.float64], scale: int) -> None:
    (x0, y0), (x1, y1) = np.clip(box, -4096, 4096)
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    for start, end in pairwise(corners):
        steps = max(int(np.linalg.norm(end - start) / (6 * scale)), 1)
        stops = [start + (end - start) * i / steps for i in range(steps + 1)]
        for a, b in zip(stops[:-1:2], stops[1::2], strict=True):
            first, last = (tuple(np.rint(p).astype(int)) for p in (a, b))
            cv2.line(canvas, first, last, (255, 90, 90), 2 * scale, cv2.LINE_AA)


# ----------------------------------------------------------------------------------------- maps


def _map_pictures(
    task: str, truth: Sample, answer: Answer, evaluation: Evaluation
) -> list[tuple[str, Canvas]]:
    pair = map_pair(truth, answer.sample, task)
    assert pair is not None
    true, guess = pair.true, pair.guess
    if task == "parts":
        assert evaluation.parts is not None
        true = _translated(true, evaluation.parts)
        guess = None if guess is None else _translated(guess, evaluation.parts)
    box = [_mask_box(true)]
    window = _window(truth, [one for one in box if one is not None])
    plain = replace(truth, people=(), rasters={})
    pictures = [("photograph", plain.warped(window).image)]
    if guess is None:
        return [
            *pictures,
            ("truth", _map(plain, task, true, window)),
            ("nothing answered", pictures[0][1]),
        ]
    if task == "depth":
        guess = _aligned(pair, guess, evaluation.settings.alignment)
    error = _error(task, truth, replace(pair, true=true, guess=guess))
    seen = replace(guess, valid=guess.mask & true.mask) if task != "parts" else guess
    limits = painters.scalar_limits(true) if task == "depth" else None
    if limits is not None:  # aligned depth below 0 is near, not unknown
        seen = replace(seen, values=np.clip(seen.values, *limits))
    return [
        *pictures,
        ("truth", _map(plain, task, true, window, limits)),
        ("answer", _map(plain, task, seen, window, limits)),
        ("where it is wrong", _cut(error, window)),
    ]


def _translated(raster: Raster, words: Vocabulary) -> Raster:
    """Return a label map in the vocabulary that labels are compared in."""
    values = in_words(raster, words)
    return replace(raster, values=values, valid=raster.mask, vocabulary=words)


def _mask_box(raster: Raster) -> NDArray[np.float64] | None:
    there = raster.mask
    if raster.vocabulary is not None:
        there = there & (raster.values != raster.vocabulary.background)
    ys, xs = np.nonzero(there)
    return np.array([xs.min(), ys.min(), xs.max(), ys.max()], float) if len(xs) else None


def _map(
    plain: Sample,
    task: str,
    raster: Raster,
    window: Crop,
    limits: tuple[float, float] | None = None,
) -> Canvas:
    if raster.law == "scalar":  # by the range of the truth, not each by its own
        seen = painters.brightness(replace(raster, kind="metric").warped(window), limits)
        return painters.scalar_colours(seen)
    whole = replace(plain, rasters={task: raster}).warped(window)
    return overlay(whole, task=task, key=False)


def _aligned(pair: MapPair, guess: Raster, alignment: Alignment) -> Raster:
    """Return the answer brought to the truth over the pixels that are scored; no others."""
    true = pair.true
    both = pair.mask & guess.mask & np.isfinite(guess.values)
    both &= (true.values > 0) & (true.values < np.inf)
    d, g = (raster.values[both].astype(np.float64) for raster in (guess, true))
    values = np.zeros(true.size, np.float32)
    values[both] = aligned(d, g, pair.views[both], alignment)
    return replace(guess, values=values, valid=both)


def _error(task: str, truth: Sample, pair: MapPair) -> Canvas:
    """Return a picture of where the answer is wrong, at the photograph's size."""
    true, guess = pair.true, pair.guess
    assert guess is not None
    if task == "parts":
        grey = cv2.cvtColor(truth.image, cv2.COLOR_RGB2GRAY) // 2
        canvas = np.repeat(grey[..., None], 3, axis=2)
        assert true.vocabulary is not None
        known, values = label_pair(true, guess, true.vocabulary)
        wrong = (known != 255) & (known != values)
        canvas[wrong] = canvas[wrong] // 2 + np.array([127, 20, 20], np.uint8)
        canvas[known == 255] = 128
        return canvas
    mask = pair.mask & guess.mask
    share = np.zeros(true.size, np.float32)
    if task == "depth":
        gap = np.abs(guess.values - true.values) / np.where(true.values > 0, true.values, 1)
        share = np.clip(gap / _FULL[task], 0, 1).astype(np.float32)
    else:
        where = np.flatnonzero(mask)
        a, b = (r.values.reshape(-1, 3) for r in (guess, true))
        known = np.isfinite(a[where]).all(axis=1) & (a[where] != 0).any(axis=1)
        known &= np.isfinite(b[where]).all(axis=1) & (b[where] != 0).any(axis=1)
        where = where[known]
        share.reshape(-1)[where] = np.clip(angles(a, b, where)[1] / _FULL[task], 0, 1)
    colours = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    colours = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    return np.where(mask[..., None], colours, np.uint8(60)).astype(np.uint8)


def _cut(canvas: Canvas, window: Crop) -> Canvas:
    return image.warp(canvas, window.matrix, window.size, interpolation="linear")


def _window(truth: Sample, boxes: Sequence[NDArray[np.float64]]) -> Crop:
    """Return the part of a photograph to show: all of it, or the people where they are small."""
    height, width = truth.size
    x0, y0, x1, y1 = 0.0, 0.0, width - 1.0, height - 1.0
    if boxes:
        corners = np.array(boxes)
        low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
        side = (high - low).max()
        if side < _SMALL * max(height, width):
            room = max(_ROOM * side, 24)
            x0, y0 = max(low[0] - room, 0), max(low[1] - room, 0)
            x1, y1 = min(high[0] + room, width - 1), min(high[1] + room, height - 1)
    wide, high_ = x1 - x0 + 1, y1 - y0 + 1
    scale = _SIDE / max(wide, high_)
    size = (max(round(high_ * scale), 1), max(round(wide * scale), 1))
    matrix = np.array([[scale, 0, -x0 * scale], [0, scale, -y0 * scale]])
    return Crop(matrix, size)


# ----------------------------------------------------------------------------------------- HTML


def _card(case: Case) -> str:
    numbers = " · ".join(
        f"{html.escape(name)} <b>{number(name, value)}</b>"
        for name, value in case.numbers.items()
        if not math.isnan(value) and name != "pixels"
    )
    figures = "".join(
        f"<figure><img alt='' src='{_data(canvas)}'><figcaption>{html.escape(title)}</figcaption>"
        "</figure>"
        for title, canvas in case.pictures
    )
    return (
        f"<article><h3>{html.escape(case.name)}</h3><p>{numbers}</p>"
        f"<div class=row>{figures}</div></article>"
    )


def _data(canvas: Canvas) -> str:
    data = image.encode(np.ascontiguousarray(canvas), ".jpg", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


_HEADS = "<h2>{task}: the {count} worst by {sort}, worst first</h2><p class=note>{words}</p>"
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px;
  padding: 0 1rem; background: #f6f5f1; color: #22211f }}
h1 {{ font-size: 1.5rem; margin-bottom: 0 }} h2 {{ margin-top: 2.5rem; font-size: 1.2rem }}
h3 {{ margin: 0; font-size: 1rem; font-weight: 600 }}
.note {{ color: #66645e; max-width: 60rem }}
article {{ background: #fff; border: 1px solid #dcdad3; border-radius: 8px; padding: 1rem;
  margin: 1rem 0 }}
article p {{ margin: .2rem 0 .8rem }}
.row {{ display: flex; gap: .8rem; flex-wrap: wrap }}
figure {{ margin: 0; flex: 1 1 300px; max-width: 560px }}
img {{ width: 100%; height: auto; display: block; border-radius: 4px }}
figcaption {{ color: #66645e; font-size: .85rem; padding-top: .2rem }}
</style>
<h1>{title}</h1><p class=note>{about}</p>
{body}
</html>
"""

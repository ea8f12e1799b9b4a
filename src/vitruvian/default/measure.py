# SPDX-License-Identifier: Apache-2.0
"""What the model card says about weights, measured: every number with the command behind it."""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitruvian import drawing, vocabulary
from vitruvian.correspondence import correspond
from vitruvian.default.recipe import FINDER
from vitruvian.evaluate import run
from vitruvian.evaluate.cases import Keypoints
from vitruvian.evaluate.inputs import checksums
from vitruvian.evaluate.page import worst_cases
from vitruvian.evaluate.plan import Evaluation, Plan, prepare
from vitruvian.evaluate.report import report, save
from vitruvian.evaluate.run import Folder, Measured
from vitruvian.image import resize
from vitruvian.metrics import BoxAP
from vitruvian.model.opening import open_weights
from vitruvian.predict.confirm import ConfirmedFinder
from vitruvian.predict.detect import Detector
from vitruvian.predict.load import open_detector, open_model
from vitruvian.predict.people import PeopleFinder

POINTS = ("coco17", "common114")
"""Vocabularies keypoints are measured in besides the weights' own; common114 are those of the 133
of COCO-WholeBody that the 308 have too (of the 133's face outline 19 have no counterpart)."""
SMALL = 0.04
"""Of a picture's longer side: whom nobody has to find, see ``recipes.people``."""
LEAST = 0.1
"""Score of a box from which on it is asked whether somebody is in it."""
Progress = Callable[[str, int, int], None]
"""Called with what is measured, photographs done, and photographs in all."""
_KINDS = ("pose", "parts", "depth", "normals")


def quiet(what: str, done: int, total: int) -> None:
    """Say nothing."""
    del what, done, total


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One evaluation.

    Attributes:
        title: of it.
        command: that repeats it; data by the last part of its path, weights and finder as those of
            the package.
        report: see ``evaluate.report``.
        oks: mean object keypoint similarity over people, ``None`` without keypoints.
        evaluation: as prepared, to draw from.
        measured: what came out.
    """

    title: str
    command: str
    report: Mapping[str, Any]
    oks: float | None
    evaluation: Evaluation
    measured: Measured

    @property
    def people(self) -> int:
        """Photographs' people with keypoints."""
        return int(self.report["data"]["people"])


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How people are found on photographs.

    Attributes:
        title: of the photographs.
        photographs: how many.
        people: to be found.
        numbers: see ``metrics.BoxAP``.
    """

    title: str
    photographs: int
    people: int
    numbers: Mapping[str, float]


def heldout_plans(weights: str, data: Path, device: str) -> dict[str, Plan]:
    """Return the evaluations on rendered people, by title."""
    tasks = open_weights(weights).card.tasks
    words = {task: tasks[task].vocabulary if task in tasks else None for task in ("pose", "parts")}
    shared = {task: name for task, name in words.items() if name in vocabulary.available()}
    known = tuple(task for task in _KINDS if task in tasks)
    plans = {
        "held-out": Plan(
            data=str(data),
            models=(weights,),
            tasks=known,
            parts=shared.get("parts") or "",
            device=device,
        )
    }
    if "pose" in shared:
        plans |= {
            f"held-out, {name}": Plan(
                data=str(data), models=(weights,), tasks=("pose",), points=name, device=device
            )
            for name in POINTS
            if not correspond(str(shared["pose"]), name).unmapped
        }
    return plans


def photo_plans(weights: str, photos: Sequence[Path], device: str) -> dict[str, Plan]:
    """Return the evaluations on real photographs, by title: in true boxes and in found ones."""
    plans: dict[str, Plan] = {}
    for path in photos:
        for boxes in ("truth", "auto"):
            plans[f"{path.stem}, boxes: {boxes}"] = Plan(
                data=str(path), models=(weights,), tasks=("pose",), points=_comparable(path),
                boxes=boxes, device=device,
            )  # fmt: skip
    return plans


def _comparable(photos: Path) -> str:
    """Return the vocabulary to compare photographs' keypoints in, "" for their own."""
    truth = Keypoints(photos).vocabulary
    return "common114" if truth.name == "wholebody133" else ""


def evaluated(title: str, plan: Plan, out: Path, progress: Progress = quiet) -> Scored:
    """Carry out an evaluation in a folder of its own under ``out``, or go on with it.

    The folder is called by a digest of files and settings, so others never meet old results.
    """
    evaluation = prepare(plan)
    name = "".join(c if c.isalnum() else "-" for c in title)
    settings = {key: value for key, value in plan.described().items() if key != "device"}
    told = json.dumps([checksums(plan, leave_out=out), settings], sort_keys=True)
    folder = Folder(out / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}")
    folder.claim(plan)
    total = len(evaluation.cases)
    left = run.unfinished(evaluation, folder)
    before = total - min(total, left * run.CHUNK)
    progress(title, before, total)
    run.work(evaluation, folder, progress=lambda done: progress(title, before + done, total))
    measured = run.gather(evaluation, folder)
    command = command_of(plan)
    found = report(evaluation, measured, command=shlex.split(command), seconds=0.0)
    save(found, folder.out)
    return Scored(
        title=title, command=command, report=found, oks=mean_oks(measured),
        evaluation=evaluation, measured=measured,
    )  # fmt: skip


def command_of(plan: Plan) -> str:
    """Return the command that does the same."""
    words = ["vitruvian", "evaluate", "--data", Path(plan.data).name, "--model", "default"]
    if plan.tasks:
        words += ["--tasks", *plan.tasks]
    for flag, value in (("points", plan.points), ("parts", plan.parts)):
        words += [f"--compare-{flag}", value] if value else []
    if plan.boxes != "truth":
        boxes = Path(plan.boxes).name
        words += ["--boxes", "auto" if boxes == FINDER else boxes]
    return shlex.join(words)


def mean_oks(measured: Measured) -> float | None:
    """Return the mean over people; whoever was missed counts 0."""
    columns = measured.columns.get("pose")
    if columns is None:
        return None
    oks, people = columns["OKS"], columns["people"]
    known = np.isfinite(oks) & (people > 0)
    return float((oks[known] * people[known]).sum() / people[known].sum()) if known.any() else None


def score(weights: str, data: Path, out: Path, device: str, progress: Progress = quiet) -> float:
    """Return mean OKS of COCO's 17 points in true boxes: what weights are compared by.

    Mirrored windows are averaged for all alike, and no zoomed ones, whatever the weights ask for.

    Args:
        weights: to score.
        data: labelled photographs, or held-out renders.
        out: folder for what is measured.
        device: of the network.
        progress: see ``Progress``.
    """
    plan = Plan(
        data=str(data), models=(weights,), tasks=("pose",),
        points="coco17", flip=True, zooms=(), device=device,
    )  # fmt: skip
    return evaluated(f"score {data.stem}", plan, out, progress).oks or 0.0


def found(
    evaluation: Evaluation, title: str, *, detector: str = "auto", confirmed_by: str | None = None
) -> Finding:
    """Find the people of an evaluation's photographs, and compare with those who are there.

    Average precision is over all detections of our own finders, down to scores of ``LEAST``; recall
    and precision are of those that are reported.

    Args:
        evaluation: whose photographs.
        title: of them.
        detector: that finds.
        confirmed_by: weights whose keypoints confirm boxes, see ``ConfirmedFinder``; ``None`` for
            none.
    """
    eyes, limit = _eyes(detector, confirmed_by, evaluation.plan.device)
    metric, people = _counted(evaluation, eyes, limit)
    return Finding(
        title=title, photographs=len(evaluation.cases), people=people, numbers=metric.result()
    )


def limits(finder: str, weights: str, heldout: Path, device: str) -> dict[str, float]:
    """Return ``min_score`` and ``confirm`` of a finder: those of the highest F1 on held-out people.

    Whatever has no such limit, because nobody is found, is left out.

    Args:
        finder: weights that find people.
        weights: whose keypoints confirm boxes.
        heldout: rendered people that no training saw.
        device: of the networks.
    """
    evaluation = prepare(Plan(data=str(heldout), models=(weights,), tasks=("pose",), device=device))
    best: dict[str, float] = {}
    for name, confirmed_by in (("min_score", None), ("confirm", weights)):
        eyes, _ = _eyes(finder, confirmed_by, device)
        limit = _counted(evaluation, eyes, 0.0)[0].best_limit()
        if limit is not None:
            best[name] = round(limit, 3)
    return best


def _eyes(detector: str, confirmed_by: str | None, device: str) -> tuple[Detector, float]:
    """Return what finds people, of our own finders down to ``LEAST``, and the limit to report."""
    finder = open_detector(detector, None, device, confirm=False)
    if not isinstance(finder, PeopleFinder):
        return finder, 0.0
    if confirmed_by is None:
        limit, finder.min_score = finder.min_score, LEAST
        return finder, limit
    model = open_model(confirmed_by, None, {}, "card")
    eyes = ConfirmedFinder(finder, model, min_score=0.0, device=device)
    finder.min_score = LEAST
    return eyes, finder.confirm


def _counted(evaluation: Evaluation, eyes: Detector, limit: float) -> tuple[BoxAP, int]:
    """Return how people are found, and how many there are."""
    metric, people = BoxAP(sure=limit), 0
    for place in range(len(evaluation.cases)):
        sample = evaluation.cases.sample(place)
        truth = np.array([person.box for person in sample.people]).reshape(-1, 4)
        sides = (truth[:, 2:] - truth[:, :2]).max(axis=1, initial=0)
        small = sides < SMALL * max(sample.size)
        (found,) = eyes.detect([sample.image], [sample.name])
        metric.update(boxes=found.boxes, scores=found.scores, truth=truth, ignored=small)
        people += int((~small).sum())
    return metric, people


def failures(scored: Sequence[Scored], *, count: int = 3, side: int = 300) -> NDArray[np.uint8]:
    """Return a sheet of the photographs that came out worst, per evaluation and task.

    Args:
        scored: evaluations to take them from.
        count: photographs per task.
        side: longer side of a picture.
    """
    cells: list[tuple[str, NDArray[np.uint8]]] = []
    for one in scored:
        for scorer in one.evaluation.scorers():
            places = run.worst(one.measured, scorer.task, scorer.sort, scorer.worst, count)
            for case in worst_cases(one.evaluation, one.measured, scorer, list(places)):
                for title, picture in [*case.pictures, *[("", case.pictures[-1][1])] * 3][:3]:
                    scale = side / max(picture.shape[:2])
                    size = [max(1, round(length * scale)) for length in picture.shape[:2]]
                    words = f"{case.task}: {title}" if title else ""
                    cells.append((words, resize(picture, (size[0], size[1]))))
    return drawing.grid(cells, columns=3)

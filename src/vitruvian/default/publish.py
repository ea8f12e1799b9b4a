# SPDX-License-Identifier: Apache-2.0
"""From trained weights to the file that ships: half the bytes, measured, with its model card."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vitruvian import image
from vitruvian.default import card as cards
from vitruvian.default import measure
from vitruvian.default.history import (
    HISTORY,
    data_facts,
    history,
    history_of,
    joined,
    mean_with,
    rendering_of,
)
from vitruvian.default.measure import Progress, Scored
from vitruvian.default.recipe import FINDER
from vitruvian.errors import InputError
from vitruvian.evaluate.plan import Plan
from vitruvian.files import write_bytes
from vitruvian.model.card import Card
from vitruvian.model.catalogue import DEFAULT, SHIPPED
from vitruvian.model.network import Network
from vitruvian.model.weights import load, save
from vitruvian.recipes.run import Run
from vitruvian.recipes.weights import card_of
from vitruvian.tasks.people import People
from vitruvian.train.export import export
from vitruvian.train.state import Checkpoints

CARD = "CARD.md"
NOTE = "vitruvian.model_card"
"""Entry of the metadata of weights that holds the model card."""
ZOOMS = (0.9, 1.12)
"""What windows are enlarged by, besides, to average keypoints [V]."""
_LICENCE = "Apache-2.0"
_MOST = 480_000  # bytes of a sheet of failures


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was written.

    Attributes:
        weights: the file.
        card: the page.
        failures: sheet of what came out worst, or ``None``.
    """

    weights: Path
    card: Path
    failures: Path | None


def publish(
    weights: str | Path,
    out: Path,
    *,
    name: str = DEFAULT,
    trained: Sequence[Path] = (),
    average: str | None = None,
    share: float = 0.5,
    heldout: Path | None = None,
    photos: Sequence[Path] = (),
    finder: str = "auto",
    device: str = "auto",
    pictures: Path | None = None,
    progress: Progress = measure.quiet,
) -> Published:
    """Write weights as ``out/NAME.safetensors`` in fp16 with a card of what they can do.

    They average with mirrored windows, and keypoints with zoomed ones, from then on, unless told
    otherwise.

    What is measured is the file that is written. The card is ``out/CARD.md`` and, with the history
    of the trainings, inside the file.

    Args:
        weights: trained; or the folder of a training, finished or not, for its best checkpoint or
            else its last.
        out: folder; evaluations go to ``out/evaluation`` and are not repeated for equal weights.
        name: of the file.
        trained: folders of the trainings, if the weights do not lie in the last one.
        average: weights of the same network that led to these: the mean of both is written, which
            is often better than either where pictures differ from those of training (model soups,
            arXiv 2203.05482).
        share: of these in the mean, between 0 and 1.
        heldout: rendered people that no training saw.
        photos: COCO JSON files of labelled photographs.
        finder: detector to measure finding people with; "auto" only if it is in the package.
        device: of the network.
        pictures: folder for the sheet of failures; ``out`` if ``None``.
        progress: see ``measure.Progress``.

    Raises:
        InputError: the weights have no task, began with weights of another licence, or those to
            average with are another network, or did not lead to them; or the share is no share.
        WeightsError: they cannot be read.
    """
    if Path(weights).is_dir() and (Path(weights) / "run.json").is_file():
        trained, weights = trained or [Path(weights)], exported(Path(weights), out)
    network, card = load(weights, dtype=torch.float32)
    if not card.tasks:
        raise InputError(f"{weights}: an encoder without a task · wanted finetuned weights")
    need_own(card, str(weights))
    trainings = history(*trained) if trained else history_of(weights)
    if average is not None:
        network = _mean(network, card, average, share)
        trainings = mean_with(trainings, average, share)
    # Mirrored windows are worth 0.05 to 0.09 of the OKS on photographs, zooms 0.03 (docs/log.md).
    card = replace(
        card, name=name, flip=True, zooms=ZOOMS, licence=_LICENCE, commercial="yes", source=None
    )
    target = out / f"{name}.safetensors"
    network = network.half()
    notes = {HISTORY: json.dumps(trainings)}
    save(target, network, card, notes=notes)
    place, model = out / "evaluation", str(target)
    rendered: list[Scored] = []
    if heldout is not None:
        rendered = _scored(measure.heldout_plans(model, heldout, device), place, progress)
    plans = measure.photo_plans(model, photos, device)
    ours = SHIPPED / FINDER if finder == "auto" else Path(finder)
    able = finder != "auto" or ours.is_file()
    if not able:
        plans = {title: plan for title, plan in plans.items() if plan.boxes == "truth"}
    plans = {
        title: replace(plan, boxes=finder) if plan.boxes == "auto" else plan
        for title, plan in plans.items()
    }
    real = _scored(plans, place, progress)
    seen = [one for one in (*rendered[:1], *real) if one.evaluation.plan.boxes == "truth"] * able
    finding: list[measure.Finding] = []
    for one in seen:
        title = one.title.removesuffix(", boxes: truth")
        finding.append(measure.found(one.evaluation, title, detector=finder))
        if "pose" in card.tasks:
            title += ", confirmed by keypoints"
            finding.append(
                measure.found(one.evaluation, title, detector=finder, confirmed_by=model)
            )
    sheet = None
    if rendered:  # the photographs given may not be ours to show
        sheet = (pictures or out) / f"{name}-failures.jpg"
        _small_jpeg(sheet, measure.failures(rendered[:1]))
    own_finder = ours.suffix == ".safetensors" and able
    page = out / CARD
    facts = cards.Facts(
        card=card,
        name=target.name,
        parameters=sum(tensor.numel() for tensor in network.state_dict().values()),
        nbytes=target.stat().st_size,
        trainings=joined(trainings, history_of(ours) if own_finder else []),
        heldout=rendered,
        heldout_data=None if heldout is None else data_facts(str(heldout)),
        heldout_command="" if heldout is None else rendering_of(heldout),
        photos=real,
        finding=finding,
        failures="" if sheet is None else cards.relative(sheet, out),
    )
    text = cards.rendered(facts)
    write_bytes(page, text.encode())
    save(target, network, card, notes={**notes, NOTE: text})
    return Published(weights=target, card=page, failures=sheet)


def _mean(network: Network, card: Card, other: str, share: float) -> Network:
    """Return a network of the mean weights of two whose outputs mean the same."""
    if not 0 < share < 1:
        raise InputError(f"share {share} · wanted that of {other} in the mean, between 0 and 1")
    second, its = load(other, dtype=torch.float32)
    need_own(its, other)
    named = [{task: one.vocabulary for task, one in c.tasks.items()} for c in (card, its)]
    if second.config != network.config or named[0] != named[1]:
        raise InputError(f"{other} is another network · wanted the same, to average weights with")
    more = second.state_dict()
    own = network.state_dict()
    mean = {name: (1 - share) * tensor + share * more[name] for name, tensor in own.items()}
    network.load_state_dict(mean)
    return network


def need_own(card: Card, where: str) -> None:
    """Refuse weights that began with others' and keep their licence."""
    if card.licence not in ("unknown", _LICENCE):
        raise InputError(
            f"{where}: {card.licence} · wanted weights that learned from rendered people, from "
            f"nothing or from those of the package, which the card can call {_LICENCE}"
        )


def exported(folder: Path, out: Path) -> Path:
    """Write the weights of a training's best checkpoint, or else its last, into ``out``.

    The training may be running.

    Raises:
        InputError: there is no checkpoint yet.
    """
    run, shelf = Run.load(folder / "run.json"), Checkpoints(folder / "checkpoints")
    chosen = shelf.best() or shelf.latest()
    if chosen is None:
        raise InputError(f"{folder}: no checkpoint yet · wait for the first one (--save-every)")
    path = out / f"{folder.name}-{chosen.name}.safetensors"
    export(chosen, path, card_of(run, folder.name), lora=run.lora)
    return path


def publish_finder(
    weights: str | Path, target: Path, *, confirmed_by: str, heldout: Path, device: str
) -> None:
    """Write a network that finds people in fp16, with its history and its limits inside.

    It averages with mirrored pictures from then on. Limits are chosen with what is written.

    Args:
        weights: made by ``vitruvian train people``.
        target: the file.
        confirmed_by: weights whose keypoints confirm boxes.
        heldout: rendered people to choose the limits on, see ``measure.limits``.
        device: of the networks.
    """
    network, card = load(weights, dtype=torch.float32)
    need_own(card, str(weights))
    card = replace(
        card, name=target.stem, flip=True, licence=_LICENCE, commercial="yes", source=None
    )
    network = network.half()
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / target.name
        save(plain, network, card)
        found = measure.limits(str(plain), confirmed_by, heldout, device)
    task = card.tasks[People.name]
    tasks = {**card.tasks, People.name: replace(task, settings={**task.settings, **found})}
    notes = {HISTORY: json.dumps(history_of(weights))}
    save(target, network, replace(card, tasks=tasks), notes=notes)


def _scored(plans: dict[str, Plan], place: Path, progress: Progress) -> list[Scored]:
    return [measure.evaluated(title, plan, place, progress) for title, plan in plans.items()]


def _small_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a JPEG of less than 480 kB."""
    for quality in (88, 80, 70, 60, 50, 35):
        data = image.encode(picture, ".jpg", quality=quality)
        if len(data) <= _MOST:
            break
    write_bytes(path, data)


def best_of(
    candidates: Sequence[str], data: Sequence[Path], out: Path, *, device: str,
    progress: Progress = measure.quiet,
) -> tuple[str, dict[str, float]]:  # fmt: skip
    """Return the weights of the highest mean OKS, and everybody's.

    Args:
        candidates: weights; the later of equals wins.
        data: labelled photographs, or held-out renders; each counts the same.
        out: folder for what is measured.
        device: of the network.
        progress: see ``measure.Progress``.
    """
    scores: dict[str, float] = {}
    for weights in candidates:
        each = [measure.score(weights, one, out, device, progress) for one in data]
        scores[weights] = sum(each) / len(each)
    best = max(scores, key=lambda name: (scores[name], list(scores).index(name)))
    return best, scores


def ship(made: Published, *others: Path, folder: Path = SHIPPED) -> list[Path]:
    """Copy weights, card and further files into the package; return what was written.

    In a checkout the sheet of failures goes to ``docs/pictures``, and the card links there.

    Raises:
        InputError: the package cannot be written to.
    """
    text = made.card.read_text(encoding="utf-8")
    written = {folder / path.name: path.read_bytes() for path in (made.weights, *others)}
    shelf = folder.parents[2] / "docs" / "pictures"
    if made.failures is not None and shelf.is_dir():
        place = shelf / made.failures.name
        written[place] = made.failures.read_bytes()
        text = text.replace(
            f"]({cards.relative(made.failures, made.card.parent)})",
            f"]({cards.relative(place, folder)})",
        )
    written[folder / CARD] = text.encode()
    for path, data in written.items():
        try:
            write_bytes(path, data)
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror or error}) · --ship is for a "
                "checkout of the source"
            ) from error
    return list(written)

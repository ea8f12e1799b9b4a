# SPDX-License-Identifier: Apache-2.0
"""From names of weights and detectors to a predictor."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from vitruvian.errors import InputError, MissingExtraError, unknown_name
from vitruvian.formats.boxes import read_coco, read_mot
from vitruvian.model.catalogue import DEFAULT
from vitruvian.model.weights import load as load_weights
from vitruvian.predict.confirm import ConfirmedFinder
from vitruvian.predict.detect import (
    DEFAULT_DETECTOR,
    Boxes,
    Detector,
    GivenBoxes,
    TransformersDetector,
    WholeImage,
)
from vitruvian.predict.device import pick_device
from vitruvian.predict.people import BUILT_IN, PeopleFinder
from vitruvian.predict.predictor import Model, Predictor
from vitruvian.tasks import TASKS, make

Normalisation = Literal["card", "full", "lite"]
_PUBLISHED = {
    # The published pipelines disagree: training and the full scripts, and the "lite" scripts.
    "full": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "lite": ((123.5, 116.5, 103.5), (58.5, 57.0, 57.5)),
}


def load(
    *models: str | Path,
    detector: str | Path | Detector = "auto",
    tasks: Sequence[str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    normalisation: Normalisation = "card",
    device: str = "auto",
    min_score: float | None = None,
    **options: Any,
) -> Predictor:
    """Load weights and return what they know as one callable.

    Args:
        *models: "default" (the weights of the package), files, folders, catalogue names or
            ``hf:org/name``; one model per task.
        detector: how people are found. "auto" takes the detector that comes with the package;
            "whole" takes each picture as one person; a .safetensors file is one that
            ``vitruvian train people`` made; ``hf:org/name`` or a folder is a transformers object
            detector; a .json (COCO) or .txt (MOT) file holds boxes.
        tasks: answer only these.
        settings: per task, settings that the weights file cannot say, as
            ``{"normals": {"signs": (1, -1, -1)}}``.
        normalisation: pixel statistics: the file's own, or those of the published "full" or "lite"
            pipeline.
        device: "auto", "cpu", "cuda[:N]" or "mps".
        min_score: people found with a lower score are left out; by default what our weights say,
            0.5 for transformers' detectors, 0 for files of boxes.
        **options: further arguments of :class:`Predictor`: framing, mask, flip, zooms, exact,
            batch, dtype.

    Raises:
        WeightsError: for weights that are missing, damaged or for something else.
        InputError: for a detector that cannot be opened, and for a ``min_score`` outside 0 … 1 or
            without effect: pictures taken whole have no scores, and a detector given as an object
            has its own limit.
    """
    if not models:
        raise InputError("no weights given: name a file, or one of `vitruvian weights list`")
    for name in (*(tasks or ()), *(settings or ())):
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
    if normalisation not in get_args(Normalisation):
        raise unknown_name("normalisation", normalisation, get_args(Normalisation))
    if min_score is not None and not isinstance(detector, str | Path):
        raise InputError(
            f"min_score has no effect: the detector is a {type(detector).__name__} that is open "
            "already: give it the limit when you make it"
        )
    # With one model, a task it does not answer is a wrong file and deserves the better message.
    only = tasks[0] if tasks and len(tasks) == 1 and len(models) == 1 else None
    opened = [open_model(model, only, settings or {}, normalisation) for model in models]
    named = isinstance(detector, str | Path)
    finder = open_detector(detector, min_score, device) if named else detector
    return Predictor(opened, finder, tasks=tasks, device=device, **options)


def open_model(
    model: str | Path,
    task: str | None,
    settings: Mapping[str, Mapping[str, Any]],
    normalisation: Normalisation,
) -> Model:
    """Read weights and give their heads the meaning the card, or ``settings``, says.

    ``task`` is what the weights must be for, if anything.
    """
    network, card = load_weights(model, task=task)
    answered = {}
    for name, meaning in card.tasks.items():
        if name not in TASKS:
            continue  # pointmap, albedo and matting run through Network, below this level
        values = {key: value for key, value in meaning.settings.items() if key != "convention"}
        if meaning.vocabulary is not None:
            values.setdefault("vocabulary", meaning.vocabulary)
        elif name in ("pose", "parts"):
            raise InputError(
                f"{model}: nobody knows the names of its {name} outputs: convert it once with  "
                "vitruvian weights convert … --vocabulary NAME"
            )
        answered[name] = make(name, **{**values, **settings.get(name, {})})
    if not answered:
        heads = ", ".join(card.tasks) or "no head (a pretraining encoder)"
        raise InputError(
            f"{model} has {heads}: `predict` answers {', '.join(TASKS)}; use vitruvian.model for it"
        )
    opened = Model(
        name=card.name,
        network=network,
        tasks=answered,
        input_size=card.input_size,
        mean=card.mean,
        std=card.std,
        generation=card.generation if isinstance(card.generation, int) else 1,
        fill=card.fill,
        flip=card.flip,
        zooms=card.zooms,
    )
    if normalisation == "card":
        return opened
    mean, std = _PUBLISHED[normalisation]
    return replace(opened, mean=mean, std=std)


def open_detector(
    detector: str | Path, min_score: float | None, device: str, *, confirm: bool = True
) -> Detector:
    """Return the detector a name stands for, see ``load``.

    Args:
        detector: the name.
        min_score: people scored lower are left out.
        device: of the networks.
        confirm: have the boxes of a detector of our own confirmed by the keypoints that the
            weights made with it find in them, if its card says from which score on: those of
            ``default.safetensors`` beside it, or else the package's.

    Raises:
        InputError: for a detector that cannot be opened, or a score outside 0 … 1.
    """
    if min_score is not None and not 0 <= min_score <= 1:
        raise InputError(f"min_score {min_score} · wanted a score from 0 to 1")
    name = str(detector)
    if name == "whole":
        if min_score is not None:
            raise InputError("min_score has no effect: the detector 'whole' gives no scores")
        return WholeImage()
    if name.lower().endswith(".json"):
        known = {key: Boxes(*found) for key, found in read_coco(name).items()}
        return GivenBoxes(known, min_score=min_score or 0.0)
    if name.lower().endswith(".txt"):
        known = {str(frame): Boxes(*found) for frame, found in read_mot(name).items()}
        return GivenBoxes(known, min_score=min_score or 0.0)
    place = str(pick_device(device))
    ours = str(BUILT_IN) if name == "auto" and BUILT_IN.is_file() else name
    if ours.lower().endswith(".safetensors"):
        finder = PeopleFinder(ours, min_score=min_score, device=place)
        if not confirm or finder.confirm == 0:
            return finder
        # A finder's limit was measured with the keypoints of these.
        beside = Path(ours).with_name(f"{DEFAULT}.safetensors")
        model = open_model(beside if beside.is_file() else DEFAULT, None, {}, "card")
        return ConfirmedFinder(finder, model, min_score=min_score, device=place)
    score = 0.5 if min_score is None else min_score
    source = DEFAULT_DETECTOR if name == "auto" else name
    try:
        return TransformersDetector(source, min_score=score, device=place)
    except (InputError, MissingExtraError) as error:
        if name != "auto":
            raise
        raise InputError(
            f"no person detector on this machine: run  vitruvian weights fetch {DEFAULT_DETECTOR}  "
            "once (with  pip install 'vitruvian[detect]'), give boxes with --detector FILE, or "
            "take each picture as one person with --detector whole"
        ) from error

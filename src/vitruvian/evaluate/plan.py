# SPDX-License-Identifier: Apache-2.0
"""From what somebody asks for to photographs, answers and scorers that fit each other."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vitruvian import vocabulary as vocabularies
from vitruvian.data.options import SourceOptions
from vitruvian.data.sources import annotation_file, detect, open_source
from vitruvian.data.sources.maps import MapSettings
from vitruvian.errors import InputError, unknown_name
from vitruvian.evaluate.answers import Answers, Seen
from vitruvian.evaluate.cases import Cases, Keypoints, Sampled, names_of
from vitruvian.evaluate.files import MapFolder
from vitruvian.evaluate.framings import open_framings
from vitruvian.evaluate.posefile import PoseFile
from vitruvian.evaluate.protocols import Protocol, find_protocol
from vitruvian.evaluate.scoring import Scorer, Settings, make_scorers
from vitruvian.formats.boxes import read_coco
from vitruvian.predict.detect import Boxes, Detector, GivenBoxes
from vitruvian.predict.load import load, open_detector
from vitruvian.predict.predictor import Predictor
from vitruvian.tasks import TASKS
from vitruvian.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that an evaluation depends on; plain values, so that other processes can repeat it.

    Attributes:
        data: labelled photographs, of any layout that ``vitruvian data pack`` reads.
        models: weights to evaluate; or
        predictions: a file or folder of predictions made elsewhere.
        protocol: name, see ``vitruvian.evaluate.protocols``.
        layout: of the data; "auto" for the protocol's, or to tell from the files.
        options: what the data's files do not say.
        tasks: measure only these.
        points: vocabulary to compare keypoints in; "" for the truth's.
        parts: vocabulary to compare labels in; "" for the truth's.
        boxes: who the model looks at: "truth" (annotated boxes), a COCO detections .json (by image
            id where that is how it names the photographs), or a detector as in ``vitruvian
            predict``.
        flip: average with the mirrored prediction; ``None`` as the protocol says, or
            else the weights.
        zooms: average keypoints with those of windows enlarged by these factors; ``None`` like
            ``flip``.
        framing: what dense tasks look at; "" as the protocol says.
        exact: the published numerics.
        normal_signs: of the model's normals, where the weights do not say.
        settings: what the numbers depend on; ``None`` as the protocol says.
        predicted: what files of predicted maps do not say.
        device: of the model.
        dtype: of the model.
    """

    data: str
    models: tuple[str, ...] = ()
    predictions: str = ""
    protocol: str = "folder"
    layout: str = "auto"
    options: SourceOptions = field(default_factory=SourceOptions)
    tasks: tuple[str, ...] = ()
    points: str = ""
    parts: str = ""
    boxes: str = "truth"
    flip: bool | None = None
    zooms: tuple[float, ...] | None = None
    framing: str = ""
    exact: bool = False
    normal_signs: tuple[int, int, int] | None = None
    settings: Settings | None = None
    predicted: MapSettings = field(default_factory=MapSettings)
    device: str = "auto"
    dtype: str = "auto"

    def described(self) -> dict[str, Any]:
        """Return the plan as JSON values, with what was left open filled in.

        ``flip`` and ``zooms`` stay ``None`` where the weights decide.
        """
        protocol = find_protocol(self.protocol)
        settings = self.settings or protocol.settings
        filled = replace(
            self,
            flip=protocol.flip if self.flip is None else self.flip,
            zooms=protocol.zooms if self.zooms is None else self.zooms,
            framing=self.framing or protocol.framing,
            settings=settings,
        )
        values = asdict(replace(filled, predicted=replace(self.predicted, parts=None)))
        words = self.predicted.parts
        if words is not None:
            values["predicted"]["parts"] = f"{words.name}@{words.version}"
        return _plain(values)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Photographs, answers, and what the scorers are made for.

    Attributes:
        plan: what was asked for.
        protocol: its protocol.
        cases: the photographs.
        answers: to evaluate.
        tasks: measured.
        points: vocabulary keypoints are compared in.
        parts: vocabulary labels are compared in.
        layout: of the data, as understood.
        groups: names of the groups photographs are also counted in, by place; empty for none.
    """

    plan: Plan
    protocol: Protocol
    cases: Cases
    answers: Answers
    tasks: tuple[str, ...]
    points: Vocabulary | None
    parts: Vocabulary | None
    layout: str
    groups: tuple[str, ...] = ()

    @property
    def settings(self) -> Settings:
        """What the numbers depend on."""
        return self.plan.settings or self.protocol.settings

    def scorers(self) -> list[Scorer]:
        """Return fresh scorers, one per task."""
        return make_scorers(self.tasks, self.settings, points=self.points, parts=self.parts)


def prepare(plan: Plan) -> Evaluation:
    """Open everything a plan names, and see that it fits together.

    Raises:
        InputError: for anything missing or contradictory; data that is not there says where it
            comes from.
    """
    protocol = find_protocol(plan.protocol)
    if bool(plan.models) == bool(plan.predictions):
        raise InputError("give what to evaluate: --model weights, or --predictions made elsewhere")
    for name in plan.tasks:
        if name not in TASKS:
            raise unknown_name("task", name, TASKS)
        if name not in protocol.tasks:
            raise InputError(
                f"the protocol {protocol.name!r} measures {', '.join(protocol.tasks)}, not {name}"
            )
    if not Path(plan.data).exists():
        raise protocol.missing(f"{plan.data}: no such file or folder")
    cases, layout, groups = _open(plan, protocol)
    truth = _truth_of(cases)
    points = _words("points", plan.points, truth.get("pose"), protocol.points)
    parts = _words("parts", plan.parts, truth.get("parts"), protocol.parts)
    known = [task for task in protocol.tasks if task in truth]
    predictor = _predictor(plan, protocol) if plan.models else None
    if predictor is not None:
        known = [task for task in known if task in predictor.tasks]
    tasks = tuple(plan.tasks or known)
    lacking = [task for task in tasks if task not in truth]
    if lacking or not tasks:
        who = plan.predictions or f"the model ({', '.join(predictor.tasks if predictor else ())})"
        raise InputError(
            f"nothing to compare{' for ' + ', '.join(lacking) if lacking else ''}: {plan.data} has "
            f"{', '.join(truth) or 'no labels'}, {protocol.name!r} measures "
            f"{', '.join(protocol.tasks)}, and {who} is to be evaluated"
        )
    _idle_options(plan, tasks)
    if predictor is None:
        answers = _from_files(plan, cases, tasks, points, parts)
    else:
        boxes = _boxes(plan, cases)
        answers = Seen(predictor, cases, tasks=tasks, boxes=boxes, points=points)
    return Evaluation(
        plan=plan,
        protocol=protocol,
        cases=cases,
        answers=answers,
        tasks=tasks,
        points=points,
        parts=parts,
        layout=layout,
        groups=groups,
    )


def _open(plan: Plan, protocol: Protocol) -> tuple[Cases, str, tuple[str, ...]]:
    path, layout = Path(plan.data), plan.layout if plan.layout != "auto" else protocol.layout
    try:
        if protocol.name == "thuman2":
            source, names, groups = open_framings(path, protocol.name)
            return Sampled(source, names), "shards", groups
        if layout == "auto":
            layout = detect(path)
        target = vocabularies.load(plan.points) if plan.points else None
        if layout == "coco":
            file = annotation_file(path) if path.is_dir() else path
            images = plan.options.images
            if images is None and path.is_dir() and (path / "images").is_dir():
                images = path / "images"
            named = plan.options.points
            words = None if named is None else vocabularies.load(named)
            return Keypoints(file, images, vocabulary=words, target=target), layout, ()
        options = plan.options
        if protocol.parts and options.parts is None and layout in ("folder", "manifest"):
            options = replace(options, parts=protocol.parts)
        if layout in ("lip", "cihp") and options.split is None:
            options = replace(options, split="val")
        source, found = open_source(path, layout, options)
        parts = vocabularies.load(plan.parts) if plan.parts else None
        return Sampled(source, names_of(source), points=target, parts=parts), found.name, ()
    except InputError as error:
        if protocol.source:
            raise protocol.missing(str(error)) from error
        raise


def _truth_of(cases: Cases) -> dict[str, Vocabulary | None]:
    """Return what is annotated, with its vocabulary, from the first photographs that say."""
    if isinstance(cases, Keypoints):
        return {"pose": cases.vocabulary}
    found: dict[str, Vocabulary | None] = {}
    for place in np.unique(np.linspace(0, len(cases) - 1, 4).astype(int)).tolist():
        sample = cases.sample(place)
        for annotations in (*(person.annotations for person in sample.people), sample.rasters):
            for name, annotation in annotations.items():
                if name in TASKS:
                    found.setdefault(name, annotation.vocabulary)
    return {name: found[name] for name in TASKS if name in found}


def _words(what: str, asked: str, true: Vocabulary | None, wanted: str) -> Vocabulary | None:
    """Return the vocabulary to compare in."""
    if asked:
        if true is None:
            raise InputError(f"--compare-{what} {asked} has no effect: the data has no such labels")
        return vocabularies.load(asked)
    if wanted and true is not None and true.name != wanted:
        raise InputError(
            f"the protocol is for {wanted}, the data has {true.name}: evaluate it with the "
            f"protocol of its own or --protocol folder, or compare in --compare-{what} {wanted}"
        )
    return true


def _idle_options(plan: Plan, tasks: Sequence[str]) -> None:
    """Refuse options that would have no effect."""
    idle: list[str] = []
    if plan.predictions:
        defaults = Plan(data="")
        named = ("boxes", "flip", "zooms", "framing", "exact", "normal_signs", "device", "dtype")
        idle = [name for name in named if getattr(plan, name) != getattr(defaults, name)]
        if idle:
            raise InputError(
                f"--{idle[0].replace('_', '-')} has no effect on predictions made elsewhere"
            )
    if plan.framing and tasks == ("pose",):
        raise InputError(
            "--framing has no effect on keypoints: they always come from people's windows"
        )
    if plan.normal_signs is not None and "normals" not in tasks:
        raise InputError("--normal-signs has no effect: no normals are measured")


def _predictor(plan: Plan, protocol: Protocol) -> Predictor:
    described = plan.described()
    signs = plan.normal_signs
    return load(
        *plan.models,
        detector="whole",
        tasks=plan.tasks or None,
        settings={} if signs is None else {"normals": {"signs": signs}},
        device=plan.device,
        dtype=plan.dtype,
        framing=described["framing"],
        mask="none",  # what is measured is decided by the truth
        flip=described["flip"],
        zooms=described["zooms"],
        exact=plan.exact,
        batch=1,  # windows in company come out differently in the last digits
    )


def _boxes(plan: Plan, cases: Cases) -> Mapping[int, Boxes] | Detector | None:
    """Return whom the model looks at, see ``Plan.boxes``.

    Raises:
        InputError: if the file has boxes of none of the photographs.
    """
    if plan.boxes == "truth":
        return None
    if not plan.boxes.lower().endswith(".json"):
        detector = open_detector(plan.boxes, None, plan.device)
        if isinstance(detector, GivenBoxes) and not any(map(detector.knows, cases.names)):
            raise InputError(
                f"{plan.boxes} has boxes of other photographs ({detector.example}, …), none of "
                f"{plan.data} ({cases.names[0]}, …)"
            )
        return detector
    known = {key: Boxes(*found) for key, found in read_coco(plan.boxes).items()}
    found: dict[int, Boxes] = {}
    for place, keys in enumerate(_keys(known, cases)):
        for key in keys:
            if key in known:
                given = known[key]
                order = np.argsort(-given.scores, kind="stable")
                found[place] = Boxes(given.boxes[order], given.scores[order])
                break
    if not found:
        raise InputError(
            f"{plan.boxes} has boxes of other photographs ({', '.join(list(known)[:2])}, …), none "
            f"of {plan.data} ({cases.names[0]}, id {cases.numbers[0]}, …)"
        )
    return found


def _keys(known: Collection[str], cases: Cases) -> Iterator[list[str]]:
    """Yield the keys a photograph's boxes may have in a COCO boxes file, best first.

    Other photographs may be called like an image id. So where the file gives ids of the same
    annotations, numbers in it are ids alone; where it gives none, numbers are names alone.
    """
    own = isinstance(cases, Keypoints) and not isinstance(cases.numbers, range)
    ids: set[str] = set()
    if own:  # an image id has two keys, see ``read_coco``; a name has one
        ids = {key for key in known if key.isdecimal() and key.zfill(12) in known}
        ids = ids if ids.intersection(map(str, cases.numbers)) else set()
    for number, name in zip(cases.numbers, cases.names, strict=True):
        path = Path(name)
        keys = [key for key in (name, path.name, path.stem) if key not in ids]
        yield keys + [str(number)] * (not own or str(number) in ids)


def _from_files(
    plan: Plan,
    cases: Cases,
    tasks: Sequence[str],
    points: Vocabulary | None,
    parts: Vocabulary | None,
) -> Answers:
    path = Path(plan.predictions)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder of predictions")
    if tuple(tasks) == ("pose",):
        assert points is not None
        return PoseFile(path, cases, points)
    if "pose" in tasks or path.is_file():
        raise InputError(
            f"{path}: {'a file' if path.is_file() else 'one folder'} for {', '.join(tasks)}: "
            "evaluate keypoints (a file) and maps (a folder) one at a time, with --tasks"
        )
    if len(tasks) > 1 and not any((path / task).is_dir() for task in tasks):
        named = [t for t in tasks if next(path.rglob(f"*_{t}.*"), None) is not None]
        if len(named) < len(tasks):
            raise InputError(
                f"{path}: which of {', '.join(tasks)} is it? name it with --tasks, or the files "
                "NAME_TASK.png"
            )
    return MapFolder(path, cases, tasks, plan.predicted, parts=parts)

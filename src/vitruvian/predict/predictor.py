# SPDX-License-Identifier: Apache-2.0
"""From photographs to people: one reading, one detection and one cut per person for all models.

Windows travel as uint8 and are normalised on the device. People are batched across photographs.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vitruvian import image as images
from vitruvian.errors import InputError, VitruvianError, unknown_name
from vitruvian.geometry import Crop, Size
from vitruvian.model.card import check_zooms
from vitruvian.model.network import Network
from vitruvian.person import Annotation, Person, Raster, Sample
from vitruvian.predict.detect import Boxes, Detector
from vitruvian.predict.device import pick_device, pick_dtype
from vitruvian.predict.windows import around, cut, solid, unzoomed, zoomed
from vitruvian.tasks import Framing, Task, View

Picture = str | Path | bytes | NDArray[np.uint8]
STAGES = ("read", "detect", "crop", "forward", "decode")


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A network with the meaning of its heads.

    Attributes:
        name: for messages and records.
        network: the weights.
        tasks: head name → task.
        input_size: (height, width) of its windows.
        mean: RGB values (0 … 255) subtracted from pixels.
        std: RGB values they are divided by.
        generation: 1 or 2 for the published families (they enlarge small crops differently).
        fill: RGB of what windows show outside of the photograph.
        flip: average with the prediction for the mirrored window, unless told otherwise.
        zooms: average keypoints with those of windows enlarged by these factors, unless told
            otherwise.
    """

    name: str
    network: Network
    tasks: dict[str, Task]
    input_size: Size = (1024, 768)
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    generation: int = 1
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flip: bool = False
    zooms: tuple[float, ...] = ()


@dataclass
class Outcome:
    """One photograph's result: a sample, or the error that kept it from being one."""

    name: str
    sample: Sample | None = None
    error: VitruvianError | None = None


@dataclass(eq=False)
class _Job:
    """One window of one photograph, on its way through the models."""

    outcome: int
    person: int | None
    view: View
    found: dict[str, Annotation] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class _Pass:
    """Windows that several models share, and what each model answers about them."""

    framing: Framing
    size: Size
    second: bool
    fill: tuple[float, float, float]
    work: dict[int, tuple[Model, dict[str, Task]]] = field(default_factory=dict)

    @property
    def zooms(self) -> set[float]:
        """Factors of the windows that are looked at besides, for keypoints only."""
        return {z for model, tasks in self.work.values() if "pose" in tasks for z in model.zooms}

    def cut(self, image: NDArray[np.uint8], view: View, zoom: float) -> NDArray[np.uint8]:
        """Cut one window, enlarged by a factor."""
        enlarged = zoomed(view, zoom)
        return cut(image, enlarged, self.framing, second=self.second, fill=self.fill)


class Predictor:
    """Answers what the models know about every person in a photograph.

    ``predictor(photo)`` returns the people, best detection first; ``predictor.see(photo)`` the
    whole :class:`Sample`; ``predictor.stream(photos)`` works through many.
    """

    def __init__(
        self,
        models: Sequence[Model],
        detector: Detector,
        *,
        tasks: Sequence[str] | None = None,
        framing: Framing = "person",
        mask: Literal["parts", "none"] = "parts",
        flip: bool | None = None,
        zooms: Sequence[float] | None = None,
        exact: bool = False,
        pixels: Literal["photograph", "window"] = "photograph",
        batch: int = 4,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        """Put models and a detector together.

        Args:
            models: one or several; every task belongs to exactly one of them.
            detector: finds the people.
            tasks: leave out all others.
            framing: what dense tasks look at: each person's window ("person"), or the whole
                photograph with margins ("pad") or stretched ("stretch", as published for most).
                Keypoints always come from people's windows.
            mask: "parts" marks depth and normals off the person invalid where parts are known.
            flip: average with the prediction for the mirrored window; ``None`` as each model says.
            zooms: average keypoints with those of windows enlarged by these factors about their
                centre (below 1: which show more); ``None`` as each model says. Maps are as good or
                better without (docs/log.md).
            exact: published numerics where the default corrects them, see the tasks.
            pixels: what annotations are in: pixels of the photograph, or of the window, which is
                quicker where photographs are large and little is asked.
            batch: windows per forward pass.
            device: "auto", "cpu", "cuda[:N]" or "mps".
            dtype: "auto" (bf16 on CUDA, fp32 elsewhere), "fp32", "bf16" or "fp16".

        Raises:
            InputError: for an unknown task, device or dtype, or a task two models answer.
        """
        if batch < 1:
            raise InputError(f"batch {batch}: it needs at least 1 window per forward pass")
        for kind, given, known in (
            ("framing", framing, get_args(Framing)),
            ("mask", mask, ("parts", "none")),
            ("kind of pixels", pixels, ("photograph", "window")),
        ):
            if given not in known:
                raise unknown_name(kind, str(given), known)
        known = [name for model in models for name in model.tasks]
        wanted = list(known if tasks is None else tasks)
        if tasks is not None and not wanted:
            raise InputError(f"no task asked for: these models answer {', '.join(known)}")
        for name in wanted:
            if name not in known:
                raise unknown_name("task of these models", name, known)
        twice = sorted({name for name in wanted if known.count(name) > 1})
        if twice:
            raise InputError(
                f"several models answer {', '.join(twice)}: give one model per task, or --tasks"
            )
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype, self.device)
        self.detector, self.mask = detector, mask
        self.framing: Framing = framing
        self.exact, self.pixels, self.batch = exact, pixels, batch
        self.models = [
            replace(
                model,
                tasks={n: t for n, t in model.tasks.items() if n in wanted},
                flip=model.flip if flip is None else flip,
                zooms=model.zooms if zooms is None else check_zooms(zooms),
            )
            for model in models
        ]
        self.models = [model for model in self.models if model.tasks]
        if not self.models:
            raise InputError(
                "these weights have no head, so there is nothing to predict: give a finetuned "
                "model (pose, parts, depth, normals)"
            )
        for model in self.models:
            model.network.to(device=self.device, dtype=self.dtype).eval()
        self.tasks = [name for model in self.models for name in model.tasks]
        self._passes = self._plan()
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    def __call__(
        self, picture: Picture, boxes: Boxes | ArrayLike | None = None
    ) -> tuple[Person, ...]:
        """Return everyone in a photograph (path, bytes or RGB uint8 array); see :meth:`see`."""
        return self.see(picture, boxes).people

    def see(self, picture: Picture, boxes: Boxes | ArrayLike | None = None) -> Sample:
        """Return a photograph with its people, in photograph pixels.

        Args:
            picture: path, encoded bytes, or (H, W, 3) uint8 RGB.
            boxes: people known beforehand, instead of asking the detector: ``Boxes``, or (N, 4)
                x0, y0, x1, y1 in pixels of the photograph.

        Raises:
            ImageError: if the picture cannot be read.
            InputError: boxes that are none.
        """
        known = None if boxes is None else [Boxes.of(boxes)]
        name = str(picture) if isinstance(picture, str | Path) else ""
        with self._clock("read"):
            image = images.read(picture)
        (outcome,) = self._answer([(name, image)], known)
        if outcome.error is not None:
            raise outcome.error
        assert outcome.sample is not None
        return outcome.sample

    def stream(
        self, pictures: Iterable[str | Path], names: Iterable[str] | None = None
    ) -> Iterator[Outcome]:
        """Work through many photographs in order, reading ahead; memory stays flat.

        A photograph that cannot be read, or whose boxes cannot be cut, yields its error and does
        not stop the others.

        Args:
            pictures: paths.
            names: what to call them, in outcomes and towards the detector; by default the paths.
        """
        waiting = ((str(path), path) for path in pictures)
        if names is not None:
            waiting = zip(names, pictures, strict=True)
        with ThreadPoolExecutor(max_workers=2) as pool:
            ahead: list[tuple[str, Future[NDArray[np.uint8]]]] = []

            def fill() -> None:
                for name, path in islice(waiting, 2 * self.batch - len(ahead)):
                    ahead.append((name, pool.submit(images.read, path)))

            fill()
            while ahead:
                group = ahead[: self.batch]
                del ahead[: len(group)]
                fill()
                outcomes = [Outcome(name) for name, _ in group]
                read: list[tuple[str, NDArray[np.uint8]]] = []
                places: list[int] = []
                with self._clock("read"):
                    for place, (name, future) in enumerate(group):
                        try:
                            read.append((name, future.result()))
                            places.append(place)
                        except VitruvianError as error:
                            outcomes[place].error = error
                for place, outcome in zip(places, self._answer(read), strict=True):
                    outcomes[place] = outcome
                yield from outcomes

    # ------------------------------------------------------------------------------- inside

    def _answer(
        self,
        pictures: Sequence[tuple[str, NDArray[np.uint8]]],
        boxes: Sequence[Boxes] | None = None,
    ) -> list[Outcome]:
        names, arrays = [name for name, _ in pictures], [array for _, array in pictures]
        if boxes is None:
            with self._clock("detect"):
                boxes = self.detector.detect(arrays, names)
        outcomes: list[Outcome] = []
        people: list[list[Person]] = []
        wholes: list[dict[str, Raster]] = []
        for name, array, found in zip(names, arrays, boxes, strict=True):
            ids = found.identities
            people.append(
                [
                    Person(
                        box=box, score=float(score), identity=None if ids is None else int(ids[i])
                    )
                    for i, (box, score) in enumerate(zip(found.boxes, found.scores, strict=True))
                ]
            )
            wholes.append({})
            outcomes.append(Outcome(name, Sample(image=array, name=name)))
        for outcome, found in zip(outcomes, people, strict=True):
            try:
                for person in found:
                    Crop.from_box(solid(person.box), self.models[0].input_size)
            except InputError as error:
                outcome.error, found[:] = error, []
        for shared in self._passes:
            self._run(shared, arrays, people, wholes)
        for outcome, found, whole in zip(outcomes, people, wholes, strict=True):
            assert outcome.sample is not None
            masked = tuple(person.having(**self._masked(person.annotations)) for person in found)
            rasters = {name: r for name, r in self._masked(whole).items() if isinstance(r, Raster)}
            outcome.sample = replace(outcome.sample, people=masked, rasters=rasters)
            if outcome.error is not None:
                outcome.sample = None
        return outcomes

    def _plan(self) -> list["_Pass"]:
        """Group the tasks of all models by the windows they look at, so each is cut once."""
        passes: dict[tuple[Framing, Size, bool, tuple[float, ...]], _Pass] = {}
        for model in self.models:
            second = model.generation == 2
            for name, task in model.tasks.items():
                framing: Framing = "person" if name == "pose" else self.framing
                key = (framing, model.input_size, second, model.fill)
                shared = passes.setdefault(
                    key,
                    _Pass(framing=framing, size=model.input_size, second=second, fill=model.fill),
                )
                shared.work.setdefault(id(model), (model, {}))[1][name] = task
        return list(passes.values())

    def _run(
        self,
        shared: "_Pass",
        arrays: Sequence[NDArray[np.uint8]],
        people: list[list[Person]],
        wholes: list[dict[str, Raster]],
    ) -> None:
        """Fill in what the tasks of one pass say about every person (or every whole picture)."""
        jobs: list[_Job] = []
        for index, (array, found) in enumerate(zip(arrays, people, strict=True)):
            size = (array.shape[0], array.shape[1])
            if shared.framing == "person":
                crops = [Crop.from_box(solid(person.box), shared.size) for person in found]
                jobs += [_Job(index, i, View(crop, size)) for i, crop in enumerate(crops)]
            else:
                make = Crop.pad if shared.framing == "pad" else Crop.stretch
                jobs.append(_Job(index, None, View(make(size, shared.size), size)))
        for start in range(0, len(jobs), self.batch):
            part = jobs[start : start + self.batch]
            with self._clock("crop"):
                windows = {
                    zoom: np.stack(
                        [shared.cut(arrays[job.outcome], job.view, zoom) for job in part]
                    )
                    for zoom in (1.0, *shared.zooms)
                }
            views = [job.view for job in part]
            if self.pixels == "window":
                views = [View(Crop.whole(shared.size), shared.size)] * len(part)
            for model, tasks in shared.work.values():
                with self._clock("forward"):
                    outputs = self._forward(model, tasks, windows)
                with self._clock("decode"):
                    for name, task in tasks.items():
                        decoded = task.decode(outputs[name], views, exact=self.exact)
                        for job, annotation in zip(part, decoded, strict=True):
                            job.found[name] = annotation
        for job in jobs:
            if job.person is not None:
                person = people[job.outcome][job.person]
                people[job.outcome][job.person] = person.having(**job.found)
                continue
            whole = {n: a for n, a in job.found.items() if isinstance(a, Raster)}
            wholes[job.outcome].update(whole)
            people[job.outcome][:] = [
                person.having(**{n: around(r, person) for n, r in whole.items()})
                for person in people[job.outcome]
            ]

    @torch.inference_mode()
    def _forward(
        self, model: Model, tasks: dict[str, Task], windows: Mapping[float, NDArray[np.uint8]]
    ) -> dict[str, Tensor]:
        """Return the outputs for windows by zoom, keypoints' averaged where windows reach."""
        outputs = self._looked(model, tasks, windows[1.0])
        if "pose" in tasks and model.zooms:
            pose = {"pose": tasks["pose"]}
            total, shares = outputs["pose"], torch.ones_like(outputs["pose"][:, :1])
            for zoom in model.zooms:
                maps, there = unzoomed(self._looked(model, pose, windows[zoom])["pose"], zoom)
                total, shares = total + maps, shares + there
            outputs["pose"] = total / shares
        return outputs

    def _looked(
        self, model: Model, tasks: dict[str, Task], windows: NDArray[np.uint8]
    ) -> dict[str, Tensor]:
        pixels = self._normalised(model, windows).to(self.dtype)
        outputs = _answers(model.network, tasks, pixels)
        if model.flip:
            mirrored = _answers(model.network, tasks, pixels.flip(-1))
            for name, task in tasks.items():
                outputs[name] = (outputs[name] + task.unmirror(mirrored[name])) / 2
        return outputs

    def _normalised(self, model: Model, windows: NDArray[np.uint8]) -> Tensor:
        """Return (B, 3, H, W) float32; accelerators are sent bytes and normalise themselves."""
        if self.device.type == "cpu":
            planes = [images.to_planes(window, model.mean, model.std) for window in windows]
            return torch.from_numpy(np.stack(planes))
        pixels = torch.from_numpy(windows).to(self.device).movedim(-1, 1).float()
        mean = torch.tensor(model.mean, device=self.device).view(3, 1, 1)
        return (pixels - mean) / torch.tensor(model.std, device=self.device).view(3, 1, 1)

    def _masked(self, found: Mapping[str, Annotation]) -> dict[str, Annotation]:
        """Mark depth and normals off the people invalid, where parts are known."""
        parts = found.get("parts")
        if self.mask == "none" or not isinstance(parts, Raster) or parts.vocabulary is None:
            return dict(found)
        inside = parts.mask & (parts.values != parts.vocabulary.background)
        masked = {
            name: replace(raster, valid=_laid(inside, parts.origin, raster))
            for name, raster in found.items()
            if isinstance(raster, Raster) and raster.law in ("scalar", "vector")
        }
        return {**found, **masked}

    @contextmanager
    def _clock(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[stage] += time.perf_counter() - start


def _laid(mask: NDArray[np.bool_], origin: tuple[int, int], raster: Raster) -> NDArray[np.bool_]:
    """Return a mask on the pixels of another raster: windows of other sizes end elsewhere."""
    (x, y), (to_x, to_y) = origin, raster.origin
    moved = Raster(law="scalar", values=mask, origin=(x - to_x, y - to_y), kind="mask")
    laid = moved.placed(raster.size).values.astype(bool)
    return laid if raster.valid is None else laid & raster.valid


def _answers(network: Network, tasks: Iterable[str], pixels: Tensor) -> dict[str, Tensor]:
    """Return the output of these heads alone, float32."""
    features = network.features(pixels)
    return {name: network.heads[name](features).float() for name in tasks}

# SPDX-License-Identifier: Apache-2.0
"""``vitruvian evaluate``: a model, or predictions made elsewhere, against the truth; resumable."""

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vitruvian.commands.data import LayoutName
from vitruvian.commands.progress import progress_bar
from vitruvian.data.options import SourceOptions
from vitruvian.errors import InputError

if TYPE_CHECKING:
    from vitruvian.evaluate.plan import Evaluation
    from vitruvian.evaluate.run import Folder

_PLAIN = SourceOptions()


def evaluate(
    *,
    data: Path,
    model: tuple[str, ...] = (),
    predictions: Path | None = None,
    protocol: Literal[
        "folder", "coco", "wholebody", "humans5k", "humans2k", "thuman2", "hi4d"
    ] = "folder",
    out: Path = Path("evaluation"),
    layout: LayoutName = "auto",
    options: SourceOptions = _PLAIN,
    tasks: tuple[str, ...] = (),
    compare_points: str = "",
    compare_parts: str = "",
    boxes: str = "truth",
    flip: bool | None = None,
    zooms: tuple[float, ...] | None = None,
    framing: Literal["", "person", "pad", "stretch"] = "",
    exact: bool = False,
    normal_signs: tuple[int, int, int] | None = None,
    alignment: Literal["", "none", "median", "scale", "scale_shift"] = "",
    depth_average: Literal["", "image", "pixel"] = "",
    normals_average: Literal["", "image", "pixel"] = "",
    absent: Literal["", "skip", "zero"] = "",
    predicted_parts: str = "",
    predicted_depth: Literal["", "metric", "relative", "inverse"] = "",
    predicted_normals: Literal["", "opengl", "opencv", "directx", "dsine"] = "",
    worst: int = 12,
    device: str = "auto",
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    processes: int = 1,
    part: str = "",
    overwrite: bool = False,
) -> int:
    """Measure how right a model is, or predictions made elsewhere are.

    Writes a report (report.json), a table of all photographs (photographs.csv), what is needed to
    compare two evaluations (evidence.npz), and a page of the worst cases (worst.html). Interrupt
    it at any time: the same command goes on where it stopped. Windows pass the network one by one,
    so numbers do not depend on batches or on the number of processes.

    Args:
        data: labelled photographs: an annotation file, a folder or packed shards.
        model: weights to evaluate, one or several: files, catalogue names or hf:org/name.
        predictions: instead of a model: a COCO results .json, a file or folder of instance files
            (mmpose, Sapiens2), or a folder of maps called like the photographs.
        protocol: folder takes any labelled data as it is. coco, wholebody, humans5k, humans2k,
            thuman2, hi4d are those of the papers; without the data they say where it comes from.
        out: folder for the results.
        layout: how the data is laid out, see vitruvian data pack.
        options: what the data's files do not say.
        tasks: measure only these (pose parts depth normals); by default all that both sides have.
        compare_points: vocabulary to compare keypoints in, such as coco17, or common114 for models
            of 133 and 308 points.
        compare_parts: vocabulary to compare labels in.
        boxes: who the model looks at: truth (annotated boxes), a COCO detections .json, or a
            detector as in vitruvian predict.
        flip: average with the mirrored prediction; by default as the protocol says, or for data of
            your own as the weights do.
        zooms: average keypoints with those of windows enlarged by these factors, none for none; by
            default as the protocol says, or for data of your own as the weights do.
        framing: what dense tasks look at; by default as the protocol says.
        exact: the published numerics, known defects included.
        normal_signs: of the model's normals, see vitruvian predict.
        alignment: of depth to the truth, per photograph, or per person where people were looked
            at one by one; by default scale_shift.
        depth_average: whether photographs (image) or pixels weigh the same; image by default.
        normals_average: the same for normals; pixel by default.
        absent: whether classes nobody shows are left out of means (skip) or count 0 (zero).
        predicted_parts: vocabulary of predicted label maps that do not say it.
        predicted_depth: kind of predicted depth that does not say it; relative by default.
        predicted_normals: axes of predicted normals that do not say it.
        worst: photographs per task on the page of the worst cases; 0 for no page.
        device: auto, cpu, mps or cuda:N.
        dtype: precision of the network.
        processes: on this machine; each has a model of its own.
        part: I/N, to do one of N parts here and others elsewhere, in the same --out; the last one
            to finish writes the report.
        overwrite: forget what an earlier run left in the folder.
    """
    from dataclasses import replace

    from vitruvian import vocabulary
    from vitruvian.data.sources.maps import MapSettings
    from vitruvian.evaluate.plan import Plan, prepare
    from vitruvian.evaluate.protocols import find_protocol
    from vitruvian.evaluate.run import Folder

    if worst < 0 or processes < 1:
        raise InputError(f"--worst {worst} --processes {processes}: from 0 and from 1 on")
    if processes > 1 and part:
        raise InputError("--processes and --part: give one of them")
    asked = {
        "alignment": alignment,
        "depth_average": depth_average,
        "normals_average": normals_average,
        "absent": absent,
    }
    changes: Any = {name: value for name, value in asked.items() if value}
    predicted = MapSettings(
        parts=vocabulary.load(predicted_parts) if predicted_parts else None,
        depth_kind=predicted_depth or None,
        convention=predicted_normals or None,
    )
    if not predictions and (predicted_parts or predicted_depth or predicted_normals):
        raise InputError("--predicted-… has no effect without --predictions")
    plan = Plan(
        data=str(data),
        models=model,
        predictions="" if predictions is None else str(predictions),
        protocol=protocol,
        layout=layout,
        options=options,
        tasks=tasks,
        points=compare_points,
        parts=compare_parts,
        boxes=boxes,
        flip=flip,
        zooms=zooms,
        framing=framing,
        exact=exact,
        normal_signs=normal_signs,
        settings=replace(find_protocol(protocol).settings, **changes) if changes else None,
        predicted=predicted,
        device=device,
        dtype=dtype,
    )
    start = time.perf_counter()
    evaluation = prepare(plan)
    _refuse_idle(asked, evaluation)
    folder = Folder(out)
    folder.claim(plan, overwrite=overwrite)
    finished = _work(evaluation, folder, processes=processes, part=_part(part))
    if not finished:
        return 0
    return _finish(evaluation, folder, worst, time.perf_counter() - start)


_BELONGS = {
    "alignment": "depth",
    "depth_average": "depth",
    "normals_average": "normals",
    "absent": "parts",
}


def _refuse_idle(asked: Mapping[str, str], evaluation: "Evaluation") -> None:
    for name, value in asked.items():
        if value and _BELONGS[name] not in evaluation.tasks:
            raise InputError(
                f"--{name.replace('_', '-')} has no effect: what is measured is "
                f"{', '.join(evaluation.tasks)}"
            )


def _part(text: str) -> tuple[int, int]:
    if not text:
        return 1, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--part {text}: wanted I/N, such as 2/3 for the second of three parts")
    return int(found[1]), int(found[2])


def _work(
    evaluation: "Evaluation", folder: "Folder", *, processes: int, part: tuple[int, int]
) -> bool:
    """Do what is left to do here; return whether all chunks are there."""
    from vitruvian.evaluate import run

    total = len(evaluation.cases)
    left = run.unfinished(evaluation, folder)
    with progress_bar(total, "photographs") as advance:
        if processes > 1 and left:
            run.work_together(evaluation.plan, folder, processes, total=total, progress=advance)
        elif left:
            before = total - min(total, left * run.CHUNK)
            run.work(evaluation, folder, part=part, progress=lambda done: advance(before + done))
    left = run.unfinished(evaluation, folder)
    if left:
        sys.stdout.write(
            f"part {part[0]}/{part[1]} done; {left} of {len(run.chunks_of(total))} chunks are "
            "left to other parts, the last of which writes the report\n"
        )
    return not left


def _finish(evaluation: "Evaluation", folder: "Folder", worst: int, seconds: float) -> int:
    from vitruvian.evaluate import page, report, run

    measured = run.gather(evaluation, folder)
    found = report.report(evaluation, measured, command=report.command_line(), seconds=seconds)
    written = [report.save(found, folder.out), folder.out / "photographs.csv"]
    if worst:
        written.append(page.write_page(evaluation, measured, found, folder.out, count=worst))
    show(found)
    sys.stdout.write("".join(f"  {path}\n" for path in written))
    return 0


def show(found: Mapping[str, Any]) -> None:
    """Print the tables of a report."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from vitruvian.evaluate.report import shown

    console = Console()
    data = found["data"]
    people = f", {data['people']} people" if data["people"] else ""
    console.print(
        f"{data['photographs']} photographs{people} of {data['path']}, protocol "
        f"{found['protocol']['name']}",
        highlight=False,
        soft_wrap=True,
    )
    for lines in shown(found):
        table = Table(
            title=lines.title,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1),
            pad_edge=False,
        )
        for place, column in enumerate(lines.columns):
            table.add_column(column, justify="right" if place else "left", no_wrap=True)
        for cells in lines.lines:
            table.add_row(*cells)
        console.print(table)
        if lines.note:
            console.print(lines.note, highlight=False, soft_wrap=True)

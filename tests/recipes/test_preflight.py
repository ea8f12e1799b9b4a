# SPDX-License-Identifier: Apache-2.0
"""Broken data gets one clear error before the first step; good data does not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from toy_people import PARTS, POINTS, toy_people, write_layouts
from vitruvian.cli import main
from vitruvian.data.pack import pack
from vitruvian.data.source import Listed
from vitruvian.data.survey import Survey
from vitruvian.files import read_json
from vitruvian.person import Person, Points, Raster, Sample
from vitruvian.recipes import Part, Run, parts, pose, pretrain
from vitruvian.recipes.preflight import memorise
from vitruvian.recipes.training import check, prepared
from vitruvian.train.parallel import Parallel

SMALL = {"size": "nano", "steps": 4, "batch": 4, "input_size": (64, 48)}
PEOPLE = toy_people(24)


def changed(sample: Sample, **annotations) -> Sample:
    (person,) = sample.people
    return replace(sample, people=(person.having(**annotations),))


def sides_swapped(sample: Sample) -> Sample:
    points = sample.people[0].points("pose")
    return changed(sample, pose=replace(points, xy=points.xy[POINTS.mirror]))


def checked(run: Run, samples: list[Sample], place: Path, **options):
    pack(Listed(samples), place / "set")
    small = replace(run.network, backbone=replace(run.network.backbone, depth=1))
    made = prepared(replace(run, network=small, data=(Part(path=str(place / "set")),)))
    return check(made, place / "out", parallel=Parallel(), **options)


def test_good_data_passes_and_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitruvian.recipes.preflight.cpu_computes", lambda dtype: False)
    run = parts(vocabulary=PARTS, **SMALL).having({"loop.precision": "bf16"})
    found = checked(run, PEOPLE, tmp_path)
    assert not found.bad
    assert found.memorised is not None
    assert found.memorised.fall >= 0.9
    assert set(found.classes) == {*PARTS.names, "(not known)"}
    assert sum(found.classes[name] for name in PARTS.names) == pytest.approx(1)
    report = read_json(tmp_path / "out" / "preflight" / "report.json")
    assert (tmp_path / "out" / "preflight" / "sheet.jpg").stat().st_size > 5000
    texts = [finding["text"] for finding in report["findings"]]
    assert any("everything starts fresh" in text for text in texts)
    assert any("learned by heart" in text for text in texts)
    (slow,) = (finding for finding in found.findings if "bf16" in finding.text)
    assert slow.state == "odd"
    assert "--precision fp32" in slow.remedy


def test_pretraining_has_a_preflight_too(tmp_path: Path) -> None:
    run = pretrain("nano", steps=4, batch=4, input_size=(96, 64))
    found = checked(run, PEOPLE[:4], tmp_path)
    assert not found.bad
    assert found.memorised is not None
    assert found.memorised.fall >= 0.9


def test_swapped_sides_are_refused_unless_trusted(tmp_path: Path) -> None:
    wrong = [sides_swapped(sample) for sample in PEOPLE]
    run = pose(vocabulary=POINTS, **SMALL)
    found = checked(run, wrong, tmp_path)
    (bad,) = found.bad
    assert "left and right are swapped: of 24 people whose face is visible only 0%" in bad.text
    assert "left is the subject's own" in bad.remedy
    assert found.memorised is None
    made = checked(run, wrong, tmp_path, trust_sides=True)
    assert not made.bad


def test_half_swapped_sides_are_ambiguous_where_visibility_says_something() -> None:
    def surveyed(hide: bool) -> list[str]:
        survey = Survey()
        for number, sample in enumerate(PEOPLE * 2):
            one = sides_swapped(sample) if number % 2 else sample
            points = one.people[0].points("pose")
            if hide and number % 8 == 0:
                seen = np.where(np.array(POINTS.names) == "nose", 1, 2)
                one = changed(one, pose=replace(points, visibility=seen))
            survey.add(one)
        return [str(f) for f in survey.findings() if f.state == "bad" and f.about == "sides"]

    (text,) = surveyed(hide=True)
    assert "left and right are ambiguous" in text
    assert not surveyed(hide=False)  # nobody's nose is marked hidden: some may be seen from behind


def test_labels_that_belong_to_other_pictures_cannot_be_learned() -> None:
    network = torch.nn.Linear(2, 1)
    network.weight.requires_grad_(False)

    class Objective:
        def losses(self, network, batch):
            return {"x": (network(batch["x"]) - batch["y"]).square().mean()}

    batch = {"x": torch.ones(4, 2), "y": torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])}
    found = memorise(network, Objective(), batch, steps=20)
    assert found.fall < 0.9
    assert found.steps == 20


# --------------------------------------------------------------------- bad data, as users meet it


def broken_map(path: Path, values: np.ndarray) -> None:
    """Write an 8- or 16-bit PNG or .npy in place of another map."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        from PIL import Image

        Image.fromarray(values).save(path)


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def empty_mask(place: Path) -> None:
    broken_map(first(place / "maps" / "masks"), np.zeros((88, 72), np.uint8))


def label_300(place: Path) -> None:
    broken_map(first(place / "maps" / "parts"), np.full((88, 72), 300, np.uint16))


def nan_depth(place: Path) -> None:
    broken_map(first(place / "maps" / "depths"), np.full((88, 72), np.nan, np.float32))


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (empty_mask, ("masks/toy0-0.png", "empty")),
        (label_300, ("parts/toy0-0.png", "8-bit")),
        (nan_depth, ("depths/toy0-0.npy", "NaN")),
    ],
)
def test_bad_files_stop_before_the_first_step(
    breaks: Callable[[Path], None], words: tuple[str, ...], tmp_path: Path, capsys
) -> None:
    write_layouts(PEOPLE[:6], tmp_path)
    breaks(tmp_path)
    options = ["--parts", str(tmp_path / "toy6.toml"), "--depth-kind", "metric"]
    source = ["data", "pack", str(tmp_path / "maps"), "--normals", "opencv"]
    assert main([*source, "--out", str(tmp_path / "set"), *options]) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    assert all(word in said for word in words), said


def test_a_picture_that_is_not_there(tmp_path: Path, capsys) -> None:
    write_layouts(PEOPLE[:6], tmp_path)
    first(tmp_path / "points" / "images").unlink()
    command = ["train", "pose", "--data", str(tmp_path / "points"), "--out", str(tmp_path / "out")]
    assert main([*command, "--steps", "2"]) == 2
    assert "toy0-0.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def run_train(place: Path, *more: str) -> int:
    return main(
        ["train", "parts", "--data", str(place), "--out", str(place.parent / "out"), "--steps", "2",
         "--size", "nano", "--input-size", "64", "48", "--batch", "4", *more]
    )  # fmt: skip


def test_a_truncated_tar(tmp_path: Path, capsys) -> None:
    pack(Listed(PEOPLE[:6]), tmp_path / "set")
    (tar,) = (tmp_path / "set").glob("*.tar")
    tar.write_bytes(tar.read_bytes()[:-5000])
    assert run_train(tmp_path / "set") == 2
    assert tar.name in capsys.readouterr().err


def test_the_index_of_another_shard(tmp_path: Path, capsys) -> None:
    pack(Listed(PEOPLE[:6]), tmp_path / "set")
    pack(Listed(PEOPLE[6:12]), tmp_path / "other")
    (index,) = (tmp_path / "other").glob("*.parquet")
    (tmp_path / "set" / index.name).write_bytes(index.read_bytes())
    assert run_train(tmp_path / "set") == 2
    assert "its index belongs to another shard" in capsys.readouterr().err


def test_labels_beyond_the_classes(tmp_path: Path, capsys) -> None:
    """A class that does not exist, in data no reader of ours made."""
    wrong = []
    for sample in PEOPLE[:8]:
        values = sample.people[0].raster("parts").values.copy()
        values[:4] = 77
        raster = Raster(law="label", values=values, vocabulary=PARTS)
        wrong.append(changed(sample, parts=raster))
    pack(Listed(wrong), tmp_path / "set")
    assert run_train(tmp_path / "set") == 2
    said = capsys.readouterr().err
    assert "label values 77, but toy6 has 6 classes" in said
    assert "name the vocabulary" in said


def test_swapped_sides_stop_the_command(tmp_path: Path, capsys) -> None:
    pack(Listed([sides_swapped(sample) for sample in PEOPLE]), tmp_path / "set")
    command = ["train", "pose", "--data", str(tmp_path / "set"), "--out", str(tmp_path / "out"),
               "--steps", "2", "--size", "nano", "--input-size", "64", "48"]  # fmt: skip
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "error: the data cannot be trained on (1 findings" in said
    assert "left and right are swapped" in said


def test_data_without_the_labels(tmp_path: Path, capsys) -> None:
    plain = [
        replace(s, people=(Person(box=s.people[0].box, annotations={"pose": points_of(s)}),))
        for s in PEOPLE[:6]
    ]
    pack(Listed(plain), tmp_path / "set")
    assert run_train(tmp_path / "set") == 2
    assert "no parts in" in capsys.readouterr().err


def points_of(sample: Sample) -> Points:
    return sample.people[0].points("pose")

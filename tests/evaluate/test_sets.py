# SPDX-License-Identifier: Apache-2.0
"""Sets with layouts of their own: Hi4D, and scans rendered by framing."""

import json
import shutil

import made_sets
import numpy as np
import pytest

from vitruvian import image
from vitruvian.cli import main
from vitruvian.data.shards import write_shard
from vitruvian.data.sources.hi4d import open_hi4d
from vitruvian.errors import InputError
from vitruvian.evaluate.framings import cameras
from vitruvian.person import Person, Raster, Sample


def run(out, *arguments):
    return main(["evaluate", "--out", str(out), "--worst", "0", *map(str, arguments)])


def report(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


@pytest.fixture
def model(tmp_path):
    return made_sets.weights(tmp_path / "w.safetensors", ("parts", "depth", "normals"))


def hi4d(root):
    """Three actions, one of a pair that is not evaluated, and cameras 4 and 16."""
    for place in ("pair28/dance28", "pair32/pair32_1/pair32/hug32", "pair10/box10"):
        action = root / place
        for number in (1, 2):
            mask, normals, depth = made_sets.ball(centre=(36 + number, 30))
            stem = f"{number:06d}"
            for camera in (4, 16):
                for folder, array in (
                    ("images", np.zeros((*made_sets.SIZE, 3), np.uint8)),
                    ("seg/img_seg_mask", mask.astype(np.uint8) * 255),
                ):
                    inner = action / folder / str(camera) / ("all" if "seg" in folder else "")
                    inner.mkdir(parents=True, exist_ok=True)
                    image.write(inner / f"{stem}{'.png' if 'seg' in folder else '.jpg'}", array)
            for role, array in (("depth", depth), ("normals", normals)):
                (action / role / "4").mkdir(parents=True, exist_ok=True)
                np.save(action / role / "4" / f"{stem}.npy", array)
        (action / "cameras").mkdir()
        inner = np.stack([np.diag([50.0 + i, 50, 1]) for i in range(2)])
        outer = np.stack([np.eye(4)[:3]] * 2)
        outer[1, :, 3] = 1
        np.savez(
            action / "cameras" / "rgb_cameras.npz", ids=[16, 4], intrinsics=inner, extrinsics=outer
        )
    return root


def test_hi4d_is_read_as_it_is_distributed(tmp_path, model):
    source = open_hi4d(hi4d(tmp_path / "hi4d"))
    names = [entry.name for entry in source.entries]
    assert names == [
        "pair28/dance28/000001.jpg",
        "pair28/dance28/000002.jpg",
        "pair32/pair32_1/pair32/hug32/000001.jpg",
        "pair32/pair32_1/pair32/hug32/000002.jpg",
    ]
    sample = source[0]
    assert sample.camera is not None
    assert sample.camera.matrix[0, 0] == 51  # camera 4 is the second in the file
    assert sample.camera.translation[0] == 1
    person = sample.people[0]
    assert person.raster("depth").kind == "metric"
    assert person.raster("normals").values[30, 37, 2] < -0.9  # towards the viewer
    arguments = ["--data", tmp_path / "hi4d", "--protocol", "hi4d", "--model", model]
    assert run(tmp_path / "out", *arguments) == 0
    found = report(tmp_path / "out")
    assert found["data"]["layout"] == "hi4d"
    assert set(found["results"]) == {"depth", "normals"}
    assert found["settings"]["framing"] == "stretch"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: shutil.rmtree(r / "pair28/dance28/depth"), "missing"),
        (lambda r: (r / "pair28/dance28/cameras/rgb_cameras.npz").write_bytes(b"x"), "no cameras"),
        (lambda r: [shutil.rmtree(r / p) for p in ("pair28", "pair32")], "with photographs for"),
    ],
)
def test_what_lacks_in_hi4d_is_said(tmp_path, spoil, words):
    root = hi4d(tmp_path)
    spoil(root)
    with pytest.raises(InputError, match=words):
        open_hi4d(root)[0]


def renders(root, **changes):
    """Packed balls in two framings, with the renderer's note of what it was told."""
    told = cameras("thuman2")
    for framing in ("face", "full"):
        samples = []
        for number in range(3):
            mask, normals, depth = made_sets.ball(radius=15.0 if framing == "full" else 25.0)
            vectors = normals * np.array([1, -1, -1], np.float32)
            maps = {
                "depth": Raster(law="scalar", values=depth, valid=mask, kind="metric"),
                "normals": Raster(law="vector", values=vectors, valid=mask),
            }
            person = Person(box=np.array([15, 5, 64, 54]), annotations=maps)
            pixels = np.full((*made_sets.SIZE, 3), 40 * number, np.uint8)
            samples.append(Sample(image=pixels, people=(person,), name=f"scan{number}"))
        write_shard(root / framing / "scans-000000.tar", samples, quality=None)
        shares = {name: float(name == framing) for name in ("face", "upper", "full")}
        note = {k: v for k, v in told.items() if k != "settings"}
        settings = {**told["settings"], "shares": shares}
        (root / framing / "synth.json").write_text(
            json.dumps(note | {"settings": settings} | changes)
        )
    return root


def test_renders_are_counted_together_and_by_framing(tmp_path, model):
    root = renders(tmp_path / "renders")
    arguments = ["--data", root, "--protocol", "thuman2", "--model", model]
    assert run(tmp_path / "out", *arguments) == 0
    depth = report(tmp_path / "out")["results"]["depth"]
    both = [depth["face/RMSE"], depth["full/RMSE"]]
    assert depth["RMSE"] == pytest.approx(np.mean(both), rel=1e-9)
    assert both[0] != both[1]
    lines = (tmp_path / "out" / "photographs.csv").read_text().splitlines()
    assert lines[0].startswith("photograph,number,group,depth/")
    assert lines[1].startswith("face/")


def test_renders_through_other_cameras_are_refused(tmp_path, model, capsys):
    root = renders(tmp_path / "renders", seed=3)
    arguments = ["--data", root, "--model", model]
    assert run(tmp_path / "out", *arguments, "--protocol", "thuman2") == 2
    text = capsys.readouterr().err
    assert "was rendered with seed 3" in text
    assert "--protocol folder" in text
    assert run(tmp_path / "out", "--data", root / "face", "--model", model) == 0

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
from vitruvian.data.sources import open_source
from vitruvian.data.sources.hi4d import open_hi4d
from vitruvian.errors import InputError
from vitruvian.evaluate.framings import FRAMINGS, manifest, open_framings
from vitruvian.person import Person, Raster, Sample

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")


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
        (lambda r: shutil.rmtree(r / "pair28/dance28/depth"), "vitruvian synth hi4d"),
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
        write_shard(root / framing / "thuman2-000000.tar", samples, quality=None)
        note = json.dumps(manifest("thuman2").note(framing) | changes)
        (root / framing / "synth.json").write_text(note)
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


def test_the_cameras_of_thuman2_are_fixed():
    cameras = manifest("thuman2")
    assert len(cameras.views) == 526 * len(FRAMINGS)
    assert cameras.sha256.startswith("fcc7f51ac322bfe8")
    seen = {(view["scan"], view["framing"]) for view in cameras.views}
    assert len(seen) == len(cameras.views)


@pytest.mark.slow
def test_scans_become_the_set_of_thuman2(tmp_path, model, capsys):
    for name in ("0003", "0004"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        body = trimesh.creation.capsule(height=1.3, radius=0.22)  # z is up
        body.export(tmp_path / "scans" / name / f"{name}.obj")
    arguments = ["synth", "thuman2", tmp_path / "scans", "--out", tmp_path / "renders"]
    arguments += ["--workers", "1"]
    assert main(list(map(str, arguments))) == 0
    assert "524 of 526 scans" in capsys.readouterr().err
    arguments = ["--data", tmp_path / "renders", "--protocol", "thuman2", "--model", model]
    assert run(tmp_path / "out", *arguments) == 0
    found = report(tmp_path / "out")
    assert found["data"]["photographs"] == 6
    assert {f"{name}/RMSE" for name in FRAMINGS} <= set(found["results"]["depth"])
    assert found["published"] == []
    source, names, _ = open_framings(tmp_path / "renders", "thuman2")
    assert names[0] == "face/thuman2-0003"
    sample = source[4]  # full
    person, camera = sample.people[0], sample.camera
    row = [v for v in manifest("thuman2").views if v["scan"] == "0003" and v["framing"] == "full"]
    assert camera.matrix[0, 0] == pytest.approx(row[0]["focal"] / 43.2666 * 1280, rel=1e-6)
    tall = (person.box[3] - person.box[1]) / 1024
    assert tall == pytest.approx(row[0]["fill"], abs=0.03)
    depth = person.raster("depth").placed(sample.size)
    # the nearest of the capsule is about half its thickness nearer than its axis
    eye = camera.centre
    distance = np.linalg.norm(eye - [0, 0.87, 0])
    assert depth.values[depth.mask].min() == pytest.approx(distance - 0.22, abs=0.15)


def hi4d_meshes(root, *, shift=0.0):
    """Two frames of two balls, seen by camera 4, as photographs, masks, calibration and scans."""
    action = root / "pair28" / "dance28"
    for folder in ("images/4", "seg/img_seg_mask/4/all", "cameras", "frames"):
        (action / folder).mkdir(parents=True)
    matrix = np.array([[60.0, 0, 39.5], [0, 60, 29.5], [0, 0, 1]])
    outer = np.eye(4)[:3]
    outer[:, 3] = 0.1, 0, 2.5
    for number in (1, 2):
        balls = [
            trimesh.creation.icosphere(subdivisions=4, radius=0.4).apply_translation([x, 0, 0])
            for x in (-0.4, 0.4)
        ]
        scan = trimesh.util.concatenate(balls)
        y, x = np.mgrid[:60, :80]
        ways = np.dstack([(x - 39.5) / 60, (y - 29.5) / 60, np.ones((60, 80))])
        mask = np.zeros((60, 80), bool)
        for centre in (-0.3, 0.5):
            to = np.array([centre + shift, 0, 2.5])
            along = ways @ to / (ways**2).sum(axis=2)
            mask |= np.linalg.norm(ways * along[..., None] - to, axis=2) < 0.4
        stem = f"{number:06d}"
        scan.export(action / "frames" / f"mesh-f{number:05d}.obj")
        image.write(action / "images/4" / f"{stem}.jpg", np.full((60, 80, 3), 90, np.uint8))
        image.write(action / "seg/img_seg_mask/4/all" / f"{stem}.png", mask.astype(np.uint8) * 255)
    cameras = {"ids": [4], "intrinsics": matrix[None], "extrinsics": outer[None]}
    np.savez(action / "cameras" / "rgb_cameras.npz", **cameras)
    return root


def test_scans_of_hi4d_become_its_truth(tmp_path, model, capsys):
    root = hi4d_meshes(tmp_path / "hi4d")
    arguments = ["--data", root, "--protocol", "hi4d", "--model", model]
    assert run(tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert "vitruvian synth hi4d" in said
    assert "licence: non-commercial" in said
    assert main(["synth", "hi4d", str(root), "--workers", "1"]) == 0
    assert "2 of 2 photographs" in capsys.readouterr().out
    assert main(["synth", "hi4d", str(root)]) == 0
    assert "0 of 2 photographs" in capsys.readouterr().out
    assert run(tmp_path / "out", *arguments) == 0
    assert report(tmp_path / "out")["data"]["layout"] == "hi4d"
    source, layout = open_source(root)
    assert layout.name == "hi4d"
    person = source[0].people[0]
    depth, normals = person.raster("depth"), person.raster("normals")
    # The ray through (x, y) meets the right ball at (0.5, 0, 2.5) where it faces it.
    x, y = round(0.5 / 2.5 * 60 + 39.5), 29
    assert depth.values[y, x] == pytest.approx(2.1, abs=0.01)
    assert normals.values[y, x] == pytest.approx([0, 0, -1], abs=0.3)
    left = normals.values[y, x - 6]
    assert left[0] < -0.3
    top = normals.values[y - 6, x]
    assert top[1] < -0.3


def test_a_scan_that_is_not_on_the_photograph_is_refused(tmp_path, capsys):
    root = hi4d_meshes(tmp_path / "hi4d", shift=-1.3)
    assert main(["synth", "hi4d", str(root), "--workers", "1"]) == 2
    assert "do not belong together" in capsys.readouterr().err
    (root / "pair28/dance28/frames/mesh-f00002.obj").unlink()
    assert main(["synth", "hi4d", str(root)]) == 2
    assert "mesh-f00002.obj" in capsys.readouterr().err
    assert main(["synth", "thuman2", str(root), "--out", str(tmp_path / "r")]) == 2
    assert "none of them called 0000 to 0525" in capsys.readouterr().err

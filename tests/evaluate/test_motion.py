# SPDX-License-Identifier: Apache-2.0
"""What only some data allows: jitter where people have identities, PCKh where heads have ends."""

import json

import numpy as np
import pytest

from vitruvian import image, vocabulary
from vitruvian.cli import main
from vitruvian.evaluate.scoring_pose import frame_of


def run(out, *arguments):
    assert main(["evaluate", "--out", str(out), "--worst", "0", *map(str, arguments)]) == 0
    return json.loads((out / "report.json").read_text(encoding="utf-8"))["results"]["pose"]


def clip(root, *, names, points, wobble=0.0, tracked=True):
    """One person who walks evenly through frames, and results that tremble up and down."""
    words = vocabulary.load(points)
    rng = np.random.default_rng(0)
    pose = rng.uniform(10, 40, (len(words), 2))
    images, annotations, results = [], [], []
    for number, name in enumerate(names):
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        image.write(root / "images" / name, np.zeros((60, 80, 3), np.uint8))
        images.append({"id": number, "file_name": name, "height": 60, "width": 80})
        xy = pose + np.array([number, 0])
        found = xy + np.array([0, wobble * (-1) ** number])
        for rows, entries, extra in (
            (xy, annotations, {"id": number, "area": 900.0, "bbox": [10, 10, 30, 30]}),
            (found, results, {"score": 0.9}),
        ):
            triples = np.column_stack([rows, np.full(len(rows), 2 if "id" in extra else 0.9)])
            entry = {"image_id": number, "category_id": 1, "keypoints": triples.ravel().tolist()}
            entries.append(entry | extra | ({"track_id": 5} if tracked else {}))
    category = {"id": 1, "name": "person", "keypoints": list(words.names), "skeleton": []}
    truth = {"images": images, "annotations": annotations, "categories": [category]}
    (root / "people.json").write_text(json.dumps(truth))
    (root / "results.json").write_text(json.dumps(results))
    return ["--data", root / "people.json", "--predictions", root / "results.json"]


def test_jitter_of_a_clip_that_many_chunks_share(tmp_path):
    names = [f"walk/frame{n:04d}/camera1.png" for n in range(40)]
    arguments = clip(tmp_path, names=names, points="coco17", wobble=0.5)
    found = run(tmp_path / "o", *arguments, "--images", tmp_path / "images")
    # up, down, up: an acceleration of 0.5 + 2 · 0.5 + 0.5
    assert found["jitter"] == pytest.approx(2, rel=1e-4)
    assert found["acceleration_error"] == pytest.approx(2, rel=1e-4)
    arguments = clip(tmp_path / "b", names=names, points="coco17", wobble=0.5, tracked=False)
    assert "jitter" not in run(tmp_path / "p", *arguments)


def test_pckh_is_told_where_both_ends_of_the_head_are_known(tmp_path):
    names = [f"{n}.png" for n in range(3)]
    arguments = clip(tmp_path, names=names, points="mpii", wobble=1.0)
    found = run(tmp_path / "o", *arguments, "--points", "mpii")
    assert found["PCKh@0.5"] == 1
    assert found["mPCKh@0.5"] == 1
    far = clip(tmp_path / "b", names=names, points="mpii", wobble=30.0)
    assert run(tmp_path / "p", *far, "--points", "mpii")["PCKh@0.5"] < 0.5
    coco = clip(tmp_path / "c", names=names, points="coco17")
    assert not any("PCKh" in name for name in run(tmp_path / "q", *coco))


@pytest.mark.parametrize(
    ("a", "b", "same", "number"),
    [
        ("clip1/frame0007/camera02", "clip1/frame0008/camera02", True, 7),
        ("clip1/frame0007/camera02", "clip1/frame0007/camera03", False, 7),
        ("v2/000012.jpg", "v2/000013.jpg", True, 12),
        ("v2/000012.jpg", "v3/000012.jpg", False, 12),
    ],
)
def test_frames_are_numbered_by_their_names(a, b, same, number):
    first, second = frame_of(a), frame_of(b)
    assert first[1] == number
    assert (first[0] == second[0]) == same
    assert frame_of("portrait.png") is None

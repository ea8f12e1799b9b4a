# SPDX-License-Identifier: Apache-2.0
"""Keypoint files: what is written reads back, and files of other tools are understood."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vitruvian import vocabulary
from vitruvian.errors import InputError
from vitruvian.formats import boxes, coco, instances, openpose
from vitruvian.formats.coco_truth import TruthFile
from vitruvian.formats.record import Record
from vitruvian.person import Person, Points, Sample

RNG = np.random.default_rng(3)


def points_of(
    words: vocabulary.Vocabulary, *, visibility: bool = True, depth: bool = False
) -> Points:
    count = len(words)
    xy = RNG.uniform(-20, 900, (count, 2)).astype(np.float32)
    flags = RNG.integers(0, 3, count).astype(np.uint8)
    scores = RNG.uniform(0, 1, count).astype(np.float32)
    xy[1], flags[1], scores[1] = np.nan, 0, 0
    return Points(
        vocabulary=words,
        xy=xy,
        scores=scores,
        visibility=flags if visibility else None,
        xyz=RNG.normal(0, 2, (count, 3)) if depth else None,
    )


def people_of(*annotated: Points | None) -> tuple[Person, ...]:
    return tuple(
        Person(
            box=np.array([10.5, 20, 110 + i, 220.25]),
            score=0.5 + i / 8,
            identity=None if i % 2 else i + 7,
            annotations={} if points is None else {"pose": points},
        )
        for i, points in enumerate(annotated)
    )


def assert_same_points(ours: Points, theirs: Points, *, scores: bool = True) -> None:
    assert ours.vocabulary == theirs.vocabulary
    np.testing.assert_allclose(ours.xy, theirs.xy, atol=1e-3)
    if scores:
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)


def assert_same(ours: Sequence[Record], theirs: Sequence[Record]) -> None:
    assert [r.name for r in ours] == [r.name for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert len(a.people) == len(b.people)
        for one, other in zip(a.people, b.people, strict=True):
            np.testing.assert_allclose(one.box, other.box, atol=2e-3)
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.identity == other.identity
            assert one.annotations.keys() == other.annotations.keys()
            if "pose" in one.annotations:
                assert_same_points(one.points(), other.points())


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


# ----------------------------------------------------------------------------------------- COCO


@pytest.mark.parametrize("name", ["coco17", "wholebody133", "sapiens308", "halpe26", "body25"])
def test_coco_dataset_reads_back(tmp_path: Path, name: str) -> None:
    words = vocabulary.load(name)
    records = [
        Record(
            name="a/b.jpg", size=(480, 640), people=people_of(points_of(words, depth=True), None)
        ),
        Record(name="empty.png", size=(5, 6)),
        Record(name="c.jpg", people=people_of(points_of(words, visibility=False))),
    ]
    path = tmp_path / "new folder" / "people.json"
    coco.write_keypoints(path, records)
    read = coco.read(path)
    assert_same(read, records)
    assert [r.size for r in read] == [(480, 640), (5, 6), None]
    first, third = read[0].people[0].points(), read[2].people[0].points()
    np.testing.assert_array_equal(first.visibility, records[0].people[0].points().visibility)
    np.testing.assert_allclose(first.xyz, records[0].people[0].points().xyz, atol=1e-4)
    assert third.visibility is None
    assert third.xyz is None
    content = json.loads(path.read_text())
    assert f"{name}@{words.version}" in content["info"]["vocabularies"]
    for category in content["categories"]:
        for a, b in category.get("skeleton", ()):
            assert 1 <= a <= len(category["keypoints"])
            assert 1 <= b <= len(category["keypoints"])


def test_a_vocabulary_of_ones_own_comes_back_from_the_file(tmp_path: Path) -> None:
    words = vocabulary.make(
        "robot", ["antenna", "grip L1", "grip R1"], version="4",
        mirror_pairs=[("grip L1", "grip R1")], sides=["centre", "left", "right"],
        links=[("antenna", "grip L1")],
    )  # fmt: skip
    path = tmp_path / "robots.json"
    coco.write_keypoints(path, [Record(name="a", people=people_of(points_of(words)))])
    read = coco.read(path)[0].people[0].points().vocabulary
    assert read == words
    assert [(link.a, link.b) for link in read.links] == [(0, 1)]


def test_people_of_several_vocabularies_share_a_file(tmp_path: Path) -> None:
    both = people_of(points_of(vocabulary.load("coco17")), points_of(vocabulary.load("sapiens308")))
    path = tmp_path / "mixed.json"
    coco.write_keypoints(path, [Record(name="a", people=both)])
    assert_same(coco.read(path), [Record(name="a", people=both)])


def test_no_people_at_all(tmp_path: Path) -> None:
    for records in ([], [Record(name="a.jpg", size=(3, 4))]):
        coco.write_keypoints(tmp_path / "a.json", records)
        assert_same(coco.read(tmp_path / "a.json"), records)
        coco.write_results(tmp_path / "b.json", records)
        assert coco.read(tmp_path / "b.json") == []


def test_wholebody_fields_are_those_of_coco_wholebody(tmp_path: Path) -> None:
    words = vocabulary.load("wholebody133")
    xy = np.arange(266, dtype=np.float32).reshape(133, 2) + 1
    flags = np.full(133, 2, np.uint8)
    flags[list(words.groups["left_hand"])] = 0
    points = Points(vocabulary=words, xy=xy, scores=np.ones(133, np.float32), visibility=flags)
    coco.write_keypoints(tmp_path / "w.json", [Record(name="1", people=people_of(points))])
    content = json.loads((tmp_path / "w.json").read_text())
    entry, category = content["annotations"][0], content["categories"][0]
    assert (len(category["keypoints"]), len(category["wholebody_keypoints"])) == (17, 133)
    lengths = {
        "keypoints": 51,
        "foot_kpts": 18,
        "face_kpts": 204,
        "lefthand_kpts": 63,
        "righthand_kpts": 63,
    }
    assert {key: len(entry[key]) for key in lengths} == lengths
    assert entry["foot_kpts"][:3] == [35, 36, 2]  # row 17, the left big toe
    assert (entry["face_valid"], entry["lefthand_valid"], entry["foot_valid"]) == (
        True,
        False,
        True,
    )
    assert entry["lefthand_box"] == [0, 0, 0, 0]
    assert entry["righthand_box"] == [225, 226, 40, 40]


def test_a_file_of_coco_wholebody(tmp_path: Path) -> None:
    def rows(count: int, first: float) -> list[float]:
        return [v for i in range(count) for v in (first + i, 2 * first + i, 1.0)]

    entry = {
        "image_id": 785, "category_id": 1, "id": 1, "iscrowd": 0,
        "bbox": [280.5, 44.5, 218.7, 346.6],
        "keypoints": rows(17, 100), "foot_kpts": rows(6, 200), "face_kpts": rows(68, 300),
        "lefthand_kpts": rows(21, 400), "righthand_kpts": rows(21, 500), "foot_valid": True,
        "face_valid": True, "lefthand_valid": False, "righthand_valid": True,
    }  # fmt: skip
    crowd = entry | {"iscrowd": 1}
    no_points = {"image_id": 785, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}
    names = list(vocabulary.load("coco17").names)
    content = {
        "images": [{"id": 785, "file_name": "000000000785.jpg", "width": 640, "height": 425}],
        "annotations": [entry, crowd, no_points],
        "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": [[16, 14]]}],
    }
    (record,) = coco.read(written(tmp_path / "official.json", content))
    assert (record.id, record.size, len(record.people)) == (785, (425, 640), 2)
    points = record.people[0].points()
    assert points.vocabulary.name == "wholebody133"
    np.testing.assert_allclose(
        points.xy[[0, 17, 23, 112]], [[100, 200], [200, 400], [300, 600], [500, 1000]]
    )
    left = list(points.vocabulary.groups["left_hand"])
    assert np.isnan(points.xy[left]).all()
    assert not points.present[left].any()
    np.testing.assert_allclose(record.people[0].box, [280.5, 44.5, 499.2, 391.1])
    assert not record.people[1].annotations


def test_a_published_308_point_validation_file(tmp_path: Path) -> None:
    rows = np.column_stack([RNG.uniform(1, 99, (308, 2)), RNG.integers(0, 2, 308)])
    rows[rows[:, 2] == 0] = 0
    for layout in (rows.tolist(), rows.ravel().tolist()):
        entry = {
            "image_id": 3, "category_id": 1, "id": 9, "bbox": [1, 2, 30, 40], "area": 9.0,
            "goliath_wholebody_kpts": layout, "keypoints": rows[:17].ravel().tolist(),
        }  # fmt: skip
        content = {
            "info": {"goliath_info": {"body_keypoint_ids": [0]}},
            "images": [{"id": 3, "file_name": "x.png", "width": 60, "height": 80}],
            "annotations": [entry],
            "categories": [{"id": 1, "name": "person"}],
        }
        (record,) = coco.read(written(tmp_path / "308.json", content))
        points = record.people[0].points()
        assert points.vocabulary.name == "sapiens308"
        np.testing.assert_array_equal(points.present, rows[:, 2] > 0)
        np.testing.assert_allclose(points.xy[points.present], rows[points.present, :2], atol=1e-4)


@pytest.mark.parametrize("name", ["coco17", "wholebody133", "sapiens308"])
def test_coco_results_read_back(tmp_path: Path, name: str) -> None:
    words = vocabulary.load(name)
    records = [
        Record(name="000000000785.jpg", people=people_of(points_of(words), points_of(words))),
        Record(name="000000040083.jpg", people=people_of(points_of(words))),
    ]
    path = tmp_path / "results.json"
    coco.write_results(path, records)
    assert_same(coco.read(path), records)
    entries = json.loads(path.read_text())
    assert [entry["image_id"] for entry in entries] == [785, 785, 40083]
    scores = records[0].people[0].points().scores
    wanted = 0.5 * scores[scores > 0.2].mean()
    assert entries[0]["score"] == pytest.approx(wanted, abs=1e-5)


def test_image_numbers(tmp_path: Path) -> None:
    def ids(*records: Record) -> list[int]:
        coco.write_keypoints(tmp_path / "n.json", records)
        return [image["id"] for image in json.loads((tmp_path / "n.json").read_text())["images"]]

    assert ids(Record(name="a.jpg", id=12), Record(name="b.jpg", id=9)) == [12, 9]
    assert ids(Record(name="x/007.jpg"), Record(name="8.png")) == [7, 8]
    assert ids(Record(name="7.jpg"), Record(name="b.jpg")) == [1, 2]
    assert ids(Record(name="7.jpg"), Record(name="7.png")) == [1, 2]


def test_a_record_keeps_all_of_a_sample_but_its_pixels() -> None:
    sample = Sample(image=np.zeros((4, 6, 3), np.uint8), name="s", people=people_of(None))
    record = Record.of(sample, id=4)
    assert (record.name, record.size, record.people, record.id) == ("s", (4, 6), sample.people, 4)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"frames": []}, "has no 'annotations' but frames"),
        ({"annotations": [{"image_id": 1}], "images": []}, "not laid out as"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4]}], "formats.boxes"),
        ([{"image_id": 1, "keypoints": [1, 2, 3], "score": 1}], "1 points without names"),
        ([{"image_id": 1, "keypoints": [1, 2, 3] * 14, "score": 1}], "it may be aic or crowdpose"),
        ([{"image_id": 1, "keypoints": [1, 2, 3], "vocabulary": "mine@1"}], "does not ship"),
        (
            [{"image_id": 1, "keypoints": [1] * 9, "vocabulary": "coco17@1"}],
            "3 points with 3 scores",
        ),
        ([7], "not laid out as"),
    ],
)
def test_what_is_no_coco_file_is_said(tmp_path: Path, content: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        coco.read(written(tmp_path / "odd.json", content))


@pytest.mark.parametrize("flag", [0.9, 3, -1, np.nan])
def test_a_visibility_that_is_none_is_said(tmp_path: Path, flag: float) -> None:
    rows = [[5, 6, 2]] * 16 + [[7, 8, flag]]
    entry = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4], "keypoints": np.ravel(rows).tolist()}
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [entry]}
    with pytest.raises(InputError, match=rf"visibility {flag}.*keypoint_scores"):
        coco.read(written(tmp_path / "odd.json", content))


def test_areas_of_truth_are_finite(tmp_path: Path) -> None:
    """Without one, and with null, it is that of the box."""
    entry = {"image_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [5, 6, 2] * 17}
    people = [entry | more for more in ({"area": 7}, {"area": None}, {})]

    def truth() -> TruthFile:
        annotations = [one | {"id": number} for number, one in enumerate(people)]
        content = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": annotations}
        return TruthFile(written(tmp_path / "truth.json", content))

    np.testing.assert_array_equal(truth().read(0).areas, [7, 12, 12])
    people[1] = entry | {"area": np.inf}
    with pytest.raises(InputError, match="annotation 1: the area is inf"):
        truth().read(0)


def test_what_is_no_json_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.json: not a JSON file"):
        coco.read(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        coco.read(tmp_path / "none.json")


# ---------------------------------------------------------------------------- files of other tools


def test_instance_info_of_one_picture(tmp_path: Path) -> None:
    xy, scores = RNG.uniform(0, 99, (17, 2)), RNG.uniform(0, 1, 17)
    instance = {
        "keypoints": xy.tolist(), "keypoint_scores": scores.tolist(),
        "bbox": [[1.0, 2.0, 30.0, 40.0]], "bbox_score": 0.75,
    }  # fmt: skip
    names = {str(i): name for i, name in enumerate(vocabulary.load("coco17").names)}
    for meta in ({"keypoint_id2name": names, "dataset_name": "coco"}, {}):
        content = {"meta_info": meta, "instance_info": [instance]}
        (record,) = instances.read(written(tmp_path / "photo.json", content))
        (person,) = record.people
        assert (record.name, person.score) == ("photo", 0.75)
        np.testing.assert_allclose(person.box, [1, 2, 30, 40])
        assert person.points().vocabulary.name == "coco17"
        np.testing.assert_allclose(person.points().xy, xy, atol=1e-4)
        np.testing.assert_allclose(person.points().scores, scores, atol=1e-6)
    own = {"keypoint_id2name": {"0": "head", "1": "tail"}, "skeleton_links": [[0, 1]]}
    two = {"keypoints": [[1, 2], [3, 4]], "keypoint_scores": [1, 1]}
    content = {"meta_info": own, "instance_info": [two]}
    (record,) = instances.read(written(tmp_path / "own.json", content))
    assert record.people[0].points().vocabulary.names == ("head", "tail")
    np.testing.assert_allclose(record.people[0].box, [1, 2, 3, 4])


def test_instance_info_of_a_video_and_frames(tmp_path: Path) -> None:
    def instance(count: int, **more: Any) -> dict[str, Any]:
        return {"keypoints": [[5, 6]] * count, "keypoint_scores": [0.5] * count, **more}

    both = [instance(133), instance(133)]
    video = {
        "instance_info": [{"frame_id": 1, "instances": []}, {"frame_id": 2, "instances": both}]
    }
    read = instances.read(written(tmp_path / "v.json", video))
    assert [(r.name, len(r.people)) for r in read] == [("1", 0), ("2", 2)]
    frames = {
        "video": "clip", "image_size": [720, 1280], "num_keypoints": 308, "threshold": 0.3,
        "frames": [{"image_name": "f1.jpg", "instances": [instance(308, bbox=[1, 2, 9, 8])]},
                   {"image_name": "f2.jpg", "instances": []}],
    }  # fmt: skip
    read = instances.read(written(tmp_path / "f.json", frames))
    assert [(r.name, r.size, len(r.people)) for r in read] == [
        ("f1.jpg", (720, 1280), 1), ("f2.jpg", (720, 1280), 0),
    ]  # fmt: skip
    assert read[0].people[0].points().vocabulary.name == "sapiens308"
    for wrong in ({"annotations": []}, [], {"instance_info": [instance(5)]}, {"frames": [{}]}):
        with pytest.raises(InputError):
            instances.read(written(tmp_path / "wrong.json", wrong))


@pytest.mark.parametrize("body", ["body25", "openpose18"])
@pytest.mark.parametrize("name", ["coco17", "wholebody133", "sapiens308", "openpose137"])
def test_openpose_files_read_back(tmp_path: Path, name: str, body: openpose.Body) -> None:
    words = vocabulary.load(name)
    points = points_of(words)
    points = Points(
        vocabulary=words, xy=np.abs(np.nan_to_num(points.xy)) + 1, scores=points.scores * 0.5 + 0.4
    )
    path = tmp_path / ("a" + openpose.SUFFIX)
    openpose.write(path, Record(name="a.jpg", size=(60, 80), people=people_of(points)), body=body)
    content = json.loads(path.read_text())
    assert (content["canvas_width"], content["canvas_height"]) == (80, 60)
    entry = content["people"][0]
    assert len(entry["pose_keypoints_2d"]) == (75 if body == "body25" else 54)
    hands = name != "coco17"
    assert len(entry["hand_left_keypoints_2d"]) == (63 if hands else 0)
    assert len(entry["face_keypoints_2d"]) in (0, 210)
    # the neck is the middle of the shoulders, also where the source has a neck of its own
    if name != "openpose137":
        left, right = (points.xy[words.index(f"{side}_shoulder")] for side in ("left", "right"))
        neck = np.array(entry["pose_keypoints_2d"][3:5])
        np.testing.assert_allclose(neck, (left + right) / 2, atol=1e-3)
    record = openpose.read(path)
    assert (record.name, record.size) == ("a.jpg", (60, 80))
    read = record.people[0].points()
    assert record.people[0].identity == 7
    for shared in ("nose", "left_wrist", "right_ankle", "right_eye"):
        np.testing.assert_allclose(
            read.xy[read.vocabulary.index(shared)], points.xy[words.index(shared)], atol=1e-3
        )
    if name == "openpose137" and body == "body25":
        assert_same_points(read, points)


def test_openpose_leaves_out_what_is_missing(tmp_path: Path) -> None:
    words = vocabulary.load("coco17")
    xy = np.full((17, 2), np.nan, np.float32)
    nobody = Points(vocabulary=words, xy=xy, scores=np.zeros(17, np.float32))
    path = tmp_path / "b_keypoints.json"
    openpose.write(path, Record(name="b", people=people_of(nobody, None)))
    content = json.loads(path.read_text())
    assert len(content["people"]) == 1
    assert not any(content["people"][0]["pose_keypoints_2d"])
    assert openpose.read(path).people == ()
    openpose.write(path, Record(name="b"))
    assert openpose.read(path).people == ()
    with pytest.raises(InputError, match="no 'people'"):
        openpose.read(written(path, {"persons": []}))
    with pytest.raises(InputError, match="a body of 3 points"):
        openpose.read(written(path, {"people": [{"pose_keypoints_2d": [1] * 9}]}))
    with pytest.raises(InputError, match="body25"):
        openpose.write(path, Record(name="b"), body="body_25")  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- given boxes


def test_boxes_of_a_coco_detections_list(tmp_path: Path) -> None:
    entries = [
        {"image_id": 785, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.9},
        {"image_id": 785, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.8},
        {"image_id": 785, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.1},
        {"image_id": 9, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.5, "file_name": "x.png"},
    ]
    found = boxes.read_coco(written(tmp_path / "d.json", entries))
    assert found.keys() == {"785", "000000000785", "x.png"}
    np.testing.assert_allclose(found["785"].boxes, [[10, 20, 40, 60], [1, 2, 4, 6]])
    np.testing.assert_allclose(found["000000000785"].scores, [0.9, 0.1])
    assert found["785"].identities is None


def test_boxes_of_a_coco_dataset_and_of_our_own_files(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 1, 2, 2], "iscrowd": 0},
                        {"image_id": 1, "category_id": 2, "bbox": [1, 1, 2, 2]}],
        "categories": [{"id": 7, "name": "Person"}, {"id": 2, "name": "car"}],
    }  # fmt: skip
    found = boxes.read_coco(written(tmp_path / "d.json", content))
    assert {name: len(one.boxes) for name, one in found.items()} == {"a.jpg": 1, "b.jpg": 0}
    content["categories"] = [{"id": 7, "name": "dog"}]
    with pytest.raises(InputError, match="no category 'person' but dog"):
        boxes.read_coco(written(tmp_path / "d.json", content))
    people = people_of(None, None, None)
    coco.write_keypoints(tmp_path / "own.json", [Record(name="a.jpg", people=people[::2])])
    own = boxes.read_coco(tmp_path / "own.json")["a.jpg"]
    np.testing.assert_allclose(own.boxes, [person.box for person in people[::2]], atol=1e-3)
    np.testing.assert_array_equal(own.identities, [7, 9])
    np.testing.assert_allclose(own.scores, [0.5, 0.75])
    for wrong in ({}, [3], [{"image_id": 1, "bbox": [1, 2, 3]}]):
        with pytest.raises(InputError):
            boxes.read_coco(written(tmp_path / "w.json", wrong))
    for more, message in (
        ({"score": np.nan}, "image 8: the score is nan"),
        ({"score": np.inf}, "image 8: the score is inf"),
        ({"track_id": np.inf}, "not laid out as"),
    ):
        with pytest.raises(InputError, match=message):
            boxes.read_coco(
                written(tmp_path / "w.json", [{"image_id": 8, "bbox": [1, 2, 3, 4], **more}])
            )


def test_mot_tracks(tmp_path: Path) -> None:
    path = tmp_path / "gt.txt"
    path.write_text(
        "1,3,11,21,30,40,0.5,-1,-1,-1\n\n2,3,12,22,30,40,-1\n2,4,1,1,2,2,1,1,1\n2,9,1,1,2,2,0\n"
    )
    found = boxes.read_mot(path)
    assert list(found) == [1, 2]
    np.testing.assert_allclose(found[1].boxes, [[11, 21, 41, 61]])
    np.testing.assert_allclose(found[2].scores, [1, 1])
    np.testing.assert_array_equal(found[2].identities, [3, 4])
    np.testing.assert_allclose(boxes.read_mot(path, first_pixel=1)[1].boxes, [[10, 20, 40, 60]])
    path.write_text("1 -1 10 20 30 40\n")
    assert boxes.read_mot(path)[1].identities is None
    for text, message in (("1,2,3\n", "line 1: 3 numbers"), ("1,2,x,4,5,6", "line 1: could not")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            boxes.read_mot(path)
    with pytest.raises(InputError, match="cannot be read"):
        boxes.read_mot(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nan,1,1,1,2,2,1", "the frame is nan"),
        ("inf,1,1,1,2,2,1", "the frame is inf"),
        ("1,nan,1,1,2,2,1", "the id is nan"),
        ("1,1e30,1,1,2,2,1", "the id is 1e"),
        ("1,1,1,1,2,2,nan", "the confidence is nan"),
        ("1,1,1,1,2,inf,1", "the box"),
    ],
)
def test_mot_tracks_are_of_finite_numbers(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "gt.txt").write_text(f"1,1,1,1,2,2,1\n{line}\n")
    with pytest.raises(InputError, match=f"line 2: {message}"):
        boxes.read_mot(tmp_path / "gt.txt")

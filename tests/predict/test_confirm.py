# SPDX-License-Identifier: Apache-2.0
"""Boxes confirmed by keypoints: what scores become, and that no limit loses anybody."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vitruvian import image, vocabulary
from vitruvian.geometry import Crop, boxes_iou
from vitruvian.person import Person, Points, Raster
from vitruvian.predict.confirm import ConfirmedFinder, body_box, confidence
from vitruvian.predict.detect import Boxes, WholeImage
from vitruvian.predict.load import open_model
from vitruvian.predict.people import PeopleFinder
from vitruvian.predict.predictor import Model, Predictor


@pytest.fixture(scope="module")
def model() -> Model:
    return open_model("default", None, {}, "card")


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """Noise, in which a finder that reports whatever scores 0.02 sees many unlikely people."""
    noise = np.random.default_rng(3).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((8, 8, 1), np.uint8))


def detected(model: Model, picture: NDArray[np.uint8], min_score: float) -> Boxes:
    finder = ConfirmedFinder(PeopleFinder(), model, min_score=min_score, device="cpu")
    (boxes,) = finder.detect([picture], [""])
    return boxes


def looked(model: Model, picture: NDArray[np.uint8], boxes: NDArray[np.float64]) -> list[Person]:
    """People of boxes, with keypoints and parts in pixels of their windows, not mirrored too."""
    tasks = ["pose", "parts"]
    return list(
        Predictor([model], WholeImage(), tasks=tasks, pixels="window", flip=False)(picture, boxes)
    )


def drawn_anew(person: Person, model: Model, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    return body_box(person, Crop.from_box(person.box, model.input_size), picture.shape[:2])


def test_scores_are_those_of_the_box_and_of_the_points_in_windows_as_they_are(
    model: Model, picture: NDArray[np.uint8]
) -> None:
    (plain,) = PeopleFinder(min_score=0.02).detect([picture], [""])
    assert len(plain) > 4
    people = looked(model, picture, plain.boxes)
    wanted = np.array(
        [score * min(1.0, person.points().scores.mean() / 0.75)
         for score, person in zip(plain.scores, people, strict=True)]
    )  # fmt: skip
    keep = np.flatnonzero(wanted >= 0.02)
    order = keep[np.argsort(-wanted[keep], kind="stable")]
    found = detected(model, picture, 0.02)
    drawn = [drawn_anew(person, model, picture) for person in people]
    np.testing.assert_array_equal(found.boxes, np.stack(drawn)[order])
    np.testing.assert_allclose(found.scores, wanted[order], rtol=1e-5)
    assert (found.scores < plain.scores[order]).all()


def test_a_limit_only_leaves_out(model: Model, picture: NDArray[np.uint8]) -> None:
    everybody = detected(model, picture, 0.002)  # low: unclear points lower scores as well
    limit = float(np.median(everybody.scores))
    some = detected(model, picture, limit)
    keep = everybody.scores >= limit
    assert 0 < keep.sum() < len(keep)
    np.testing.assert_array_equal(some.boxes, everybody.boxes[keep])
    assert len(detected(model, picture, 1.0)) == 0


def test_the_limit_is_the_finders_own_if_none_is_given(model: Model) -> None:
    finder = PeopleFinder()
    assert finder.confirm > 0
    confirmed = ConfirmedFinder(finder, model, device="cpu")
    assert confirmed.min_score == finder.min_score == finder.confirm


@pytest.mark.parametrize(("mean", "wanted"), [(1.0, 0.8), (0.75, 0.8), (0.3, 0.32), (0.0, 0.0)])
def test_unclear_points_lower_the_score(mean: float, wanted: float) -> None:
    points = Points(
        vocabulary=vocabulary.load("coco17"), xy=np.zeros((17, 2)), scores=np.full(17, mean)
    )
    person = Person(box=np.array([0.0, 0, 9, 9]), score=0.8, annotations={"pose": points})
    assert confidence(person) == pytest.approx(wanted)


class Reports:
    """A finder that always answers the same."""

    score_kind = "sigmoid"
    confirm = min_score = 0.1

    def __init__(self, boxes: Boxes) -> None:
        self.boxes = boxes

    def detect(self, images: list[NDArray[np.uint8]], names: list[str]) -> list[Boxes]:
        return [self.boxes for _ in images]


def test_two_boxes_with_the_same_keypoints_are_one_person(model: Model) -> None:
    photo = image.read(Path(__file__).parents[2] / "examples" / "photos" / "astronaut.jpg")
    whole, most = [5.0, 5, 420, 511], [20.0, 10, 400, 505]
    for scores, kept in (((0.9, 0.8), whole), ((0.7, 0.8), most)):
        reports = Reports(Boxes(np.array([whole, most]), np.array(scores)))
        finder = ConfirmedFinder(reports, model, device="cpu")  # type: ignore[arg-type]
        (found,) = finder.detect([photo], [""])
        (person,) = looked(model, photo, np.array([kept]))
        np.testing.assert_array_equal(found.boxes, [drawn_anew(person, model, photo)])
        nobody = ConfirmedFinder(reports, model, min_score=1.0, device="cpu")  # type: ignore[arg-type]
        assert len(nobody.detect([photo], [""])[0]) == 0


def test_boxes_are_drawn_around_the_whole_body(model: Model) -> None:
    """Boxes that leave much of her out are drawn larger, one with much room around her smaller."""
    photo = image.read(Path(__file__).parents[2] / "examples" / "photos" / "hopper.jpg")
    truth = np.array([[10.0, 22, 509, 598]])  # examples17.json
    for given in ([100.0, 100, 420, 560], [60.0, 80, 460, 599], [-150.0, -120, 660, 599]):
        reports = Reports(Boxes(np.array([given]), np.ones(1)))
        finder = ConfirmedFinder(reports, model, device="cpu")  # type: ignore[arg-type]
        (found,) = finder.detect([photo], [""])
        assert boxes_iou(found.boxes, truth) > boxes_iou([given], truth) + 0.05


def test_the_body_box_holds_parts_and_clear_points_without_specks() -> None:
    values = np.zeros((100, 80), np.uint8)
    values[20:60, 10:50] = 1  # 1600 pixels
    values[95, 75] = 1  # a speck
    parts = Raster(law="label", values=values, vocabulary=vocabulary.load("parts28"), origin=(5, 7))
    xy = np.zeros((17, 2))
    xy[:3] = (60, 50), (30, 300), (-4, 40)  # beside the parts, beyond the photograph, unclear
    scores = np.zeros(17)
    scores[:3] = 0.9, 0.5, 0.2
    points = Points(vocabulary=vocabulary.load("coco17"), xy=xy, scores=scores)
    person = Person(box=[0, 0, 9, 9], annotations={"pose": points, "parts": parts})
    whole = Crop.whole((130, 100))
    np.testing.assert_array_equal(body_box(person, whole, (130, 100)), [15, 27, 60, 129])
    twice = Crop(whole.matrix * [[2.0], [2.0]], (260, 200))  # photograph → window
    np.testing.assert_array_equal(body_box(person, twice, (65, 50)), [7.5, 13.5, 30, 64])
    for annotations in (
        {"pose": points},
        {"pose": points, "parts": replace(parts, values=values * 0)},
    ):
        plain = Person(box=[0, 0, 9, 9], annotations=annotations)
        np.testing.assert_array_equal(body_box(plain, whole, (130, 100)), [0, 0, 9, 9])

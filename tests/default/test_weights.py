# SPDX-License-Identifier: Apache-2.0
"""The weights of the package do what the package promises."""

from pathlib import Path

import numpy as np
import pytest

import vitruvian as vi
from vitruvian.cli import main
from vitruvian.files import read_json
from vitruvian.geometry import boxes_iou
from vitruvian.image import read
from vitruvian.model.catalogue import SHIPPED
from vitruvian.model.opening import open_file, open_weights
from vitruvian.person import Person, Sample
from vitruvian.predict.detect import Boxes, GivenBoxes
from vitruvian.predict.predictor import Predictor
from vitruvian.tasks import TASKS

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
WEIGHTS = SHIPPED / "default.safetensors"
# One person each; boxes of what is seen, drawn by hand with a wide margin: x0, y0, x1, y1.
BOXES = {"astronaut.jpg": (20, 10, 440, 511), "hopper.jpg": (0, 20, 511, 599)}
FACES = {"astronaut.jpg": (140, 10, 300, 200), "hopper.jpg": (110, 60, 400, 380)}


def boxed(name: str, width: int | None = None) -> GivenBoxes:
    """Return the box of a photograph; in the mirror of a photograph of that width."""
    x0, y0, x1, y1 = BOXES[name]
    if width is not None:
        x0, x1 = width - 1 - x1, width - 1 - x0
    return GivenBoxes({name: Boxes(np.array([[x0, y0, x1, y1]], float), np.ones(1))})


def seen(name: str, *, mirrored: bool = False) -> tuple[Sample, Person]:
    picture = read(PHOTOS / name)
    width = picture.shape[1] if mirrored else None
    see: Predictor = vi.load("default", detector=boxed(name, width), device="cpu", mask="none")
    shown = np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
    (outcome,) = see.stream([shown], names=[name])
    assert outcome.sample is not None, outcome.error
    return outcome.sample, outcome.sample.people[0]


def test_the_file_says_what_it_is() -> None:
    card = open_weights("default").card
    assert set(card.tasks) == set(TASKS)
    assert (card.tasks["pose"].vocabulary, card.tasks["parts"].vocabulary) == (
        "sapiens308",
        "parts28",
    )
    assert (card.licence, card.commercial) == ("Apache-2.0", "yes")
    assert open_file(WEIGHTS).metadata["vitruvian.model_card"].startswith("# Model card")
    assert (SHIPPED / "CARD.md").is_file()


@pytest.mark.parametrize("name", BOXES)
def test_every_task_answers_with_finite_values_of_the_right_shapes(name: str) -> None:
    sample, person = seen(name)
    points = person.points("pose")
    assert points.xy.shape == (308, 2)
    assert np.isfinite(points.xy).all()
    assert ((points.scores >= 0) & (points.scores <= 1)).all()
    for task in ("parts", "depth", "normals"):
        raster = person.raster(task)
        values = np.asarray(raster.values, float)
        assert np.isfinite(values[raster.mask]).all()
        assert raster.mask.any(), task
    normals = person.raster("normals")
    lengths = np.linalg.norm(normals.values[normals.mask], axis=-1)
    np.testing.assert_allclose(lengths, 1, atol=1e-3)
    del sample


@pytest.mark.parametrize("name", BOXES)
def test_the_mirrored_photograph_has_the_mirrored_points(name: str) -> None:
    """Exact but for the windows' pixels falling half a pixel elsewhere, by flip averaging."""
    sample, person = seen(name)
    _, other = seen(name, mirrored=True)
    points = person.points("pose")
    partner = points.vocabulary.mirror
    back = other.points("pose").xy[partner].astype(float)
    back[:, 0] = sample.image.shape[1] - 1 - back[:, 0]
    side = max(BOXES[name][2] - BOXES[name][0], BOXES[name][3] - BOXES[name][1])
    sure = points.scores > np.median(points.scores)
    off = np.linalg.norm(back - points.xy, axis=1)[sure] / side
    assert np.median(off) < 0.01
    assert np.quantile(off, 0.9) < 0.05


@pytest.mark.parametrize("name", FACES)
def test_points_of_the_face_are_on_the_face(name: str) -> None:
    _, person = seen(name)
    points = person.points("pose")
    x0, y0, x1, y1 = FACES[name]
    for word in ("nose", "left_eye", "right_eye"):
        x, y = points.xy[points.vocabulary.index(word)]
        assert x0 <= x <= x1, word
        assert y0 <= y <= y1, word
    left, right = (points.xy[points.vocabulary.index(f"{side}_eye")] for side in ("left", "right"))
    assert left[0] > right[0], "they look at us: the left eye is on the right of the picture"


def test_predict_needs_no_model_no_boxes_and_no_network(tmp_path: Path) -> None:
    photos = [str(PHOTOS / name) for name in BOXES]
    assert main(["predict", *photos, "--out", str(tmp_path), "--device", "cpu"]) == 0
    found = read_json(tmp_path / "people.json")
    assert {one["image_id"] for one in found["annotations"]} == {
        one["id"] for one in found["images"]
    }


@pytest.mark.parametrize("name", BOXES)
def test_the_finder_finds_the_person(name: str) -> None:
    people = vi.load("default", device="cpu", tasks=["pose"])(PHOTOS / name)
    overlaps = boxes_iou(np.array([BOXES[name]], float), np.array([p.box for p in people]))
    assert overlaps.max() >= 0.5

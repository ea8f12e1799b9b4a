# SPDX-License-Identifier: Apache-2.0
"""The predictor with small random networks: what is cut, batched, averaged and put back where."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from PIL import Image

from vitruvian.errors import InputError, UnknownNameError
from vitruvian.geometry import Crop
from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.vit import ViTConfig
from vitruvian.predict.detect import Boxes, GivenBoxes, WholeImage
from vitruvian.predict.predictor import Model, Predictor
from vitruvian.tasks import make

INPUT = (64, 48)
TINY = ViTConfig(dim=32, depth=1, heads=2, mlp_hidden=64, grid=(4, 3))
SETTINGS = {"pose": {"vocabulary": "coco17"}, "parts": {}, "depth": {}, "normals": {}}
OUTPUTS = {"pose": (17, 2), "parts": (28, 3), "depth": (1, 4), "normals": (3, 3)}


def a_model(*tasks, seed=0, name="tiny"):
    torch.manual_seed(seed)
    heads = {
        task: DenseHeadConfig(
            in_dim=32, out=OUTPUTS[task][0], widths=(8,) * OUTPUTS[task][1], refine=(8,)
        )
        for task in tasks
    }
    network = Network(NetworkConfig(backbone=TINY, heads=heads))
    network.reset_parameters()
    meaning = {task: make(task, **SETTINGS[task]) for task in tasks}
    return Model(name=name, network=network, tasks=meaning, input_size=INPUT)


def a_picture(seed=0, size=(90, 120)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


TWO = Boxes(np.array([[10, 5, 60, 80], [70.0, 20, 110, 88]]), np.array([0.9, 0.6]))


def test_every_person_gets_every_task():
    model = a_model("pose", "parts", "depth", "normals")
    people = Predictor([model], WholeImage())(a_picture(), TWO)
    assert [person.score for person in people] == [0.9, 0.6]
    for person in people:
        assert set(person.annotations) == {"pose", "parts", "depth", "normals"}
        assert np.isfinite(person.points().xy).all()
        (x, y), (h, w) = person.raster("parts").origin, person.raster("parts").size
        assert x <= max(person.box[0], 0)
        assert x + w > person.box[2]
        assert y <= person.box[1]
        assert y + h > person.box[3]
    assert people[0].raster("depth").kind == "relative"


def test_windows_equal_the_published_pipeline():
    """Crop, normalise, forward and decode by hand."""
    model = a_model("pose")
    image = a_picture()
    (person, _) = Predictor([model], WholeImage())(image, TWO)
    import cv2

    crop = Crop.from_box(TWO.boxes[0], INPUT)
    window = cv2.warpAffine(image, crop.matrix, INPUT[::-1], flags=cv2.INTER_LINEAR)
    pixels = (window.astype(np.float32) - model.mean) / model.std
    with torch.inference_mode():
        maps = model.network(torch.tensor(pixels, dtype=torch.float32).movedim(-1, 0)[None])["pose"]
    from vitruvian.tasks.heatmaps import decode_heatmaps

    xy, scores = decode_heatmaps(maps)
    scale = (np.array(INPUT[::-1]) - 1) / (np.array(maps.shape[:1:-1]) - 1)
    np.testing.assert_allclose(person.points().xy, crop.to_image(xy[0].numpy() * scale), atol=1e-3)
    np.testing.assert_allclose(person.points().scores, scores[0], atol=1e-5)


def test_windows_show_the_fill_outside_of_the_picture():
    """What weights see there is what a larger picture with a border of that colour shows."""
    image, border, grey = a_picture(size=(60, 90)), 80, (90.0, 120.0, 30.0)
    wide = np.empty((220, 250, 3), np.uint8)
    wide[:] = grey
    wide[border : border + 60, border : border + 90] = image
    model = a_model("pose", "parts")
    black = Predictor([model], WholeImage())
    filled = Predictor([replace(model, fill=grey)], WholeImage())
    box = np.array([[5.0, 5.0, 84.0, 54.0]])
    (person,) = filled(image, box)
    assert not np.allclose(person.points().xy, black(image, box)[0].points().xy, atol=1e-2)
    (around,) = black(wide, box + border)
    np.testing.assert_allclose(person.points().xy, around.points().xy - border, atol=1e-2)
    known = person.raster("parts").placed((60, 90)).values
    there = around.raster("parts").placed((220, 250)).values
    assert (known == there[border : border + 60, border : border + 90]).mean() > 0.99


def test_annotations_in_pixels_of_the_window_are_those_of_the_photograph():
    model = a_model("pose", "parts")
    image = a_picture()
    (there, _), (here, _) = (
        Predictor([model], WholeImage(), pixels=pixels)(image, TWO)
        for pixels in ("photograph", "window")
    )
    crop = Crop.from_box(TWO.boxes[0], INPUT)
    np.testing.assert_allclose(crop.to_image(here.points().xy), there.points().xy, atol=1e-3)
    np.testing.assert_array_equal(here.points().scores, there.points().scores)
    assert here.raster("parts").values.shape == INPUT
    with pytest.raises(InputError, match="kind of pixels 'windows'"):
        Predictor([model], WholeImage(), pixels="windows")


def test_batches_and_company_change_nothing():
    model = a_model("pose", "parts")
    images = [a_picture(seed, (80 + seed, 100)) for seed in range(3)]
    alone = [Predictor([model], WholeImage(), batch=1)(image) for image in images]
    boxes = {f"{i}.png": Boxes(np.array([[0, 0, 99, 79 + i]]), np.ones(1)) for i in range(3)}
    together = Predictor([model], GivenBoxes(boxes), batch=4)
    for index, image in enumerate(images):
        (person,) = together.see(image, boxes[f"{index}.png"]).people
        np.testing.assert_allclose(person.points().xy, alone[index][0].points().xy, atol=1e-3)
        same = person.raster("parts").values == alone[index][0].raster("parts").values
        assert same.mean() > 0.999


def test_flip_averaging_of_a_mirrored_window_is_the_mirrored_answer():
    model = a_model("pose", "parts", "depth", "normals")
    predictor = Predictor([model], WholeImage(), flip=True)
    window = a_picture(size=INPUT)[None]

    def seen(predictor, window):
        (model,) = predictor.models
        return predictor._forward(model, model.tasks, {1.0: window})

    straight = seen(predictor, window)
    mirrored = seen(predictor, np.ascontiguousarray(window[:, :, ::-1]))
    once = seen(Predictor([model], WholeImage()), window)
    for name, task in model.tasks.items():
        torch.testing.assert_close(task.unmirror(mirrored[name]), straight[name])
        assert not torch.allclose(once[name], straight[name], atol=1e-3)
    ours = replace(model, flip=True)  # as weights may ask for
    for told, wanted in ((None, straight), (False, once)):
        found = seen(Predictor([ours], WholeImage(), flip=told), window)
        torch.testing.assert_close(found, wanted)


def test_zooms_are_means_of_what_larger_and_smaller_windows_say():
    """Looked at with other boxes about the same centre, and brought back by hand."""
    model, image, box = a_model("pose"), a_picture(), TWO.boxes[:1]
    centre, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]) / 2
    zooms = (0.5, 1.25)

    def maps(zoom):
        seen = {}
        eye = Predictor([model], WholeImage())
        looked = eye._looked

        def noting(*given):
            seen.update(looked(*given))
            return dict(seen)

        eye._looked = noting
        eye(image, np.concatenate([centre - half / zoom, centre + half / zoom], axis=1))
        return {name: map[0].numpy().astype(np.float64) for name, map in seen.items()}

    zoomed = {zoom: maps(zoom) for zoom in (1.0, *zooms)}
    caught = {}
    eye = Predictor([replace(model, zooms=(7.0,))], WholeImage(), zooms=zooms)  # given ones count
    forward = eye._forward
    eye._forward = lambda *given: caught.update(forward(*given)) or caught
    eye(image, box)
    for name, found in caught.items():
        height, width = found.shape[2:]
        rows, columns = np.mgrid[:height, :width].astype(float)
        total, count = zoomed[1.0][name].copy(), np.ones((height, width))
        for zoom in zooms:
            y = (rows - (height - 1) / 2) * zoom + (height - 1) / 2
            x = (columns - (width - 1) / 2) * zoom + (width - 1) / 2
            inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
            assert inside.all() == (zoom < 1)
            for channel, values in enumerate(zoomed[zoom][name]):
                moved = scipy.ndimage.map_coordinates(values, [y, x], order=1, mode="nearest")
                total[channel] += np.where(inside, moved, 0)
            count += inside
        np.testing.assert_allclose(found[0].numpy(), total / count, atol=2e-3)
        assert np.abs(zoomed[1.0][name] - found[0].numpy()).max() > 0.01


def test_weights_may_ask_for_zooms_of_keypoints():
    model, image = a_model("pose", "parts"), a_picture()
    ours = replace(model, zooms=(0.8,))
    plain, asked, told = (
        Predictor([one], WholeImage(), zooms=zooms)(image)[0]
        for one, zooms in ((model, None), (ours, None), (ours, ()))
    )
    np.testing.assert_array_equal(told.points().xy, plain.points().xy)
    assert np.abs(asked.points().xy - plain.points().xy).max() > 0.01
    np.testing.assert_array_equal(asked.raster("parts").values, plain.raster("parts").values)
    (alone,) = Predictor([ours], WholeImage(), tasks=["parts"])(image)
    np.testing.assert_array_equal(alone.raster("parts").values, plain.raster("parts").values)
    with pytest.raises(InputError, match="wanted positive numbers"):
        Predictor([model], WholeImage(), zooms=(0.9, -1))


def test_boxes_may_be_plain_numbers():
    predictor = Predictor([a_model("pose")], WholeImage())
    wanted = predictor(a_picture(), TWO)
    for boxes in (TWO.boxes, TWO.boxes.tolist(), TWO.boxes[0], tuple(TWO.boxes[0])):
        found = predictor(a_picture(), boxes)
        assert len(found) == np.size(boxes) // 4
        for person, known in zip(found, wanted, strict=False):
            assert person.score == 1
            np.testing.assert_array_equal(person.box, known.box)
            np.testing.assert_allclose(person.points().xy, known.points().xy, atol=1e-3)
    assert predictor(a_picture(), []) == ()
    for wrong, told in (
        (np.zeros((2, 5)), r"shape \(2, 5\)"),
        (np.zeros(8), r"shape \(8,\)"),
        (["a box"], "wanted rows"),
        ([[0, 0, np.nan, 9]], "finite"),
    ):
        with pytest.raises(InputError, match=told):
            predictor(a_picture(), wrong)


def test_nobody_found_is_nobody():
    predictor = Predictor([a_model("pose", "parts")], GivenBoxes({"other.jpg": TWO}))
    assert predictor(a_picture()) == ()
    assert predictor.see(a_picture(), Boxes()).people == ()


@pytest.mark.parametrize("framing", ["pad", "stretch"])
def test_whole_pictures_answer_dense_tasks_once(framing):
    model = a_model("pose", "parts", "depth")
    predictor = Predictor([model], WholeImage(), framing=framing)
    sample = predictor.see(a_picture(), TWO)
    assert set(sample.rasters) == {"parts", "depth"}
    assert sample.rasters["parts"].size == (90, 120)
    person = sample.people[0]
    x, y = person.raster("parts").origin
    h, w = person.raster("parts").size
    np.testing.assert_array_equal(
        person.raster("parts").values, sample.rasters["parts"].values[y : y + h, x : x + w]
    )
    nobody = predictor.see(a_picture(), Boxes())
    assert set(nobody.rasters) == {"parts", "depth"}
    on = sample.rasters["parts"].mask & (sample.rasters["parts"].values > 0)
    np.testing.assert_array_equal(sample.rasters["depth"].mask, on)


def test_stretching_equals_the_published_pipeline():
    """resize without keeping the aspect, logits resized to the picture, argmax."""
    import cv2

    model = a_model("parts")
    image = a_picture()
    sample = Predictor([model], WholeImage(), framing="stretch").see(image)
    window = cv2.resize(image, INPUT[::-1], interpolation=cv2.INTER_LINEAR)
    pixels = (window.astype(np.float32) - model.mean) / model.std
    with torch.inference_mode():
        logits = model.network(torch.tensor(pixels, dtype=torch.float32).movedim(-1, 0)[None])[
            "parts"
        ]
    logits = F.interpolate(logits, (90, 120), mode="bilinear", align_corners=False)
    assert (sample.rasters["parts"].values == logits[0].argmax(0).numpy()).mean() > 0.9999


def test_depth_off_the_person_is_invalid():
    model = a_model("parts", "depth", "normals")
    (person, _) = Predictor([model], WholeImage())(a_picture(), TWO)
    on = person.raster("parts").values > 0
    np.testing.assert_array_equal(person.raster("depth").mask, on)
    (plain, _) = Predictor([model], WholeImage(), mask="none")(a_picture(), TWO)
    assert plain.raster("normals").mask.all()


def test_parts_mask_the_maps_of_windows_of_another_size():
    """Such windows cover a pixel more or less of the photograph."""
    parts = a_model("parts")
    depth = replace(a_model("depth", seed=1), input_size=(128, 96))
    differ = 0
    for x in np.linspace(20, 30, 7):
        box = [x, 11.3, x + 31.7, 70.2]
        (person,) = Predictor([parts, depth], WholeImage())(a_picture(), box)
        labels, found = person.raster("parts"), person.raster("depth")
        differ += (labels.origin, labels.size) != (found.origin, found.size)
        on = labels.placed((90, 120)).values > 0
        own, there = found.overlap((90, 120))
        np.testing.assert_array_equal(found.mask[own], on[there])
    assert differ


def test_two_models_share_windows_and_answer_together(monkeypatch):
    from vitruvian.predict import predictor as module

    cuts = []
    original = module.cut
    monkeypatch.setattr(module, "cut", lambda *a, **b: cuts.append(1) or original(*a, **b))
    both = Predictor([a_model("pose"), a_model("parts", seed=1)], WholeImage())
    people = both(a_picture(), TWO)
    assert set(people[0].annotations) == {"pose", "parts"}
    assert len(cuts) == 2  # one window per person, not per model


def test_streams_keep_order_and_survive_bad_files(tmp_path):
    paths = []
    for index in range(7):
        path = tmp_path / f"{index}.png"
        if index == 3:
            path.write_bytes(b"not a picture")
        else:
            Image.fromarray(a_picture(index, (60, 50))).save(path)
        paths.append(path)
    predictor = Predictor([a_model("pose")], WholeImage(), batch=2)
    outcomes = list(predictor.stream(paths))
    assert [outcome.name for outcome in outcomes] == [str(path) for path in paths]
    assert [outcome.error is not None for outcome in outcomes].index(True) == 3
    assert sum(outcome.sample is not None for outcome in outcomes) == 6
    assert predictor.seconds["forward"] > 0
    with pytest.raises(InputError):
        predictor(paths[3])


def test_one_pixel_is_a_picture():
    (person,) = Predictor([a_model("pose", "parts")], WholeImage())(np.zeros((1, 1, 3), np.uint8))
    assert person.raster("parts").size == (1, 1)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"tasks": ["poze"]}, UnknownNameError, "did you mean pose"),
        ({"batch": 0}, InputError, "at least 1"),
        ({"framing": "paad"}, UnknownNameError, "did you mean pad"),
        ({"mask": "x"}, UnknownNameError, "unknown mask"),
        ({"tasks": []}, InputError, "no task asked for"),
        ({"device": "cuda:99"}, InputError, "not available"),
        ({"device": "gpu"}, InputError, "unknown device"),
        ({"dtype": "int8"}, UnknownNameError, "unknown dtype"),
    ],
)
def test_impossible_wishes(options, error, word):
    with pytest.raises(error, match=word):
        Predictor([a_model("pose")], WholeImage(), **options)


def test_models_must_not_answer_the_same_task_twice():
    with pytest.raises(InputError, match="several models answer pose"):
        Predictor([a_model("pose"), a_model("pose", "parts")], WholeImage())
    chosen = Predictor([a_model("pose"), a_model("parts")], WholeImage(), tasks=["parts"])
    assert list(chosen(a_picture())[0].annotations) == ["parts"]


def test_half_precision_on_request():
    predictor = Predictor([a_model("pose", "depth")], WholeImage(), dtype="bf16", device="cpu")
    (person,) = predictor(a_picture())
    assert person.points().scores.dtype == np.float32

# SPDX-License-Identifier: Apache-2.0
"""The same questions to every task: listing a task in TASKS enrols it here."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vitruvian import vocabulary
from vitruvian.errors import InputError, UnknownNameError
from vitruvian.geometry import Crop
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.vit import ViTConfig
from vitruvian.person import Person, Points, Raster
from vitruvian.tasks import TASKS, View, make
from vitruvian.tasks.heatmaps import encode_heatmaps

WINDOW = (128, 96)
IMAGE = (120, 110)
TINY = ViTConfig(dim=32, depth=2, heads=4, mlp_hidden=64, grid=(8, 6))
SETTINGS = {
    "pose": {"vocabulary": "coco17", "sigma": 1.5},
    "parts": {"vocabulary": "parts28"},
    "depth": {},
    "normals": {},
}


def a_task(name):
    assert name in SETTINGS, f"the contract tests need small settings for the new task {name!r}"
    return make(name, **SETTINGS[name])


def smooth(shape, seed):
    """A smooth random field in 0 … 1, so that interpolation has something to be exact about."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]] / max(shape)
    waves = [np.sin(2 * (a * x + b * y) + c) for a, b, c in rng.uniform(-2, 2, (4, 3))]
    field = np.sum(waves, axis=0)
    return ((field - field.min()) / np.ptp(field)).astype(np.float32)


def a_person(name, seed=0):
    """Somebody with an annotation of every task, in a picture of IMAGE pixels."""
    rng = np.random.default_rng(seed)
    coco, parts = vocabulary.load("coco17"), vocabulary.load("parts28")
    inside = np.stack([rng.uniform(25, 80, 17), rng.uniform(25, 95, 17)], axis=1)
    field = smooth(IMAGE, seed)
    bands = np.digitize(field, [0.3, 0.55, 0.8])
    vectors = np.stack([field - 0.5, smooth(IMAGE, seed + 1) - 0.5, -np.ones(IMAGE)], axis=-1)
    annotations = {
        "pose": Points(vocabulary=coco, xy=inside, scores=np.ones(17)),
        "parts": Raster(law="label", values=np.array([0, 3, 4, 13])[bands], vocabulary=parts),
        "depth": Raster(law="scalar", values=2 + field, kind="metric"),
        "normals": Raster(
            law="vector", values=vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        ),
    }
    return Person(box=[20, 20, 85, 100], annotations={name: annotations[name]})


def a_view():
    return View(Crop.from_box([20, 20, 85, 100], WINDOW), IMAGE)


def ideal_output(task, target):
    """The output that says exactly what the target says."""
    if task.name == "parts":
        labels = target["labels"].where(target["labels"] < task.channels, 0)
        return torch.nn.functional.one_hot(labels, task.channels).movedim(-1, 1).float()
    if task.name == "pose":
        size = (WINDOW[0] // task.stride, WINDOW[1] // task.stride)
        there = target["weights"][..., None] > 0
        return encode_heatmaps(target["xy"].where(there, torch.nan), size, sigma=task.sigma)[0]
    return next(iter(target.values()))


def encoded(task, person, crop):
    return {key: value[None] for key, value in task.encode(person, crop).items()}


@pytest.mark.parametrize("name", TASKS)
def test_decoding_what_was_encoded_returns_the_annotation(name):
    task, person, view = a_task(name), a_person(name), a_view()
    target = encoded(task, person, view.crop)
    (found,) = task.decode(ideal_output(task, target), [view])
    truth = person.annotations[name]
    if name == "pose":
        np.testing.assert_allclose(found.xy, truth.xy, atol=0.02)
        np.testing.assert_allclose(found.scores, 1, atol=0.15)
        return
    expected = truth.placed(IMAGE)
    x, y = found.origin
    h, w = found.size
    inner = np.s_[y + 3 : y + h - 3, x + 3 : x + w - 3]
    values, expected = found.values[3:-3, 3:-3], expected.values[inner]
    if name == "parts":
        assert (values == expected).mean() > 0.97  # nearest twice: borders move by a pixel
    elif name == "depth":
        slope, offset = np.polyfit(values.ravel(), expected.ravel(), 1)
        np.testing.assert_allclose(slope * values + offset, expected, atol=5e-3)
    else:
        np.testing.assert_allclose(values, expected, atol=5e-3)
        np.testing.assert_allclose(np.linalg.norm(values, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_a_mirrored_window_predicts_the_mirrored_annotation(name):
    """unmirror(target of the mirrored window) = target of the window."""
    task, person, view = a_task(name), a_person(name), a_view()
    target = encoded(task, person, view.crop)
    mirrored = encoded(task, person.warped(view.crop.mirrored()), Crop.whole(WINDOW))
    straight = encoded(task, person.warped(view.crop), Crop.whole(WINDOW))
    back = task.unmirror(ideal_output(task, mirrored))
    wanted = ideal_output(task, straight)
    if name == "parts":
        assert (back.argmax(1) == wanted.argmax(1)).float().mean() > 0.98
    else:
        # a blob cut at 3 sigma (0.011) may end one pixel earlier on the other side
        assert (back - wanted).abs().max() < 0.012
    assert target.keys() == mirrored.keys()


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("name", TASKS)
def test_a_window_is_encoded_like_the_picture_of_the_window(name, mirror):
    """encode(person, crop) = encode(person seen through crop, all of it); sides included."""
    task, person, crop = a_task(name), a_person(name), a_view().crop
    crop = crop.mirrored() if mirror else crop
    direct = task.encode(person, crop)
    seen = task.encode(person.warped(crop), Crop.whole(WINDOW))
    for key, value in direct.items():
        torch.testing.assert_close(seen[key], value, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", TASKS)
def test_truth_against_itself_is_perfect(name):
    task = a_task(name)
    accumulator = task.metric()
    for image in range(2):
        truth = [a_person(name, image)]
        task.measure(accumulator, truth, truth, IMAGE, image=image)
    numbers = accumulator.result()
    perfect = {
        "pose": ("whole/AP", 1),
        "parts": ("mIoU", 1),
        "depth": ("RMSE", 0),
        "normals": ("mean", 0),
    }
    key, value = perfect[name]
    assert numbers[key] == pytest.approx(value, abs=2e-2 if name == "normals" else 1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_missing_everybody_is_not_an_error(name):
    task = a_task(name)
    accumulator = task.metric()
    task.measure(accumulator, [], [a_person(name)], IMAGE)
    numbers = accumulator.result()
    if name == "pose":
        assert numbers["whole/AP"] == 0
    elif name != "parts":
        assert numbers["coverage"] == 0


@pytest.mark.parametrize("name", TASKS)
def test_one_sample_can_be_learned_by_heart(name):
    torch.manual_seed(0)
    task, person, view = a_task(name), a_person(name), a_view()
    head = task.head(TINY.dim)
    width = {"widths": (16,) * len(head.widths), "refine": (16,) * len(head.refine), "dropout": 0.0}
    network = Network(NetworkConfig(backbone=TINY, heads={name: replace(head, **width)}))
    network.reset_parameters()
    target = encoded(task, person, view.crop)
    pixels = torch.randn(1, 3, *WINDOW)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        terms = task.loss(network(pixels)[name], target)
        assert all(value.ndim == 0 for value in terms.values())
        total = sum(terms.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        losses.append(float(total.detach()))
    assert np.isfinite(losses).all()
    assert min(losses[-5:]) < 0.5 * losses[0]


@pytest.mark.parametrize("name", TASKS)
def test_tasks_export_with_equal_numbers(name):
    task = a_task(name)
    head = task.head(TINY.dim)
    width = {"widths": (8,) * len(head.widths), "refine": (8,) * len(head.refine)}
    network = Network(NetworkConfig(backbone=TINY, heads={name: replace(head, **width)})).eval()
    network.reset_parameters()
    pixels = torch.randn(1, 3, *WINDOW)
    with torch.no_grad():
        program = torch.export.export(network, (pixels,)).module()
        torch.testing.assert_close(program(pixels)[name], network(pixels)[name])


@pytest.mark.parametrize("name", TASKS)
def test_windows_that_hang_over_the_edge_decode_inside_the_picture(name):
    task = a_task(name)
    output = torch.randn(1, task.channels, 32, 24)
    view = View(Crop.from_box([-60, -50, 30, 40], WINDOW), IMAGE)
    (found,) = task.decode(output, [view])
    if name == "pose":
        assert np.isfinite(found.xy).all()
        return
    (x, y), (h, w) = found.origin, found.size
    assert (x, y) == (0, 0)
    assert x + w <= IMAGE[1]
    assert y + h <= IMAGE[0]


def test_unknown_tasks_and_settings_are_refused_by_name():
    with pytest.raises(KeyError, match="did you mean normals"):
        make("normal")
    with pytest.raises(KeyError, match="sigma"):
        make("pose", sigmas=3)
    assert make("normals", signs=[1, 1, 1]).signs == (1, 1, 1)


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("outside", "nan", "a number"),
        ("sigma", True, "a number"),
        ("stride", 3.5, "a whole number"),
        ("balanced", 1, "true or false"),
    ],
)
def test_values_of_another_kind_than_the_setting_are_refused(setting, value, wanted):
    with pytest.raises(
        InputError, match=f"{setting} of task 'pose' is {value!r} · wanted {wanted}"
    ):
        make("pose", **{setting: value})
    with pytest.raises(UnknownNameError, match="did you mean mse"):
        make("pose", objective="mes")
    assert make("pose", sigma=6).sigma == 6

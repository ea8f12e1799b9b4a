# SPDX-License-Identifier: Apache-2.0
"""The detector that comes with the package: learned by heart on toy scenes, then used."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

import vitruvian as vi
from toy_people import toy_people
from vitruvian import image
from vitruvian.cli import main
from vitruvian.data.augment import SceneAugment
from vitruvian.data.pack import pack
from vitruvian.data.source import Listed
from vitruvian.errors import InputError, WeightsError
from vitruvian.geometry import boxes_iou
from vitruvian.model.catalogue import SHIPPED
from vitruvian.model.network import Network
from vitruvian.model.sizes import SIZES
from vitruvian.model.weights import load, save
from vitruvian.person import Person, Sample
from vitruvian.predict import load as loading
from vitruvian.predict.confirm import ConfirmedFinder
from vitruvian.predict.people import BUILT_IN, PeopleFinder
from vitruvian.recipes import Part, Run, people
from vitruvian.recipes.people import (
    PeopleEvaluation,
    PeopleObjective,
    PeoplePictures,
    PreparePeople,
)
from vitruvian.recipes.weights import card_of
from vitruvian.tasks.people import People
from vitruvian.train.parallel import Parallel


def scene(first: Sample, second: Sample) -> Sample:
    """Two toy people side by side: a picture of 96×160."""
    canvas = np.full((96, 160, 3), 90, np.uint8)
    found: list[Person] = []
    for number, one in enumerate((first, second)):
        corner = np.array([4 + 80 * number, 4])
        canvas[4:92, corner[0] : corner[0] + 72] = one.image
        found.append(replace(one.people[0], box=one.people[0].box + np.tile(corner, 2)))
    return Sample(image=canvas, people=tuple(found), name=first.name)


TOYS = toy_people(8)
SCENES = Listed([scene(TOYS[i], TOYS[i + 1]) for i in range(0, 8, 2)])
PLAIN = SceneAugment(
    size=(96, 96), several=0, pasted=0, scraps=0, grey=0, rotation=0, mirror=0, zoom=(1, 1),
    stretch=1, margin=(124, 116, 104),
)  # fmt: skip


@pytest.fixture(scope="module")
def learned() -> tuple[Run, Network]:
    """A network that knows four scenes by heart, of two people each."""
    small = replace(SIZES["nano"], dim=64, depth=2, heads=2, mlp_hidden=128)
    run = replace(people(small, steps=1, input_size=(96, 96)), window=PLAIN)
    torch.manual_seed(0)
    network = Network(run.network)
    prepare = PreparePeople.of(run, SCENES)
    rows = [prepare(SCENES[i], np.random.default_rng(i)) for i in range(4)]
    batch = default_collate(rows)
    objective, optimiser = (
        PeopleObjective(prepare.people),
        torch.optim.AdamW(network.parameters(), lr=4e-3),
    )
    for _ in range(120):
        loss = torch.stack([*objective.losses(network, batch).values()]).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    return run, network.eval()


@pytest.fixture(scope="module")
def weights(learned: tuple[Run, Network], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, network = learned
    place = tmp_path_factory.mktemp("people") / "people.safetensors"
    save(place, network, card_of(run, "people"))
    return place


def all_found(boxes: np.ndarray, sample: Sample, scale: float = 1.0) -> bool:
    truth = np.stack([person.box for person in sample.people]) * scale
    return bool((boxes_iou(truth, boxes).max(axis=1, initial=0) > 0.5).all())


def test_several_people_on_pictures_of_any_size(weights: Path) -> None:
    finder = PeopleFinder(weights, min_score=0.5)
    big = [image.resize(s.image, (384, 640)) for s in SCENES]
    for scale, pictures in ((1.0, [s.image for s in SCENES]), (4.0, big)):
        found = finder.detect(pictures, [""] * 4)
        for boxes, sample in zip(found, SCENES.samples, strict=True):
            assert len(boxes) == 2
            assert all_found(boxes.boxes, sample, scale)
            assert (np.diff(boxes.scores) <= 0).all()


def test_a_mirrored_picture_has_the_mirrored_boxes_where_the_card_asks(
    learned: tuple[Run, Network], tmp_path: Path
) -> None:
    run, network = learned
    place = tmp_path / "mirrored.safetensors"
    save(place, network, replace(card_of(run, "people"), flip=True))
    finder = PeopleFinder(place, min_score=0.2)
    picture = SCENES[0].image
    straight, back = finder.detect([picture, np.ascontiguousarray(picture[:, ::-1])], ["", ""])
    assert len(straight) > 0
    mirrored = back.boxes.copy()
    mirrored[:, [0, 2]] = picture.shape[1] - 1 - back.boxes[:, [2, 0]]
    order, other = np.argsort(straight.boxes[:, 0]), np.argsort(mirrored[:, 0])
    np.testing.assert_allclose(mirrored[other], straight.boxes[order], atol=1e-2)
    np.testing.assert_allclose(back.scores[other], straight.scores[order], atol=1e-4)


def test_nobody_is_no_box_and_odd_pictures_are_no_error(weights: Path) -> None:
    finder = PeopleFinder(weights)
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (3, 400), (400, 3), (17, 23)]
    pictures = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    blank = np.full((200, 100, 3), 124, np.uint8)
    for picture, boxes in zip(
        [*pictures, blank], finder.detect([*pictures, blank], [""] * 5), strict=True
    ):
        assert (boxes.boxes >= 0).all()
        assert (boxes.boxes[:, 2:] <= np.array(picture.shape[1::-1]) - 1).all()
    assert len(finder.detect([blank], [""])[0]) == 0
    assert finder.detect([], []) == []


def test_grey_pictures_are_seen_like_any_other(weights: Path, tmp_path: Path) -> None:
    grey = SCENES[0].image.mean(axis=2).astype(np.uint8)
    image.write(tmp_path / "grey.png", grey)
    ((boxes),) = PeopleFinder(weights, min_score=0.05).detect(
        [image.read(tmp_path / "grey.png")], [""]
    )
    assert len(boxes) >= 1


def test_scores_are_limited_by_the_card_or_by_hand(weights: Path) -> None:
    picture = [SCENES[0].image]
    usual = len(PeopleFinder(weights).detect(picture, [""])[0])
    assert len(PeopleFinder(weights, min_score=0.0).detect(picture, [""])[0]) > usual
    assert len(PeopleFinder(weights, min_score=1.0).detect(picture, [""])[0]) == 0
    with pytest.raises(InputError, match="from 0 to 1"):
        PeopleFinder(weights, min_score=2)


def test_weights_for_something_else_are_refused(tmp_path: Path) -> None:
    from vitruvian.recipes import parts

    run = parts("nano", steps=1, input_size=(64, 48))
    place = tmp_path / "parts.safetensors"
    save(place, Network(run.network), card_of(run, "parts"))
    with pytest.raises(WeightsError, match="has parts · wanted weights that find people"):
        PeopleFinder(place)
    with pytest.raises(WeightsError):
        PeopleFinder(tmp_path / "none.safetensors")


def test_without_a_name_the_built_in_one_is_used(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "BUILT_IN", weights)
    assert isinstance(loading.open_detector("auto", None, "cpu"), PeopleFinder)
    assert isinstance(loading.open_detector(weights, 0.2, "cpu"), PeopleFinder)
    monkeypatch.setattr(loading, "BUILT_IN", tmp_path / "none.safetensors")
    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="no person detector on this machine"):
        loading.open_detector("auto", None, "cpu")


def test_a_predictor_asks_it(weights: Path, tmp_path: Path) -> None:
    from vitruvian.recipes import parts

    run = parts("nano", steps=1, input_size=(64, 48))
    place = tmp_path / "parts.safetensors"
    save(place, Network(run.network), card_of(run, "parts"))
    found = vi.load(place, detector=weights, min_score=0.5)(SCENES[1].image)
    assert len(found) == 2
    assert all(0.5 <= person.score <= 1 for person in found)
    with pytest.raises(InputError, match="has people: `predict` answers"):
        vi.load(weights, detector="whole")


@torch.no_grad()
def test_evaluation_and_pictures_in_a_training(learned: tuple[Run, Network]) -> None:
    run, network = learned
    numbers = PeopleEvaluation(run=run, source=SCENES, parallel=Parallel())(network, 0)
    assert numbers["people/AP"] > 0.99
    assert numbers["people/recall"] == 1
    (sheet,) = PeoplePictures(run=run, source=SCENES, parallel=Parallel())(network, 0).values()
    assert sheet.ndim == 3


def test_the_command_trains_goes_on_and_opens(tmp_path: Path) -> None:
    pack(SCENES, tmp_path / "shards")
    shards, out = str(tmp_path / "shards"), tmp_path / "run"
    command = ["train", "people", "--data", shards, "--val", shards, "--out", str(out)]
    options = ["--steps", "2", "--batch", "2", "--input-size", "64", "64", "--no-preflight"]
    assert main([*command, *options]) == 0
    run = Run.load(out / "run.json")
    assert run.people is not None
    assert run.network.backbone.dim == 128  # this recipe's own default, nano
    assert Run.from_dict(run.to_dict()) == run
    assert main(["train", "--out", str(out)]) == 0  # nothing left to do
    assert PeopleFinder(out / "weights.safetensors").detect([SCENES[0].image], [""]) is not None


def test_a_training_goes_on_from_weights_with_all_of_the_head(
    learned: tuple[Run, Network], weights: Path
) -> None:
    from vitruvian.recipes.weights import starting_network

    run, network = learned
    start, told = starting_network(replace(run, init=str(weights)))
    assert told.fresh == ()
    for name, tensor in network.state_dict().items():
        assert torch.equal(start.state_dict()[name], tensor)


def test_data_without_anybody_are_refused(tmp_path: Path) -> None:
    from vitruvian.recipes.training import prepared

    pack(Listed([replace(SCENES[0], people=())]), tmp_path)
    run = replace(people(steps=1, input_size=(64, 64)), data=(Part(path=str(tmp_path)),))
    with pytest.raises(InputError, match="nobody is annotated"):
        prepared(run)


def test_the_weights_in_the_package_open() -> None:
    found = PeopleFinder().detect([SCENES[0].image], [""])
    assert len(found) == 1


def test_keypoints_confirm_boxes_where_the_card_says_from_which_score_on(
    learned: tuple[Run, Network], tmp_path: Path
) -> None:
    run, network = learned
    assert run.people is not None
    sure = replace(run, people=replace(run.people, min_score=0.6, confirm=0.2))
    place = tmp_path / "sure.safetensors"
    save(place, network, card_of(sure, "people"))
    for given, limit in ((None, 0.2), (0.3, 0.3), (0.0, 0.0)):
        see = vi.load("default", detector=place, device="cpu", min_score=given, tasks=["parts"])
        assert isinstance(see.detector, ConfirmedFinder)
        assert (see.detector.min_score, see.detector.finder.min_score) == (limit, limit)
    plain = loading.open_detector(place, None, "cpu", confirm=False)
    assert isinstance(plain, PeopleFinder)
    assert plain.min_score == 0.6
    with pytest.raises(InputError, match="0 to below 1"):
        People(confirm=1.0)


def test_a_finder_is_confirmed_by_the_weights_made_with_it(
    learned: tuple[Run, Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, network = learned
    assert run.people is not None
    place, beside = tmp_path / "people.safetensors", tmp_path / "default.safetensors"
    sure = replace(run, people=replace(run.people, confirm=0.2))
    save(place, network, card_of(sure, "people"))
    opened: list[str | Path] = []
    real = loading.open_model
    monkeypatch.setattr(loading, "open_model", lambda *a: (opened.append(a[0]), real(*a))[1])
    loading.open_detector(place, None, "cpu")
    shutil.copy(SHIPPED / "default.safetensors", beside)
    loading.open_detector(place, None, "cpu")
    loading.open_detector("auto", None, "cpu")
    assert opened == ["default", beside, SHIPPED / "default.safetensors"]


def test_margins_have_the_colour_that_the_card_says(tmp_path: Path) -> None:
    network, card = load(BUILT_IN, dtype=torch.float32)
    assert card.fill == (124, 116, 104)
    picture = np.full((40, 90, 3), 200, np.uint8)
    for colour in (card.fill, (10.0, 20.0, 30.0)):
        place = tmp_path / "people.safetensors"
        save(place, network, replace(card, fill=colour))
        window, crop = PeopleFinder(place)._window(picture)
        assert (window[0, 0] == np.array(colour)).all()
        assert (window[window.shape[0] // 2, window.shape[1] // 2] == 200).all()
        assert crop.size == window.shape[:2]

# SPDX-License-Identifier: Apache-2.0
"""The model card: what it says is what was measured, and nothing else."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from toy_people import toy_people
from vitruvian import image
from vitruvian.cli import main
from vitruvian.data.pack import pack
from vitruvian.data.source import Listed
from vitruvian.default import card as cards
from vitruvian.default import publish
from vitruvian.default.history import HISTORY, data_facts, history, history_of, joined, total
from vitruvian.default.measure import Finding, command_of, mean_oks
from vitruvian.default.publish import NOTE, Published, ship
from vitruvian.errors import InputError
from vitruvian.evaluate.plan import Plan
from vitruvian.files import read_json, write_bytes, write_json
from vitruvian.model.opening import open_file, open_weights
from vitruvian.model.weights import load, load_network, save

FLAGS = ["--size", "nano", "--input-size", "64", "48", "--batch", "4", "--no-preflight"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings of a few steps, the second begun with the first one's weights."""
    place = tmp_path_factory.mktemp("card")
    pack(Listed(toy_people(8)), place / "shards")
    base = ["train", "multi", "--data", str(place / "shards"), *FLAGS]
    assert main([*base, "--out", str(place / "a"), "--steps", "3"]) == 0
    start = str(place / "a" / "weights.safetensors")
    assert main([*base, "--out", str(place / "b"), "--steps", "2", "--init", start]) == 0
    return place


def facts(weights: Path, **more: Any) -> cards.Facts:
    return cards.Facts(
        card=open_weights(weights).card, name="x", parameters=5, nbytes=10, trainings=(), **more
    )


def test_history_follows_the_initial_weights(trained: Path, tmp_path: Path) -> None:
    found = history(trained / "b")
    assert [one["name"] for one in found] == ["a", "b"]
    assert [one["samples"] for one in found] == [12, 8]
    assert total(found)[0] == 20
    assert total(found)[1] > 0
    assert found[0]["data"][0] == data_facts(str(trained / "shards"))
    assert found[0]["data"][0]["pictures"] == 8
    assert history_of(trained / "b" / "weights.safetensors") == found
    assert history(trained / "a", trained / "b") == found
    other = tmp_path / "c"
    other.mkdir()
    plain = read_json(trained / "b" / "run.json") | {"init": "gone/weights.safetensors"}
    write_json(other / "run.json", plain)
    write_bytes(other / "metrics.jsonl", (trained / "b" / "metrics.jsonl").read_bytes())
    assert history(other)[0] == {"recipe": "given", "name": "weights.safetensors"}


def test_trainings_that_networks_share_count_once(trained: Path) -> None:
    one, two = history(trained / "a"), history(trained / "b")
    assert [found["name"] for found in joined(two, one)] == ["a", "b"]
    assert total(joined(one, two)) == total(two)


def test_weights_are_measured_and_carry_their_card(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    weights = str(trained / "b" / "weights.safetensors")
    more = ["--heldout", str(trained / "shards"), "--name", "mine", "--device", "cpu"]
    monkeypatch.setattr(publish, "SHIPPED", tmp_path / "empty")  # no finder, and its trainings
    assert main(["weights", "card", weights, "--out", str(out), *more]) == 0
    file = open_file(out / "mine.safetensors")
    page = (out / "CARD.md").read_text(encoding="utf-8")
    assert file.metadata[NOTE] == page
    assert [one["name"] for one in json.loads(file.metadata[HISTORY])] == ["a", "b"]
    assert 2 * (out / "mine.safetensors").stat().st_size < 1.1 * Path(weights).stat().st_size
    card = open_weights(out / "mine.safetensors").card
    assert (card.flip, card.licence, card.commercial) == (True, "Apache-2.0", "yes")
    assert card.zooms == publish.ZOOMS
    for wanted in (
        'vi.load("mine.safetensors")',
        "3 × 4",
        "2 × 4",
        "In all 20 samples",
        "vitruvian evaluate",
        "Not measured",
    ):
        assert wanted in page
    # what the page says about keypoints is what the evaluation's report says
    (report,) = (out / "evaluation").glob("held-out-*/report.json")
    numbers = json.loads(report.read_text())["results"]
    assert f"| {100 * numbers['pose']['PCK@0.2']:.1f} |" in page
    assert f"parts: mIoU, % | {100 * numbers['parts']['mIoU']:.1f} |" in page
    assert f"normals: median angle, ° | {numbers['normals']['median']:.1f} |" in page
    assert "/" not in page.split("--data ")[1].split()[0], "no path of this machine"
    # a network begun with this file goes on with its history
    assert history_of(out / "mine.safetensors") == json.loads(file.metadata[HISTORY])


def test_weights_may_be_averaged_with_those_that_led_to_them(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = (trained / name / "weights.safetensors" for name in ("a", "b"))
    out = tmp_path / "out"
    given = ["weights", "card", str(after), "--out", str(out), "--name", "mine", "--device", "cpu"]
    assert main([*given, "--average", str(before), "--share", "0.25"]) == 0
    one, two = (load_network(path).state_dict() for path in (before, after))
    for name, tensor in load_network(out / "mine.safetensors").state_dict().items():
        wanted = (0.25 * one[name].double() + 0.75 * two[name].double()).float()
        torch.testing.assert_close(tensor.float(), wanted, atol=2e-3, rtol=2e-3)
    page = (out / "CARD.md").read_text(encoding="utf-8")
    assert "| mean, 25 % of it the weights after the first 1 of these trainings |" in page
    assert main([*given, "--average", str(before), "--share", "1"]) == 2
    assert "share 1.0 · wanted that of" in capsys.readouterr().err
    assert main([*given, "--average", "default"]) == 2
    assert "default is another network" in capsys.readouterr().err
    given[2] = str(before)
    assert main([*given, "--average", str(after)]) == 2
    assert "did not lead to the weights" in capsys.readouterr().err


def test_a_training_is_published_from_its_checkpoints(trained: Path, tmp_path: Path) -> None:
    finished = load_network(trained / "b" / "weights.safetensors").state_dict()
    assert main(["weights", "card", str(trained / "b"), "--out", str(tmp_path)]) == 0
    found = load_network(tmp_path / "default.safetensors").state_dict()
    for name, tensor in finished.items():
        assert torch.equal(tensor.half(), found[name]), name
    assert "2 × 4" in (tmp_path / "CARD.md").read_text(encoding="utf-8")


def test_an_encoder_has_no_card(trained: Path, tmp_path: Path, capsys: Any) -> None:
    command = ["train", "pretrain", "--data", str(trained / "shards"), *FLAGS, "--steps", "1"]
    assert main([*command, "--out", str(tmp_path / "p")]) == 0
    weights = str(tmp_path / "p" / "weights.safetensors")
    assert main(["weights", "card", weights, "--out", str(tmp_path)]) == 2
    assert "encoder" in capsys.readouterr().err


def test_weights_of_another_licence_are_not_called_ours(
    trained: Path, tmp_path: Path, capsys: Any
) -> None:
    network, card = load(trained / "a" / "weights.safetensors")
    save(tmp_path / "w.safetensors", network, replace(card, licence="CC-BY-NC-4.0"))
    out = tmp_path / "out"
    assert main(["weights", "card", str(tmp_path / "w.safetensors"), "--out", str(out)]) == 2
    assert "CC-BY-NC-4.0 · wanted weights that learned" in capsys.readouterr().err
    assert not out.exists()


def test_numbers_that_are_not_there_are_not_said(trained: Path) -> None:
    weights = trained / "b" / "weights.safetensors"
    text = cards.rendered(facts(weights))
    assert "Not measured" in text
    assert "AP50" not in text
    found = Finding(title="three", photographs=3, people=4, numbers={
        "recall": 0.75, "precision": float("nan"), "IoU": 0.8, "AP": 0.5, "false": 0.0,
    })  # fmt: skip
    text = cards.rendered(facts(weights, finding=[found]))
    assert "| three | 3 | 4 | 75.0 | – | 80.0 | 50.0 |" in text


def test_commands_name_data_and_not_this_machine() -> None:
    plan = Plan(
        data="/a/b/photos.json", models=("/c/w.safetensors",), tasks=("pose",), points="coco17",
        boxes="/d/people.safetensors",
    )  # fmt: skip
    assert command_of(plan) == (
        "vitruvian evaluate --data photos.json --model default --tasks pose "
        "--compare-points coco17 --boxes auto"
    )


def test_mean_oks_is_a_mean_over_people() -> None:
    columns = {"OKS": np.array([0.5, 0.2, np.nan]), "people": np.array([1.0, 3.0, 0.0])}
    measured: Any = SimpleNamespace(columns={"pose": columns})
    assert mean_oks(measured) == pytest.approx((0.5 + 3 * 0.2) / 4)


def test_shipping_puts_the_sheet_where_documents_are(tmp_path: Path) -> None:
    out, package = tmp_path / "out", tmp_path / "src" / "vitruvian" / "default"
    for folder in (out, package, tmp_path / "docs" / "pictures"):
        folder.mkdir(parents=True)
    (out / "w.safetensors").write_bytes(b"w")
    (out / "f.jpg").write_bytes(b"f")
    (out / "CARD.md").write_text("![failures](f.jpg)")
    made = Published(weights=out / "w.safetensors", card=out / "CARD.md", failures=out / "f.jpg")
    ship(made, folder=package)
    assert (package / "w.safetensors").read_bytes() == b"w"
    assert (package / "CARD.md").read_text() == "![failures](../../../docs/pictures/f.jpg)"
    assert (tmp_path / "docs" / "pictures" / "f.jpg").read_bytes() == b"f"
    (package / "CARD.md").unlink()
    (package / "CARD.md").mkdir()
    with pytest.raises(InputError, match="checkout"):
        ship(made, folder=package)


@pytest.mark.parametrize(
    ("there", "words"), [(3, "before 3 photographs"), (0, "an unknown number")]
)
def test_photographs_behind_people_are_told(
    trained: Path, tmp_path: Path, there: int, words: str
) -> None:
    shutil.copytree(trained / "a", tmp_path / "a")
    run = read_json(tmp_path / "a" / "run.json")
    for number in range(there):
        image.write(tmp_path / "places" / f"{number}.png", np.zeros((4, 4, 3), np.uint8))
    write_json(tmp_path / "a" / "run.json", run | {"backgrounds": str(tmp_path / "places")})
    (found,) = history(tmp_path / "a")
    assert found["backgrounds"] == (there or None)
    told = cards.rendered(replace(facts(trained / "a" / "weights.safetensors"), trainings=(found,)))
    assert words in told

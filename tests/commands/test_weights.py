# SPDX-License-Identifier: Apache-2.0
"""``vitruvian weights``: what people see, and how the commands end."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import Hub, serving
from published_files import (
    narrowed,
    random_weights,
    sapiens,
    sapiens2,
    tiny,
    tiny_sapiens2,
    write_hollow,
)
from safetensors.torch import save, save_file

from vitruvian.cli import main
from vitruvian.model.card import TaskCard
from vitruvian.model.catalogue import catalogue, entry, weights_folder
from vitruvian.model.network import Network
from vitruvian.model.weights import load
from vitruvian.model.weights import save as save_network


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


Run = Any


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; return its exit code, output and error text."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["weights", *map(str, arguments)])
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return call


# ------------------------------------------------------------------------------------------- list


def test_list_shows_every_file_with_its_licence(run: Run) -> None:
    code, out, _ = run("list")
    assert code == 0
    for e in catalogue().values():
        (line,) = (x for x in out.splitlines() if x.split()[:2] == [e.name, e.task])
        assert e.licence.name in line
        assert f" {e.licence.commercial} " in f"{line} "
    assert "No commercial use" in out
    assert "vitruvian weights fetch NAME" in out


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--task", "normals", "--generation", "2"), 4),
        (("--generation", "1", "--task", "pretrain"), 8),
        (("--commercial", "restricted"), 23),
        (("--commercial", "yes"), 0),
    ],
)
def test_list_filters(arguments: tuple[str, ...], wanted: int, run: Run) -> None:
    code, out, _ = run("list", *arguments, "--json")
    assert code == 0
    assert len(json.loads(out)) == wanted


def test_list_as_json(run: Run) -> None:
    file = weights_folder("sapiens-depth-1b") / entry("sapiens-depth-1b").file
    file.parent.mkdir(parents=True)
    file.touch()
    rows = {row["name"]: row for row in json.loads(run("list", "--json")[1])}
    assert len(rows) == len(catalogue())
    row = rows["sapiens-depth-1b"]
    assert (row["licence"], row["commercial"], row["here"]) == ("CC-BY-NC-4.0", "no", True)
    assert row["places"][0] == "facebook/sapiens-depth-1b:sapiens_1b_render_people_epoch_88.pth"
    assert not rows["sapiens-depth-2b"]["here"]
    assert " here" in run("list", "--task", "depth")[1]


def test_list_knows_the_cache_of_the_hub(tmp_path: Path, run: Run) -> None:
    repo, file = entry("sapiens-depth-1b").places[0]
    folder = tmp_path / "cache" / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / (entry("sapiens-depth-1b").revision or "main")).write_text("abc")
    for revision in {"abc", entry("sapiens-depth-1b").revision or "abc"}:
        (folder / "snapshots" / revision).mkdir(parents=True)
        (folder / "snapshots" / revision / file).touch()
    rows = {row["name"]: row["here"] for row in json.loads(run("list", "--json")[1])}
    assert [name for name, here in rows.items() if here] == ["sapiens-depth-1b"]
    assert " here" in run("list", "--task", "depth")[1]


def test_list_when_there_is_nothing(run: Run) -> None:
    assert "no published weights of that kind" in run("list", "--commercial", "yes")[1]
    code, _, err = run("list", "--task", "normal")
    assert code == 2
    assert "did you mean normals" in err


# ------------------------------------------------------------------------------------------- info


def test_info_of_a_published_file(tmp_path: Path, run: Run) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("pose133", "0.6b"))
    code, out, _ = run("info", path, "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["what"] == "a Sapiens pose model (0.6b, 133 keypoints)"
    assert (facts["tensors"], facts["parameters"]) == (397, 661_046_405)
    assert facts["vocabularies"] == {"pose": "wholebody133"}
    assert facts["licence"] == "CC-BY-NC-4.0"
    assert facts["complete"] is True
    assert "2 (published files" in facts["not in the file"]["patch_padding"]
    assert "16 (of the published size)" in facts["not in the file"]["attention heads"]


def test_info_of_the_second_generation(tmp_path: Path, run: Run) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens2("seg", "0.8b"))
    code, out, _ = run("info", path)
    assert code == 0
    for text in ("a Sapiens2 parts model (0.8b, 29 classes)", "parts29", "restricted", "bfloat16"):
        assert text in out


def test_info_of_a_checkpoint_says_what_was_not_read(tmp_path: Path, run: Run) -> None:
    meta = {"config": Path("x"), "epoch": 3}
    torch.save({"meta": meta, "state_dict": tiny("pose")[1]}, tmp_path / "w.pth")
    code, out, _ = run("info", tmp_path / "w.pth")
    assert code == 0
    assert "under 'state_dict'" in out
    assert "pathlib" in out
    assert "never executed" in out
    assert "attention heads: unknown" in out
    out = run("info", tmp_path / "w.pth", "--heads", "4")[1]
    assert "4 heads" in out
    assert "given by the caller" in out


def test_info_of_an_incomplete_file(tmp_path: Path, run: Run) -> None:
    shapes = sapiens("depth", "0.3b")
    del shapes["backbone.ln1.weight"]
    path = write_hollow(tmp_path / "w.safetensors", shapes)
    code, out, _ = run("info", path, "--json")
    assert code == 1
    facts = json.loads(out)
    assert facts["what"] == "a Sapiens depth model (0.3b)"
    assert facts["complete"] is False
    assert "1 missing (backbone.ln1.weight)" in facts["problem"]


def test_info_of_a_converted_file(tmp_path: Path, run: Run) -> None:
    torch.save({"meta": {}, "state_dict": tiny("normal")[1]}, tmp_path / "w.pth")
    run("convert", tmp_path / "w.pth", "--out", tmp_path / "o.safetensors", "--heads", "4")
    code, out, _ = run("info", tmp_path / "o.safetensors", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["what"] == "w, a network for normals"
    assert facts["made from"].startswith("w.pth, sha256 ")
    assert "not in the file" not in facts
    assert facts["settings"]["normals"]["convention"]["z"] == "unverified"


def test_info_of_what_is_no_weights_file(tmp_path: Path, run: Run) -> None:
    (tmp_path / "w.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 3")
    code, out, err = run("info", tmp_path / "w.pth")
    assert (code, out) == (2, "")
    assert "Git-LFS pointer" in err
    code, _, err = run("info", "sapiens-pose-308-1b")
    assert code == 2
    assert "vitruvian weights fetch sapiens-pose-308-1b" in err


# ---------------------------------------------------------------------------------------- convert


def test_convert_and_load(tmp_path: Path, run: Run) -> None:
    arrays, weights = tiny("pose")
    torch.save({"meta": {}, "state_dict": weights}, tmp_path / "w.pth")
    out = tmp_path / "o.safetensors"
    code, text, _ = run(
        *("convert", tmp_path / "w.pth", "--out", out, "--heads", "4"),
        *("--patch-padding", "2", "--task", "pose", "--dtype", "bf16"),
    )
    assert code == 0
    assert str(out) in text
    network, card = load(out, dtype="fp32")
    assert card.network.backbone.patch_padding == 2
    maps = network(arrays["image"])["pose"]
    assert (maps - arrays["output"]).abs().max() < 0.05 * arrays["output"].abs().max()


def test_convert_names_outputs(tmp_path: Path, run: Run) -> None:
    weights = tiny("seg")[1]
    weights["decode_head.conv_seg.weight"] = torch.randn(20, 24, 1, 1)
    weights["decode_head.conv_seg.bias"] = torch.randn(20)
    save_file(weights, tmp_path / "w.safetensors")
    out = tmp_path / "o.safetensors"
    arguments = ("convert", tmp_path / "w.safetensors", "--out", out, "--heads", "4")
    code, _, err = run(*arguments, "--vocabulary", "parts28")
    assert code == 2
    assert "parts28 has 28 names of parts · wanted 20 of parts, for the file's parts" in err
    assert not out.exists()
    code, _, err = run(*arguments, "--vocabulary", "lip2")
    assert code == 2
    assert "did you mean lip20" in err
    assert run(*arguments, "--vocabulary", "lip20")[0] == 0
    assert load(out)[1].tasks["parts"].vocabulary == "lip20"


def test_convert_names_the_outputs_of_one_head(tmp_path: Path, run: Run) -> None:
    save_file(tiny("pose")[1], tmp_path / "w.safetensors")
    network, card = load(tmp_path / "w.safetensors", heads=4)
    pose = network.config.heads["pose"]
    heads = {"pose": replace(pose, out=28), "parts": replace(pose, out=28)}
    config = replace(network.config, heads=heads)
    tasks = {"pose": TaskCard(), "parts": TaskCard()}
    both = tmp_path / "both.safetensors"
    save_network(both, Network(config), replace(card, network=config, tasks=tasks))
    out = tmp_path / "o.safetensors"
    arguments = ("convert", both, "--out", out, "--vocabulary", "parts28")
    code, _, err = run(*arguments)
    assert code == 2
    assert "the heads pose and parts · wanted one of them" in err
    assert "--task" in err
    code, _, err = run(*arguments, "--task", "pose")
    assert code == 2
    assert "parts28 has 28 names of parts · wanted 28 of points, for the file's pose" in err
    assert not out.exists()
    assert run(*arguments, "--task", "seg")[0] == 0
    assert {n: t.vocabulary for n, t in load(out)[1].tasks.items()} == {"parts": "parts28"}


def test_info_says_that_a_prefix_was_taken_off(tmp_path: Path, run: Run) -> None:
    weights = {f"module.{n}": t for n, t in tiny("pose")[1].items()}
    torch.save({"state_dict": weights}, tmp_path / "w.pth")
    code, out, _ = run("info", tmp_path / "w.pth", "--heads", "4")
    assert code == 0
    assert "under 'state_dict.module'" in out


def test_convert_refuses_another_task(tmp_path: Path, run: Run) -> None:
    path = write_hollow(tmp_path / "w.safetensors", sapiens("depth", "0.3b"))
    code, _, err = run("convert", path, "--out", tmp_path / "o.safetensors", "--task", "normals")
    assert code == 2
    assert "this is a Sapiens depth model (0.3b), not a normals model" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "o.safetensors").exists()


# ------------------------------------------------------------------------------------------ fetch

NAME = "sapiens2-normal-0.4b"


SHAPES = tiny_sapiens2("normal")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the catalogue mean a small file by the name."""
    record = narrowed(NAME, SHAPES, "width 64, 18 blocks")
    monkeypatch.setattr("vitruvian.model.fetch.entry", lambda _: record)


@pytest.fixture
def hub(small: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        repo, path = entry(NAME).places[0]
        running.repositories[repo] = {path: save(random_weights(SHAPES))}
        yield running


def test_fetch_asks_nobody_without_a_terminal(
    hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    code, out, err = run("fetch", NAME)
    assert code == 2
    assert "Sapiens2 License" in out
    assert "pass --yes" in err
    assert not hub.requests


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("YES", 0), ("", 2), ("n", 2)])
def test_fetch_asks_at_a_terminal(
    answer: str, code: int, hub: Hub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer + "\n"))
    assert run("fetch", NAME)[0] == code
    assert (weights_folder(NAME) / entry(NAME).file).exists() == (code == 0)


def test_fetch_with_yes_still_shows_the_licence(hub: Hub, run: Run) -> None:
    code, out, _ = run("fetch", NAME, "--yes")
    assert code == 0
    for text in ("Sapiens2 License", "restricted", "sha256 ", "equal to the one the server states"):
        assert text in out
    assert str(weights_folder(NAME) / "LICENCE.txt") in out
    code, out, _ = run("fetch", NAME, "--yes")
    assert code == 0
    assert "already here" in out


def test_fetch_from_a_mirror_is_told_to_be_unverified(
    tmp_path: Path, small: None, run: Run
) -> None:
    (tmp_path / "mirror").mkdir()
    save_file(random_weights(SHAPES), tmp_path / "mirror" / entry(NAME).file)
    code, out, _ = run("fetch", NAME, "--yes", "--mirror", tmp_path / "mirror")
    assert code == 0
    assert "not verified" in out


def test_fetch_refuses_other_weights_of_the_right_name(tmp_path: Path, run: Run) -> None:
    (tmp_path / "mirror").mkdir()
    save_file(random_weights(SHAPES), tmp_path / "mirror" / entry(NAME).file)
    code, _, err = run("fetch", NAME, "--yes", "--mirror", tmp_path / "mirror")
    assert code == 2
    assert "this is a Sapiens2 normals model (width 64, 18 blocks) of " in err
    assert f"wanted {NAME}: Sapiens2, normals, 0.4b, 453,357,731 parameters" in err
    assert not (weights_folder(NAME) / entry(NAME).file).exists()

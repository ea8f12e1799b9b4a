# SPDX-License-Identifier: Apache-2.0
"""Downloading: terms first, the right bytes, and everything kept together. Local servers only."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_server import COMMIT, Hub, serving
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

from vitruvian.errors import InputError, LicenceError, UnknownNameError, WeightsError
from vitruvian.model import fetch as module
from vitruvian.model.catalogue import entry, find, weights_folder
from vitruvian.model.fetch import fetch
from vitruvian.model.opening import check_published
from vitruvian.model.weights import convert

NAME = "sapiens2-pose-0.4b"
WEIGHTS = random_weights(tiny_sapiens2("pose"))
GOOD = save(WEIGHTS)
SMALL = {  # what the catalogue would say, had files as small as these been published
    NAME: narrowed(NAME, tiny_sapiens2("pose"), "width 64, 18 blocks"),
    "sapiens-depth-0.3b": narrowed(
        "sapiens-depth-0.3b",
        {n: tuple(t.shape) for n, t in tiny("depth")[1].items()},
        "width 32, 2 blocks",
    ),
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(module, "entry", lambda name: SMALL.get(name) or entry(name))
    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        yield running


def _publish(hub: Hub, data: bytes = GOOD, name: str = NAME) -> str:
    """Put the catalogue's file of a name on the hub; return its path there."""
    repo, path = entry(name).places[0]
    hub.repositories[repo] = {path: data, "README.md": b"x"}
    return path


def yes(notice: str) -> bool:
    return bool(notice)


def test_terms_are_shown_before_anything_is_transferred(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "entry", entry)
    _publish(hub)
    seen: list[str] = []

    def no(notice: str) -> bool:
        seen.append(notice)
        assert not hub.requests
        return False

    with pytest.raises(LicenceError, match="--yes"):
        fetch(NAME, accept=no)
    assert not hub.requests
    (notice,) = seen
    licence = entry(NAME).licence
    for word in (licence.name, licence.url, "restricted", "1.7 GB", entry(NAME).file):
        assert word in notice
    assert not weights_folder(NAME).exists()


def test_a_file_lands_with_its_licence(hub: Hub) -> None:
    _publish(hub)
    got = fetch(NAME, accept=yes)
    folder = weights_folder(NAME)
    assert got.path == folder / entry(NAME).file == find(NAME)
    assert got.path.read_bytes() == GOOD
    assert (got.sha256, got.verified, got.fresh) == (hashlib.sha256(GOOD).hexdigest(), "hub", True)
    assert {p.name for p in folder.iterdir()} == {got.path.name, "LICENCE.txt", "source.json"}
    text = (folder / "LICENCE.txt").read_text()
    for word in ("Sapiens2 License", entry(NAME).licence.url, "restricted", COMMIT, got.sha256):
        assert word is not None
        assert word in text
    facts = json.loads((folder / "source.json").read_text())
    assert facts["revision"] == COMMIT
    assert facts["url"].startswith(hub.address)
    assert f"/resolve/{COMMIT}/" in facts["url"]


def test_what_is_here_is_not_fetched_again(hub: Hub) -> None:
    _publish(hub)
    fetch(NAME, accept=yes)
    hub.requests.clear()

    def never(notice: str) -> bool:
        raise AssertionError(notice)

    got = fetch(NAME, accept=never)
    assert not got.fresh
    assert got.path == find(NAME)
    assert fetch("default", accept=never).path == find("default")  # comes with the package
    assert not hub.requests


def test_a_moved_file_is_found_by_its_name(hub: Hub) -> None:
    path = _publish(hub)
    repo = entry(NAME).places[0][0]
    hub.repositories[repo] = {f"old/place/{path}": GOOD}
    assert fetch(NAME, accept=yes).path.read_bytes() == GOOD


def test_the_second_place_is_tried(hub: Hub) -> None:
    name = "sapiens-depth-0.3b"
    repo, path = entry(name).places[1]
    torch.save({"state_dict": tiny("depth")[1]}, weights_folder().parent / "w.pth")
    data = (weights_folder().parent / "w.pth").read_bytes()
    hub.repositories[repo] = {path: data}
    got = fetch(name, accept=yes)
    assert got.path.name == "sapiens_0.3b_render_people_epoch_100.pth"
    assert "commercial use: no" in (got.path.parent / "LICENCE.txt").read_text()


def test_nowhere_to_be_found(hub: Hub) -> None:
    with pytest.raises(InputError, match="no such repository") as caught:
        fetch(NAME, accept=yes)
    assert "download the file by hand" in str(caught.value)
    repo, _ = entry(NAME).places[0]
    hub.repositories[repo] = {"README.md": b"x"}
    with pytest.raises(InputError, match=f"no {entry(NAME).file}"):
        fetch(NAME, accept=yes)
    with pytest.raises(InputError, match="cannot be downloaded"):
        fetch("sapiens-seg-2b", accept=yes)
    with pytest.raises(UnknownNameError, match="did you mean"):
        fetch("sapiens2-pose-0.4", accept=yes)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git-LFS pointer"),
        (b"<!DOCTYPE html><html>login</html>", "web page"),
        (b"", "empty file"),
        (GOOD[:-4], "truncated"),
        (b"\x00" * 100, "no known weights format"),
    ],
)
def test_what_is_no_weights_file_is_refused(data: bytes, says: str, hub: Hub) -> None:
    _publish(hub, data)
    with pytest.raises(WeightsError, match=says):
        fetch(NAME, accept=yes)
    assert not (weights_folder(NAME) / entry(NAME).file).exists()
    _publish(hub)
    assert fetch(NAME, accept=yes).path.read_bytes() == GOOD


def test_a_wrong_checksum_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.lies.add(_publish(hub))
    with pytest.raises(WeightsError, match=r"wanted ffff.*the hub's"):
        fetch(NAME, accept=yes)
    assert not (weights_folder(NAME) / entry(NAME).file).exists()


@pytest.mark.parametrize("right", [True, False])
def test_the_catalogue_checksum_comes_first(
    right: bool, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(hub)
    digest = hashlib.sha256(GOOD).hexdigest() if right else "0" * 64
    known = replace(SMALL[NAME], sha256=digest)
    monkeypatch.setattr(module, "entry", lambda _: known)
    if right:
        assert fetch(NAME, accept=yes).verified == "catalogue"
    else:
        with pytest.raises(WeightsError, match="the catalogue's"):
            fetch(NAME, accept=yes)


def test_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    _publish(hub)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        fetch(NAME, accept=yes)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        fetch("hf:someone/model", accept=yes)
    assert not hub.requests
    monkeypatch.delenv("HF_HUB_OFFLINE")
    path = fetch(NAME, accept=yes).path
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch(NAME, accept=yes).path == path


@pytest.mark.parametrize("layout", ["repository", "name", "flat", "deep"])
def test_a_mirror_folder(
    layout: str, tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = entry(NAME)
    place = {
        "repository": "/".join(record.places[0]),
        "name": f"{NAME}/{record.file}",
        "flat": record.file,
        "deep": f"a/b/{record.file}",
    }[layout]
    file = tmp_path / "mirror" / place
    file.parent.mkdir(parents=True)
    file.write_bytes(GOOD)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    got = fetch(NAME, accept=yes, mirror=tmp_path / "mirror")
    assert (got.path.read_bytes(), got.verified) == (GOOD, "no")
    assert file.exists()
    assert "verified:       no" in (got.path.parent / "LICENCE.txt").read_text()
    assert not hub.requests


def test_a_mirror_server(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    _publish(hub)
    monkeypatch.delenv("HF_ENDPOINT")
    assert fetch(NAME, accept=yes, mirror=hub.address + "/").verified == "hub"


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        (tiny_sapiens2("normal"), "this is a Sapiens2 normals model (width 64, 18 blocks) of "),
        (
            {n: s for n, s in tiny_sapiens2("pose").items() if "storage" not in n},
            "this is a Sapiens2 pose model (width 64, 18 blocks, 19 keypoints) of ",
        ),
        ({"w": (4,)}, "1 tensors with names of no known network (w)"),
    ],
    ids=["task", "count", "nothing"],
)
def test_other_weights_under_the_right_name_are_refused_and_deleted(
    shapes: dict[str, tuple[int, ...]], says: str, mirror: bool, tmp_path: Path, hub: Hub
) -> None:
    folder = tmp_path / "mirror"
    folder.mkdir()
    data = save(random_weights(shapes))
    (folder / entry(NAME).file).write_bytes(data)
    _publish(hub, data)
    with pytest.raises(WeightsError) as caught:
        fetch(NAME, accept=yes, mirror=folder if mirror else None)
    text = str(caught.value)
    assert text.startswith(f"{entry(NAME).file}: ")
    assert says in text
    if "w" not in shapes:
        assert f"wanted {NAME}: Sapiens2, pose, width 64, 18 blocks, " in text
    assert not [p for p in weights_folder(NAME).rglob("*") if p.is_file()]
    assert (folder / entry(NAME).file).read_bytes() == data  # the mirror's own is left alone


def test_a_converted_file_is_not_the_published_one(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    check_published(tmp_path / "w.safetensors", SMALL[NAME])
    convert(tmp_path / "w.safetensors", tmp_path / "o.safetensors")
    with pytest.raises(WeightsError, match=f"converted · wanted {NAME}: Sapiens2, pose"):
        check_published(tmp_path / "o.safetensors", SMALL[NAME])


@pytest.mark.parametrize(
    ("shapes", "name", "other"),
    [
        (sapiens("pose17", "0.3b"), "sapiens-pose-17-0.3b", "sapiens-pose-133-0.3b"),
        (sapiens("seg28", "1b"), "sapiens-seg-1b", "sapiens-seg-0.6b"),
        (sapiens("depth", "2b"), "sapiens-depth-2b", "sapiens-normal-2b"),
        (sapiens("pretrain", "0.6b"), "sapiens-pretrain-0.6b", "sapiens-pretrain-0.6b-clean"),
        (sapiens("clean", "0.6b"), "sapiens-pretrain-0.6b-clean", "sapiens-pretrain-0.6b"),
        (sapiens2("pretrain", "1b-4k"), "sapiens2-pretrain-1b-4k", "sapiens2-pretrain-1b"),
        (sapiens2("seg", "0.8b"), "sapiens2-seg-0.8b", "sapiens2-pose-0.8b"),
        (sapiens2("matting", "1b"), "sapiens2-matting-1b", "sapiens2-normal-1b"),
    ],
)
def test_published_files_are_told_apart(
    shapes: dict[str, tuple[int, ...]], name: str, other: str, tmp_path: Path
) -> None:
    path = write_hollow(tmp_path / "w.safetensors", shapes)
    check_published(path, entry(name))
    with pytest.raises(WeightsError, match=f"parameters · wanted {other}: Sapiens"):
        check_published(path, entry(other))


def test_mirrors_that_do_not_work(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(InputError, match="wanted a folder"):
        fetch(NAME, accept=yes, mirror=tmp_path / "nothing")
    with pytest.raises(InputError, match="wanted it anywhere inside"):
        fetch(NAME, accept=yes, mirror=tmp_path)
    with pytest.raises(InputError, match="the download failed"):
        fetch(NAME, accept=yes, mirror="http://127.0.0.1:9")


# ------------------------------------------------------------------------ any repository of the hub


REPO = "someone/detector"


def _repository(hub: Hub) -> None:
    hub.tags = ["transformers", "license:apache-2.0"]
    hub.repositories[REPO] = {
        "model.safetensors": GOOD,
        "pytorch_model.bin": b"x",
        "config.json": b'{"model_type": "x"}',
        "preprocessor_config.json": b"{}",
    }


@pytest.mark.parametrize("name", [f"hf:{REPO}", f"hf:{REPO}@main", f"hf:{REPO}@{COMMIT}"])
def test_any_repository_lands_where_transformers_looks(
    name: str, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import hf_hub_download

    _repository(hub)
    with pytest.raises(WeightsError, match=f"vitruvian weights fetch {name}"):
        find(name)
    notices: list[str] = []
    got = fetch(name, accept=lambda notice: not notices.append(notice))
    assert "apache-2.0" in notices[0]
    assert got.path == find(name)
    assert (got.path / "model.safetensors").read_bytes() == GOOD
    assert "apache-2.0" in (got.path / "LICENCE.txt").read_text()
    for file in ("config.json", "preprocessor_config.json"):
        place = hf_hub_download(
            REPO, file, revision=name.partition("@")[2] or None, local_files_only=True
        )
        assert Path(place).parent == got.path
    assert not fetch(name, accept=lambda _: False).fresh


def test_a_repository_from_a_mirror_folder(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    _repository(hub)
    folder = tmp_path / "mirror" / REPO
    folder.mkdir(parents=True)
    for name, data in hub.repositories[REPO].items():
        (folder / name).write_bytes(data)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    got = fetch(f"hf:{REPO}", accept=yes, mirror=tmp_path / "mirror")
    assert got.path == weights_folder(f"hf:{REPO}") == find(f"hf:{REPO}")
    assert {p.name for p in got.path.iterdir()} == {
        *("model.safetensors", "config.json", "preprocessor_config.json"),
        *("LICENCE.txt", "source.json"),
    }
    with pytest.raises(InputError, match="no such folder"):
        fetch("hf:someone/else", accept=yes, mirror=tmp_path / "mirror")


def test_a_repository_with_a_single_checkpoint(tmp_path: Path, hub: Hub) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    hub.repositories["a/one"] = {"best.pth": data, "old/model.safetensors": b"x"}
    got = fetch("hf:a/one", accept=yes)
    assert got.path.name == "best.pth"
    assert find("hf:a/one") == got.path


def test_repositories_that_do_not_do(hub: Hub) -> None:
    hub.repositories["a/none"] = {"README.md": b""}
    hub.repositories["a/many"] = {"x.safetensors": GOOD, "y.safetensors": GOOD}
    hub.repositories["a/bad"] = {"x.safetensors": b"<html>"}
    with pytest.raises(InputError, match=r"no \.safetensors or \.pth"):
        fetch("hf:a/none", accept=yes)
    with pytest.raises(InputError, match="2 weights files"):
        fetch("hf:a/many", accept=yes)
    with pytest.raises(WeightsError, match="web page"):
        fetch("hf:a/bad", accept=yes)
    hub.repositories["a/bad"] = {"x.safetensors": GOOD}
    assert fetch("hf:a/bad", accept=yes).path.read_bytes() == GOOD
    with pytest.raises(InputError, match="no such revision"):
        fetch("hf:a/none@gone", accept=yes)
    with pytest.raises(InputError, match="hf:organisation/name"):
        fetch("hf:justone", accept=yes)

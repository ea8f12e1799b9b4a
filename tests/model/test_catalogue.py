# SPDX-License-Identifier: Apache-2.0
"""The catalogue of published weights agrees with itself, with the networks and with the files."""

import subprocess
import sys
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from published_files import sapiens, sapiens2

from vitruvian.errors import InputError, UnknownNameError, WeightsError
from vitruvian.model.card import _VOCABULARIES
from vitruvian.model.catalogue import (
    catalogue,
    entry,
    entry_of,
    find,
    hub_address,
    weights_folder,
)
from vitruvian.model.published import published_patch_padding

ENTRIES = list(catalogue().values())


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def test_every_published_file_is_listed() -> None:
    first = Counter(e.task for e in ENTRIES if e.generation == 1)
    assert first == {
        "pretrain": 8,  # four sizes, with and without decoder
        "pose": 14,  # 17 and 133 points in four sizes, 308 in three, and three early ones
        "parts": 4,
        "depth": 4,
        "normals": 4,
        "detector": 1,
    }
    second = Counter(e.task for e in ENTRIES if e.generation == 2)
    four = dict.fromkeys(("pose", "parts", "normals", "pointmap"), 4)
    assert second == four | {"pretrain": 6, "matting": 1}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sapiens-pose-17-0.3b", "sapiens_0.3b_coco_best_coco_AP_796.pth"),
        ("sapiens-pose-133-2b", "sapiens_2b_coco_wholebody_best_coco_wholebody_AP_745.pth"),
        ("sapiens-pose-308-1b", "sapiens_1b_goliath_best_goliath_AP_639.pth"),
        ("sapiens-seg-0.6b", "sapiens_0.6b_goliath_best_goliath_mIoU_7777_epoch_178.pth"),
        ("sapiens-depth-2b", "sapiens_2b_render_people_epoch_25.pth"),
        ("sapiens-normal-1b", "sapiens_1b_normal_render_people_epoch_115.pth"),
        ("sapiens-pretrain-1b", "sapiens_1b_epoch_173.pth"),
        ("sapiens-pretrain-2b-clean", "sapiens_2b_epoch_660_clean.pth"),
        ("sapiens2-seg-0.8b", "sapiens2_0.8b_seg.safetensors"),
        ("sapiens2-pretrain-1b-4k", "sapiens2_1b_4k_pretrain.safetensors"),
        ("sapiens2-matting-1b", "sapiens2_1b_matting.safetensors"),
    ],
)
def test_file_names_as_published(name: str, file: str) -> None:
    assert entry(name).file == file
    assert entry_of(Path("somewhere") / file) == entry(name)


def test_entries_are_complete() -> None:
    assert len({e.file for e in ENTRIES}) == len(ENTRIES)
    for e in ENTRIES:
        assert e.name.startswith("sapiens2-" if e.generation == 2 else "sapiens-")
        assert "{" not in e.name + e.file + (e.metric or "") + str(e.places)
        assert e.licence.url.startswith("https://")
        assert e.licence.commercial == ("no" if e.generation == 1 else "restricted")
        assert (e.vocabulary is not None) == (e.task in ("pose", "parts"))
        assert e.loadable or e.note
        assert bool(e.places) == (e.name != "sapiens-seg-2b")
        assert all(repo.count("/") == 1 and path.endswith(e.file) for repo, path in e.places)
        if e.generation == 1 and e.task != "detector":
            assert e.patch_padding == published_patch_padding(e.task, e.size)
        else:
            assert e.patch_padding is None
        if e.task == "normals":
            assert e.convention["y"] == e.convention["z"] == "unverified"


def _shapes(name: str) -> dict[str, tuple[int, ...]]:
    e = entry(name)
    if e.generation == 2:
        return sapiens2({"parts": "seg", "normals": "normal"}.get(e.task, e.task), e.size)
    if e.task == "pretrain":
        return sapiens("clean" if name.endswith("clean") else "pretrain", e.size)
    points = {"coco17": "17", "wholebody133": "133", "sapiens308": "308"}.get(e.vocabulary or "")
    word = {"parts": "seg28", "normals": "normal", "pose": f"pose{points}"}.get(e.task, e.task)
    return sapiens(word, e.size)


@pytest.mark.parametrize("name", [e.name for e in ENTRIES if e.parameters])
def test_parameter_counts(name: str) -> None:
    shapes = {n: s for n, s in _shapes(name).items() if not n.endswith("periods")}
    total = 0
    for shape in shapes.values():
        size = 1
        for n in shape:
            size *= n
        total += size
    assert entry(name).parameters == total
    assert entry(name).nbytes == 4 * total


def test_vocabularies_exist_and_have_that_many_names() -> None:
    from vitruvian.vocabulary import load

    for (_, count), vocabulary in _VOCABULARIES.items():
        assert len(load(vocabulary)) == count
    assert {e.vocabulary for e in ENTRIES} - {None} <= set(_VOCABULARIES.values())


def test_nothing_in_the_table_is_unused() -> None:
    table = tomllib.loads(files("vitruvian.model").joinpath("catalogue.toml").read_text("utf-8"))
    known = {
        *("name", "generation", "task", "vocabulary", "licence", "patch_padding", "file"),
        *("places", "metric", "note", "sizes", "convention", "loadable"),
    }
    extra = {"size", "mark", "score", "parameters", "revision", "sha256"}
    assert set(table) == {"licence", "family"}
    for family in table["family"]:
        assert set(family) <= known
        for size in family["sizes"]:
            assert set(size) <= known | extra
    assert {f["licence"] for f in table["family"]} == set(table["licence"])


def test_reading_it_needs_no_torch() -> None:
    program = (
        "import sys; from vitruvian.model.catalogue import catalogue; catalogue();"
        "from vitruvian.model import fetch; from vitruvian.commands import weights;"
        "print('torch' in sys.modules, 'huggingface_hub' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


# ---------------------------------------------------------------------------------- finding files


def test_finding_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.safetensors"
    file.touch()
    assert find(file) == find(str(file)) == file
    monkeypatch.chdir(tmp_path)
    assert find("x.safetensors") == Path("x.safetensors")
    for missing in ("y.safetensors", "folder/y", tmp_path / "z.pth"):
        with pytest.raises(WeightsError, match="no such file"):
            find(missing)


def test_finding_by_name() -> None:
    with pytest.raises(WeightsError) as caught:
        find("sapiens-pose-308-1b")
    assert "vitruvian weights fetch sapiens-pose-308-1b" in str(caught.value)
    assert str(weights_folder()) in str(caught.value)
    file = weights_folder("sapiens-pose-308-1b") / entry("sapiens-pose-308-1b").file
    file.parent.mkdir(parents=True)
    file.touch()
    assert find("sapiens-pose-308-1b") == file
    with pytest.raises(UnknownNameError, match="did you mean sapiens-pose-308-1b"):
        find("sapiens-pose-308-2b")
    with pytest.raises(UnknownNameError, match=r"did you mean default\?"):
        find("defualt")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        find("sapiens-detector")


def test_finding_what_others_downloaded(tmp_path: Path) -> None:
    e = entry("sapiens2-pose-0.4b")
    (repo, inside), commit = e.places[0], "a" * 40
    folder = tmp_path / "cache" / ("models--" + repo.replace("/", "--"))
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    for name in (inside, "model.safetensors"):
        (snapshot / name).touch()
    assert find(e.name) == snapshot / inside
    assert find(f"hf:{repo}") == snapshot / "model.safetensors"
    (snapshot / "config.json").touch()
    assert find(f"hf:{repo}") == snapshot
    assert find(f"hf:{repo}@{commit}") == snapshot
    with pytest.raises(WeightsError, match=f"fetch hf:{repo}@other"):
        find(f"hf:{repo}@other")


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("hf:org/name", ("org/name", None)),
        ("hf:org/na.me-1@v1.0", ("org/na.me-1", "v1.0")),
        ("hf:org/name@refs/pr/3", ("org/name", "refs/pr/3")),
        ("org/name", None),
    ],
)
def test_hub_addresses(name: str, address: tuple[str, str | None] | None) -> None:
    assert hub_address(name) == address


@pytest.mark.parametrize("name", ["hf:name", "hf:a/b/c", "hf:../../etc", "hf:a/b@../c", "hf:"])
def test_malformed_hub_addresses(name: str) -> None:
    with pytest.raises(InputError, match="hf:organisation/name"):
        find(name)


def test_where_weights_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert weights_folder("x") == tmp_path / "weights" / "x"
    assert weights_folder("hf:a/b@v1").parent == tmp_path / "weights" / "hf"
    monkeypatch.delenv("VITRUVIAN_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert weights_folder() == tmp_path / "c" / "vitruvian" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert weights_folder() == Path.home() / ".cache" / "vitruvian" / "weights"

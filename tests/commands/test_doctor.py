# SPDX-License-Identifier: Apache-2.0
"""The doctor on this installation, and on ones that were made ill."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitruvian.commands import doctor as module
from vitruvian.commands.doctor import Finding, doctor, examine
from vitruvian.errors import InputError


def install(folder: Path, name: str, number: str, code: str | None = None) -> None:
    """Make a distribution (and its module, if ``code``) that importlib.metadata finds."""
    info = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    if code is not None:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(code)


def one(topic: str, state: str = "bad") -> Finding:
    (finding,) = (f for f in examine() if f.topic == topic and f.state == state)
    return finding


def test_this_installation_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor() == 0
    seen = capsys.readouterr().out
    for word in ("torch", "numpy", "cpu", "detect", "hub", "self-test", "Everything needed works"):
        assert word in seen


def test_every_extra_is_looked_at() -> None:
    from importlib.metadata import metadata

    extras = set(metadata("vitruvian").get_all("Provides-Extra") or [])
    assert set(module._EXTRAS) == extras - {"dev", "docs"}


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert {"topic", "state", "seen", "remedy"} == set(report["findings"][0])
    assert {f["state"] for f in report["findings"]} <= {"ok", "note"}


def test_a_foreign_torchvision_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "raise RuntimeError('operator torchvision::nms does not exist')"
    install(tmp_path, "torchvision", "0.1", code)
    monkeypatch.syspath_prepend(tmp_path)
    finding = one("torchvision")
    assert "nms does not exist" in finding.seen
    assert "pip uninstall torchvision" in finding.remedy
    assert doctor() == 1
    assert "Something needs care" in capsys.readouterr().out


def test_a_fitting_torchvision_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "torchvision", "0.1", "")
    monkeypatch.syspath_prepend(tmp_path)
    assert "nothing here needs it" in one("torchvision", "ok").seen


def test_two_builds_of_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "opencv-python", "4.0")
    monkeypatch.syspath_prepend(tmp_path)
    assert "overwrite each other" in one("opencv").seen


def test_a_missing_extra_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    known = module._version
    monkeypatch.setattr(module, "_version", lambda n: None if n == "transformers" else known(n))
    assert one("extra detect", "note").remedy == "pip install 'vitruvian[detect]'"


def test_a_missing_package_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    known = module._version
    monkeypatch.setattr(module, "_version", lambda n: None if n == "pyarrow" else known(n))
    finding = one("packages")
    assert finding.seen == "missing: pyarrow"
    assert finding.remedy == "pip install pyarrow"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VITRUVIAN_WEIGHTS", str(tmp_path / "file" / "weights"))
    assert "VITRUVIAN_WEIGHTS" in one("weights").remedy


def test_offline_and_mirror_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://mirror.example")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example")
    assert "offline" in one("hub", "ok").seen
    assert "http://mirror.example" in one("hub", "ok").seen


def test_slow_bfloat16_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_bfloat16_speed", lambda: 0.3)
    assert "fp32" in one("cpu", "note").remedy
    monkeypatch.setattr(module, "_bfloat16_speed", lambda: 2.5)
    assert "2.5×" in one("cpu", "ok").seen


def test_what_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Finding]:
        yield Finding(topic="x", state="ok", seen="before")
        raise OSError("libfoo.so: cannot open\nand more")

    found = module._guarded("x", broken)
    assert [f.state for f in found] == ["ok", "bad"]
    assert found[1].seen == "OSError: libfoo.so: cannot open"


def test_image_without_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--model"):
        doctor(image=tmp_path / "photo.jpg")


def test_unknown_model_is_bad(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(model="sapiens-pose-308-3b") == 1
    assert "sapiens-pose-308-1b" in capsys.readouterr().out.replace("\n", "")


# ------------------------------------------------------------------------- doctor --model


def write_model(path: Path, *tasks: str) -> Path:
    """Write a self-describing file with random weights and a head per task."""
    from vitruvian.model import SIZES, DenseHeadConfig, Network, NetworkConfig
    from vitruvian.model.card import Card, TaskCard
    from vitruvian.model.weights import save

    outputs = {"pose": 17, "parts": 28, "normals": 3}
    words = {"pose": "coco17", "parts": "parts28", "normals": None}
    backbone = SIZES["nano"]
    heads = {
        name: DenseHeadConfig(in_dim=backbone.dim, out=outputs[name], widths=(8,)) for name in tasks
    }
    config = NetworkConfig(backbone=backbone, heads=heads)
    card = Card(
        name="tiny",
        generation="vitruvian",
        network=config,
        tasks={name: TaskCard(vocabulary=words[name]) for name in tasks},
        input_size=(64, 48),
        framing="person",
        licence="Apache-2.0",
        commercial="yes",
    )
    save(path, Network(config), card)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    import numpy as np

    from vitruvian import image

    path = tmp_path / "photo.png"
    image.write(path, np.random.default_rng(0).integers(0, 255, (200, 160, 3), dtype=np.uint8))
    return path


def look(model: Path, image: Path | None = None) -> dict[str, Finding]:
    return {f.topic: f for f in module._guarded("model", lambda: module._model(str(model), image))}


def test_a_model_says_what_it_is(tmp_path: Path) -> None:
    found = look(write_model(tmp_path / "tiny.safetensors", "pose"))
    assert found.keys() == {"model"}
    for word in ("tiny: pose", "1.1 million", "64×48", "Apache-2.0", "yes"):
        assert word in found["model"].seen, found["model"].seen


def test_normals_without_a_photograph_are_not_checked(tmp_path: Path) -> None:
    found = look(write_model(tmp_path / "tiny.safetensors", "normals"))
    assert found["normals axes"].state == "note"
    assert "--image" in found["normals axes"].remedy


def test_a_photograph_for_a_model_without_normals_is_refused(tmp_path: Path, photo: Path) -> None:
    found = look(write_model(tmp_path / "tiny.safetensors", "pose"), photo)
    assert found["model"].state == "bad"
    assert "models with normals" in found["model"].seen


@pytest.mark.parametrize("tasks", [("normals",), ("normals", "parts")])
def test_random_weights_settle_nothing_or_are_contradicted(
    tmp_path: Path, photo: Path, tasks: tuple[str, ...]
) -> None:
    """The whole way from a file and a photograph to a verdict runs."""
    found = look(write_model(tmp_path / "tiny.safetensors", *tasks), photo)
    assert found["model"].state == "ok", found["model"].seen
    assert "pixels have positive z" in found["normals axes"].seen


@pytest.mark.parametrize(
    ("truth", "state", "text"),
    [
        ((1, -1, -1), "ok", "as taken"),
        ((1, 1, -1), "bad", "--normal-signs 1 1 -1"),
        ((1, -1, 1), "bad", "--normal-signs 1 -1 1"),
    ],
)
def test_axes_are_read_from_a_prediction(
    truth: tuple[int, int, int],
    state: str,
    text: str,
    tmp_path: Path,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network whose axes need the factors ``truth``, taken to need (1, -1, -1)."""
    import numpy as np
    from signs_sample import bust

    from vitruvian.person import Person, Raster
    from vitruvian.predict.predictor import Predictor

    normals, mask = bust()
    taken = np.array([1, -1, -1])
    seen = Raster(law="vector", values=normals * truth * taken, valid=mask)
    person = Person(box=np.array([0.0, 0, 159, 199]), annotations={"normals": seen})
    monkeypatch.setattr(Predictor, "__call__", lambda self, picture: (person,))
    finding = look(write_model(tmp_path / "tiny.safetensors", "normals"), photo)["normals axes"]
    assert finding.state == state
    assert text in f"{finding.seen} {finding.remedy}"

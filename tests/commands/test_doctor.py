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

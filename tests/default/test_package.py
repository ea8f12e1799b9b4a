# SPDX-License-Identifier: Apache-2.0
"""The weights come with the package: their name, the wheel, and what is said without them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vitruvian.errors import WeightsError
from vitruvian.model import catalogue
from vitruvian.model.catalogue import DEFAULT, SHIPPED, find

ROOT = Path(__file__).parents[2]
LIMITS = {"default.safetensors": 20e6, "people.safetensors": 10e6}


def test_the_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).mkdir()
    with pytest.raises(WeightsError, match="train default"):
        find(DEFAULT)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "default.safetensors").write_bytes(b"")
    assert find(DEFAULT) == tmp_path / "package" / "default.safetensors"
    assert find(f"./{DEFAULT}") == Path(DEFAULT)


def test_what_ships_is_small() -> None:
    for name, most in LIMITS.items():
        if (SHIPPED / name).is_file():
            assert (SHIPPED / name).stat().st_size <= most


def test_a_wheel_holds_all_of_the_package(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    held = {name.partition("/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    for path in SHIPPED.iterdir():
        if path.suffix in (".py", ".safetensors", ".md"):
            assert f"default/{path.name}" in held

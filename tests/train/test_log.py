# SPDX-License-Identifier: Apache-2.0
import importlib
import types
from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import MissingExtraError
from vitruvian.train.log import JsonLines, TensorBoard, WeightsAndBiases, read_lines

RED = np.full((2, 3, 3), (255, 0, 0), np.uint8)


def test_lines_are_there_at_once_and_hold_no_nan(tmp_path: Path) -> None:
    log = JsonLines(tmp_path)
    log.numbers(1, {"loss": 0.5})
    log.numbers(2, {"loss": float("nan")})
    assert read_lines(log.path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    log.pictures(2, {"mae/75": RED})
    assert (tmp_path / "pictures" / "00000002-mae-75.png").exists()
    log.close()


def test_going_on_drops_what_was_not_saved(tmp_path: Path) -> None:
    log = JsonLines(tmp_path)
    for step in (1, 2, 3):
        log.numbers(step, {"loss": step})
    with log.path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [line["step"] for line in read_lines(log.path)] == [1, 2, 3]
    JsonLines(tmp_path, after=2).numbers(3, {"loss": 30})
    assert [line["loss"] for line in read_lines(log.path)] == [1, 2, 30]


@pytest.mark.parametrize(
    ("kind", "package"),
    [(TensorBoard, "torch.utils.tensorboard"), (WeightsAndBiases, "wandb")],
)
def test_a_missing_package_is_named(
    kind: type, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        assert name == package
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(MissingExtraError, match="pip install"):
        kind(str(tmp_path))


def test_adapters_speak_the_services_words(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple] = []

    class Writer:
        def __getattr__(self, name: str) -> object:
            return lambda *a, **k: said.append((name, *a[:1], k.get("step")))

    fake = types.SimpleNamespace(
        SummaryWriter=lambda folder: Writer(), init=lambda **k: Writer(), Image=lambda p: p
    )
    monkeypatch.setattr(importlib, "import_module", lambda name: fake)
    for log in (TensorBoard("x"), WeightsAndBiases("p", mode="offline")):
        log.numbers(1, {"loss": 0.5})
        log.pictures(1, {"seen": RED})
        log.close()
    assert [s[0] for s in said] == ["add_scalar", "add_image", "close", "log", "log", "finish"]

# SPDX-License-Identifier: Apache-2.0
"""Keypoints against xtcocotools, where it is installed: 17 and 133 points, absent groups too."""

import contextlib
import copy
import importlib.util
import io
import json
import sys
import warnings
from unittest import mock

import made_sets
import numpy as np
import pytest

from vitruvian import vocabulary
from vitruvian.cli import main

KINDS = {
    "whole": "keypoints_wholebody",
    "body": "keypoints_body",
    "foot": "keypoints_foot",
    "face": "keypoints_face",
    "left_hand": "keypoints_lefthand",
    "right_hand": "keypoints_righthand",
}
NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def spoilt(entries, words, seed):
    """Results in which some groups of some people, and some people, were not found at all."""
    rng = np.random.default_rng(seed)
    keys = ["keypoints"]
    if words.name == "wholebody133":
        keys += ["foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"]
    for entry in entries:
        for key in keys:
            if rng.random() < 0.3:
                entry[key] = [0.0 if n % 3 == 2 else v for n, v in enumerate(entry[key])]
        entry["score"] = round(float(rng.uniform()), 2)
    return entries


@pytest.fixture
def oracle(monkeypatch):
    """The Python of xtcocotools; its compiled part is for masks only, and for old numpy."""
    if importlib.util.find_spec("xtcocotools") is None:
        pytest.skip("xtcocotools is not installed")
    for name in ("xtcocotools._mask", "matplotlib", "matplotlib.pyplot", "matplotlib.patches"):
        monkeypatch.setitem(sys.modules, name, mock.MagicMock())
    monkeypatch.setitem(sys.modules, "matplotlib.collections", mock.MagicMock())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield (
            importlib.import_module("xtcocotools.coco"),
            importlib.import_module("xtcocotools.cocoeval"),
        )
    for name in [name for name in sys.modules if name.startswith("xtcocotools")]:
        del sys.modules[name]


def reference(oracle, content, entries, words, members, kind, folder):
    xt, evaluator = oracle

    path = folder / "truth.json"
    path.write_text(json.dumps(content))
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = xt.COCO(str(path))
        found = truth.loadRes(copy.deepcopy(entries))
        sigmas = np.asarray(words.sigmas)[list(members)]
        evaluation = evaluator.COCOeval(truth, found, kind, sigmas, use_area=True)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(NAMES, evaluation.stats, strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("points", ["coco17", "wholebody133"])
def test_numbers_are_those_of_xtcocotools(tmp_path, oracle, points, seed):
    words = vocabulary.load(points)
    data, content = made_sets.coco_set(tmp_path, photos=15, points=points, seed=seed)
    for entry in content["annotations"]:
        for key in ("lefthand_box", "righthand_box", "face_box"):
            entry[key] = entry["bbox"]
    entries = made_sets.results(content, points, noise=0.03, seed=seed, false=8)
    if points == "wholebody133":
        entries = spoilt(entries, words, seed)
    (tmp_path / "results.json").write_text(json.dumps(entries))
    arguments = [
        "--data",
        data,
        "--predictions",
        tmp_path / "results.json",
        "--out",
        tmp_path / "o",
    ]
    assert main(["evaluate", "--worst", "0", *map(str, arguments)]) == 0
    ours = json.loads((tmp_path / "o" / "report.json").read_text())["results"]["pose"]
    groups = {"whole": range(len(words)), **words.groups} if points == "wholebody133" else {"": ()}
    for group in groups:
        members = groups[group] or range(len(words))
        kind = KINDS[group] if group else "keypoints"
        theirs = reference(oracle, content, entries, words, members, kind, tmp_path)
        for name, value in theirs.items():
            mine = ours[f"{group}/{name}" if group else name]
            assert (mine is None) == (value == -1), (group, name)
            assert value == -1 or abs(mine - value) < 1e-6, (group, name, mine, value)

# SPDX-License-Identifier: Apache-2.0
"""Opening detectors by name: limits that cannot be, and limits without effect."""

import json

import pytest

from vitruvian.errors import InputError
from vitruvian.predict.detect import GivenBoxes, WholeImage
from vitruvian.predict.load import load, open_detector


@pytest.mark.parametrize("score", [-0.1, 1.5, 50, float("nan")])
@pytest.mark.parametrize("detector", ["boxes.json", "boxes.txt", "folder", "whole"])
def test_a_limit_is_a_score_whatever_the_detector(detector, score, tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps([{"image_id": 1, "bbox": [1, 1, 5, 5]}]))
    (tmp_path / "boxes.txt").write_text("1,1,1,1,5,5,0.5")
    name = detector if detector == "whole" else str(tmp_path / detector)
    with pytest.raises(InputError, match="wanted a score from 0 to 1"):
        open_detector(name, score, "cpu")
    if "." in detector:
        assert isinstance(open_detector(name, 0.5, "cpu"), GivenBoxes)


def test_an_open_detector_has_its_own_limit(tmp_path):
    weights = tmp_path / "none.safetensors"
    with pytest.raises(InputError, match="the detector is a WholeImage that is open already"):
        load(weights, detector=WholeImage(), min_score=0.3)
    with pytest.raises(InputError, match="no such file"):
        load(weights, detector=WholeImage())

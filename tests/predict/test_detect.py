# SPDX-License-Identifier: Apache-2.0
"""Detectors: given boxes, whole pictures, and a small network of the transformers library."""

import numpy as np
import pytest

from vitruvian.errors import InputError, WeightsError
from vitruvian.predict.detect import Boxes, GivenBoxes, TransformersDetector, WholeImage

IMAGE = np.zeros((40, 60, 3), np.uint8)


def test_given_boxes_are_found_by_any_name_of_the_file():
    boxes = Boxes(
        np.array([[0, 0, 5, 5], [1, 1, 90, 9], [70, 3, 90, 9]]), np.array([0.2, 0.8, 0.9])
    )
    for key in ("a/b.jpg", "b.jpg", "b"):
        (found,) = GivenBoxes({key: boxes}).detect([IMAGE], ["a/b.jpg"])
        assert found.scores.tolist() == [0.8, 0.2]  # best first; one lies outside the picture
    (found,) = GivenBoxes({"7": boxes}, min_score=0.5).detect([IMAGE], ["frames/000007.png"])
    assert found.scores.tolist() == [0.8]
    assert len(GivenBoxes({"x": boxes}).detect([IMAGE], ["y.jpg"])[0]) == 0
    with pytest.raises(InputError, match="names no picture"):
        GivenBoxes({})


def test_a_whole_picture_ends_at_its_last_pixel():
    (found,) = WholeImage().detect([IMAGE], [""])
    assert found.boxes.tolist() == [[0, 0, 59, 39]]


def test_boxes_need_scores():
    with pytest.raises(InputError, match="1 boxes with 0 scores"):
        Boxes(np.zeros((1, 4)), np.zeros(0))


@pytest.fixture(scope="module")
def detector_folder(tmp_path_factory):
    """A random RT-DETRv2 of toy size, saved as any hub folder is."""
    transformers = pytest.importorskip("transformers")
    import json

    import torch

    torch.manual_seed(0)
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrV2Config(
        backbone_config=backbone, encoder_in_channels=[16, 16, 16], d_model=16, num_queries=12,
        encoder_hidden_dim=16, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, decoder_in_channels=[16, 16, 16],
        id2label={0: "person", 1: "chair"}, label2id={"person": 0, "chair": 1},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("detector")
    transformers.RTDetrV2ForObjectDetection(config).save_pretrained(folder)
    settings = {"size": {"height": 64, "width": 64}, "do_normalize": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.filterwarnings("ignore")
def test_a_transformers_detector_finds_boxes_inside_the_picture(detector_folder):
    detector = TransformersDetector(detector_folder, min_score=0.0, max_overlap=0.99)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((50, 80), (70, 30))]
    for image, found in zip(images, detector.detect(images, ["", ""]), strict=True):
        assert len(found) > 0
        assert (np.diff(found.scores) <= 0).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes[:, 2] <= image.shape[1] - 1).all()
        assert (found.boxes[:, 3] <= image.shape[0] - 1).all()
    assert detector.score_kind == "sigmoid"
    assert detector.detect([], []) == []


@pytest.mark.filterwarnings("ignore")
def test_a_transformers_detector_equals_its_own_post_processing(detector_folder):
    import torch
    import transformers

    detector = TransformersDetector(detector_folder, min_score=0.0, max_overlap=1.0)
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (found,) = detector.detect([image], [""])
    model = transformers.AutoModelForObjectDetection.from_pretrained(detector_folder).eval()
    with torch.inference_mode():
        output = model(pixel_values=torch.tensor(image).movedim(-1, 0)[None] / 255)
    scores = output.logits[0, :, 0].sigmoid()
    best = int(scores.argmax())
    centre, size = output.pred_boxes[0, best, :2] * 64, output.pred_boxes[0, best, 2:] * 64
    wanted = torch.cat([centre - size / 2, centre + size / 2]) - 0.5
    np.testing.assert_allclose(found.boxes[0], wanted.clamp(0, 63), atol=1e-3)
    assert found.scores[0] == pytest.approx(float(scores.max()), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_detectors_that_cannot_be_opened(tmp_path, monkeypatch, detector_folder):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match="no detector in"):
            TransformersDetector(place)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="cannot open the detector"):
        TransformersDetector(tmp_path)
    with pytest.raises(WeightsError, match="vitruvian weights fetch hf:nobody/nothing"):
        TransformersDetector("hf:nobody/nothing")

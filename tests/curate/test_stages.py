# SPDX-License-Identifier: Apache-2.0
"""The stages that look: similar pictures, blur, people, text, meaning."""

import shutil

import cv2
import numpy as np
import pytest
import tiny_models
from corpus import jpeg, many, packed, pixels, save
from test_pool import digests, finish

from vitruvian import image
from vitruvian.curate import plan
from vitruvian.curate.basics import Blur, Geometry, Hashes, Integrity, perceptual_hash
from vitruvian.curate.cascade import Gated
from vitruvian.curate.embeddings import Embedding, Probe, ZeroShot, write_bank
from vitruvian.curate.engines import Here
from vitruvian.curate.people import Person
from vitruvian.curate.raw import read_raw_index
from vitruvian.curate.records import read_columns
from vitruvian.curate.scale import at_original_size
from vitruvian.curate.stage import Picture, fingerprint, shrunk
from vitruvian.curate.text import Text, is_overlay
from vitruvian.errors import InputError, WeightsError


def rows_of(tree, stage):
    """Source → row, over all shards."""
    found = {}
    for shard in tree.shards():
        names = read_raw_index(shard)["source"].to_pylist()
        table = read_columns(tree.record(stage.name, fingerprint(stage), shard))
        found |= dict(zip(names, table.to_pylist(), strict=True))
    return found


# ------------------------------------------------------------------------------------- cheap


def test_the_perceptual_hash_knows_copies_from_others():
    first, other = pixels(1, 480, 640), pixels(2, 480, 640)
    copies = [
        image.read(image.encode(first, ".jpg", quality=50)),
        image.resize(first, (160, 213), "area"),
        np.clip(first.astype(int) + 8, 0, 255).astype(np.uint8),
    ]
    base = perceptual_hash(first)
    assert all((base ^ perceptual_hash(copy)).bit_count() <= 4 for copy in copies)
    assert (base ^ perceptual_hash(other)).bit_count() > 16
    assert 0 <= perceptual_hash(np.zeros((9, 9, 3), np.uint8)) < 1 << 64


def test_blur_is_comparable_between_sizes():
    rng = np.random.default_rng(0)
    sharp = cv2.GaussianBlur(rng.integers(0, 256, (900, 1200, 3), dtype=np.uint8), (0, 0), 2)
    soft = cv2.GaussianBlur(sharp, (0, 0), 6)
    small = shrunk(sharp, 700)

    def row(array):
        return Blur().open()([Picture(row=0, data=b"", base=shrunk(array, 1024))])[0]

    assert row(sharp)["sharpness"] > 5 * row(soft)["sharpness"]
    assert row(small)["sharpness"] == pytest.approx(row(sharp)["sharpness"], rel=0.25)


def test_answers_do_not_depend_on_the_stages_beside(tmp_path):
    files = {f"{n}.jpg": jpeg(n, 1100 + n, 1500) for n in range(3)}
    files["cut.jpg"] = files["0.jpg"][:3000]
    together, alone = packed(tmp_path / "a", files), packed(tmp_path / "b", files)
    stages = [Integrity(), Geometry(), Hashes(), Blur(), Blur(side=256)]
    finish(together, stages[:4], Here())
    for stage in stages[:4]:
        finish(alone, [stage], Here())
    assert digests(together, stages[:4]) == digests(alone, stages[:4])
    with pytest.raises(InputError, match="two different settings"):
        plan.in_order(stages)


# ------------------------------------------------------------------------------------- people


def test_boxes_return_to_the_size_of_the_original():
    whole = at_original_size(np.array([[0, 0, 99, 49.0]]), (50, 100), (500, 1000))
    assert whole.tolist() == [[0, 0, 999, 499]]
    half = at_original_size(np.array([[50, 0, 99, 24.0]]), (50, 100), (500, 1000))
    assert half.tolist() == [[500, 0, 999, 249]]


@pytest.mark.filterwarnings("ignore")
def test_a_detector_of_transformers(tmp_path):
    folder = tiny_models.detector(tmp_path / "detector")
    tree, stage = packed(tmp_path, many(5)), Person(detector=str(folder))
    finish(tree, [stage], Here())
    before = digests(tree, [stage])
    row = rows_of(tree, stage)["0000.jpg"]
    assert row["score_kind"] == "sigmoid"
    assert row["count"] == len(row["boxes"]) > 0
    other = packed(tmp_path / "again", many(5))
    finish(other, [stage], Here())
    assert digests(other, [stage]) == before
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 96, "width": 96}}')
    assert digests_differ(before, tree, stage)


def digests_differ(before, tree, stage):
    """A changed detector has another fingerprint: everything is to do again."""
    return len(plan.todo(tree, [stage], tree.shards())) == len(before)


def test_the_finder_of_our_own_is_a_detector_like_others(tmp_path, monkeypatch):
    """Weights that `train people` makes, by their file and as those inside the package."""
    from dataclasses import replace

    import torch

    from vitruvian.curate import people
    from vitruvian.model.network import Network
    from vitruvian.model.sizes import SIZES
    from vitruvian.model.weights import save as save_weights
    from vitruvian.predict import load
    from vitruvian.predict.people import PeopleFinder
    from vitruvian.recipes import people as recipe
    from vitruvian.recipes.weights import card_of

    torch.manual_seed(0)
    small = replace(SIZES["nano"], dim=32, depth=1, heads=2, mlp_hidden=64)
    run = recipe(small, steps=1, input_size=(64, 64))
    weights = tmp_path / "finder.safetensors"
    save_weights(weights, Network(run.network), card_of(run, "people"))
    files = {f"{n}.png": save(pixels(n, 90, 120), "PNG") for n in range(3)}
    tree, named = packed(tmp_path, files), Person(detector=str(weights))
    assert finish(tree, [named], Here()).failed == []
    expected = PeopleFinder(weights, min_score=0.05).detect([pixels(0, 90, 120)], ["0.png"])[0]
    row = rows_of(tree, named)["0.png"]
    assert row["score_kind"] == "sigmoid"
    assert row["count"] == len(expected.boxes)
    got = np.array([[box[k] for k in ("x0", "y0", "x1", "y1")] for box in row["boxes"]])
    assert got.reshape(-1, 4) == pytest.approx(expected.boxes[:100], abs=0.1)
    for module in (people, load):
        monkeypatch.setattr(module, "BUILT_IN", weights)
    auto = Person(detector="auto")
    assert fingerprint(auto) == fingerprint(named)
    assert finish(tree, [auto], Here()).shards == 0  # the same records
    monkeypatch.setattr(people, "BUILT_IN", tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="vitruvian weights fetch hf:"):
        fingerprint(Person(detector="auto"))


def test_an_absent_detector_is_one_clear_error():
    with pytest.raises(WeightsError, match="vitruvian weights fetch hf:nobody/nothing"):
        fingerprint(Person(detector="hf:nobody/nothing"))
    with pytest.raises(InputError):
        fingerprint(Person(detector="no/such/folder"))


# --------------------------------------------------------------------------------------- text


def lettered(array: np.ndarray, text: str, place, scale=1.2, opacity=1.0) -> np.ndarray:
    layer = array.copy()
    cv2.putText(layer, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 3)
    return cv2.addWeighted(layer, opacity, array, 1 - opacity, 0)


@pytest.mark.filterwarnings("ignore")
def test_text_is_read_and_overlays_are_told_apart(tmp_path):
    plain = (pixels(4, 480, 640) // 3).astype(np.uint8)
    stripes = np.tile(np.where(np.arange(640) // 12 % 2, 255, 0).astype(np.uint8), (480, 1))
    files = {
        "caption.png": save(lettered(plain, "HOLIDAY 2019", (180, 460)), "PNG"),
        "middle.png": save(lettered(plain, "HELLO", (250, 250)), "PNG"),
        "owned.png": save(lettered(plain, "www.shop.com", (170, 250)), "PNG"),
        "plain.png": save(plain, "PNG"),
        "stripes.png": save(np.repeat(stripes[..., None], 3, axis=2), "PNG"),
    }
    tree, stage = packed(tmp_path, files), Text()
    finish(tree, [stage], Here())
    rows = rows_of(tree, stage)
    assert all(row["status"] == "ok" for row in rows.values()), rows
    for name in ("caption", "middle", "owned"):
        assert rows[f"{name}.png"]["count"] >= 1, name
        assert 0.002 < rows[f"{name}.png"]["area"] < 0.2
    assert "HOLIDAY" in rows["caption.png"]["regions"][0]["text"]
    assert rows["caption.png"]["overlay_count"] == 1
    assert rows["owned.png"]["overlay_count"] == 1
    assert rows["middle.png"]["overlay_area"] == 0
    for name in ("plain", "stripes"):
        assert (rows[f"{name}.png"]["count"], rows[f"{name}.png"]["area"]) == (0, 0)


def test_what_counts_as_an_overlay():
    flat = np.array([[10, 10], [110, 10], [110, 30], [10, 30]], float)
    tilted = flat + np.array([[0, 0], [0, 9], [0, 9], [0, 0]])
    middle = flat + np.array([250, 200])
    size = (480, 640)
    assert is_overlay(flat, "HELLO", size, 0.15)
    assert not is_overlay(tilted, "HELLO", size, 0.15)
    assert not is_overlay(middle, "HELLO", size, 0.15)
    assert is_overlay(middle, "© someone", size, 0.15)


# ------------------------------------------------------------------------------------ meaning


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return str(tiny_models.clip(tmp_path_factory.mktemp("clip")))


@pytest.mark.filterwarnings("ignore")
def test_embeddings_equal_those_of_transformers(tmp_path, clip_folder):
    import torch
    import transformers

    stage = Embedding(model=clip_folder)
    tree = packed(tmp_path, {"a.png": save(pixels(1, 60, 80), "PNG"), "b.jpg": b"no"})
    finish(tree, [stage], Here())
    rows = rows_of(tree, stage)
    vector = np.array(rows["a.png"]["vector"], np.float32)
    assert rows["b.jpg"]["status"] == "skipped"
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    processor = transformers.CLIPImageProcessor.from_pretrained(clip_folder)
    given = processor(images=[pixels(1, 60, 80)], return_tensors="pt")
    with torch.inference_mode():
        expected = model.get_image_features(**given).pooler_output[0].numpy()
    expected /= np.linalg.norm(expected)
    assert vector == pytest.approx(expected, abs=5e-3)


@pytest.mark.filterwarnings("ignore")
def test_prompts_and_probes_build_on_embeddings(tmp_path, clip_folder):
    from vitruvian.curate.probes import fit_probe

    embedding = Embedding(model=clip_folder)
    concepts = {"neutral": ["a photo of person"], "toy": ["toy"], "drawing": ["a drawing"]}
    bank = write_bank(tmp_path / "bank.safetensors", clip_folder, concepts)
    shot = ZeroShot(bank=str(bank), upstream=embedding)
    tree = packed(tmp_path, {**many(12), "cut.jpg": b"\xff\xd8\xff"})
    finish(tree, [shot], Here())  # the embedding comes by itself
    rows = rows_of(tree, shot)
    assert rows.pop("cut.jpg")["status"] == "skipped"
    assert all(0 <= row["toy"] <= 1 and 0 <= row["drawing"] <= 1 for row in rows.values())
    vectors = {name: row["vector"] for name, row in rows_of(tree, embedding).items()}
    labels, middle = {}, np.median([vector[0] for vector in vectors.values() if vector])
    for shard in tree.shards():
        for entry in read_raw_index(shard).to_pylist():
            vector = vectors[entry["source"]]
            if vector is not None:
                labels[entry["uid"]] = bool(vector[0] > middle)
    head = tmp_path / "head.safetensors"
    report = fit_probe(tree, embedding, labels, head, name="first", folds=3, penalty=1e-5)
    assert report.rows == len(labels)
    probe = Probe(head=str(head), upstream=embedding)
    assert probe.name == "probe_first"
    finish(tree, [probe], Here())
    found = rows_of(tree, probe)
    assert found.pop("cut.jpg")["score"] is None
    right = sum(
        (found[entry["source"]]["score"] > 0.5) == labels[entry["uid"]]
        for shard in tree.shards()
        for entry in read_raw_index(shard).to_pylist()
        if entry["uid"] in labels
    )
    assert right >= 11
    # what was scored as a cascade teaches as well
    shutil.rmtree(tree.root / "records" / "embedding")
    finish(tree, [Gated(inner=embedding, side=1)], Here())
    again = fit_probe(tree, embedding, labels, head, name="first", folds=3, penalty=1e-5)
    assert again == report
    with pytest.raises(InputError, match="neutral"):
        write_bank(tmp_path / "no.safetensors", clip_folder, {"toy": ["toy"]})

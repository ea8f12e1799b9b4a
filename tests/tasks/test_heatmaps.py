# SPDX-License-Identifier: Apache-2.0
"""Heat-map targets and decoding against the original's numbers and a plain loop."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import InputError
from vitruvian.tasks.heatmaps import decode_heatmaps, encode_heatmaps, heatmap_squared_error

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "udp_codec.npz")
LOSSES = np.load(Path(__file__).parents[1] / "golden" / "pose_losses.npz")


def plain_decode(heatmaps):
    """One blur and one Newton step per map, straight from the published description."""
    found = []
    for heatmap in heatmaps:
        peak = heatmap.max()
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        border = np.pad(heatmap, 5)
        blurred = cv2.GaussianBlur(border, (11, 11), 0)[5:-5, 5:-5]
        log = np.log(np.clip(blurred * (peak / blurred.max()), 1e-3, 50))
        i = np.pad(log, 1, mode="edge")
        y1, x1 = y + 1, x + 1
        dx, dy = (i[y1, x1 + 1] - i[y1, x1 - 1]) / 2, (i[y1 + 1, x1] - i[y1 - 1, x1]) / 2
        dxx = i[y1, x1 + 1] - 2 * i[y1, x1] + i[y1, x1 - 1]
        dyy = i[y1 + 1, x1] - 2 * i[y1, x1] + i[y1 - 1, x1]
        dxy = (
            i[y1 + 1, x1 + 1] - i[y1, x1 + 1] - i[y1 + 1, x1] + 2 * i[y1, x1]
            - i[y1, x1 - 1] - i[y1 - 1, x1] + i[y1 - 1, x1 - 1]
        ) / 2  # fmt: skip
        hessian = np.array([[dxx, dxy], [dxy, dyy]]) + np.finfo(np.float32).eps * np.eye(2)
        found.append(np.array([x, y]) - np.linalg.solve(hessian, [dx, dy]))
    return np.array(found)


def published_coordinates(decoded, window, heatmap):
    """The original states decoded points as map / (map - 1) · window: undo that."""
    return decoded / np.array(window) * (np.array(heatmap) - 1)


@pytest.mark.parametrize(
    ("case", "size", "window", "sigma"),
    [("a", (256, 192), (768, 1024), 6.0), ("b", (32, 24), (96, 128), 1.5)],
)
def test_targets_equal_the_originals(case, size, window, sigma):
    scale = (np.array(size[::-1]) - 1) / (np.array(window) - 1)
    xy = torch.tensor(GOLDEN[f"keypoints_{case}"] * scale, dtype=torch.float32)
    xy[torch.tensor(GOLDEN[f"visible_{case}"]) < 0.5] = float("nan")
    maps, weights = encode_heatmaps(xy, size, sigma=sigma, exact=True)
    np.testing.assert_allclose(maps[0], GOLDEN[f"heatmaps_{case}"], atol=1e-5)
    np.testing.assert_array_equal(weights, GOLDEN[f"weights_{case}"])


def test_an_empty_target_has_no_weight():
    """The published test is off by one at the top and left edge; by default ours is not."""
    xy = torch.tensor([[[-19.0, 20.0], [-18.0, 20.0], [24 + 18.0, 20.0], [float("nan"), 3.0]]])
    maps, weights = encode_heatmaps(xy, (32, 24))
    assert weights.tolist() == [[0, 1, 0, 0]]
    assert maps.amax(dim=(2, 3)).gt(0).tolist() == [[False, True, False, False]]
    assert encode_heatmaps(xy, (32, 24), exact=True)[1].tolist() == [[1, 1, 0, 0]]


@pytest.mark.parametrize("name", ["a", "noisy"])
def test_exact_decoding_equals_the_originals(name):
    xy, scores = decode_heatmaps(torch.tensor(GOLDEN[f"heatmaps_{name}"])[None], exact=True)
    wanted = published_coordinates(GOLDEN[f"decoded_{name}"], (768, 1024), (192, 256))
    np.testing.assert_allclose(xy, wanted, atol=5e-4)
    np.testing.assert_allclose(scores, GOLDEN[f"scores_{name}"], rtol=1e-6)


def test_exact_decoding_of_a_small_map():
    xy, scores = decode_heatmaps(torch.tensor(GOLDEN["heatmaps_b"])[None], exact=True)
    wanted = published_coordinates(GOLDEN["decoded_b"], (96, 128), (24, 32))
    np.testing.assert_allclose(xy, wanted, atol=5e-4)
    np.testing.assert_allclose(scores, GOLDEN["scores_b"], rtol=1e-6)


def test_the_default_differs_only_where_the_original_leaves_the_map():
    maps = torch.tensor(GOLDEN["heatmaps_noisy"])[None]
    exact, _ = decode_heatmaps(maps, exact=True)
    ours, scores = decode_heatmaps(maps)
    limits = torch.tensor([191.0, 255.0])
    assert torch.equal(ours, exact.clamp(min=0).minimum(limits))
    assert (scores > 0).all()


@given(st.integers(0, 10_000), st.floats(0, 0.3))
def test_decoding_equals_a_plain_loop(seed, noise):
    rng = np.random.default_rng(seed)
    xy = torch.tensor(rng.uniform(2, 26, (1, 5, 2)), dtype=torch.float32)
    maps, _ = encode_heatmaps(xy, (32, 30), sigma=rng.uniform(1.5, 4))
    maps = maps + torch.tensor(rng.normal(size=maps.shape) * noise, dtype=torch.float32)
    maps = maps * rng.uniform(0.005, 60)  # small and large maps meet the clips of the logarithm
    ours = decode_heatmaps(maps, exact=True)[0][0].numpy()
    plain = plain_decode(maps[0].numpy())
    # where a map is flat at its peak the step is a quotient of roundings, and lands anywhere
    peaks = maps[0].flatten(1).argmax(1).numpy()
    sane = np.abs(plain - np.stack([peaks % 30, peaks // 30], axis=1)).max(axis=1) < 5
    assert (np.abs(plain - ours)[sane] < 0.02).all()
    assert sane.sum() >= 2


@given(st.integers(0, 10_000))
def test_a_point_survives_the_way_through_a_map(seed):
    rng = np.random.default_rng(seed)
    xy = torch.tensor(rng.uniform([12, 12], [51, 51], (2, 7, 2)), dtype=torch.float32)
    maps, weights = encode_heatmaps(xy, (64, 64), sigma=3.0)
    found, scores = decode_heatmaps(maps)
    assert (found - xy).abs().max() < 0.02
    assert weights.eq(1).all()
    assert scores.gt(0.9).all()


def test_nothing_there_is_score_zero_and_no_nan():
    maps = torch.zeros(1, 3, 16, 12)
    maps[0, 1] = -1.0
    maps[0, 2, 0, 11] = 1.0
    xy, scores = decode_heatmaps(maps)
    assert torch.isfinite(xy).all()
    assert scores.tolist() == [[0, 0, 1]]
    assert xy[0, 2].tolist() == [11, 0]  # a border peak stays inside
    exact, exact_scores = decode_heatmaps(maps, exact=True)
    assert torch.isnan(exact[0, 0]).all()
    assert exact_scores[0, 1] == -1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_decode(dtype):
    maps, _ = encode_heatmaps(torch.tensor([[[10.2, 8.7]]]), (24, 20), sigma=2.0)
    xy, _ = decode_heatmaps(maps.to(dtype))
    assert (xy - torch.tensor([10.2, 8.7])).abs().max() < 0.05
    assert xy.dtype == torch.float32


def test_losses_equal_the_originals():
    output, heatmaps = torch.tensor(LOSSES["output"]), torch.tensor(LOSSES["target"])
    weights = torch.tensor(LOSSES["weights"])
    mse = heatmap_squared_error(output, heatmaps, weights)
    hard = heatmap_squared_error(output, heatmaps, weights, 4)
    assert float(mse) == pytest.approx(float(LOSSES["mse"]), rel=1e-5)
    assert float(hard) == pytest.approx(float(LOSSES["ohkm4"]), rel=1e-5)


def test_wrong_maps_are_refused():
    with pytest.raises(InputError, match="wants floating"):
        decode_heatmaps(torch.zeros(3, 4, 5))
    with pytest.raises(InputError, match="wants floating"):
        decode_heatmaps(torch.zeros(1, 1, 4, 5, dtype=torch.int64))

# SPDX-License-Identifier: Apache-2.0
"""Keypoint and part decoding against the straightforward way, in one run.

    python benchmarks/decode.py

Keypoints: one person's 308 maps of 256×192 in a batch against one OpenCV blur and Taylor step per
map. Parts: labels of a 1080p frame from 28×512×384 logits against resizing all logits and taking
the argmax. Rounds alternate between the two ways, after a warm-up; medians and spread are stated.
"""

import json
import platform
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from vitruvian.geometry import Crop
from vitruvian.tasks import View
from vitruvian.tasks.heatmaps import decode_heatmaps, encode_heatmaps
from vitruvian.tasks.task import resampled_argmax

ROUNDS = 9


def plain_keypoints(maps):
    """The published description, one map after the other."""
    found = []
    for heatmap in maps:
        peak = heatmap.max()
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        border = np.zeros((heatmap.shape[0] + 10, heatmap.shape[1] + 10), np.float32)
        border[5:-5, 5:-5] = heatmap
        blurred = cv2.GaussianBlur(border, (11, 11), 0)[5:-5, 5:-5]
        log = np.log(np.clip(blurred * (peak / blurred.max()), 1e-3, 50))
        i = np.pad(log, 1, mode="edge")
        y, x = y + 1, x + 1
        dx, dy = (i[y, x + 1] - i[y, x - 1]) / 2, (i[y + 1, x] - i[y - 1, x]) / 2
        dxx = i[y, x + 1] - 2 * i[y, x] + i[y, x - 1]
        dyy = i[y + 1, x] - 2 * i[y, x] + i[y - 1, x]
        dxy = i[y + 1, x + 1] - i[y, x + 1] - i[y + 1, x] + 2 * i[y, x]
        dxy = (dxy - i[y, x - 1] - i[y - 1, x] + i[y - 1, x - 1]) / 2
        hessian = np.array([[dxx, dxy], [dxy, dyy]]) + np.finfo(np.float32).eps * np.eye(2)
        found.append(np.array([x - 1, y - 1]) - np.linalg.solve(hessian, [dx, dy]))
    return np.array(found)


def alternate(first, second):
    """Time two functions in alternating rounds; return seconds of each."""
    first(), second()
    times = ([], [])
    for _ in range(ROUNDS):
        for function, kept in zip((first, second), times, strict=True):
            start = time.perf_counter()
            function()
            kept.append(time.perf_counter() - start)
    return times


def report(name, ours, theirs, agreement):
    row = {
        "name": name,
        "ours_ms": round(1000 * statistics.median(ours), 2),
        "ours_range_ms": [round(1000 * min(ours), 2), round(1000 * max(ours), 2)],
        "baseline_ms": round(1000 * statistics.median(theirs), 2),
        "baseline_range_ms": [round(1000 * min(theirs), 2), round(1000 * max(theirs), 2)],
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 1),
        **agreement,
    }
    print(json.dumps(row))
    return row


def keypoints(noise):
    rng = np.random.default_rng(0)
    xy = torch.tensor(rng.uniform(5, [187, 251], (1, 308, 2)), dtype=torch.float32)
    maps, _ = encode_heatmaps(xy, (256, 192))
    maps = maps * torch.tensor(rng.uniform(0.2, 1, (1, 308, 1, 1)), dtype=torch.float32)
    maps = maps + noise * torch.tensor(rng.normal(size=maps.shape), dtype=torch.float32)
    array = maps[0].numpy()
    ours, theirs = alternate(lambda: decode_heatmaps(maps), lambda: plain_keypoints(array))
    apart = np.abs(decode_heatmaps(maps, exact=True)[0][0].numpy() - plain_keypoints(array)).max()
    return report(f"308 maps 256x192, noise {noise}", ours, theirs, {"apart_px": float(apart)})


def parts(name, coarse):
    torch.manual_seed(0)
    logits = torch.randn(1, 28, *coarse)
    logits = 4 * F.interpolate(logits, (512, 384), mode="bicubic", align_corners=False)[0]
    view = View(Crop.stretch((1080, 1920), (1024, 768)), (1080, 1920))

    def ours():
        return resampled_argmax(logits, *view.grid((512, 384), logits.device))

    def plain():
        size = (1080, 1920)
        wide = F.interpolate(logits[None], size, mode="bilinear", align_corners=False)
        return wide[0].argmax(0)

    mine, theirs = alternate(ours, plain)
    dense = F.interpolate(logits[None], (1080, 1920), mode="bilinear", align_corners=False)[0]
    best = dense.amax(0) - dense.gather(0, ours().long()[None])[0]
    return report(name, mine, theirs, {"labels_differ_beyond_ties": int((best > 1e-3).sum())})


def main():
    rows = [keypoints(0.0), keypoints(0.01)]
    rows.append(parts("parts 1080p, regions of about 1/12 of the frame", (12, 9)))
    rows.append(parts("parts 1080p, regions of about 1/48 of the frame", (48, 36)))
    rows.append(parts("parts 1080p, noise (worst case)", (512, 384)))
    result = {
        "command": "python benchmarks/decode.py",
        "rounds": ROUNDS,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
        "machine": platform.machine(),
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / "decode.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

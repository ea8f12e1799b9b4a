# SPDX-License-Identifier: Apache-2.0
"""Metrics: numpy in, numbers out. Each is an ``Accumulator``; its module has the formulas."""

from vitruvian.metrics.accumulator import Accumulator, Average
from vitruvian.metrics.boxes import BoxAP
from vitruvian.metrics.calibration import Calibration
from vitruvian.metrics.depth import Alignment, DepthMetrics
from vitruvian.metrics.keypoints import KeypointAP, Ranking
from vitruvian.metrics.masks import MaskMetrics
from vitruvian.metrics.motion import Jitter, Tracks
from vitruvian.metrics.normals import NormalMetrics
from vitruvian.metrics.oks import candidate_areas, oks_matrix, oks_nms, point_similarity, rescore
from vitruvian.metrics.pck import PCK

__all__ = [
    "PCK",
    "Accumulator",
    "Alignment",
    "Average",
    "BoxAP",
    "Calibration",
    "DepthMetrics",
    "Jitter",
    "KeypointAP",
    "MaskMetrics",
    "NormalMetrics",
    "Ranking",
    "Tracks",
    "candidate_areas",
    "oks_matrix",
    "oks_nms",
    "point_similarity",
    "rescore",
]

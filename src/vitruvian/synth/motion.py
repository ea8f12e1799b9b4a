# SPDX-License-Identifier: Apache-2.0
"""From one pose to another, as people move."""

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from vitruvian.synth.pose import Pose


def between(first: Pose, second: Pose, share: float) -> Pose:
    """Return the pose ``share`` of the way from one to another; each bone turns the short way.

    Both have to be poses of one body; the whole body's place moves in a straight line.
    """
    if share <= 0:
        return first
    if share >= 1:
        return second
    count = len(first.rotations)
    turned = np.empty((count, 3, 3))
    for bone in range(count):
        ends = Rotation.from_matrix(np.stack([first.rotations[bone], second.rotations[bone]]))
        turned[bone] = Slerp([0.0, 1.0], ends)(share).as_matrix()
    place = first.translation + (second.translation - first.translation) * share
    return replace(first, rotations=turned, translation=place)


def eased(frame: int, frames: int, keys: int) -> tuple[int, float]:
    """Return between which key poses a frame lies, and how far: people start and stop gently."""
    if frames < 2 or keys < 2:
        return 0, 0.0
    time = frame / (frames - 1) * (keys - 1)
    number = min(int(time), keys - 2)
    share = time - number
    return number, share * share * (3 - 2 * share)

# SPDX-License-Identifier: Apache-2.0
"""The signs of normals, on a rendered head and shoulders whose normals are known exactly."""

import numpy as np
import pytest
from signs_sample import bust

from vitruvian.commands.normal_signs import SignEvidence, decide_normal_signs
from vitruvian.errors import InputError


@pytest.mark.parametrize("sign_y", [1, -1])
@pytest.mark.parametrize("sign_z", [1, -1])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_signs_of_a_bust(sign_y: int, sign_z: int, masked: bool, noise: float) -> None:
    normals, mask = bust()
    given = 3.0 * normals * [1, sign_y, sign_z]
    given += np.random.default_rng(0).normal(0, noise, given.shape) * mask[..., None]
    found = decide_normal_signs(given, mask if masked else None)
    # the factor to camera space undoes the factor from it
    assert (found.y, found.z) == (sign_y, sign_z), str(found.evidence)
    assert not found.evidence.contradictory
    if masked:
        assert found.evidence.outline_x is not None
        assert found.evidence.outline_x > 0.8


def test_top_of_the_head_points_up() -> None:
    """The sample itself obeys the sentence the decision rests on."""
    normals, mask = bust()
    top = np.argmax(mask.any(axis=1))
    assert normals[top][mask[top]][:, 1].mean() < -0.9
    assert (normals[mask][:, 2] < 0).all()


def test_background_does_not_decide() -> None:
    """Outside the mask a network may say anything."""
    normals, mask = bust()
    given = normals * [1, -1, -1]
    given[~mask] = [0.0, 0.6, -0.8]
    found = decide_normal_signs(given, mask)
    assert (found.y, found.z) == (-1, -1)


def test_a_wall_settles_z_only() -> None:
    wall = np.broadcast_to([0.0, 0.0, 1.0], (64, 64, 3))
    found = decide_normal_signs(wall)
    assert (found.y, found.z) == (0, -1)
    assert "unknown" in str(found.evidence)


def test_noise_settles_nothing() -> None:
    noise = np.random.default_rng(1).normal(size=(64, 64, 3))
    assert decide_normal_signs(noise)[:2] == (0, 0)


def test_mirrored_x_is_noticed() -> None:
    normals, mask = bust()
    found = decide_normal_signs(normals * [-1, 1, 1], mask)
    assert found.evidence.contradictory
    assert found.y == 0


@pytest.mark.parametrize(
    ("normals", "mask", "text"),
    [
        (np.ones((8, 8)), None, "(H, W, 3)"),
        (np.ones((20, 20, 3)), np.ones((4, 4)), "(4, 4)"),
        (np.zeros((20, 20, 3)), None, "0 pixels"),
        (np.full((20, 20, 3), np.nan), None, "0 pixels"),
        (np.ones((20, 20, 3)), np.zeros((20, 20)), "at least 100"),
    ],
)
def test_bad_input(normals: np.ndarray, mask: np.ndarray | None, text: str) -> None:
    with pytest.raises(InputError, match=text.replace("(", r"\(").replace(")", r"\)")):
        decide_normal_signs(normals, mask)


def test_evidence_reads_well() -> None:
    evidence = SignEvidence(pixels=10, facing=0.5, outline_x=None, outline_y=0.3, surface_y=-0.4)
    assert str(evidence) == (
        "50% of 10 pixels have positive z, outline x unknown, outline y +0.30, surface y -0.40"
    )
    assert evidence.contradictory

# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest

from vitruvian.errors import InputError
from vitruvian.synth.body import BodyModel, load_body
from vitruvian.synth.bvh import bvh_poses, match_joints, read_bvh
from vitruvian.synth.pose import apply_pose

ROTATIONS = "CHANNELS 3 Zrotation Xrotation Yrotation"


def joint(name: str, offset: str, inside: str = "") -> str:
    inside = inside or "End Site { OFFSET 0 1 0 }"
    return f"JOINT {name} {{ OFFSET {offset} {ROTATIONS} {inside} }} "


def arm(side: str, sign: int) -> str:
    hand = joint(f"{side}Hand", f"{25 * sign} 0 0")
    fore = joint(f"{side}ForeArm", f"{28 * sign} 0 0", hand)
    return joint(
        f"{side}Shoulder", f"{3 * sign} 12 0", joint(f"{side}Arm", f"{15 * sign} 0 0", fore)
    )


def leg(side: str, sign: int) -> str:
    foot = joint(f"{side}Foot", "0 -40 0", "End Site { OFFSET 0 -5 15 }")
    return joint(f"{side}UpLeg", f"{9 * sign} 0 0", joint(f"{side}Leg", "0 -42 0", foot))


def figure(z_up: bool = False) -> str:
    """Return a hand-made figure of centimetres: 19 joints, as Mixamo names them."""
    head = joint("Head", "0 10 0", "End Site { OFFSET 0 18 0 }")
    trunk = joint("Spine", "0 10 0", joint("Spine1", "0 15 0", joint("Neck", "0 22 0", head)
                  + arm("Left", 1) + arm("Right", -1)))  # fmt: skip
    text = (
        "HIERARCHY ROOT mixamorig:Hips { OFFSET 0 0 0 CHANNELS 6 Xposition Yposition Zposition "
        f"Zrotation Xrotation Yrotation {trunk} {leg('Left', 1)} {leg('Right', -1)} }}"
    )
    if z_up:  # the same figure lying on the axes of Blender: (x, y, z) → (x, -z, y)
        words, at = text.split(), 0
        while "OFFSET" in words[at:]:
            at = words.index("OFFSET", at) + 1
            x, y, z = (float(w) for w in words[at : at + 3])
            words[at : at + 3] = [str(x), str(-z), str(y)]
        text = " ".join(words)
    return text


NAMES = [w for w, before in zip(figure().split()[1:], figure().split(), strict=False)
         if before in ("ROOT", "JOINT")]  # fmt: skip


def write(path: Path, frames: list[dict[str, list[float]]], *, z_up: bool = False) -> Path:
    """Write frames: joint name → its channels; the root's first three are its position."""
    lines = [figure(z_up), "MOTION", f"Frames: {len(frames)}", "Frame Time: 0.0333"]
    for frame in frames:
        row: list[float] = []
        for name in NAMES:
            row += frame.get(name, [0.0] * (6 if name == NAMES[0] else 3))
        lines.append(" ".join(f"{x:.4f}" for x in row))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def model() -> BodyModel:
    return load_body()


def way(model: BodyModel, pose, a: str, b: str) -> np.ndarray:
    joints = apply_pose(model, model.canonical, pose).joints
    out = joints[model.bone_index[b]] - joints[model.bone_index[a]]
    return out / np.linalg.norm(out)


def test_file_is_read_as_it_is(tmp_path: Path) -> None:
    motion = read_bvh(write(tmp_path / "a.bvh", [{}, {"Head": [1.0, 2.0, 3.0]}]))
    assert motion.names == tuple(NAMES)
    assert len(motion) == 2
    assert motion.frame_time == pytest.approx(0.0333)
    assert motion.values.shape == (2, 6 + 3 * (len(NAMES) - 1))
    index = motion.names.index("LeftForeArm")
    assert motion.names[motion.parents[index]] == "LeftArm"
    assert motion.offsets[index].tolist() == [28, 0, 0]
    assert motion.channels[0][:3] == ("Xposition", "Yposition", "Zposition")


def test_zero_angles_are_the_figure_itself(model: BodyModel, tmp_path: Path) -> None:
    (pose,) = bvh_poses(model, model.canonical, read_bvh(write(tmp_path / "a.bvh", [{}])))
    assert pose.family == "bvh"
    for side, sign in (("L", 1), ("R", -1)):
        assert way(model, pose, f"upperarm01.{side}", f"wrist.{side}")[0] * sign > 0.999
        assert way(model, pose, f"upperleg01.{side}", f"foot.{side}")[1] < -0.999
        # palms down: the index finger in front of the little one
        assert way(model, pose, f"finger5-1.{side}", f"finger2-1.{side}")[2] > 0.7
    body = apply_pose(model, model.canonical, pose)
    assert body.vertices[model.group_vertices("skin"), 1].min() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("frame", "chain", "direction"),
    [
        ({"LeftUpLeg": [0, -90.0, 0]}, "upperleg01.L lowerleg01.L", (0, 0, 1)),
        ({"RightLeg": [0, 90.0, 0]}, "lowerleg01.R foot.R", (0, 0, -1)),
        ({"LeftArm": [-90.0, 0, 0]}, "upperarm01.L wrist.L", (0, -1, 0)),
        ({"RightForeArm": [0, 0, 90.0]}, "lowerarm01.R wrist.R", (0, 0, 1)),
        ({"Spine": [0, 40.0, 0]}, "spine01 head", (0, 0.77, 0.64)),
        ({NAMES[0]: [0, 0, 0, 0, 0, 90.0]}, "upperleg01.R upperleg01.L", (0, 0, -1)),
    ],
)
def test_turned_joints(model: BodyModel, tmp_path: Path, frame, chain: str, direction) -> None:
    (pose,) = bvh_poses(model, model.canonical, read_bvh(write(tmp_path / "a.bvh", [frame])))
    assert way(model, pose, *chain.split()) @ np.array(direction) > 0.97


def test_root_moves_by_the_length_of_the_legs(model: BodyModel, tmp_path: Path) -> None:
    steps = [{NAMES[0]: [0, 90.0, 0, 0, 0, 0]}, {NAMES[0]: [0, 90.0, 82.0, 0, 0, 0]}]
    motion = read_bvh(write(tmp_path / "a.bvh", steps))
    first, second = bvh_poses(model, model.canonical, motion)
    moved = second.translation - first.translation
    heads = model.canonical.heads[0]
    leg_length = sum(
        np.linalg.norm(heads[model.bone_index[b]] - heads[model.bone_index[a]])
        for a, b in (("upperleg01.L", "lowerleg01.L"), ("lowerleg01.L", "foot.L"))
    )
    np.testing.assert_allclose(moved, [0, 0, leg_length], atol=1e-4)  # 82 is the figure's leg
    (only,) = bvh_poses(model, model.canonical, motion, frames=[1])
    assert only.translation == pytest.approx(first.translation, abs=1e-4)


def test_axes_are_read_off_the_skeleton(model: BodyModel, tmp_path: Path) -> None:
    """The figure with z up and y backwards does the same: its x rotation is about the same axis."""
    path = write(tmp_path / "z.bvh", [{"LeftUpLeg": [0, -90.0, 0]}], z_up=True)
    (pose,) = bvh_poses(model, model.canonical, read_bvh(path))
    assert way(model, pose, "upperleg01.R", "foot.R")[1] < -0.999
    assert way(model, pose, "upperleg01.L", "lowerleg01.L") @ [0, 0, 1] > 0.97


def test_joint_names(tmp_path: Path) -> None:
    motion = read_bvh(write(tmp_path / "a.bvh", [{}]))
    found = match_joints(motion)
    assert motion.names[found["root"]] == "mixamorig:Hips"
    assert motion.names[found["upperleg01.L"]] == "LeftUpLeg"
    assert motion.names[found["lowerleg01.R"]] == "RightLeg"
    assert motion.names[found["clavicle.R"]] == "RightShoulder"
    text = (tmp_path / "a.bvh").read_text().replace("LeftUpLeg", "Bein7")
    (tmp_path / "b.bvh").write_text(text)
    other = read_bvh(tmp_path / "b.bvh")
    with pytest.raises(InputError, match=r"upperleg01\.L not found among"):
        match_joints(other)
    assert match_joints(other, {"upperleg01.L": "Bein7"})["upperleg01.L"] == found["upperleg01.L"]
    with pytest.raises(InputError, match="no joint 'Bein8'"):
        match_joints(other, {"upperleg01.L": "Bein8"})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: "", "wanted the words HIERARCHY and MOTION"),
        (lambda t: t.replace("HIERARCHY", "TREE"), "wanted the words"),
        (lambda t: t.replace("MOTION", ""), "wanted the words"),
        (lambda t: t.replace("Frames: 1", "Frames: 3"), "wanted 3 frames of 60 channels"),
        (lambda t: t.replace("Frame Time", "Time"), "Frame Time"),
        (lambda t: t[:-4] + "x", "no number"),
        (lambda t: t[:-6] + "nan", "NaN"),
        (
            lambda t: t.replace("Zrotation Xrotation", "Wrotation Xrotation", 1),
            "cannot be followed",
        ),
        (lambda t: t.replace("OFFSET", "SET", 1), "cannot be followed"),
        (lambda t: t.replace("{", "", 1), "HIERARCHY|followed"),
    ],
)
def test_bad_files(tmp_path: Path, change, text: str) -> None:
    path = write(tmp_path / "a.bvh", [{}])
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=text):
        read_bvh(path)


def test_bad_requests(model: BodyModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_bvh(tmp_path / "missing.bvh")
    motion = read_bvh(write(tmp_path / "a.bvh", [{}]))
    with pytest.raises(InputError, match="wanted some of 0 to 0"):
        bvh_poses(model, model.canonical, motion, frames=[1])

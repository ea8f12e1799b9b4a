# SPDX-License-Identifier: Apache-2.0
"""Recorded motion: read BVH files and put their movement on our body.

A BVH file (Biovision) has a tree of joints with offsets and, per frame, a position of the root and
Euler angles of every joint. Its axes, unit and proportions are its own: the up axis and the left
side are read off its skeleton, lengths are scaled by the legs. Joints are found by common names
(CMU, Mixamo, LaFAN1, Rokoko, Blender …); ``NAMES`` is the table, and ``names=`` adds to it.
Which recordings you may use is for you to know: none ship with the package.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vitruvian.errors import InputError
from vitruvian.synth.body import Bodies, BodyModel, bone_transforms, skin
from vitruvian.synth.pose import Pose, bone_rotations, swing_between

# Our bone → names it goes by (lower case, without prefixes, spaces and punctuation).
NAMES: Mapping[str, tuple[str, ...]] = {
    "root": ("hips", "hip", "pelvis", "root"),
    "spine04": ("spine", "lowerback", "abdomen", "spine0", "torso"),
    "spine02": ("spine1", "chest", "spine01", "lowerchest"),
    "spine01": ("spine2", "chest2", "upperchest", "spine3", "spine02"),
    "neck01": ("neck", "neck1", "lowerneck"),
    "head": ("head",),
    **{
        f"{bone}.{letter}": tuple(
            name
            for word in words
            for name in (side + word, word + side, side[0] + word, word + side[0])
        )
        for letter, side in (("L", "left"), ("R", "right"))
        for bone, words in {
            "clavicle": ("shoulder", "collar", "clavicle"),
            "upperarm01": ("arm", "uparm", "upperarm"),
            "lowerarm01": ("forearm", "lowarm", "lowerarm", "elbow"),
            "wrist": ("hand", "wrist"),
            "upperleg01": ("upleg", "thigh", "upperleg", "hip"),
            "lowerleg01": ("leg", "lowleg", "lowerleg", "shin", "calf", "knee"),
            "foot": ("foot", "ankle"),
        }.items()
    },
}  # fmt: skip
_NEEDED = (
    "root",
    *(
        f"{b}.{s}"
        for s in "LR"
        for b in ("upperarm01", "lowerarm01", "upperleg01", "lowerleg01", "foot")
    ),
)
# Bones whose direction is taken over, and the bone at their end.
_LIMBS = {
    "upperarm01": "lowerarm01",
    "lowerarm01": "wrist",
    "upperleg01": "lowerleg01",
    "lowerleg01": "foot",
}
_CHANNELS = {f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Motion:
    """A BVH file as it is.

    Attributes:
        names: Names of the joints, parents first.
        parents: (J,) index of each joint's parent, -1 for the root.
        offsets: (J, 3) offset from the parent, in the file's unit.
        channels: Names of each joint's channels, in the file's order.
        frame_time: Seconds between frames.
        values: (frames, C) channel values: lengths, and degrees.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: NDArray[np.float64]
    channels: tuple[tuple[str, ...], ...]
    frame_time: float
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


def read_bvh(path: str | Path) -> Motion:
    """Read a BVH file.

    Raises:
        InputError: if it cannot be read or is not a whole BVH file, naming the place.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    hierarchy, found, motion = text.partition("MOTION")
    if not hierarchy.lstrip().startswith("HIERARCHY") or not found:
        raise InputError(f"{path}: not a BVH file; wanted the words HIERARCHY and MOTION")
    names, parents, offsets, channels = _read_tree(
        path, re.findall(r"[{}]|[^{}\s]+", hierarchy)[1:]
    )
    heading = re.match(r"\s*Frames:\s*(\d+)\s+Frame Time:\s*([\d.eE+-]+)", motion)
    if not heading:
        raise InputError(f"{path}: wanted 'Frames: N' and 'Frame Time: S' after MOTION")
    frames, count = int(heading[1]), sum(map(len, channels))
    try:
        numbers = np.array(motion[heading.end() :].split(), dtype=np.float64)
        frame_time = float(heading[2])
    except ValueError as error:
        raise InputError(f"{path}: a frame has something that is no number ({error})") from error
    if frames < 1 or len(numbers) != frames * count:
        raise InputError(
            f"{path}: {len(numbers)} numbers; wanted {frames} frames of {count} channels"
        )
    if not np.isfinite(numbers).all():
        raise InputError(f"{path}: a frame holds NaN or infinity; wanted finite numbers")
    return Motion(
        names=tuple(names), parents=tuple(parents), offsets=np.array(offsets),
        channels=tuple(channels), frame_time=frame_time, values=numbers.reshape(frames, count),
    )  # fmt: skip


def _read_tree(
    path: str | Path, words: list[str]
) -> tuple[list[str], list[int], list[list[float]], list[tuple[str, ...]]]:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[tuple[str, ...]] = []
    stack: list[int] = []  # open braces: joints, or -1 for an end site
    pending, at = -1, 0
    try:
        while at < len(words):
            word = words[at]
            if word in ("ROOT", "JOINT"):
                pending = len(names)
                names.append(words[at + 1])
                parents.append(stack[-1] if stack else -1)
                offsets.append([0.0, 0.0, 0.0])
                channels.append(())
                at += 2
            elif word == "End":  # "End Site"
                pending = -1
                at += 2
            elif word == "{":
                stack.append(pending)
                at += 1
            elif word == "}":
                stack.pop()
                at += 1
            elif word == "OFFSET":
                if stack[-1] >= 0:
                    offsets[stack[-1]] = [float(x) for x in words[at + 1 : at + 4]]
                at += 4
            elif word == "CHANNELS":
                size = int(words[at + 1])
                channels[stack[-1]] = tuple(words[at + 2 : at + 2 + size])
                if not set(channels[stack[-1]]) <= _CHANNELS:
                    raise ValueError(f"channels {' '.join(channels[stack[-1]])}")
                at += 2 + size
            else:
                raise ValueError(f"the word {word!r}")
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: its HIERARCHY cannot be followed ({error})") from error
    if stack or not names or parents.count(-1) != 1:
        raise InputError(f"{path}: wanted one ROOT with matching braces in HIERARCHY")
    return names, parents, offsets, channels


def match_joints(motion: Motion, names: Mapping[str, str] | None = None) -> dict[str, int]:
    """Return our bones that the motion moves, with the index of its joint.

    Args:
        motion: The file.
        names: Our bone name → joint name, where the table does not know it.

    Raises:
        InputError: if hips, arms or legs are not found.
    """
    plain = [re.sub(r"[^a-z0-9]", "", name.split(":")[-1].lower()) for name in motion.names]
    out: dict[str, int] = {}
    for bone, known in NAMES.items():
        given = (names or {}).get(bone)
        if given is not None:
            if given not in motion.names:
                raise InputError(f"no joint {given!r} for {bone} in: {', '.join(motion.names)}")
            out[bone] = motion.names.index(given)
            continue
        hits = [plain.index(name) for name in known if name in plain]
        if hits and hits[0] not in out.values():
            out[bone] = hits[0]
    missing = [bone for bone in _NEEDED if bone not in out]
    if missing:
        raise InputError(
            f"joints for {', '.join(missing)} not found among {', '.join(motion.names)}; "
            f"say which they are with names={{'{missing[0]}': '…'}}"
        )
    return out


def bvh_poses(
    model: BodyModel,
    rest: Bodies,
    motion: Motion,
    *,
    frames: Sequence[int] | None = None,
    names: Mapping[str, str] | None = None,
    index: int = 0,
) -> list[Pose]:
    """Return poses of body ``index`` of ``rest`` that do what the motion does.

    The first pose stands at the origin; the lowest point of all of them is on the floor. At its
    zero angles the file's figure is taken to hold its arms and legs as its offsets say, palms down.

    Args:
        model: The body model.
        rest: Bodies at rest.
        motion: The motion.
        frames: Which frames; all when ``None``.
        names: see ``match_joints``.
        index: Which of the bodies.

    Raises:
        InputError: for joints that are not found or frames that do not exist.
    """
    chosen = list(range(len(motion)) if frames is None else frames)
    if not chosen or min(chosen) < 0 or max(chosen) >= len(motion):
        raise InputError(f"frames {chosen[:8]}; wanted some of 0 to {len(motion) - 1}")
    joints = match_joints(motion, names)
    zero = _world_offsets(motion)
    axes = _axes(motion, joints, zero)
    level = {f"{s}_shoulder_elevation": 90.0 for s in ("left", "right")}
    heads = rest.heads[index : index + 1].astype(np.float64)
    straight = bone_transforms(model, heads, bone_rotations(model, rest, level, index)[None])[0]
    aligned: dict[str, NDArray] = {}
    for bone in joints:
        aligned[bone] = straight[model.bone_index[bone], :, :3].astype(np.float64)
        stem, _, letter = bone.partition(".")
        end = f"{_LIMBS.get(stem, '')}.{letter}"
        if end in joints:
            ours = aligned[bone] @ (
                heads[0, model.bone_index[end]] - heads[0, model.bone_index[bone]]
            )
            theirs = axes @ (zero[joints[end]] - zero[joints[bone]])
            aligned[bone] = swing_between(ours, theirs) @ aligned[bone]
    leg = ("upperleg01.L", "lowerleg01.L", "foot.L")
    size = _length(heads[0, [model.bone_index[bone] for bone in leg]])
    size /= _length(zero[[joints[bone] for bone in leg if bone in joints]])
    out: list[Pose] = []
    for frame in chosen:
        turned, place = _play(motion, frame)
        world = np.tile(np.eye(3), (len(model.bones), 1, 1))
        rotations = world.copy()
        for i, bone in enumerate(model.bones):
            parent = world[model.parents[i]] if i else np.eye(3)
            if bone in joints:
                world[i] = axes @ turned[joints[bone]] @ axes.T @ aligned[bone]
                rotations[i] = parent.T @ world[i]
            else:
                world[i] = parent
        shift = axes @ place * size - heads[0, 0]
        out.append(Pose(rotations=rotations, translation=shift, family="bvh"))
    first = out[0].translation + heads[0, 0]
    floor = min(_lowest(model, rest, pose, index) for pose in out)
    away = np.array([first[0], floor, first[2]])
    return [
        Pose(rotations=p.rotations, translation=p.translation - away, family="bvh") for p in out
    ]


def _length(points: NDArray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _lowest(model: BodyModel, rest: Bodies, pose: Pose, index: int) -> float:
    one = slice(index, index + 1)
    transforms = bone_transforms(
        model, rest.heads[one], pose.rotations[None], pose.translation[None]
    )
    vertices = skin(model.weights, rest.vertices[one], transforms)[0]
    return float(vertices[model.group_vertices("skin"), 1].min())


def _world_offsets(motion: Motion) -> NDArray[np.float64]:
    out = motion.offsets.copy()
    for i, parent in enumerate(motion.parents):
        if parent >= 0:
            out[i] += out[parent]
    return out


def _axes(motion: Motion, joints: Mapping[str, int], zero: NDArray) -> NDArray[np.float64]:
    """Return the rotation from the file's axes to ours (x left, y up) by its skeleton."""
    left = zero[joints["upperleg01.L"]] - zero[joints["upperleg01.R"]]
    top = next(joints[b] for b in ("head", "neck01", "upperarm01.L") if b in joints)
    up = zero[top] - zero[joints["lowerleg01.L"]]
    up = up - (up @ left) * left / max(float(left @ left), 1e-12)
    if min(np.linalg.norm(left), np.linalg.norm(up)) < 1e-9:
        raise InputError("the figure of the motion has no width or no height in its OFFSETs")
    x, y = left / np.linalg.norm(left), up / np.linalg.norm(up)
    exact = np.stack([x, y, np.cross(x, y)])
    # figures stand along the axes of their file, give or take the slant of their offsets
    snapped = np.round(exact)
    whole = np.allclose(snapped @ snapped.T, np.eye(3)) and np.linalg.det(snapped) > 0
    return np.asarray(snapped if whole else exact, np.float64)


def _play(motion: Motion, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (J, 3, 3) orientations of the joints and the position of the root in a frame."""
    out = np.empty((len(motion.names), 3, 3))
    place, at = motion.offsets[0].copy(), 0
    for i, (parent, channels) in enumerate(zip(motion.parents, motion.channels, strict=True)):
        values = motion.values[frame, at : at + len(channels)]
        at += len(channels)
        own = np.eye(3)
        for channel, value in zip(channels, values, strict=True):
            axis = np.eye(3)["XYZ".index(channel[0])]
            if channel.endswith("rotation"):
                own = own @ Rotation.from_rotvec(np.radians(value) * axis).as_matrix()
            elif parent < 0:
                place = place + value * axis
        out[i] = own if parent < 0 else out[parent] @ own
    return out, place

# SPDX-License-Identifier: Apache-2.0
"""Draw the 308 keypoints on the canonical body, numbered and named, one picture per region.

    python tools/landmark_posters.py [--out docs/pictures]

For people who check the points against the vocabulary: each number is a row of "sapiens308".
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from PIL import Image, ImageDraw, ImageFont

from vitruvian.synth.body import load_body, posed_points
from vitruvian.synth.landmarks import eye, landmark_table, landmarks
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.subdivide import piece
from vitruvian.vocabulary import load

SKIN_COLOUR, EYE_COLOUR = np.array([232, 203, 184.0]), np.array([238, 238, 236.0])
IRIS_COLOUR, PUPIL_COLOUR = np.array([120, 140, 165.0]), np.array([40, 40, 45.0])
LIP_COLOUR = np.array([205, 140, 130.0])
LEGEND_WIDTH = 330


@dataclass(frozen=True, kw_only=True)
class View:
    name: str
    title: str
    centre: tuple[float, float, float]
    look: tuple[float, float, float]
    width: float  # metres across the picture
    size: tuple[int, int] = (1000, 1000)
    up: tuple[float, float, float] = (0, 1, 0)
    keep: Callable[[str, str], bool]
    depth: float = 0.006  # draw points at most this far behind the surface
    text: int = 13


def side_word(name: str) -> str:
    return "l" if name.startswith(("l_", "left_")) or "_l_" in name else ""


VIEWS = (
    View(
        name="face",
        title="face: nose, lips, brows, middle line",
        centre=(0, 1.685, 0.15),
        look=(0, 0, -1),
        width=0.16,
        size=(1200, 1250),
        keep=lambda n, g: (
            g == "face"
            and not any(
                w in n
                for w in (
                    "lash",
                    "eyelid",
                    "crease",
                    "iris",
                    "pupil",
                    "helix",
                    "tragus",
                    "crus",
                    "concha",
                    "lobe",
                    "22_15",
                    "lip",
                )
            )
        ),
    ),
    View(
        name="eye",
        title="left eye, seen from the front",
        centre=(0.033, 1.7235, 0.14),
        look=(0, 0, -1),
        width=0.040,
        size=(1300, 850),
        keep=lambda n, g: (
            n.startswith("l_")
            and any(w in n for w in ("lash", "eyelid", "crease", "iris", "pupil"))
        ),
        depth=0.02,
    ),
    View(
        name="mouth",
        title="lips",
        centre=(0, 1.6465, 0.15),
        look=(0, 0, -1),
        width=0.062,
        size=(1300, 800),
        keep=lambda n, g: "lip" in n or "mouth" in n or "cupid" in n,
        depth=0.02,
    ),
    View(
        name="nose",
        title="nose, seen from below",
        centre=(0, 1.675, 0.16),
        look=(0, 0.65, -0.75),
        width=0.055,
        size=(1000, 800),
        keep=lambda n, g: "nose" in n or "nostril" in n,
        depth=0.004,
    ),
    View(
        name="ear",
        title="left ear, seen half from the front",
        centre=(0.078, 1.704, 0.040),
        look=(-0.85, 0, -0.55),
        width=0.052,
        size=(950, 1150),
        depth=0.008,
        keep=lambda n, g: (
            n.startswith("l_")
            and any(w in n for w in ("helix", "tragus", "crus", "concha", "lobe", "22_15"))
        ),
    ),
    View(
        name="hand",
        title="left hand, back",
        centre=(0.545, 1.09, 0.28),
        look=(-0.75, -0.62, -0.2),
        width=0.24,
        size=(1000, 1000),
        up=(0.1, -0.5, 0.8),
        depth=0.05,
        keep=lambda n, g: g == "left_hand" or n == "left_wrist",
    ),
    View(
        name="foot",
        title="left foot, from above and outside",
        centre=(0.2, 0.05, 0.08),
        look=(-0.75, -0.6, -0.3),
        width=0.36,
        size=(1000, 800),
        depth=0.1,
        keep=lambda n, g: n in ("left_big_toe", "left_small_toe", "left_heel", "left_ankle"),
    ),
    View(
        name="body",
        title="body and feet, front",
        centre=(0, 0.93, 0),
        look=(0, 0, -1),
        width=1.5,
        size=(1100, 1450),
        depth=1.0,
        keep=lambda n, g: g in ("body", "foot", "extra"),
    ),
    View(
        name="arm",
        title="left elbow and shoulder, from behind",
        centre=(0.3, 1.32, 0.03),
        look=(-0.35, -0.1, 1),
        width=0.5,
        size=(900, 800),
        depth=0.01,
        keep=lambda n, g: any(w in n for w in ("olecranon", "acromion")),
    ),
)


def scene_mesh() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices, faces and colours of faces of the canonical body with its eyes."""
    model, table = load_body(), landmark_table(1)
    rest = model.canonical.vertices[0].astype(np.float64)
    vertices, faces, colours, start = [], [], [], 0
    for group in ("skin", "left_eye", "right_eye"):
        part = piece((group,), 1 if group == "skin" else 4)
        own = part.operator @ rest
        if group == "skin":
            lips = model.mask("lips", part.uv.mean(1))[:, None]
            colour = SKIN_COLOUR * (1 - lips) + LIP_COLOUR * lips
        else:
            ball = eye(group.removesuffix("_eye"))
            ray = own[part.faces].mean(1) - ball.centre
            angle = np.arccos(ray @ ball.forwards / np.linalg.norm(ray, axis=1))[:, None]
            colour = np.where(angle < table.iris, IRIS_COLOUR, EYE_COLOUR)
            colour = np.where(angle < table.pupil, PUPIL_COLOUR, colour)
        vertices.append(own)
        faces.append(part.faces + start)
        colours.append(colour)
        start += len(own)
    return np.concatenate(vertices), np.concatenate(faces), np.concatenate(colours)


def render(view: View, vertices, faces, colours):
    """Return the shaded picture, its depth, and a function from points to (x, y, depth)."""
    look = np.array(view.look, float) / np.linalg.norm(view.look)
    right = np.cross(look, view.up)
    right /= np.linalg.norm(right)
    up = np.cross(right, look)
    columns, rows = view.size
    scale = view.width / columns
    x = (np.arange(columns) + 0.5 - columns / 2) * scale
    y = -(np.arange(rows) + 0.5 - rows / 2) * scale
    origin = np.array(view.centre) + x[None, :, None] * right + y[:, None, None] * up - look
    scene = rtcore_scene.EmbreeScene()
    TriangleMesh(scene, vertices[faces].astype(np.float32))
    found = scene.run(
        origin.reshape(-1, 3).astype(np.float32),
        np.tile(look, (rows * columns, 1)).astype(np.float32),
        query="INTERSECT",
        output=True,
    )
    face = np.clip(found["primID"], 0, None)
    hit = found["primID"] >= 0
    weights = np.stack([1 - found["u"] - found["v"], found["u"], found["v"]], 1)
    normal = (vertex_normals(vertices, faces)[faces[face]] * weights[..., None]).sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12
    light = 0.35 * right + 0.6 * up - 0.75 * look
    shade = 0.72 * np.clip(normal @ light / np.linalg.norm(light), 0, 1) + 0.28 * np.clip(
        -normal @ look, 0, 1
    )
    picture = np.where(hit[:, None], colours[face] * shade[:, None] ** 0.7, 255).clip(0, 255)
    depth = np.where(hit, found["tfar"], np.inf).reshape(rows, columns)

    def project(points):
        offset = np.asarray(points) - view.centre
        return np.stack(
            [
                offset @ right / scale + columns / 2,
                -(offset @ up) / scale + rows / 2,
                offset @ look + 1,
            ],
            1,
        )

    return Image.fromarray(picture.reshape(rows, columns, 3).astype(np.uint8)), depth, project


def place_labels(spots: np.ndarray, texts: Sequence[str], size: int) -> list[tuple[float, float]]:
    """Return the upper left corner of each label: near its point, clear of others."""
    boxes = [(x - 3, y - 3, x + 3, y + 3) for x, y in spots]
    out = []
    for (x, y), text in zip(spots, texts, strict=True):
        w, h = 0.6 * size * len(text) + 2, size
        options = []
        for radius in (5, 12, 20, 30):
            for turn in np.arange(0, 2 * np.pi, np.pi / 6):
                cx, cy = x + np.cos(turn) * (radius + w / 2), y + np.sin(turn) * (radius + h / 2)
                box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                clash = sum(
                    max(0, min(box[2], o[2]) - max(box[0], o[0]))
                    * max(0, min(box[3], o[3]) - max(box[1], o[1]))
                    for o in boxes
                )
                options.append((clash + 0.4 * radius, box))
        box = min(options)[1]
        boxes.append(box)
        out.append((box[0], box[1]))
    return out


def poster(view: View, mesh, points: np.ndarray) -> Image.Image:
    vocabulary = load("sapiens308")
    group = {i: name for name, ids in vocabulary.groups.items() for i in ids}
    picture, depth, project = render(view, *mesh)
    spots = project(points)
    shown = [
        i
        for i, name in enumerate(vocabulary.names)
        if view.keep(name, group[i])
        and 0 <= spots[i, 0] < view.size[0]
        and 0 <= spots[i, 1] < view.size[1]
    ]
    hidden = {
        i for i in shown if spots[i, 2] > depth[int(spots[i, 1]), int(spots[i, 0])] + view.depth
    }
    font = ImageFont.load_default(view.text)
    columns = int(np.ceil(len(shown) / ((view.size[1] - 50) // 18)))
    sheet = Image.new("RGB", (view.size[0] + LEGEND_WIDTH * columns, view.size[1]), "white")
    sheet.paste(picture, (0, 0))
    draw = ImageDraw.Draw(sheet)
    palette = {"left": (0, 90, 200), "right": (200, 60, 0), "centre": (0, 120, 60)}
    labels = place_labels(spots[shown, :2], [str(i) for i in shown], view.text)
    for i, (left, top) in zip(shown, labels, strict=True):
        x, y = spots[i, :2]
        colour = palette[vocabulary.sides[i]]
        draw.line(
            [(x, y), (left + 0.3 * view.text * len(str(i)), top + view.text / 2)],
            fill=(120, 120, 120),
        )
        draw.ellipse(
            [x - 3, y - 3, x + 3, y + 3], fill=None if i in hidden else colour, outline=colour
        )
        draw.text(
            (left, top - 2), str(i), fill=colour, font=font, stroke_width=2, stroke_fill="white"
        )
    draw.text((8, 6), view.title, fill="black", font=ImageFont.load_default(20))
    per_column = (view.size[1] - 50) // 18
    for row, i in enumerate(shown):
        column, line = divmod(row, per_column)
        at = (view.size[0] + 10 + column * LEGEND_WIDTH, 30 + 18 * line)
        text = f"{i:3d}  {vocabulary.names[i]}" + ("  (hidden)" if i in hidden else "")
        draw.text(at, text, fill=palette[vocabulary.sides[i]], font=font)
    return sheet.quantize(220)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    model = load_body()
    mesh = scene_mesh()
    rest = model.canonical
    still = np.tile(np.eye(4)[:3], (1, len(model.bones), 1, 1))
    points = landmarks(rest.vertices[0], posed_points(rest.heads, still)[0])
    arguments.out.mkdir(parents=True, exist_ok=True)
    for view in VIEWS:
        if arguments.only in view.name:
            path = arguments.out / f"landmarks_{view.name}.png"
            poster(view, mesh, points).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

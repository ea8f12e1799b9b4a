# SPDX-License-Identifier: Apache-2.0
"""A user's own textured scans: OBJ, GLB or PLY in, labelled meshes in our world out.

Scans come in metres, centimetres or millimetres, with y or z up, with textures or colours per
vertex or neither, and with the small damages of reconstruction. What is guessed or mended is said
in ``Scan.warnings``; what cannot be used is one clear error. Depth, normals and the person's mask
are exact for every scan; parts and keypoints exist where the user supplies them, beside the scan:

* ``NAME.keypoints.json``: ``{"vocabulary": "sapiens308", "points": {"nose": [x, y, z], …}}`` in
  the scan's own units and axes;
* ``NAME.parts.png``: part labels of "parts29" in the layout of the scan's texture.
"""

import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from vitruvian import vocabulary
from vitruvian.errors import InputError, missing_extra, unknown_name
from vitruvian.files import read_json
from vitruvian.synth.mending import cleaned, outwards, welded_normals
from vitruvian.synth.mesh import Mesh
from vitruvian.synth.patterns import Texture
from vitruvian.synth.surfaces import Painted, Solid, Surface, Textured

if TYPE_CHECKING:
    import trimesh

Unit = Literal["auto", "m", "cm", "mm"]
Axis = Literal["auto", "x", "y", "z", "-x", "-y", "-z"]
SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".stl", ".off")
UNITS: Mapping[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
TEXTURE_SIDE = 8192
"""Longest side of a texture; larger ones are scaled down."""
MOST_TRIANGLES = 2_000_000
"""More than that need several gigabytes per process."""
PARTS = "parts29"
UNKNOWN = 255
"""Label of what has no known part."""
_GREY = (0.35, 0.35, 0.35)  # linear
_PERSON = (0.35, 2.6)  # metres that somebody can be tall, lying or crouching included
# up axis → rotation of the scan's axes into ours (y up); the front goes to +z where it is usual
_UPRIGHT: Mapping[str, NDArray[np.float64]] = {
    "y": np.eye(3),
    "-y": np.diag([-1.0, -1.0, 1.0]),
    "z": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    "-z": np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]),
    "x": np.array([[0, -1.0, 0], [1.0, 0, 0], [0, 0, 1.0]]),
    "-x": np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]]),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """A scan in our world: metres, y up, standing on y = 0 about the origin.

    Attributes:
        name: of its file, without suffix.
        meshes: one per material; their ``surfaces`` index into ``surfaces``.
        surfaces: what light does there.
        points: (K, 3) keypoints of ``words`` in our world, NaN where unknown, or ``None``.
        words: vocabulary of the keypoints, or ``None``.
        parts: whether the labels are parts; otherwise all of the person is ``UNKNOWN``.
        unit: metres per unit of the file.
        up: which of the file's axes is up.
        warnings: what was guessed, mended or is missing, one sentence each.
    """

    name: str
    meshes: tuple[Mesh, ...]
    surfaces: tuple[Surface, ...]
    points: NDArray[np.float64] | None
    words: str | None
    parts: bool
    unit: float
    up: str
    warnings: tuple[str, ...]

    @property
    def height(self) -> float:
        """Metres from the floor to its highest vertex."""
        return max(float(mesh.vertices[:, 1].max()) for mesh in self.meshes)


def find_scans(folder: str | Path) -> list[Path]:
    """Return the scans of a folder (or the one file named), sorted.

    Raises:
        InputError: if there is none.
    """
    path = Path(folder)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"no file or folder called {path}: name a scan or a folder of scans")
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"no scan in {path}: put {', '.join(SUFFIXES)} files there")
    return found


def load_scan(
    path: str | Path,
    *,
    unit: Unit | float = "auto",
    up: Axis = "auto",
    turn: float = 0.0,
    most_triangles: int = MOST_TRIANGLES,
    texture_side: int = TEXTURE_SIDE,
) -> Scan:
    """Read a scan.

    Args:
        path: OBJ, GLB, glTF, PLY, STL or OFF file.
        unit: of the file, or metres per unit; "auto" takes the one that makes the height human.
        up: the file's axis that points up; "auto" takes the longest.
        turn: degrees about the vertical that make the person look along +z.
        most_triangles: refuse larger scans.
        texture_side: scale larger textures down.

    Raises:
        InputError: for a file that cannot be read, has no triangles or too many, or has a size no
            unit makes human.
        MissingExtraError: if trimesh is not installed.
    """
    path = Path(path)
    told: list[str] = []
    pieces = read_meshes(path)
    missing = [name for name in _named_textures(path) if not (path.parent / name).is_file()]
    told.extend(f"texture {name} is missing: grey instead" for name in missing)
    total = sum(len(piece.faces) for piece in pieces)
    if total > most_triangles:
        raise InputError(
            f"{path}: {total:,} triangles, at most {most_triangles:,}: simplify it (for example "
            "with MeshLab's quadric edge collapse), or raise --triangles-max and give each worker "
            "more memory"
        )
    sound = [cleaned(piece.vertices, piece.faces) for piece in pieces]
    dropped = total - sum(len(faces) for _, faces, _ in sound)
    if dropped:
        told.append(f"{dropped:,} damaged triangles (doubled, without area, or NaN) left out")
    kept = [(piece, *rest) for piece, rest in zip(pieces, sound, strict=True) if len(rest[1])]
    if not kept:
        raise InputError(f"{path}: no triangles: a scan is a mesh, not a cloud of points")
    everything = np.concatenate([vertices for _, vertices, _, _ in kept])
    axis = _up_axis(everything) if up == "auto" else up
    if axis not in _UPRIGHT:
        raise unknown_name("up axis", axis, _UPRIGHT)
    upright = _UPRIGHT[axis]
    scale = _unit(path, everything @ upright.T, unit, told)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]]) @ upright * scale
    placed = everything @ matrix.T
    low, high = placed.min(axis=0), placed.max(axis=0)
    shift = np.array([-(low[0] + high[0]) / 2, -low[1], -(low[2] + high[2]) / 2])
    flipped = 0
    parts = _parts_texture(path)
    meshes: list[Mesh] = []
    surfaces: list[Surface] = []
    for piece, vertices, faces, kept_vertices in kept:
        world = vertices @ matrix.T + shift
        faces, count = outwards(world, faces)
        flipped += count
        surface, uv, colours = _surface(path, piece, kept_vertices, texture_side, told)
        meshes.append(
            Mesh(
                vertices=world.astype(np.float32),
                faces=faces,
                normals=welded_normals(world, faces),
                labels=_labels(parts, uv, faces),
                surfaces=np.full(len(faces), len(surfaces), np.int16),
                canonical=(world if colours is None else colours).astype(np.float32),
                uv=uv,
                instance=1,
            )
        )
        surfaces.append(surface)
    if flipped:
        told.append(f"{flipped:,} triangles were inside out and have been turned")
    points, words = _keypoints(path, matrix, shift)
    return Scan(
        name=path.stem,
        meshes=tuple(meshes),
        surfaces=tuple(surfaces),
        points=points,
        words=words,
        parts=parts is not None,
        unit=scale,
        up=axis,
        warnings=tuple(dict.fromkeys(told)),
    )


# ---------------------------------------------------------------------------------- reading


def read_meshes(path: Path) -> "list[trimesh.Trimesh]":
    """Return the meshes of a file, one per material, their transforms applied.

    Raises:
        InputError: for a file that cannot be read, or has no triangles.
        MissingExtraError: if trimesh is not installed.
    """
    try:
        import trimesh
    except ImportError as error:
        raise missing_extra("trimesh", "synth", "reading scans") from error
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: no scan; wanted one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"no file called {path}")
    logger = logging.getLogger("trimesh")
    quiet, logger.disabled = logger.disabled, True  # what is missing is said by us, once
    try:
        with warnings.catch_warnings():  # about textures that are empty or not there
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(path, process=False)
    except Exception as error:  # the readers raise all kinds
        raise InputError(f"{path}: cannot be read as a scan ({error})") from error
    finally:
        logger.disabled = quiet
    pieces = [piece for piece in scene.dump() if isinstance(piece, trimesh.Trimesh)]
    if not pieces:
        raise InputError(f"{path}: no triangles: a scan is a mesh, not a cloud of points")
    return pieces


def _named_textures(path: Path) -> list[str]:
    """Return the textures that an OBJ's materials name."""
    if path.suffix.lower() != ".obj":
        return []
    found: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        libraries = [line.split(maxsplit=1)[1].strip() for line in file if line[:7] == "mtllib "]
    for library in libraries:
        if not (path.parent / library).is_file():
            found.append(library)
            continue
        text = (path.parent / library).read_text(encoding="utf-8", errors="replace")
        found += [
            line.split()[-1] for line in text.splitlines() if line.strip().startswith("map_Kd ")
        ]
    return found


def _up_axis(vertices: NDArray[np.float64]) -> str:
    """Return the axis along which a standing person is longest; y where it is close."""
    spans = np.ptp(vertices, axis=0)
    if spans[1] > 0.8 * spans.max():
        return "y"
    return "xyz"[int(spans.argmax())]


def _unit(path: Path, upright: NDArray[np.float64], unit: Unit | float, told: list[str]) -> float:
    """Return metres per unit."""
    if isinstance(unit, int | float):
        if not 0 < unit < np.inf:
            raise InputError(f"metres per unit is above 0, got {unit}")
        return float(unit)
    if unit != "auto":
        if unit not in UNITS:
            raise unknown_name("unit", unit, ["auto", *UNITS])
        return UNITS[unit]
    spans = np.ptp(upright, axis=0)
    height, longest = float(spans[1]), float(spans.max())
    for name, metres in UNITS.items():
        if _PERSON[0] <= longest * metres <= _PERSON[1]:
            if name != "m":
                told.append(f"taken to be in {name}: {height:.4g} units tall")
            return metres
    raise InputError(
        f"{path}: {longest:.4g} units long is no person in m, cm or mm: give --unit, or metres per "
        "unit with --scale"
    )


# ------------------------------------------------------------------------------- appearance


def _surface(
    path: Path,
    piece: "trimesh.Trimesh",
    kept: NDArray[np.intp],
    side: int,
    told: list[str],
) -> tuple[Surface, NDArray[np.float32] | None, NDArray[np.float32] | None]:
    """Return a surface, texture coordinates, and colours per vertex, as far as there are any."""
    visual: Any = piece.visual
    given = getattr(visual, "uv", None)
    uv = None
    if given is not None and len(given) == len(piece.vertices):
        uv = np.nan_to_num(np.asarray(given, np.float32)[kept])
    picture = _picture(getattr(visual, "material", None)) if visual.kind == "texture" else None
    if uv is not None and picture is not None:
        if max(picture.shape[:2]) > side:
            scale = side / max(picture.shape[:2])
            told.append(f"texture of {picture.shape[1]}×{picture.shape[0]} scaled to {side} pixels")
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return Textured(texture=Texture(image=np.ascontiguousarray(picture, np.uint8))), uv, None
    if visual.kind == "vertex":
        colours = np.asarray(visual.vertex_colors)[kept, :3].astype(np.float32) / 255
        return Painted(), uv, _linear(colours)
    flat = _flat_colour(getattr(visual, "material", None))
    if flat is None and not any("grey" in line for line in told):
        told.append("neither texture nor colours: grey instead")
    return Solid(colour=flat or _GREY, roughness=0.8), uv, None


def _picture(material: Any) -> NDArray[np.uint8] | None:
    for name in ("baseColorTexture", "image"):
        found = getattr(material, name, None)
        if found is not None and max(found.size) > 2:  # the reader's own stand-in is 2 × 2
            return np.asarray(found.convert("RGB"), np.uint8)
    return None


def _flat_colour(material: Any) -> tuple[float, float, float] | None:
    """Return a glTF material's own colour, where it has one and no texture."""
    factor = getattr(material, "baseColorFactor", None)
    if factor is None:
        return None
    red, green, blue = (float(part) for part in np.asarray(factor, np.float64)[:3] / 255)
    return red, green, blue


def _linear(srgb: NDArray[np.floating]) -> NDArray[np.float32]:
    low = srgb <= 0.04045
    return np.where(low, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


# ------------------------------------------------------------------------- the user's labels


def _parts_texture(path: Path) -> NDArray[np.uint8] | None:
    file = path.with_name(path.stem + ".parts.png")
    if not file.is_file():
        return None
    found = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 2 or found.dtype != np.uint8:
        raise InputError(f"{file}: part labels are a PNG of one 8-bit channel")
    names = vocabulary.load(PARTS)
    wrong = np.setdiff1d(np.unique(found), [*range(len(names)), UNKNOWN])
    if len(wrong):
        raise InputError(f"{file}: no part {int(wrong[0])}: {PARTS} has 0 … {len(names) - 1}")
    return np.asarray(found, np.uint8)


def _labels(
    parts: NDArray[np.uint8] | None, uv: NDArray[np.float32] | None, faces: NDArray[np.int32]
) -> NDArray[np.uint8]:
    if parts is None or uv is None:
        return np.full(len(faces), UNKNOWN, np.uint8)
    u, v = (uv[faces].mean(axis=1) % 1).T
    rows, columns = parts.shape
    row = np.clip(((1 - v) * rows).astype(int), 0, rows - 1)
    column = np.clip((u * columns).astype(int), 0, columns - 1)
    return parts[row, column]


def _keypoints(
    path: Path, matrix: NDArray[np.float64], shift: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, str | None]:
    file = path.with_name(path.stem + ".keypoints.json")
    if not file.is_file():
        return None, None
    given = read_json(file)
    if not isinstance(given, dict) or set(given) != {"vocabulary", "points"}:
        raise InputError(f'{file}: wanted {{"vocabulary": NAME, "points": {{NAME: [x, y, z]}}}}')
    words = vocabulary.load(given["vocabulary"])
    points = np.full((len(words), 3), np.nan)
    for name, place in given["points"].items():
        if name not in words.names:
            raise unknown_name(f"keypoint of {words.name}", name, words.names)
        value = np.asarray(place, np.float64)
        if value.shape != (3,) or not np.isfinite(value).all():
            raise InputError(f"{file}: {name} needs three numbers, got {place}")
        points[words.index(name)] = matrix @ value + shift
    return points, words.name


def describe(scans: Iterable[Scan]) -> list[str]:
    """Return one line per warning, naming the scan."""
    return [f"{scan.name}: {line}" for scan in scans for line in scan.warnings]

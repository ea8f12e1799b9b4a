# SPDX-License-Identifier: Apache-2.0
"""Map files: values, validity and conventions come back; normals have the exact colours."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vitruvian import vocabulary
from vitruvian.camera import Camera, depth_to_position, position_to_normals
from vitruvian.colour import NORMAL_AXES, colours_to_normals, normals_to_colours
from vitruvian.errors import InputError, MissingExtraError, UnknownNameError
from vitruvian.formats import depth, exr, maps, normals, png
from vitruvian.person import Raster

RNG = np.random.default_rng(11)
PARTS = vocabulary.load("parts28")
MASK = RNG.random((23, 31)) > 0.3


def sphere(size: int = 101) -> Raster:
    """Orthographic unit sphere: camera-space normals (x right, y down, z forward)."""
    axis = (np.arange(size) - size // 2) / (size // 2)
    x, y = np.meshgrid(axis, axis)
    inside = x**2 + y**2 <= 1
    z = -np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    values = np.where(inside[..., None], np.stack([x, y, z], axis=-1), 0)
    return Raster(law="vector", values=values.astype(np.float32), valid=inside)


def angles(a: Raster, b: Raster) -> np.ndarray:
    cosine = (a.values.astype(np.float64) * b.values).sum(axis=-1)[b.mask]
    cross = np.linalg.norm(np.cross(a.values.astype(np.float64), b.values), axis=-1)[b.mask]
    return np.degrees(np.arctan2(cross, cosine))


# ------------------------------------------------------------------------------- exact colours

# Where on the sphere → its RGB in each convention, worked out by hand from the words of the
# conventions: +1 is 255, 0 is 128, -1 is 0.
SPHERE = {
    #                opengl           opencv           directx          dsine
    "centre": ((128, 128, 255), (128, 128, 0), (128, 128, 255), (128, 128, 255)),
    "right": ((255, 128, 128), (255, 128, 128), (255, 128, 128), (0, 128, 128)),
    "left": ((0, 128, 128), (0, 128, 128), (0, 128, 128), (255, 128, 128)),
    "top": ((128, 255, 128), (128, 0, 128), (128, 0, 128), (128, 255, 128)),
    "bottom": ((128, 0, 128), (128, 255, 128), (128, 255, 128), (128, 0, 128)),
}
PLACES = {
    "centre": (50, 50),
    "right": (50, 100),
    "left": (50, 0),
    "top": (0, 50),
    "bottom": (100, 50),
}


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("place", SPHERE)
def test_a_sphere_has_the_exact_colours(tmp_path: Path, place: str, column: int) -> None:
    convention = ("opengl", "opencv", "directx", "dsine")[column]
    wanted = SPHERE[place][column]
    row, col = PLACES[place]
    normals.write_png(tmp_path / "n.png", sphere(), convention=convention)
    seen = np.asarray(Image.open(tmp_path / "n.png"))  # as any other program sees it
    assert tuple(seen[row, col].tolist()) == wanted
    assert tuple(seen[0, 0].tolist()) == (0, 0, 0)
    normals.write_png(tmp_path / "n.png", sphere(), convention=convention, bits=16)
    wide = cv2.imread(str(tmp_path / "n.png"), cv2.IMREAD_UNCHANGED)[row, col, ::-1]
    assert wide.tolist() == [{0: 0, 128: 32768, 255: 65535}[level] for level in wanted]


CAMERA = Camera.from_focal(40, (49, 65))
# plane → normal in camera space, a point on it, a pixel (x, y) that sees it, RGB per convention
PLANES = {
    "wall": ((0, 0, -1), (0, 0, 2), (40, 20), SPHERE["centre"]),
    "floor": ((0, -1, 0), (0, 1.5, 0), (20, 40), SPHERE["top"]),
    "left wall": ((1, 0, 0), (-1, 0, 0), (5, 20), SPHERE["right"]),
}


@pytest.mark.parametrize("column", range(4))
@pytest.mark.parametrize("plane", PLANES)
def test_planes_seen_by_a_camera_have_the_exact_colours(plane: str, column: int) -> None:
    normal, point, (x, y), colours = PLANES[plane]
    rays = CAMERA.rays(np.dstack(np.meshgrid(np.arange(65), np.arange(49))))
    facing = rays @ np.array(normal, float)
    z = np.divide(np.dot(point, normal), facing, out=np.zeros_like(facing), where=facing < -1e-9)
    vectors = position_to_normals(depth_to_position(np.where(z > 0, z, 0), CAMERA))
    convention = ("opengl", "opencv", "directx", "dsine")[column]
    rgb = normals_to_colours(vectors[y, x], convention=convention)
    np.testing.assert_array_equal(rgb, colours[column])


def test_every_convention_is_tested() -> None:
    assert list(NORMAL_AXES) == ["opengl", "opencv", "directx", "dsine"]
    with pytest.raises(UnknownNameError, match="did you mean opengl"):
        normals_to_colours(np.zeros((1, 3), np.float32), convention="opengI")
    grid = RNG.normal(size=(500, 3)).astype(np.float32)
    grid /= np.linalg.norm(grid, axis=1, keepdims=True)
    for convention in NORMAL_AXES:
        for bits in (8, 16):
            colours = normals_to_colours(grid, convention=convention, bits=bits)  # type: ignore[arg-type]
            assert colours.any(axis=1).all()
            back = colours_to_normals(colours, convention=convention)
            np.testing.assert_allclose(back, grid, atol=1.4 / 2 ** (bits - 1))


# --------------------------------------------------------------------------------------- normals


@pytest.mark.parametrize("convention", NORMAL_AXES)
def test_normals_read_back(tmp_path: Path, convention: str) -> None:
    raster = replace(sphere(), origin=(3, -4))
    for bits, degrees in ((8, 0.6), (16, 0.003)):
        path = tmp_path / f"n{bits}.png"
        normals.write_png(path, raster, bits=bits, convention=convention)  # type: ignore[arg-type]
        read = normals.read_png(path)
        assert angles(read, raster).max() < degrees
        np.testing.assert_array_equal(read.mask, raster.mask)
        assert read.origin == (3, -4)
        assert png.read(path)[1]["convention"] == convention
    path = tmp_path / "n.exr"
    normals.write_exr(path, raster, convention=convention)
    read = normals.read_exr(path)
    np.testing.assert_allclose(read.values, raster.values, atol=1e-6)
    np.testing.assert_array_equal(read.mask, raster.mask)
    assert exr.read(path)[1]["convention"] == convention
    # the tag decides; a contradiction is an error
    assert normals.read_exr(path, convention=convention).origin == (3, -4)
    with pytest.raises(InputError, match="leave one out"):
        normals.read_exr(path, convention="opengl" if convention != "opengl" else "dsine")


def test_the_convention_of_foreign_normals_is_demanded_and_checked(tmp_path: Path) -> None:
    rgb = normals_to_colours(sphere().values)
    path = tmp_path / "foreign.png"
    Image.fromarray(rgb).save(path)
    with pytest.raises(InputError, match="give convention="):
        normals.read_png(path)
    with pytest.raises(InputError, match=r"as opencv, only .*% of its normals face the"):
        normals.read_png(path, convention="opencv")
    assert normals.read_png(path, convention="opencv", check=False).values[50, 50, 2] > 0.99
    with pytest.raises(UnknownNameError):
        normals.read_png(path, convention="left")
    read = normals.read_png(path, convention="opengl")
    assert angles(read, sphere()).max() < 0.6
    alpha = np.where(sphere().mask, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([rgb, alpha])).save(path)
    np.testing.assert_array_equal(normals.read_png(path, convention="opengl").mask, sphere().mask)
    Image.fromarray(rgb[..., 0]).save(path)
    with pytest.raises(InputError, match="wanted an RGB PNG"):
        normals.read_png(path, convention="opengl")
    planes = {f"Normal.{n}": sphere().values[..., i] for i, n in enumerate("XYZ")}
    exr.write(tmp_path / "f.exr", planes, {})
    read = normals.read_exr(tmp_path / "f.exr", convention="opencv")
    np.testing.assert_array_equal(read.mask, sphere().mask)
    np.testing.assert_allclose(read.values, sphere().values, atol=1e-6)
    exr.write(tmp_path / "g.exr", {"Q": planes["Normal.X"]}, {})
    with pytest.raises(InputError, match="channels Q, wanted R, G, B"):
        normals.read_exr(tmp_path / "g.exr", convention="opencv")


# ----------------------------------------------------------------------------------------- depth


@pytest.mark.parametrize(
    ("kind", "low", "high", "step"),
    [("metric", 0.4, 9.0, 1 / 1000), ("relative", 0.0, 1.0, 1 / 65534),
     ("relative", -0.2, 1.3, 1.5 / 65534), ("inverse", 1e-3, 40.0, 40 / 65534),
     (None, -7.0, 3.0, 10 / 65534)],
)  # fmt: skip
def test_depth_reads_back(
    tmp_path: Path, kind: str | None, low: float, high: float, step: float
) -> None:
    values = RNG.uniform(low, high, MASK.shape).astype(np.float32)
    values[0, :2], valid = (low, high), MASK.copy()
    valid[0, :2] = True
    values[5, 5] = np.nan
    raster = Raster(law="scalar", values=values, valid=valid, kind=kind, origin=(7, 9))
    valid = valid & np.isfinite(values)
    for path, write, read, tolerance in (
        (tmp_path / "d.png", depth.write_png, depth.read_png, step * 0.51),
        (tmp_path / "d.exr", depth.write_exr, depth.read_exr, 1e-7),
    ):
        write(path, raster)
        back = read(path)
        np.testing.assert_array_equal(back.mask, valid)
        np.testing.assert_allclose(back.values[valid], values[valid], atol=tolerance + 1e-6)
        assert (back.kind, back.origin) == (kind, (7, 9))


def test_metric_depth_is_in_millimetres_for_everybody(tmp_path: Path) -> None:
    values = np.array([[1.2344, 0, np.nan, 65.0]], np.float32)
    path = tmp_path / "d.png"
    depth.write_png(path, Raster(law="scalar", values=values, kind="metric"))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), [[1234, 0, 0, 65000]])
    text = png.read(path)[1]
    assert (text["unit"], text["scale"], text["larger_is"]) == ("metre", "1000.0", "farther")
    far = Raster(law="scalar", values=values * 2, kind="metric")
    with pytest.raises(InputError, match=r"a value of 130 does not fit .* scale up to 504"):
        depth.write_png(path, far)
    depth.write_png(path, far, scale=256)
    np.testing.assert_allclose(depth.read_png(path).values[0, ::3], [2.4688, 130], atol=1 / 256)


def test_what_a_foreign_depth_file_does_not_say_is_demanded(tmp_path: Path) -> None:
    path = tmp_path / "kitti.png"
    cv2.imwrite(str(path), np.array([[0, 256, 2560]], np.uint16))
    with pytest.raises(InputError, match="does not say its kind: give kind="):
        depth.read_png(path, scale=256)
    with pytest.raises(InputError, match="does not say its scale"):
        depth.read_png(path, kind="metric")
    read = depth.read_png(path, kind="metric", scale=256)
    np.testing.assert_allclose(read.values, [[0, 1, 10]])
    np.testing.assert_array_equal(read.mask, [[False, True, True]])
    depth.write_png(path, read)
    with pytest.raises(InputError, match="leave one out"):
        depth.read_png(path, kind="inverse")
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(path)
    with pytest.raises(InputError, match="16-bit grey"):
        depth.read_png(path)
    exr.write(tmp_path / "z.exr", {"Z": np.array([[0, 2, np.inf]], np.float32)}, {})
    np.testing.assert_array_equal(
        depth.read_exr(tmp_path / "z.exr", kind="metric").mask, [[False, True, False]]
    )
    exr.write(tmp_path / "r.exr", {"R": np.zeros((1, 1), np.float32)}, {})
    with pytest.raises(InputError, match="wanted Z"):
        depth.read_exr(tmp_path / "r.exr", kind="metric")
    with pytest.raises(InputError, match="scalar map, this one is a vector"):
        depth.write_exr(path, sphere())


@pytest.mark.parametrize("kind", ["metric", "relative", "inverse", None])
def test_maps_without_a_valid_pixel_and_of_one_pixel(tmp_path: Path, kind: str | None) -> None:
    nothing = np.zeros((3, 4), bool)
    flat = Raster(law="scalar", values=np.ones((3, 4), np.float32), valid=nothing, kind=kind)
    point = Raster(law="scalar", values=np.ones((1, 1), np.float32), kind=kind)
    for raster in (flat, point):
        depth.write_png(tmp_path / "a.png", raster)
        np.testing.assert_array_equal(depth.read_png(tmp_path / "a.png").mask, raster.mask)
        depth.write_exr(tmp_path / "a.exr", raster)
        np.testing.assert_array_equal(depth.read_exr(tmp_path / "a.exr").mask, raster.mask)
        maps.write_npz(tmp_path / "a.npz", raster)
        np.testing.assert_array_equal(maps.read_npz(tmp_path / "a.npz").mask, raster.mask)
    none = Raster(law="vector", values=np.full((3, 4, 3), np.nan))
    normals.write_png(tmp_path / "b.png", none)
    assert not normals.read_png(tmp_path / "b.png").mask.any()
    normals.write_exr(tmp_path / "b.exr", none)
    assert not normals.read_exr(tmp_path / "b.exr").mask.any()


# ---------------------------------------------------------------------------------------- labels


def test_labels_read_back(tmp_path: Path) -> None:
    values = RNG.integers(0, 28, MASK.shape).astype(np.uint8)
    raster = Raster(law="label", values=values, valid=MASK, vocabulary=PARTS, origin=(1, 2))
    path = tmp_path / "out" / "a.png"
    maps.write_labels(path, raster)
    read = maps.read_labels(path)
    np.testing.assert_array_equal(read.mask, MASK)
    np.testing.assert_array_equal(read.values[MASK], values[MASK])
    assert (read.vocabulary, read.origin) == (PARTS, (1, 2))
    picture = Image.open(path)  # for every other program
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), np.where(MASK, values, 255))
    colours = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(colours[MASK], PARTS.colours[values[MASK]])
    content = json.loads((path.parent / "classes.json").read_text())
    assert [entry["name"] for entry in content["classes"]] == list(PARTS.names)
    assert (content["vocabulary"], content["background"], content["ignore"]) == ("parts28", 0, 255)
    (path.parent / "classes.json").unlink()
    assert maps.read_labels(path).vocabulary == PARTS


def test_labels_of_ones_own_vocabulary(tmp_path: Path) -> None:
    own = vocabulary.make("suit", ["nothing", "left glove", "right glove"], kind="parts",
                          colours=[(1, 2, 3), (4, 5, 6), (7, 8, 9)])  # fmt: skip
    raster = Raster(law="label", values=np.array([[0, 1, 2]], np.uint8), vocabulary=own)
    maps.write_labels(tmp_path / "a.png", raster, classes=False)
    with pytest.raises(InputError, match="nothing says what its values mean"):
        maps.read_labels(tmp_path / "a.png")
    assert maps.read_labels(tmp_path / "a.png", vocabulary=own).vocabulary == own
    maps.write_classes(tmp_path / "classes.json", own)
    read = maps.read_labels(tmp_path / "a.png").vocabulary
    assert read == own
    np.testing.assert_array_equal(read.colours, own.colours)
    maps.write_npz(tmp_path / "a.npz", raster)
    assert maps.read_npz(tmp_path / "a.npz").vocabulary == own


def test_foreign_label_files(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(np.array([[0, 27, 255]], np.uint8)).save(path)
    read = maps.read_labels(path, vocabulary=PARTS)
    np.testing.assert_array_equal(read.mask, [[True, True, False]])
    with pytest.raises(InputError, match="has the value 27, lip20 has 20 classes"):
        maps.read_labels(path, vocabulary=vocabulary.load("lip20"))
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path)
    with pytest.raises(InputError, match="8-bit grey or palette"):
        maps.read_labels(path, vocabulary=PARTS)
    with pytest.raises(InputError, match="this one is a vector map"):
        maps.write_labels(path, sphere())


# ------------------------------------------------------------------------------------------ npz


@pytest.mark.parametrize(
    "raster",
    [
        Raster(law="scalar", values=RNG.normal(size=(23, 31)), valid=MASK, kind="inverse"),
        Raster(law="vector", values=RNG.normal(size=(5, 7, 3)), origin=(-3, 4)),
        Raster(law="position", values=RNG.normal(size=(5, 7, 3))),
        Raster(law="colour", values=RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)),
        Raster(law="colour", values=RNG.random((5, 7, 3)).astype(np.float32)),
        Raster(law="label", values=np.zeros((5, 7), np.uint8), vocabulary=PARTS),
    ],
    ids=lambda raster: f"{raster.law}-{raster.values.dtype}",
)  # fmt: skip
def test_npz_keeps_everything_exactly(tmp_path: Path, raster: Raster) -> None:
    path = tmp_path / "a.npz"
    maps.write_npz(path, raster)
    read = maps.read_npz(path)
    np.testing.assert_array_equal(read.values, raster.values)
    np.testing.assert_array_equal(read.mask, raster.mask)
    assert read.values.dtype == raster.values.dtype
    for name in ("law", "kind", "origin", "vocabulary"):
        assert getattr(read, name) == getattr(raster, name)
    with np.load(path) as archive:  # numpy alone understands it
        assert "first pixel" in str(archive["convention"])


def test_what_is_no_map_of_ours_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content in (b"", b"PK\x03\x04 nonsense", b"\x80\x04pickle"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz"):
            maps.read_npz(path)
    np.savez(path, depth=np.zeros(3))
    with pytest.raises(InputError, match="not laid out as a map"):
        maps.read_npz(path)
    np.savez(path, values=np.array([{}], dtype=object))
    with pytest.raises(InputError):
        maps.read_npz(path)
    with pytest.raises(InputError):
        maps.read_npz(tmp_path / "none.npz")


def test_a_damaged_npz_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, values=np.arange(300) % 7, name=np.array("a"))
    intact = path.read_bytes()
    assert maps.read_arrays(path)["values"].shape == (300,)
    damaged = [intact[:size] for size in range(0, len(intact), 5)]
    damaged += [
        intact[:at] + bytes([intact[at] ^ flip]) + intact[at + 1 :]
        for at in range(len(intact))
        for flip in (0x01, 0xFF)
    ]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            maps.read_arrays(path)
        except InputError:
            refused += 1
    assert refused > len(damaged) // 2


# -------------------------------------------------------------------------------- the containers


def test_damaged_png_and_exr_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    depth.write_png(path, Raster(law="scalar", values=np.ones((9, 9), np.float32), kind="metric"))
    data = path.read_bytes()
    flipped = bytearray(data)
    flipped[-30] ^= 4
    for damage in (data[:-20], bytes(flipped), b"GIF89a", b""):
        path.write_bytes(damage)
        with pytest.raises(InputError, match=r"a\.png"):
            png.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        png.read(tmp_path / "none.png")
    path = tmp_path / "a.exr"
    depth.write_exr(path, Raster(law="scalar", values=np.ones((9, 9), np.float32), kind="metric"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="no intact EXR"):
        exr.read(path)
    with pytest.raises(InputError, match="no such file"):
        exr.read(tmp_path / "none.exr")


def test_exr_names_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(MissingExtraError, match=r"vitruvian\[exr\]"):
        depth.write_exr(tmp_path / "a.exr", Raster(law="scalar", values=np.ones((2, 2))))
    assert not list(tmp_path.iterdir())

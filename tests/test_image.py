# SPDX-License-Identifier: Apache-2.0
"""Reading odd and broken pictures, resampling conventions, writing."""

import contextlib
import io
import struct
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from vitruvian import image
from vitruvian.errors import ImageError, InputError
from vitruvian.geometry import Crop, resize_matrix

RNG = np.random.default_rng(7)
PHOTO = cv2.GaussianBlur(RNG.integers(0, 256, (48, 64, 3)).astype(np.uint8), (0, 0), 3)
# Distinct corners show every orientation: red top left, green top right, blue bottom left.
CORNERS = np.full((32, 48, 3), 90, np.uint8)
CORNERS[:16, :16] = (250, 10, 10)
CORNERS[:16, 32:] = (10, 250, 10)
CORNERS[16:, :16] = (10, 10, 250)


def encoded(array: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def close(a: np.ndarray, b: np.ndarray, levels: int) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b.astype(int)).max()) <= levels


def png_claiming(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(PHOTO, "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


# ------------------------------------------------------------------------------ pictures that are


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_lossless_kinds_read_exactly(kind: str) -> None:
    np.testing.assert_array_equal(image.read(encoded(PHOTO, kind)), PHOTO)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 97}), ("WEBP", {"lossless": True}), ("AVIF", {"quality": 97}),
     ("JPEG", {"quality": 97, "progressive": True}), ("JPEG2000", {})],
)  # fmt: skip
def test_other_kinds_read(kind: str, options: dict[str, object]) -> None:
    assert close(image.read(encoded(PHOTO, kind, **options)), PHOTO, 12)


def test_the_name_of_a_file_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(PHOTO, "PNG"))
    np.testing.assert_array_equal(image.read(path), PHOTO)
    np.testing.assert_array_equal(image.read(str(path)), PHOTO)
    assert image.probe(path).format == "png"


def test_jpeg_equals_pillow_and_opencv() -> None:
    data = encoded(PHOTO, "JPEG", quality=90)
    ours = image.read(data)
    np.testing.assert_array_equal(ours, np.asarray(Image.open(io.BytesIO(data))))
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(ours, opencv[..., ::-1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_undone(orientation: int, kind: str) -> None:
    # How a camera stores the upright picture for each value of the tag (EXIF 2.32, 4.6.4).
    stored = {
        1: CORNERS, 2: CORNERS[:, ::-1], 3: CORNERS[::-1, ::-1], 4: CORNERS[::-1],
        5: CORNERS.transpose(1, 0, 2), 6: np.rot90(CORNERS, 1),
        7: np.rot90(CORNERS, 2).transpose(1, 0, 2), 8: np.rot90(CORNERS, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(np.ascontiguousarray(stored), kind, exif=exif, **options)
    assert close(image.read(data), CORNERS, 40)
    header = image.probe(data)
    assert (header.height, header.width) == CORNERS.shape[:2]
    assert header.orientation == (1 if kind == "TIFF" else orientation)


def test_a_broken_exif_block_is_ignored() -> None:
    for block in (
        b"",
        b"II*\0",
        b"MM\0*\0\0\0\xff",
        b"rubbish" * 9,
        b"II*\0\x08\0\0\0\xff\xff\x12\x01",
    ):
        exif = b"Exif\0\0" + block
        data = encoded(PHOTO, "JPEG")
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
        assert image.read(data).shape == PHOTO.shape
        assert image.probe(data).orientation == 1


def test_grey_pictures_get_three_equal_channels() -> None:
    for kind in ("PNG", "JPEG", "TIFF"):
        read = image.read(encoded(PHOTO[..., 0], kind))
        assert read.shape == PHOTO.shape
        assert (read == read[..., :1]).all()
        assert close(read[..., 0], PHOTO[..., 0], 6)
    one_bit = image.read(encoded(PHOTO[..., 0] > 127, "PNG"))
    np.testing.assert_array_equal(one_bit[..., 1], (PHOTO[..., 0] > 127) * np.uint8(255))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_rounded_not_cut(suffix: str, channels: int) -> None:
    wide = RNG.integers(0, 65536, (9, 11, channels)).astype(np.uint16)
    wide[0, :4] = np.array([0, 128, 129, 65535])[:, None]  # 128 / 257 rounds down, 129 up
    if channels == 4:
        wide[..., 3] = 65535
    ok, data = cv2.imencode(suffix, wide)
    assert ok
    wanted = np.floor(wide[..., :3] / 257 + 0.5).astype(np.uint8)
    wanted = np.repeat(wanted, 3, axis=2) if channels == 1 else wanted[..., ::-1]
    np.testing.assert_array_equal(image.read(data.tobytes()), wanted)


def test_float_tiff_must_be_between_0_and_1() -> None:
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    read = image.read(encoded(values, "TIFF"))
    np.testing.assert_array_equal(read[..., 2], np.floor(values * 255 + 0.5).astype(np.uint8))
    with pytest.raises(ImageError, match=r"run from 0\.0 to 3\.0, wanted 0 to 1"):
        image.read(encoded(values * 3, "TIFF"))
    with pytest.raises(ImageError, match="wanted 8 or 16 bits"):
        image.read(encoded(np.full((3, 4), 70000, np.int32), "TIFF"))


def test_transparency_is_shown_on_white() -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, 20:40], alpha[:, 40:] = 128, 255
    data = encoded(np.dstack([PHOTO, alpha]), "PNG")
    read = image.read(data)
    assert (read[:, :20] == 255).all()
    np.testing.assert_array_equal(read[:, 40:], PHOTO[:, 40:])
    half = (PHOTO[:, 20:40].astype(int) * 128 + 255 * 127 + 127) // 255
    np.testing.assert_array_equal(read[:, 20:40], half)
    grey = image.read(encoded(np.dstack([PHOTO[..., 0], alpha]), "PNG"))
    assert (grey[:, :20] == 255).all()


def test_palettes_and_their_transparency() -> None:
    picture = Image.fromarray(CORNERS).quantize(8)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    np.testing.assert_array_equal(image.read(buffer.getvalue()), CORNERS)
    buffer = io.BytesIO()
    clear = int(np.asarray(picture)[0, 0])
    picture.save(buffer, "PNG", transparency=bytes(0 if i == clear else 255 for i in range(8)))
    read = image.read(buffer.getvalue())
    assert (read[:16, :16] == 255).all()
    np.testing.assert_array_equal(read[:16, 32:], CORNERS[:16, 32:])


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "lime")]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    read = image.read(buffer.getvalue())
    assert close(read, np.broadcast_to(np.uint8([255, 0, 0]), (10, 20, 3)), 4)
    header = image.probe(buffer.getvalue())
    assert header.animated
    assert (header.width, header.height) == (20, 10)


def test_cmyk_jpeg_agrees_with_pillow() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).convert("CMYK").save(buffer, "JPEG", quality=95)
    wanted = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
    assert close(image.read(buffer.getvalue()), wanted, 1)
    assert close(image.read(buffer.getvalue()), PHOTO, 16)


def linear_profile() -> bytes:
    """An RGB profile that is sRGB but for a linear tone curve, made from Pillow's own sRGB."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    for entry in range(count):
        tag, offset, length = struct.unpack_from(">4sII", data, 132 + 12 * entry)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            curve = b"curv" + bytes(4) + struct.pack(">I", 0)  # no entries: the identity
            data[offset : offset + length] = curve.ljust(length, b"\0")
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_other_colour_profiles_become_srgb(kind: str) -> None:
    linear = np.full((16, 16, 3), 55, np.uint8)
    read = image.read(encoded(linear, kind, icc_profile=linear_profile()))
    # IEC 61966-2-1: the sRGB value of linear light 55 / 255
    wanted = 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055)
    assert abs(float(read.mean()) - wanted) <= 2


def test_an_srgb_or_unreadable_profile_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"not a profile at all", srgb[:200]):
        np.testing.assert_array_equal(image.read(encoded(PHOTO, "PNG", icc_profile=profile)), PHOTO)
    # an RGB profile on a grey picture says nothing about it
    grey = image.read(encoded(PHOTO[..., 0], "PNG", icc_profile=linear_profile()))
    np.testing.assert_array_equal(grey[..., 0], PHOTO[..., 0])


def test_arrays_and_pillow_pictures() -> None:
    np.testing.assert_array_equal(image.read(PHOTO), PHOTO)
    np.testing.assert_array_equal(image.read(PHOTO[..., 0])[..., 2], PHOTO[..., 0])
    np.testing.assert_array_equal(image.read(Image.fromarray(PHOTO)), PHOTO)
    assert (image.read(np.zeros((2, 3, 4), np.uint8)) == 255).all()
    assert image.read(bytearray(encoded(PHOTO, "PNG"))).shape == PHOTO.shape  # type: ignore[arg-type]
    for wrong in (PHOTO / 255, PHOTO[:0], PHOTO[None], np.zeros((3, 3, 2), np.uint8)):
        with pytest.raises(ImageError, match="wanted uint8"):
            image.read(wrong)
    for other in (None, 5, PHOTO.tolist(), torch.from_numpy(PHOTO)):
        with pytest.raises(ImageError, match=f"a {type(other).__name__} is no picture"):
            image.read(other)  # type: ignore[arg-type]


def test_one_pixel_and_thin_pictures() -> None:
    for shape in ((1, 1), (1, 700), (700, 1)):
        for kind in ("PNG", "JPEG"):
            data = encoded(np.full((*shape, 3), 77, np.uint8), kind)
            assert image.read(data).shape == (*shape, 3)
            header = image.probe(data)
            assert (header.height, header.width) == shape


# --------------------------------------------------------------------------- pictures that are not


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"x", "no picture: it begins with b'x'"),
        (b"\n<!DOCTYPE html><html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "pillow-heif"),
        (b"RIFF1234AVI LIST", "no picture"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "corrupt"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (png_claiming(20_000, 20_000), r"too large: its header claims more than 179 million"),
        (jpeg_claiming(20_000, 20_000), "too large: its header claims 20000×20000"),
        (jpeg_claiming(65_500, 65_500), "too large"),
        (jpeg_claiming(40_000, 100), "30000 per side"),
        (png_claiming(40_000, 100), "30000 per side"),
        (png_claiming(12_000, 12_000), "truncated|corrupt"),
        (jpeg_claiming(0, 100), "corrupt"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=text) as caught:
        image.read(path)
    assert "odd.jpg" in str(caught.value)
    with pytest.raises(ImageError, match=text):
        image.read(data)


def test_a_missing_file_a_folder_and_an_address(tmp_path: Path) -> None:
    for source in (tmp_path / "none.png", tmp_path, "https://example.com/a.jpg"):
        with pytest.raises(ImageError, match=str(source)):
            image.read(source)
        with pytest.raises(ImageError):
            image.probe(source)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "damage", ["half", "zeros", "zeros and end", "flips", "one byte", "header"]
)
def test_damaged_jpeg_is_refused(damage: str, progressive: bool) -> None:
    data = encoded(PHOTO, "JPEG", quality=95, progressive=progressive)
    half = len(data) // 2 + 200
    broken = bytearray(data)
    if damage == "half":
        broken = broken[:half]
    elif damage.startswith("zeros"):
        broken[half:] = bytes(len(data) - half)
        broken += b"\xff\xd9" if damage == "zeros and end" else b""
    elif damage == "flips":
        for at in RNG.integers(700, len(data) - 2, 64):
            broken[at] ^= 1 << int(RNG.integers(8))
    elif damage == "one byte":
        broken = broken[:-3]
    else:
        broken = broken[:100]
    with pytest.raises(ImageError, match=r"truncated|corrupt"):
        image.read(bytes(broken))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_truncated_files_of_other_kinds_are_refused(kind: str) -> None:
    data = encoded(PHOTO, kind)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(ImageError):
            image.read(data[: int(len(data) * share)])


def test_a_missing_end_marker_does_no_harm_when_every_row_is_there() -> None:
    data = encoded(PHOTO, "JPEG", quality=95)
    np.testing.assert_array_equal(image.read(data[:-2]), image.read(data))
    np.testing.assert_array_equal(image.read(data + b"junk after the end" * 50), image.read(data))
    with pytest.raises(ImageError, match="truncated"):  # whole scans may be missing here
        image.read(encoded(PHOTO, "JPEG", quality=95, progressive=True)[:-2])


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"]),
    position=st.floats(0, 1, exclude_max=True),
    value=st.binary(min_size=1, max_size=6),
)
def test_damage_anywhere_gives_a_picture_or_an_image_error(
    kind: str, position: float, value: bytes
) -> None:
    data = bytearray(encoded(CORNERS, kind))
    at = int(position * len(data))
    data[at : at + len(value)] = value
    for function in (image.read, image.probe):
        with contextlib.suppress(ImageError):
            function(bytes(data))


def test_reading_from_several_threads_leaves_the_warning_filters_alone() -> None:
    data = [encoded(PHOTO, kind) for kind in ("PNG", "WEBP", "JPEG")] * 8
    results: list[tuple[int, ...]] = []
    threads = [
        threading.Thread(target=lambda d=d: results.append(image.read(d).shape)) for d in data
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [PHOTO.shape] * len(data)


def test_probe_reads_headers_longer_than_its_first_bite(tmp_path: Path) -> None:
    data = encoded(PHOTO, "JPEG")
    filler = b"\xff\xe5" + struct.pack(">H", 60_002) + bytes(60_000)
    path = tmp_path / "long.jpg"
    path.write_bytes(data[:2] + filler * 3 + data[2:])
    header = image.probe(path)
    assert (header.width, header.height, header.format) == (64, 48, "jpeg")


# -------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize(
    ("suffix", "levels"), [(".png", 0), (".jpg", 12), (".JPEG", 12), (".webp", 24)]
)
def test_written_pictures_read_back(tmp_path: Path, suffix: str, levels: int) -> None:
    path = tmp_path / "new" / ("a" + suffix)
    image.write(path, PHOTO)
    assert close(image.read(path), PHOTO, levels)
    image.write(path, PHOTO[..., 0])
    assert close(image.read(path)[..., 0], PHOTO[..., 0], levels)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_wrong_pictures_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"use \.png"):
        image.write(tmp_path / "a.tiff", PHOTO)
    with pytest.raises(InputError, match="wanted uint8"):
        image.write(tmp_path / "a.png", PHOTO / 255)
    with pytest.raises(InputError, match="no transparency"):
        image.write(tmp_path / "a.jpg", np.zeros((4, 4, 4), np.uint8))
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------ resampling


def reference_sample(array: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of (H, W, C) at picture positions, repeating the border."""
    h, w = array.shape[:2]
    x, y = np.clip(x, 0, w - 1), np.clip(y, 0, h - 1)
    x0, y0 = np.minimum(x.astype(int), max(w - 2, 0)), np.minimum(y.astype(int), max(h - 2, 0))
    x1, y1 = np.minimum(x0 + 1, w - 1), np.minimum(y0 + 1, h - 1)
    a, b = (x - x0)[..., None], (y - y0)[..., None]
    top = array[y0, x0] * (1 - a) + array[y0, x1] * a
    return top * (1 - b) + (array[y1, x0] * (1 - a) + array[y1, x1] * a) * b


SIZES = [(5, 7), (24, 32), (48, 64), (61, 127), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 7])
def test_linear_resize_has_half_pixel_centres(size: tuple[int, int], channels: int) -> None:
    array = RNG.random((48, 64, channels)).astype(np.float32)
    y = (np.arange(size[0]) + 0.5) * 48 / size[0] - 0.5
    x = (np.arange(size[1]) + 0.5) * 64 / size[1] - 0.5
    wanted = reference_sample(array, *np.meshgrid(x, y))
    np.testing.assert_allclose(image.resize(array, size), wanted, atol=2e-5)
    # the same convention as the matrix of the geometry module
    inside = image.warp(array, resize_matrix((48, 64), size), size)[1:-1, 1:-1]
    if size[0] > 2:
        np.testing.assert_allclose(inside, wanted[1:-1, 1:-1], atol=0.02)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.bool_])
def test_nearest_resize_has_half_pixel_centres(size: tuple[int, int], dtype: type) -> None:
    array = (
        (RNG.random((48, 64)) * (2 if dtype is np.bool_ else 255)).astype(np.uint8).astype(dtype)
    )
    y = np.floor((np.arange(size[0]) + 0.5) * 48 / size[0]).astype(int)
    x = np.floor((np.arange(size[1]) + 0.5) * 64 / size[1]).astype(int)
    resized = image.resize(array, size, "nearest")
    assert resized.dtype == dtype
    # skip exact ties, which may fall either way
    rows = np.flatnonzero((np.arange(size[0]) * 2 + 1) * 48 % (2 * size[0]))
    columns = np.flatnonzero((np.arange(size[1]) * 2 + 1) * 64 % (2 * size[1]))
    picked = np.ix_(rows, columns)
    np.testing.assert_array_equal(resized[picked], array[y[:, None], x][picked])


def test_area_resize_averages() -> None:
    array = RNG.random((48, 64, 6)).astype(np.float32)
    wanted = array.reshape(12, 4, 16, 4, 6).mean(axis=(1, 3))
    np.testing.assert_allclose(image.resize(array, (12, 16), "area"), wanted, atol=1e-6)


def test_shape_and_type_are_kept() -> None:
    for shape in ((9, 8), (9, 8, 1), (9, 8, 2), (9, 8, 4), (9, 8, 5), (9, 8, 29)):
        for dtype in (np.uint8, np.uint16, np.float32, np.bool_):
            array = np.ones(shape, dtype)
            for method in ("nearest", "linear", "cubic", "area"):
                out = image.resize(array, (4, 5), method)
                assert (out.shape, out.dtype) == ((4, 5, *shape[2:]), array.dtype)
                np.testing.assert_allclose(out, 1, atol=1e-6)
            for method in ("nearest", "linear", "cubic"):
                out = image.warp(array, np.eye(2, 3), (4, 5), method)
                assert (out.shape, out.dtype) == ((4, 5, *shape[2:]), array.dtype)
                np.testing.assert_allclose(out, 1, atol=1e-6)


def test_truth_values_are_cut_at_a_half() -> None:
    mask = np.array([[True, False]])
    np.testing.assert_array_equal(
        image.resize(mask, (1, 8)), [[True, True, True, True, False, False, False, False]]
    )


@settings(max_examples=40, deadline=None)
@given(
    angle=st.floats(-3, 3), scale=st.floats(0.4, 3), dx=st.floats(-9, 9), dy=st.floats(-9, 9),
    channels=st.sampled_from([1, 2, 3, 6]),
)  # fmt: skip
def test_warp_samples_where_the_matrix_says(
    angle: float, scale: float, dx: float, dy: float, channels: int
) -> None:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s, dx + 10], [s, c, dy + 20]])
    array = RNG.random((48, 64, channels)).astype(np.float32)
    out = image.warp(array, matrix, (40, 30), fill=-5)
    x, y = np.moveaxis(Crop(matrix, (40, 30)).to_image(np.dstack(np.mgrid[:40, :30][::-1])), -1, 0)
    inside = (x >= 0) & (y >= 0) & (x <= 63) & (y <= 47)
    outside = (x < -1.01) | (y < -1.01) | (x > 64.01) | (y > 48.01)
    wanted = reference_sample(array, x, y)
    np.testing.assert_allclose(out[inside], wanted[inside], atol=1e-3)
    assert (out[outside] == -5).all()


def test_warp_fills_each_channel_and_moves_labels_whole() -> None:
    array = np.zeros((4, 4, 6), np.uint8)
    out = image.warp(array, [[1, 0, 9], [0, 1, 9]], (4, 4), fill=range(6))
    np.testing.assert_array_equal(out[0, 0], range(6))
    labels = RNG.choice(np.array([3, 200], np.uint8), (20, 20))
    moved = image.warp(labels, [[1.7, 0.4, -3], [-0.3, 1.9, 2]], (50, 50), "nearest", fill=255)
    assert set(np.unique(moved)) == {3, 200, 255}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: image.resize(np.zeros((4, 4), np.int64), (2, 2)), "cannot resample int64"),
        (lambda: image.resize(np.zeros((0, 4), np.uint8), (2, 2)), "at least one pixel"),
        (lambda: image.resize(PHOTO, (0, 5)), "1 to 30000"),
        (lambda: image.resize(PHOTO, (5, 40_000)), "1 to 30000"),
        (lambda: image.resize(PHOTO, (5, 4), "lanczos"), "choose from nearest"),
        (lambda: image.warp(PHOTO, np.eye(3), (5, 5)), "2×3"),
        (lambda: image.warp(PHOTO, np.eye(2, 3), (5, 5), "area"), "nearest, linear or cubic"),
        (lambda: image.compose(PHOTO, PHOTO, np.zeros((2, 2))), "one value per pixel"),
        (lambda: image.to_planes(PHOTO[..., 0], [0] * 3, [1] * 3), "wanted a uint8"),
    ],
)
def test_wrong_calls_say_what_was_wanted(call: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        call()  # type: ignore[operator]


# ----------------------------------------------------------------------------------------- pixels


def test_compose() -> None:
    other = 255 - PHOTO
    np.testing.assert_array_equal(image.compose(PHOTO, other, np.zeros((48, 64))), PHOTO)
    np.testing.assert_array_equal(image.compose(PHOTO, other, np.ones((48, 64, 1))), other)
    half = image.compose(PHOTO, other, np.full((48, 64), 0.5))
    assert close(half, np.full_like(PHOTO, 128), 1)
    mask = RNG.random((48, 64)) > 0.5
    red = image.compose(PHOTO, np.uint8([255, 0, 0]), mask)
    assert (red[mask] == (255, 0, 0)).all()
    np.testing.assert_array_equal(red[~mask], PHOTO[~mask])


def test_to_planes_normalises() -> None:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    wanted = ((PHOTO.astype(np.float64) - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(image.to_planes(PHOTO, mean, std), wanted, atol=1e-6)
    batch = np.zeros((2, 3, 48, 64), np.float32)
    image.to_planes(PHOTO, mean, std, out=batch[1])
    np.testing.assert_allclose(batch[1], wanted, atol=1e-6)
    assert not batch[0].any()


def test_simplejpeg_is_strict_by_our_choice() -> None:
    # The decoder's lenient mode would paint the lost half grey; this guards the assumption.
    data = encoded(PHOTO, "JPEG", quality=95)[: 1 << 10]
    assert simplejpeg.decode_jpeg(data, strict=False).shape == PHOTO.shape


def test_reduced_reading_refuses_what_reading_refuses() -> None:
    from vitruvian.decode import read_reduced

    pixels = np.kron(np.arange(0, 250, 10, np.uint8).reshape(5, 5), np.ones((64, 80), np.uint8))
    data = image.encode(np.repeat(pixels[..., None], 3, axis=2), ".jpg")
    whole, small = image.read(data), read_reduced(data, 200)
    assert np.array_equal(read_reduced(data, 0), whole)
    assert small.shape == (160, 200, 3)
    assert np.abs(image.resize(whole, (160, 200), "area").astype(int) - small).mean() < 2
    assert np.array_equal(read_reduced(data[:-2], 200), small)  # only its end marker is missing
    for broken in (b"", data[: len(data) // 2], b"<html>"):
        with pytest.raises(ImageError):
            read_reduced(broken, 200)

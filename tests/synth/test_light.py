# SPDX-License-Identifier: Apache-2.0
"""Environments: directions, tables, energy, the sun taken out of them, and files of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitruvian.errors import ImageError, InputError
from vitruvian.synth import light
from vitruvian.synth.hdr import read_hdr
from vitruvian.synth.light import Light


def solid_angles(rows, columns):
    polar = (np.arange(rows) + 0.5) / rows * np.pi
    return np.sin(polar)[:, None] * (np.pi / rows) * (2 * np.pi / columns) * np.ones(columns)


def energy(lit):
    """Total flux of an environment and its sun."""
    angles = solid_angles(*lit.environment.shape[:2])[..., None]
    return (lit.environment * angles).sum(axis=(0, 1)) + np.array(lit.sun_colour)


def directions(count=2000, seed=0):
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(3, count))
    return (found / np.linalg.norm(found, axis=0)).astype(np.float32)


def test_map_directions_are_as_documented():
    around = light.map_directions(64, 128)
    np.testing.assert_allclose(np.linalg.norm(around, axis=-1), 1)
    assert around[0, :, 1].min() > 0.99, "the first row is the zenith"
    np.testing.assert_allclose(around[31:33, [0, -1]].mean(axis=(0, 1)), [0, 0, 1], atol=0.01)
    np.testing.assert_allclose(around[31:33, 31:33].mean(axis=(0, 1)), [1, 0, 0], atol=0.01)


def test_look_up_returns_the_map():
    around = light.map_directions(32, 64)
    environment = (around * 0.5 + 0.5).astype(np.float32)
    ways = directions()
    away = np.abs(ways[1]) < 0.9
    seen = light.look_up(environment, ways)
    np.testing.assert_allclose(seen[:, away], ways[:, away] * 0.5 + 0.5, atol=5e-3)


@given(st.integers(0, 50))
def test_tables_answer_like_the_map(seed):
    around = light.map_directions(64, 128)
    lamps = light.prepare(Light(environment=(around * 0.5 + 0.5).astype(np.float32)))
    ways = directions(500, seed)
    for length in (1, 7):
        seen = light.sample(lamps.sharp, ways * np.float32(length))
        np.testing.assert_allclose(seen, ways * 0.5 + 0.5, atol=0.04)
    np.testing.assert_allclose(lamps.ambient, 0.5, atol=0.01)
    # blurring a linear field by a lobe shortens its gradient, never its mean
    soft = light.sample(lamps.soft, ways)
    assert np.abs(soft - (ways * 0.5 + 0.5)).max() < 0.1


def test_a_bright_spot_becomes_the_sun_and_no_light_is_lost():
    around = light.map_directions(128, 256)
    aim = np.array([0.5, 0.6, -0.62])
    aim /= np.linalg.norm(aim)
    spot = np.exp((around @ aim - 1) * 1500)[..., None] * np.array([300.0, 250, 200])
    environment = (np.full(around.shape, 0.3) + spot).astype(np.float32)
    lit = light.from_environment(environment)
    assert np.degrees(np.arccos(np.dot(lit.sun, aim))) < 1.5
    wanted = (environment * solid_angles(128, 256)[..., None]).sum(axis=(0, 1))
    np.testing.assert_allclose(energy(lit), wanted, rtol=0.03)
    assert lit.environment.max() < 1.5
    assert lit.sun_colour[0] > lit.sun_colour[1] > lit.sun_colour[2] > 0
    turned = light.from_environment(environment, turn=np.pi / 2)
    # from +z towards +x is how columns run
    wanted = [aim[2], aim[1], -aim[0]]
    assert np.degrees(np.arccos(np.clip(np.dot(turned.sun, wanted), -1, 1))) < 2.5


def test_even_light_has_no_sun():
    lit = light.from_environment(np.full((16, 32, 3), 0.7, np.float32))
    assert lit.sun_colour == (0, 0, 0)
    np.testing.assert_allclose(lit.environment, 0.7, rtol=1e-5)


@pytest.mark.parametrize("invent", [light.sky, light.indoor, light.studio])
def test_invented_lights_are_plausible_and_repeatable(invent):
    seen = []
    for seed in range(6):
        lit = invent(np.random.default_rng(seed))
        again = invent(np.random.default_rng(seed))
        assert np.array_equal(lit.environment, again.environment)
        assert lit.sun == again.sun
        assert np.isfinite(lit.environment).all()
        assert lit.environment.min() >= 0
        assert 0.005 < lit.environment.mean() < 20
        seen.append(lit.environment.mean(axis=(0, 1)))
        assert invent is not light.sky or lit.sun[1] > 0, "the sun is up"
    assert np.std(seen, axis=0).max() > 0.01


def test_what_cannot_be_light_is_refused():
    with pytest.raises(InputError, match="lat-long"):
        Light(environment=np.zeros((4, 4)))
    with pytest.raises(InputError, match="not negative"):
        Light(environment=np.full((4, 8, 3), -1.0))
    with pytest.raises(InputError, match="length 1"):
        Light(environment=np.zeros((4, 8, 3)), sun=(0, 2, 0))


# ----------------------------------------------------------------------------------------- files


def to_rgbe(pixels):
    """Encode by the definition: a shared exponent, mantissas of 8 bits."""
    largest = pixels.max(axis=-1)
    mantissa, exponent = np.frexp(largest)
    scale = np.where(largest > 1e-32, mantissa * 256 / np.maximum(largest, 1e-32), 0)
    out = np.zeros((*largest.shape, 4), np.uint8)
    out[..., :3] = (pixels * scale[..., None]).astype(np.uint8)
    out[..., 3] = np.where(largest > 1e-32, exponent + 128, 0)
    return out


def write_hdr(path, pixels, *, encoded, comment=b"# made by a test\n"):
    height, width = pixels.shape[:2]
    data = b"#?RADIANCE\n" + comment + b"FORMAT=32-bit_rle_rgbe\n\n"
    data += b"-Y %d +X %d\n" % (height, width)
    rgbe = to_rgbe(pixels)
    if not encoded:
        path.write_bytes(data + rgbe.tobytes())
        return
    for row in rgbe:
        data += bytes((2, 2, width >> 8, width & 255))
        for component in row.T:
            place = 0
            while place < width:
                run = 1
                while (
                    place + run < width and run < 127 and component[place + run] == component[place]
                ):
                    run += 1
                if run > 2:
                    data += bytes((128 + run, component[place]))
                else:
                    run = min(run, width - place)
                    data += bytes((run, *component[place : place + run]))
                place += run
    path.write_bytes(data)


@pytest.mark.parametrize("encoded", [True, False])
def test_radiance_files_are_read(tmp_path, encoded):
    rng = np.random.default_rng(0)
    pixels = rng.exponential(size=(9, 40, 3)) ** 3
    pixels[:, 10:25] = pixels[:, :1]  # runs
    pixels[2, 3] = 0
    pixels[4, 4] = (5000, 1, 0)
    write_hdr(tmp_path / "a.hdr", pixels, encoded=encoded)
    seen = read_hdr(tmp_path / "a.hdr")
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, pixels, atol=pixels.max(axis=-1).max() / 250, rtol=0.02)
    assert (seen[2, 3] == 0).all()
    assert light.read_light(tmp_path / "a.hdr").environment.shape == (64, 128, 3)


def test_exr_files_are_read(tmp_path):
    exr = pytest.importorskip("OpenEXR")
    pixels = np.random.default_rng(0).random((8, 16, 3)).astype(np.float32) * 30
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    with exr.File(header, {"RGB": pixels}) as file:
        file.write(str(tmp_path / "a.exr"))
    np.testing.assert_allclose(read_hdr(tmp_path / "a.exr"), pixels)
    with pytest.raises(ImageError, match="no such file"):
        read_hdr(tmp_path / "b.exr")


def test_broken_files_say_what_is_wrong(tmp_path):
    good = np.ones((4, 40, 3))
    path = tmp_path / "a.hdr"
    write_hdr(path, good, encoded=True)
    whole = path.read_bytes()
    for broken, text in (
        (b"P6 4 4", "does not begin"),
        (whole.replace(b"-Y 4 +X 40\n", b""), "no resolution"),
        (whole.replace(b"-Y 4", b"+Y 4"), "top to bottom"),
        (whole.replace(b"rgbe", b"xyze"), "XYZ"),
        (whole[:-10], "whole"),
        (whole.replace(b"-Y 4 +X 40", b"-Y 4 +X 41"), "another length"),
        (whole.replace(b"-Y 4 +X 40", b"-Y 99999999 +X 40"), "claims"),
    ):
        path.write_bytes(broken)
        with pytest.raises(ImageError, match=text):
            read_hdr(path)
    with pytest.raises(InputError, match=r"\.hdr"):
        read_hdr(tmp_path / "a.png")
    with pytest.raises(ImageError, match="cannot read"):
        read_hdr(tmp_path / "none.hdr")

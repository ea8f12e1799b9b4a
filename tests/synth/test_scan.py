# SPDX-License-Identifier: Apache-2.0
"""Scans in any unit, axis and state of repair become the same mesh, or one clear line."""

import json

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image

from synth_shapes import mannequin
from vitruvian import vocabulary
from vitruvian.errors import InputError
from vitruvian.synth import scan
from vitruvian.synth.surfaces import Painted, Solid, Textured

HEIGHT = 1.72


@pytest.fixture
def body():
    pieces = mannequin(rows=8)
    mesh = trimesh.util.concatenate(
        [trimesh.Trimesh(piece.vertices, piece.faces, process=False) for piece in pieces]
    )
    mesh.update_faces(mesh.area_faces > 1e-12)  # no sliver at the poles
    uv = np.concatenate([piece.uv for piece in pieces])
    pixels = np.random.default_rng(0).integers(256, size=(32, 64, 3), dtype=np.uint8)
    material = trimesh.visual.material.SimpleMaterial(image=Image.fromarray(pixels))
    mesh.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    return mesh


def bounds(found):
    everything = np.concatenate([mesh.vertices for mesh in found.meshes])
    return np.stack([everything.min(axis=0), everything.max(axis=0)])


@pytest.mark.parametrize("suffix", ["obj", "glb"])
@pytest.mark.parametrize(("unit", "scale"), [("m", 1), ("cm", 100), ("mm", 1000)])
def test_units_are_found_and_told(tmp_path, body, suffix, unit, scale):
    body.apply_scale(scale)
    body.export(tmp_path / f"a.{suffix}")
    found = scan.load_scan(tmp_path / f"a.{suffix}")
    assert found.up == "y"
    assert found.height == pytest.approx(HEIGHT, abs=0.005)
    assert bounds(found)[0, 1] == 0
    assert isinstance(found.surfaces[0], Textured)
    assert found.meshes[0].uv is not None
    told = [line for line in found.warnings if f"taken to be in {unit}" in line]
    assert len(told) == (unit != "m")


def test_formats_agree(tmp_path, body):
    for suffix in ("obj", "glb", "ply"):
        body.export(tmp_path / f"a.{suffix}")
    every = [bounds(scan.load_scan(path)) for path in scan.find_scans(tmp_path)]
    assert len(every) == 3
    for other in every[1:]:
        np.testing.assert_allclose(other, every[0], atol=1e-5)


@pytest.mark.parametrize("up", ["x", "-x", "-y", "z", "-z"])
def test_any_axis_may_be_up(tmp_path, body, up):
    upright = bounds_of(body.vertices)
    rotation = scan._UPRIGHT[up]  # the file's axes → ours
    body.vertices = body.vertices @ rotation
    body.export(tmp_path / "a.ply")
    found = scan.load_scan(tmp_path / "a.ply", up=up)
    np.testing.assert_allclose(np.ptp(bounds(found), axis=0), np.ptp(upright, axis=0), atol=1e-5)
    head = np.concatenate([mesh.vertices for mesh in found.meshes])
    assert np.median(head[:, 1]) > 0.5 * HEIGHT  # more vertices in arms and head than in feet
    if not up.startswith("-"):
        assert scan.load_scan(tmp_path / "a.ply").up == up


def bounds_of(vertices):
    return np.stack([vertices.min(axis=0), vertices.max(axis=0)])


def test_a_person_lying_is_read_with_the_axis_named(tmp_path, body):
    body.vertices = body.vertices @ scan._UPRIGHT["z"].T  # lies on its back, y is still up
    body.export(tmp_path / "a.ply")
    assert scan.load_scan(tmp_path / "a.ply", up="y").height < 0.6


def test_turning_brings_the_front_to_the_viewer(tmp_path, body):
    body.export(tmp_path / "a.ply")
    straight = scan.load_scan(tmp_path / "a.ply").meshes[0].vertices
    turned = scan.load_scan(tmp_path / "a.ply", turn=90).meshes[0].vertices
    np.testing.assert_allclose(np.ptp(turned[:, 0]), np.ptp(straight[:, 2]), atol=1e-5)


def test_what_is_no_person_needs_a_scale(tmp_path, body):
    body.apply_scale(7)
    body.export(tmp_path / "a.ply")
    with pytest.raises(InputError, match="--unit, or metres per unit"):
        scan.load_scan(tmp_path / "a.ply")
    assert scan.load_scan(tmp_path / "a.ply", unit=1 / 7).height == pytest.approx(HEIGHT, abs=0.01)
    assert scan.load_scan(tmp_path / "a.ply", unit="m").height > 10
    with pytest.raises(InputError, match="unit"):
        scan.load_scan(tmp_path / "a.ply", unit="inch")
    with pytest.raises(InputError, match="up axis"):
        scan.load_scan(tmp_path / "a.ply", up="w")


def test_a_missing_texture_is_grey_with_a_warning(tmp_path, body):
    body.export(tmp_path / "a.obj")
    (picture,) = tmp_path.glob("*.png")
    picture.unlink()
    found = scan.load_scan(tmp_path / "a.obj")
    assert isinstance(found.surfaces[0], Solid)
    assert found.warnings == (f"texture {picture.name} is missing: grey instead",)


def test_a_missing_material_library_is_grey_with_a_warning(tmp_path, body):
    body.export(tmp_path / "a.obj")
    (library,) = tmp_path.glob("*.mtl")
    library.unlink()
    found = scan.load_scan(tmp_path / "a.obj")
    assert isinstance(found.surfaces[0], Solid)
    assert len([line for line in found.warnings if "grey" in line]) == 1


def test_a_scan_without_colours_is_grey_with_a_warning(tmp_path, body):
    trimesh.Trimesh(body.vertices, body.faces, process=False).export(tmp_path / "a.ply")
    found = scan.load_scan(tmp_path / "a.ply")
    assert isinstance(found.surfaces[0], Solid)
    assert found.warnings == ("neither texture nor colours: grey instead",)


def test_colours_per_vertex_become_linear(tmp_path, body):
    plain = trimesh.Trimesh(body.vertices, body.faces, process=False)
    plain.visual.vertex_colors = np.full((len(body.vertices), 4), (188, 0, 255, 255), np.uint8)
    plain.export(tmp_path / "a.ply")
    found = scan.load_scan(tmp_path / "a.ply")
    assert isinstance(found.surfaces[0], Painted)
    np.testing.assert_allclose(found.meshes[0].canonical[0], [0.503, 0, 1], atol=0.002)


def test_large_textures_are_scaled_down(tmp_path, body):
    body.export(tmp_path / "a.glb")
    found = scan.load_scan(tmp_path / "a.glb", texture_side=16)
    assert found.surfaces[0].texture.image.shape == (8, 16, 3)
    assert "texture of 64×32 scaled to 16 pixels" in found.warnings


def test_inverted_faces_are_turned_with_a_warning(tmp_path, body):
    straight = trimesh.Trimesh(body.vertices, body.faces, process=False)
    straight.export(tmp_path / "a.ply")
    straight.invert()
    straight.export(tmp_path / "b.ply")
    right, turned = (scan.load_scan(tmp_path / f"{name}.ply") for name in "ab")
    assert not any("inside out" in line for line in right.warnings)
    assert any("inside out" in line for line in turned.warnings)
    np.testing.assert_allclose(right.meshes[0].normals, turned.meshes[0].normals, atol=1e-4)


def test_damaged_faces_are_left_out_with_a_warning(tmp_path, body):
    vertices = np.concatenate([body.vertices, [[np.nan, 0, 0]]])
    last = len(vertices) - 1
    faces = np.concatenate([body.faces, [[0, 1, last], [0, 0, 1]], body.faces[:1]])
    trimesh.Trimesh(vertices, faces, process=False).export(tmp_path / "a.ply")
    found = scan.load_scan(tmp_path / "a.ply")
    assert "3 damaged triangles" in found.warnings[0]
    assert sum(len(mesh.faces) for mesh in found.meshes) == len(body.faces)


def test_seams_of_the_texture_do_not_show_in_normals(tmp_path, body):
    body.export(tmp_path / "a.glb")
    mesh = scan.load_scan(tmp_path / "a.glb").meshes[0]
    _, same = np.unique(np.round(mesh.vertices, 5), axis=0, return_inverse=True)
    same = same.reshape(-1)
    for twin in np.flatnonzero(np.bincount(same) > 1)[:50]:
        normals = mesh.normals[same == twin]
        np.testing.assert_allclose(normals, normals[:1].repeat(len(normals), 0), atol=1e-5)


def test_several_materials_keep_their_surfaces(tmp_path, body):
    other = body.copy()
    other.visual = trimesh.visual.TextureVisuals(
        uv=body.visual.uv,
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[10, 200, 10, 255]),
    )
    other.apply_translation([0.8, 0, 0])
    scene = trimesh.Scene({"first": body, "second": other})
    scene.export(tmp_path / "a.glb")
    found = scan.load_scan(tmp_path / "a.glb")
    assert len(found.meshes) == len(found.surfaces) == 2
    assert {type(surface) for surface in found.surfaces} == {Textured, Solid}
    assert [set(np.unique(mesh.surfaces)) for mesh in found.meshes] == [{0}, {1}]


def test_too_many_triangles_are_refused_with_the_remedy(tmp_path, body):
    body.export(tmp_path / "a.ply")
    with pytest.raises(InputError, match=r"at most 1,000: simplify it .* --triangles-max"):
        scan.load_scan(tmp_path / "a.ply", most_triangles=1000)


def test_what_is_no_scan_is_refused(tmp_path, body):
    with pytest.raises(InputError, match="no scan in"):
        scan.find_scans(tmp_path)
    with pytest.raises(InputError, match="no file or folder"):
        scan.find_scans(tmp_path / "absent")
    (tmp_path / "broken.glb").write_bytes(b"glTF nonsense")
    with pytest.raises(InputError, match="cannot be read as a scan"):
        scan.load_scan(tmp_path / "broken.glb")
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="no scan; wanted"):
        scan.load_scan(tmp_path / "a.txt")
    trimesh.PointCloud(body.vertices).export(tmp_path / "cloud.ply")
    with pytest.raises(InputError, match="no triangles"):
        scan.load_scan(tmp_path / "cloud.ply")
    assert [path.name for path in scan.find_scans(tmp_path)] == ["broken.glb", "cloud.ply"]


def test_keypoints_and_parts_lie_beside_the_scan(tmp_path, body):
    body.apply_scale(100)
    body.export(tmp_path / "a.glb")
    parts = vocabulary.load("parts29")
    torso = parts.index("Torso")
    cv2.imwrite(str(tmp_path / "a.parts.png"), np.full((8, 8), torso, np.uint8))
    points = {"vocabulary": "coco17", "points": {"nose": [0, 158, 11]}}
    (tmp_path / "a.keypoints.json").write_text(json.dumps(points))
    found = scan.load_scan(tmp_path / "a.glb")
    assert found.parts
    assert set(np.unique(found.meshes[0].labels)) == {torso}
    nose = found.points[vocabulary.load("coco17").index("nose")]
    near = np.linalg.norm(found.meshes[0].vertices - nose, axis=1).min()
    assert near < 0.05
    assert np.isfinite(found.points).all(axis=1).sum() == 1
    points["points"]["snout"] = [0, 0, 0]
    (tmp_path / "a.keypoints.json").write_text(json.dumps(points))
    with pytest.raises(InputError, match="snout"):
        scan.load_scan(tmp_path / "a.glb")
    (tmp_path / "a.keypoints.json").write_text("{}")
    with pytest.raises(InputError, match="vocabulary"):
        scan.load_scan(tmp_path / "a.glb")
    cv2.imwrite(str(tmp_path / "a.parts.png"), np.full((8, 8), 99, np.uint8))
    with pytest.raises(InputError, match="no part 99"):
        scan.load_scan(tmp_path / "a.glb")


def test_without_labels_all_of_a_scan_is_unknown(tmp_path, body):
    body.export(tmp_path / "a.glb")
    found = scan.load_scan(tmp_path / "a.glb")
    assert not found.parts
    assert found.points is None
    assert set(np.unique(found.meshes[0].labels)) == {scan.UNKNOWN}

# SPDX-License-Identifier: Apache-2.0
"""Tensor files: what lies where, and what is told about files that are something else."""

import json
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from published_files import write_hollow
from safetensors import safe_open
from safetensors.torch import save_file

from vitruvian.errors import WeightsError
from vitruvian.model.storage import TensorReader, open_tensors, write_safetensors


def _good(path: Path) -> Path:
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}, path)
    return path


def _checkpoint(path: Path) -> Path:
    torch.save({"state_dict": {"a": torch.randn(64, 64), "b": torch.ones(4)}}, path)
    return path


def test_safetensors_header_and_values(tmp_path: Path) -> None:
    save_file({"a": torch.arange(6.0)}, tmp_path / "x.safetensors", metadata={"note": "hé"})
    file = open_tensors(tmp_path / "x.safetensors")
    assert (file.kind, file.metadata, file.nbytes) == ("safetensors", {"note": "hé"}, 24)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        out = torch.empty(6, dtype=dtype)
        with TensorReader() as reader:
            reader.read_into(file.records["a"], out)
        assert torch.equal(out, torch.arange(6.0, dtype=dtype))


def test_long_tensors_are_converted_in_parts(tmp_path: Path) -> None:
    values = torch.randn(5_000_000)  # more than one part of 16 MiB
    save_file({"a": values}, tmp_path / "x.safetensors")
    out = torch.empty(5_000_000, dtype=torch.bfloat16)
    with TensorReader() as reader:
        reader.read_into(open_tensors(tmp_path / "x.safetensors").records["a"], out)
    assert torch.equal(out, values.to(torch.bfloat16))


def test_written_files_are_read_by_safetensors(tmp_path: Path) -> None:
    tensors = {
        "w": torch.randn(3, 5),
        "half": torch.randn(7).to(torch.bfloat16),
        "none": torch.empty(0, 4),
        "view": torch.randn(4, 6).t(),
    }
    layout = {n: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in tensors.items()}
    path = tmp_path / "new" / "out.safetensors"
    write_safetensors(path, layout, tensors.__getitem__, {"k": "v – ü"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"k": "v – ü"}
        assert set(file.keys()) == set(tensors)
        assert all(torch.equal(file.get_tensor(n), t) for n, t in tensors.items())
    with path.open("rb") as raw:
        assert struct.unpack("<Q", raw.read(8))[0] % 8 == 0


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = _good(tmp_path / "x.safetensors")
    before = path.read_bytes()

    def fill(name: str) -> torch.Tensor:
        raise RuntimeError(name)

    with pytest.raises(RuntimeError):
        write_safetensors(path, {"w": ("float32", (2,))}, fill, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------- what is something else

LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 1234\n"
)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty file"),
        (LFS, "Git-LFS pointer"),
        (b"<!DOCTYPE html><html><head>", "web page"),
        (b"\n  <html lang=en>", "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "web page"),
        (b'{"error": "Repository not found"}', "text, not weights"),
        (b"Entry not found", "text, not weights"),
        (b"\x00" * 5000, "no known weights format"),
        (b"\x80\x02}q\x00.", "no known weights format"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 90, "no known weights format"),
        (b"PK\x03\x04" + b"\x00" * 90, "truncated or damaged"),
    ],
)
def test_other_files_are_named(content: bytes, says: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=says) as caught:
        open_tensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "·" in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        open_tensors(tmp_path / "nothing.pth")
    with pytest.raises(WeightsError, match="0 weights files"):
        open_tensors(tmp_path)
    _good(tmp_path / "a.safetensors")
    assert open_tensors(tmp_path).path == tmp_path / "a.safetensors"
    _good(tmp_path / "b.safetensors")
    with pytest.raises(WeightsError, match="2 weights files"):
        open_tensors(tmp_path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_truncated_files(share: float, tmp_path: Path) -> None:
    for path in (_good(tmp_path / "x.safetensors"), _checkpoint(tmp_path / "x.pth")):
        data = path.read_bytes()
        path.write_bytes(data[: max(9, int(len(data) * share))])
        with pytest.raises(WeightsError, match="truncated or damaged"):
            open_tensors(path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = _good(tmp_path / "x.safetensors")
    record = open_tensors(path).records["b"]
    path.write_bytes(path.read_bytes()[:-8])
    with TensorReader() as reader, pytest.raises(WeightsError, match="end early"):
        reader.read_into(record, torch.empty(record.shape))


def _header(entry: object) -> bytes:
    text = json.dumps({"a": entry}).encode()
    return struct.pack("<Q", len(text)) + text + b"\x00" * 64


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 12]},
        {"dtype": "F32", "shape": [-1, -4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]},
        {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": "no", "data_offsets": [0, 4]},
        {"shape": [4], "data_offsets": [0, 16]},
        [1, 2],
    ],
)
def test_dishonest_headers(entry: object, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(_header(entry))
    with pytest.raises(WeightsError, match="header cannot be read"):
        open_tensors(path)


def test_huge_header_claims(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{" + b" " * 100)
    with pytest.raises(WeightsError, match="does not fit"):
        open_tensors(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path / "x.pth")
    with zipfile.ZipFile(path) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data[:-4] if name.endswith("data/0") else data)
    with pytest.raises(WeightsError, match="reaches beyond"):
        open_tensors(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            if not name.endswith("data/0"):
                archive.writestr(name, data)
    with pytest.raises(WeightsError, match="are not in it"):
        open_tensors(path)


def test_compressed_checkpoints_are_refused(tmp_path: Path) -> None:
    path = _checkpoint(tmp_path / "x.pth")
    with zipfile.ZipFile(path) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(WeightsError, match="compressed"):
        open_tensors(path)


def test_checkpoints_of_old_torch_are_named(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"before 1\.6"):
        open_tensors(path)


@pytest.mark.parametrize("suffix", ["_torchscript.pt2", ".pt", ".pth"])
def test_torchscript_names_the_file_to_use(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"sapiens_1b_coco_best_coco_AP_821{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(3, 2), torch.zeros(1, 3)).save(path)
    with pytest.raises(WeightsError, match="TorchScript") as caught:
        open_tensors(path)
    assert "sapiens_1b_coco_best_coco_AP_821.pth" in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("x/models/model.json", "x/archive_format", "x/data/weights/weight_0"),
        ("serialized_exported_program.json", "serialized_state_dict.pt", "version"),
    ],
)
def test_exported_programs_name_the_file_to_use(names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "sapiens_0.3b_render_people_epoch_100_bfloat16.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    with pytest.raises(WeightsError, match=r"torch\.export") as caught:
        open_tensors(path)
    assert "sapiens_0.3b_render_people_epoch_100.pth" in str(caught.value)


def test_archives_without_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "pictures.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.png", b"x")
    with pytest.raises(WeightsError, match="without a checkpoint"):
        open_tensors(path)


# ---------------------------------------------------------------------------------------- folders


def test_folders_in_parts(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.zeros(3)}, tmp_path / "model-00002-of-00002.safetensors")
    index = {f"{n}": f"model-0000{k}-of-00002.safetensors" for n, k in (("a", 1), ("b", 2))}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    file = open_tensors(tmp_path)
    assert set(file.records) == {"a", "b"}
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "../../etc/passwd"}})
    )
    with pytest.raises(WeightsError, match="outside the folder"):
        open_tensors(tmp_path)


def test_a_folder_needs_a_readable_config(tmp_path: Path) -> None:
    _good(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="no valid JSON"):
        open_tensors(tmp_path)


def test_hollow_files_of_any_size(tmp_path: Path) -> None:
    path = write_hollow(tmp_path / "x.safetensors", {"a": (1 << 20, 1 << 10)})
    assert open_tensors(path).nbytes == 4 << 30
    assert path.stat().st_blocks * 512 < 1 << 20

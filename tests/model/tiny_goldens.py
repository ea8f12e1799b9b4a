# SPDX-License-Identifier: Apache-2.0
"""Reads the small golden networks: arrays, and weights under our names."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vitruvian.model.heads import DenseHeadConfig
from vitruvian.model.network import Network, NetworkConfig
from vitruvian.model.vit import ViTConfig

GOLDEN = Path(__file__).parents[1] / "golden"

TINY = ViTConfig(dim=32, depth=2, heads=4, mlp_hidden=128, grid=(4, 3))

# head: upsampling widths, refinement widths, outputs, patch padding
HEADS = {
    "pose": ((24,) * 2, (24,) * 2, 5, 2),
    "seg": ((24,) * 3, (24,) * 3, 7, 0),
    "depth": ((24,) * 4, (24,) * 2, 1, 0),
    "normal": ((24,) * 3, (24,) * 3, 3, 2),
}

# Our own short table, so that these tests do not lean on the reader of published files.
_RENAMES = [
    (r"^neck\.decoder_pos_embed", "decoder.pos_embed"),
    (r"^neck\.decoder_blocks", "decoder.blocks"),
    (r"^neck\.decoder_embed", "decoder.embed"),
    (r"^neck\.decoder_pred", "decoder.predict"),
    (r"^neck\.ln1", "decoder.norm"),
    (r"^neck\.", "decoder."),
    (r"cls_token", "class_token"),
    (r"patch_embed\.projection", "patch_embed"),
    (r"\.layers\.(\d+)\.(ln|attn|ffn)", r".blocks.\1.\2"),
    (r"ffn\.layers\.0\.0", "mlp.fc1"),
    (r"ffn\.layers\.1", "mlp.fc2"),
    (r"(blocks\.\d+)\.ln(\d)", r"\1.norm\2"),
    (r"^backbone\.ln1", "backbone.norm"),
    (r"^(decode_)?head\.(final_layer|conv_seg)", "heads.task.predict"),
]


def read(name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the arrays of a golden file, and the weights in it by our names."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file.files}
    weights = {}
    for key, value in arrays.items():
        if key.startswith("w."):
            weights[_rename(key[2:])] = value
    return {k: v for k, v in arrays.items() if not k.startswith("w.")}, weights


def _rename(name: str) -> str:
    for pattern, ours in _RENAMES:
        name = re.sub(pattern, ours, name)
    stage = re.match(r"^(?:decode_)?head\.(deconv|conv)_layers\.(\d+)\.(\w+)$", name)
    if stage:
        kind = "up" if stage[1] == "deconv" else "refine"
        name = f"heads.task.{kind}.{int(stage[2]) // 3}.{stage[3]}"
    return name


def tiny_network(task: str) -> tuple[Network, dict[str, torch.Tensor]]:
    """Return the golden network of a task with its weights, and the golden arrays."""
    widths, refine, out, padding = HEADS[task]
    head = DenseHeadConfig(in_dim=32, out=out, widths=widths, refine=refine)
    config = NetworkConfig(backbone=replace(TINY, patch_padding=padding), heads={"task": head})
    network = Network(config).eval()
    arrays, weights = read(f"{task}_tiny")
    network.load_state_dict(weights)
    return network, arrays


def relative(given: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest difference as a share of the largest wanted value."""
    assert given.shape == wanted.shape
    return ((given - wanted).abs().max() / wanted.abs().max()).item()

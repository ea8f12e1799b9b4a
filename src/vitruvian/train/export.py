# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to one plain, self-describing weights file that loads everywhere."""

from pathlib import Path

from vitruvian.model.card import Card
from vitruvian.model.lora import LoRAConfig, merged
from vitruvian.model.weights import save_tensors
from vitruvian.train.state import read_state, read_tensors


def export(
    checkpoint: str | Path, out: str | Path, card: Card, *, lora: LoRAConfig | None = None
) -> None:
    """Write the network of a checkpoint as ``weights.save`` does; one process calls this.

    The moving average takes the place of the weights where there is one. It does not matter how
    many processes trained, or how the checkpoint lies on the disk.

    Args:
        checkpoint: a folder ``step-…``, such as ``Outcome.checkpoint`` or ``Outcome.best``.
        out: ends in ``.safetensors``.
        card: describes the network, of a ``MAE`` with its decoder.
        lora: what ``add_lora`` was given; its additions are merged.

    Raises:
        InputError: the checkpoint is damaged, or of another network than the card describes.
    """
    path = Path(checkpoint)
    tensors = read_tensors(path, "network")
    if "average" in read_state(path)["files"]:
        tensors |= read_tensors(path, "average")
    if lora is not None:
        tensors = merged(tensors, lora)
    save_tensors(out, tensors, card)

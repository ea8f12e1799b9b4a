# SPDX-License-Identifier: Apache-2.0
"""Where to compute, and in which precision, by the names people type."""

import torch

from vitruvian.errors import InputError, unknown_name


def pick_device(name: str) -> torch.device:
    """Return the torch device for "auto", "cpu", "mps" or "cuda[:N]".

    Raises:
        InputError: for a device that is not there.
    """
    mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}: use auto, cpu, mps or cuda:N") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    missing = device.type == "cuda" and (device.index or 0) >= count
    if missing or (device.type == "mps" and not mps) or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device {name!r} is not available here: use auto or cpu")
    return device


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the torch dtype for "auto", "fp32", "bf16" or "fp16" on ``device``."""
    table = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name == "auto":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if name not in table:
        raise unknown_name("dtype", name, ["auto", *table])
    return table[name]

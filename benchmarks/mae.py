# SPDX-License-Identifier: Apache-2.0
"""Time a step of masked pretraining against plain baselines in the same run.

    python benchmarks/mae.py                 # the sections for CPUs
    python benchmarks/mae.py --gpu           # 0.3B and 1B at 1024², needs an NVIDIA GPU
    torchrun --nproc-per-node 1 benchmarks/mae.py --gpu --fsdp    # the same sharded by FSDP2

Sections on a CPU, each with its baseline in turns, so a busy machine slows both:

visible  forward of an encoder: the visible quarter of the tokens against all of them.
step     a whole optimiser step: fp32, and bf16 autocast, of the package; against "plain": the
         same weights in the textbook way (scores and softmax written out, all tokens encoded,
         hidden ones zeroed, AdamW parameter by parameter).
eager    the same step against a baseline that encodes visible tokens only too: what fused attention
         and the optimiser alone give.
saving   memory kept for the backward pass, and time, with and without activation checkpointing.

bfloat16 is faster only where the CPU multiplies it (AVX-512 or better); "bfloat16_native" says so.
Times are processor seconds where stated: other programs on the machine hardly change those.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitruvian.model import block, layers
from vitruvian.model.flops import mae_flops, peak_flops
from vitruvian.model.mae import MAE, MAEConfig
from vitruvian.model.sizes import ViTConfig, pretraining_form
from vitruvian.recipes.estimate import GIB, trace_step
from vitruvian.recipes.objectives import MaskedObjective
from vitruvian.train.optim import OptimiserConfig, build_optimiser
from vitruvian.train.parallel import Parallel, joined

RESULTS = Path(__file__).parent / "results" / "mae.json"


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(works: dict[str, Callable[[], Any]], repeat: int) -> dict[str, dict[str, float]]:
    """Run all works once to warm up, then in turns; return medians."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeat):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {
        name: {
            "wall_seconds": round(statistics.median(w for w, _ in t), 3),
            "cpu_seconds": round(statistics.median(c for _, c in t), 3),
        }
        for name, t in times.items()
    }


def ratio(found: dict[str, dict[str, float]], slow: str, fast: str) -> float:
    return round(found[slow]["cpu_seconds"] / found[fast]["cpu_seconds"], 2)


def encoder(dim: int, depth: int, heads: int, side: int) -> ViTConfig:
    """A first-generation encoder for square pictures."""
    form = pretraining_form("0.3b")
    grid = (side // 16, side // 16)
    return replace(form, dim=dim, depth=depth, heads=heads, mlp_hidden=4 * dim, grid=grid)


def batch_of(count: int, side: int, device: str = "cpu") -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (count, 3, side, side), generator=made, dtype=torch.uint8)
    index = torch.arange(count)
    batch = {"image": image, "index": index, "epoch": torch.zeros_like(index)}
    return {key: value.to(device) for key, value in batch.items()}


# ------------------------------------------------------------------------------ visible tokens


def measure_visible(repeat: int) -> dict[str, Any]:
    """Encode 1,024 of the 4,096 tokens of 1024×1024 pixels, and all, by 4 blocks of 0.3B."""
    form = replace(pretraining_form("0.3b"), depth=4)
    mae = MAE(form, MAEConfig(decoder_depth=1))
    x = torch.randn(1, 3, 1024, 1024)
    tokens, grid = mae.encoder.tokens(x)
    mask = mae.mask(x)
    with torch.inference_mode():
        tokens = tokens.clone()
        found = in_turns(
            {
                "all tokens": lambda: mae.encoder.encode(tokens, grid),
                "visible quarter": lambda: mae.encoder.encode(tokens, grid, mask.keep),
            },
            repeat,
        )
    faster = ratio(found, "all tokens", "visible quarter")
    return {"encoder": "0.3b, 4 of its 24 blocks, 1024×1024", **found, "times_faster": faster}


# ------------------------------------------------------------------------------ a whole step


class PlainMAE(nn.Module):
    """The textbook way, on the weights of a ``MAE``: nothing fused, no token left out."""

    def __init__(self, mae: MAE) -> None:
        super().__init__()
        self.mae = mae

    def forward(self, images: Tensor, *, mask_ratio: float | None = None, noise: Tensor) -> Any:
        mae = self.mae
        mask = mae.mask(images, noise=noise)
        tokens, grid = mae.encoder.tokens(images)
        tokens = tokens * (1 - mask.hidden)[:, :, None]
        latent = mae.encoder.encode(tokens, grid)
        latent = torch.cat(
            [latent[:, :1], latent[:, 1:].gather(1, index_like(mask.keep, latent))], 1
        )
        prediction = mae.decoder(latent, mask.restore, grid)
        error = (prediction - mae.target(images)).square().mean(-1)
        return type("Out", (), {"loss": (error * mask.hidden).sum() / mask.hidden.sum()})


def index_like(keep: Tensor, latent: Tensor) -> Tensor:
    return keep[:, :, None].expand(-1, -1, latent.shape[-1])


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention with its scores in memory."""
    return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v


class plain_attention:
    def __enter__(self) -> None:
        self.before = block.attention
        block.attention = written_out

    def __exit__(self, *_: object) -> None:
        block.attention = self.before


def step_of(
    mae: MAE,
    batch: dict[str, Tensor],
    *,
    low: torch.dtype | None = None,
    plain: bool = False,
    every_token: bool = True,
) -> Callable[[], float]:
    objective = MaskedObjective()
    if plain:
        trained = [p for p in mae.parameters() if p.requires_grad]
        optimiser: torch.optim.Optimizer = torch.optim.AdamW(trained, lr=1e-5, foreach=False)
    else:
        optimiser = build_optimiser(mae, OptimiserConfig(lr=1e-5))
    network = PlainMAE(mae) if plain and every_token else mae

    class Around(nn.Module):  # what MaskedObjective calls, and where it looks for the encoder
        module = mae

        def forward(self, *given: Any, **more: Any) -> Any:
            return network(*given, **more)

    def step() -> float:
        optimiser.zero_grad(set_to_none=True)
        with plain_attention() if plain else nullcontext():
            with torch.autocast("cpu", low, enabled=low is not None):
                loss = objective.losses(Around(), batch)["pixels"]
            loss.backward()
        optimiser.step()
        return loss.item()

    return step


def measure_step(repeat: int) -> dict[str, Any]:
    side, form = 512, encoder(384, 4, 6, 512)
    config = MAEConfig(decoder_dim=192, decoder_depth=2, decoder_heads=6)
    batch = batch_of(2, side)
    torch.manual_seed(0)
    first = MAE(form, config)
    works: dict[str, Callable[[], Any]] = {}
    losses: dict[str, float] = {}
    for name, low, plain in (
        ("plain fp32", None, True), ("fp32", None, False), ("bf16", torch.bfloat16, False),
    ):  # fmt: skip
        mae = MAE(form, config)
        mae.load_state_dict(first.state_dict())
        works[name] = step_of(mae, batch, low=low, plain=plain)
    found = in_turns(
        {n: lambda n=n, w=w: losses.update({n: w()}) for n, w in works.items()}, repeat
    )
    return {
        "network": f"width {form.dim}, {form.depth} blocks, decoder 192 × 2, {side}×{side}",
        **found,
        "fp32_times_faster_than_plain": ratio(found, "plain fp32", "fp32"),
        "bf16_times_faster_than_plain": ratio(found, "plain fp32", "bf16"),
        "bf16_times_faster_than_fp32": ratio(found, "fp32", "bf16"),
        "losses": {name: round(value, 4) for name, value in losses.items()},
    }


def measure_eager(repeat: int) -> dict[str, Any]:
    form, batch = encoder(384, 4, 6, 512), batch_of(2, 512)
    config = MAEConfig(decoder_dim=192, decoder_depth=2, decoder_heads=6)
    works = {
        "plain fp32, visible tokens": step_of(
            MAE(form, config), batch, plain=True, every_token=False
        ),
        "fp32": step_of(MAE(form, config), batch),
    }
    found = in_turns(works, repeat)
    return {**found, "times_faster": ratio(found, "plain fp32, visible tokens", "fp32")}


# ------------------------------------------------------------------------------ checkpointing


def measure_saving(repeat: int) -> dict[str, Any]:
    side, form = 512, encoder(384, 12, 6, 512)
    config = MAEConfig(decoder_dim=192, decoder_depth=4, decoder_heads=6)
    mae, batch = MAE(form, config), batch_of(2, side)

    def step(saving: bool) -> None:
        mae.encoder.checkpointing = mae.decoder.checkpointing = saving
        mae.zero_grad(set_to_none=True)
        MaskedObjective().losses(mae, batch)["pixels"].backward()

    found = in_turns({"keeping": lambda: step(False), "recomputing": lambda: step(True)}, repeat)
    memory = {
        name: trace_step(mae, MaskedObjective(), batch, checkpointing=saving)
        for name, saving in (("keeping", False), ("recomputing", True))
    }
    kept = {name: round(trace.kept / 2**20, 1) for name, trace in memory.items()}
    return {
        "network": f"width {form.dim}, {form.depth} blocks, decoder 192 × 4, {side}×{side}",
        **found,
        "kept_mib": kept,
        "peak_mib": {name: round(trace.peak / 2**20, 1) for name, trace in memory.items()},
        "times_less_kept": round(kept["keeping"] / kept["recomputing"], 2),
        "times_lower_peak": round(memory["keeping"].peak / memory["recomputing"].peak, 2),
        "more_time": round(1 / ratio_exact(found) - 1, 3),
    }


def ratio_exact(found: dict[str, dict[str, float]]) -> float:
    return found["keeping"]["cpu_seconds"] / found["recomputing"]["cpu_seconds"]


# ------------------------------------------------------------------------------ on a GPU


def measure_gpu(parallel: Parallel, sizes: tuple[str, ...], repeat: int) -> list[dict[str, Any]]:
    """Steps of the published pretraining at 1024², bf16: tokens/s, MFU, memory."""
    rows = []
    for size in sizes:
        for compiled in (False, True):
            for saving, count in ((False, 16), (True, 64)):
                try:
                    row = one_gpu(parallel, size, count, compiled=compiled, saving=saving,
                                  repeat=repeat)  # fmt: skip
                except torch.OutOfMemoryError:
                    row = {"size": size, "batch": count, "checkpointing": saving, "fits": False}
                torch.cuda.empty_cache()
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def one_gpu(
    parallel: Parallel, size: str, count: int, *, compiled: bool, saving: bool, repeat: int
) -> dict[str, Any]:
    torch.manual_seed(0)
    torch.cuda.reset_peak_memory_stats()
    form, config = pretraining_form(size), MAEConfig()
    mae = MAE(form, config)
    mae.encoder.checkpointing = mae.decoder.checkpointing = saving
    if compiled:
        for module in mae.modules():
            if isinstance(module, block.Block):
                module.compile()
    network = parallel.spread(mae, low=torch.bfloat16)
    optimiser = build_optimiser(mae, OptimiserConfig(lr=1e-5))
    batch, objective = batch_of(count, 1024, "cuda"), MaskedObjective()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16):
            loss = objective.losses(network, batch)["pixels"]
        loss.backward()
        optimiser.step()
        torch.cuda.synchronize()

    for _ in range(3):
        step()
    took = statistics.median(seconds(step)[0] for _ in range(repeat))
    flops = mae_flops(form, config, (1024, 1024)).step * count
    peak = peak_flops(torch.device("cuda"), "bf16")
    return {
        "size": size,
        "batch": count,
        "compiled": compiled,
        "checkpointing": saving,
        "parallel": parallel.mode,
        "step_seconds": round(took, 4),
        "pictures_per_second": round(count / took, 2),
        "tokens_per_second": round(4096 * count / took),
        "mfu": round(flops / took / peak, 3),
        "memory_gib": round(torch.cuda.max_memory_allocated() / GIB, 2),
        "fits": True,
    }


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "bfloat16_native": layers.cpu_computes(torch.bfloat16),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--only", choices=("visible", "step", "eager", "saving"))
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--fsdp", action="store_true")
    parser.add_argument("--sizes", nargs="+", default=["0.3b", "1b"])
    given = parser.parse_args()
    facts = machine()
    print(" · ".join(f"{k} {v}" for k, v in facts.items()), flush=True)
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    if given.gpu:
        if not torch.cuda.is_available():
            print("skipped: there is no GPU")
            return
        key = "gpu_fsdp" if given.fsdp else "gpu"
        mode = "fsdp" if given.fsdp else "single"
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        with joined(mode) as parallel:
            found: Any = measure_gpu(parallel, tuple(given.sizes), given.repeat)
        results[key] = {"machine": facts, "result": found}
    else:
        sections = {
            "visible": measure_visible,
            "step": measure_step,
            "eager": measure_eager,
            "saving": measure_saving,
        }
        for key in [given.only] if given.only else sections:
            found = sections[key](given.repeat)
            print(key, json.dumps(found, indent=1, ensure_ascii=False), flush=True)
            results[key] = {"machine": facts, "result": found}
            write(given.out, results)
    write(given.out, results)


def write(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

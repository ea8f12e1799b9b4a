# SPDX-License-Identifier: Apache-2.0
"""Time one forward of the 0.3B pose network at 1024×768 on this CPU: bfloat16 against float32.

    python benchmarks/forward.py [--repeat 3] [--out benchmarks/results/forward.json]
    python benchmarks/forward.py --torch      # also torch's own bfloat16 layers, at 512×384
    python benchmarks/forward.py --parts      # speed of linears and of attention, either way
    python benchmarks/forward.py --memory     # peak memory of 0.3B and 1B, a process each

Random weights, one picture, eager mode, all in one process; after a warm-up at 512×512 (which also
lets the attention choose) the two precisions take turns, so a busy machine slows both. "torch" is
the bfloat16 network with torch's own layers and fused attention, without the package's detours: it
takes minutes on a CPU without bfloat16 arithmetic, hence only with --torch and then at 512×384.

bfloat16 doubles the speed only where the CPU multiplies it ("native": AVX-512 or better); elsewhere
it halves the memory at about the speed of float32. Each mode replaces its own part of the results.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from vitruvian.model import layers
from vitruvian.model.network import Network
from vitruvian.model.published import published_network

SIZE = (1024, 768)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RESULTS = Path(__file__).parent / "results" / "forward.json"


def network(size: str, dtype: torch.dtype) -> Network:
    """Build a pose network without ever holding a second copy of its weights."""
    with torch.device("meta"):
        net = Network(published_network("pose", size)).to(dtype)
    net.to_empty(device="cpu").reset_parameters()
    return net.eval()


@contextmanager
def plain_torch():
    """Switch the package's detours off."""
    widens, blocks = layers._widens, layers._blocks_win
    layers._widens = lambda x, weight: False
    layers._blocks_win = lambda q, k, v: False
    try:
        yield
    finally:
        layers._widens, layers._blocks_win = widens, blocks


def seconds(work: Callable[[], Any]) -> float:
    return clocks(work)[0]


def clocks(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds of a call; the latter hardly see other programs."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_forward(repeat: int, size: tuple[int, int], with_torch: bool) -> dict[str, Any]:
    torch.manual_seed(0)
    nets = {name: network("0.3b", dtype) for name, dtype in DTYPES.items()}
    nets["bfloat16"].load_state_dict(nets["float32"].state_dict())
    x = torch.randn(1, 3, *size)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in nets}
    outputs = {}
    with torch.inference_mode():
        for net in nets.values():
            net(x[:, :, :512, :512])
        for _ in range(repeat):
            for name, net in nets.items():
                times[name].append(clocks(lambda n=net, k=name: outputs.update({k: n(x)["pose"]})))
        if with_torch:
            with plain_torch():
                times["bfloat16, torch"] = [clocks(lambda: nets["bfloat16"](x))]
    wall = {name: statistics.median(w for w, _ in t) for name, t in times.items()}
    cpu = {name: statistics.median(c for _, c in t) for name, t in times.items()}
    wanted = outputs["float32"]
    difference = (outputs["bfloat16"].float() - wanted).abs().max() / wanted.abs().max()
    print(f"0.3b pose, {size[0]}×{size[1]:<8} {'wall s':>9} {'cpu s':>9} {'speed':>7}")
    for name in times:
        speed = wall["float32"] / wall[name]
        print(f"{name:20} {wall[name]:9.2f} {cpu[name]:9.2f} {speed:7.2f}")
    return {
        "network": "pose 308, 0.3b",
        "input": [1, 3, *size],
        "wall_seconds": {name: [round(w, 3) for w, _ in t] for name, t in times.items()},
        "cpu_seconds": {name: [round(c, 3) for _, c in t] for name, t in times.items()},
        "median_wall_seconds": {name: round(v, 3) for name, v in wall.items()},
        "median_cpu_seconds": {name: round(v, 3) for name, v in cpu.items()},
        "bfloat16_speed_wall": round(wall["float32"] / wall["bfloat16"], 3),
        "bfloat16_speed_cpu": round(cpu["float32"] / cpu["bfloat16"], 3),
        "largest_difference_of_maximum": round(difference.item(), 4),
        "blocked_attention": any(layers._winners.values()),
    }


def measure_parts(repeat: int) -> dict[str, float]:
    """GFLOP/s of the two large products of a 0.3B block, 3,072 tokens."""
    works: dict[str, tuple[float, Callable[[], Any]]] = {}
    for name, dtype in DTYPES.items():
        x, w = torch.randn(3072, 1024).to(dtype), torch.randn(4096, 1024).to(dtype)
        q, k, v = torch.randn(3, 1, 4, 3072, 64).to(dtype).unbind()
        linear, heads = 2 * 3072 * 1024 * 4096, 4 * 4 * 3072**2 * 64
        works[f"linear, {name}"] = (linear, lambda x=x, w=w: F.linear(x, w))
        if name == "bfloat16":
            wide = lambda x=x, w=w: F.linear(x.float(), w.float()).to(x.dtype)  # noqa: E731
            works[f"linear, {name} widened"] = (linear, wide)
        fused = lambda a=(q, k, v): F.scaled_dot_product_attention(*a)  # noqa: E731
        works[f"attention, {name} fused"] = (heads, fused)
        blocks = lambda a=(q, k, v): layers.blocked_attention(*a)  # noqa: E731
        works[f"attention, {name} blocks"] = (heads, blocks)
    times: dict[str, list[float]] = {name: [] for name in works}
    with torch.inference_mode():
        for _ in range(repeat + 1):
            for name, (_, work) in works.items():
                times[name].append(seconds(work))
    speeds = {n: round(works[n][0] / min(t[1:]) / 1e9, 1) for n, t in times.items()}
    for name, value in speeds.items():
        print(f"{name:32} {value:7.1f} GFLOP/s")
    return speeds


def measure_memory() -> list[dict[str, Any]]:
    rows = []
    print(f"{'network':8} {'dtype':10} {'weights MB':>11} {'peak MB':>9} {'seconds':>8}")
    for size in ("0.3b", "1b"):
        for name in DTYPES:
            command = [sys.executable, __file__, "--one", size, name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout)
            rows.append(row)
            print(
                f"{size:8} {name:10} {row['weights_mb']:11.0f} {row['peak_mb']:9.0f} "
                f"{row['seconds']:8.1f}",
                flush=True,
            )
    return rows


def one(size: str, dtype: str) -> None:
    """One forward; prints its peak memory as JSON."""
    net = network(size, DTYPES[dtype])
    x = torch.randn(1, 3, *SIZE)
    with torch.inference_mode():
        took = seconds(lambda: net(x))
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if platform.system() == "Darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    row = {
        "network": f"pose 308, {size}",
        "dtype": dtype,
        "weights_mb": round(weights / 1e6),
        "peak_mb": round(peak / 1e6),
        "seconds": round(took, 1),
    }
    print(json.dumps(row))


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "bfloat16_native": layers.cpu_computes(torch.bfloat16),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--torch", action="store_true", help="time torch's own bfloat16 layers too")
    parser.add_argument("--one", nargs=2, metavar=("SIZE", "DTYPE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(*given.one)
        return
    facts = machine()
    print(" · ".join(f"{k} {v}" for k, v in facts.items()))
    if given.parts:
        key, result = "parts_gflops", measure_parts(given.repeat)
    elif given.memory:
        key, result = "memory", measure_memory()
    else:
        key = "forward_512x384" if given.torch else "forward"
        size = (512, 384) if given.torch else SIZE
        result = measure_forward(given.repeat, size, given.torch)
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    results[key] = {"machine": facts, "result": result}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""How much memory and work a training step takes, without the machine that will do it.

The step is carried out with tensors that have a shape but no values (``FakeTensorMode``), and what
is alive at a time is added up. So the estimate follows the code: precision, activation
checkpointing, frozen parts and losses count as they are. Not seen are the allocator's gaps and the
work space of GPU libraries, for which ``RESERVED`` is set aside.
"""

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitruvian.errors import InputError
from vitruvian.model.flops import Flops, mae_flops, network_flops
from vitruvian.model.lora import add_lora, freeze_backbone
from vitruvian.model.mae import MAE
from vitruvian.model.network import Network
from vitruvian.model.opening import build
from vitruvian.model.position import rotary_tables
from vitruvian.recipes.objectives import MaskedObjective, TaskObjective, blank_targets
from vitruvian.recipes.run import Run
from vitruvian.train.optim import parameter_groups

Precision = Literal["fp32", "bf16", "fp16"]
GIB = 2**30
RESERVED = (0.75 * GIB, 0.06)
"""Bytes of a device's context, and the share lost to gaps and work space: our own allowance."""
_LOW = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_MEASURED = (1, 2, 4)  # samples per device


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Memory of one device in bytes, and operations, of one way to train.

    Attributes:
        precision: of the computation.
        checkpointing: whether blocks are recomputed in the backward pass.
        devices: that share weights, gradients and optimiser (FSDP2); 1 where each has all.
        weights: float32.
        gradients: float32, of what learns.
        optimiser: its running means, and the moving average where there is one.
        copies: low-precision copies of the weights; with FSDP2 blocks that are gathered.
        encoder: activations kept for the backward pass, per sample, up to the backbone's features
            (in pretraining: up to the decoder).
        heads: the same behind them, losses included.
        passing: what comes and goes besides, per sample, at the peak.
        peaks: bytes of activations, gradients and copies together at the peak, by samples.
        flops: operations per sample.
        parameters: count of all, and of those that learn.
    """

    precision: Precision
    checkpointing: bool
    devices: int
    weights: float
    gradients: float
    optimiser: float
    copies: float
    encoder: float
    heads: float
    passing: float
    peaks: Mapping[int, float]
    flops: Flops
    parameters: tuple[int, int]

    def total(self, batch: int) -> float:
        """Return the bytes one device needs at its peak, for ``batch`` samples on it."""
        standing = self.weights + self.optimiser
        if self.devices > 1:
            activations = batch * (self.encoder + self.heads + self.passing)
            needed = standing + self.gradients + self.copies + activations
        else:
            needed = standing + self._peak(batch)
        context, share = RESERVED
        return needed * (1 + share) + context

    def _peak(self, batch: int) -> float:
        """Gradients grow while activations go: the peak is a convex function of the samples."""
        sizes = sorted(self.peaks)
        if batch > sizes[-1]:
            last, before = self.peaks[sizes[-1]], self.peaks[sizes[-2]]
            slope = (last - before) / (sizes[-1] - sizes[-2])
            slope = max(slope, self.encoder + self.heads)
            return last + slope * (batch - sizes[-1])
        above = next(size for size in sizes if size >= batch)
        below = max(size for size in sizes if size <= batch)
        if above == below:
            return self.peaks[batch]
        share = (batch - below) / (above - below)
        return self.peaks[below] + share * (self.peaks[above] - self.peaks[below])

    def largest_batch(self, memory: float) -> int:
        """Return how many samples fit in ``memory`` bytes; 0 for none."""
        low, high = 0, 1
        while self.total(high) <= memory and high < 2**20:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.total(middle) <= memory else (low, middle)
        return low

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        names = (
            *("precision", "checkpointing", "devices", "weights", "gradients", "optimiser"),
            *("copies", "encoder", "heads", "passing"),
        )
        return {
            **{name: getattr(self, name) for name in names},
            "parameters": self.parameters[0],
            "trained_parameters": self.parameters[1],
            "flops_forward": dict(self.flops.parts),
            "flops_step": self.flops.step,
        }


def estimate(
    run: Run, *, precision: Precision | None = None, checkpointing: bool | None = None
) -> Estimate:
    """Estimate one device that trains alone, or as one of many that each hold everything.

    Args:
        run: what is trained.
        precision: instead of the run's.
        checkpointing: instead of the run's.

    Raises:
        InputError: a precision that does not exist.
    """
    precision = run.loop.precision if precision is None else precision
    if precision not in _LOW:
        raise InputError(f"precision {precision!r} · wanted fp32, bf16 or fp16")
    saving = run.loop.checkpointing if checkpointing is None else checkpointing
    network = _network(run)
    learns = sum(p.nbytes for p in network.parameters() if p.requires_grad)
    traces = {
        size: _trace(run, size, precision=precision, checkpointing=saving) for size in _MEASURED
    }
    first, second = traces[2], traces[4]
    encoder = (second.encoder - first.encoder) / 2
    kept = (second.kept - first.kept) / 2
    return Estimate(
        precision=precision,
        checkpointing=saving,
        devices=1,
        weights=sum(p.nbytes for p in network.parameters()),
        gradients=learns,
        optimiser=_means(network, run) + learns * (run.loop.ema is not None),
        copies=max(0.0, first.kept - 2 * kept),
        encoder=encoder,
        heads=kept - encoder,
        passing=max(0.0, (second.peak - first.peak) / 2 - kept),
        peaks={size: float(trace.peak) for size, trace in traces.items()},
        flops=_flops(run),
        parameters=(
            sum(p.numel() for p in network.parameters()),
            sum(p.numel() for p in network.parameters() if p.requires_grad),
        ),
    )


def _means(network: nn.Module, run: Run) -> int:
    """Return the bytes an optimiser keeps: two means for each number, of Muon's matrices one."""
    groups = parameter_groups(network, run.loop.optimiser)
    return sum(p.nbytes * (1 if g.get("matrix") else 2) for g in groups for p in g["params"])


def spread(run: Run, alone: Estimate, devices: int) -> Estimate:
    """Return the estimate for FSDP2 on so many devices, given that of one.

    Each holds its share of weights, gradients and optimiser; besides, in low precision, two blocks
    (the one at work and the next) and what belongs to no block, and two blocks' gradients on their
    way.
    """
    network = _network(run)
    model = network.encoder if isinstance(network, MAE) else network.backbone
    blocks = [sum(p.numel() for p in block.parameters()) for block in model.blocks]
    rest = alone.parameters[0] - sum(blocks)
    size = 4 if alone.precision == "fp32" else 2
    return replace(
        alone,
        devices=devices,
        weights=alone.weights / devices,
        gradients=alone.gradients / devices,
        optimiser=alone.optimiser / devices,
        copies=size * (2 * max(blocks) + rest) + 4 * (2 * max(blocks) + rest),
    )


@dataclass(frozen=True, kw_only=True)
class Option:
    """A way to train on a device, and how many samples it takes at once."""

    estimate: Estimate
    batch: int

    @property
    def words(self) -> str:
        """The flags of ``vitruvian train`` for it."""
        e = self.estimate
        saving = f"--set loop.checkpointing={str(e.checkpointing).lower()}"
        split = " --parallel fsdp" if e.devices > 1 else ""
        return f"--precision {e.precision} {saving} --per-device {self.batch}{split}"


def options(run: Run, memory: float, *, precision: Precision, devices: int = 1) -> list[Option]:
    """Return the ways to train with ``memory`` bytes on each of some devices, the best first.

    Best is, of those that fit, the one that recomputes nothing and shares nothing, as long as it
    holds 4 samples at once (or all that fall to a device): below that, larger batches keep a
    device busier than recomputing costs.

    Raises:
        InputError: no memory, or no device.
    """
    if memory <= 0 or devices < 1:
        raise InputError(f"{memory / GIB:g} GiB on {devices} devices · wanted more than none")
    found: list[Option] = []
    for checkpointing in (False, True):
        alone = estimate(run, precision=precision, checkpointing=checkpointing)
        whole = devices == 1 or run.loop.optimiser.kind == "muon"  # which FSDP2 would cut
        ways = [alone] if whole else [alone, spread(run, alone, devices)]
        found += [Option(estimate=way, batch=way.largest_batch(memory)) for way in ways]
    share = max(1, -(-run.batch // devices))
    enough = min(4, share)
    held = [replace(option, batch=min(option.batch, share)) for option in found]
    return sorted(
        held,
        key=lambda o: (
            -min(o.batch, enough), o.estimate.checkpointing, o.estimate.devices, -o.batch
        ),
    )  # fmt: skip


def _network(run: Run) -> Network | MAE:
    """Build the network of a run without memory, with what is frozen frozen."""
    if run.masked is not None:
        masked = run.masked
        return build(lambda: MAE(run.network.backbone, masked))
    network = build(lambda: Network(run.network))
    if run.frozen == "backbone":
        freeze_backbone(network)
    if run.lora is not None:
        lora = run.lora
        build(lambda: add_lora(network, lora) or network)
    return network


def _flops(run: Run) -> Flops:
    if run.masked is not None:
        return mae_flops(run.network.backbone, run.masked, run.size)
    frozen = run.frozen == "backbone"
    return network_flops(run.network, run.size, frozen=frozen, lora=run.lora)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Bytes alive besides weights and optimiser: behind the encoder, the losses, at the peak."""

    encoder: int
    kept: int
    peak: int


class Meter(TorchDispatchMode):
    """Adds up the memory of all tensors made inside the block, as long as they live."""

    def __init__(self, before: Iterable[Tensor]) -> None:
        """Leave out the tensors there are before."""
        super().__init__()
        self.live = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet(t.untyped_storage() for t in before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return made

    def _add(self, storage: Any) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        count = storage.nbytes()
        self.live += count
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, count)

    def _free(self, count: int) -> None:
        self.live -= count


def _trace(run: Run, batch: int, *, precision: Precision, checkpointing: bool) -> Trace:
    """Carry out the first step of a run with tensors without values."""
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]]
    shapes = {"image": (torch.uint8, (3, *run.size))}
    tasks = {asked.name: asked.task() for asked in run.tasks}
    for name, task in tasks.items():
        for key, value in blank_targets(task, run.size).items():
            shapes[f"{name}/{key}"] = (value.dtype, tuple(value.shape))
    network = _network(run)
    c = run.network.backbone
    if c.position == "rotary":
        # Tables are kept between calls: they must be there before, with values.
        grid = (run.size[0] // c.stride, run.size[1] // c.stride)
        dtype = getattr(torch, c.rotary_dtype)
        rotary_tables(grid, c.dim // c.heads, c.rotary_base, dtype, torch.device("cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        learning = {name for name, p in network.named_parameters() if p.requires_grad}
        weights = {name: torch.empty(t.shape) for name, t in network.state_dict().items()}
        network.load_state_dict(weights, assign=True)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in learning)
        made = {key: torch.zeros(batch, *s, dtype=d) for key, (d, s) in shapes.items()}
        made |= {"index": torch.zeros(batch).long(), "epoch": torch.zeros(batch).long()}
        objective = MaskedObjective() if run.masked is not None else TaskObjective(tasks)
        return trace_step(
            network, objective, made, low=_LOW[precision], checkpointing=checkpointing
        )


def trace_step(
    network: nn.Module,
    objective: TaskObjective | MaskedObjective,
    batch: Mapping[str, Tensor],
    *,
    low: torch.dtype | None = None,
    checkpointing: bool = False,
) -> Trace:
    """Carry out one step on the CPU and add up what is alive; weights and batch do not count."""
    for module in network.modules():
        if isinstance(getattr(module, "checkpointing", None), bool):
            module.checkpointing = checkpointing  # pyright: ignore[reportArgumentType]
    behind: list[int] = []
    meter = Meter([*network.state_dict().values(), *batch.values()])
    if isinstance(network, MAE):
        parts: list[nn.Module] = [network.decoder]
    else:
        assert isinstance(network, Network)
        parts = [network.neck] if network.neck is not None else list(network.heads.values())
    hooks = [
        part.register_forward_pre_hook(lambda *_: behind.append(meter.live))  # pyright: ignore
        for part in parts
    ]
    with meter:
        with torch.autocast("cpu", low, enabled=low is not None):
            losses = objective.losses(network, batch)
        total = torch.stack([loss.float() for loss in losses.values()]).sum()
        kept = meter.live
        total.backward()
    for hook in hooks:
        hook.remove()
    return Trace(encoder=behind[0], kept=kept, peak=meter.peak)

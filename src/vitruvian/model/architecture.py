# SPDX-License-Identifier: Apache-2.0
"""The configuration of a published network: from its tensors, its published size, or the caller.

What tensors cannot show (attention heads of the first generation, patch padding, precision of
rotary tables) comes from the published sizes and tasks or from the caller, never from a guess.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypedDict, Unpack, cast, get_args

from vitruvian.errors import InputError, WeightsError, unknown_name
from vitruvian.model.heads import DenseHeadConfig, HeadConfig, ScaleHeadConfig
from vitruvian.model.identify import Identity, vote
from vitruvian.model.mae import MAEConfig
from vitruvian.model.names import Shape
from vitruvian.model.network import NetworkConfig
from vitruvian.model.published import FIRST, SECOND, published_heads, published_patch_padding
from vitruvian.model.sizes import SIZES, ViTConfig
from vitruvian.model.window import WindowConfig


class Hints(TypedDict, total=False):
    """What a published file cannot show; published sizes need none of it.

    heads: attention heads, for a first-generation shape that was not published.
    patch_padding: zeros around the normalised picture, less than half a patch, in published files
        0 or 2 (first generation); by default what was published for the task.
    rotary_dtype: precision of rotary angles; by default bfloat16, as in the published code of the
        second generation (transformers computes in float32). The first has no rotary angles: there
        it is accepted and changes nothing, so that one set of hints serves both.
    grid: rows and columns of the position table, where it is neither 4:3 nor square; of the second
        generation, the nominal input in patches.
    """

    heads: int | None
    patch_padding: int | None
    rotary_dtype: Literal["bfloat16", "float32"] | None
    grid: tuple[int, int] | None


_ROTARY = get_args(get_args(Hints.__annotations__["rotary_dtype"])[0])


def check_hints(given: Mapping[str, Any]) -> Hints:
    """Return the hints that say something, without those that are None.

    Raises:
        UnknownNameError: no such hint, or no such precision.
        InputError: a value of the wrong type.
    """
    hints = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name not in Hints.__annotations__:
            raise unknown_name("hint", name, Hints.__annotations__)
        if name in ("heads", "patch_padding") and name in hints and not _whole(value):
            raise InputError(f"{name}={value!r} · wanted a whole number")
    grid, dtype = hints.get("grid"), hints.get("rotary_dtype")
    if grid is not None:
        pair = isinstance(grid, tuple | list) and len(grid) == 2
        if not pair or not all(_whole(n) and n > 0 for n in grid):
            raise InputError(f"grid={grid!r} · wanted (rows, columns) in patches, each 1 or more")
        hints["grid"] = tuple(grid)
    if dtype is not None and dtype not in _ROTARY:
        raise unknown_name("rotary_dtype", str(dtype), _ROTARY)
    return cast("Hints", hints)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def network_config(
    identity: Identity,
    *,
    where: str,
    **hints: Unpack[Hints],
) -> NetworkConfig:
    """Return the configuration of a published network.

    Args:
        identity: what its tensors show.
        where: the file's name for errors.
        **hints: what they do not show.

    Raises:
        WeightsError: something a file does not show is needed and not given, or what was given
            contradicts it.
    """
    first = identity.generation == 1
    heads, padding = hints.get("heads"), hints.get("patch_padding")
    rotary_dtype, grid = hints.get("rotary_dtype"), hints.get("grid")
    base = SIZES[identity.size] if identity.size else SIZES["0.3b" if first else "sapiens2-0.4b"]
    s = {n[9:]: v for n, v in identity.shapes.items() if n[:9] == "backbone."}
    prior = base.mlp_hidden if identity.size else None
    hidden = vote([prior, *(v[1] for n, v in s.items() if n.endswith("fc2.weight"))])
    fields: dict[str, Any] = {"dim": identity.dim, "depth": identity.depth, "mlp_hidden": hidden}
    fields["heads"] = _heads(identity, s, heads, where)
    if first:
        tables = (identity.shapes.get(f"{part}.pos_embed", ()) for part in ("backbone", "decoder"))
        count = vote([t[1] for t in tables if len(t) == 3], default=0) or None
        pretraining = identity.layout.decoder or (identity.task is None and count == 4097)
        fields["class_token"] = "class_token" in s or pretraining
        fields["grid"] = _grid(identity, count, fields["class_token"], grid, where)
    else:
        fields |= _second(identity, base, s, rotary_dtype, grid, where)
    if not first and padding:
        raise WeightsError(
            f"{where}: patch_padding={padding} given for {identity.sentence} · the second "
            "generation has none · leave it out"
        )
    if padding is None and first:
        padding = published_patch_padding(identity.task or "", "0.3b", identity.out)
    if padding is not None and not 0 <= 2 * padding < base.patch:
        raise InputError(
            f"{where}: patch_padding={padding} · wanted 0 to {(base.patch - 1) // 2}, less than "
            f"half of the patch of {base.patch} · published files have 0 or 2"
        )
    fields["patch_padding"] = padding or 0
    backbone = replace(base, **fields)
    return NetworkConfig(backbone=backbone, heads=_head_configs(identity, backbone))


def unseen(identity: Identity, config: NetworkConfig) -> dict[str, str]:
    """Return what the tensors do not show, with the value taken and why, for people to read."""
    c = config.backbone
    published = "of the published size" if identity.size else "given by the caller"
    if _TIMM_HEADS.get((c.dim, c.depth)) == c.heads and identity.layout.dialect == "timm":
        published = "usual for this width and depth"
    if identity.generation == 2:
        return {"rotary_dtype": f"{c.rotary_dtype} (published code computes angles in bfloat16)"}
    return {
        "attention heads": f"{c.heads} ({published})",
        "patch_padding": f"{c.patch_padding} (published files for this task have "
        f"{published_patch_padding(identity.task or '', '0.3b', identity.out)})",
    }


_TIMM_HEADS = {(192, 12): 3, (384, 12): 6, (768, 12): 12, (1024, 24): 16}
"""Width and depth → attention heads of tiny to large (arXiv 2010.11929, 2012.12877)."""


def _heads(identity: Identity, s: Mapping[str, Shape], given: int | None, where: str) -> int:
    seen: int | None = None
    if identity.generation == 2:
        widths = [v[0] for n, v in s.items() if n.endswith(("q_norm.weight", "k_norm.weight"))]
        seen = identity.dim // vote(widths, default=64)
    elif identity.size is not None and given is None:
        return SIZES[identity.size].heads
    elif identity.layout.dialect == "timm" and given is None:
        seen = _TIMM_HEADS.get((identity.dim, identity.depth))
    named = identity.config.get("num_attention_heads")
    for value, who in ((given, "heads"), (named, "num_attention_heads of config.json")):
        if value is not None and seen is not None and value != seen:
            raise WeightsError(
                f"{where}: {who}={value} · the norms of queries and keys show {seen} heads"
            )
    heads = given if seen is None else seen
    if heads is None:
        raise WeightsError(
            f"{where}: {identity.sentence} is no published size, and the tensors do not show the "
            "number of attention heads · pass heads=… (on the command line --heads)"
        )
    if heads < 1 or identity.dim % heads:
        raise WeightsError(f"{where}: heads={heads} · wanted a divisor of the width {identity.dim}")
    return heads


def _grid(
    identity: Identity,
    count: int | None,
    class_token: bool,
    given: tuple[int, int] | None,
    where: str,
) -> tuple[int, int]:
    """Return rows and columns of a learned table: as given, 4:3 as published, or square."""
    if count is None:
        return given or ((64, 64) if class_token else (64, 48))
    patches = count - class_token
    if given is not None:
        if math.prod(given) != patches:
            raise WeightsError(
                f"{where}: grid={given} is {math.prod(given)} patches · backbone.pos_embed has "
                f"{patches}"
            )
        return given
    k, side = math.isqrt(max(patches, 0) // 12), math.isqrt(max(patches, 0))
    if 12 * k * k == patches:
        return 4 * k, 3 * k
    if side * side == patches:
        return side, side
    raise WeightsError(
        f"{where}: pos_embed of {count} rows in {identity.sentence} fits no 4:3 or square grid · "
        "pass grid=(rows, columns) if it is another, else the file is damaged"
    )


def _second(
    identity: Identity,
    base: ViTConfig,
    s: Mapping[str, Shape],
    rotary_dtype: Literal["bfloat16", "float32"] | None,
    grid: tuple[int, int] | None,
    where: str,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"rotary_dtype": rotary_dtype or "bfloat16"}
    if identity.size is None:
        grouped = [
            int(n.split(".")[1])
            for n, v in s.items()
            if re.fullmatch(r"blocks\.\d+\.attn\.qkv\.bias", n) and v[0] < 3 * identity.dim
        ]
        fields["full_attention_ends"] = min(grouped) if grouped else None
        pooled = [int(n.split(".")[2]) for n in s if n.startswith("window.blocks.")]
        fields["window"] = WindowConfig(depth=1 + max(pooled)) if pooled else base.window
    fields |= _transformers_fields(identity.config, where)
    if grid is not None:
        fields["grid"] = grid
    return fields


# What the config of a transformers folder must say for our network to be the same one.
_HF_FIXED = {
    "patch_size": 16,
    "num_channels": 3,
    "hidden_act": "silu",
    "use_gated_mlp": True,
    "use_qk_norm": True,
    "rms_norm_eps": 1e-6,
    "query_bias": True,
    "key_bias": True,
    "value_bias": True,
    "proj_bias": True,
    "mlp_bias": True,
    "use_mask_token": False,
}


def _transformers_fields(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not config:
        return {}
    kind = config.get("model_type")
    if kind != "sapiens2":
        raise WeightsError(f"{where}: config.json of model_type {kind!r} · wanted 'sapiens2'")
    for name, wanted in _HF_FIXED.items():
        if config.get(name, wanted) != wanted:
            raise WeightsError(
                f"{where}: config.json says {name}={config[name]!r} · wanted {wanted!r}, as in all "
                "published Sapiens2 models"
            )
    fields: dict[str, Any] = {"rotary_base": float(config.get("rope_theta", 100.0))}
    if "num_register_tokens" in config:
        fields["registers"] = int(config["num_register_tokens"])
    size = config.get("image_size", 224)
    if isinstance(size, list | tuple) and len(size) == 2:
        fields["grid"] = (int(size[0]) // 16, int(size[1]) // 16)
    return fields


def _head_configs(identity: Identity, backbone: ViTConfig) -> dict[str, HeadConfig]:
    task = identity.task
    if task is None:
        return {}
    known = identity.size in FIRST + SECOND and not (
        task == "matting" and identity.size != "sapiens2-1b"
    )
    size = identity.size if known else ("0.3b" if identity.generation == 1 else "sapiens2-1b")
    assert size is not None
    s = {n.removeprefix("heads."): v for n, v in identity.shapes.items() if n[:6] == "heads."}
    result: dict[str, HeadConfig] = {}
    for name, head in published_heads(task, size, identity.out).items():
        own = {n[len(name) + 1 :]: v for n, v in s.items() if n.startswith(name + ".")}
        if isinstance(head, DenseHeadConfig):
            result[name] = _dense(head, own, identity.dim, known)
        else:
            result[name] = _scale(head, own, backbone, known)
    return result


def _dense(head: DenseHeadConfig, s: Mapping[str, Shape], dim: int, known: bool) -> DenseHeadConfig:
    """Read the widths of a published kind of head from its tensors."""
    shuffle = head.upsample == "shuffle"
    ups, refines = len(head.widths), len(head.refine)

    def at(name: str, axis: int, divide: int = 1) -> int | None:
        shape = s.get(name, ())
        return shape[axis] // divide if len(shape) > axis else None

    def width(k: int) -> int:
        own = (
            (at(f"up.{k}.weight", 0, 4), at(f"up.{k}.bias", 0, 4), at(f"up_norm.{k}.weight", 0))
            if shuffle
            else (at(f"up.{k}.weight", 1),)
        )
        behind = f"up.{k + 1}.weight" if k + 1 < ups else "refine.0.weight"
        axis = 1 if shuffle or k + 1 == ups else 0
        prior = head.widths[k] if known else None
        return vote([prior, *own, at(behind, axis)], default=head.widths[k])

    def refine(k: int) -> int:
        behind = f"refine.{k + 1}.weight" if k + 1 < refines else "predict.weight"
        own = (at(f"refine.{k}.{p}", 0) for p in ("weight", "bias"))
        norm = at(f"refine_norm.{k}.weight", 0)
        prior = head.refine[k] if known else None
        return vote([prior, *own, norm, at(behind, 1)], default=head.refine[k])

    return replace(
        head,
        in_dim=dim,
        widths=tuple(width(k) for k in range(ups)),
        refine=tuple(refine(k) for k in range(refines)),
    )


def _scale(
    head: ScaleHeadConfig, s: Mapping[str, Shape], backbone: ViTConfig, known: bool
) -> ScaleHeadConfig:
    def at(name: str, axis: int) -> int | None:
        shape = s.get(name, ())
        return shape[axis] if len(shape) > axis else None

    def width(kind: str, k: int, published: int, last: bool) -> int:
        own = [at(f"{kind}.{k}.{p}", 0) for p in ("weight", "bias")]
        behind = None if last and kind == "conv" else at(f"{kind}.{k + 1}.weight", 1)
        return vote([published if known else None, *own, behind], default=published)

    count = len(head.widths)
    widths = tuple(width("conv", k, w, k + 1 == count) for k, w in enumerate(head.widths))
    hidden = tuple(width("linear", k, w, False) for k, w in enumerate(head.hidden))
    return replace(head, in_dim=backbone.dim, widths=widths, hidden=hidden, grid=backbone.grid)


def decoder_config(
    identity: Identity, *, where: str, decoder_heads: int | None = None
) -> MAEConfig | None:
    """Return the configuration of a pretraining file's decoder; None for a file without.

    Raises:
        WeightsError: its width was not published and ``decoder_heads`` was not given.
    """
    if not identity.layout.decoder:
        return None
    s = {n[8:]: v for n, v in identity.shapes.items() if n[:8] == "decoder."}
    norms = (v[0] for n, v in s.items() if re.search(r"norm\d?\.", n))
    dim = vote(norms, default=512)
    blocks = [int(n.split(".")[1]) for n in s if n.startswith("blocks.")]
    if decoder_heads is None and dim != MAEConfig().decoder_dim:
        raise WeightsError(
            f"{where}: the decoder's width {dim} was not published, and the tensors do not show "
            "the number of its attention heads · pass decoder_heads=… (--decoder-heads)"
        )
    return MAEConfig(
        decoder_dim=dim,
        decoder_depth=1 + max(blocks, default=7),
        decoder_heads=decoder_heads or MAEConfig().decoder_heads,
    )

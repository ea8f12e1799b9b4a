# SPDX-License-Identifier: Apache-2.0
"""Published tensor names and ours, both ways; the only place that knows foreign names.

A table row pairs one of our names with the published one, or with several whose rows (first axis)
follow each other in ours: queries, keys and values become one ``qkv``. In a row ``{i}`` is a block
number, ``{p}`` is ``weight`` or ``bias``, and ``{3k+1}`` a container index that is that function of
our index ``k``. Sources: the published checkpoints and code of Sapiens and Sapiens2, transformers
5.23, and timm 1.0 for plain vision transformers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple

from torch import Tensor

Dialect = Literal["sapiens", "sapiens2", "transformers", "timm"]
Shape = tuple[int, ...]


class Row(NamedTuple):
    """One of our names and the published names whose rows it holds, in order."""

    ours: str
    published: tuple[str, ...]


class Piece(NamedTuple):
    """Rows ``begin`` to ``end`` of one of our tensors."""

    ours: str
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one kind of published file spells its names.

    Args:
        dialect: "sapiens" (first generation), "sapiens2", "transformers" (its own names), or "timm"
            (plain vision transformers of others, shaped like the first generation).
        prefixed: encoder names start with ``backbone.`` (``model.`` in transformers).
        task: of the head; None for an encoder without head.
        decoder: the decoder of masked pretraining is there too.
    """

    dialect: Dialect
    prefixed: bool = True
    task: str | None = None
    decoder: bool = False


def _rows(*pairs: tuple[str, str]) -> tuple[Row, ...]:
    """Build rows from (published, ours); several published names are separated by spaces."""
    return tuple(Row(ours, tuple(published.split())) for published, ours in pairs)


_V1_BLOCK = (
    ("{b}.ln1.{p}", "{o}.norm1.{p}"),
    ("{b}.attn.qkv.{p}", "{o}.attn.qkv.{p}"),
    ("{b}.attn.proj.{p}", "{o}.attn.proj.{p}"),
    ("{b}.ln2.{p}", "{o}.norm2.{p}"),
    ("{b}.ffn.layers.0.0.{p}", "{o}.mlp.fc1.{p}"),
    ("{b}.ffn.layers.1.{p}", "{o}.mlp.fc2.{p}"),
)
_V2_BLOCK = (
    ("{b}.ln1.weight", "{o}.norm1.weight"),
    ("{b}.attn.wq.{p} {b}.attn.wk.{p} {b}.attn.wv.{p}", "{o}.attn.qkv.{p}"),
    ("{b}.attn.q_norm.weight", "{o}.attn.q_norm.weight"),
    ("{b}.attn.k_norm.weight", "{o}.attn.k_norm.weight"),
    ("{b}.attn.proj.{p}", "{o}.attn.proj.{p}"),
    ("{b}.attn.gamma.weight", "{o}.attn.scale"),
    ("{b}.ln2.weight", "{o}.norm2.weight"),
    ("{b}.ffn.w12.{p}", "{o}.mlp.fc1.{p}"),
    ("{b}.ffn.w3.{p}", "{o}.mlp.fc2.{p}"),
)
_TIMM_BLOCK = (
    ("{b}.norm1.{p}", "{o}.norm1.{p}"),
    ("{b}.attn.qkv.{p}", "{o}.attn.qkv.{p}"),
    ("{b}.attn.proj.{p}", "{o}.attn.proj.{p}"),
    ("{b}.norm2.{p}", "{o}.norm2.{p}"),
    ("{b}.mlp.fc1.{p}", "{o}.mlp.fc1.{p}"),
    ("{b}.mlp.fc2.{p}", "{o}.mlp.fc2.{p}"),
)
_HF_BLOCK = (
    ("{b}.norm1.weight", "{o}.norm1.weight"),
    (
        "{b}.attention.q_proj.{p} {b}.attention.k_proj.{p} {b}.attention.v_proj.{p}",
        "{o}.attn.qkv.{p}",
    ),
    ("{b}.attention.q_norm.weight", "{o}.attn.q_norm.weight"),
    ("{b}.attention.k_norm.weight", "{o}.attn.k_norm.weight"),
    ("{b}.attention.o_proj.{p}", "{o}.attn.proj.{p}"),
    ("{b}.layer_scale1.lambda1", "{o}.attn.scale"),
    ("{b}.norm2.weight", "{o}.norm2.weight"),
    ("{b}.mlp.gate_proj.{p} {b}.mlp.up_proj.{p}", "{o}.mlp.fc1.{p}"),
    ("{b}.mlp.down_proj.{p}", "{o}.mlp.fc2.{p}"),
)


def _block(
    pairs: tuple[tuple[str, str], ...], published: str, ours: str
) -> tuple[tuple[str, str], ...]:
    return tuple((p.replace("{b}", published), o.replace("{o}", ours)) for p, o in pairs)


# Encoder names, without the prefix (published side) and without ``backbone.`` (our side).
_ENCODER: Mapping[Dialect, tuple[Row, ...]] = {
    "sapiens": _rows(
        ("cls_token", "class_token"),
        ("pos_embed", "pos_embed"),
        ("patch_embed.projection.{p}", "patch_embed.{p}"),
        *_block(_V1_BLOCK, "layers.{i}", "blocks.{i}"),
        ("ln1.{p}", "norm.{p}"),
    ),
    "sapiens2": _rows(
        ("cls_token", "class_token"),
        ("storage_tokens", "register_tokens"),
        ("patch_embed.projection.{p}", "patch_embed.{p}"),
        *_block(_V2_BLOCK, "blocks.{i}", "blocks.{i}"),
        ("ln1.weight", "norm.weight"),
        ("tokenizer.w_cls", "window.token"),
        ("tokenizer.local_pos_embed", "window.pos_embed"),
        *_block(_V2_BLOCK, "tokenizer.blocks.{i}", "window.blocks.{i}"),
    ),
    "transformers": _rows(
        ("embeddings.cls_token", "class_token"),
        ("embeddings.register_tokens", "register_tokens"),
        ("embeddings.patch_embeddings.{p}", "patch_embed.{p}"),
        *_block(_HF_BLOCK, "model.layer.{i}", "blocks.{i}"),
        ("norm.weight", "norm.weight"),
    ),
    "timm": _rows(
        ("cls_token", "class_token"),
        ("pos_embed", "pos_embed"),
        ("patch_embed.proj.{p}", "patch_embed.{p}"),
        *_block(_TIMM_BLOCK, "blocks.{i}", "blocks.{i}"),
        ("norm.{p}", "norm.{p}"),
    ),
}
_DECODER = _rows(  # first generation only
    ("mask_token", "mask_token"),
    ("decoder_pos_embed", "pos_embed"),
    ("decoder_embed.{p}", "embed.{p}"),
    *_block(_V1_BLOCK, "decoder_blocks.{i}", "blocks.{i}"),
    ("ln1.{p}", "norm.{p}"),
    ("decoder_pred.{p}", "predict.{p}"),
)
_DECONV = (("deconv_layers.{3k}.weight", "up.{k}.weight"),)
_REFINE = (("conv_layers.{3k}.{p}", "refine.{k}.{p}"),)
_SHUFFLE = (
    ("input_conv.0.{p}", "stem.{p}"),
    ("upsample_blocks.{k}.0.{p}", "up.{k}.{p}"),
    ("input_conv.1.norm.weight", "stem_norm.weight"),
    ("upsample_blocks.{k}.2.norm.weight", "up_norm.{k}.weight"),
    ("conv_layers.{3k+1}.norm.weight", "refine_norm.{k}.weight"),
)
_SCALE = (
    ("scale_conv_layers.{3k}.{p}", "conv.{k}.{p}"),
    ("scale_final_layer.{2k+1}.{p}", "linear.{k}.{p}"),
)
# Last layer of a head, by task. The first generation calls every dense one ``conv_seg``.
_V1_LAST = {
    "pose": "final_layer",
    "parts": "conv_seg",
    "depth": "conv_seg",
    "normals": "conv_seg",
}
_V2_LAST = {
    "pose": "conv_pose",
    "parts": "conv_seg",
    "normals": "conv_normal",
    "pointmap": "conv_pointmap",
    "albedo": "conv_albedo",
    "matting": "conv_matting",
}
_HF_HEAD = (
    ("decode_head.input_conv.convolution.{p}", "stem.{p}"),
    ("decode_head.upsample_layers.{k}.convolution.{p}", "up.{k}.{p}"),
    ("decode_head.conv_layers.{k}.convolution.{p}", "refine.{k}.{p}"),
    ("decode_head.predictor.{p}", "predict.{p}"),
)
_HF_SCALE = (
    ("scale_head.conv_layers.{k}.convolution.{p}", "conv.{k}.{p}"),
    ("scale_head.predictor.block1.layers.0.{p}", "linear.0.{p}"),
    ("scale_head.predictor.block2.layers.0.{p}", "linear.1.{p}"),
    ("scale_head.predictor.proj.{p}", "linear.2.{p}"),
)
TASKS: Mapping[Dialect, tuple[str, ...]] = {
    "sapiens": tuple(_V1_LAST),
    "sapiens2": tuple(_V2_LAST),
    "transformers": tuple(t for t in _V2_LAST if t != "albedo"),
    "timm": (),
}


@cache
def rows(layout: Layout) -> tuple[Row, ...]:
    """Return all rows of a layout, prefixes included."""
    outer = {"transformers": "model."}.get(layout.dialect, "backbone.")
    table = _prefixed(_ENCODER[layout.dialect], outer if layout.prefixed else "", "backbone.") + (
        _prefixed(_DECODER, "neck.", "decoder.") if layout.decoder else ()
    )
    if layout.task is None:
        return table
    own, scale = f"heads.{layout.task}.", f"heads.{layout.task}_scale."
    if layout.dialect == "transformers":
        return (
            table + _prefixed(_rows(*_HF_HEAD), "", own) + _prefixed(_rows(*_HF_SCALE), "", scale)
        )
    if layout.dialect == "sapiens":
        outer = "head." if layout.task == "pose" else "decode_head."
        last = ((f"{_V1_LAST[layout.task]}.{{p}}", "predict.{p}"),)
        return table + _prefixed(_rows(*_DECONV, *_REFINE, *last), outer, own)
    last = ((f"{_V2_LAST[layout.task]}.{{p}}", "predict.{p}"),)
    if layout.task in ("pose", "parts"):
        return table + _prefixed(_rows(*_DECONV, *_REFINE, *last), "decode_head.", own)
    return (
        table
        + _prefixed(_rows(*_SHUFFLE, *_REFINE, *last), "decode_head.", own)
        + (_prefixed(_rows(*_SCALE), "decode_head.", scale) if layout.task == "pointmap" else ())
    )


def ignored(layout: Layout, name: str) -> bool:
    """Tell whether a published name holds nothing to load.

    Rotary periods are always recomputed; the classifier of a plain ViT is no head of ours.
    """
    if layout.dialect == "timm":
        return name.startswith("head.")
    return layout.dialect != "sapiens" and name.rpartition("rope_embed.")[2] == "periods"


def our_shapes(layout: Layout, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of a published file under our names; unknown names are left out.

    Rows of joined tensors are added up, whether or not all of them are there.
    """
    found: dict[str, Shape] = {}
    for name, shape in shapes.items():
        ours = _translate(layout, name)
        if ours is None or not shape:
            continue
        before = found.get(ours)
        found[ours] = shape if before is None else (before[0] + shape[0], *shape[1:])
    return found


def published_pieces(layout: Layout, shapes: Mapping[str, Shape]) -> dict[str, Piece]:
    """Return for every published name which rows of which of our tensors it holds.

    Args:
        layout: how the file spells its names.
        shapes: all of our tensors' shapes (``backbone.…``, ``heads.…``, ``decoder.…``).
    """
    dim = shapes["backbone.norm.weight"][0]
    pieces: dict[str, Piece] = {}
    for ours, shape in shapes.items():
        names = _published(layout, ours)
        assert names, f"no published name for {ours} in {layout}"
        sizes = _split(shape[0], len(names), dim)
        begin = 0
        for name, size in zip(names, sizes, strict=True):
            pieces[name] = Piece(ours, begin, begin + size)
            begin += size
    return pieces


def to_published(layout: Layout, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our tensors under their published names, joined ones split again (as views).

    The inverse of loading, except that rotary periods (never stored by us) are not written.
    """
    pieces = published_pieces(layout, {n: tuple(t.shape) for n, t in tensors.items()})
    return {name: tensors[p.ours][p.begin : p.end] for name, p in pieces.items()}


def _split(total: int, parts: int, dim: int) -> list[int]:
    """Return how many rows each part of a joined tensor has: queries have ``dim`` of them."""
    if parts == 3:
        return [dim, (total - dim) // 2, (total - dim) // 2]
    return [total // parts] * parts


def _prefixed(table: Iterable[Row], published: str, ours: str) -> tuple[Row, ...]:
    return tuple(Row(ours + r.ours, tuple(published + p for p in r.published)) for r in table)


_FIELD = re.compile(r"\\{(\d*)([ikp])(?:\\\+(\d+))?\\}")


@cache
def _pattern(template: str) -> tuple[re.Pattern[str], tuple[tuple[int, int], ...]]:
    """Compile a template: a pattern, and (factor, offset) of each of its fields in order."""
    scales: list[tuple[int, int]] = []

    def group(match: re.Match[str]) -> str:
        scales.append((int(match[1] or 1), int(match[3] or 0)))
        return "(weight|bias)" if match[2] == "p" else r"(0|[1-9]\d*)"

    return re.compile(_FIELD.sub(group, re.escape(template))), tuple(scales)


def _fill(template: str, values: Iterable[str | int]) -> str:
    """Write values into the fields of a template, in order."""
    rest = iter(values)

    def text(match: re.Match[str]) -> str:
        value = next(rest)
        if isinstance(value, str):
            return value
        return str(value * int(match[1] or 1) + int(match[3] or 0))

    return re.sub(r"\{(\d*)([ikp])(?:\+(\d+))?\}", text, template)


def _values(template: str, name: str) -> list[str | int] | None:
    """Return the values of a template's fields in a name, or None when it does not fit."""
    pattern, scales = _pattern(template)
    match = pattern.fullmatch(name)
    if match is None:
        return None
    values: list[str | int] = []
    for text, (factor, offset) in zip(match.groups(), scales, strict=True):
        if not text.isdigit():
            values.append(text)
        elif (int(text) - offset) % factor or int(text) < offset:
            return None
        else:
            values.append((int(text) - offset) // factor)
    return values


def _translate(layout: Layout, name: str) -> str | None:
    for row in rows(layout):
        for published in row.published:
            values = _values(published, name)
            if values is not None:
                return _fill(row.ours, values)
    return None


def _published(layout: Layout, name: str) -> tuple[str, ...]:
    for row in rows(layout):
        values = _values(row.ours, name)
        if values is not None:
            return tuple(_fill(published, values) for published in row.published)
    return ()

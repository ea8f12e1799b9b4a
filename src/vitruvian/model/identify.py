# SPDX-License-Identifier: Apache-2.0
"""What a published file is: generation, size and task, read from tensor names and shapes.

Shapes vote: a width shows in several tensors, so one missing or wrong tensor does not mislead, and
the strict comparison afterwards names exactly that tensor.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vitruvian.errors import WeightsError
from vitruvian.model.names import Dialect, Layout, Shape, ignored, our_shapes
from vitruvian.model.published import FIRST
from vitruvian.model.sizes import SIZES

_BLOCKS: Mapping[Dialect, re.Pattern[str]] = {
    "sapiens": re.compile(r"(backbone\.)?layers\.\d+\.(?:ln\d|attn|ffn)\."),
    "sapiens2": re.compile(r"(backbone\.)?(?:tokenizer\.)?blocks\.\d+\.(?:ln\d|attn\.w|ffn)"),
    "transformers": re.compile(r"(model\.)?model\.layer\.\d+\."),
    "timm": re.compile(r"(backbone\.)?blocks\.\d+\.(?:norm\d|attn\.qkv|mlp)\."),
}
_TIMM_PATCHES = re.compile(r"(?:backbone\.)?patch_embed\.proj\.weight")  # ours lack the "proj"
_LAST = {
    "conv_pose": "pose",
    "conv_seg": "parts",
    "conv_normal": "normals",
    "conv_pointmap": "pointmap",
    "conv_albedo": "albedo",
    "conv_matting": "matting",
}
_HF_CLASSES = {
    "Sapiens2ForPoseEstimation": "pose",
    "Sapiens2ForSemanticSegmentation": "parts",
    "Sapiens2ForNormalEstimation": "normals",
    "Sapiens2ForPointmapEstimation": "pointmap",
    "Sapiens2ForImageMatting": "matting",
}
_OUT = {"pose": ("keypoint", "keypoints"), "parts": ("class", "classes")}
# Output counts that were published; they decide when a last layer's weight and bias disagree.
_COUNTS = (17, 133, 308, 28, 29, 20, 19, 1, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a published file is.

    Args:
        layout: how it spells its names; holds the task (None: an encoder).
        generation: 1 for Sapiens and plain vision transformers, 2 for Sapiens2.
        size: key of ``SIZES``, or None when the shape was not published.
        dim: width of a token.
        depth: number of blocks.
        out: channels of the head's result, or None.
        shapes: shapes under our names.
        config: the ``config.json`` of a transformers folder, or empty.
    """

    layout: Layout
    generation: Literal[1, 2]
    size: str | None
    dim: int
    depth: int
    out: int | None
    shapes: Mapping[str, Shape]
    config: Mapping[str, Any]

    @property
    def task(self) -> str | None:
        """The task of the head, None for an encoder."""
        return self.layout.task

    @property
    def label(self) -> str:
        """The size in words: ``0.3b``, or the width and depth of one that was not published."""
        if self.size is not None:
            return self.size.removeprefix("sapiens2-")
        return f"width {self.dim}, {self.depth} blocks"

    @property
    def sentence(self) -> str:
        """What the file is, in words: ``a Sapiens pose model (0.3b, 17 keypoints)``."""
        family = "Sapiens" if self.generation == 1 else "Sapiens2"
        if self.layout.dialect == "timm":
            family = "plain ViT"
        if self.task is not None:
            out = ""
            if self.task in _OUT:
                out = f", {self.out} {_OUT[self.task][self.out != 1]}"
            return f"a {family} {self.task} model ({self.label}{out})"
        facts = [self.label]
        if "backbone.class_token" in self.shapes:
            facts.append("class token")
        if len(table := self.shapes.get("backbone.pos_embed", ())) == 3:
            facts.append(f"{table[1]} positions")
        if self.layout.decoder:
            facts.append("with decoder")
        return f"a {family} pretraining encoder ({', '.join(facts)})"


def identify(
    shapes: Mapping[str, Shape], config: Mapping[str, Any] | None = None, *, where: str
) -> Identity:
    """Tell what a published file is from its tensor names and shapes.

    Args:
        shapes: published name → shape.
        config: the ``config.json`` beside it, where there is one.
        where: the file's name for errors.

    Raises:
        WeightsError: names of no published network, or a head without its last layer.
    """
    config = config or {}
    counts = {d: sum(bool(p.match(n)) for n in shapes) for d, p in _BLOCKS.items()}
    if not any(_TIMM_PATCHES.fullmatch(n) for n in shapes):
        counts["timm"] = 0
    dialect = max(_BLOCKS, key=lambda d: counts[d])
    if not counts[dialect]:
        if any(".mlp.fc1." in n for n in shapes):
            raise WeightsError(
                f"{where}: tensors of vitruvian without their card · wanted the metadata entry "
                "'vitruvian' too · keep the metadata when you copy tensors"
            )
        some = ", ".join(sorted(shapes)[:3]) or "none"
        raise WeightsError(
            f"{where}: {len(shapes)} tensors with names of no known network ({some}) · wanted a "
            "published Sapiens or Sapiens2 file, a plain ViT with timm's names, or one written by  "
            "vitruvian weights convert"
        )
    found = [m for n in shapes if (m := _BLOCKS[dialect].match(n))]
    layout = Layout(
        dialect=dialect,
        prefixed=sum(m[1] is not None for m in found) * 2 > len(found),
        task=_task(dialect, shapes, config, where),
        decoder=any(n.startswith("neck.") for n in shapes),
    )
    if dialect == "timm":
        _check_plain(layout, shapes, where)
    ours = our_shapes(layout, shapes)
    encoder = {n.removeprefix("backbone."): s for n, s in ours.items() if n[:9] == "backbone."}
    blocks = [int(n.split(".")[1]) for n in encoder if n.startswith("blocks.")]
    norms = [s[0] for n, s in encoder.items() if re.search(r"(norm\d?\.|proj\.bias$)", n)]
    norms += [s[0] for n, s in encoder.items() if n.endswith("fc2.bias")]
    dim, depth = vote(norms), 1 + max(blocks)
    return Identity(
        layout=layout,
        generation=1 if dialect in ("sapiens", "timm") else 2,
        size=_size(dialect, dim, depth, any(n.startswith("window.") for n in encoder)),
        dim=dim,
        depth=depth,
        out=_out(layout, ours),
        shapes=ours,
        config=config,
    )


def _task(
    dialect: Dialect, shapes: Mapping[str, Shape], config: Mapping[str, Any], where: str
) -> str | None:
    """Tell the task from the names of the head, and where they are shared from its shapes."""
    head = [n for n in shapes if n.startswith(("head.", "decode_head.", "scale_head."))]
    if not head or dialect == "timm":
        return None
    if dialect == "transformers":
        return _transformers_task(head, shapes, config, where)
    if dialect == "sapiens":
        if sum(n.startswith("head.") for n in head) * 2 > len(head):
            return "pose"
        last = [shapes[n] for n in head if n.startswith("decode_head.conv_seg.")]
        out = _outputs(last)
        ups, refines = (
            len({n.split(".")[2] for n in head if n.startswith(f"decode_head.{kind}.")})
            for kind in ("deconv_layers", "conv_layers")
        )
        # One output is depth unless the head has the three and three stages of segmentation.
        if out == 1 and (ups, refines) != (3, 3):
            return "depth"
        return "normals" if out == 3 else "parts"
    words = {n.split(".")[1] for n in head}
    tasks = [task for word, task in _LAST.items() if word in words]
    if len(tasks) != 1:
        raise WeightsError(
            f"{where}: a Sapiens2 head with {len(tasks)} last layers · wanted exactly one of "
            + ", ".join(f"decode_head.{w}" for w in _LAST)
        )
    return tasks[0]


def _transformers_task(
    head: list[str], shapes: Mapping[str, Shape], config: Mapping[str, Any], where: str
) -> str:
    for name in config.get("architectures") or ():
        if name in _HF_CLASSES:
            return _HF_CLASSES[name]
    out = vote([shapes[n][0] for n in head if "predictor." in n and n[:6] == "decode"], default=0)
    if any(n.startswith("scale_head.") for n in head):
        return "pointmap"
    known = {3: "normals", 4: "matting", 29: "parts", 308: "pose"}
    if out in known:
        return known[out]
    raise WeightsError(
        f"{where}: a transformers head with {out} outputs and no class named in config.json · "
        f"wanted architectures with one of {', '.join(_HF_CLASSES)}"
    )


def _out(layout: Layout, ours: Mapping[str, Shape]) -> int | None:
    if layout.task is None:
        return None
    last = [ours.get(f"heads.{layout.task}.predict.{p}") for p in ("weight", "bias")]
    return _outputs(s for s in last if s)


def _outputs(last: Iterable[Shape]) -> int:
    """Return the channels a last layer's weight and bias show."""
    found = [shape[0] for shape in last if shape]
    return vote([n for n in found if n in _COUNTS] or found)


def _check_plain(layout: Layout, shapes: Mapping[str, Shape], where: str) -> None:
    """Raise for a vision transformer with timm's names that computes something else than ours."""
    odd = [n for n in shapes if not ignored(layout, n) and not our_shapes(layout, {n: (1,)})]
    kinds = list(dict.fromkeys(re.sub(r"\.\d+\.", ".N.", n) for n in odd))
    patch = next(s[2:] for n, s in shapes.items() if _TIMM_PATCHES.fullmatch(n))
    found: list[str] = []
    if kinds:
        some = ", ".join(kinds[:4]) + (", …" if len(kinds) > 4 else "")
        found.append(f"tensors that have no place in ours ({some})")
    if patch != (16, 16):
        found.append(f"patches of {'×'.join(map(str, patch))} pixels")
    if found:
        raise WeightsError(
            f"{where}: a vision transformer with timm's names, but with {' and '.join(found)} · "
            "wanted a plain one: patches of 16×16, learned positions, a norm at the end, no layer "
            "scale, no registers, no decoder · for example vit_small_patch16_224.augreg_in21k"
        )


def _size(dialect: Dialect, dim: int, depth: int, window: bool) -> str | None:
    if dialect == "timm":  # one of a published shape is still somebody else's
        return None
    for name, config in SIZES.items():
        generation = name in FIRST if dialect == "sapiens" else name.startswith("sapiens2-")
        same = (config.dim, config.depth, config.window is not None) == (dim, depth, window)
        if generation and same:
            return name
    return None


def vote(values: Iterable[int | None], default: int = 1) -> int:
    """Return the most frequent value; among equals the first."""
    counts = Counter(v for v in values if v)
    return counts.most_common(1)[0][0] if counts else default

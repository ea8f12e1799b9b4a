# SPDX-License-Identifier: Apache-2.0
"""Hair: guide strands grown from the scalp under gravity, and many ribbons that follow them.

Everything is grown in the frame of the head at rest; gravity and the rest of the (dressed, posed)
body are brought there, so hair hangs down whatever the pose and lies on shoulders and backs. A cap
under the strands closes the view to the scalp. Label: Hair, also for beards longer than stubble.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from vitruvian.errors import unknown_name
from vitruvian.synth import noise
from vitruvian.synth.cut import cut
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.scalp import beard, ears, hat_line, scalp
from vitruvian.synth.shells import Obstacles, Part, Wearer, label, shell
from vitruvian.synth.surfaces import Hair

Floats = NDArray[np.floating]
STRANDS = (1800, 9000, 30000)
"""Strands of a full head of hair, by level of detail."""
_TRIANGLES = (30_000, 150_000, 700_000)  # at most, by level of detail: then fewer, wider strands
_WIDTHS = (0.0042, 0.0017, 0.0006)  # metres of a ribbon at its root, by level of detail


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a family of hair grows.

    Attributes:
        length: metres, of most strands.
        steps: segments of a guide.
        lift: how steeply strands leave the scalp, 0 along it, 1 upright.
        stiff: how much a strand keeps its direction, 0 … 1; the rest follows gravity.
        comb: direction that hair is combed in, at rest (x to the left, y up, z forwards).
        parted: whether hair falls to both sides of a parting instead.
        volume: metres that hair stands off the head.
        wave: metres of waves, with ``period`` metres between them.
        curl: metres of the radius of curls.
        period: metres of one wave or turn.
        clumps: strands that stick together per lock; 0 for none.
        tie: where strands are gathered: "", "high", "low", "bun", "sides".
        fringe: whether the front is cut above the eyes and combed forwards.
        fade: shortening towards the sides and the neck, 0 … 1.
    """

    length: float
    steps: int = 8
    lift: float = 0.4
    stiff: float = 0.7
    comb: tuple[float, float, float] = (0.0, -0.3, -1.0)
    parted: bool = False
    volume: float = 0.012
    wave: float = 0.0
    curl: float = 0.0
    period: float = 0.06
    clumps: int = 0
    tie: str = ""
    fringe: bool = False
    fade: float = 0.0


STYLES: Mapping[str, Style] = {
    "buzz": Style(length=0.008, steps=2, lift=0.95, stiff=1.0, volume=0.003),
    "short back": Style(length=0.05, steps=5, lift=0.5, comb=(0.0, 0.2, -1.0), fade=0.7),
    "short side": Style(length=0.06, steps=5, lift=0.45, comb=(1.0, -0.1, -0.2), fade=0.7),
    "short messy": Style(
        length=0.065, steps=5, lift=0.75, comb=(0.3, 0.0, 0.5), fade=0.5, wave=0.004, period=0.05,
        clumps=40,
    ),
    "crop fringe": Style(length=0.06, steps=5, lift=0.3, comb=(0.0, -0.3, 1.0), fade=0.6, fringe=True),
    "bob": Style(length=0.24, steps=10, lift=0.35, stiff=0.5, parted=True, volume=0.02, fringe=False),
    "bob fringe": Style(length=0.23, steps=10, lift=0.35, stiff=0.5, parted=True, volume=0.02, fringe=True),
    "long straight": Style(length=0.46, steps=12, lift=0.3, stiff=0.5, parted=True, volume=0.016),
    "long wavy": Style(
        length=0.44, steps=16, lift=0.4, stiff=0.5, parted=True, volume=0.022, wave=0.011, period=0.11,
        clumps=30,
    ),
    "curly": Style(
        length=0.22, steps=14, lift=0.5, stiff=0.6, parted=True, volume=0.03, curl=0.009, period=0.05,
        clumps=18,
    ),
    "short curly": Style(length=0.07, steps=8, lift=0.9, stiff=0.95, volume=0.02, curl=0.005, period=0.016),
    "afro": Style(length=0.085, steps=9, lift=1.0, stiff=1.0, volume=0.05, curl=0.004, period=0.011),
    "short afro": Style(length=0.028, steps=5, lift=1.0, stiff=1.0, volume=0.016, curl=0.003, period=0.009),
    "ponytail": Style(length=0.38, steps=16, lift=0.05, tie="high", volume=0.006),
    "low ponytail": Style(length=0.34, steps=16, lift=0.05, tie="low", volume=0.006, parted=True),
    "bun": Style(length=0.3, steps=18, lift=0.05, tie="bun", volume=0.006),
    "braids": Style(length=0.40, steps=18, lift=0.3, stiff=0.45, parted=True, volume=0.014, clumps=160,
                    curl=0.0035, period=0.022),
    "pigtails": Style(length=0.32, steps=18, lift=0.05, tie="sides", volume=0.006, curl=0.004, period=0.03),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HairChoice:
    """Someone's hair as chosen, JSON-able.

    Attributes:
        style: one of ``STYLES``, or "bald".
        colour: linear RGB.
        tip: brightness of tips against roots.
        length: times the style's.
        volume: times the style's.
        side: -1 … 1: where the parting is, and which side hair is combed to.
        receding: 0 … 1.
        balding: 0 … 1; from 0.5 on only a wreath is left.
        beard: "", "shadow" (painted), "full", "goatee", "moustache".
        beard_length: metres.
        beard_colour: linear RGB.
    """

    style: str = "short side"
    colour: tuple[float, float, float] = (0.03, 0.018, 0.01)
    tip: float = 1.2
    length: float = 1.0
    volume: float = 1.0
    side: float = 0.5
    receding: float = 0.0
    balding: float = 0.0
    beard: str = ""
    beard_length: float = 0.012
    beard_colour: tuple[float, float, float] = (0.03, 0.018, 0.01)

    def __post_init__(self) -> None:
        if self.style != "bald" and self.style not in STYLES:
            raise unknown_name("hair style", self.style, ("bald", *STYLES))
        if self.beard not in ("", "shadow", "full", "goatee", "moustache"):
            raise unknown_name("beard", self.beard, ("shadow", "full", "goatee", "moustache"))
        object.__setattr__(self, "colour", tuple(self.colour))
        object.__setattr__(self, "beard_colour", tuple(self.beard_colour))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Field:
    """What hair grows from and must stay out of, in the frame of the head at rest.

    Attributes:
        faces: of the head's skin.
        rest: (n, 3) its vertices.
        normals: (n, 3).
        canonical: (n, 3).
        obstacles: skin and clothes.
        down: (3,) gravity.
        transform: (3, 4) from here into the world.
    """

    faces: NDArray[np.int64]
    rest: NDArray[np.float64]
    normals: NDArray[np.float64]
    canonical: NDArray[np.float64]
    obstacles: Obstacles
    down: NDArray[np.float64]
    transform: NDArray[np.float64]

    @property
    def middle(self) -> NDArray[np.float64]:
        """(3,) the middle of this person's skull."""
        high = self.canonical[:, 1] > 1.70
        return self.rest[high].mean(axis=0)


def grow(wearer: Wearer, chosen: HairChoice, others: list[Part], *, hat: str = "") -> list[Part]:
    """Grow head hair and beard.

    Args:
        wearer: who.
        chosen: their hair.
        others: skin and clothes, which hair lies on.
        hat: the hat they wear, "" for none: it flattens hair, a headscarf leaves only the beard.
    """
    place = _field(wearer, others)
    rng = np.random.default_rng([wearer.seed, 71])
    parts: list[Part] = []
    if chosen.style != "bald" and hat != "headscarf":
        style = STYLES[chosen.style]
        volume = style.volume * chosen.volume
        if hat:
            volume = min(volume, 0.004)
            style = replace(style, lift=min(style.lift, 0.1), tie="low" if style.tie else "")
            if style.stiff > 0.9:
                style = replace(style, length=min(style.length, 0.012))
        style = replace(style, length=style.length * chosen.length, volume=volume)
        parts += _head_hair(wearer, place, chosen, style, rng, hat)
    if chosen.beard not in ("", "shadow"):
        parts.append(_beard(wearer, place, chosen, rng))
    return parts


def _field(wearer: Wearer, others: list[Part]) -> _Field:
    head = shell(("skin",), 1)
    which = (head.head[head.piece.faces].min(axis=1) > 0.75) & ~ears(head.piece)
    used, faces = np.unique(head.piece.faces[which], return_inverse=True)
    rest = (head.piece.operator @ wearer.rest)[used].astype(np.float64)
    faces = faces.reshape(-1, 3)
    transform = wearer.transform("head")
    turn, shift = transform[:, :3], transform[:, 3]
    points = np.concatenate([part.vertices for part in others]).astype(np.float64)
    outwards = np.concatenate([part.normals for part in others]).astype(np.float64)
    local = (points - shift) @ turn
    low = rest[:, 1].min()
    near = (np.abs(local[:, 0]) < 0.33) & (local[:, 1] > low - 0.6) & (np.abs(local[:, 2]) < 0.4)
    return _Field(
        faces=faces,
        rest=rest,
        normals=vertex_normals(rest, faces).astype(np.float64),
        canonical=head.canonical[used].astype(np.float64),
        obstacles=Obstacles(local[near], outwards[near] @ turn),
        down=-turn[1],
        transform=transform,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Roots:
    """Where strands begin: (n, 3) places, normals and canonical places, and (n,) metres inside."""

    place: NDArray[np.float64]
    normal: NDArray[np.float64]
    canonical: NDArray[np.float64]
    inside: NDArray[np.float64]


def _roots(place: _Field, inside: Floats, count: int, rng: np.random.Generator) -> _Roots:
    """Spread roots evenly over where ``inside`` (n,) is positive."""
    kept = cut(place.faces, inside)
    corners = kept.apply(place.canonical)[kept.faces]
    area = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    edges = np.cumsum(area)
    at = (np.arange(count) + rng.random(count)) / count * edges[-1]
    face = kept.faces[np.minimum(np.searchsorted(edges, at), len(area) - 1)]
    first, second = rng.random(count), rng.random(count)
    swap = first + second > 1
    first, second = np.where(swap, 1 - first, first), np.where(swap, 1 - second, second)
    weight = np.stack([1 - first - second, first, second], axis=1)[..., None]

    def mixed(values: Floats) -> NDArray[np.float64]:
        corner = kept.apply(values)[face]
        return (corner * (weight if values.ndim == 2 else weight[..., 0])).sum(axis=1)

    normal = mixed(place.normals)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return _Roots(
        place=mixed(place.rest),
        normal=normal,
        canonical=mixed(place.canonical),
        inside=mixed(inside),
    )


def _head_hair(
    wearer: Wearer,
    place: _Field,
    chosen: HairChoice,
    style: Style,
    rng: np.random.Generator,
    hat: str,
) -> list[Part]:
    ragged = noise.smooth(
        np.ascontiguousarray(place.canonical.T, np.float32), 110, seed=wearer.seed
    )
    inside = scalp(place.canonical, receding=chosen.receding, bald=chosen.balding)
    inside = inside + 0.006 * (ragged - 0.5)
    if hat:  # what grows farther up is pressed flat under it
        inside = np.minimum(inside, 0.03 - hat_line(hat, place.canonical))
    if not (inside > 0).any():
        return []
    detail = wearer.detail
    covered = np.clip((inside > 0).mean() / 0.35, 0.3, 1)
    count = int(STRANDS[detail] * covered * (0.6 if hat else 1))
    most = _TRIANGLES[detail] // (2 * max(_fineness(style) - 1, 1))
    wide = float(np.clip(np.sqrt(count / most), 1, 2))
    count = min(count, most)
    guides = _roots(place, inside, int((420, 700, 1100)[detail] * covered), rng)
    roots = _roots(place, inside, count, rng)
    paths = _tied(place, guides, style, chosen, rng) if style.tie else None
    if paths is None:
        paths = _grown(place, guides, style, chosen, rng)
    strands = _followed(place, roots, guides, paths, style, rng)
    surface = Hair(colour=chosen.colour, tip=chosen.tip, seed=wearer.seed % 1000)
    width = _WIDTHS[detail] * wide * (1.3 if style.clumps > 100 else 1.0)
    parts = [_ribbons(place, strands, roots.canonical, width, surface, "hair", rng)]
    under = replace(surface, colour=_darker(chosen.colour, 0.6), gloss=0.3)
    parts.append(_cap(place, inside, style, under, bool(hat)))
    return parts


def _darker(colour: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    return colour[0] * share, colour[1] * share, colour[2] * share


def _combed(roots: _Roots, style: Style, side: float, middle: Floats) -> NDArray[np.float64]:
    """Return the direction each root is combed in."""
    comb = np.array(style.comb, np.float64) * [np.sign(side) or 1.0, 1.0, 1.0]
    way = np.broadcast_to(comb, roots.place.shape).copy()
    if style.parted:
        across = roots.place[:, 0] - 0.035 * side
        # near the parting hair leaves it, elsewhere it falls
        sign = np.tanh(across / 0.01)
        way = np.stack([0.9 * sign, np.full_like(sign, -0.45), np.full_like(sign, -0.35)], axis=1)
        behind = roots.place[:, 2] < middle[2] - 0.02
        way[behind] += [0.0, -0.3, -0.4]
    if style.fringe:
        front = (roots.canonical[:, 2] > 0.085) & (np.abs(roots.canonical[:, 0]) < 0.055)
        way[front] = [0.15 * side, -0.35, 1.0]
    return way


def _lengths(
    roots: _Roots, style: Style, middle: Floats, rng: np.random.Generator
) -> NDArray[np.float64]:
    length = style.length * rng.uniform(0.8, 1.05, len(roots.place))
    if style.fade:
        height = np.clip((roots.canonical[:, 1] - 1.70) / 0.10, 0, 1)
        length *= 1 - style.fade * (1 - height) ** 0.7
    if style.fringe:
        front = (roots.canonical[:, 2] > 0.085) & (np.abs(roots.canonical[:, 0]) < 0.055)
        # down to the brows, measured along the forehead
        most = np.maximum(roots.canonical[:, 1] - 1.742, 0.02) + 0.5 * (
            0.15 - np.minimum(roots.canonical[:, 2], 0.15)
        )
        length = np.where(front, np.minimum(length, most), length)
    # hairlines thin out in short hairs
    return length * np.clip(0.45 + roots.inside / 0.012, 0.45, 1)


def _unit(vectors: Floats) -> NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _grown(
    place: _Field, roots: _Roots, style: Style, chosen: HairChoice, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (n, steps + 1, 3) guides grown step by step under gravity."""
    count, middle = len(roots.place), place.middle
    comb = _combed(roots, style, chosen.side, middle)
    along = comb - roots.normal * (comb * roots.normal).sum(axis=1, keepdims=True)
    lift = np.clip(style.lift + rng.normal(0, 0.06, count), 0.02, 1)[:, None]
    way = _unit(_unit(along) * (1 - lift) + roots.normal * lift + rng.normal(0, 0.05, (count, 3)))
    step = (_lengths(roots, style, middle, rng) / style.steps)[:, None]
    layer = style.volume * rng.uniform(0.15, 1, count)
    if style.stiff > 0.9:
        layer = layer * 0.0
    points = roots.place.copy()
    out: list[Floats] = [points.copy()]
    loosen = 1 - style.stiff
    for k in range(style.steps):
        share = (k + 1) / style.steps
        pull = loosen * (0.35 + 0.65 * share)
        if style.stiff <= 0.9:
            rise = np.clip(1 - share * 2.5, 0, 1)
            goal = _unit(place.down + _unit(along) * 0.6 * rise)
            way = _unit(way * (1 - pull) + goal * pull)
        moved = points + way * step
        clear = np.minimum(layer, style.length * share * 0.6) + 0.0015
        moved = place.obstacles.outside(moved, clear)
        if not style.fringe or style.length > 0.12:
            moved = _off_face(place, moved, roots, style, behind=abs(chosen.side) > 0.45)
        way = _unit(0.35 * way + 0.65 * _unit(moved - points))
        points = points + way * step if style.stiff > 0.9 else moved
        out.append(points.copy())
    return np.stack(out, axis=1)


def _off_face(
    place: _Field, points: Floats, roots: _Roots, style: Style, *, behind: bool
) -> Floats:
    """Move hair that would hang in front of the face to its side, or behind the ears."""
    if style.length < 0.1:
        return points
    middle = place.middle
    front = place.rest[:, 2].max()
    depth = front - points[:, 2]
    inside = (depth < 0.12) & (points[:, 1] < middle[1] + 0.035)
    fringe = (
        style.fringe & (roots.canonical[:, 2] > 0.085) & (np.abs(roots.canonical[:, 0]) < 0.055)
    )
    half = 0.060 + 0.32 * np.clip(depth - 0.02, 0, 0.1)
    half *= np.clip(1.3 - (points[:, 1] - middle[1]) / 0.1, 0.7, 1)
    sign = np.where(np.abs(points[:, 0]) > 0.004, np.sign(points[:, 0]), np.sign(roots.place[:, 0]))
    out = points.copy()
    moved = inside & ~fringe & (np.abs(points[:, 0]) < half)
    out[:, 0] = np.where(moved, sign * half, points[:, 0])
    if behind:
        back = np.where(inside & ~fringe & (points[:, 1] < middle[1] + 0.015), 0.128, 0)
        out[:, 2] = np.minimum(points[:, 2], front - back)
    return out


_TIES = {
    "high": ((0.0, 0.045, -0.115),),
    "low": ((0.0, -0.075, -0.105),),
    "bun": ((0.0, 0.035, -0.118),),
    "sides": ((0.075, -0.085, -0.055), (-0.075, -0.085, -0.055)),
}


def _tied(
    place: _Field, roots: _Roots, style: Style, chosen: HairChoice, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return guides that run along the head to a tie, and from there hang as a tail or a bun."""
    middle = place.middle
    knots = np.array(_TIES[style.tie]) + middle
    which = (
        (roots.place[:, 0] < 0).astype(int) if len(knots) == 2 else np.zeros(len(roots.place), int)
    )
    knot = knots[which]
    count = len(roots.place)
    to, since = 7, style.steps - 6
    out: list[Floats] = [roots.place]
    start, end = roots.place - middle, knot - middle
    size_start, size_end = (np.linalg.norm(v, axis=1, keepdims=True) for v in (start, end))
    angle = np.arccos(np.clip((_unit(start) * _unit(end)).sum(axis=1), -1, 1))[:, None]
    layer = style.volume * rng.uniform(0.3, 1.0, count)
    for k in range(1, to):
        t = k / (to - 1)
        sine = np.maximum(np.sin(angle), 1e-3)
        way = (np.sin((1 - t) * angle) * _unit(start) + np.sin(t * angle) * _unit(end)) / sine
        points = middle + way * ((1 - t) * size_start + t * size_end)
        if t < 1:
            points = place.obstacles.outside(points, layer + 0.0025)
        out.append(points)
    if style.tie == "bun":
        radius = 0.034 * np.clip(chosen.volume, 0.8, 1.3)
        back = _unit(knots[0] - middle)
        ball = knots[0] + back * radius * 0.75
        side = _unit(np.cross(back, [1.0, 0.2, 0.1]))
        other = np.cross(back, side)
        turn = rng.uniform(0, 2 * np.pi, count)[:, None]
        high = rng.uniform(-0.8, 0.9, count)[:, None]
        flat = np.sqrt(1 - high**2)
        size = radius * rng.uniform(0.92, 1.05, count)[:, None]
        for k in range(since):
            a = turn + k / since * 4.5
            spot = back * high + flat * (np.cos(a) * side + np.sin(a) * other)
            out.append(ball + size * spot)
        return np.stack(out, axis=1)
    disc = rng.normal(0, 1, (count, 3))
    size = 0.011 if len(knots) == 1 else 0.008
    tails = []
    length = style.length / since
    for number, tie in enumerate(knots):
        point = tie.copy()
        way = _unit(tie - middle) * 0.9
        tail = []
        for _ in range(since):
            way = _unit(0.62 * way + 0.38 * place.down)
            moved = place.obstacles.outside((point + way * length)[None], np.array([0.018]))[0]
            way = _unit(moved - point)
            point = point + way * length
            tail.append(point)
        tails.append(tail)
        del number
    ends = rng.uniform(0.75, 1.0, count)[:, None]
    for k in range(since):
        at = np.array([tail[k] for tail in tails])[which]
        shape = np.sin(np.pi * min((k + 0.8) / since, 1) * 0.85)
        previous = out[-1]
        goal = at + disc * size * (0.35 + shape)
        out.append(previous + (goal - previous) * np.where(ends > (k + 1) / since, 1.0, 0.15))
    return np.stack(out, axis=1)


def _followed(
    place: _Field,
    roots: _Roots,
    guides: _Roots,
    paths: Floats,
    style: Style,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return (n, steps, 3) strands that follow their nearest guides, wave, curl and clump."""
    count = len(roots.place)
    if style.clumps > 100:  # braids: few guides, followed closely
        chosen = KDTree(guides.place[: style.clumps]).query(roots.place, workers=1)[1]
        own = paths[chosen]
        v = np.linspace(0, 1, paths.shape[1])[None, :, None]
        offset = (roots.place - guides.place[chosen])[:, None]
        out = own + offset * np.clip(1 - 5 * v, 0, 1)
        return _turned(out, style, np.clip(4 * v[..., 0], 0, 1), rng, chosen)
    distance, near = KDTree(guides.place).query(roots.place, k=3, workers=1)
    # strands of one side of a parting or of a tie do not follow those of the other
    same = np.abs(paths[near, -1, 0] - paths[near[:, :1], -1, 0]) < 0.06 + 0.1 * (
        style.length < 0.1
    )
    weight = np.where(same, 1 / (distance + 1e-4), 0)
    weight /= weight.sum(axis=1, keepdims=True)
    out = np.zeros((count, paths.shape[1], 3))
    for k in range(3):
        relative = paths[near[:, k]] - guides.place[near[:, k], None]
        out += relative * weight[:, k, None, None]
    out += roots.place[:, None]
    v = np.linspace(0, 1, paths.shape[1])
    if style.tie:
        absolute = (paths[near] * weight[:, :, None, None]).sum(axis=1)
        blend = np.clip(v * 3, 0, 1)[None, :, None]
        out = out * (1 - blend) + absolute * blend
    if style.clumps:
        lock = KDTree(guides.place[:: max(style.clumps // 8, 1)]).query(roots.place, workers=1)[1]
        leader = paths[:: max(style.clumps // 8, 1)][lock]
        gather = (0.55 * v**1.3)[None, :, None]
        out = out * (1 - gather) + leader * gather
        return _turned(out, style, np.clip(3 * v, 0, 1)[None], rng, lock)
    return _turned(out, style, np.clip(3 * v, 0, 1)[None], rng, near[:, 0])


def _fineness(style: Style) -> int:
    """Return how many points a strand needs: six per turn of a curl."""
    if not (style.wave or style.curl):
        return style.steps + 1
    return min(max(int(np.ceil(style.length / style.period * 6)) + 1, style.steps + 1), 44)


def _turned(
    paths: Floats, style: Style, fade: Floats, rng: np.random.Generator, lock: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Add waves and curls around the paths; strands of one lock turn together."""
    count, steps = paths.shape[:2]
    loose = rng.normal(0, 1, (count, 1, 3)) * 0.0018 * np.linspace(0.2, 1, steps)[None, :, None]
    if not (style.wave or style.curl):
        return paths + loose * min(style.length / 0.1, 2.0)
    fine = _fineness(style)
    at = np.linspace(0, steps - 1, fine)
    low = np.minimum(at.astype(int), steps - 2)
    part = (at - low)[None, :, None]
    paths = paths[:, low] * (1 - part) + paths[:, low + 1] * part
    loose = loose[:, low] * (1 - part) + loose[:, low + 1] * part
    fade = np.broadcast_to(fade, (fade.shape[0], steps))
    fade = fade[:, low] * (1 - part[..., 0]) + fade[:, low + 1] * part[..., 0]
    way = _unit(np.gradient(paths, axis=1))
    first = _unit(np.cross(way, np.array([0.31, 0.17, 0.93])))
    second = np.cross(way, first)
    segment = np.linalg.norm(np.diff(paths, axis=1), axis=2)
    along = np.concatenate([np.zeros((count, 1)), np.cumsum(segment, axis=1)], axis=1)
    phases = np.random.default_rng(int(lock.max()) + 1).uniform(0, 2 * np.pi, int(lock.max()) + 1)
    spread = 0.9 if style.clumps and style.clumps <= 100 else 6.0
    third = rng.integers(0, 3, count) * (2 * np.pi / 3)
    own = third if style.clumps > 100 else rng.normal(0, spread * 0.3, count)
    turn = along / style.period * 2 * np.pi + (phases[lock] + own)[:, None]
    amount = style.curl * fade
    out = (
        paths
        + (amount * np.cos(turn))[..., None] * first
        + (amount * np.sin(turn))[..., None] * second
    )
    if style.wave:
        out = out + (style.wave * fade * np.sin(turn))[..., None] * first
    return out + loose


def _ribbons(
    place: _Field,
    strands: Floats,
    canonical: Floats,
    width: float,
    surface: Hair,
    name: str,
    rng: np.random.Generator,
) -> Part:
    """Turn (n, s, 3) strands into ribbons in the world."""
    count, steps = strands.shape[:2]
    way = _unit(np.gradient(strands, axis=1))
    outwards = _unit(strands - place.middle)
    side = _unit(np.cross(way, outwards) + rng.normal(0, 0.45, (count, 1, 3)))
    side = _unit(side - way * (side * way).sum(axis=2, keepdims=True))
    normal = np.cross(side, way)
    normal *= np.where((normal * outwards).sum(axis=2, keepdims=True) < 0, -1, 1)
    normal = _unit(normal + 0.8 * outwards)
    half = 0.5 * width * np.interp(np.linspace(0, 1, steps), [0, 0.15, 0.7, 1], [0.8, 1, 0.9, 0.15])
    edges = np.stack(
        [strands - side * half[None, :, None], strands + side * half[None, :, None]], 2
    )
    turn, shift = place.transform[:, :3], place.transform[:, 3]
    vertices = edges.reshape(-1, 3) @ turn.T + shift
    normals = np.repeat(normal.reshape(-1, 3), 2, axis=0) @ turn.T
    number = np.arange(count)[:, None, None] + np.array([0.0, 0.98])
    u = np.broadcast_to(number, (count, steps, 2))
    v = np.broadcast_to(np.linspace(0, 1, steps)[None, :, None], (count, steps, 2))
    row = (np.arange(count)[:, None] * steps + np.arange(steps - 1)).ravel() * 2
    faces = np.concatenate(
        [np.stack([row, row + 1, row + 2], axis=1), np.stack([row + 1, row + 3, row + 2], axis=1)]
    )
    return Part(
        vertices=vertices.astype(np.float32),
        faces=faces.astype(np.int32),
        normals=normals.astype(np.float32),
        canonical=np.repeat(canonical, steps * 2, axis=0).astype(np.float32),
        labels=np.full(len(faces), label("Hair"), np.uint8),
        surface=surface,
        uv=np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32),
        name=name,
    )


def _cap(place: _Field, inside: Floats, style: Style, surface: Hair, hat: bool) -> Part:
    """Make the layer under the strands that hides the scalp."""
    core = 0.0015
    if style.stiff > 0.9 and not hat:
        core = max(core, 0.62 * style.length * (style.length > 0.02))
    elif style.length > 0.03 and not hat:
        core = max(core, 0.35 * style.volume)
    # thinner towards the hairline
    height = core * np.clip(inside / (0.012 + 0.9 * core), 0, 1) ** 0.6
    points = place.rest + place.normals * height[:, None]
    if core > 0.01:
        bumps = noise.smooth(np.ascontiguousarray(place.canonical.T, np.float32), 55, seed=3)
        points = points + place.normals * ((bumps - 0.5) * 0.5 * height)[:, None]
    kept = cut(place.faces, inside - 0.002)
    vertices = kept.apply(points)
    offset = vertices - place.middle
    # combed lines from the crown downwards, as strands have
    crown = _unit(offset)
    u = np.arctan2(crown[:, 0], -crown[:, 2]) / (2 * np.pi) * 900
    v = np.arccos(np.clip(crown[:, 1], -1, 1)) / np.pi
    turn, shift = place.transform[:, :3], place.transform[:, 3]
    world = vertices @ turn.T + shift
    return Part(
        vertices=world.astype(np.float32),
        faces=kept.faces,
        normals=vertex_normals(world, kept.faces),
        canonical=kept.apply(place.canonical).astype(np.float32),
        labels=np.full(len(kept.faces), label("Hair"), np.uint8),
        surface=surface,
        uv=np.stack([u, v], axis=1).astype(np.float32),
        name="hair cap",
    )


def _beard(wearer: Wearer, place: _Field, chosen: HairChoice, rng: np.random.Generator) -> Part:
    """Grow a beard: short strands that bend downwards."""
    inside = beard(place.canonical, chosen.beard)
    count = int(
        STRANDS[wearer.detail] * {"full": 0.5, "goatee": 0.16, "moustache": 0.1}[chosen.beard]
    )
    roots = _roots(place, inside, count, rng)
    length = chosen.beard_length * rng.uniform(0.6, 1.1, count)
    length *= np.clip(0.3 + roots.inside / 0.008, 0.3, 1)
    if chosen.beard != "moustache":
        upper = roots.canonical[:, 1] > 1.65
        length = np.where(upper, np.minimum(length, 0.012), length)
    steps = 5
    apart = np.stack([np.sign(roots.place[:, 0]), np.zeros(count), np.zeros(count)], axis=1)
    lip = (roots.canonical[:, 1] > 1.652) & (np.abs(roots.canonical[:, 0]) < 0.035)
    goal = place.down + 0.9 * apart * lip[:, None] + 0.35 * roots.normal
    way = _unit(roots.normal * 0.7 + 0.5 * goal + rng.normal(0, 0.15, (count, 3)))
    points, out = roots.place.copy(), [roots.place]
    for _ in range(steps):
        way = _unit(0.7 * way + 0.3 * goal)
        points = points + way * (length / steps)[:, None]
        out.append(points)
    surface = Hair(colour=chosen.beard_colour, tip=1.1, seed=wearer.seed % 1000 + 1)
    width = _WIDTHS[wearer.detail] * 0.6
    return _ribbons(place, np.stack(out, axis=1), roots.canonical, width, surface, "beard", rng)

# SPDX-License-Identifier: Apache-2.0
"""Growing strands: a few hundred guides under gravity, and many strands that follow them.

Everything happens in the frame of the head at rest; gravity and the (dressed, posed) body that hair
lies on are brought there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitruvian.synth.cut import cut
from vitruvian.synth.hairstyles import HairChoice, Style
from vitruvian.synth.mesh import vertex_normals
from vitruvian.synth.scalp import ears
from vitruvian.synth.shells import Obstacles, Part, Wearer, nearest, shell

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
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
    rest: Floats
    normals: Floats
    canonical: Floats
    obstacles: Obstacles
    down: Floats
    transform: Floats

    @property
    def middle(self) -> Floats:
        """(3,) the middle of this person's skull."""
        high = self.canonical[:, 1] > 1.70
        return self.rest[high].mean(axis=0)


def head_of(wearer: Wearer, others: list[Part]) -> Head:
    """Bring someone's head, and what hair lies on, into the frame of the head at rest."""
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
    return Head(
        faces=faces,
        rest=rest,
        normals=vertex_normals(rest, faces).astype(np.float64),
        canonical=head.canonical[used].astype(np.float64),
        obstacles=Obstacles(local[near], outwards[near] @ turn),
        down=-turn[1],
        transform=transform,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Roots:
    """Where strands begin: (n, 3) places, normals and canonical places, and (n,) metres inside."""

    place: Floats
    normal: Floats
    canonical: Floats
    inside: Floats


def spread_roots(place: Head, inside: Floats, count: int, rng: np.random.Generator) -> Roots:
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

    def mixed(values: Floats) -> Floats:
        corner = kept.apply(values)[face]
        return (corner * (weight if values.ndim == 2 else weight[..., 0])).sum(axis=1)

    normal = mixed(place.normals)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return Roots(
        place=mixed(place.rest),
        normal=normal,
        canonical=mixed(place.canonical),
        inside=mixed(inside),
    )


def unit(vectors: Floats) -> Floats:
    """Return (…, 3) vectors of length 1; zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _combed(roots: Roots, style: Style, side: float, middle: Floats) -> Floats:
    """Return the direction each root is combed in."""
    comb = np.array(style.comb, np.float64) * [np.sign(side) or 1.0, 1.0, 1.0]
    way = np.broadcast_to(comb, roots.place.shape).copy()
    if style.parted:
        across = roots.place[:, 0] - 0.035 * side
        # near the parting hair leaves it, elsewhere it falls
        sign = np.tanh(across / 0.01)
        # the parting ends on the crown: behind it hair falls straight down
        before = np.clip((roots.place[:, 2] - middle[2] + 0.07) / 0.06, 0.1, 1)
        fall = np.full_like(sign, -0.45) - 0.3 * (before < 1)
        way = np.stack([0.7 * sign * before, fall, -0.35 - 0.4 * (before < 1)], axis=1)
    if style.fringe:
        front = (roots.canonical[:, 2] > 0.085) & (np.abs(roots.canonical[:, 0]) < 0.055)
        way[front] = [0.15 * side, -0.35, 1.0]
    return way


def _lengths(roots: Roots, style: Style, middle: Floats, rng: np.random.Generator) -> Floats:
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


def grown(
    place: Head, roots: Roots, style: Style, chosen: HairChoice, rng: np.random.Generator
) -> Floats:
    """Return (n, steps + 1, 3) guides grown step by step under gravity."""
    count, middle = len(roots.place), place.middle
    comb = _combed(roots, style, chosen.side, middle)
    along = comb - roots.normal * (comb * roots.normal).sum(axis=1, keepdims=True)
    lift = np.clip(style.lift + rng.normal(0, 0.06, count), 0.02, 1)[:, None]
    way = unit(unit(along) * (1 - lift) + roots.normal * lift + rng.normal(0, 0.05, (count, 3)))
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
            goal = unit(place.down + unit(along) * 0.45 * rise)
            way = unit(way * (1 - pull) + goal * pull)
        moved = points + way * step
        clear = np.minimum(layer, style.length * share * 0.6) + 0.0015
        clear = clear + share * (style.curl + 0.5 * style.wave)  # room for locks to turn in
        moved = place.obstacles.outside(moved, clear)
        if not style.fringe or style.length > 0.12:
            moved = _off_face(place, moved, roots, style, behind=abs(chosen.side) > 0.45)
        way = unit(0.35 * way + 0.65 * unit(moved - points))
        points = points + way * step if style.stiff > 0.9 else moved
        out.append(points.copy())
    return np.stack(out, axis=1)


def _off_face(place: Head, points: Floats, roots: Roots, style: Style, *, behind: bool) -> Floats:
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
        # little by little: a strand that leaps is a bar across the temple
        out[:, 2] = np.maximum(np.minimum(points[:, 2], front - back), points[:, 2] - 0.03)
    return out


_TIES = {
    "high": ((0.0, 0.045, -0.115),),
    "low": ((0.0, -0.075, -0.105),),
    "bun": ((0.0, 0.035, -0.118),),
    "sides": ((0.075, -0.085, -0.055), (-0.075, -0.085, -0.055)),
}


def tied(
    place: Head, roots: Roots, style: Style, chosen: HairChoice, rng: np.random.Generator
) -> Floats:
    """Return guides that run along the head to a tie, and from there hang as a tail or a bun."""
    middle = place.middle
    # ties lie on the head, whatever its shape
    knots = place.obstacles.onto(
        place.obstacles.outside(np.array(_TIES[style.tie]) + middle, 0.012),
        np.full(len(_TIES[style.tie]), 0.012),
        np.ones(len(_TIES[style.tie])),
    )
    which = (
        (roots.place[:, 0] < 0).astype(int) if len(knots) == 2 else np.zeros(len(roots.place), int)
    )
    knot = knots[which]
    count = len(roots.place)
    to, since = 7, style.steps - 6
    out: list[Floats] = [roots.place]
    start, end = roots.place - middle, knot - middle
    size_start, size_end = (np.linalg.norm(v, axis=1, keepdims=True) for v in (start, end))
    angle = np.arccos(np.clip((unit(start) * unit(end)).sum(axis=1), -1, 1))[:, None]
    layer = style.volume * rng.uniform(0.3, 1.0, count)
    for k in range(1, to):
        t = k / (to - 1)
        sine = np.maximum(np.sin(angle), 1e-3)
        way = (np.sin((1 - t) * angle) * unit(start) + np.sin(t * angle) * unit(end)) / sine
        points = middle + way * ((1 - t) * size_start + t * size_end)
        if t < 1:
            points = place.obstacles.outside(points, layer + 0.0025)
        out.append(points)
    if style.tie == "bun":
        radius = 0.034 * np.clip(chosen.volume, 0.8, 1.3)
        back = unit(knots[0] - middle)
        ball = knots[0] + back * radius * 0.8
        side = unit(np.cross(back, [1.0, 0.2, 0.1]))
        other = np.cross(back, side)
        turn = rng.uniform(0, 2 * np.pi, count)[:, None]
        high = rng.uniform(-0.8, 0.9, count)[:, None]
        flat = np.sqrt(1 - high**2)
        size = radius * rng.uniform(0.92, 1.05, count)[:, None]
        for k in range(since):
            a = turn + k / since * 4.5
            spot = back * high + flat * (np.cos(a) * side + np.sin(a) * other)
            out.append(place.obstacles.outside(ball + size * spot, 0.003))
        return np.stack(out, axis=1)
    disc = rng.normal(0, 1, (count, 3))
    size = 0.011 if len(knots) == 1 else 0.008
    tails = []
    length = style.length / since
    for tie in knots:
        point = tie.copy()
        way = unit(tie - middle) * 0.9
        tail = []
        for _ in range(since):
            way = unit(0.62 * way + 0.38 * place.down)
            moved = place.obstacles.outside((point + way * length)[None], np.array([0.018]))[0]
            way = unit(moved - point)
            point = point + way * length
            tail.append(point)
        tails.append(tail)
    ends = rng.uniform(0.75, 1.0, count)[:, None]
    for k in range(since):
        at = np.array([tail[k] for tail in tails])[which]
        shape = np.sin(np.pi * min((k + 0.8) / since, 1) * 0.85)
        previous = out[-1]
        goal = at + disc * size * (0.35 + shape)
        out.append(previous + (goal - previous) * np.where(ends > (k + 1) / since, 1.0, 0.15))
    return np.stack(out, axis=1)


def followed(
    place: Head,
    roots: Roots,
    guides: Roots,
    paths: Floats,
    style: Style,
    rng: np.random.Generator,
) -> Floats:
    """Return (n, steps, 3) strands that follow their nearest guides, wave, curl and clump."""
    count = len(roots.place)
    if style.clumps > 100:  # braids: few guides, followed closely
        chosen = nearest(guides.place[: style.clumps], roots.place)[1]
        own = paths[chosen]
        v = np.linspace(0, 1, paths.shape[1])[None, :, None]
        offset = (roots.place - guides.place[chosen])[:, None]
        out = own + offset * np.clip(1 - 5 * v, 0, 1)
        return _turned(out, style, np.clip(4 * v[..., 0], 0, 1), rng, chosen)
    distance, near = nearest(guides.place, roots.place, 3)
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
        lock = nearest(guides.place[:: max(style.clumps // 8, 1)], roots.place)[1]
        leader = paths[:: max(style.clumps // 8, 1)][lock]
        gather = (0.55 * v**1.3)[None, :, None]
        out = out * (1 - gather) + leader * gather
        return _turned(out, style, np.clip(3 * v, 0, 1)[None], rng, lock)
    return _turned(out, style, np.clip(3 * v, 0, 1)[None], rng, near[:, 0])


def fineness(style: Style) -> int:
    """Return how many points a strand needs: six per turn of a curl."""
    if not (style.wave or style.curl):
        return style.steps + 1
    return min(max(int(np.ceil(style.length / style.period * 6)) + 1, style.steps + 1), 44)


def _turned(
    paths: Floats, style: Style, fade: Floats, rng: np.random.Generator, lock: NDArray[np.integer]
) -> Floats:
    """Add waves and curls around the paths; strands of one lock turn together."""
    count, steps = paths.shape[:2]
    loose = rng.normal(0, 1, (count, 1, 3)) * 0.0018 * np.linspace(0.2, 1, steps)[None, :, None]
    if not (style.wave or style.curl):
        return paths + loose * min(style.length / 0.1, 2.0)
    fine = fineness(style)
    at = np.linspace(0, steps - 1, fine)
    low = np.minimum(at.astype(int), steps - 2)
    part = (at - low)[None, :, None]
    paths = paths[:, low] * (1 - part) + paths[:, low + 1] * part
    loose = loose[:, low] * (1 - part) + loose[:, low + 1] * part
    fade = np.broadcast_to(fade, (fade.shape[0], steps))
    fade = fade[:, low] * (1 - part[..., 0]) + fade[:, low + 1] * part[..., 0]
    way = unit(np.gradient(paths, axis=1))
    first = unit(np.cross(way, np.array([0.31, 0.17, 0.93])))
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

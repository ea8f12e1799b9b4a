# SPDX-License-Identifier: Apache-2.0
"""What people choose to wear: outfits, shoes and accessories that go together."""

from dataclasses import replace

import numpy as np

from vitruvian.synth.fabrics import Fabric, random_colour, random_fabric
from vitruvian.synth.garments import LOWEST, TOPS, Garment
from vitruvian.synth.patterns import as_colour
from vitruvian.synth.shoes import Shoes

# kind → shares among what men and women wear
_SHOES = {
    "sneakers": (0.4, 0.34),
    "high tops": (0.1, 0.06),
    "leather shoes": (0.18, 0.08),
    "boots": (0.12, 0.12),
    "tall boots": (0.0, 0.08),
    "pumps": (0.0, 0.2),
    "sandals": (0.1, 0.12),
}
_DENIM = ((0.012, 0.022, 0.06), (0.012, 0.012, 0.014), (0.35, 0.34, 0.31))
"""Unwashed denim, linear: blue, black, ecru."""
_SUITING = (
    (0.010, 0.010, 0.011),
    (0.008, 0.012, 0.032),
    (0.045, 0.045, 0.048),
    (0.05, 0.035, 0.02),
)
"""Cloth of suits and uniforms, linear: black, navy, charcoal, brown."""
_SOLES = {
    "sneakers": (0.75, 0.75, 0.73),
    "high tops": (0.75, 0.75, 0.73),
    "sandals": (0.06, 0.04, 0.03),
}


def _within(rng: np.random.Generator, *ranges: tuple[float, float, float]) -> float:
    """Draw a number from one of several ranges, each given as (share, low, high)."""
    share, low, high = np.transpose(ranges)
    which = int(rng.choice(len(ranges), p=share / share.sum()))
    return float(rng.uniform(low[which], high[which]))


def sample_outfit(
    rng: np.random.Generator, *, feminine: bool, child: bool = False
) -> tuple[tuple[Garment, ...], Shoes | None]:
    """Draw garments and shoes; torso and hips are always covered, children wear flat shoes."""
    garments: list[Garment] = []
    dressed = feminine and rng.random() < 0.18
    skirted = feminine and not dressed and rng.random() < 0.16
    waist = float(rng.uniform(1.03, 1.085))
    if dressed:
        garments.append(_dress(rng))
    else:
        garments.append(_top(rng, waist, skirted=skirted))
    if skirted:
        garments.append(
            Garment(
                kind="skirt",
                fabric=random_fabric(rng, calm=True),
                loose=float(rng.uniform(0.1, 0.9)),
                low=_within(rng, (0.5, 0.55, 1.1), (0.5, 1.2, 1.8)),
                high=1.09,
            )
        )
    if dressed or skirted:
        tights = rng.random() < 0.3
        colour = random_colour(rng, calm=True)
        garments.append(
            Garment(
                kind="leggings" if tights else "slip",
                low=2.1 if tights else 0.33,
                high=1.07,
                loose=0.0,
                fabric=Fabric(colours=(colour,)),
            )
        )
        bottom = 2.1 if tights else 0.33
    else:
        below = _bottom(rng, waist)
        garments.append(below)
        bottom = below.low
    if rng.random() < (0.34 if not dressed else 0.15):
        jacket = _jacket(rng)
        garments.append(jacket)
        if not dressed:  # no wide shirts under jackets
            garments[0] = replace(garments[0], low=max(garments[0].low, LOWEST))
            suited = jacket.fabric.stuff == "wool" and rng.random() < 0.5
            if suited and not skirted and garments[1].kind == "trousers":
                garments[1] = replace(garments[1], fabric=jacket.fabric)
    shoes, socks = _feet(rng, feminine=feminine and not child, bottom=bottom)
    if socks is not None:
        garments.append(socks)
    return tuple(garments), shoes


def _top(rng: np.random.Generator, waist: float, *, skirted: bool) -> Garment:
    kind = str(
        rng.choice(
            ["t-shirt", "long sleeve", "tank", "shirt", "sweater"], p=[0.38, 0.18, 0.09, 0.19, 0.16]
        )
    )
    tucked = skirted or (kind != "sweater" and rng.random() < 0.25)
    sleeve = {
        "t-shirt": rng.uniform(0.3, 0.75),
        "long sleeve": rng.uniform(1.8, 2.0),
        "tank": 0.0,
        "shirt": _within(rng, (1 / 3, 0.45, 0.7), (1 / 3, 1.2, 1.5), (1 / 3, 1.85, 2.0)),
        "sweater": rng.uniform(1.8, 2.02),
    }[kind]
    neck = {
        "t-shirt": rng.choice(["crew", "v", "scoop"], p=[0.65, 0.2, 0.15]),
        "long sleeve": rng.choice(["crew", "v", "turtle"], p=[0.7, 0.15, 0.15]),
        "tank": "scoop",
        "shirt": "collar",
        "sweater": rng.choice(["crew", "v", "turtle"], p=[0.6, 0.2, 0.2]),
    }[kind]
    stuff = {"sweater": str(rng.choice(["knit", "wool"])), "tank": "cotton"}.get(kind)
    low = _within(rng, (0.7, 0.93, waist - 0.05), (0.3, 0.82, 0.93))
    return Garment(
        kind=kind, fabric=random_fabric(rng, stuff), low=low, sleeve=float(sleeve), neck=str(neck),
        loose=float(rng.beta(1.6, 2)) if kind != "sweater" else float(rng.uniform(0.4, 1)),
        tucked=bool(tucked), detail=Fabric(colours=(random_colour(rng, calm=True),)),
    )  # fmt: skip


def _dress(rng: np.random.Generator) -> Garment:
    stuff = str(rng.choice(["cotton", "satin", "knit"]))
    return Garment(
        kind="dress",
        fabric=random_fabric(rng, stuff, plain=0.4),
        low=_within(rng, (0.5, 0.6, 1.1), (0.5, 1.2, 1.85)),
        sleeve=_within(rng, (0.35, 0.0, 0.0), (0.4, 0.2, 0.7), (0.25, 1.6, 2.0)),
        neck=str(rng.choice(["crew", "v", "scoop"])),
        loose=float(rng.uniform(0.05, 0.8)),
    )


def _bottom(rng: np.random.Generator, waist: float) -> Garment:
    kind = str(rng.choice(["jeans", "trousers", "shorts", "leggings"], p=[0.36, 0.34, 0.2, 0.1]))
    if kind == "jeans":
        pale = rng.random() ** 2  # dark denim is commoner than washed denim
        dye = np.array(_DENIM[int(rng.choice(3, p=[0.72, 0.2, 0.08]))])
        first = dye * (1 - pale) + (0.15 + 0.6 * dye) * pale
        colours = (as_colour(first), as_colour(first * 1.5 + 0.006))
        fabric = Fabric(
            stuff="denim", pattern="threads", colours=colours, seed=int(rng.integers(1 << 20))
        )
    elif kind == "leggings":
        fabric = random_fabric(rng, "cotton", calm=True, plain=0.8)
    else:
        fabric = random_fabric(rng, calm=True, plain=0.75)
    if kind == "shorts":
        low = float(rng.uniform(0.3, 1.05))
    else:
        low = _within(rng, (0.85, 1.88, 2.02), (0.15, 1.5, 1.85))
    loose = {"jeans": rng.beta(1.5, 2), "leggings": 0.0}.get(kind, rng.beta(2, 2))
    return Garment(kind=kind, fabric=fabric, low=low, high=waist, loose=float(loose))


def _jacket(rng: np.random.Generator) -> Garment:
    """Draw a jacket: of any kind, of dark cloth as for an office or a parade, or quilted."""
    chance = rng.random()
    if chance < 0.3:
        return _suit_jacket(rng)
    if chance < 0.55:
        return _quilted_jacket(rng)
    stuff = str(rng.choice(["cotton", "wool", "denim", "leather"], p=[0.4, 0.3, 0.15, 0.15]))
    detail = Fabric(colours=(random_colour(rng, calm=True),))
    fabric = random_fabric(rng, stuff, calm=True, plain=0.8)
    return Garment(
        kind="jacket",
        fabric=fabric,
        low=_within(rng, (0.5, 0.94, 1.0), (0.35, 0.82, 0.92), (0.15, 0.5, 0.75)),
        sleeve=float(rng.uniform(1.9, 2.03)),
        neck=str(rng.choice(["collar", "crew"])),
        loose=float(rng.uniform(0.35, 0.9)),
        open=bool(rng.random() < 0.55),
        detail=replace(detail, stuff="cotton"),
    )


def _suit_jacket(rng: np.random.Generator) -> Garment:
    dye = np.array(_SUITING[int(rng.choice(4, p=[0.35, 0.35, 0.2, 0.1]))]) * rng.uniform(0.5, 1.5)
    brass = (0.6, 0.42, 0.13) if rng.random() < 0.4 else as_colour(dye * 0.6)
    pattern = "pinstripes" if rng.random() < 0.12 else "plain"
    fabric = Fabric(
        stuff="wool", pattern=pattern, colours=(as_colour(dye), as_colour(dye * 2 + 0.02)),
        size=0.02, seed=int(rng.integers(1 << 20)),
    )  # fmt: skip
    return Garment(
        kind="jacket",
        fabric=fabric,
        low=_within(rng, (0.8, 0.82, 0.92), (0.2, 0.5, 0.75)),
        sleeve=float(rng.uniform(1.93, 2.0)),
        neck="collar",
        loose=float(rng.uniform(0.15, 0.6)),
        open=bool(rng.random() < 0.6),
        detail=Fabric(stuff="cotton", colours=(brass,)),
    )


def _quilted_jacket(rng: np.random.Generator) -> Garment:
    return Garment(
        kind="jacket",
        fabric=random_fabric(rng, "cotton", plain=0.9),
        low=_within(rng, (0.6, 0.94, 1.0), (0.3, 0.82, 0.92), (0.1, 0.5, 0.75)),
        sleeve=float(rng.uniform(1.93, 2.05)),
        neck=str(rng.choice(["collar", "crew", "turtle"])),
        loose=float(rng.uniform(0.2, 0.7)),
        open=bool(rng.random() < 0.25),
        padded=float(rng.uniform(0.012, 0.05)),
        detail=Fabric(colours=(random_colour(rng, calm=True),)),
    )


def _feet(
    rng: np.random.Generator, *, feminine: bool, bottom: float
) -> tuple[Shoes | None, Garment | None]:
    shoeless = rng.random()
    share = np.array([shares[feminine] for shares in _SHOES.values()])
    kind = str(rng.choice(list(_SHOES), p=share / share.sum()))
    sole = _SOLES.get(kind, (0.02, 0.018, 0.016))
    if rng.random() < 0.25:
        sole = random_colour(rng, calm=True)
    leather = kind not in ("sneakers", "high tops") or rng.random() < 0.3
    upper = random_fabric(rng, "leather" if leather else "cotton", calm=True, plain=0.8)
    laces = Fabric(colours=((0.8, 0.8, 0.78) if rng.random() < 0.5 else upper.colours[0],))
    shoes = Shoes(kind=kind, upper=upper, sole=Fabric(stuff="rubber", colours=(sole,)), laces=laces)
    # where socks begin: above the shaft of the shoes, often hidden by trousers
    worn = kind not in ("pumps", "sandals") and bottom < 2.05 and rng.random() < 0.75
    if shoeless < 0.12:
        shoes, worn = None, shoeless < 0.06 and bottom < 2.05
    socks = None
    if worn:
        start = _within(rng, (0.5, 1.84, 1.93), (0.35, 1.55, 1.75), (0.15, 1.15, 1.3))
        fabric = random_fabric(rng, "cotton", calm=True, plain=0.7)
        socks = Garment(kind="socks", fabric=fabric, low=start, loose=0.0)
    return shoes, socks


def sample_accessories(
    rng: np.random.Generator, outfit: tuple[Garment, ...], *, feminine: bool, child: bool
) -> dict[str, Fabric]:
    """Draw accessories that the outfit leaves room for: kind → what it is made of."""
    out: dict[str, Fabric] = {}

    def add(kind: str, chance: float, stuff: str | None = None) -> None:
        fabric = random_fabric(rng, stuff, calm=True, plain=0.7)
        if rng.random() < chance:
            out[kind] = fabric

    sleeve = max((one.sleeve for one in outfit if one.kind in (*TOPS, "dress")), default=0.0)
    tucked = any(one.tucked for one in outfit) and all(one.kind != "skirt" for one in outfit)
    jacket = any(one.kind == "jacket" for one in outfit)
    collar = any(one.neck in ("collar", "turtle") for one in outfit)
    add("glasses", 0.17 if not child else 0.08)
    if "glasses" not in out:
        add("sunglasses", 0.06)
    hat = rng.random()
    if hat < 0.17 + 0.05 * feminine:
        kinds = ["cap", "beanie", "hat", "headscarf"]
        share = [0.4, 0.28, 0.17, 0.15] if feminine else [0.55, 0.3, 0.15, 0.0]
        kind = str(rng.choice(kinds, p=share))
        out[kind] = random_fabric(rng, "knit" if kind == "beanie" else None, calm=True, plain=0.7)
    if sleeve < 1.6:
        add("watch", 0.2 if not child else 0.05, "leather" if rng.random() < 0.6 else "rubber")
        if "watch" not in out:
            add("bracelet", 0.22 if feminine else 0.06)
    if not collar and not jacket and "headscarf" not in out:
        add("necklace", 0.25 if feminine else 0.06)
        if "necklace" not in out:
            add("scarf", 0.05, "wool")
    if tucked:
        add("belt", 0.5, "leather")
    if not child and not jacket:
        add("backpack", 0.05, "cotton")
        if "backpack" not in out:
            add("shoulder bag", 0.07 if feminine else 0.03, "leather")
    return out

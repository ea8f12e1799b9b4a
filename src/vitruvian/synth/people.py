# SPDX-License-Identifier: Apache-2.0
"""One whole person: who they are, as a value that can be written down, and what that builds.

``sample_person`` draws a :class:`Person`; ``build_person`` makes meshes, surfaces and keypoints of
them, a pure function: the same person and detail give the same bytes. People are adults unless
children are asked for, and always dressed. They stand at the origin and look along +z; whatever
carries them, shoe soles included, is on y = 0.

Conventions of labels ("parts29"): skin by the bone that moves it, lips by the mask of the texture,
a dress and everything worn on the trunk is Upper_Clothing; eyes, lashes, brows, stubble and the
inside of the mouth are Face_Neck; head hair and beards of strands are Hair; hats, scarves, watches,
belts, bags and jewellery are Apparel; glasses with their lenses Eyeglass.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vitruvian.errors import InputError
from vitruvian.synth import accessories, shoes
from vitruvian.synth.bare import bare_skin, head_parts
from vitruvian.synth.body import Bodies, Phenotype, load_body, shape_bodies
from vitruvian.synth.complexion import (
    Complexion,
    sample_complexion,
    sample_hair,
    sample_hair_colour,
    skin_surface,
)
from vitruvian.synth.dressing import dress
from vitruvian.synth.expression import lids_for_gaze, sample_expression, sample_face_angles
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.families import sample_pose
from vitruvian.synth.garments import BOTTOMS, TOPS, WIDE, Garment, Reach
from vitruvian.synth.hair import grow
from vitruvian.synth.hairstyles import HairChoice
from vitruvian.synth.landmarks import landmarks
from vitruvian.synth.mesh import Mesh
from vitruvian.synth.phenotype import sample_changes, sample_phenotype
from vitruvian.synth.pose import Pose, PosedBody, apply_pose
from vitruvian.synth.shells import Part, Wearer
from vitruvian.synth.shoes import Shoes
from vitruvian.synth.surfaces import Surface
from vitruvian.synth.wardrobe import sample_accessories, sample_outfit

Ages = Literal["adult", "child", "all"]
_ADULT = 0.55  # age of the phenotype from which on people are adults
_FLOOR = 0.003  # metres that cloth and hair stay above the floor


@dataclass(frozen=True, kw_only=True)
class Person:
    """Everything that was chosen about a person, JSON-able.

    Attributes:
        seed: of folds, strands and textures.
        phenotype: sex, age, build, ancestry.
        changes: local changes of the body by name.
        expression: name of the face's expression.
        face: face units by name.
        gaze: angles of the face, for the pose.
        family: family of poses; drawn by their shares when ``None``.
        pose_seed: of the pose.
        complexion: colours of skin and eyes.
        hair: of head and chin.
        hair_colour: its name.
        garments: worn.
        shoes: worn, or ``None``.
        accessories: kind → what it is made of.
    """

    seed: int = 0
    phenotype: Phenotype = field(default_factory=Phenotype)
    changes: Mapping[str, float] = field(default_factory=dict[str, float])
    expression: str = "neutral"
    face: Mapping[str, float] = field(default_factory=dict[str, float])
    gaze: Mapping[str, float] = field(default_factory=dict[str, float])
    family: str | None = None
    pose_seed: int = 0
    complexion: Complexion = field(default_factory=Complexion)
    hair: HairChoice = field(default_factory=HairChoice)
    hair_colour: str = "black"
    garments: tuple[Garment, ...] = ()
    shoes: Shoes | None = None
    accessories: Mapping[str, Fabric] = field(default_factory=dict[str, Fabric])

    def __post_init__(self) -> None:
        kinds = {one.kind for one in self.garments}
        accessories.check(list(self.accessories))
        above = kinds & {*TOPS, "dress"} - {"jacket"}
        below = kinds & set(BOTTOMS)
        if not above or not below:
            raise InputError(
                f"a person wears {sorted(kinds)}: wanted at least a top or dress, and trousers, "
                "shorts, leggings or a slip"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; :meth:`from_dict` is the inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Person":
        """Read what :meth:`to_dict` gave, also after a way through JSON."""

        def fabric(entry: Mapping[str, Any]) -> Fabric:
            return Fabric(**entry)

        def garment(entry: Mapping[str, Any]) -> Garment:
            made = {"fabric": fabric(entry["fabric"]), "detail": fabric(entry["detail"])}
            return Garment(**{**entry, **made})

        own = dict(values)
        pair = own["shoes"]
        if pair is not None:
            made = {name: fabric(pair[name]) for name in ("upper", "sole", "laces")}
            pair = Shoes(**{**pair, **made})
        return cls(**{
            **own,
            "phenotype": Phenotype(**own["phenotype"]),
            "complexion": Complexion(**own["complexion"]),
            "hair": HairChoice(**own["hair"]),
            "garments": tuple(garment(entry) for entry in own["garments"]),
            "shoes": pair,
            "accessories": {name: fabric(entry) for name, entry in own["accessories"].items()},
        })  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class BuiltPerson:
    """A person ready for the stage.

    Attributes:
        meshes: one per part, at the origin, instance 1; faces name ``surfaces`` by index.
        surfaces: what light does there.
        parts: name of each mesh.
        landmarks: (308, 3) keypoints of "sapiens308"; their tolerances are ``landmark_table``'s.
        pose: the pose, moved as the person was (a seat is raised by the soles).
        posed: the bare body in it.
    """

    meshes: tuple[Mesh, ...]
    surfaces: tuple[Surface, ...]
    parts: tuple[str, ...]
    landmarks: NDArray[np.float32]
    pose: Pose
    posed: PosedBody


def rest_body(person: Person) -> Bodies:
    """Return a person's bare body at rest, with the face they make."""
    face = lids_for_gaze(person.face, person.gaze)
    return shape_bodies(load_body(), [person.phenotype], changes=[person.changes], face=[face])


def build_person(person: Person, *, detail: int = 1, pose: Pose | None = None) -> BuiltPerson:
    """Build a person.

    Args:
        person: who.
        detail: 0 for people a hundred pixels high, 1 usual, 2 for close views (fine hair).
        pose: instead of the person's own, such as one of a clip.

    Raises:
        InputError: for another level of detail.
    """
    if detail not in (0, 1, 2):
        raise InputError(f"detail is 0, 1 or 2, got {detail}")
    model = load_body()
    rest = rest_body(person)
    if pose is None:
        rng = np.random.default_rng([person.pose_seed, 5])
        pose, posed = sample_pose(model, rest, rng, family=person.family, face=person.gaze)
    else:
        posed = apply_pose(model, rest, pose)
    wearer = Wearer(
        rest=rest.vertices[0],
        heads=rest.heads[0],
        vertices=posed.vertices,
        transforms=posed.transforms,
        detail=detail,
        seed=person.seed,
    )
    parts = _dressed(wearer, person, pose.family)
    parts, lift = _grounded(parts, posed, lying=pose.support == "floor")
    shift = np.array([0.0, lift, 0.0])
    keypoints = landmarks(posed.vertices, posed.joints, levels=1) + shift.astype(np.float32)
    seat = pose.seat if pose.seat is None else replace(pose.seat, height=pose.seat.height + lift)
    surfaces, numbers = _numbered([part.surface for part in parts])
    moved = shift.astype(np.float32)
    transforms = posed.transforms.copy()
    transforms[..., 3] += moved
    return BuiltPerson(
        meshes=tuple(part.mesh(number) for part, number in zip(parts, numbers, strict=True)),
        surfaces=surfaces,
        parts=tuple(part.name for part in parts),
        landmarks=keypoints.astype(np.float32),
        pose=replace(pose, translation=pose.translation + shift, seat=seat),
        posed=PosedBody(
            vertices=posed.vertices + moved, joints=posed.joints + moved, transforms=transforms
        ),
    )


def _dressed(wearer: Wearer, person: Person, family: str) -> list[Part]:
    """Return skin, head, clothes, shoes and hair in the pose, not yet on the floor."""
    over: list[Reach] = []
    pair = person.shoes
    shaft = None
    wide = [g for g in person.garments if g.kind in BOTTOMS and g.loose >= WIDE]
    if pair is not None:
        over.append(lambda own: shoes.covered(pair, own))
        shaft = shoes.KINDS[pair.kind][0]
    hem = wide[0].low if wide else 0.0
    tucked = shaft is None or hem < shaft + 0.12  # trousers end above the boots, or go into them
    clothes, covers, fitted = dress(wearer, person.garments, over, boots=None if tucked else shaft)
    if pair is not None:
        clothes += shoes.wear(fitted, pair, None if tucked else hem)
    worn = dict(person.accessories)
    if family == "lie":  # nobody lies on a bag
        worn = {
            name: made
            for name, made in worn.items()
            if name not in ("backpack", "hat", "shoulder bag")
        }
    extras, veiled = accessories.wear(fitted, worn)
    hidden = [*covers, *((reach, 0.02) for reach in (*over, *veiled))]
    skin = bare_skin(wearer, hidden, skin_surface(person.complexion, person.hair, person.seed))
    head = head_parts(wearer, person.complexion, person.hair)
    hats = [name for name in worn if name in accessories.HATS]
    grown = grow(wearer, person.hair, [skin, *clothes], hat=hats[0] if hats else "")
    return [skin, *head, *clothes, *extras, *grown]


def _grounded(parts: list[Part], posed: PosedBody, *, lying: bool) -> tuple[list[Part], float]:
    """Lift everyone by their soles; keep cloth and hair above the floor.

    Soles do not carry who lies: they are pressed flat.
    """
    ground = float(posed.vertices[_skin_vertices(), 1].min())
    hard = min(float(part.vertices[:, 1].min()) for part in parts if not part.soft)
    lift = 0.0 if lying else max(ground - hard, 0.0)
    out = []
    for part in parts:
        vertices = part.vertices + np.array([0, lift, 0], np.float32)
        if part.soft or lying:
            lowest = (_FLOOR if part.soft else 0.0) + min(ground, 0.0)
            vertices[:, 1] = np.maximum(vertices[:, 1], lowest)
        out.append(replace(part, vertices=vertices))
    return out, lift


def _skin_vertices() -> NDArray[np.int64]:
    return load_body().group_vertices("skin")


def _numbered(given: list[Surface]) -> tuple[tuple[Surface, ...], list[int]]:
    """Return the surfaces without repetition, and the number of each one given."""
    seen: dict[int, int] = {}
    out: list[Surface] = []
    for surface in given:
        if id(surface) not in seen:
            seen[id(surface)] = len(out)
            out.append(surface)
    return tuple(out), [seen[id(surface)] for surface in given]


# ------------------------------------------------------------------------------------ sampling


def sample_person(
    rng: np.random.Generator, *, ages: Ages = "adult", family: str | None = None
) -> Person:
    """Draw a person: sexes, ages, builds, ancestries and skin tones evenly.

    Args:
        rng: the only source of chance.
        ages: "adult" (about 20 to 85 years), "child" (about 5 to 15), or "all": one in eight a
            child.
        family: of poses; drawn when ``None``.

    Raises:
        InputError: for another word for ages.
    """
    if ages not in ("adult", "child", "all"):
        raise InputError(f"ages are 'adult', 'child' or 'all', got {ages!r}")
    share = {"adult": 0.0, "child": 1.0, "all": 1 / 8}[ages]
    phenotype = sample_phenotype(rng, children=share)
    child, feminine = phenotype.age < _ADULT, phenotype.gender > 0.5
    complexion = sample_complexion(rng, feminine=feminine, child=child)
    expression, face = sample_expression(rng)
    gaze = sample_face_angles(rng, face)
    outfit, pair = sample_outfit(rng, feminine=feminine, child=child)
    name, colour, brows = sample_hair_colour(rng, complexion.melanin, phenotype.age)
    hair = sample_hair(rng, phenotype, colour, brows)
    return Person(
        seed=int(rng.integers(1 << 30)),
        phenotype=phenotype,
        changes=sample_changes(rng, load_body()),
        expression=expression,
        face=face,
        gaze=gaze,
        family=family,
        pose_seed=int(rng.integers(1 << 30)),
        complexion=complexion,
        hair=hair,
        hair_colour=name,
        garments=outfit,
        shoes=pair,
        accessories=sample_accessories(rng, outfit, feminine=feminine, child=child),
    )

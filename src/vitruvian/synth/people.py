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
from vitruvian.synth import accessories, garments, shoes
from vitruvian.synth.body import Bodies, Phenotype, load_body, shape_bodies
from vitruvian.synth.complexion import (
    Complexion,
    eye_surface,
    sample_complexion,
    sample_hair_colour,
    skin_surface,
)
from vitruvian.synth.cut import cut
from vitruvian.synth.expression import lids_for_gaze, sample_expression, sample_face_angles
from vitruvian.synth.fabrics import Fabric
from vitruvian.synth.families import sample_pose
from vitruvian.synth.garments import Garment, Reach
from vitruvian.synth.hair import HairChoice, grow
from vitruvian.synth.landmarks import landmark_table, landmarks
from vitruvian.synth.mesh import Mesh, vertex_normals
from vitruvian.synth.pose import Pose, PosedBody, apply_pose
from vitruvian.synth.shells import Part, Wearer, shell
from vitruvian.synth.shoes import Shoes
from vitruvian.synth.subdivide import Piece, piece
from vitruvian.synth.surfaces import Solid, Surface
from vitruvian.synth.wardrobe import sample_accessories, sample_outfit
from vitruvian.vocabulary import Vocabulary

Ages = Literal["adult", "child", "all"]
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
        above = kinds & {*garments.TOPS, "dress"} - {"jacket"}
        below = kinds & set(garments.BOTTOMS)
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
        vocabulary: "sapiens308".
        landmarks: (308, 3) keypoints.
        tolerance: (308,) metres something may lie before a keypoint that still counts as seen.
        joints: (J, 3) heads of the body's bones.
        pose: the pose, moved as the person was (a seat is raised by the soles).
        posed: the bare body in it.
        regions: framing → (N, 3) points a picture of that framing shows: "face", "upper", "full".
        front: (3,) unit direction the face looks along, level.
        parts: name of each mesh.
    """

    meshes: tuple[Mesh, ...]
    surfaces: tuple[Surface, ...]
    vocabulary: Vocabulary
    landmarks: NDArray[np.float32]
    tolerance: NDArray[np.float32]
    joints: NDArray[np.float32]
    pose: Pose
    posed: PosedBody
    regions: Mapping[str, NDArray[np.float32]]
    front: NDArray[np.float64]
    parts: tuple[str, ...]


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
    parts, lift = _grounded(parts, posed)
    shift = np.array([0.0, lift, 0.0])
    keypoints = landmarks(posed.vertices, posed.joints, levels=1) + shift.astype(np.float32)
    seat = pose.seat if pose.seat is None else replace(pose.seat, height=pose.seat.height + lift)
    surfaces, numbers = _numbered([part.surface for part in parts])
    moved = shift.astype(np.float32)
    transforms = posed.transforms.copy()
    transforms[..., 3] += moved
    cloud = np.concatenate([part.vertices for part in parts])
    return BuiltPerson(
        meshes=tuple(part.mesh(number) for part, number in zip(parts, numbers, strict=True)),
        surfaces=surfaces,
        vocabulary=landmark_table(1).vocabulary,
        landmarks=keypoints.astype(np.float32),
        tolerance=landmark_table(1).tolerance,
        joints=posed.joints + moved,
        pose=replace(pose, translation=pose.translation + shift, seat=seat),
        posed=PosedBody(
            vertices=posed.vertices + moved, joints=posed.joints + moved, transforms=transforms
        ),
        regions=_regions(wearer, parts, cloud, moved),
        front=_front(wearer),
        parts=tuple(part.name for part in parts),
    )


def _dressed(wearer: Wearer, person: Person, family: str) -> list[Part]:
    """Return skin, head, clothes, shoes and hair in the pose, not yet on the floor."""
    over: list[Reach] = []
    pair = person.shoes
    shaft = None
    wide = [g for g in person.garments if g.kind in garments.BOTTOMS and g.loose >= garments.WIDE]
    if pair is not None:
        over.append(lambda own: shoes.covered(pair, own))
        shaft = shoes.KINDS[pair.kind][0]
    hem = wide[0].low if wide else 0.0
    tucked = shaft is None or hem < shaft + 0.12  # trousers end above the boots, or go into them
    clothes, covers, fitted = garments.dress(
        wearer, person.garments, over, boots=None if tucked else shaft
    )
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
    bare = _skin(wearer, person, hidden)
    head = _head(wearer, person)
    hats = [name for name in worn if name in accessories.HATS]
    grown = grow(wearer, person.hair, [bare, *clothes], hat=hats[0] if hats else "")
    return [bare, *head, *clothes, *extras, *grown]


def _skin(wearer: Wearer, person: Person, hidden: list[tuple[Reach, float]]) -> Part:
    """Return the skin that clothes leave free, with a margin under their hems."""
    own = shell(("skin",), 1)
    keep = np.min([depth - np.min(reach(own), axis=0) for reach, depth in hidden], axis=0)
    vertices = wearer.skinned(own.piece.weights, own.piece.operator @ wearer.rest)
    normals = vertex_normals(vertices, own.piece.faces)
    kept = cut(own.piece.faces, keep)
    part = Part(
        vertices=kept.apply(vertices),
        faces=kept.faces,
        normals=kept.directions(normals),
        canonical=kept.apply(own.canonical),
        labels=own.piece.labels[kept.source],
        surface=skin_surface(person.complexion, person.hair, person.seed),
        name="skin",
        soft=False,
    )
    return _textured(part, own.piece, kept.source, kept.first, kept.second, kept.share)


def _textured(
    part: Part,
    own: Piece,
    source: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    share: NDArray[np.float32],
) -> Part:
    """Give a cut part its texture coordinates: vertices are doubled where the texture has seams."""
    corners = np.concatenate([own.faces[source], -np.ones((len(source), 1), np.int64)], axis=1)
    uv = own.uv[source]
    # of each new corner: the coordinates of its two old vertices within the old face
    a, b = first[part.faces], second[part.faces]
    found_a = (corners[:, None, :3] == a[:, :, None]).argmax(axis=2)
    found_b = (corners[:, None, :3] == b[:, :, None]).argmax(axis=2)
    row = np.arange(len(uv))[:, None]
    mixed = uv[row, found_a]
    mixed = mixed + (uv[row, found_b] - mixed) * share[part.faces][..., None]
    flat = np.rint(mixed.reshape(-1, 2) * 65535).astype(np.int64)
    key = (part.faces.reshape(-1).astype(np.int64) << 34) | (flat[:, 0] << 17) | flat[:, 1]
    _, where, back = np.unique(key, return_index=True, return_inverse=True)
    vertex = part.faces.reshape(-1)[where]
    return replace(
        part,
        vertices=part.vertices[vertex],
        normals=part.normals[vertex],
        canonical=part.canonical[vertex],
        faces=back.reshape(-1, 3).astype(np.int32),
        uv=mixed.reshape(-1, 2)[where],
    )


_WHITE, _GUM = (0.78, 0.74, 0.66), (0.42, 0.13, 0.12)


def _head(wearer: Wearer, person: Person) -> list[Part]:
    """Return eyes, lashes, teeth and tongue."""
    own, seed = person.complexion, person.seed
    lash = tuple(0.4 * c for c in person.hair.beard_colour)
    surfaces: list[tuple[tuple[str, ...], int, Surface]] = [
        (("left_eye",), 1, eye_surface(own, "left", seed)),
        (("right_eye",), 1, eye_surface(own, "right", seed)),
        (("upper_teeth", "lower_teeth"), 1, Solid(colour=_WHITE, roughness=0.2, mottle=0.05)),
        (("tongue",), 1, Solid(colour=_GUM, roughness=0.3, grain=0.5)),
        (
            ("left_upper_lashes", "right_upper_lashes"),
            0,
            Solid(colour=(lash[0], lash[1], lash[2]), roughness=0.5),
        ),
    ]
    parts: list[Part] = []
    for groups, levels, surface in surfaces:
        made = piece(groups, levels)
        vertices = wearer.skinned(made.weights, made.operator @ wearer.rest)
        parts.append(
            Part(
                vertices=vertices,
                faces=made.faces,
                normals=vertex_normals(vertices, made.faces),
                canonical=made.canonical,
                labels=made.labels,
                surface=surface,
                name=groups[0],
                soft=False,
            )
        )
    return parts


def _grounded(parts: list[Part], posed: PosedBody) -> tuple[list[Part], float]:
    """Lift everyone by their soles; keep cloth and hair above the floor."""
    ground = float(posed.vertices[_skin_vertices(), 1].min())
    hard = min(float(part.vertices[:, 1].min()) for part in parts if not part.soft)
    lift = max(ground - hard, 0.0)
    # cloth between the body and the floor carries too, when somebody lies or sits on the ground
    out = []
    for part in parts:
        vertices = part.vertices + np.array([0, lift, 0], np.float32)
        if part.soft:
            vertices[:, 1] = np.maximum(vertices[:, 1], _FLOOR + min(ground, 0.0))
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


def _regions(
    wearer: Wearer, parts: list[Part], cloud: NDArray[np.float32], moved: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return the points that pictures of a face, an upper body or all of a person show."""
    model = load_body()
    canonical = model.canonical.vertices[0]
    skin = _skin_vertices()
    places = canonical[skin]
    vertices = wearer.vertices[skin] + moved
    face = (places[:, 1] > 1.57) & (np.abs(places[:, 0]) < 0.12)
    upper = (places[:, 1] > 1.0) & (np.abs(places[:, 0]) < 0.28)
    del parts
    return {"face": vertices[face], "upper": vertices[upper], "full": cloud[::7]}


def _front(wearer: Wearer) -> NDArray[np.float64]:
    way = wearer.transform("spine01")[:, :3] @ np.array([0.0, 0.0, 1.0])
    way[1] = 0.0
    length = np.linalg.norm(way)
    return way / length if length > 0.2 else np.array([0.0, 0.0, 1.0])


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
    child = ages == "child" or (ages == "all" and rng.random() < 1 / 8)
    feminine = bool(rng.random() < 0.5)
    complexion = sample_complexion(rng, feminine=feminine)
    phenotype = _phenotype(rng, feminine=feminine, child=child, melanin=complexion.melanin)
    expression, face = sample_expression(rng)
    gaze = sample_face_angles(rng, face)
    outfit, pair = sample_outfit(rng, feminine=feminine)
    name, colour, brows = sample_hair_colour(rng, complexion.melanin, phenotype.age)
    hair = _hair(rng, phenotype, colour, brows, feminine=feminine, child=child)
    return Person(
        seed=int(rng.integers(1 << 30)),
        phenotype=phenotype,
        changes=_changes(rng),
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


def _phenotype(
    rng: np.random.Generator, *, feminine: bool, child: bool, melanin: float
) -> Phenotype:
    # ancestry goes with skin tone loosely: every face occurs with many tones
    dark = np.clip((melanin - 0.35) / 0.3, 0, 1)
    alpha = np.array([0.25 + 2.2 * dark, 0.7, 0.25 + 1.6 * (1 - dark)])
    african, asian, caucasian = (float(v) for v in rng.dirichlet(alpha) + 1e-3)
    age = rng.uniform(0.15, 0.42) if child else 0.6 + 0.37 * rng.beta(1.1, 1.7)
    return Phenotype(
        gender=float(rng.uniform(0.88, 1) if feminine else rng.uniform(0, 0.12)),
        age=float(age),
        muscle=float(rng.beta(2.5, 2.5)),
        weight=float(np.clip(rng.normal(0.5, 0.19), 0.05, 1)),
        height=float(np.clip(rng.normal(0.5, 0.16), 0.05, 0.95)),
        proportions=float(rng.uniform(0.2, 0.8)),
        cupsize=float(rng.uniform(0.2, 0.75)),
        firmness=float(rng.uniform(0.3, 0.8)),
        african=min(african, 1.0),
        asian=min(asian, 1.0),
        caucasian=min(caucasian, 1.0),
    )


_FACIAL = ("nose", "chin", "cheek", "mouth", "ear", "forehead", "eye-", "head", "eyebrows")


def _changes(rng: np.random.Generator) -> dict[str, float]:
    """Draw small local changes, of the face above all; the same on both sides."""
    out = {}
    for name in load_body().changes:
        plain = name.removeprefix("left-")
        if name.startswith("right-") or not plain.startswith(_FACIAL):
            continue
        if rng.random() < 0.3:
            out[plain] = float(np.clip(rng.normal(0, 0.25), -0.6, 0.6))
    return out


def _hair(
    rng: np.random.Generator,
    phenotype: Phenotype,
    colour: tuple[float, float, float],
    brows: tuple[float, float, float],
    *,
    feminine: bool,
    child: bool,
) -> HairChoice:
    masculine = {
        "bald": 0.06, "buzz": 0.15, "short back": 0.15, "short side": 0.22, "short messy": 0.15,
        "crop fringe": 0.09, "short curly": 0.06, "long straight": 0.02, "long wavy": 0.02,
        "low ponytail": 0.015, "bun": 0.015, "curly": 0.02,
    }  # fmt: skip
    female = {
        "bald": 0.005, "buzz": 0.015, "short side": 0.05, "short messy": 0.05, "bob": 0.11,
        "bob fringe": 0.09, "long straight": 0.16, "long wavy": 0.15, "curly": 0.1,
        "ponytail": 0.08, "low ponytail": 0.05, "bun": 0.08, "pigtails": 0.025,
    }  # fmt: skip
    curly = {"afro": 0.35, "short afro": 0.35, "braids": 0.3 if feminine else 0.1}
    table = dict(female if feminine else masculine)
    for name, share in curly.items():
        table[name] = table.get(name, 0) + share * (0.05 + 0.75 * phenotype.african)
    names = list(table)
    shares = np.array([table[name] for name in names])
    old = float(np.clip((phenotype.age - 0.68) / 0.25, 0, 1)) if not feminine else 0.0
    beard = ""
    if not feminine and not child:
        kinds = ["", "shadow", "full", "goatee", "moustache"]
        beard = str(rng.choice(kinds, p=[0.48, 0.2, 0.2, 0.07, 0.05]))
    bald = rng.uniform(0.5, 1) if rng.random() < 0.35 * old else 0.0
    return HairChoice(
        style=str(rng.choice(names, p=shares / shares.sum())),
        colour=colour,
        tip=float(rng.uniform(0.95, 1.5)),
        length=float(rng.uniform(0.75, 1.3)),
        volume=float(rng.uniform(0.6, 1.4)),
        side=float(rng.choice([-1, 1]) * rng.uniform(0.2, 1)),
        receding=float(rng.uniform(0, 0.9) * old),
        balding=float(bald),
        beard=beard,
        beard_length=float(np.exp(rng.uniform(np.log(0.005), np.log(0.05)))),
        beard_colour=brows,
    )

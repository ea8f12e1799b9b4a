# SPDX-License-Identifier: Apache-2.0
"""Small heads on embeddings, trained from rows that a person judged.

A probe is a logistic regression, fitted by Newton's method with an L2 penalty. Its quality is
measured on pictures it was not fitted to, by cross-validation, and stored with it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vitruvian.curate.embeddings import Embedding
from vitruvian.curate.people import model_identity
from vitruvian.curate.raw import read_raw_index
from vitruvian.curate.records import read_columns, read_record_note
from vitruvian.curate.stage import fingerprint
from vitruvian.curate.tree import ShardRef, Tree
from vitruvian.errors import InputError
from vitruvian.files import write_bytes

_STEPS = 50
_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """How good a probe is, on pictures it was not fitted to.

    Attributes:
        rows: judged pictures with an embedding.
        positive: how many of them are marked.
        accuracy: share told right at a score of a half.
        area: under the ROC curve: how often a marked one scores above an unmarked one.
        precision: of those scored above a half, the share that is marked; ``None`` for none.
        recall: of those marked, the share scored above a half.
    """

    rows: int
    positive: int
    accuracy: float
    area: float
    precision: float | None
    recall: float


def embeddings_of(
    tree: Tree, embedding: Embedding, uids: Mapping[bytes, bool]
) -> tuple[_Floats, NDArray[np.bool_], list[bytes]]:
    """Return (N, D) vectors, labels and uids of the judged pictures that have an embedding.

    It may have been scored as a cascade: pictures that its gates kept out are left out here.
    """
    vectors: list[_Floats] = []
    labels: list[bool] = []
    found: list[bytes] = []
    for shard in tree.shards():
        index = read_raw_index(shard, ["uid"])
        rows = np.flatnonzero([uid in uids for uid in index["uid"].to_pylist()])
        path = _record(tree, embedding, shard) if len(rows) else None
        if path is None:
            continue
        table = read_columns(path, ["vector"]).take(pa.array(rows))
        for uid, vector in zip(
            index["uid"].take(pa.array(rows)).to_pylist(), table["vector"].to_pylist(), strict=True
        ):
            if vector is not None:
                vectors.append(np.asarray(vector, np.float64))
                labels.append(bool(uids[uid]))
                found.append(uid)
    return np.array(vectors), np.array(labels, bool), found


def _record(tree: Tree, embedding: Embedding, shard: ShardRef) -> Path | None:
    """Return the record of an embedding, with or without gates before it."""
    same = json.loads(json.dumps(dict(embedding.identity())))
    folder = tree.root / "records" / embedding.name
    marks = {path.name for path in folder.glob("*")} - {fingerprint(embedding)}
    for mark in (fingerprint(embedding), *sorted(marks)):
        path = tree.record(embedding.name, mark, shard)
        note = read_record_note(path)
        if note and {k: v for k, v in note["identity"].items() if k != "cascade"} == same:
            return path
    return None


def fit_logistic(
    vectors: _Floats, labels: NDArray[np.bool_], penalty: float = 1.0
) -> tuple[_Floats, float]:
    """Return weight (D,) and bias that minimise the log loss + penalty · |weight|² / 2.

    Classes count equally, however many rows each has.
    """
    rows = np.column_stack([vectors, np.ones(len(vectors))])
    share = labels.mean()
    counts = np.where(labels, 0.5 / max(share, 1e-9), 0.5 / max(1 - share, 1e-9))
    ridge = np.full(rows.shape[1], penalty)
    ridge[-1] = 1e-6  # the bias is free
    weight = np.zeros(rows.shape[1])
    for _ in range(_STEPS):
        odds = 1 / (1 + np.exp(-np.clip(rows @ weight, -30, 30)))
        gradient = rows.T @ (counts * (odds - labels)) + ridge * weight
        curvature = (rows.T * (counts * odds * (1 - odds))) @ rows + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        weight -= step
        if np.abs(step).max() < 1e-8:
            break
    return weight[:-1], float(weight[-1])


def fit_probe(
    tree: Tree,
    embedding: Embedding,
    labels: Mapping[bytes, bool],
    path: Path,
    *,
    name: str,
    folds: int = 5,
    penalty: float = 0.1,
) -> ProbeReport:
    """Train a probe and write it.

    Args:
        tree: the curation the judged pictures are in.
        embedding: whose records exist.
        labels: uid → whether the picture is what the probe is to find.
        path: .safetensors file to write.
        name: of what it finds, such as "watermark"; letters, digits and _.
        folds: of the cross-validation.
        penalty: on the weights.

    Raises:
        InputError: if there are too few judged pictures of either kind.
    """
    from safetensors.numpy import save

    if not name.replace("_", "").isalnum():
        raise InputError(f"a probe is called by letters, digits and _, got {name!r}")
    vectors, marked, _ = embeddings_of(tree, embedding, labels)
    fewest = min(int(marked.sum()), int((~marked).sum())) if len(marked) else 0
    if fewest < folds:
        raise InputError(
            f"{len(marked)} of {len(labels)} judged pictures have an embedding, {fewest} of the "
            f"rarer kind: wanted at least {folds} of each; judge more, or score the embedding first"
        )
    order = np.random.default_rng(0).permutation(len(marked))
    order = order[np.argsort(marked[order], kind="stable")]  # both kinds in every fold
    scores = np.zeros(len(marked))
    for fold in range(folds):
        held = order[fold::folds]
        rest = np.setdiff1d(order, held)
        weight, bias = fit_logistic(vectors[rest], marked[rest], penalty)
        scores[held] = vectors[held] @ weight + bias
    report = _quality(scores, marked)
    weight, bias = fit_logistic(vectors, marked, penalty)
    note = {
        "format": "vitruvian probe 1",
        "name": name,
        "model": model_identity(embedding.model),
        "quality": asdict(report),
    }
    arrays = {"weight": weight.astype(np.float32), "bias": np.array(bias, np.float32)}
    write_bytes(path, save(arrays, {"vitruvian": json.dumps(note, sort_keys=True)}))
    return report


def _quality(scores: _Floats, marked: NDArray[np.bool_]) -> ProbeReport:
    said = scores > 0
    above = scores[marked][:, None] - scores[~marked][None, :]
    return ProbeReport(
        rows=len(marked),
        positive=int(marked.sum()),
        accuracy=float((said == marked).mean()),
        area=float((above > 0).mean() + 0.5 * (above == 0).mean()),
        precision=float(marked[said].mean()) if said.any() else None,
        recall=float(said[marked].mean()),
    )

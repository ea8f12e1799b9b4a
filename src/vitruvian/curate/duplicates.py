# SPDX-License-Identifier: Apache-2.0
"""The same picture twice: equal files, near hashes, near embeddings; and too much of one kind."""

import numpy as np
from numpy.typing import NDArray

_REACH = 24  # neighbours in a sorted run that a hash is compared with
_BANDS = 4  # of 16 bits
_Flags = NDArray[np.bool_]
_Floats = NDArray[np.float32]


def equal_files(uids: NDArray[np.uint64]) -> _Flags:
    """Return which rows to keep of equal ones: the first of each.

    Args:
        uids: (N, 2), the two halves of each uid.
    """
    order = np.lexsort((np.arange(len(uids)), uids[:, 1], uids[:, 0]))
    same = (uids[order][1:] == uids[order][:-1]).all(axis=1)
    keep = np.ones(len(uids), bool)
    keep[order[1:][same]] = False
    return keep


def near_hashes(hashes: NDArray[np.uint64], bits: int, rank: NDArray[np.int64]) -> _Flags:
    """Return which rows to keep when hashes that differ in at most ``bits`` are the same picture.

    Every pair up to 2 bits apart is compared: of four bands of 16 bits, two are then equal, so
    six sorts bring them together. Of pairs further apart some are missed.

    Args:
        hashes: (N,) perceptual hashes.
        bits: most bits apart.
        rank: (N,) distinct numbers, the lowest of a group stays.
    """
    keep = np.zeros(len(hashes), bool)
    if not len(hashes):
        return keep
    # of equal hashes one stands for all, however many there are
    order = np.lexsort((rank, hashes))
    first = np.ones(len(order), bool)
    first[1:] = hashes[order][1:] != hashes[order][:-1]
    some = order[first]
    ones, others = _near_pairs(hashes[some], bits)
    keep[some] = best_of_pairs(len(some), ones, others, rank[some])
    return keep


def _near_pairs(
    hashes: NDArray[np.uint64], bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    found: list[NDArray[np.int64]] = []
    bands = [(hashes >> np.uint64(16 * n)) & np.uint64(0xFFFF) for n in range(_BANDS)]
    for a in range(_BANDS):
        for b in range(a + 1, _BANDS):
            key = (bands[a] << np.uint64(16)) | bands[b]
            order = np.lexsort((hashes, key))
            sorted_key, sorted_hash = key[order], hashes[order]
            for step in range(1, min(_REACH, len(order) - 1) + 1):
                together = np.flatnonzero(sorted_key[step:] == sorted_key[:-step])
                if not len(together):
                    break
                apart = sorted_hash[together] ^ sorted_hash[together + step]
                close = together[np.bitwise_count(apart) <= bits]
                found.append(np.column_stack([order[close], order[close + step]]))
    pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    return pairs[:, 0], pairs[:, 1]


def best_of_pairs(
    count: int, ones: NDArray[np.int64], others: NDArray[np.int64], rank: NDArray[np.int64]
) -> _Flags:
    """Return which of ``count`` rows stay when of each pair the lower rank pushes out the other.

    A row that is pushed out pushes nobody out, so chains of small steps do not vanish.
    """
    better = np.where(rank[ones] < rank[others], ones, others)
    worse = np.where(rank[ones] < rank[others], others, ones)
    stays, goes = np.zeros(count, bool), np.zeros(count, bool)
    while len(better):
        challenged = np.zeros(count, bool)
        challenged[worse] = True
        winners = ~challenged[better]
        stays[better[winners]] = True
        goes[worse[winners]] = True
        open_ = ~goes[better] & ~goes[worse]
        better, worse = better[open_], worse[open_]
    return ~goes


def clusters_of(
    vectors: _Floats, count: int, *, seed: int = 0, rounds: int = 10
) -> NDArray[np.int64]:
    """Return the cluster of each vector by spherical k-means on a sample of them.

    Args:
        vectors: (N, D) of unit length.
        count: clusters; fewer where there are fewer than 8 vectors per cluster.
        seed: of the start.
        rounds: of the iteration.
    """
    rng = np.random.default_rng(seed)
    count = max(1, min(count, len(vectors) // 8))
    sample = vectors[rng.permutation(len(vectors))[: max(count * 64, 10_000)]]
    centres = sample[rng.permutation(len(sample))[:count]].copy()
    for _ in range(rounds):
        near = nearest(sample, centres)
        for cluster in range(count):
            members = sample[near == cluster]
            if len(members):
                centre = members.sum(axis=0)
                centres[cluster] = centre / max(float(np.linalg.norm(centre)), 1e-12)
    return nearest(vectors, centres)


def nearest(vectors: _Floats, centres: _Floats, block: int = 8192) -> NDArray[np.int64]:
    """Return the number of the centre with the largest cosine, for each vector."""
    found = [
        (vectors[start : start + block].astype(np.float32) @ centres.T).argmax(axis=1)
        for start in range(0, len(vectors), block)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def near_vectors(
    vectors: _Floats, groups: NDArray[np.int64], similar: float, rank: NDArray[np.int64]
) -> _Flags:
    """Return which rows to keep when vectors of a group with a cosine from ``similar`` on are one.

    Args:
        vectors: (N, D) of unit length.
        groups: (N,), only rows of the same are compared.
        similar: cosine.
        rank: (N,) distinct numbers, the lowest stays.
    """
    ones: list[NDArray[np.int64]] = []
    others: list[NDArray[np.int64]] = []
    order = np.argsort(groups, kind="stable")
    edges = np.flatnonzero(np.diff(groups[order])) + 1
    for members in np.split(order, edges):
        for start in range(0, len(members), 2048):
            rows = members[start : start + 2048]
            cosines = vectors[rows] @ vectors[members].T
            a, b = np.nonzero(cosines >= similar)
            later = members[b] > rows[a]
            ones.append(rows[a[later]])
            others.append(members[b[later]])
    if not ones:
        return np.ones(len(vectors), bool)
    return best_of_pairs(len(vectors), np.concatenate(ones), np.concatenate(others), rank)


def capped(groups: NDArray[np.int64], most: int, rank: NDArray[np.uint64]) -> _Flags:
    """Return which rows to keep so that no group has more than ``most``: those of lowest rank."""
    order = np.lexsort((rank, groups))
    sorted_groups = groups[order]
    starts = np.flatnonzero(np.r_[True, sorted_groups[1:] != sorted_groups[:-1]])
    within = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    keep = np.zeros(len(groups), bool)
    keep[order[within < most]] = True
    return keep

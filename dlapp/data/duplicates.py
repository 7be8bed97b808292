"""Examples that are there more than once: the same, or nearly the same picture."""

import dataclasses
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

RADIUS = 0.08  # between thumbnails of mean 0 and length 1
_FLAT = 2.0  # grey levels of standard deviation, below which a thumbnail shows nothing to compare
_DIMENSIONS = 10


@dataclasses.dataclass(frozen=True)
class Group:
    """Examples that are the same, or nearly.

    Attributes:
        members: (split, number in the split) of each.
        exact: whether all are the same to the last bit.
        contradicts: whether their targets differ.
    """

    members: tuple[tuple[str, int], ...]
    exact: bool
    contradicts: bool

    @property
    def leaks(self) -> bool:
        """Whether more than one split has a member."""
        return len({split for split, _ in self.members}) > 1


def find_repeats(
    hashes: Mapping[str, np.ndarray], thumbnails: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
) -> tuple[Group, ...]:
    """Groups of the same, or nearly the same, examples within and across splits; largest first.

    Args:
        hashes: by split: (n,) text, equal for equal examples, empty for those that cannot be read.
        thumbnails: by split: (n, d) grey averages in 0 to 255; (n, 0) for rows, which only count as the same.
        targets: by split: (n,).
    """
    members = [(split, index) for split in hashes for index in range(len(hashes[split]))]
    keys = np.concatenate(list(hashes.values()))
    wanted = np.concatenate([targets[split] for split in hashes])
    exact = exact_groups(keys)
    near = near_groups(np.concatenate([thumbnails[split] for split in hashes]))
    inside = {index for group in near for index in group.tolist()}
    groups = near + [group for group in exact if not inside.issuperset(group.tolist())]
    found = [
        Group(
            tuple(members[index] for index in group.tolist()),
            exact=len(set(keys[group].tolist())) == 1,
            contradicts=len(set(wanted[group].tolist())) > 1,
        )
        for group in groups
    ]
    return tuple(sorted(found, key=lambda group: -len(group.members)))


def exact_groups(hashes: np.ndarray) -> list[np.ndarray]:
    """Indices of examples with equal hashes, a group each; those without a hash are left out."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(hashes.tolist()):
        if key:
            places[key].append(index)
    return [np.array(group) for group in places.values() if len(group) > 1]


def near_groups(thumbnails: np.ndarray, *, radius: float = RADIUS) -> list[np.ndarray]:
    """Indices of pictures that look alike, a group each, chained where one resembles the next.

    Thumbnails are compared after their mean is taken away and their length made 1, so that brightness and
    contrast do not count. Candidates are found in their first principal components, where no distance is longer
    than in full, so that none is missed.

    Args:
        thumbnails: (n, d) grey averages in 0 to 255. Flat ones resemble nothing.
        radius: the largest distance; 0.08 is a correlation of 0.997.
    """
    usable = np.flatnonzero(thumbnails.std(axis=1) > _FLAT) if thumbnails.size else np.zeros(0, np.int64)
    if len(usable) < 2:
        return []
    vectors = thumbnails[usable] - thumbnails[usable].mean(axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seen: dict[bytes, int] = {}  # copies would make a pair with each other copy
    of = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in thumbnails[usable]])
    distinct = vectors[np.unique(of, return_index=True)[1]]
    sample = distinct[:: max(len(distinct) // 5000, 1)]
    _, axes = np.linalg.eigh(sample.T @ sample)
    tree = cKDTree(distinct @ axes[:, -_DIMENSIONS:])
    pairs = tree.query_pairs(radius, output_type="ndarray")
    close = np.array([], bool)
    if len(pairs):
        close = np.concatenate(
            [
                np.linalg.norm(distinct[part[:, 0]] - distinct[part[:, 1]], axis=1) <= radius
                for part in np.array_split(pairs, len(pairs) // 100_000 + 1)
            ]
        )
        pairs = pairs[close]
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(distinct), len(distinct)))
    component = connected_components(graph, directed=False)[1][of]
    order = np.argsort(component, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    return [usable[np.sort(group)] for group in groups if len(group) > 1]

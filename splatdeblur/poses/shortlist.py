"""Which photos may show the same things: guessed from their largest features, before any costly comparison.

Comparing two photos costs the product of their feature counts, and most pairs of a large capture share nothing.
The largest features are few, repeat best between views, and survive blur longest (preemptive matching: Wu,
"Towards linear-time incremental structure from motion", 2013).
"""

from pathlib import Path

import numpy as np
import pycolmap
import torch
from torch import Tensor

from .bench import Pairs

LARGEST = 512  # features of each photo that are compared
MAX_RATIO = 0.85  # of the distances to the best and to the second best match


def coarse_matches(database: Path) -> dict[tuple[str, str], int]:
    """How many of their largest features match, for every pair of a database's photos that has any match."""
    names, described = _largest_features(database)
    counts: dict[tuple[str, str], int] = {}
    for i in range(len(names) - 1):
        for j, count in enumerate(_mutual_matches(described[i], described[i + 1 :]).tolist(), start=i + 1):
            if count:
                counts[names[i], names[j]] = count
    return counts


def likely_pairs(names: list[str], counts: dict[tuple[str, str], int], most: int = 12) -> Pairs:
    """For every photo: pairs with the `most` photos that match it best and with the next ones in order."""
    order = {name: index for index, name in enumerate(names)}
    both_ways = counts | {(b, a): n for (a, b), n in counts.items()}
    partners: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    for (a, b), count in both_ways.items():
        partners[a].append((-count, b))
    found = {tuple(sorted((a, b), key=order.__getitem__)) for a in names for _, b in sorted(partners[a])[:most]}
    found |= {(a, b) for step in (1, 2) for a, b in zip(names, names[step:], strict=False)}
    return sorted(found, key=lambda pair: (order[pair[0]], order[pair[1]]))


def _largest_features(database: Path) -> tuple[list[str], Tensor]:
    """Names [P] and unit descriptors [P, LARGEST, 128] of all photos; rows of zeros where one has fewer."""
    opened = pycolmap.Database.open(database)
    try:
        images = opened.read_all_images()
        described = torch.zeros(len(images), LARGEST, 128)
        for row, image in zip(described, images, strict=True):
            keypoints = np.asarray(opened.read_keypoints(image.image_id))
            if len(keypoints):
                area = np.abs(keypoints[:, 2] * keypoints[:, 5] - keypoints[:, 3] * keypoints[:, 4])
                largest = np.argsort(-area, kind="stable")[:LARGEST]
                data = opened.read_descriptors(image.image_id).data[largest]
                row[: len(data)] = torch.nn.functional.normalize(torch.from_numpy(data).float(), dim=1)
        return [image.name for image in images], described
    finally:
        opened.close()


def _mutual_matches(ours: Tensor, theirs: Tensor) -> Tensor:
    """For one photo's descriptors [K, 128] and those of others [P, K, 128]: how many match, [P].

    A match is the best one from both sides, and clearly better than the second best.
    """
    likeness = theirs @ ours.T
    best, partners = likeness.max(dim=2)
    second = likeness.scatter(2, partners[..., None], -1.0).amax(dim=2)
    is_clear = (1 - best) < MAX_RATIO**2 * (1 - second)
    back = likeness.argmax(dim=1).gather(1, partners)
    is_mutual = back == torch.arange(likeness.shape[1])
    return (is_clear & is_mutual & (best > 0)).sum(dim=1)

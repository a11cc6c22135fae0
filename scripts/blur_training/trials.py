"""What a network is worth on scenes that it has not seen: on patches, on photos, and in choosing frames."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from splatdeblur.blur import BlurKind, PhotoBlur, assess_blur
from splatdeblur.blur.features import Features
from splatdeblur.blur.network import Network
from splatdeblur.blur.patches import luma

from .blurs import DEFOCUS, MOTION, Blur, Camera, photograph, random_blur
from .pairs import Pairs, laplacian_variance
from .sources import Array

STREAK_PX = 8.0
STRAIGHT = 0.5  # paths less elongated than this go round, and have no direction
PHOTO_PX = (320, 240)
STRETCH = 6  # frames to choose from


@dataclass(frozen=True)
class Score:
    """One fold's figures.

    Attributes:
        recall: mean over the three kinds.
        spearman: of strength, all kinds together.
        spearman_motion: of strength, motion alone, against the length of its path.
        direction_deg: median error, for straight enough paths of `STREAK_PX` or more.
        laplacian_spearman: what the variance of the Laplacian reaches instead.
    """

    recall: float
    spearman: float
    spearman_motion: float
    direction_deg: float
    laplacian_spearman: float


@dataclass(frozen=True)
class Choice:
    """How well one frame of several is chosen, mean over the sets.

    Attributes:
        regret_px, laplacian_regret_px: how much more blurred the chosen frame is than the sharpest of its set.
        right, laplacian_right: part of the sets where it is the sharpest, or within 1 px of it.
        spearman, laplacian_spearman: of strength within the set.
    """

    regret_px: float
    laplacian_regret_px: float
    right: float
    laplacian_right: float
    spearman: float
    laplacian_spearman: float


def spearman(a: Array, b: Array) -> float:
    """Rank correlation; ties share their mean rank."""
    ranks = [np.unique(x, return_inverse=True, return_counts=True)[1:] for x in (a, b)]
    means = [(np.cumsum(counts) - (counts - 1) / 2)[inverse] for inverse, counts in ranks]
    return float(np.corrcoef(*means)[0, 1])


def patches(network: Network, pairs: Pairs) -> Score:
    """Every patch by itself, without its neighbours' help."""
    with torch.no_grad():
        found = network(Features(*(torch.from_numpy(x) for x in (pairs.values, pairs.reference_deg, pairs.contrast))))
    doubled = found.direction.numpy()
    direction = np.rad2deg(np.arctan2(doubled[:, 1], doubled[:, 0])) / 2
    return _score(
        found.probabilities.argmax(dim=1).numpy(), found.log_strength.numpy(), direction, pairs.kind,
        pairs.strength_px, pairs.direction_deg, pairs.elongation, pairs.laplacian,
    )  # fmt: skip


def _score(
    kind: Array, strength: Array, direction: Array, true_kind: Array, true_px: Array, true_deg: Array,
    elongation: Array, laplacian: Array,
) -> Score:  # fmt: skip
    moves = true_kind == MOTION
    is_streak = moves & (true_px >= STREAK_PX) & (elongation >= STRAIGHT) & np.isfinite(direction)
    apart = abs((direction - true_deg + 90) % 180 - 90)[is_streak]
    return Score(
        float(np.mean([(kind[true_kind == k] == k).mean() for k in range(3)])), spearman(strength, true_px),
        spearman(strength[moves], true_px[moves]), float(np.median(apart)), spearman(-laplacian, true_px),
    )  # fmt: skip


def photos(network: Network, pictures: list[Array], count: int, rng: np.random.Generator) -> Score:
    """Whole photos, each of one blur."""
    blurs, found, laplacian = [], [], []
    for _ in range(count):
        blur = random_blur(rng)
        photo = torch.from_numpy(photograph(_crop(pictures, blur, rng), blur, rng)).float()
        answer = assess_blur(photo, network=network)
        if answer.kind is not BlurKind.TEXTURELESS:
            blurs.append(blur)
            found.append(answer)
            laplacian.append(_laplacian(photo))
    columns = [np.array(column) for column in zip(*map(_answer, found), strict=True)]
    truth = [(b.kind, b.strength_px, b.direction_deg, b.elongation) for b in blurs]
    return _score(*columns, *(np.array(column) for column in zip(*truth, strict=True)), np.array(laplacian))


def _answer(found: PhotoBlur) -> tuple[int, float, float]:
    return int(found.kind), found.strength_px, found.direction_deg


def _crop(pictures: list[Array], blur: Blur, rng: np.random.Generator) -> Array:
    source = pictures[rng.integers(len(pictures))]
    more = blur.kernel.shape[0] - 1
    height, width = (min(b + more, a) for a, b in zip(source.shape[:2], PHOTO_PX[::-1], strict=True))
    top, left = (int(rng.integers(0, a - b + 1)) for a, b in zip(source.shape[:2], (height, width), strict=True))
    return source[top : top + height, left : left + width]


def _laplacian(photo: torch.Tensor) -> float:
    return float(laplacian_variance(luma(photo)[None])[0])


def choices(network: Network, sets: Iterator[list[tuple[Array, Blur]]]) -> Choice:
    """One frame chosen of each set, by strength and by the variance of the Laplacian."""
    rows = []
    for frames in sets:
        photos = [torch.from_numpy(photo).float() for photo, _ in frames]
        true_px = np.array([blur.strength_px for _, blur in frames])
        ours = np.array([assess_blur(p, network=network).strength_px for p in photos])
        ours = np.nan_to_num(ours, nan=1e3)
        theirs = -np.array([_laplacian(p) for p in photos])
        regrets = [true_px[x.argmin()] - true_px.min() for x in (ours, theirs)]
        rows.append((*regrets, *(r <= 1 for r in regrets), spearman(ours, true_px), spearman(theirs, true_px)))
    return Choice(*(float(np.nanmean(column)) for column in zip(*rows, strict=True)))


def stretches(pictures: list[Array], count: int, rng: np.random.Generator) -> Iterator[list[tuple[Array, Blur]]]:
    """Neighbouring frames of a video: the crop slides on, the camera stays the same, its exposure drifts a little."""
    for _ in range(count):
        camera, source = Camera.random(rng), pictures[rng.integers(len(pictures))]
        height, width = (int(side * 0.6) for side in source.shape[:2])
        start, step = rng.uniform(0, 0.2, 2), rng.uniform(-0.03, 0.03, 2)
        frames = []
        for number in range(STRETCH):
            blur = _shaken(rng)
            at = np.clip(start + 0.1 + step * number, 0, 0.4)
            top, left = (int(a * side) for a, side in zip(at, source.shape[:2], strict=True))
            crop = source[top : top + height, left : left + width]
            frames.append((photograph(crop, blur, rng, camera=camera, stops=(-0.3, 0.3)), blur))
        yield frames


def collections(
    scenes: list[list[Array]], count: int, rng: np.random.Generator
) -> Iterator[list[tuple[Array, Blur]]]:
    """Photos of different places."""
    for _ in range(count):
        camera = Camera.random(rng)
        frames = []
        for _ in range(STRETCH):
            blur = _shaken(rng)
            crop = _crop(scenes[rng.integers(len(scenes))], blur, rng)
            frames.append((photograph(crop, blur, rng, camera=camera), blur))
        yield frames


def _shaken(rng: np.random.Generator) -> Blur:
    """As a walking hand takes them: motion mostly, from sharp to 30 px; now and then the focus hunts."""
    kind = MOTION if rng.random() < 0.8 else DEFOCUS
    return random_blur(rng, kind, float(np.exp(rng.uniform(np.log(0.7), np.log(30)))))

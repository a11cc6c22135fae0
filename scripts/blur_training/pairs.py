"""Patches of blurred pictures with what is true about them, as features: what is learned from and tested on."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray

from splatdeblur.blur.features import measure
from splatdeblur.blur.patches import cut_at, luma

from .blurs import Blur, photograph, random_blur
from .sources import Array, encode_srgb, shadowed

CROP_PX = 192  # of the photos that patches are taken from
PATCHES_PER_PHOTO = 4
LOWEST_CONTRAST = 0.02  # in the sharp patch: below there is nothing that could show blur


@dataclass(frozen=True, eq=False)
class Pairs:
    """Patches: features, and the truth.

    Attributes:
        scene: number of the scene that the patch shows.
        values, reference_deg, contrast: as in `splatdeblur.blur.features.Features`.
        kind, strength_px, direction_deg, elongation: as in `blurs.Blur`.
        laplacian: variance of the photo's Laplacian within the patch, to compare with.
    """

    scene: NDArray[np.integer]
    values: Array
    reference_deg: Array
    contrast: Array
    kind: NDArray[np.integer]
    strength_px: Array
    direction_deg: Array
    elongation: Array
    laplacian: Array

    def __len__(self) -> int:
        return len(self.scene)

    def __getitem__(self, index: NDArray) -> "Pairs":
        return Pairs(*(getattr(self, f.name)[index] for f in fields(self)))


def make_pairs(pictures: dict[str, list[Array]], numbers: range, seed: int) -> Pairs:
    """A few patches of each of so many photographs, spread evenly over the scenes."""
    names = list(pictures)
    parts = []
    for number in numbers:
        rng = np.random.default_rng([seed, 2, number])
        scene = number % len(names)
        source = pictures[names[scene]][rng.integers(len(pictures[names[scene]]))]
        made = _photo(source, rng)
        if made is not None:
            parts.append(_patches(*made, scene, rng))
    return joined(parts)


def joined(parts: list[Pairs]) -> Pairs:
    """All of them, one after the other."""
    return Pairs(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Pairs)))


def _photo(source: Array, rng: np.random.Generator) -> tuple[Array, Array, Blur] | None:
    """A blurred photo, the sharp one, and the blur; None where the source is too small for it."""
    shrink = 1.0 if rng.random() < 0.6 else float(rng.uniform(1, 2))
    blur = random_blur(rng)
    room = min(source.shape[:2]) - blur.kernel.shape[0] - 1
    side = int(min(CROP_PX * shrink, room))
    if side < 140 * shrink:
        shrink, side = 1.0, min(CROP_PX, room)
    if side < 96:
        return None
    full = side + blur.kernel.shape[0] - 1
    top, left = (int(rng.integers(0, size - full + 1)) for size in source.shape[:2])
    crop = source[top : top + full, left : left + full]
    crop = np.rot90(crop, rng.integers(4))
    crop = crop[::-1] if rng.random() < 0.5 else crop
    if rng.random() < 0.4:
        crop = shadowed(crop, rng)
    half = blur.kernel.shape[0] // 2
    sharp = encode_srgb(crop[half : half + side, half : half + side])
    photo = photograph(crop, blur, rng, shrink=shrink)
    sharp = sharp[: int(photo.shape[0] * shrink), : int(photo.shape[1] * shrink)]
    return photo, sharp, blur.shrunk(shrink)


def _patches(photo: Array, sharp: Array, blur: Blur, scene: int, rng: np.random.Generator) -> Pairs:
    gray = luma(torch.from_numpy(np.ascontiguousarray(photo)).float())
    size = torch.tensor([gray.shape[1], gray.shape[0]])
    margin = torch.minimum(size / 2, torch.tensor(32.0))
    uniform = torch.from_numpy(rng.uniform(size=(PATCHES_PER_PHOTO, 2))).float()
    centers = margin + uniform * (size - 2 * margin)
    patches = cut_at(gray, centers, PATCHES_PER_PHOTO, 1)
    features = measure(patches)
    scale = sharp.shape[0] / photo.shape[0]
    is_textured = np.array([_contrast(sharp, c * scale) > LOWEST_CONTRAST for c in centers.numpy()])
    count = len(centers)
    made = Pairs(
        np.full(count, scene), features.values.numpy().astype(np.float32), features.reference_deg.numpy(),
        features.contrast.numpy(), np.full(count, blur.kind), np.full(count, blur.strength_px),
        np.full(count, blur.direction_deg), np.full(count, blur.elongation),
        laplacian_variance(patches.windows[0]).numpy(),
    )  # fmt: skip
    return made[is_textured]


def _contrast(sharp: Array, center: Array) -> float:
    x, y = (round(float(v)) for v in center)
    patch = sharp[max(0, y - 32) : y + 32, max(0, x - 32) : x + 32].mean(axis=-1)
    return float(np.subtract(*np.quantile(patch, (0.95, 0.05))))


def laplacian_variance(windows: torch.Tensor) -> torch.Tensor:
    """The usual measure of sharpness: variance of the four-neighbour Laplacian of [patch, height, width]."""
    middle = windows[:, 1:-1, 1:-1]
    around = windows[:, :-2, 1:-1] + windows[:, 2:, 1:-1] + windows[:, 1:-1, :-2] + windows[:, 1:-1, 2:]
    return (around - 4 * middle).var(dim=(1, 2))

"""Photos of a textured corner, drawn exactly: what structure from motion finds easily."""

import numpy as np
import torch
from PIL import Image, ImageFilter

from splatdeblur.geometry import look_at

WIDTH, HEIGHT, FOCAL = 240, 180, 200.0


def texture(seed: int, size: int = 256) -> np.ndarray:
    """Soft-edged noise at many scales, as features like it."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size, 3))
    for cells in (8, 16, 32, 64):
        noise = Image.fromarray(rng.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(noise.resize((size, size), Image.Resampling.NEAREST), dtype=float)
    return np.asarray(Image.fromarray((total / 4).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1)))


TEXTURES = [texture(seed) for seed in range(3)]


def photograph_corner(viewmat: np.ndarray) -> np.ndarray:
    """A photo of the inside of a corner: the planes x = 0, y = 0 and z = 0, seen from the positive octant."""
    u, v = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(u - WIDTH / 2) / FOCAL, (v - HEIGHT / 2) / FOCAL, np.ones_like(u)], axis=-1)
    rays = rays @ viewmat[:3, :3]  # into the world
    center = -viewmat[:3, :3].T @ viewmat[:3, 3]
    picture, nearest = np.zeros((HEIGHT, WIDTH, 3)), np.full((HEIGHT, WIDTH), np.inf)
    for axis, image in enumerate(TEXTURES):
        with np.errstate(divide="ignore"):
            distance = -center[axis] / rays[..., axis]
        hit = center + distance[..., None] * rays
        a, b = (hit[..., k] for k in range(3) if k != axis)
        is_seen = (distance > 0) & (distance < nearest)
        cell = [np.nan_to_num(x * 100).astype(int) % image.shape[0] for x in (a, b)]
        picture[is_seen] = image[cell[0], cell[1]][is_seen]
        nearest[is_seen] = distance[is_seen]
    return picture.round().astype(np.uint8)


def walk(count: int) -> torch.Tensor:
    angle = torch.linspace(0.25, 1.3, count, dtype=torch.float64)
    eye = torch.stack([2.5 * angle.cos(), 2.5 * angle.sin(), 1.3 + 0.3 * (3 * angle).sin()], dim=-1)
    target = torch.tensor([0.5, 0.5, 0.5], dtype=torch.float64).expand_as(eye)
    return look_at(eye, target, torch.tensor([0.0, 0, 1], dtype=torch.float64))

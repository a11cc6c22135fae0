"""Sharp pictures and simple blurs of known strength, for tests: light is added up in linear RGB."""

import numpy as np
import torch

from splatdeblur.geometry import linear_from_srgb, srgb_from_linear


def shapes(height: int, width: int, seed: int) -> torch.Tensor:
    """A sharp picture of overlapping discs and bars with grain, sRGB in [0, 1]: [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + 0.5
    picture = np.full((height, width, 3), 0.4)
    for _ in range(height * width // 120):
        row, column, angle = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, np.pi)
        radius = np.exp(rng.uniform(np.log(2), np.log(30)))
        u = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
        v = (y - row) * np.cos(angle) - (x - column) * np.sin(angle)
        inside = (u**2 + v**2 < radius**2) if rng.random() < 0.5 else (abs(u) < radius) & (abs(v) < radius * 0.4)
        picture[inside] = rng.uniform(0.05, 0.95, 3)
    return torch.from_numpy(np.clip(picture * (1 + 0.05 * rng.normal(size=(height, width, 1))), 0, 1)).float()


def streaked(picture: torch.Tensor, length_px: float, direction_deg: float) -> torch.Tensor:
    """The picture moved evenly along a straight line."""
    angle = np.deg2rad(direction_deg)
    shift = np.array([np.cos(angle), np.sin(angle)]) * length_px
    return _mean_of(picture, (np.arange(64) + 0.5)[:, None] / 64 * shift - shift / 2)


def defocused(picture: torch.Tensor, diameter_px: float) -> torch.Tensor:
    """The picture through an even round aperture."""
    k = np.arange(160) + 0.5
    radius, angle = diameter_px / 2 * np.sqrt(k / 160), k * np.pi * (3 - 5**0.5)
    return _mean_of(picture, np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))


def _mean_of(picture: torch.Tensor, shifts: np.ndarray) -> torch.Tensor:
    """Mean of copies shifted by (x, y) px, edges wrapped, and a little noise of 8 bit."""
    spectrum = torch.fft.rfft2(linear_from_srgb(picture), dim=(0, 1))
    y = torch.fft.fftfreq(picture.shape[0])[:, None]
    x = torch.fft.rfftfreq(picture.shape[1])[None]
    transfer = sum(torch.exp(-2j * np.pi * (x * dx + y * dy)) for dx, dy in shifts.tolist()) / len(shifts)
    light = torch.fft.irfft2(spectrum * transfer[..., None], s=picture.shape[:2], dim=(0, 1))
    noise = 0.004 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
    return ((srgb_from_linear(light).clamp(0, 1) + noise) * 255).round().clamp(0, 255) / 255

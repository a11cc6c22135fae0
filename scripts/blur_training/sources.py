"""Sharp pictures to blur: public-domain photos that come with scikit-image, and scenes of our own making.

Every source is a *scene*: pictures of one scene never stand on both sides of a test.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

# skimage.data, by their docstrings CC0 or released into the public domain, and in the wheel.
PHOTOS = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")
LEAVES = 12
ROOMS = 12


def decode_srgb(srgb: Array) -> Array:
    """sRGB values to linear light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4)


def encode_srgb(linear: Array) -> Array:
    """Linear light to sRGB values, clipped to [0, 1]."""
    x = np.clip(linear, 0, 1)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-9) ** (1 / 2.4) - 0.055)


def shrunk(picture: Array, factor: float) -> Array:
    """The picture averaged over `factor` x `factor` px, any factor of at least 1."""
    for axis in (0, 1):
        size = picture.shape[axis]
        edges = np.arange(int(size / factor) + 1) * factor
        total = np.concatenate([np.zeros_like(picture.take([0], axis)), picture.cumsum(axis)], axis)
        low = np.minimum(edges.astype(int), size - 1)
        part = (edges - low).reshape([-1 if a == axis else 1 for a in range(picture.ndim)])
        at = total.take(low, axis) + part * picture.take(low, axis)
        picture = np.diff(at, axis=axis) / factor
    return picture


def scenes(seed: int, room: Callable[[int], list[Array]]) -> dict[str, list[Array]]:
    """Name of a scene -> its sharp pictures in linear light, [height, width, 3] each.

    Args:
        room: the pictures of a made room, by its number.
    """
    from skimage import data

    found = {}
    for name in PHOTOS:
        photo = np.asarray(getattr(data, name)())
        photo = np.repeat(photo[..., None], 3, axis=2) if photo.ndim == 2 else photo[..., :3]
        light = decode_srgb(photo / 255.0)
        # Photos are a little soft at full size.
        found[f"photo:{name}"] = [shrunk(light, factor) for factor in (1.25, 1.7)]
    for number in range(LEAVES):
        rng = np.random.default_rng([seed, 1, number])
        found[f"leaves:{number}"] = [dead_leaves(rng) for _ in range(3)]
    for number in range(ROOMS):
        found[f"room:{number}"] = room(number)
    return {name: [picture.astype(np.float32) for picture in pictures] for name, pictures in found.items()}


def dead_leaves(rng: np.random.Generator, size: int = 448) -> Array:
    """Overlapping shapes of all sizes with textures of their own, painted front to back, in linear light.

    Each call has a style of its own: shapes, size law, colours, how much texture. Drawn at twice the size, then
    averaged, so that edges are those of a sharp photo.
    Source: Lee, Mumford & Huang 2001, for the law of sizes.
    """
    side = size * 2
    picture, is_free = np.zeros((side, side, 3), np.float32), np.ones((side, side), bool)
    exponent, largest = rng.uniform(1.6, 3.2), rng.uniform(0.15, 0.5) * side
    smallest = np.exp(rng.uniform(np.log(4), np.log(40)))
    straightness, textured = rng.random(), rng.random()
    grains = [np.exp(rng.uniform(0.05, 0.6) * _grain(rng, side, rng.uniform(0.6, 1.6))) for _ in range(3)]
    palette = np.exp(rng.normal(-1.2, 0.9, (12, 3)) * [[1, 1, 1]] + rng.normal(0, 0.15, (12, 3)))
    stripes, preferred = rng.random() * 0.3, rng.uniform(0, np.pi)
    for _ in range(6000):
        # Inverse of the cumulative law r^(1 - exponent) between smallest and largest.
        ends = np.array([smallest, largest]) ** (1 - exponent)
        radius = (ends[0] + rng.random() * (ends[1] - ends[0])) ** (1 / (1 - exponent))
        reach = int(radius * 1.5) + 1
        row, column = rng.integers(-reach // 2, side + reach // 2, 2)
        window = tuple(slice(max(0, at - reach), min(side, max(0, at + reach))) for at in (row, column))
        free = is_free[window]
        if not free.any():
            continue
        y, x = np.mgrid[window].astype(np.float32)
        angle = preferred + rng.normal() * 0.2 if rng.random() < straightness else rng.uniform(0, np.pi)
        u = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
        v = (y - row) * np.cos(angle) - (x - column) * np.sin(angle)
        shape = rng.integers(3)
        if shape == 0:
            inside = u**2 + (v / rng.uniform(0.5, 1)) ** 2 < radius**2
        elif shape == 1:
            inside = (abs(u) < radius) & (abs(v) < radius * rng.uniform(0.1, 1))
        else:
            bumps = 1 + 0.25 * np.sin(np.arctan2(v, u) * rng.integers(3, 9) + rng.uniform(0, 6))
            inside = np.hypot(u, v) < radius * bumps
        inside &= free
        if not inside.any():
            continue
        color = palette[rng.integers(len(palette))] * np.exp(rng.normal(0, 0.2))
        shade = 1 + 0.5 * (u * rng.normal() + v * rng.normal()) / radius * rng.random()
        if rng.random() < stripes:
            wave = rng.uniform(6, 40)
            shade = shade * np.where(np.sin(u * 2 * np.pi / wave) > rng.uniform(-0.7, 0.7), 1, rng.uniform(0.2, 0.8))
        painted = np.maximum(shade, 0.05)[..., None] * color
        if rng.random() < textured:
            painted = painted * grains[rng.integers(len(grains))][window][..., None]
        picture[window][inside] = painted[inside]
        is_free[window] &= ~inside
        if is_free.mean() < 0.002:
            break
    small = shrunk(picture.astype(np.float64), 2.0)
    if rng.random() < 0.3:
        small = _partly_soft(rng, small)
    return np.clip(small / np.quantile(small, rng.uniform(0.95, 0.995)), 0, 4)


def shadowed(light: Array, rng: np.random.Generator) -> Array:
    """The picture under a few shadows with soft edges: smooth content that blur must not be read from."""
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    for _ in range(rng.integers(1, 4)):
        angle, width = rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(np.log(5), np.log(80)))
        row, column = rng.uniform(0, 1, 2) * light.shape[:2]
        bend = rng.normal() * 0.004
        along = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
        across = (y - row) * np.cos(angle) - (x - column) * np.sin(angle) + bend * along**2
        depth = rng.uniform(0.2, 0.9)
        light = light * (1 - depth / (1 + np.exp(np.clip(-across / width * 4, -50, 50))))[..., None]
    return light


def _partly_soft(rng: np.random.Generator, picture: Array) -> Array:
    """Regions without detail, such as fur, clouds and backgrounds out of focus."""
    side = picture.shape[0]
    y, x = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    bell = np.exp(-2 * (np.pi * rng.uniform(3, 12)) ** 2 * (x**2 + y**2))
    soft = np.fft.irfft2(np.fft.rfft2(picture, axes=(0, 1)) * bell[..., None], (side, side), axes=(0, 1))
    mask = 1 / (1 + np.exp(-6 * (_grain(rng, side, 2.5) - rng.uniform(0, 1.2))))[..., None]
    return picture * (1 - mask) + np.maximum(soft, 0) * mask


def _grain(rng: np.random.Generator, side: int, slope: float) -> Array:
    """Random texture whose amplitude falls as 1 / frequency^slope, often with a grain's direction; deviation 1."""
    y, x = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.12), 0))
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    frequency = np.maximum(np.hypot(along, across * stretch), 2 / side)
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) / frequency**slope, (side, side))
    field = np.clip((field - field.mean()) / field.std(), -3, 3)
    return (field / field.std()).astype(np.float32)

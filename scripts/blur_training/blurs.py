"""Blur of known kind, strength and direction: the shaking of a hand, lenses out of focus, and what cameras add."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .sources import Array, decode_srgb, encode_srgb, shrunk

SHARP, MOTION, DEFOCUS = range(3)
SHARP_BELOW_PX = 2.0  # blur shorter than this is called sharp
LONGEST_PX = {MOTION: 56.0, DEFOCUS: 36.0}


@dataclass(frozen=True, eq=False)
class Blur:
    """A point's image, and what is true about it.

    Attributes:
        kernel: odd square, sum 1.
        kind: SHARP, MOTION or DEFOCUS.
        strength_px: length of the path of motion; diameter of the blur disc, or four standard deviations of a soft one.
        direction_deg: main axis of the path, from x towards y (down), in [0, 180); NaN but for motion.
        elongation: of the kernel: 1 - minor / major standard deviation.
    """

    kernel: Array
    kind: int
    strength_px: float
    direction_deg: float
    elongation: float

    def shrunk(self, factor: float) -> "Blur":
        """The same seen in a picture reduced by `factor` (the kernel stays as it is)."""
        strength = self.strength_px / factor
        kind = self.kind if strength >= SHARP_BELOW_PX else SHARP
        return Blur(self.kernel, kind, strength, self.direction_deg, self.elongation)


def random_blur(rng: np.random.Generator, kind: int | None = None, strength_px: float | None = None) -> Blur:
    """A third each of sharp, motion and defocus; strengths even in their logarithm, and down to 0 for sharp."""
    kind = int(rng.integers(3)) if kind is None else kind
    if strength_px is None:
        if kind == SHARP:
            strength_px = 0.0 if rng.random() < 0.4 else rng.uniform(0, SHARP_BELOW_PX)
        else:
            strength_px = float(np.exp(rng.uniform(np.log(SHARP_BELOW_PX), np.log(LONGEST_PX[kind]))))
    moves = kind == MOTION or (kind == SHARP and rng.random() < 0.5)
    kernel = _splat(hand_path(rng, strength_px)) if moves else _disc(rng, strength_px)
    # No lens is perfect: a softness too small to count as defocus, beside motion a little more.
    softness = rng.uniform(0, 0.45 if kind != MOTION else 0.6)
    kernel = _softened(kernel, softness)
    direction, elongation = _axis(kernel)
    return Blur(kernel, kind, strength_px, direction if kind == MOTION else np.nan, elongation)


def hand_path(rng: np.random.Generator, length_px: float) -> Array:
    """Places along the way that a point takes while the shutter is open, evenly spread in time: [time, 2].

    A steady drift, a bend and the tremor of a hand (a few cycles, falling with frequency), so that paths curve and
    speeds change, now and then to a stop.
    """
    count = max(16, int(length_px * 6))
    u = np.linspace(-0.5, 0.5, count)[:, None]
    wildness = rng.uniform(0, 1) ** 1.5
    path = rng.normal(size=2) * u + wildness * rng.normal(size=2) * 1.5 * u**2
    for cycles in (0.8, 1.6, 3.0):
        phase = rng.uniform(0, 2 * np.pi, 2)
        path = path + wildness * rng.normal(size=2) * 0.22 / cycles**1.3 * np.sin(2 * np.pi * cycles * u + phase)
    if rng.random() < 0.3:  # starts or stops during the exposure
        held = rng.uniform(0, 0.5)
        at = np.clip((u[:, 0] + 0.5 - held) / (1 - held), 0, 1) * (count - 1)
        path = np.stack([np.interp(at, np.arange(count), path[:, k]) for k in range(2)], axis=1)
    path = path[::-1] if rng.random() < 0.5 else path
    length = np.hypot(*np.diff(path, axis=0).T).sum()
    return (path - path.mean(axis=0)) * (length_px / length)


def _splat(path: Array) -> Array:
    """The kernel of a path, each place shared among its four pixels."""
    half = int(np.ceil(abs(path).max())) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    low = np.floor(path).astype(int)
    part = path - low
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (part[:, 0] if dx else 1 - part[:, 0]) * (part[:, 1] if dy else 1 - part[:, 1])
            np.add.at(kernel, (low[:, 1] + dy + half, low[:, 0] + dx + half), weight)
    return kernel / kernel.sum()


def _disc(rng: np.random.Generator, diameter_px: float) -> Array:
    """An aperture's image: round or with blades, even, or brighter at rim or middle; or a soft one (Gaussian)."""
    half = int(np.ceil(diameter_px * 0.75)) + 1
    fine = 5
    at = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    x, y = np.meshgrid(at, at)
    radius = np.hypot(x, y)
    if rng.random() < 0.3:
        kernel = np.exp(-0.5 * (radius / max(diameter_px / 4, 0.12)) ** 2)
    else:
        edge = max(diameter_px / 2, 0.15)
        if rng.random() < 0.4:
            sector = 2 * np.pi / rng.integers(5, 9)
            angle = np.arctan2(y, x) + rng.uniform(0, np.pi)
            inside = radius * np.cos(angle % sector - sector / 2) < edge * np.cos(sector / 2) ** 0.5
        else:
            inside = radius < edge
        kernel = inside * (1 + rng.uniform(-0.5, 0.5) * (radius / edge) ** 2)
    kernel = kernel.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean(axis=(1, 3))
    return kernel / kernel.sum()


def _softened(kernel: Array, sigma_px: float) -> Array:
    at = np.arange(-2, 3)
    bell = np.exp(-0.5 * (at / max(sigma_px, 0.05)) ** 2)
    bell /= bell.sum()
    out = np.pad(kernel, 2)
    for axis in (0, 1):
        out = sum(w * np.roll(out, int(shift), axis) for shift, w in zip(at, bell, strict=True))
    return out


def _axis(kernel: Array) -> tuple[float, float]:
    """Direction of the kernel's longer axis in degrees, and its elongation."""
    half = kernel.shape[0] // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    mx, my = (kernel * x).sum(), (kernel * y).sum()
    xx, yy = (kernel * (x - mx) ** 2).sum(), (kernel * (y - my) ** 2).sum()
    xy = (kernel * (x - mx) * (y - my)).sum()
    gap = np.hypot(xx - yy, 2 * xy)
    minor, major = max(xx + yy - gap, 1e-9), xx + yy + gap
    return float(np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy)) % 180), float(1 - (minor / major) ** 0.5)


def convolved(light: Array, kernel: Array) -> Array:
    """The picture blurred, where the kernel lies wholly inside: smaller by the kernel's size less 1."""
    rows, columns = (a + b - 1 for a, b in zip(light.shape[:2], kernel.shape, strict=True))
    spectrum = np.fft.rfft2(light, (rows, columns), axes=(0, 1)) * np.fft.rfft2(kernel, (rows, columns))[..., None]
    full = np.fft.irfft2(spectrum, (rows, columns), axes=(0, 1))
    edge = kernel.shape[0] - 1
    return full[edge : light.shape[0], edge : light.shape[1]]


@dataclass(frozen=True, eq=False)
class Camera:
    """How a camera treats the light of one photo: grain, smoothing of faint detail, sharpening, compression."""

    shot: float
    read: float
    grain_px: float
    smoothing: float
    sharpening: float
    jpeg: int | None

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Camera":
        """From a phone at noon to one in a museum's cellar."""
        level = np.exp(rng.uniform(np.log(0.001), np.log(0.06)))
        return cls(
            shot=level * rng.uniform(0.5, 1), read=level * rng.uniform(0, 0.3),
            grain_px=rng.uniform(0.4, 0.9) if rng.random() < 0.4 else 0.0,
            smoothing=level * rng.uniform(0.5, 2) if rng.random() < 0.35 else 0.0,
            sharpening=rng.uniform(0.2, 1.0) if rng.random() < 0.3 else 0.0,
            jpeg=int(rng.integers(45, 98)) if rng.random() < 0.75 else None,
        )  # fmt: skip

    def photograph(self, light: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The 8-bit file's pixels of the light that fell on the sensor."""
        deviation = np.sqrt(self.shot**2 * np.maximum(light, 0) + self.read**2)
        grain = rng.normal(size=light.shape)
        if self.grain_px:
            grain = np.stack([_smooth(grain[..., k], self.grain_px) for k in range(3)], axis=-1)
        picture = encode_srgb(light + deviation * grain)
        if self.smoothing:
            soft = np.stack([_smooth(picture[..., k], 1.3) for k in range(3)], axis=-1)
            detail = picture - soft
            picture = soft + np.sign(detail) * np.maximum(abs(detail) - self.smoothing, 0)
        if self.sharpening:
            soft = np.stack([_smooth(picture[..., k], 1.2) for k in range(3)], axis=-1)
            picture = np.clip(picture + self.sharpening * (picture - soft), 0, 1)
        pixels = np.round(picture * 255).astype(np.uint8)
        if self.jpeg is None:
            return pixels
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=self.jpeg)
        return np.asarray(Image.open(file))


def _smooth(picture: Array, sigma_px: float) -> Array:
    at = np.arange(-3, 4)
    bell = np.exp(-0.5 * (at / sigma_px) ** 2)
    bell /= bell.sum()
    for axis in (0, 1):
        pad = np.pad(picture, [(3, 3) if a == axis else (0, 0) for a in range(2)], mode="reflect")
        picture = sum(w * pad.take(range(k, k + picture.shape[axis]), axis) for k, w in enumerate(bell))
    return picture


def photograph(
    light: Array, blur: Blur, rng: np.random.Generator, *, camera: Camera | None = None, shrink: float = 1.0,
    stops: tuple[float, float] = (-1.2, 0.4),
) -> Array:  # fmt: skip
    """Sharp light to a photo, sRGB in [0, 1]: highlights brightened, blurred, taken by a camera, reduced.

    Args:
        camera: a random one if not given.
        shrink: the photo is reduced by this after all else.
        stops: brightness is 2^x, x even in this range.
    """
    if rng.random() < 0.3:  # lamps and glints are brighter than white
        light = light * (1 + rng.uniform(1, 6) * np.clip(light.mean(-1, keepdims=True) - 0.75, 0, 1) ** 2)
    light = convolved(light * 2 ** rng.uniform(*stops), blur.kernel)
    pixels = (camera or Camera.random(rng)).photograph(light, rng) / 255.0
    return pixels if shrink == 1 else encode_srgb(shrunk(decode_srgb(pixels), shrink))

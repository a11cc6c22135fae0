"""How far a picture moved between two frames, from small grey copies of them."""

import torch
from jaxtyping import Float
from torch import Tensor

WIDTH_PX = 128  # of the copies
LEAST_PEAK = 0.25  # of a phase correlation; unlike pictures reach 0.2, and below the two show nothing in common
WINDOW = 0.66  # part of the picture's sides that one window sees


def movement(before: Float[Tensor, "height width"], after: Float[Tensor, "height width"]) -> float:
    """Mean length of the shift of the picture's four corners, in parts of its width; NaN where it cannot be told.

    Corners move when the camera turns, moves, rolls or comes nearer; only shifts of less than a third of the picture
    are found.

    Source: phase correlation, Kuglin & Hines 1975.
    """
    shifts = [_shift(a, b) for a, b in zip(_corners(before), _corners(after), strict=True)]
    found = [length for length, peak in shifts if peak > LEAST_PEAK]
    return sum(found) / len(found) / before.shape[1] if len(found) >= 2 else float("nan")


def _corners(picture: Float[Tensor, "height width"]) -> list[Float[Tensor, "window_height window_width"]]:
    height, width = (max(8, round(WINDOW * side)) for side in picture.shape)
    return [picture[rows, columns] for rows in (slice(height), slice(-height, None))
            for columns in (slice(width), slice(-width, None))]  # fmt: skip


def _shift(before: Float[Tensor, "height width"], after: Float[Tensor, "height width"]) -> tuple[float, float]:
    """Length of the shift in px, and the height of the peak that it was read from, at most about 1."""
    height, width = before.shape
    hann = torch.hann_window(height, periodic=False)[:, None] * torch.hann_window(width, periodic=False)
    one, other = (torch.fft.rfft2((p - p.mean()) * hann) for p in (before, after))
    cross = one.conj() * other
    y, x = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    # Blur and noise leave little of the upper frequencies; a soft peak can be placed between pixels.
    bell = torch.exp(-(x**2 + y**2) / (2 * 0.12**2))
    map = torch.fft.irfft2(bell * cross / (cross.abs() + 1e-6 * cross.abs().max() + 1e-12), s=(height, width))
    map = map / torch.fft.irfft2(bell + 0j, s=(height, width))[0, 0]
    row, column = divmod(int(map.argmax()), width)
    dy = _refined(map[(row + torch.tensor([-1, 0, 1])) % height, column], row, height)
    dx = _refined(map[row, (column + torch.tensor([-1, 0, 1])) % width], column, width)
    return (dx**2 + dy**2) ** 0.5, float(map[row, column])


def _refined(three: Float[Tensor, "3"], index: int, size: int) -> float:
    """The top of the parabola through a peak and its neighbours, as a signed shift."""
    low, top, high = three.tolist()
    bend = low - 2 * top + high
    place = index + (0.5 * (low - high) / bend if bend < 0 else 0.0)
    return place - size if place > size / 2 else place

"""What a picture's numbers mean: transfer curves and primaries of HDR video, wide-gamut phones and linear files.

Everything becomes sRGB. White is the diffuse white of the source (BT.2408: 203 cd/m2 in PQ, the signal 0.75 in HLG);
what is brighter is clipped, as in any photo, and nothing below is bent: blur adds up light, so light has to stay
proportional, which a tone curve made for beauty would spoil.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageCms

from ..geometry import linear_from_srgb, srgb_from_linear

Array = np.ndarray
Curve = Callable[[Array], Array]
"""Encoded values in [0, 1] to linear light, 1 being white."""

BLOCK_PX = 1 << 20  # pixels converted at a time: bounds the memory for their floats
SRGB_NOTICEABLE = 3  # of 255: a profile that moves no colour further is called sRGB
# Columns are the XYZ of sRGB's red, green and blue, adapted to D50 as ICC profiles are.
D50_FROM_SRGB = np.array([[0.43607, 0.38506, 0.14308], [0.22250, 0.71688, 0.06062], [0.01393, 0.09710, 0.71417]])
# Source: ITU-R BT.2087, and SMPTE EG 432-1 for Display P3; rows are sRGB's red, green, blue.
SRGB_FROM_BT2020 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
SRGB_FROM_P3 = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])


@dataclass(frozen=True, eq=False)
class ColorSpace:
    """How encoded RGB turns into light.

    Attributes:
        name: for messages.
        curve: of each channel.
        srgb_from_rgb: 3x3, between linear values.
        is_hdr: it can be brighter than white, which is clipped.
    """

    name: str
    curve: Curve
    srgb_from_rgb: Array
    is_hdr: bool = False


def srgb_curve(signal: Array) -> Array:
    return linear_from_srgb(torch.from_numpy(signal)).numpy()


def pq_curve(signal: Array) -> Array:
    """SMPTE ST 2084, relative to 203 cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = np.asarray(signal, float) ** (1 / m2)
    return (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) * 10000 / 203


def hlg_curve(signal: Array) -> Array:
    """ARIB STD-B67: the light of the scene (no display's system gamma), relative to the signal 0.75."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    signal = np.asarray(signal, float)
    light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return light / ((np.exp((0.75 - c) / a) + b) / 12)


def space_from_cicp(primaries: int, transfer: int) -> ColorSpace | None:
    """The colour space of a video's or a PNG's code points; None if it is shown as sRGB is.

    BT.709 counts as sRGB, as screens show it so. Source: ITU-T H.273.
    """
    curves: dict[int, tuple[str, Curve]] = {
        4: ("gamma 2.2", lambda v: v**2.2),
        8: ("linear", lambda v: v),
        16: ("HDR (PQ)", pq_curve),
        18: ("HDR (HLG)", hlg_curve),
    }
    gamuts = {9: (" BT.2020", SRGB_FROM_BT2020), 11: (" P3", SRGB_FROM_P3), 12: (" P3", SRGB_FROM_P3)}
    if transfer not in curves and primaries not in gamuts:
        return None
    curve_name, curve = curves.get(transfer, ("sRGB curve", srgb_curve))
    gamut_name, matrix = gamuts.get(primaries, ("", np.eye(3)))
    return ColorSpace(curve_name + gamut_name, curve, matrix, is_hdr=transfer in (16, 18))


def _icc_curve(data: bytes) -> Curve:
    """A `curv` or `para` tag. Source: ICC.1:2022, 10.6 and 10.18."""
    if data[:4] == b"curv":
        (count,) = struct.unpack(">I", data[8:12])
        if count < 2:
            gamma = struct.unpack(">H", data[12:14])[0] / 256 if count else 1.0
            return lambda v: v**gamma
        table = np.frombuffer(data, ">u2", count, 12) / 65535
        return lambda v: np.interp(v, np.linspace(0, 1, count), table)
    if data[:4] != b"para":
        raise ValueError("no curve")
    kind = struct.unpack(">H", data[8:10])[0]
    values = np.frombuffer(data, ">i4", (1, 3, 4, 5, 7)[kind], 12) / 65536
    g, a, b, c, d, e, f = (*values, *(1.0, 0.0, 0.0, 0.0, 0.0, 0.0)[len(values) - 1 :])
    if kind in (1, 2):  # (a x + b)^g + c above -b / a, else c
        return lambda v: np.where(v >= -b / a, np.maximum(a * v + b, 0) ** g, 0) + (c if kind == 2 else 0)
    if kind == 0:
        return lambda v: v**g
    return lambda v: np.where(v >= d, np.maximum(a * v + b, 0) ** g + e, c * v + f)


def space_from_icc(profile: bytes) -> ColorSpace | None:
    """The colour space of an RGB profile made of three primaries and a curve; None for any other."""
    try:
        (count,) = struct.unpack(">I", profile[128:132])
        entries = (struct.unpack(">4sII", profile[132 + 12 * i : 144 + 12 * i]) for i in range(min(count, 100)))
        tags = {name: profile[start : start + size] for name, start, size in entries}
        columns = [np.frombuffer(tags[t], ">i4", 3, 8) / 65536 for t in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curve = _icc_curve(tags[b"rTRC"])
    except (KeyError, ValueError, IndexError, struct.error):
        return None
    return ColorSpace("ICC profile", curve, np.linalg.inv(D50_FROM_SRGB) @ np.stack(columns, axis=1))


def as_srgb8(pixels: Array, space: ColorSpace | None) -> Array:
    """8-bit sRGB of integer pixels [height, width, 3] of any depth, rounded once, at the very end."""
    top = np.iinfo(pixels.dtype).max
    levels = np.arange(top + 1) / top
    table = (srgb_curve if space is None else space.curve)(levels).astype(np.float32)
    flat = pixels.reshape(-1, 3)
    result = np.empty(flat.shape, np.uint8)
    for start in range(0, len(flat), BLOCK_PX):
        part = slice(start, start + BLOCK_PX)
        light = table[flat[part]]
        if space is not None:
            light = light @ space.srgb_from_rgb.T.astype(np.float32)
        srgb = srgb_from_linear(torch.from_numpy(light).clamp(0, 1))
        result[part] = (srgb * 255).round().numpy()
    return result.reshape(pixels.shape)


def _cube() -> Image.Image:
    """All combinations of five levels per channel."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 255, 5)] * 3), axis=-1)
    return Image.fromarray(grid.reshape(25, 5, 3).astype(np.uint8))


def through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture as sRGB; as it is where the profile is unreadable or of another kind of picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def is_srgb(profile: bytes | None) -> bool:
    """Whether colours stay the same, to the eye, if an RGB picture's profile is dropped."""
    if not profile:
        return True
    before = _cube()
    after = through_profile(before, profile)
    return bool(np.abs(np.asarray(before, int) - np.asarray(after, int)).max() <= SRGB_NOTICEABLE)

"""Gaussians as compressed PLY, the format of PlayCanvas and SuperSplat; written by gsplat, read here.

Chunks of 256 neighbours share the bounds of their positions, log scales and colours; within these each Gaussian has
11, 10 and 11 bits of position, as many of scale, a byte for each colour and for opacity, and a rotation of 32 bits.
A third element holds the spherical harmonics, a byte each.
Source: developer.playcanvas.com, "The PLY format"; github.com/playcanvas/splat-transform.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import FormatError
from ..run import atomic_write
from .gaussians import SH_C0, Gaussians
from .ply import REST_COUNTS, read_elements
from .ply_header import FLOATS, Elements, read_header
from .values import logits_of_bytes, scene_of_file, values_to_write

CHUNK = 256
VISIBLE = 1 / 255  # gsplat leaves out what is fainter than this: no renderer draws it
_BOUNDS = [f"{side}_{name}" for side in ("min", "max") for name in ("x", "y", "z", "scale_x", "scale_y", "scale_z")]
_COLOR_BOUNDS = [f"{side}_{name}" for side in ("min", "max") for name in ("r", "g", "b")]
_PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
_UNSIGNED = {"packed": ("uint", "uint32"), "f_rest": ("uchar", "uint8")}


def write(gaussians: Gaussians, path: Path) -> None:
    """Writes the scene; a file already there is replaced only once the new one is whole.

    Raises:
        FormatError: see `values_to_write`; or nothing in it can be seen.
    """
    from gsplat import export_splats

    values_to_write(gaussians, path)
    if not (gaussians.opacities > VISIBLE).any():
        raise FormatError(f"every Gaussian is fainter than 1/255; {path} was not written")
    raw = {name: value.detach().cpu() for name, value in gaussians.params.items()}
    content = export_splats(**raw, format="ply_compressed")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def is_compressed(header: Elements) -> bool:
    """Whether a PLY with this header is of this kind."""
    return "chunk" in header


def read(path: Path) -> Gaussians:
    """The scene in `path`, with the SH degree that the file holds.

    Raises:
        FormatError: the file is no such PLY, is cut short, or holds NaN or infinity.
    """
    rest = _check(path, read_header(path))
    elements = read_elements(path)
    chunks, vertices = elements["chunk"].data, elements["vertex"].data
    of_chunk = np.arange(len(vertices)) // CHUNK

    def between(names: Iterable[str], shares: np.ndarray) -> np.ndarray:
        if f"min_{next(iter(names))}" not in chunks.dtype.names:  # older files store colours as they are
            return shares
        low = np.stack([chunks[f"min_{name}"] for name in names], axis=1)[of_chunk]
        high = np.stack([chunks[f"max_{name}"] for name in names], axis=1)[of_chunk]
        with np.errstate(invalid="ignore", over="ignore"):
            return low * (1 - shares) + high * shares

    rgba = _bits(vertices["packed_color"], (8, 8, 8, 8))
    sh = (between("rgb", rgba[:, :3]) - 0.5)[:, None] / SH_C0
    if rest:
        coded = np.stack([elements["sh"].data[f"f_rest_{i}"] for i in range(rest)], axis=1).astype(np.float32)
        values = (np.where(coded == 0, 0, np.where(coded == 255, 256, coded + 0.5)) / 256 - 0.5) * 8
        sh = np.concatenate([sh, values.reshape(len(vertices), 3, -1).transpose(0, 2, 1)], axis=1)
    return scene_of_file(
        path, means=between("xyz", _bits(vertices["packed_position"], (11, 10, 11))),
        quats=_quats(vertices["packed_rotation"]),
        log_scales=between(("scale_x", "scale_y", "scale_z"), _bits(vertices["packed_scale"], (11, 10, 11))),
        opacity_logits=logits_of_bytes(rgba[:, 3] * 255), sh=sh,
    )  # fmt: skip


def _bits(packed: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    """The fields of a 32-bit word, first one uppermost, each from 0 to 1."""
    fields, below = [], 32
    for width in widths:
        below -= width
        top = (1 << width) - 1
        fields.append((packed >> below & top) / np.float32(top))
    return np.stack(fields, axis=1)


def _quats(packed: np.ndarray) -> np.ndarray:
    """Unit quaternions (wxyz): two bits for the largest component, ten for each other one."""
    largest = (packed >> 30).astype(np.int64)
    others = (_bits(packed, (2, 10, 10, 10))[:, 1:] - 0.5) * 2**0.5
    quats = np.zeros((len(packed), 4), np.float32)
    places = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    np.put_along_axis(quats, places, others, axis=1)
    rows = np.arange(len(packed))
    quats[rows, largest] = np.sqrt(np.maximum(0, 1 - np.square(others).sum(axis=1)))
    return quats


def _check(path: Path, header: Elements) -> int:
    """How many coefficients above the constant each Gaussian has, all channels together."""
    (chunks, bounds), (count, packed) = header.get("chunk", (0, {})), header.get("vertex", (0, {}))
    missing = [name for name in _BOUNDS if name not in bounds] + [name for name in _PACKED if name not in packed]
    colors = [name for name in _COLOR_BOUNDS if name in bounds]
    if colors and len(colors) < len(_COLOR_BOUNDS):
        missing += [name for name in _COLOR_BOUNDS if name not in colors]
    if missing:
        raise FormatError(f"{path} is no compressed PLY of Gaussians: it lacks {', '.join(missing)}")
    if count == 0 or chunks != -(-count // CHUNK):
        raise FormatError(f"{path} has {count} Gaussians in {chunks} chunks; need one for every {CHUNK}")
    harmonics, rest = header.get("sh", (count, {}))
    if harmonics != count or len(rest) not in REST_COUNTS or set(rest) != {f"f_rest_{i}" for i in range(len(rest))}:
        raise FormatError(f"{path} has {len(rest)} harmonics for {harmonics} of {count} Gaussians; need 0, 9, 24 or 45")
    kinds = [(name, bounds[name], FLOATS) for name in _BOUNDS + colors]
    kinds += [(name, packed[name], _UNSIGNED["packed"]) for name in _PACKED]
    kinds += [(name, kind, _UNSIGNED["f_rest"]) for name, kind in rest.items()]
    for name, kind, needed in kinds:
        if kind not in needed:
            raise FormatError(f"{path}: {name} is stored as {kind}; need {needed[0]}")
    return len(rest)

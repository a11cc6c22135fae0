"""Gaussians as PLY, laid out exactly as the reference implementation of 3D Gaussian Splatting writes it.

Binary little endian, one `vertex` element of floats: x y z, nx ny nz (zero), f_dc_0..2, f_rest_* (all of
red, then green, then blue), opacity (logit), scale_0..2 (log), rot_0..3 (wxyz, any norm).
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from plyfile import PlyData, PlyElement, PlyParseError

from ..errors import FormatError
from ..run import atomic_write
from .gaussians import Gaussians
from .ply_header import FLOATS, read_header
from .values import scene_of_file, values_to_write

_POSITION = ["x", "y", "z"]
_NORMAL = ["nx", "ny", "nz"]
_COLOR = [f"f_dc_{i}" for i in range(3)]
_SCALE = [f"scale_{i}" for i in range(3)]
_ROTATION = [f"rot_{i}" for i in range(4)]
_REQUIRED = [*_POSITION, *_COLOR, "opacity", *_SCALE, *_ROTATION]

REST_COUNTS = (0, 9, 24, 45)  # three channels of the coefficients above the constant, degree 0 to 3


def write(gaussians: Gaussians, path: Path) -> None:
    """Writes the scene; a file already there is replaced only once the new one is whole.

    Raises:
        FormatError: see `values_to_write`.
    """
    raw = values_to_write(gaussians, path)
    count = len(gaussians)
    columns = [
        raw["means"], np.zeros((count, 3), np.float32), raw["sh0"][:, 0],
        raw["shN"].transpose(0, 2, 1).reshape(count, -1),
        raw["opacities"][:, None], raw["scales"], raw["quats"],
    ]  # fmt: skip
    values = np.concatenate(columns, axis=1).astype("<f4")
    rest = [f"f_rest_{i}" for i in range(3 * raw["shN"].shape[1])]
    names = [*_POSITION, *_NORMAL, *_COLOR, *rest, "opacity", *_SCALE, *_ROTATION]
    vertices = values.view([(name, "<f4") for name in names])[:, 0]
    with atomic_write(path) as temporary:
        PlyData([PlyElement.describe(vertices, "vertex")], byte_order="<").write(str(temporary))


def read(path: Path) -> Gaussians:
    """The scene in `path`, float32, with the SH degree that the file holds.

    Raises:
        FormatError: the file is no PLY of Gaussians, is cut short, or holds NaN or infinity. Its header is
            checked against its size before anything is allocated.
    """
    rest = _check_vertices(path, *read_header(path).get("vertex", (0, {})))
    vertices = read_elements(path)["vertex"].data

    def columns(wanted: list[str]) -> Float[np.ndarray, "N column"]:
        table = np.empty((len(vertices), len(wanted)), np.float32)
        with np.errstate(over="ignore"):
            for i, name in enumerate(wanted):
                table[:, i] = vertices[name]
        return table

    sh_rest = columns([f"f_rest_{i}" for i in range(rest)]).reshape(len(vertices), 3, -1).transpose(0, 2, 1)
    return scene_of_file(
        path, means=columns(_POSITION), quats=columns(_ROTATION), log_scales=columns(_SCALE),
        opacity_logits=columns(["opacity"])[:, 0], sh=np.concatenate([columns(_COLOR)[:, None], sh_rest], axis=1),
    )  # fmt: skip


def read_elements(path: Path) -> PlyData:
    """The data of a PLY whose header is known to be sound.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        return PlyData.read(str(path))
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (PlyParseError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is not a readable PLY: {error}") from error


def _check_vertices(path: Path, count: int, properties: dict[str, str]) -> int:
    """How many coefficients above the constant each Gaussian has, all channels together."""
    if count == 0:
        raise FormatError(f"{path} holds no vertices")
    missing = [name for name in _REQUIRED if name not in properties]
    if missing:
        raise FormatError(f"{path} is a PLY, but not of Gaussians: it lacks {', '.join(missing)}")
    rest = [name for name in properties if name.startswith("f_rest_")]
    if len(rest) not in REST_COUNTS or set(rest) != {f"f_rest_{i}" for i in range(len(rest))}:
        raise FormatError(f"{path} has {len(rest)} f_rest properties; need 0, 9, 24 or 45, counted from 0")
    odd = [name for name in [*_REQUIRED, *rest] if properties[name] not in FLOATS]
    if odd:
        raise FormatError(f"{path}: {odd[0]} is stored as {properties[odd[0]]}; need float")
    return len(rest)

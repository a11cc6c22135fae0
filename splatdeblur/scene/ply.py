"""Gaussians as PLY, laid out exactly as the reference implementation of 3D Gaussian Splatting writes it.

Binary little endian, one `vertex` element of floats: x y z, nx ny nz (zero), f_dc_0..2, f_rest_* (all of
red, then green, then blue), opacity (logit), scale_0..2 (log), rot_0..3 (wxyz, any norm).
"""

from pathlib import Path
from typing import IO

import numpy as np
import torch
from jaxtyping import Float
from plyfile import PlyData, PlyElement, PlyParseError

from ..errors import FormatError
from ..run import atomic_write
from .gaussians import Gaussians

_POSITION = ["x", "y", "z"]
_NORMAL = ["nx", "ny", "nz"]
_COLOR = [f"f_dc_{i}" for i in range(3)]
_SCALE = [f"scale_{i}" for i in range(3)]
_ROTATION = [f"rot_{i}" for i in range(4)]
_REQUIRED = [*_POSITION, *_COLOR, "opacity", *_SCALE, *_ROTATION]

_REST_COUNTS = (0, 9, 24, 45)  # three channels of the coefficients above the constant, degree 0 to 3
_MAX_HEADER_BYTES = 65536
_BYTES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4, "double": 8, "float64": 8,
}  # fmt: skip
_FLOATS = ("float", "float32", "double", "float64")


def write(gaussians: Gaussians, path: Path) -> None:
    """Writes the scene; a file already there is replaced only once the new one is whole.

    Raises:
        FormatError: there is no Gaussian, or some hold NaN or infinity. A scene with such values is broken in
            a way that dropping them would hide.
    """
    raw = {name: value.detach().cpu().numpy() for name, value in gaussians.params.items()}
    count = len(gaussians)
    if count == 0:
        raise FormatError(f"the scene has no Gaussians; {path} was not written")
    columns = [
        raw["means"], np.zeros((count, 3)), raw["sh0"][:, 0],
        raw["shN"].transpose(0, 2, 1).reshape(count, -1),
        raw["opacities"][:, None], raw["scales"], raw["quats"],
    ]  # fmt: skip
    with np.errstate(over="ignore"):
        values = np.concatenate(columns, axis=1).astype("<f4")
    broken = int((~np.isfinite(values)).any(axis=1).sum())
    if broken:
        raise FormatError(f"{broken} of {count} Gaussians hold NaN or infinity; {path} was not written")
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
    try:
        with open(path, "rb") as stream:
            names = _check_header(path, stream)
        vertices = PlyData.read(str(path))["vertex"].data
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (PlyParseError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is not a readable PLY: {error}") from error
    rest = [f"f_rest_{i}" for i in range(sum(name.startswith("f_rest_") for name in names))]

    def columns(wanted: list[str]) -> Float[torch.Tensor, "N column"]:
        table = np.empty((len(vertices), len(wanted)), np.float32)
        with np.errstate(over="ignore"):
            for i, name in enumerate(wanted):
                table[:, i] = vertices[name]
        return torch.from_numpy(table)

    sh_rest = columns(rest).unflatten(1, (3, -1)).mT if rest else torch.empty(len(vertices), 0, 3)
    sh = torch.cat([columns(_COLOR)[:, None], sh_rest], dim=1)
    opacity_logits = columns(["opacity"])[:, 0]
    parts = (columns(_POSITION), columns(_ROTATION), columns(_SCALE), opacity_logits, sh)
    is_finite = torch.cat([part.reshape(len(vertices), -1).isfinite() for part in parts], dim=1).all(1)
    broken = len(vertices) - int(is_finite.sum())
    if broken:
        raise FormatError(f"{broken} of {len(vertices)} Gaussians in {path} hold NaN or infinity")
    return Gaussians.from_raw(*parts)


def _check_header(path: Path, stream: IO[bytes]) -> list[str]:
    """Names of the vertices' properties, from a header of Gaussians that is true to the file's size.

    Raises:
        FormatError: it is not.
    """
    head = stream.read(_MAX_HEADER_BYTES)
    if not head.startswith((b"ply\n", b"ply\r")):
        raise FormatError(f"{path} is not a PLY file")
    end = head.find(b"end_header")
    if end < 0:
        raise FormatError(f"{path}: no end of the PLY header in its first {_MAX_HEADER_BYTES} bytes")
    elements: dict[str, tuple[int, dict[str, str]]] = {}
    encoding = None
    current: dict[str, str] = {}
    for line in head[:end].decode("ascii", errors="replace").splitlines()[1:]:
        match line.split():
            case ["format", encoding, _]:
                pass
            case ["element", name, count] if count.isdecimal() and len(count) < 16 and name not in elements:
                current = {}
                elements[name] = (int(count), current)
            case ["property", kind, name] if kind in _BYTES and elements and name not in current:
                current[name] = kind
            case [("comment" | "obj_info"), *_] | []:
                pass
            case _:
                raise FormatError(f"{path}: a PLY of Gaussians has no header line {line[:80]!r}")
    if encoding != "binary_little_endian":
        raise FormatError(f"{path}: found {str(encoding)[:40]}; need binary little-endian, convert it first")
    _check_vertices(path, elements.get("vertex", (0, {})))
    stream.seek(0, 2)
    held = stream.tell() - end - len(b"end_header\n")
    claimed = sum(count * sum(map(_BYTES.get, kinds.values())) for count, kinds in elements.values())
    if claimed > held:
        raise FormatError(f"{path} is cut short: its header claims {claimed} bytes of data, it holds {held}")
    return list(elements["vertex"][1])


def _check_vertices(path: Path, vertex: tuple[int, dict[str, str]]) -> None:
    count, properties = vertex
    if count == 0:
        raise FormatError(f"{path} holds no vertices")
    missing = [name for name in _REQUIRED if name not in properties]
    if missing:
        raise FormatError(f"{path} is a PLY, but not of Gaussians: it lacks {', '.join(missing)}")
    rest = [name for name in properties if name.startswith("f_rest_")]
    if len(rest) not in _REST_COUNTS or set(rest) != {f"f_rest_{i}" for i in range(len(rest))}:
        raise FormatError(f"{path} has {len(rest)} f_rest properties; need 0, 9, 24 or 45, counted from 0")
    odd = [name for name in [*_REQUIRED, *rest] if properties[name] not in _FLOATS]
    if odd:
        raise FormatError(f"{path}: {odd[0]} is stored as {properties[odd[0]]}; need float")

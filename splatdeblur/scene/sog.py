"""Gaussians as SOG, PlayCanvas's format of lossless WebP pictures in a ZIP file; through gaussforge, an extra.

Source: developer.playcanvas.com, "The SOG format", version 2.
"""

import json
import lzma
import tempfile
import zipfile
import zlib
from pathlib import Path
from types import ModuleType

import torch
from PIL import Image

from ..errors import FormatError
from ..run import atomic_write
from . import ply
from .gaussians import Gaussians

MAX_COUNT = 50_000_000  # Gaussians; as PLY this many would be 12 GB
MAX_RATIO = 64  # pixels for each byte of the file: real scenes have under one
_NOT_READABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, Image.DecompressionBombError)


def write(gaussians: Gaussians, path: Path) -> None:
    """Writes the scene; a file already there is replaced only once the new one is whole.

    Raises:
        FormatError: gaussforge is missing or fails; or see `values_to_write`.
    """
    forge = _gaussforge(path)
    with tempfile.TemporaryDirectory() as folder:
        ply.write(_normalized(gaussians), Path(folder) / "scene.ply")
        made = forge.GaussForge().convert((Path(folder) / "scene.ply").read_bytes(), "ply", "sog")
    if "error" in made:
        raise FormatError(f"gaussforge cannot write {path}: {made['error']}")
    with atomic_write(path) as temporary:
        temporary.write_bytes(made["data"])


def read(path: Path) -> Gaussians:
    """The scene in `path`.

    Raises:
        FormatError: gaussforge is missing; or the file is damaged, or claims more than it can hold.
    """
    forge = _gaussforge(path)
    _check(path)
    made = forge.GaussForge().convert(path.read_bytes(), "sog", "ply")
    if "error" in made:
        raise FormatError(f"{path} is not a readable SOG: {made['error']}")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / path.name).write_bytes(made["data"])
        return ply.read(Path(folder) / path.name)


def _normalized(gaussians: Gaussians) -> Gaussians:
    """The same scene with unit quaternions, which gaussforge takes for granted."""
    raw = gaussians.params
    quats = torch.nn.functional.normalize(gaussians.quats, dim=-1)
    return Gaussians.from_raw(gaussians.means, quats, raw["scales"], raw["opacities"], gaussians.sh)


def _gaussforge(path: Path) -> ModuleType:
    try:
        import gaussforge
    except ImportError as error:
        raise FormatError(f"{path} needs gaussforge: pip install 'splatdeblur[sog]', or use PLY or SPZ") from error
    return gaussforge


def _check(path: Path) -> None:
    """Nothing of what the file claims is larger than so small a file can be.

    Raises:
        FormatError: it is, or it is no SOG.
    """
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > 4 * size + 1_000_000:
                raise FormatError(f"{path} unpacks to far more than a SOG does: it is damaged or hostile")
            count = int(json.loads(archive.read("meta.json"))["count"])
            pixels = 0
            for member in archive.namelist():
                if member.endswith(".webp"):
                    with archive.open(member) as stream, Image.open(stream) as image:
                        pixels += image.width * image.height
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (*_NOT_READABLE, KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise FormatError(f"{path} is not a readable SOG: {error}") from error
    if not 0 < count <= min(MAX_COUNT, pixels) or pixels > MAX_RATIO * size + 100_000:
        raise FormatError(f"{path} claims {count} Gaussians and {pixels} pixels in {size} bytes: damaged or hostile")

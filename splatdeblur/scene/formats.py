"""Which files hold scenes: the one place that knows them all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, FormatError
from . import compressed_ply, ply, sog, splat, spz
from .gaussians import Gaussians
from .ply_header import read_header


@dataclass(frozen=True)
class SceneFormat:
    """A kind of file.

    Attributes:
        suffix: of its files.
        read, write: whole scenes; both raise FormatError.
    """

    suffix: str
    read: Callable[[Path], Gaussians]
    write: Callable[[Gaussians, Path], None]


SCENE_FORMATS = {
    "ply": SceneFormat(".ply", ply.read, ply.write),
    "compressed": SceneFormat(".compressed.ply", compressed_ply.read, compressed_ply.write),
    "spz": SceneFormat(".spz", spz.read, spz.write),
    "splat": SceneFormat(".splat", splat.read, splat.write),
    "sog": SceneFormat(".sog", sog.read, sog.write),
}


def is_scene_file(path: Path) -> bool:
    """Whether the name says that it is one."""
    return path.name.lower().endswith(tuple(f.suffix for f in SCENE_FORMATS.values()))


def load_scene(path: Path) -> Gaussians:
    """The scene in a file of any of the formats.

    Raises:
        FormatError: its name ends in none of their suffixes, or it is not sound.
    """
    if not is_scene_file(path):
        raise FormatError(f"{path} is no file of Gaussians by its name; need .ply, .spz, .splat or .sog")
    if path.suffix.lower() == ".ply":
        return (compressed_ply if compressed_ply.is_compressed(read_header(path)) else ply).read(path)
    return SCENE_FORMATS[path.suffix.lower()[1:]].read(path)


def save_scene(gaussians: Gaussians, path: Path, format: str) -> None:
    """Writes a scene, whole or not at all.

    Raises:
        ConfigError: there is no such format.
        FormatError: the scene cannot be written, or the name is not one of the format's.
    """
    if format not in SCENE_FORMATS:
        raise ConfigError(f'no scene format "{format}"; there are {", ".join(SCENE_FORMATS)}')
    _check_name(path, format)
    SCENE_FORMATS[format].write(gaussians, path)


def _check_name(path: Path, format: str) -> None:
    """Whether `load_scene` would take the file for what it is: any PLY is told by its header.

    Raises:
        FormatError: it would not.
    """
    name, suffix = path.name.lower(), SCENE_FORMATS[format].suffix
    if name.endswith(Path(f"scene{suffix}").suffix):
        return
    fitting = [f"--format {key} writes {f.suffix}" for key, f in SCENE_FORMATS.items() if name.endswith(f.suffix)]
    advice = " or ".join([*fitting[:1], f"give a name that ends in {suffix}"])
    raise FormatError(f"--format {format} writes {suffix}, and {path} is named otherwise: {advice}")

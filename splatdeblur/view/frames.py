"""Pictures of a scene as files: PNG with 8 or 16 bits, EXR in linear light, depth; what is there already is kept."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from ..capture.pixels import eight_bit, write_picture
from ..errors import FormatError
from ..geometry import linear_from_srgb
from ..run import atomic_write
from .colors import colored
from .png16 import write_png16

PictureFormat = Literal["png", "png16", "exr"]
DEPTH_STEPS = 65535  # of a 16-bit picture
MANIFEST = "render.json"


@dataclass(frozen=True, eq=False)
class Picture:
    """One view.

    Attributes:
        srgb: not clipped.
        depth: z-depth in world units, 0 where there is nothing.
    """

    srgb: Float[Tensor, "height width 3"]
    depth: Float[Tensor, "height width"]


@dataclass(frozen=True)
class FrameFiles:
    """Which files are written for each view.

    Attributes:
        format: "png" (8 bits), "png16" (16 bits) or "exr" (linear light, half floats, brighter than white too).
        max_depth: z-depth in world units that the last step of a 16-bit depth picture stands for; 0 for no depth.
        known_light: the brightest linear light that some photo shows below white: what is brighter in an EXR picture
            only says "at least so bright", and the pictures and the manifest say so; 0 where it is not known.
        folder: where the pictures lie in the output folder; depth lies beside.
    """

    format: PictureFormat = "png"
    max_depth: float = 0.0
    folder: str = ""
    known_light: float = 0.0

    def paths(self, out: Path, name: str) -> list[Path]:
        """The files of view `name`."""
        picture = out / self.folder / f"{name}.{'exr' if self.format == 'exr' else 'png'}"
        return [picture, *(out / part / f"{name}.png" for part in ("depth", "depth_colors") if self.max_depth)]


def write_frames(
    names: tuple[str, ...],
    draw: Callable[[int], Picture],
    out: Path,
    files: FrameFiles,
    *,
    made_from: str,
    on_progress: Callable[[float, str], None],
    beside: Sequence[str] = (),
) -> int:
    """Writes the files of every view, each whole or not at all, and returns how many views were drawn.

    Views whose files an earlier call left here are kept if that was `made_from` the same, and drawn anew if not.

    Args:
        draw: the view of an index in `names`.
        made_from: stands for the scene, the cameras and all settings.
        beside: other files in `out` that the caller is about to write, which must not replace the user's either.
    Raises:
        FormatError: a file would replace one that this program did not write, or OpenEXR is missing.
    """
    _require_exr(files)
    _claim(names, out, files, hashlib.sha256(repr((made_from, names, files)).encode()).hexdigest(), beside)
    left = [i for i, name in enumerate(names) if not all(path.exists() for path in files.paths(out, name))]
    for done, index in enumerate(left):
        on_progress(done / len(left), f"view {len(names) - len(left) + done + 1} of {len(names)}")
        _write(draw(index), files, *files.paths(out, names[index]))
    return len(left)


def _claim(names: tuple[str, ...], out: Path, files: FrameFiles, made_from: str, beside: Sequence[str]) -> None:
    """Makes `out` the place of these renders: what an earlier render of anything else left is removed."""
    owned, is_same = _owned(out, made_from)
    wanted = [*(path for name in names for path in files.paths(out, name)), *(out / name for name in beside)]
    foreign = [path for path in wanted if path.exists() and path not in owned]
    if foreign:
        raise FormatError(f"{foreign[0]} is there already and not from an earlier render; choose another --out")
    if not is_same:
        for path in owned:
            path.unlink(missing_ok=True)
        owned = set()
    facts = {"made_from": made_from, "files": sorted(str(path.relative_to(out)) for path in {*wanted, *owned})}
    if files.max_depth:
        facts["depth"] = {"world_units_per_step": files.max_depth / DEPTH_STEPS, "nothing": 0, "is": "z-depth"}
    if files.format == "exr" and files.known_light:
        facts["light"] = {"known_up_to": files.known_light, "brighter": "clipped in every photo: at least so bright"}
    with atomic_write(out / MANIFEST) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))


def _owned(out: Path, made_from: str) -> tuple[set[Path], bool]:
    """The files that an earlier render wrote, by its manifest, and whether they were made from the same.

    The manifest is a file as any other: it has no say on what lies outside `out`.
    """
    try:
        before = json.loads((out / MANIFEST).read_text())
        listed, is_same = {out / path for path in before["files"]}, before["made_from"] == made_from
        return {p for p in listed if p.is_file() and p.resolve().is_relative_to(out.resolve())}, is_same
    except (OSError, ValueError, KeyError, TypeError):
        return set(), False


def _write(picture: Picture, files: FrameFiles, path: Path, *depth_paths: Path) -> None:
    if depth_paths:
        steps = (picture.depth / files.max_depth * DEPTH_STEPS).round().clamp(0, DEPTH_STEPS)
        write_png16(depth_paths[0], steps.cpu().numpy().astype(np.uint16))
        with atomic_write(depth_paths[1]) as temporary:
            Image.fromarray(depth_colors(picture.depth, files.max_depth)).save(temporary, format="PNG")
    if files.format == "png":
        write_picture(path, picture.srgb)
    elif files.format == "png16":
        write_png16(path, (picture.srgb.clamp(0, 1) * 65535).round().cpu().numpy().astype(np.uint16))
    else:
        _write_exr(path, picture, files.known_light)


def depth_colors(depth: Float[Tensor, "height width"], max_depth: float) -> UInt8[np.ndarray, "height width 3"]:
    """Depth for the eye: pale is near, dark is far; black where there is nothing."""
    return eight_bit(colored(-depth, -max_depth, 0.0) * (depth > 0).cpu()[..., None])


def _require_exr(files: FrameFiles) -> None:
    if files.format == "exr":
        try:
            import OpenEXR  # noqa: F401
        except ImportError as error:
            raise FormatError("EXR needs OpenEXR: pip install 'splatdeblur[exr]', or take --format png16") from error


def _write_exr(path: Path, picture: Picture, known_light: float) -> None:
    """Linear light of Rec. 709 primaries as RGB half floats, z-depth as Z."""
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    header |= {"knownLightUpTo": known_light} if known_light else {}
    channels = {
        "RGB": linear_from_srgb(picture.srgb).cpu().numpy().astype(np.float16),
        "Z": picture.depth.cpu().numpy().astype(np.float32),
    }
    with atomic_write(path) as temporary:
        OpenEXR.File(header, channels).write(str(temporary))

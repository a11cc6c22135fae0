"""Gaussians as .splat, the format of antimatter15's viewer: 32 bytes each, without view-dependent colour.

Three floats of position, three of scale, red, green, blue and opacity in a byte each, then the quaternion wxyz as
128 + 128 q. (gsplat writes .splat too, but cuts colours and rotations off where this rounds them.)
"""

from pathlib import Path

import numpy as np

from ..errors import FormatError
from ..run import atomic_write
from .gaussians import SH_C0, Gaussians
from .values import bytes_of_logits, logits_of_bytes, quantized, scene_of_file, unit, values_to_write

_RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 3), ("alpha", "u1"), ("quat", "u1", 4)])
_MIN_SCALE = 1e-20  # a scale of zero has no logarithm


def write(gaussians: Gaussians, path: Path) -> None:
    """Writes the scene, what covers most first, as viewers that show a part while loading want it.

    Raises:
        FormatError: see `values_to_write`.
    """
    raw = values_to_write(gaussians, path)
    records = np.zeros(len(gaussians), _RECORD)
    records["mean"], records["scale"] = raw["means"], np.exp(raw["scales"])
    records["color"] = quantized((raw["sh0"][:, 0] * SH_C0 + 0.5) * 255, 255)
    records["alpha"] = bytes_of_logits(raw["opacities"])
    records["quat"] = quantized(unit(raw["quats"]) * 128 + 128, 255)
    order = np.argsort(-raw["scales"].sum(axis=1) - np.log(records["alpha"] + 0.5), kind="stable")
    with atomic_write(path) as temporary:
        temporary.write_bytes(records[order].tobytes())


def read(path: Path) -> Gaussians:
    """The scene in `path`, of degree 0.

    Raises:
        FormatError: its size is no multiple of 32 bytes, or it holds NaN, infinity or negative scales.
    """
    try:
        size = path.stat().st_size
        if size == 0 or size % _RECORD.itemsize:
            raise FormatError(f"{path} has {size} bytes, a .splat file has {_RECORD.itemsize} for each Gaussian")
        records = np.fromfile(path, _RECORD)
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    with np.errstate(invalid="ignore", divide="ignore"):
        log_scales = np.log(np.where(records["scale"] == 0, _MIN_SCALE, records["scale"]))
    return scene_of_file(
        path, means=records["mean"], quats=(records["quat"].astype(np.float32) - 128) / 128, log_scales=log_scales,
        opacity_logits=logits_of_bytes(records["alpha"]),
        sh=((records["color"].astype(np.float32) / 255 - 0.5) / SH_C0)[:, None],
    )  # fmt: skip

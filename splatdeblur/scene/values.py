"""Between scenes and the arrays that files hold; the checks that every format shares."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from ..errors import FormatError
from .gaussians import Gaussians

OPAQUE = 20.0  # a logit whose opacity is 1 in single precision


def values_to_write(gaussians: Gaussians, path: Path) -> dict[str, Float[np.ndarray, "N *rest"]]:
    """The raw values of a scene under their names, float32.

    Raises:
        FormatError: there is no Gaussian, or some hold NaN or infinity. A scene with such values is broken in
            a way that dropping them would hide.
    """
    count = len(gaussians)
    if count == 0:
        raise FormatError(f"the scene has no Gaussians; {path} was not written")
    with np.errstate(over="ignore"):
        raw = {name: value.detach().cpu().numpy().astype(np.float32) for name, value in gaussians.params.items()}
    finite = [np.isfinite(value).reshape(count, -1).all(axis=1) for value in raw.values()]
    broken = count - int(np.all(finite, axis=0).sum())
    if broken:
        raise FormatError(f"{broken} of {count} Gaussians hold NaN or infinity; {path} was not written")
    return raw


def scene_of_file(
    path: Path,
    *,
    means: Float[np.ndarray, "N 3"],
    quats: Float[np.ndarray, "N 4"],
    log_scales: Float[np.ndarray, "N 3"],
    opacity_logits: Float[np.ndarray, "N"],
    sh: Float[np.ndarray, "N K 3"],
) -> Gaussians:
    """The scene that was read from `path`, float32. Infinite opacity logits, which other programs write for fully
    opaque or invisible Gaussians, become finite ones that look the same.

    Raises:
        FormatError: it has no Gaussians, some hold NaN or infinity, or have no rotation.
    """
    if len(means) == 0:
        raise FormatError(f"{path} holds no Gaussians")
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [np.asarray(part, np.float32) for part in (means, quats, log_scales, opacity_logits, sh)]
    parts[3] = np.nan_to_num(parts[3], nan=np.nan, posinf=OPAQUE, neginf=-OPAQUE)
    finite = [np.isfinite(part).reshape(len(means), -1).all(axis=1) for part in parts]
    broken = len(means) - int(np.all(finite, axis=0).sum())
    if broken:
        raise FormatError(f"{broken} of {len(means)} Gaussians in {path} hold NaN or infinity")
    unturned = int((np.abs(parts[1]).max(axis=1) == 0).sum())
    if unturned:
        raise FormatError(f"{unturned} of {len(means)} Gaussians in {path} have a rotation of length zero")
    return Gaussians.from_raw(*(torch.from_numpy(part) for part in parts))


def logits_of_bytes(alpha: np.ndarray) -> Float[np.ndarray, "N"]:
    """Opacity logits of opacities stored in a byte; 0 and 255 stand for the middle of their half steps."""
    opacity = np.clip(alpha.astype(np.float64), 0.25, 254.75) / 255
    return np.log(opacity / (1 - opacity)).astype(np.float32)


def bytes_of_logits(logits: Float[np.ndarray, "N"]) -> np.ndarray:
    """Opacities in a byte each, rounded."""
    return np.round(255 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.uint8)


def unit(quats: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """Quaternions of length 1."""
    return quats / np.linalg.norm(quats.astype(np.float64), axis=1, keepdims=True)


def quantized(values: np.ndarray, top: int) -> np.ndarray:
    """Rounded to whole numbers from 0 to `top`."""
    return np.clip(np.round(values), 0, top)

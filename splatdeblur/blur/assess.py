"""How blurred a photo is, patch by patch and as a whole: the one definition that the whole program goes by."""

from dataclasses import dataclass
from enum import IntEnum

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .features import measure
from .network import Network, PatchBlur, load_network
from .patches import PATCH_PX, STRIDE_PX, cut, luma

LONGEST_SIDE_PX = 1280  # larger photos are assessed at this size
FINEST_STRIDE_PX = 16
COARSE_FROM_PX = 20.0  # longer blur does not fit the windows, and is looked at again at half the size
LOWEST_CONTRAST = 0.04  # of a patch's luma; below, nothing could show blur
LARGEST_ERROR = 1.1  # expected, in log2(1 + px); above, the patch gives no answer


class BlurKind(IntEnum):
    """What took the sharpness; TEXTURELESS is no answer: there is nothing that could show blur."""

    SHARP = 0
    MOTION = 1
    DEFOCUS = 2
    TEXTURELESS = 3


@dataclass(frozen=True, eq=False)
class BlurMap:
    """Blur by patch.

    Attributes:
        centers: x and y of the patches' middles in px of the photo.
        kind: as `BlurKind`.
        strength_px: how far a point smears, in px of the photo: the length of its path for motion, the diameter of its
            disc for defocus; 0 without an answer.
        direction_deg: of motion's path, from x (right) towards y (down), in [0, 180); NaN for other kinds.
        confidence: weight of the answer, in [0, 1]; 0 without one.
    """

    centers: Float[Tensor, "row column 2"]
    kind: Int[Tensor, "row column"]
    strength_px: Float[Tensor, "row column"]
    direction_deg: Float[Tensor, "row column"]
    confidence: Float[Tensor, "row column"]


@dataclass(frozen=True, eq=False)
class PhotoBlur:
    """Blur of a photo as a whole: what its patches say, by confidence.

    Attributes:
        kind: the likeliest; SHARP means blurred by less than 2 px.
        strength_px: median of the patches'; NaN if textureless.
        direction_deg: the patches' common direction, as in `BlurMap`; NaN unless kind is MOTION, and meaningless
            where `agreement` is low: a camera that rolls smears in all directions.
        agreement: how far the patches' directions agree, in [0, 1].
        probabilities: of sharp, motion and defocus; zeros if textureless.
        answered: part of the patches that gave an answer.
        map: the patches.
    """

    kind: BlurKind
    strength_px: float
    direction_deg: float
    agreement: float
    probabilities: tuple[float, float, float]
    answered: float
    map: BlurMap


def assess_blur(
    photo_srgb: Float[Tensor, "height width 3"], *, stride_px: int = STRIDE_PX, network: Network | None = None
) -> PhotoBlur:
    """Strength, kind and direction of a photo's blur, by patch and as a whole.

    Args:
        photo_srgb: encoded values in [0, 1], of any size.
        stride_px: between patches; more of it is faster, and the map coarser.
        network: another than the one that comes with the package.
    """
    gray = luma(photo_srgb.detach().float().cpu())
    factor = max(1.0, max(gray.shape) / LONGEST_SIDE_PX)
    if factor > 1:
        size = [max(1, round(side / factor)) for side in gray.shape]
        gray = F.interpolate(gray[None, None], size, mode="area")[0, 0]
    network = network or load_network()
    found = _assess(gray, factor, stride_px, network)
    while found.strength_px > COARSE_FROM_PX * factor and min(gray.shape) >= 4 * PATCH_PX:
        gray = F.avg_pool2d(gray[None, None], 2)[0, 0]
        stride_px = max(stride_px // 2, FINEST_STRIDE_PX)
        coarser = _assess(gray, 2 * factor, stride_px, network)
        if not coarser.strength_px > COARSE_FROM_PX * factor:
            break
        found, factor = coarser, 2 * factor
    return found


def _assess(gray: Float[Tensor, "height width"], factor: float, stride_px: int, network: Network) -> PhotoBlur:
    """Blur of a picture that was reduced by `factor`, in px of the full one."""
    patches = cut(gray, stride_px)
    features = measure(patches)
    found = network(features)
    is_answer = (features.contrast > LOWEST_CONTRAST) & (found.log_error < LARGEST_ERROR)
    # The weight that the law of errors gives, 1 for the surest answers.
    confidence = is_answer * (0.1 / found.log_error.clamp(min=0.1))
    map = _map(found, confidence, patches.centers * factor, factor, (patches.rows, patches.columns))
    return _whole(found, confidence, map, factor)


def _strength(log_strength: Tensor, factor: float) -> Tensor:
    return (torch.exp2(log_strength) - 1).clamp(min=0) * factor


def _degrees(doubled: Float[Tensor, "*patch 2"]) -> Float[Tensor, "*patch"]:
    return torch.rad2deg(torch.atan2(doubled[..., 1], doubled[..., 0]) / 2) % 180


def _map(
    found: PatchBlur, confidence: Float[Tensor, "patch"], centers: Float[Tensor, "patch 2"], factor: float,
    grid: tuple[int, int],
) -> BlurMap:  # fmt: skip
    is_answer = confidence > 0
    kind = torch.where(is_answer, found.probabilities.argmax(dim=1), int(BlurKind.TEXTURELESS))
    is_motion = kind == BlurKind.MOTION
    return BlurMap(
        centers.reshape(*grid, 2),
        kind.reshape(grid),
        (_strength(found.log_strength, factor) * is_answer).reshape(grid),
        torch.where(is_motion, _degrees(found.direction), torch.nan).reshape(grid),
        confidence.reshape(grid),
    )


def _whole(found: PatchBlur, confidence: Float[Tensor, "patch"], map: BlurMap, factor: float) -> PhotoBlur:
    total = confidence.sum()
    answered = float((confidence > 0).float().mean())
    if total == 0:
        return PhotoBlur(BlurKind.TEXTURELESS, float("nan"), float("nan"), 0.0, (0.0, 0.0, 0.0), 0.0, map)
    probabilities = (found.probabilities * confidence[:, None]).sum(dim=0) / total
    kind = BlurKind(int(probabilities.argmax()))
    strength = float(_strength(_weighted_median(found.log_strength, confidence), factor))
    moving = confidence * found.probabilities[:, BlurKind.MOTION]
    mean = (found.direction * moving[:, None]).sum(dim=0) / moving.sum().clamp(min=1e-9)
    direction = float(_degrees(mean)) if kind is BlurKind.MOTION else float("nan")
    shares = tuple(float(p) for p in probabilities)
    return PhotoBlur(kind, strength, direction, float(mean.norm()), shares, answered, map)


def _weighted_median(values: Float[Tensor, "value"], weights: Float[Tensor, "value"]) -> Float[Tensor, ""]:
    order = values.argsort()
    reached = weights[order].cumsum(dim=0)
    return values[order][int((reached < reached[-1] / 2).sum())]

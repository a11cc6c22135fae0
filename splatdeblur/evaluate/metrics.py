"""How alike two pictures are: PSNR, SSIM and, where its weights lie on the disk, LPIPS.

Renders are clipped to [0, 1] and scored as floats; rounding to 8 bits would only add noise of its own to the score.
"""

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

PSNR_CEILING_DB = 100.0  # equal pictures; JSON knows no infinity
SSIM_WINDOW_PX = 11


@dataclass(frozen=True)
class Metric:
    """One measure over a set of pictures; `mean` is None where it could not be taken, and `reason` says why."""

    mean: float | None
    per_image: dict[str, float]
    reason: str | None = None


@dataclass(frozen=True)
class PictureScores:
    """How near renders come to the truth: higher psnr (dB) and ssim, lower lpips."""

    psnr: Metric
    ssim: Metric
    lpips: Metric


@runtime_checkable
class Perceptual(Protocol):
    """A learned distance between pictures."""

    def __call__(
        self, pictures: Float[Tensor, "image height width 3"], truths: Float[Tensor, "image height width 3"]
    ) -> Float[Tensor, "image"]: ...


def psnr(
    pictures: Float[Tensor, "image height width 3"],
    truths: Float[Tensor, "image height width 3"],
    keep: Bool[Tensor, "image height width"] | None = None,
) -> Float[Tensor, "image"]:
    """Peak signal-to-noise ratio of sRGB pictures in [0, 1], in dB, at most `PSNR_CEILING_DB`.

    Args:
        keep: the pixels that count; None for all.
    """
    squared = (pictures.double().clamp(0, 1) - truths.double()).square().mean(dim=-1)
    return -10 * _mean(squared, keep).clamp(min=10 ** (-PSNR_CEILING_DB / 10)).log10()


def _mean(
    values: Float[Tensor, "image height width"], keep: Bool[Tensor, "image height width"] | None
) -> Float[Tensor, "image"]:
    if keep is None:
        return values.mean(dim=(1, 2))
    return (values * keep).sum(dim=(1, 2)) / keep.sum(dim=(1, 2))


def ssim(
    pictures: Float[Tensor, "image height width 3"],
    truths: Float[Tensor, "image height width 3"],
    keep: Bool[Tensor, "image height width"] | None = None,
) -> Float[Tensor, "image"]:
    """Structural similarity of sRGB pictures in [0, 1]: Gaussian window of 11 px, sigma 1.5 px, per channel.

    Args:
        keep: the pixels that count, None for all; the others are the truth's own on both sides, in windows too.
    Source: Wang et al. 2004, as torchmetrics computes it with its defaults.
    """
    _, map_of_ssim = structural_similarity_index_measure(
        _shown(pictures, truths, keep).clamp(0, 1).movedim(-1, 1).contiguous(),
        truths.movedim(-1, 1).contiguous(),
        data_range=1.0,
        reduction="none",
        return_full_image=True,
    )
    return _mean(map_of_ssim.mean(dim=1), keep)


def _shown(pictures: Tensor, truths: Tensor, keep: Tensor | None) -> Tensor:
    return pictures if keep is None else torch.where(keep[..., None], pictures, truths)


def find_lpips() -> tuple[Perceptual | None, str]:
    """LPIPS (AlexNet) and what it is, or None and why not; nothing is ever downloaded."""
    if importlib.util.find_spec("lpips") is None:
        return None, "the package lpips is not installed"
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(folder.glob("alexnet-*.pth")):
        return None, f"lpips is installed, but its AlexNet weights (alexnet-*.pth) are not in {folder}"
    try:
        import lpips

        network = lpips.LPIPS(net="alex", verbose=False).eval()
    except (ImportError, OSError, RuntimeError) as error:
        return None, f"lpips cannot be used ({error})"

    def distance(
        pictures: Float[Tensor, "image height width 3"], truths: Float[Tensor, "image height width 3"]
    ) -> Float[Tensor, "image"]:
        with torch.no_grad():
            a, b = (2 * x.movedim(-1, 1).float().cpu() - 1 for x in (pictures.clamp(0, 1), truths))
            return network(a, b).reshape(len(pictures))

    return distance, "AlexNet, v0.1"


def _metric(names: tuple[str, ...], values: Float[Tensor, "image"]) -> Metric:
    per_image = dict(zip(names, values.tolist(), strict=True))
    return Metric(math.fsum(per_image.values()) / len(per_image), per_image)


def score(
    names: tuple[str, ...],
    pictures: Sequence[Float[Tensor, "_ _ 3"]],
    truths: Sequence[Float[Tensor, "_ _ 3"]],
    keeps: Sequence[Bool[Tensor, "_ _"] | None] | None = None,
    *,
    perceptual: Perceptual | None = None,
    without_perceptual: str = "not asked for",
) -> PictureScores:
    """Each measure of each picture, and its mean over the pictures (of decibels, as the field does).

    Args:
        names: of the pictures, one or more.
        pictures: sRGB renders, of any sizes; clipped to [0, 1] here.
        truths: sRGB, in [0, 1].
        keeps: the pixels of each that count; None for all. Pictures of which none counts are in no score.
        without_perceptual: why `perceptual` is None.
    """
    marks = keeps or (None,) * len(names)
    batches = [
        (name, picture[None], truth[None], None if keep is None else keep[None])
        for name, picture, truth, keep in zip(names, pictures, truths, marks, strict=True)
        if keep is None or keep.any()
    ]
    if not batches:
        nothing = Metric(None, {}, "masks leave no pixel")
        return PictureScores(nothing, nothing, nothing)
    is_too_small = min(min(truth.shape[1:3]) for _, _, truth, _ in batches) < SSIM_WINDOW_PX
    named = tuple(name for name, *_ in batches)

    def metric(measure: Callable[[Tensor, Tensor, Tensor | None], Tensor]) -> Metric:
        return _metric(named, torch.cat([measure(*rest) for _, *rest in batches]))

    return PictureScores(
        psnr=metric(psnr),
        ssim=Metric(None, {}, f"pictures are smaller than {SSIM_WINDOW_PX} px") if is_too_small else metric(ssim),
        lpips=Metric(None, {}, without_perceptual)
        if perceptual is None
        else metric(lambda picture, truth, keep: perceptual(_shown(picture, truth, keep), truth)),
    )

"""Loss terms; each is a scalar to be scaled and added."""

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..scene import Gaussians
from .charge_kernel import WHITE, charge_and_gradient
from .ssim_kernel import C1, K2, TAPS, WINDOW, ssim_and_gradient

YARDSTICK = 0.02  # of a photo's width, by which it is moved to see what that leaves


@dataclass(frozen=True)
class Loss:
    """What a predicted photo and the scene are charged for.

    Attributes:
        dssim: share of (1 - SSIM) against L1.
        k2: of that SSIM: structure with a standard deviation below it hardly counts. 0.03 is usual, but of the fine
            detail of faint texture blur leaves less than that. Twice the photos' noise, where known, is added.
        slopes: weight of L1 between the differences of neighbouring pixels. Blur leaves little of fine detail in a
            photo; this makes more of it. Not charged where the loss knows the photos' noise.
        noise_from: photos whose noise (estimated, standard deviation of sRGB values, median over the photos at the
            size in training) is above this are charged by how probable it makes them instead of L1, and by an SSIM
            that is deaf to structure as faint as the noise.
        opacity: weight of the opacity of Gaussians in view, as a mean over all; keeps the scene free of fog. It and
            the next are 3DGS-MCMC's.
        scale: weight of their standard deviation in scene units, likewise; keeps Gaussians small.
        temporal: weight of the mean difference between neighbouring sub-frames at the start of training; it decays
            to a hundredth of that (DeblurGS).
        path: weight of each px, of the stage at hand, by which a photo's blur path is longer than `path_free` times the
            blur that shows in the photo. It settles what photos together leave open: a scene too sharp, blurred by
            paths too long.
        path_free: above 1, as a photo shows less of a path where that is bent or the scene is smooth.
        path_ramp: progress over which that charge rises from nothing.
        kernels: weight of the mean share of kernels, or of sub-frames weighed at each pixel, in a photo (BAGS's and
            CoMoGaussian's sparsity of their masks).
        bend: weight of how far space bends otherwise than by turning, where it does (CoMoGaussian).
        response: weight of how far a learned response and vignetting are from none: photos of one brightness leave
            open whether the camera bends the light or the scene is so.
        pose_anchor: weight of the squared pose corrections; ties cameras to where they were found.
    """

    dssim: float = 0.5
    k2: float = 0.01
    slopes: float = 0.5
    noise_from: float = 0.02
    opacity: float = 0.02
    scale: float = 0.02
    temporal: float = 0.0
    path: float = 1e-3
    path_free: float = 2.0
    path_ramp: tuple[float, float] = (0.0, 0.1)
    response: float = 0.05
    pose_anchor: float = 0.0
    kernels: float = 1e-3
    bend: float = 1e-4

    def for_sharp(self) -> "Loss":
        """What captures without blur are charged: 3DGS's terms. What `dssim`, `k2` and `slopes` add by default makes
        up for what blur has left of a photo's detail, and costs sharp photos 0.3 dB. Set otherwise, they stay."""
        usual, plain = Loss(), {"dssim": 0.2, "k2": K2, "slopes": 0.0}
        return replace(self, **{k: v for k, v in plain.items() if getattr(self, k) == getattr(usual, k)})

    def of_photo(
        self,
        predicted: Float[Tensor, "height width 3"],
        photo: Float[Tensor, "height width 3"],
        keep: Bool[Tensor, "height width"] | None = None,
    ) -> Float[Tensor, ""]:
        """What a predicted photo, or a part of one, is charged where the photos' noise is not known: `photometric`."""
        return photometric(predicted, photo, self.dssim, keep, self.slopes, self.k2)


@lru_cache(maxsize=32)
def _window_matrix(size: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "valid size"]:
    """Row i is SSIM's Gaussian window over elements i to i + 10."""
    matrix = torch.zeros(size - WINDOW + 1, size, dtype=dtype, device=device)
    for i in range(len(matrix)):
        matrix[i, i : i + WINDOW] = torch.from_numpy(TAPS)
    return matrix


def ssim_by_products(
    predicted: Float[Tensor, "height width 3"], photo: Float[Tensor, "height width 3"], c2: float = K2**2
) -> Float[Tensor, ""]:
    """SSIM in plain torch, on any device: the separable window as two matrix products."""
    a, b = predicted.permute(2, 0, 1), photo.permute(2, 0, 1)
    rows = _window_matrix(a.shape[1], a.dtype, a.device)
    columns = _window_matrix(a.shape[2], a.dtype, a.device)
    filtered = rows @ torch.cat([a, b, a * a, b * b, a * b]) @ columns.mT
    mean_a, mean_b, aa, bb, ab = filtered.split(3)
    structure = (2 * (ab - mean_a * mean_b) + c2) / (aa - mean_a**2 + bb - mean_b**2 + c2)
    return (structure * (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)).mean()


class _Ssim(torch.autograd.Function):
    """The CPU kernel; its gradient is made together with its value."""

    @staticmethod
    def forward(ctx, predicted, photo, c2):
        a, b = (x.detach().permute(2, 0, 1).contiguous().numpy() for x in (predicted, photo))
        value, gradient = ssim_and_gradient(a, b, c2)
        ctx.save_for_backward(torch.from_numpy(gradient))
        return predicted.new_tensor(value)

    @staticmethod
    def backward(ctx, v_value):
        (gradient,) = ctx.saved_tensors
        return (v_value * gradient).permute(1, 2, 0), None, None


def ssim(
    predicted: Float[Tensor, "height width 3"], photo: Float[Tensor, "height width 3"], c2: float = K2**2
) -> Float[Tensor, ""]:
    """Mean structural similarity over all whole windows; both sides at least 11 px; gradient by `predicted` only.

    Args:
        c2: added to variances: structure fainter than that hardly counts.
    Source: Wang et al. 2004.
    """
    if predicted.device.type == "cpu" and predicted.dtype == torch.float32:
        return _Ssim.apply(predicted, photo, c2)
    return ssim_by_products(predicted, photo, c2)


def as_taken(
    predicted: Float[Tensor, "height width 3"],
    photo: Float[Tensor, "height width 3"],
    keep: Bool[Tensor, "height width"] | None = None,
) -> Float[Tensor, "height width 3"]:
    """The prediction, with the photo's own values where it is no error: brighter than the photo's white, which says
    only "at least white", and at pixels that do not count (those not in `keep`)."""
    if keep is not None:
        predicted = torch.where(keep[..., None], predicted, photo)
    return torch.where((photo >= WHITE) & (predicted > photo), photo, predicted)


class _Photometric(torch.autograd.Function):
    """The CPU kernel; its gradient is made together with its value."""

    @staticmethod
    def forward(ctx, predicted, photo, keep, dssim, slopes, k2):
        a, b = (x.detach().contiguous().numpy() for x in (predicted, photo))
        keep = None if keep is None else keep.contiguous().numpy()
        value, gradient = charge_and_gradient(a, b, keep, dssim, slopes, k2**2)
        ctx.save_for_backward(torch.from_numpy(gradient))
        return predicted.new_tensor(value)

    @staticmethod
    def backward(ctx, v_value):
        (gradient,) = ctx.saved_tensors
        return v_value * gradient, None, None, None, None, None


def photometric(
    predicted: Float[Tensor, "height width 3"],
    photo: Float[Tensor, "height width 3"],
    dssim: float,
    keep: Bool[Tensor, "height width"] | None = None,
    slopes: float = 0.0,
    k2: float = K2,
) -> Float[Tensor, ""]:
    """(1 - dssim) L1 + dssim (1 - SSIM) + slopes L1 of the differences between neighbouring pixels, of the prediction
    `as_taken`; `k2`: of SSIM, see `Loss`. Gradient by `predicted` only."""
    if predicted.device.type == "cpu" and predicted.dtype == photo.dtype == torch.float32:
        return _Photometric.apply(predicted, photo, keep, dssim, slopes, k2)
    predicted = as_taken(predicted, photo, keep)
    error = predicted - photo
    loss = (1 - dssim) * error.abs().mean()
    if slopes:
        loss = loss + slopes * (error.diff(dim=0).abs().mean() + error.diff(dim=1).abs().mean())
    if dssim:
        loss = loss + dssim * (1 - ssim(predicted, photo, k2**2))
    return loss


def temporal(subframes: Float[Tensor, "subframe height width 3"]) -> Float[Tensor, ""]:
    """Mean absolute difference between neighbouring sub-frames; 0 for a single one."""
    if len(subframes) < 2:
        return subframes.new_zeros(())
    return (subframes[1:] - subframes[:-1]).abs().mean()


def scene_prior(scene: Gaussians, loss: Loss, scene_scale: float, is_seen: Bool[Tensor, "N"]) -> Float[Tensor, ""]:
    """Opacity and scale terms of 3DGS-MCMC, of the Gaussians that the photo at hand shows.

    Charged at every step, those that few photos show would fade: few steps hold them up.
    """
    total = scene.means.new_zeros(())
    if loss.opacity:
        total = total + loss.opacity * (scene.opacities * is_seen).mean()
    if loss.scale:
        total = total + loss.scale * (scene.scales * is_seen[:, None] / scene_scale).mean()
    return total


def unexplained(
    loss: float, picture: Float[Tensor, "height width 3"], keep: Bool[Tensor, "height width"] | None, dssim: float
) -> float:
    """A photo's loss (`photometric`, over the pixels that count) in terms of what the photo itself would leave, moved
    by a fiftieth of its width.

    A blurred photo, moved, leaves little: this makes what is left of sharp photos and of blurred ones comparable.
    """
    by = max(1, round(picture.shape[1] * YARDSTICK))
    kept = keep if keep is not None else picture.new_ones(picture.shape[:2], dtype=torch.bool)
    moved = 0.0
    for dim in (0, 1):
        length = picture.shape[dim] - by
        ours, theirs = picture.narrow(dim, 0, length), picture.narrow(dim, by, length)
        both = kept.narrow(dim, 0, length) & kept.narrow(dim, by, length)
        left = photometric(ours.contiguous(), theirs.contiguous(), dssim, both if keep is not None else None)
        moved += left.item() / max(both.float().mean().item(), 1e-6) / 2
    return loss / max(kept.float().mean().item(), 1e-6) / max(moved, 1e-6)

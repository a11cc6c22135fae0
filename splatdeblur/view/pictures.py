"""Pictures by our own renderer for the viewer: sharp or blurred like a photo, as colour, depth, opacity or counts."""

from dataclasses import replace
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from ..capture.pixels import eight_bit
from ..exposure import LensBlur, Photo, SeenAs, as_it_is
from ..geometry import Cameras
from ..render import Burst, Render
from ..render.rasterizer import ProjectionInfo
from .colors import colored
from .stage import Stage, enlarged

MOST_SUBFRAMES = 32  # of a picture on the screen


class Look(StrEnum):
    """What is shown of a render."""

    COLOR = "colour"
    DEPTH = "depth"
    OPACITY = "opacity"
    COUNT = "Gaussians per pixel"


class Exposed(StrEnum):
    """How long the shutter is open in what is shown, and how much the camera moves meanwhile."""

    SHARP = "sharp"
    REBLURRED = "re-blurred"
    EXAGGERATED = "motion exaggerated"


def footprint_counts(info: ProjectionInfo) -> Float[Tensor, "height width"]:
    """How many Gaussians' footprints (as boxes) cover each pixel, of the first camera of a call."""
    centers, radii = info.means2d[0].detach().cpu(), info.radii[0].cpu()
    is_drawn = (radii > 0).all(-1)
    centers, radii = centers[is_drawn], radii[is_drawn]
    limits = torch.tensor([info.width, info.height])
    low = (centers - radii).floor().long().clamp(min=0).minimum(limits)
    high = (centers + radii).ceil().long().clamp(min=0).minimum(limits)
    # Each box adds one from its first corner on and takes it away beyond the others: sums along both ways fill it.
    corners = torch.zeros(info.height + 1, info.width + 1)
    one = torch.ones(len(low))
    for rows, columns, sign in ((low, low, 1), (low, high, -1), (high, low, -1), (high, high, 1)):
        corners.index_put_((rows[:, 1], columns[:, 0]), sign * one, accumulate=True)
    return corners.cumsum(0).cumsum(1)[:-1, :-1]


@torch.no_grad()
def predicted(stage: Stage, index: int, camera: Cameras, factor: float = 1.0) -> Photo:
    """Photo `index` as its exposure makes it, taken from `camera` instead of its own place.

    Args:
        camera: one camera, where the photo is at mid-exposure.
        factor: by how much the motion is enlarged.
    """
    # Double precision: what the poses' product loses in single would show as noise in the residual.
    middle, here = (c.viewmats[0].double().to(stage.rasterizer.device) for c in (stage.camera(index), camera))
    lens, scene = camera.to(stage.rasterizer.device), stage.seen_through(camera)

    def moved(poses: Tensor) -> Tensor:
        return (enlarged(poses.double(), middle, factor) @ here).to(poses.dtype)

    def render(viewmats: Tensor, burst: Burst | None, seen: SeenAs = as_it_is) -> Render:
        if burst is not None and burst.slices is not None:
            burst = replace(burst, slices=moved(burst.slices.flatten(0, 1)).unflatten(0, (-1, 2)))
        views = lens.with_viewmats(moved(viewmats))
        return stage.rasterizer.render(seen(scene), views, options=stage.options, burst=burst)

    count = stage.subframe_count(index)
    # Training's count is for its own size and motion; more sub-frames where the path is longer on this screen.
    larger = camera.Ks[0, 0, 0].item() / stage.cameras.Ks[index, 0, 0].item()
    count = max(count, min(MOST_SUBFRAMES, round(count * factor * larger)))
    return stage.exposure(render, index, count, camera=lens, enlarged=larger)


@torch.no_grad()
def draw(
    stage: Stage, camera: Cameras, index: int, *, look: Look = Look.COLOR, exposed: Exposed = Exposed.SHARP
) -> UInt8[np.ndarray, "height width 3"]:
    """One picture of the scene from one camera.

    Args:
        index: the photo whose motion and brightness a re-blurred picture takes.
    """
    if exposed == Exposed.REBLURRED and index < len(stage.names):
        photo = predicted(stage, index, camera)
        srgb, drawn = photo.srgb, photo.render
    else:
        scene, lens = stage.seen_through(camera), camera.to(stage.rasterizer.device)
        drawn = stage.rasterizer.render(scene, lens, options=stage.options)
        srgb = drawn.rgb[0]
    if look == Look.DEPTH:
        depth, is_there = drawn.depth[0].cpu(), drawn.alpha[0].cpu() > 0.5
        known = depth[is_there] if is_there.any() else depth.flatten()
        near, far = torch.quantile(known[:: 1 + len(known) // 100_000], torch.tensor([0.02, 0.98])).tolist()
        # In inverse depth near things keep their shape where the background is far.
        inverse = 1 / depth.clamp(min=near / 2 + 1e-6)
        srgb = colored(inverse, 1 / (far + 1e-6), 1 / (near + 1e-6)) * is_there[..., None]
    elif look == Look.OPACITY:
        srgb = drawn.alpha[0, ..., None].expand(-1, -1, 3)
    elif look == Look.COUNT:
        counts = footprint_counts(drawn.info)
        srgb = colored(counts, 0.0, counts.max().item())
    return eight_bit(srgb)


def lens_map(blur: LensBlur, height: int, width: int) -> Float[Tensor, "height width 3"]:
    """Where the lens blurs, from dark to pale: disks from 0 to 4 px of radius or the largest, or else the share of
    light that kernels move."""
    if blur.radius_px is not None:
        return colored(blur.radius_px, 0.0, max(4.0, blur.radius_px.max().item()))
    if blur.moved is not None:
        full = interpolate(blur.moved[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
        return colored(full, 0.0, 1.0)
    return colored(torch.zeros(height, width), 0.0, 1.0)


def residual(photo: Float[Tensor, "height width 3"], prediction: Float[Tensor, "height width 3"]) -> Tensor:
    """What a prediction leaves unexplained: times four, grey where there is nothing."""
    return 0.5 + 2 * (photo - prediction)

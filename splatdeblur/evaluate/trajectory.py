"""Camera positions, and the camera's path while the shutter was open, against the true ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry import Cameras, interpolate, inverse
from .alignment import Alignment

GRID = (8, 6)  # points across and down a photo whose movement is compared
NEAR = 1e-3  # of the median depth; points that come nearer to the camera than this are held there


@dataclass(frozen=True, eq=False)
class Paths:
    """Poses while the shutter was open, one row of samples per photo.

    Attributes:
        viewmats: camera_from_world.
        times: shutter times of the samples, rising; 0 opens and 1 closes the shutter.
    """

    viewmats: Float[Tensor, "photo time 4 4"]
    times: Float[Tensor, "time"]

    def at(self, times: Float[Tensor, "query"]) -> Float[Tensor, "photo query 4 4"]:
        """Poses at any times, at constant twist between samples and beyond the outer ones."""
        if len(self.times) == 1:
            return self.viewmats.expand(-1, len(times), 4, 4)
        after = torch.searchsorted(self.times.contiguous(), times.contiguous()).clamp(1, len(self.times) - 1)
        start, end = self.times[after - 1], self.times[after]
        share = ((times - start) / (end - start)).expand(len(self.viewmats), -1)
        return interpolate(self.viewmats[:, after - 1], self.viewmats[:, after], share)


@dataclass(frozen=True)
class PathErrors:
    """How well the learned paths match the true ones, in px at the size of the cameras given.

    Attributes:
        median_px: median over the photos of `error_px`.
        static_px: the same median for a camera that did not move: what knowing nothing would score.
        error_px: photo -> mean distance between where the two paths move a point of the picture.
        extent_px: photo -> how long the true path is in the picture (mean over points of the largest displacement).
        is_reversed: photo -> whether the learned path runs backwards, which a blurred photo cannot tell.
    """

    median_px: float
    static_px: float
    error_px: dict[str, float]
    extent_px: dict[str, float]
    is_reversed: dict[str, bool]


@dataclass(frozen=True)
class CenterErrors:
    """Camera centres against the true ones after the similarity, in the reference's units.

    Attributes:
        ate: root mean square over the photos.
        median: of the same distances.
        extent: largest distance between two true centres.
        relative: `ate` / `extent`.
        rotation_deg: median angle between the cameras.
    """

    ate: float
    median: float
    extent: float
    relative: float
    rotation_deg: float
    per_image: dict[str, float]


def center_errors(names: tuple[str, ...], alignment: Alignment, reference: Cameras) -> CenterErrors:
    """What the fit left over, wrong cameras included."""
    distances = alignment.residuals
    ate = distances.square().mean().sqrt().item()
    extent = torch.pdist(reference.centers.double()).max().item()
    return CenterErrors(
        ate=ate,
        median=distances.median().item(),
        extent=extent,
        relative=ate / extent,
        rotation_deg=alignment.angles_deg.median().item(),
        per_image=dict(zip(names, distances.tolist(), strict=True)),
    )


def _displacements(
    motions: Float[Tensor, "photo time 4 4"],
    cameras: Cameras,
    pixels: Float[Tensor, "point 2"],
    depths: Float[Tensor, "photo point"],
) -> Float[Tensor, "photo time point 2"]:
    """Where points at given depths move in px, for motions `camera_now_from_camera_mid`."""
    Ks = cameras.Ks.double()
    rays = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1) @ Ks.inverse().mT
    points = rays * depths[..., None]
    moved = torch.einsum("ptij,pnj->ptni", motions[..., :3, :3], points) + motions[..., None, :3, 3]
    near = NEAR * depths.median(dim=1).values[:, None, None, None]
    projected = torch.einsum("pij,ptnj->ptni", Ks, moved)
    return projected[..., :2] / projected[..., 2:].maximum(near) - pixels


def _grid(width: int, height: int) -> Float[Tensor, "point 2"]:
    x = (torch.arange(GRID[0], dtype=torch.float64) + 0.5) / GRID[0] * width
    y = (torch.arange(GRID[1], dtype=torch.float64) + 0.5) / GRID[1] * height
    return torch.cartesian_prod(x, y)


def _depths_at(depth: Float[Tensor, "height width"], pixels: Float[Tensor, "point 2"]) -> Float[Tensor, "point"]:
    """Rendered depths at the pixels; the photo's median where nothing is drawn."""
    columns, rows = pixels.long().unbind(1)
    values, drawn = depth.double()[rows, columns], depth[depth > 0].double()
    return torch.where(values > 0, values, drawn.median() if len(drawn) else values.new_tensor(1.0))


def path_errors(
    names: tuple[str, ...],
    learned: Paths,
    true: Paths,
    *,
    scale: float,
    cameras: Cameras,
    reference: Cameras,
    depths: Sequence[Float[Tensor, "_ _"]],
) -> PathErrors:
    """Compares how points of each photo move along the learned and along the true path, relative to mid-exposure.

    Both paths start from their own mid pose, so a wrong mid pose is not counted here (see `center_errors`). The
    error is a mean over a grid of points and over the true path's times, for the better of both directions in time.

    Args:
        learned: in the run's world.
        true: in the reference's world; both are sampled at the true path's times, and 0.5 is the middle of both.
        scale: of the similarity run_from_reference: the true path's translations and depths grow by it.
        cameras, reference: lenses of both, at the sizes that px are counted in; poses are not used.
        depths: what the run's scene shows from its mid poses, in run units.
    """
    rows = [
        _compare(
            Paths(learned.viewmats[i : i + 1], learned.times), Paths(true.viewmats[i : i + 1], true.times), scale,
            cameras.at(i), reference.at(i), depth.cpu(),
        )
        for i, depth in enumerate(depths)
    ]  # fmt: skip
    errors, static, extents, is_reversed = (dict(zip(names, column, strict=True)) for column in zip(*rows, strict=True))
    return PathErrors(
        median_px=median_low(errors.values()),
        static_px=median_low(static.values()),
        error_px=errors,
        extent_px=extents,
        is_reversed=is_reversed,
    )


def _compare(
    learned: Paths, true: Paths, scale: float, cameras: Cameras, reference: Cameras, depth: Float[Tensor, "_ _"]
) -> tuple[float, float, float, bool]:
    """Error, that of a camera that did not move, and length of one photo's path; whether it runs backwards."""
    pixels = _grid(cameras.width, cameras.height)
    depths = _depths_at(depth, pixels)[None]
    times = true.times.double()
    middle = times.new_tensor([0.5])

    def displaced(paths: Paths, lens: Cameras, times: Tensor, scale: float) -> Tensor:
        exact = Paths(paths.viewmats.cpu().double(), paths.times.cpu().double())
        motions = (exact.at(times) @ inverse(exact.at(middle))).clone()
        motions[..., :3, 3] *= scale
        return _displacements(motions, lens.to("cpu"), pixels, depths)

    truth = displaced(true, reference, times, scale)
    forward = (displaced(learned, cameras, times, 1.0) - truth).norm(dim=-1).mean().item()
    backward = (displaced(learned, cameras, 1 - times, 1.0) - truth).norm(dim=-1).mean().item()
    extent = (truth[:, :, None] - truth[:, None]).norm(dim=-1).amax(dim=(1, 2)).mean().item()
    return min(forward, backward), truth.norm(dim=-1).mean().item(), extent, backward < forward

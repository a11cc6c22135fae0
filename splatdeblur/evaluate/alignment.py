"""Where the reference's world lies in the run's: a similarity fitted to the cameras that both know."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacfwd

from ..errors import PoseError
from ..geometry import Cameras, exp

MIN_CAMERAS = 3
MAX_PAIRS = 2000  # two-camera hypotheses tried; all of them up to 63 cameras
IRLS_STEPS = 30
OUTLIER_SIGMAS = 4.0
RELATIVE_FLOOR = 1e-9  # smallest spread believed, relative to the cameras' extent (or in rad)
GRID = (8, 6)  # points across and down a picture at which the scene is looked at
SCENE_STEPS = 15
FLOOR_PX = 1e-3  # smallest spread believed of where points are seen


@dataclass(frozen=True, eq=False)
class Similarity:
    """b_from_a: x_b = scale * rotation @ x_a + translation, in float64."""

    scale: float
    rotation: Float[Tensor, "3 3"]
    translation: Float[Tensor, "3"]

    def points(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """Points of world a in world b."""
        moved = self.scale * points.double() @ self.rotation.mT + self.translation
        return moved.to(points)

    def viewmats(self, viewmats: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
        """camera_from_b, rigid, of cameras given by camera_from_a: the same picture of the carried scene.

        A camera's own unit becomes that of world b: camera_b = scale * camera_a, so depths grow by the scale.
        """
        poses = viewmats.double()
        rotation = poses[..., :3, :3] @ self.rotation.mT
        carried = poses.clone()
        carried[..., :3, :3] = rotation
        carried[..., :3, 3] = self.scale * poses[..., :3, 3] - rotation @ self.translation
        return carried.to(viewmats)

    def cameras(self, cameras: Cameras) -> Cameras:
        """The same lenses, standing in world b."""
        return cameras.with_viewmats(self.viewmats(cameras.viewmats))

    def inverse(self) -> "Similarity":
        """a_from_b."""
        rotation = self.rotation.mT
        return Similarity(1 / self.scale, rotation, -(rotation @ self.translation) / self.scale)


@dataclass(frozen=True, eq=False)
class Alignment:
    """A fitted similarity, and how well it fits.

    Attributes:
        run_from_reference: the similarity.
        residuals: distance of each carried camera centre from the run's, in reference units.
        angles_deg: angle between each carried camera and the run's.
        is_outlier: cameras the fit gave up on.
    """

    run_from_reference: Similarity
    residuals: Float[Tensor, "camera"]
    angles_deg: Float[Tensor, "camera"]
    is_outlier: tuple[bool, ...]


def _nearest_rotation(matrices: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation R with the largest trace(R^T M)."""
    u, _, vh = torch.linalg.svd(matrices)
    sign = torch.ones(*matrices.shape[:-2], 3, dtype=matrices.dtype)
    sign[..., 2] = torch.linalg.det(u @ vh).sign()
    return u * sign[..., None, :] @ vh


def _angles(rotations: Float[Tensor, "*batch camera 3 3"]) -> Float[Tensor, "*batch camera"]:
    """Rotation angles in rad, exact near zero: |R - 1| = 2 sqrt(2) sin(angle / 2)."""
    chord = (rotations - torch.eye(3, dtype=rotations.dtype)).flatten(-2).norm(dim=-1)
    return 2 * (chord / 8**0.5).clamp(max=1).asin()


def _pairs(count: int) -> Tensor:
    pairs = torch.combinations(torch.arange(count), 2)
    if len(pairs) > MAX_PAIRS:
        chosen = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[:MAX_PAIRS]
        pairs = pairs[chosen]
    return pairs


class _Fit:
    """The two sets of cameras, as centres and as one world rotation per camera, and similarities between them."""

    def __init__(self, run: Cameras, reference: Cameras) -> None:
        a, b = reference.to("cpu", torch.float64), run.to("cpu", torch.float64)
        self.a, self.b = a.centers, b.centers
        self.turns = b.viewmats[:, :3, :3].mT @ a.viewmats[:, :3, :3]  # world_b from world_a, as each camera says
        self.extent = torch.pdist(self.a).max().item()

    def residuals(self, similarity: Similarity) -> tuple[Tensor, Tensor]:
        """Centre distances in reference units, and angles in rad."""
        distances = (similarity.points(self.a) - self.b).norm(dim=-1) / similarity.scale
        return distances, _angles(similarity.rotation.mT @ self.turns)

    def best_of_two_cameras(self) -> Similarity:
        """Of the similarities that two cameras alone determine, the one with the smallest median residual.

        Two oriented cameras are enough, and half of the cameras may be wrong.
        """
        pairs = _pairs(len(self.a))
        i, j = pairs.unbind(1)
        rotations = _nearest_rotation(self.turns[i] + self.turns[j])
        scales = (self.b[i] - self.b[j]).norm(dim=-1) / (self.a[i] - self.a[j]).norm(dim=-1).clamp(min=1e-12)
        scales = scales.clamp(min=1e-12)
        middle_a, middle_b = (self.a[i] + self.a[j]) / 2, (self.b[i] + self.b[j]) / 2
        translations = middle_b - scales[:, None] * (rotations @ middle_a[..., None]).squeeze(-1)
        carried = scales[:, None, None] * self.a @ rotations.mT + translations[:, None]
        distances = (carried - self.b).norm(dim=-1) / scales[:, None] / self.extent
        angles = _angles(rotations.mT[:, None] @ self.turns)
        best = (distances + angles).median(dim=1).values.argmin()
        return Similarity(scales[best].item(), rotations[best], translations[best])

    def weighted(self, weights: Tensor, lever: float) -> Similarity:
        """Least squares in closed form; a camera's rotation counts like a centre at the end of a `lever`.

        Source: Umeyama 1991, with the rotations' own term added: it settles what centres on a line leave open.
        """
        w = weights / weights.sum()
        mean_a, mean_b = w @ self.a, w @ self.b
        x, y = self.a - mean_a, self.b - mean_b
        scale = ((w @ y.square()).sum() / (w @ x.square()).sum()).sqrt().item()
        covariance = (w[:, None] * y).mT @ x / scale + lever**2 * (w[:, None, None] * self.turns).sum(0)
        rotation = _nearest_rotation(covariance)
        scale = ((w[:, None] * y * (x @ rotation.mT)).sum() / (w @ x.square()).sum()).item()
        scale = max(scale, 1e-12)
        return Similarity(scale, rotation, mean_b - scale * rotation @ mean_a)


def fit_similarity(run: Cameras, reference: Cameras) -> Alignment:
    """The similarity that carries the reference's cameras onto the run's, deaf to a minority of wrong poses.

    Starts from the best pair of cameras and reweights (Geman-McClure); centres and rotations weigh by how well each
    kind fits.

    Args:
        run, reference: the same cameras in both worlds, in the same order.
    Raises:
        PoseError: too few cameras, or all in one place, so that no scale can be told.
    """
    if len(run) < MIN_CAMERAS:
        raise PoseError(
            f"{len(run)} photos have a pose both in the run and in the reference; need {MIN_CAMERAS} to bring the two "
            "into one world. Check that the photos have the same names"
        )
    fit = _Fit(run, reference)
    if not fit.extent > 1e-9 * (1 + fit.a.abs().max().item()) or not torch.pdist(fit.b).max() > 0:
        raise PoseError("the cameras all stand in one place, so no scale can be told; need photos from several places")
    similarity = fit.best_of_two_cameras()
    for _ in range(IRLS_STEPS):
        distances, angles = fit.residuals(similarity)
        spread = 1.4826 * distances.median().item() + RELATIVE_FLOOR * fit.extent
        turn = 1.4826 * angles.median().item() + RELATIVE_FLOOR
        strain = ((distances / spread) ** 2 + (angles / turn) ** 2) / OUTLIER_SIGMAS**2
        similarity = fit.weighted((1 + strain) ** -2, lever=spread / turn)
    distances, angles = fit.residuals(similarity)
    spread = 1.4826 * distances.median().item() + RELATIVE_FLOOR * fit.extent
    turn = 1.4826 * angles.median().item() + RELATIVE_FLOOR
    strain = ((distances / spread) ** 2 + (angles / turn) ** 2) / OUTLIER_SIGMAS**2
    return Alignment(similarity, distances, angles.rad2deg(), tuple((strain > 1).tolist()))


def _seen_points(cameras: Cameras, depths: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Points of the scene as each camera sees it on a grid: index of the camera, place in the picture, in the world."""
    index, pixels, points = [], [], []
    for i, depth in enumerate(depths):
        height, width = depth.shape
        x = (torch.arange(GRID[0], dtype=torch.float64) + 0.5) / GRID[0] * width
        y = (torch.arange(GRID[1], dtype=torch.float64) + 0.5) / GRID[1] * height
        places = torch.cartesian_prod(x, y)
        columns, rows = places.long().unbind(1)
        z = depth.double()[rows, columns]
        places, z = places[z > 0], z[z > 0]
        rays = torch.cat([places, torch.ones_like(places[:, :1])], dim=1) @ cameras.Ks[i].inverse().mT
        rotation, translation = cameras.viewmats[i, :3, :3], cameras.viewmats[i, :3, 3]
        points.append((rays * z[:, None] - translation) @ rotation)
        pixels.append(places)
        index.append(torch.full((len(places),), i))
    return torch.cat(index), torch.cat(pixels), torch.cat(points)


def fit_to_scene(start: Similarity, run: Cameras, reference: Cameras, depths: Sequence[Tensor]) -> Similarity:
    """The similarity under which the reference's cameras see the run's scene where the run's own cameras see it.

    Turned and shifted a little, or with another focal length and other distances, cameras see nearly the same; a
    similarity of the cameras alone takes such differences at face value, and misses what all cameras look at.
    Gauss-Newton from `start`, deaf to a minority of wrong poses (Geman-McClure).

    Args:
        run, reference: the same cameras in both worlds, with pictures of the same sizes.
        depths: of the run's scene in each of the run's pictures; 0 where there is nothing.
    """
    a, b = reference.to("cpu", torch.float64), run.to("cpu", torch.float64)
    index, pixels, points = _seen_points(b, depths)
    if not len(index):
        return start
    viewmats, Ks = a.viewmats[index], a.Ks[index]
    unit = (points - b.centers[index]).norm(dim=-1).median()
    pivot = points.mean(dim=0)

    def moved(change: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scale, rotation and translation of `start`, its world shifted (in `unit`s), turned and grown (log)."""
        motion, growth = exp(change[:6]), change[6].exp()
        turn = motion[:3, :3]
        translation = growth * turn @ (start.translation - pivot) + pivot + unit * motion[:3, 3]
        return start.scale * growth, turn @ start.rotation, translation

    def misses(change: Tensor) -> Tensor:
        """By how many px each reference camera sees each point elsewhere than the run's does."""
        scale, rotation, translation = moved(change)
        there = (points - translation) @ rotation / scale
        seen = torch.einsum("nij,nj->ni", viewmats[:, :3, :3], there) + viewmats[:, :3, 3]
        projected = torch.einsum("nij,nj->ni", Ks, seen)
        return projected[:, :2] / projected[:, 2:].clamp(min=1e-6 * unit / start.scale) - pixels

    def median_miss(change: Tensor) -> Tensor:
        return misses(change).square().sum(dim=1).median()

    change = points.new_zeros(7)
    for _ in range(SCENE_STEPS):
        errors = misses(change)
        squares = errors.square().sum(dim=1)
        spread = 1.4826 * squares.median().sqrt() + FLOOR_PX
        weights = (1 + squares / (OUTLIER_SIGMAS * spread) ** 2) ** -2
        slopes = jacfwd(misses)(change)
        normal = torch.einsum("n,nip,niq->pq", weights, slopes, slopes)
        downhill = torch.einsum("n,nip,ni->p", weights, slopes, errors)
        change = change - torch.linalg.lstsq(normal, downhill[:, None]).solution[:, 0]
    if not median_miss(change) < median_miss(torch.zeros_like(change)):
        return start
    scale, rotation, translation = moved(change)
    return Similarity(scale.item(), rotation, translation)

"""Where things lie in the browser: +z is up, the photos' subject is at the origin, the cameras a few units from it.

A unit near 1 matters: viser sends covariances in half precision, in which variances below 6e-8 vanish.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..geometry import Cameras, matrix_from_quat, quat_from_matrix
from ..render.reference import sh_basis
from ..scene import Gaussians

CAMERA_DISTANCE = 4.0  # of a typical camera from the origin, in display units


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians as a browser draws them, in display units.

    Attributes:
        rgbs: sRGB values in [0, 1], of one viewing direction each.
    """

    centers: Float[np.ndarray, "N 3"]
    covariances: Float[np.ndarray, "N 3 3"]
    rgbs: Float[np.ndarray, "N 3"]
    opacities: Float[np.ndarray, "N 1"]


@dataclass(frozen=True, eq=False)
class Display:
    """A similarity between the scene's world and the browser's.

    Attributes:
        rotation: display_from_world.
        origin: the world point at the display's origin.
        scale: display units per world unit.
    """

    rotation: Float[Tensor, "3 3"]
    origin: Float[Tensor, "3"]
    scale: float

    @classmethod
    def around(cls, cameras: Cameras, target: Float[Tensor, "3"]) -> "Display":
        """The display in which `cameras` stand upright around `target`."""
        viewmats = cameras.viewmats.double()
        target = target.double()
        up = -viewmats[:, 1, :3].mean(0)
        right = viewmats[0, 0, :3]
        up = up if up.norm() > 0.1 else -viewmats[0, 1, :3]  # cameras may look every way, as in a tumble
        up = torch.nn.functional.normalize(up, dim=0)
        right = torch.nn.functional.normalize(right - (right @ up) * up, dim=0)
        rotation = torch.stack([right, torch.linalg.cross(up, right), up])
        distance = (cameras.centers.double() - target).norm(dim=-1).median().clamp(min=1e-9)
        return cls(rotation, target, CAMERA_DISTANCE / distance.item())

    def points(self, world: Float[Tensor, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """World points in the display."""
        return ((world.detach().cpu().double() - self.origin) @ self.rotation.mT * self.scale).numpy()

    def pose(self, viewmat: Float[Tensor, "4 4"]) -> tuple[Float[np.ndarray, "4"], Float[np.ndarray, "3"]]:
        """Orientation (wxyz, OpenCV axes) and place of a camera in the display."""
        viewmat = viewmat.detach().cpu().double()
        rotation = viewmat[:3, :3]
        center = -rotation.mT @ viewmat[:3, 3]
        return quat_from_matrix(self.rotation @ rotation.mT).numpy(), self.points(center)

    def viewmat(self, wxyz: Float[np.ndarray, "4"], position: Float[np.ndarray, "3"]) -> Float[Tensor, "4 4"]:
        """The inverse of `pose`, float32."""
        camera_from_world = matrix_from_quat(torch.tensor(wxyz, dtype=torch.float64)).mT @ self.rotation
        center = self.rotation.mT @ torch.tensor(position, dtype=torch.float64) / self.scale + self.origin
        viewmat = torch.eye(4, dtype=torch.float64)
        viewmat[:3, :3], viewmat[:3, 3] = camera_from_world, -camera_from_world @ center
        return viewmat.float()

    @torch.no_grad()
    def splats(self, scene: Gaussians, eye: Float[Tensor, "3"], *, is_sorted: bool = False) -> Splats:
        """The scene with the colours that it shows towards the world point `eye`.

        Args:
            is_sorted: put the farthest from `eye` first, for programs that draw in the order they are given.
        """
        means = scene.means.cpu()
        away = means - eye.to(means)
        order = away.norm(dim=-1).argsort(descending=True) if is_sorted else torch.arange(len(means))
        basis = sh_basis(torch.nn.functional.normalize(away, dim=-1), scene.sh_degree)
        rgbs = (basis[:, :, None] * scene.sh.cpu()).sum(1) + 0.5
        turned = self.rotation.float() @ matrix_from_quat(scene.quats.cpu())
        axes = turned * (self.scale * scene.scales.cpu())[:, None, :]
        return Splats(
            self.points(means)[order.numpy()],
            (axes @ axes.mT)[order].numpy(),
            rgbs.clamp(0, 1)[order].numpy(),
            scene.opacities.cpu()[order, None].numpy(),
        )

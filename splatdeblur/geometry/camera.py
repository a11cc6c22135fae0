"""Pinhole cameras, many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .se3 import inverse


@dataclass(frozen=True, eq=False)
class Cameras:
    """Pinhole cameras, most often of one picture size.

    Attributes:
        viewmats: camera_from_world, OpenCV axes.
        Ks: intrinsics in pixels, centre of the first pixel at (0.5, 0.5).
        width, height: picture size in pixels, large enough for all: drawn together, each camera's own picture is the
            top left part of that size.
        sizes: width and height of each camera's own picture where they differ; None where all are alike.
    """

    viewmats: Float[Tensor, "camera 4 4"]
    Ks: Float[Tensor, "camera 3 3"]
    width: int
    height: int
    sizes: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def of_sizes(
        cls,
        viewmats: Float[Tensor, "camera 4 4"],
        Ks: Float[Tensor, "camera 3 3"],
        sizes: Sequence[tuple[int, int]],
    ) -> "Cameras":
        """Cameras with a picture size (width, height) each."""
        width, height = max(w for w, _ in sizes), max(h for _, h in sizes)
        return cls(viewmats, Ks, width, height, tuple(sizes) if len(set(sizes)) > 1 else None)

    def __len__(self) -> int:
        return self.viewmats.shape[0]

    @property
    def centers(self) -> Float[Tensor, "camera 3"]:
        """Where the cameras stand, in world units."""
        return inverse(self.viewmats)[:, :3, 3]

    @property
    def own_sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of every camera's picture."""
        return self.sizes or ((self.width, self.height),) * len(self)

    def at(self, index: int | slice | list[int] | Tensor) -> "Cameras":
        """The cameras at `index`; an int gives one camera, still as a batch."""
        if isinstance(index, int):
            index = [index]
        chosen = replace(self, viewmats=self.viewmats[index], Ks=self.Ks[index])
        if self.sizes is None or len(chosen) == 0:
            return chosen
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index].tolist()
        return Cameras.of_sizes(chosen.viewmats, chosen.Ks, [self.sizes[row] for row in rows])

    def with_viewmats(self, viewmats: Float[Tensor, "camera 4 4"]) -> "Cameras":
        """The same lenses at other poses; one camera's lens is repeated for any number of poses."""
        Ks = self.Ks.expand(len(viewmats), 3, 3) if len(self) == 1 else self.Ks
        return replace(self, viewmats=viewmats, Ks=Ks)

    def resized(self, width: int, height: int) -> "Cameras":
        """The same views on a picture of another size; width and height scale on their own."""
        return self.resized_each([(width, height)] * len(self))

    def resized_each(self, sizes: Sequence[tuple[int, int]]) -> "Cameras":
        """The same views on pictures of other sizes (width, height), one for each camera."""
        pairs = zip(sizes, self.own_sizes, strict=True)
        scales = self.Ks.new_tensor([[new_w / w, new_h / h, 1.0] for (new_w, new_h), (w, h) in pairs])
        return Cameras.of_sizes(self.viewmats, self.Ks * scales.reshape(-1, 3, 1), sizes)

    def scaled(self, factor: float) -> "Cameras":
        """The same views on a picture `factor` times as large, rounded down to whole pixels, at least one."""
        return self.resized_each(
            [(max(1, int(w * factor + 1e-6)), max(1, int(h * factor + 1e-6))) for w, h in self.own_sizes]
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> "Cameras":
        """The part of each view inside a window given in pixels; for cameras of one size."""
        assert self.sizes is None
        shift = torch.zeros_like(self.Ks)
        shift[:, 0, 2] = left
        shift[:, 1, 2] = top
        return replace(self, Ks=self.Ks - shift, width=width, height=height)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Cameras":
        """The same cameras on another device or in another precision."""
        return replace(self, viewmats=self.viewmats.to(device, dtype), Ks=self.Ks.to(device, dtype))


def look_at(
    eye: Float[Tensor, "*batch 3"], target: Float[Tensor, "*batch 3"], up: Float[Tensor, "3"]
) -> Float[Tensor, "*batch 4 4"]:
    """View matrices of cameras at `eye` looking at `target`, `up` (not parallel to that) upwards."""
    forward = torch.nn.functional.normalize(target - eye, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up.expand_as(forward)), dim=-1)
    down = torch.linalg.cross(forward, right)
    rotation = torch.stack([right, down, forward], dim=-2)
    pose = torch.eye(4, dtype=eye.dtype, device=eye.device).expand(*eye.shape[:-1], 4, 4).clone()
    pose[..., :3, :3] = rotation
    pose[..., :3, 3] = -(rotation @ eye[..., None]).squeeze(-1)
    return pose

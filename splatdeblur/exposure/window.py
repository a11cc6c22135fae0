"""Which part of a photo is predicted: where a pixel lies decides when it was read, and how much of the lens it saw."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A part of a photo, in px.

    Attributes:
        left, top: its first column and row.
        width, height: its size.
        photo_width, photo_height: size of the whole photo.
    """

    left: int
    top: int
    width: int
    height: int
    photo_width: int
    photo_height: int

    @classmethod
    def whole(cls, width: int, height: int) -> "Window":
        """All of a photo."""
        return cls(0, 0, width, height, width, height)

    def of(self, picture: Shaped[Tensor, "photo_height photo_width *_"]) -> Tensor:
        """This part of a whole photo's picture."""
        return picture[self.top : self.top + self.height, self.left : self.left + self.width]

    def rows(self, like: Tensor) -> Float[Tensor, "height"]:
        """Where the middle of each row lies in the photo: 0 at its top edge, 1 at its bottom edge."""
        return (torch.arange(self.height).to(like) + (self.top + 0.5)) / self.photo_height

    def radii_squared(self, like: Tensor) -> Float[Tensor, "height width"]:
        """Squared distance of each pixel's middle from the photo's middle; 1 in the photo's corners."""
        x = torch.arange(self.width).to(like) + (self.left + 0.5) - self.photo_width / 2
        y = torch.arange(self.height).to(like) + (self.top + 0.5) - self.photo_height / 2
        return (y[:, None] ** 2 + x**2) * (4 / (self.photo_width**2 + self.photo_height**2))

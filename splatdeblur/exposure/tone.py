"""From linear light to the photo's values: gain and vignetting, then the camera's response; clipping is the loss's."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import linear_from_srgb, srgb_from_linear
from .window import Window


@dataclass(frozen=True)
class Tone:
    """What the camera did to brightness and colour.

    Attributes:
        learns_gain: each photo has a brightness of its own (exposure time, sensor gain).
        learns_white_balance: ... and one for each colour channel.
        response_pieces: straight pieces, an even number, of a learned curve after sRGB's, one for all photos; 0 takes
            sRGB's as it is.
        learns_vignetting: the lens darkens towards the corners, alike in all photos.
    """

    learns_gain: bool = True
    learns_white_balance: bool = True
    response_pieces: int = 0
    learns_vignetting: bool = False


class ToneCurve(nn.Module):
    """Gains of every photo in linear light, vignetting, sRGB's curve and the camera's own on top of it.

    What the scene could do as well is fixed: the gains' mean over the photos is 1, vignetting is 1 in the middle, and
    the response passes through 0, 1/2 and 1 (a power of all light would be one of the scene's and the gains').

    Parameters:
        log_gains: [1] for each photo, [3] with white balance; none if nothing is learned.
        log_slopes: of the response's pieces over equal steps of sRGB value, up to a constant in each half.
        falloff: log of the light lost in the corners, the parts that grow with the square and the fourth power of
            the distance from the middle.
    """

    def __init__(self, tone: Tone, num_frames: int) -> None:
        super().__init__()
        self.tone = tone
        channels = 3 if tone.learns_white_balance else 1
        learned = num_frames if tone.learns_gain or tone.learns_white_balance else 0
        self.log_gains = nn.ParameterList(nn.Parameter(torch.zeros(channels)) for _ in range(learned))
        if tone.response_pieces:
            self.log_slopes = nn.Parameter(torch.zeros(2, tone.response_pieces // 2))
        if tone.learns_vignetting:
            self.falloff = nn.Parameter(torch.zeros(2))

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the camera, for all photos."""
        return [p for name, p in self.named_parameters(recurse=False)]

    def gains(self) -> Float[Tensor, "frame channel"]:
        """Factors on linear light, geometric mean 1 over the photos: the scene's own brightness is theirs."""
        log_gains = torch.stack(list(self.log_gains))
        return (log_gains - log_gains.mean(0).detach()).exp()

    def gain(self, frame: int) -> Float[Tensor, "channel"]:
        """One photo's row of `gains`, with a gradient for its own parameters alone."""
        return (self.log_gains[frame] - torch.stack([gain.detach() for gain in self.log_gains]).mean(0)).exp()

    def response(self, srgb: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The camera's value for an sRGB value: rising, through 0, 1/2 and 1; beyond, the last piece goes on."""
        rises = self.log_slopes.softmax(1).flatten() / 2
        knots = torch.cat([rises.new_zeros(1), rises.cumsum(0)])
        position = srgb * len(rises)
        piece = position.detach().long().clamp(0, len(rises) - 1)
        return knots[piece] + (position - piece) * rises[piece]

    def vignetting(self, window: Window) -> Float[Tensor, "height width"]:
        """The share of its light that the lens lets through at each pixel; 1 in the photo's middle."""
        squared = window.radii_squared(self.falloff)
        return (-self.falloff[0] * squared - self.falloff[1] * squared**2).exp()

    def strain(self) -> Float[Tensor, ""]:
        """Mean square of how far the response's log slopes and the log of the corners' light are from none."""
        total = torch.zeros(())
        if self.tone.response_pieces:
            total = total + (self.log_slopes - self.log_slopes.mean(1, keepdim=True)).square().mean()
        if self.tone.learns_vignetting:
            total = total.to(self.falloff) + self.falloff.square().mean()
        return total

    def recoverable(self) -> float:
        """The brightest linear light that some photo shows below white, whatever its colour."""
        return 1 / self.gains().amin(0).max().item() if len(self.log_gains) else 1.0

    def forward(
        self,
        light: Float[Tensor, "height width 3"],
        frame: int,
        is_linear: bool,
        window: Window,
    ) -> Float[Tensor, "height width 3"]:
        """Values of the photo, not clipped.

        Args:
            light: linear light, or sRGB values if `is_linear` is False.
            window: which part of the photo it is.
        """
        if not len(self.log_gains) and not self.tone.learns_vignetting:
            srgb = srgb_from_linear(light) if is_linear else light
        else:
            linear = light if is_linear else linear_from_srgb(light)
            if len(self.log_gains):
                linear = linear * self.gain(frame)
            if self.tone.learns_vignetting:
                linear = linear * self.vignetting(window)[..., None]
            srgb = srgb_from_linear(linear)
        return self.response(srgb) if self.tone.response_pieces else srgb

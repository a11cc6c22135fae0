"""From linear light to the photo's values: gain, then the sRGB curve."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..geometry import linear_from_srgb, srgb_from_linear


@dataclass(frozen=True)
class Tone:
    """What the camera did to brightness and colour.

    Attributes:
        learns_gain: each photo has a brightness of its own (exposure time, sensor gain).
        learns_white_balance: ... and one for each colour channel.
    """

    learns_gain: bool = True
    learns_white_balance: bool = True


class ToneCurve(nn.Module):
    """Gains of every photo in linear light, then sRGB; their mean over the photos stays 1 by construction.

    Parameters:
        log_gains: [1] for each photo, [3] with white balance; none if nothing is learned.
    """

    def __init__(self, tone: Tone, num_frames: int) -> None:
        super().__init__()
        channels = 3 if tone.learns_white_balance else 1
        learned = num_frames if tone.learns_gain or tone.learns_white_balance else 0
        self.log_gains = nn.ParameterList(nn.Parameter(torch.zeros(channels)) for _ in range(learned))

    @property
    def is_learned(self) -> bool:
        return len(self.log_gains) > 0

    def gains(self) -> Float[Tensor, "frame channel"]:
        """Factors on linear light, geometric mean 1 over the photos: the scene's own brightness is theirs."""
        log_gains = torch.stack(list(self.log_gains))
        return (log_gains - log_gains.mean(0).detach()).exp()

    def forward(
        self, light: Float[Tensor, "height width 3"], frame: int, is_linear: bool
    ) -> Float[Tensor, "height width 3"]:
        """sRGB values of the photo, not clipped; `light` is linear light, or sRGB values if `is_linear` is False."""
        if not self.is_learned:
            return srgb_from_linear(light) if is_linear else light
        linear = light if is_linear else linear_from_srgb(light)
        return srgb_from_linear(linear * self.gains()[frame])

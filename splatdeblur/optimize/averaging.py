"""The scene that a training leaves: the mean of what it was during the last steps.

Learning rates do not fall to nothing, which would cost short trainings more than it gives. So every step leaves the
scene a little on the side of the photo that it has just seen; the mean over some visits of every photo takes no side.
Source: Polyak and Juditsky 1992; for networks, Izmailov et al. 2018.
"""

from typing import Any

import torch
from torch import Tensor

from ..scene import Gaussians


class SceneMean:
    """The running mean of a scene's parameters.

    Attributes:
        count: scenes that it is made of.
        means: of each parameter, by name; of the size of the parameters of scenes.
    """

    def __init__(self) -> None:
        self.count, self.means = 0, dict[str, Tensor]()

    @torch.no_grad()
    def add(self, scene: Gaussians) -> None:
        """Counts the scene as it is; if it has come to have another number of Gaussians, those before are forgotten."""
        if not self.count or len(self.means["means"]) != len(scene):
            self.count, self.means = 0, {name: torch.zeros_like(value) for name, value in scene.params.items()}
        self.count += 1
        for name, mean in self.means.items():
            mean.lerp_(scene.params[name], 1 / self.count)

    @torch.no_grad()
    def give(self, scene: Gaussians) -> None:
        """Puts the mean in place of the scene, if there is any, and forgets it."""
        for name, mean in self.means.items():
            scene.params[name].copy_(mean)
        self.count, self.means = 0, {}

    def state(self) -> dict[str, Any]:
        """What `load_state` continues from."""
        return {"count": self.count, "means": dict(self.means)}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Continues from a copy of `state()`."""
        self.count = state["count"]
        self.means = {name: mean.detach().clone().to(device) for name, mean in state["means"].items()}

"""Where the search for a photo by rendering starts: from what the photos whose poses are known say of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .exposure import pose_at
from .geometry import interpolate, inverse

GOING_ON = 3  # photos from which a steady path through the one next to a lost photo is followed
MOST_STARTS = 60  # photos from whose poses each search starts


@dataclass(frozen=True, eq=False)
class Placed:
    """Photos whose poses are known, among all that were taken.

    Attributes:
        names, poses: theirs, in the order in which they were taken.
        order: of all photos, name -> place.
        times: of a video's frames, in seconds, as far as they are known; empty for photos.
    """

    names: tuple[str, ...]
    poses: Float[Tensor, "photo 4 4"]
    order: Mapping[str, int]
    times: Mapping[str, float]

    def starts(self, name: str) -> Float[Tensor, "start 4 4"]:
        """The poses themselves, and between those that are next in order; near the photo's place come first."""
        some = self.poses[:: -(-len(self.poses) // MOST_STARTS)]
        world_from_camera = inverse(self.poses)
        halves = self.poses.new_full((len(self.poses) - 1,), 0.5)
        between = inverse(interpolate(world_from_camera[:-1], world_from_camera[1:], halves))
        nearest = sorted(range(len(between)), key=lambda i: abs(self.order[self.names[i]] - self.order[name]))
        return torch.cat([some, between[nearest[:MOST_STARTS]]])

    def likely(self, name: str) -> Float[Tensor, "start 4 4"]:
        """Where a photo's place in the order, and its time, would have it."""
        passing = self._passing(name)
        return torch.cat([self._on_the_way(name), *(() if passing is None else (passing[None],))])

    def next_to(self, name: str, among: Collection[str]) -> str | None:
        """The known photo next in order to another, of some."""
        others = [other for other in self.names if other in among and other != name]
        return min(others, key=lambda other: abs(self.order[other] - self.order[name]), default=None)

    def carried(self, name: str, beside: str, thought: Mapping[str, Float[Tensor, "4 4"]]) -> Float[Tensor, "4 4"]:
        """Where a photo is if it stands beside a known one as it was thought to: what structure from motion ties
        together well, it often puts elsewhere as a whole."""
        return thought[name] @ inverse(thought[beside]) @ self.poses[self.names.index(beside)]

    def _on_the_way(self, name: str) -> Float[Tensor, "start 4 4"]:
        """Where a camera would be by its place in the order, had it gone steadily from some photos through the next."""
        places = [self.order[other] for other in self.names]
        place = self.order[name]
        near, *others = sorted(range(len(places)), key=lambda frame: abs(places[frame] - place))
        others = others[:GOING_ON]
        shares = [(place - places[frame]) / (places[near] - places[frame]) for frame in others]
        world_from_camera = inverse(self.poses)
        ends = world_from_camera[near].expand(len(others), 4, 4)
        return inverse(interpolate(world_from_camera[others], ends, self.poses.new_tensor(shares)))

    def _passing(self, name: str) -> Float[Tensor, "4 4"] | None:
        """Where the camera of a video passed at a lost frame's time, by the frames before and after it."""
        if not {name, *self.names} <= self.times.keys():
            return None
        stamps = torch.tensor([self.times[other] for other in self.names], dtype=torch.float64)
        return pose_at(self.poses, stamps.to(self.poses.device), self.times[name])

"""Poses by rendering: where a photo that structure from motion lost was taken, told by a scene trained without it.

First thumbnails, in which blur hardly shows, from where the other photos stand and from around there. Then the best
few poses are refined through the blur model, each with a blur path of its own, coarse to fine, the scene frozen.
"""

from dataclasses import dataclass, replace
from math import inf

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..capture.pixels import resize_photo
from ..exposure import Exposure, Tone
from ..geometry import Cameras, exp, linear_from_srgb, srgb_from_linear
from ..render import Burst, Rasterizer, Render, RenderOptions
from ..scene import Gaussians
from .causes import SHORTEST_PX
from .config import TrainConfig
from .fits import fit_path
from .losses import photometric
from .photos import reduced_mask
from .schedules import geometric

THUMBNAIL_PX = 14  # of the shorter side, at least; SSIM needs eleven
ROUNDS = (1.0, 0.5, 0.25)  # how far around the best poses thumbnails are drawn, one round after the other
AROUND = 16  # new poses around each
LOOK, ROLL, FORWARD = 0.15, 0.1, 0.1  # how far: in focal lengths, radians and scene depths
KEPT = 8  # poses that a round of thumbnails goes on with, and refinement begins with; half of them at each next size
STEPS = (40, 30, 25)  # of refinement at full size, at half of it, and below
STEP_PX = (0.5, 0.05)  # how far one step moves the picture, at first and at last, in px of the level ...
THUMBNAIL_STEP_PX = 1.0  # ... and at first on thumbnails, which are to get near from afar
TURN = 2.0  # steps around the scene are longer, as they show less
START_PATH_PX = 1.0  # length of the random path that each refinement starts from
MAX_GAIN = 4.0
SAME_PX = 2.0  # poses that put the scene's middle no further apart count as one, if they look along ...
SAME_ANGLE = 0.05  # ... directions nearer than this, in radians


@dataclass(frozen=True, eq=False)
class Guess:
    """A pose of one photo, the path of its blur, and what it leaves unexplained (`photometric`, 0 for nothing)."""

    viewmat: Float[Tensor, "4 4"]
    path: Float[Tensor, "control 6"]
    loss: float


@dataclass(frozen=True, eq=False)
class Lost:
    """A photo to be found, at training size.

    Attributes:
        picture: sRGB in [0, 1].
        camera: one, whose pose does not count.
        keep: the pixels that count; None for all.
        depth: typical z-depth of the scene, in world units.
        spacing: typical distance between neighbouring cameras, in world units.
        blur_px: how far a point smears, by the photo itself; infinity where that is not known.
    """

    picture: Float[Tensor, "height width 3"]
    camera: Cameras
    keep: Bool[Tensor, "height width"] | None
    depth: float
    spacing: float
    blur_px: float = inf

    def at_level(self, level: int) -> "Lost":
        """Reduced by 2^level."""
        width, height = self.camera.width >> level, self.camera.height >> level
        return replace(
            self,
            picture=resize_photo(self.picture, width, height),
            camera=self.camera.resized(width, height),
            keep=reduced_mask(self.keep, width, height),
            blur_px=self.blur_px / 2**level,
        )

    @property
    def thumbnail_level(self) -> int:
        """Of the smallest size that still tells something."""
        level, side = 0, min(self.camera.width, self.camera.height)
        while side >> (level + 1) >= THUMBNAIL_PX:
            level += 1
        return level


class Relocalizer:
    """Finds photos in a frozen scene."""

    def __init__(
        self, scene: Gaussians, rasterizer: Rasterizer, config: TrainConfig, generator: torch.Generator
    ) -> None:
        self.scene, self.rasterizer, self.config = scene.detached(), rasterizer, config
        self.generator = generator

    def find(
        self, lost: Lost, starts: Float[Tensor, "start 4 4"], likely: Float[Tensor, "likely 4 4"] | None = None
    ) -> Guess:
        """The pose that explains the photo best, of those met on the way from `starts`, the best of which are gone on
        from, and from each of `likely`."""
        guesses = self._search(lost.at_level(lost.thumbnail_level), starts)
        return self.settle(lost, guesses + [self.guess(viewmat) for viewmat in (() if likely is None else likely)])

    def settle(self, lost: Lost, guesses: list[Guess]) -> Guess:
        """The best of some guesses after refinement from coarse to fine."""
        for level in range(lost.thumbnail_level, -1, -1):
            small, steps = lost.at_level(level), STEPS[min(level, len(STEPS) - 1)]
            is_thumbnail = level == lost.thumbnail_level
            refined = sorted((self.refine(small, g, steps, is_thumbnail) for g in guesses), key=lambda g: g.loss)
            guesses = refined[: max(1, min(len(refined), KEPT) // 2)]
        return min(guesses[0], self._with_path_anew(lost, guesses[0]), key=lambda g: g.loss)

    def _with_path_anew(self, lost: Lost, guess: Guess) -> Guess:
        """A guess refined from the plain path that suits the photo best there: from a random one, steps often lead to a
        path that is folded, or runs the wrong way."""
        if not self.config.motion.controls or not SHORTEST_PX <= lost.blur_px < inf:
            return guess
        focal_px, exposure = lost.camera.Ks[0, 0, 0].item(), self._exposure(lost, guess.viewmat[None])
        with torch.no_grad():
            sharp = self._drawing(lost)(guess.viewmat[None], Burst(guess.viewmat.new_ones(1))).rgb[0]
        path = fit_path(sharp, lost.blur_px, lambda light, _: self._error(lost, srgb_from_linear(light)))
        exposure.motion.trace(0, *(path.values / focal_px))
        control = exposure.motion.control_points[0].detach()
        return self.refine(lost, Guess(guess.viewmat, control, inf), STEPS[0])

    def guess(self, viewmat: Float[Tensor, "4 4"]) -> Guess:
        """A pose without a path, of which nothing is known yet."""
        return Guess(viewmat, viewmat.new_zeros(self.config.motion.controls, 6), inf)

    def _search(self, small: Lost, starts: Float[Tensor, "start 4 4"]) -> list[Guess]:
        """Poses whose sharp renders look most like the thumbnail, best first, no two alike."""
        guesses: list[Guess] = []
        turn = small.spacing / small.depth
        spread = starts.new_tensor([LOOK, LOOK, FORWARD, turn, turn, ROLL])
        for radius in (0.0, *ROUNDS):
            if radius:
                poses = torch.stack([g.viewmat for g in guesses]).repeat_interleave(AROUND, 0)
                noise = torch.randn(len(poses), 6, generator=self.generator).to(poses)
                starts = exp(_around_scene(radius * spread * noise, small.depth)) @ poses
            losses = self._losses_of_sharp(small, starts)
            guesses += [replace(self.guess(v), loss=loss) for v, loss in zip(starts, losses, strict=True)]
            guesses = _distinct(sorted(guesses, key=lambda g: g.loss), small)[:KEPT]
        return guesses

    @torch.no_grad()
    def _losses_of_sharp(self, small: Lost, viewmats: Float[Tensor, "guess 4 4"]) -> list[float]:
        """What a photo without blur, taken from each pose, would leave unexplained."""
        draw, still = self._drawing(small), Burst(viewmats.new_ones(1))
        pictures = (srgb_from_linear(draw(viewmat[None], still).rgb[0]) for viewmat in viewmats)
        return [self._error(small, picture).item() for picture in pictures]

    def _error(self, small: Lost, predicted: Float[Tensor, "height width 3"]) -> Float[Tensor, ""]:
        return photometric(predicted, small.picture, self.config.loss.dssim, small.keep)

    def _exposure(self, small: Lost, viewmats: Float[Tensor, "guess 4 4"]) -> Exposure:
        return Exposure(
            viewmats, viewmats.new_full((len(viewmats),), small.depth),
            motion=self.config.motion, shutter=self.config.shutter, tone=Tone(False, False),
            noise=START_PATH_PX / small.camera.Ks[0, 0, 0].item(), generator=self.generator,
        ).to(viewmats.device)  # fmt: skip

    def _drawing(self, small: Lost):
        """Draws the scene through the photo's lens, as bright as the photo."""
        light = linear_from_srgb(small.picture)
        mean = light[small.keep].mean(0) if small.keep is not None and small.keep.any() else light.mean((0, 1))
        background = tuple(small.picture.mean((0, 1)).tolist())
        options = RenderOptions(self.config.is_antialiased, background=background)

        def render(viewmats: Tensor, burst: Burst | None) -> Render:
            camera = small.camera.with_viewmats(viewmats)
            drawn = self.rasterizer.render(self.scene, camera, options=options, burst=burst)
            rgb = drawn.rgb if drawn.is_linear else linear_from_srgb(drawn.rgb)
            counted = rgb[:, small.keep] if small.keep is not None and small.keep.any() else rgb.flatten(1, 2)
            gain = (mean / counted.mean((0, 1)).clamp(min=1e-4)).clamp(1 / MAX_GAIN, MAX_GAIN)
            return replace(drawn, rgb=rgb * gain.detach(), is_linear=True)

        return render

    def refine(self, small: Lost, guess: Guess, steps: int, is_thumbnail: bool = False) -> Guess:
        """The guess after `steps` steps of pose and path against the photo at its size; never worse than before. A
        thumbnail, in which blur hardly shows, tells of the pose alone."""
        focal = small.camera.Ks[0, 0, 0].item()
        exposure = self._exposure(small, guess.viewmat[None])
        path = exposure.motion.control_points[0] if self.config.motion.controls and not is_thumbnail else None
        if path is not None and guess.path.any():
            path.data.copy_(guess.path)
        delta = guess.viewmat.new_zeros(6, requires_grad=True)
        draw = self._drawing(small)
        groups = [{"params": [delta]}] + ([{"params": [path]}] if path is not None else [])
        optimizer = torch.optim.Adam(groups, lr=1.0, betas=(0.9, 0.99))
        turns = delta.new_tensor([1, 1, 1, TURN, TURN, 1])
        first_px, last_px = (THUMBNAIL_STEP_PX if is_thumbnail else STEP_PX[0]), STEP_PX[1]
        best: Guess | None = None
        for step in range(steps + 1):
            viewmat = exp(_around_scene(delta * turns, small.depth)) @ guess.viewmat
            exposure.motion.poses = viewmat[None]
            count = exposure.subframe_counts(focal)[0]
            loss = self._error(small, exposure(draw, 0, count, camera=small.camera).srgb)
            if best is None or loss.item() < best.loss:
                control = guess.path if path is None else path.detach().clone()
                best = Guess(viewmat.detach(), control, loss.item())
            if step == steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = geometric(first_px, last_px, step / steps) / focal
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return best


def _around_scene(look_and_turn: Float[Tensor, "*batch 6"], depth: float) -> Float[Tensor, "*batch 6"]:
    """Tangents from where the picture goes (right, down, nearer, in focal lengths) and how the camera walks around the
    point before it (radians): two kinds of movement that shift and turn alone would mix up."""
    look, turn = look_and_turn[..., :3], look_and_turn[..., 3:]
    held = torch.stack([turn[..., 1], -turn[..., 0], torch.zeros_like(turn[..., 0])], dim=-1)
    return torch.cat([depth * (look - held), turn], dim=-1)


def _distinct(guesses: list[Guess], small: Lost) -> list[Guess]:
    """The guesses without those that look the same as a better one."""
    kept: list[Guess] = []
    focal = small.camera.Ks[0, 0, 0].item()
    ahead = guesses[0].viewmat.new_tensor([0.0, 0.0, small.depth])
    for guess in guesses:
        for other in kept:
            relative = guess.viewmat @ torch.linalg.inv(other.viewmat)
            seen = relative[:3, :3] @ ahead + relative[:3, 3]
            shift_px = focal * (seen[:2].norm() / seen[2].clamp(min=1e-6)).item()
            if shift_px < SAME_PX and relative[2, 2] > 1 - SAME_ANGLE**2 / 2:
                break
        else:
            kept.append(guess)
    return kept

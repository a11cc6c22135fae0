"""Between structure from motion and training: photos that it lost, or placed doubtfully, are looked for by rendering.

A small scene is trained quickly on the photos whose poses are firm. Each other photo is looked for in it
(`optimize.relocalize`), and a pose counts only if the render, blurred again, explains the photo about as well as the
photos around it are explained. Photos that were found join the small training; then the next round looks for the rest.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from .capture import Capture
from .capture.choices import Choices, Use
from .capture.pixels import read_mask, read_photo, reduced_size
from .config import Config
from .geometry import Cameras, interpolate, inverse
from .optimize import Trainer
from .optimize.relocalize import Guess, Lost, Relocalizer
from .poses import Reconstruction
from .poses.lenses import intrinsics
from .poses.reconstruction import load_reconstruction, mask_path, photo_path, save_again
from .run import Run
from .starting import downscale_of, load_photos, make_trainer

logger = logging.getLogger(__name__)

Progress = Callable[[float | None, str], None]
WIDTH_PX = 256  # of the photos in the small training
GAUSSIANS = 20_000
STEPS, STEPS_PER_PHOTO = 600, 16  # of the small training
TRAINING_SHARE = 0.5  # of the time limit, at most
MIN_FIRM = 8  # photos; a scene of fewer tells little about where others were
ROUNDS = 2
NEIGHBOURS = 6  # photos that a found one is compared with
MAX_RATIO = 1.6  # of what a found photo leaves unexplained to what they do
MOST_STARTS = 60  # photos from whose poses each search starts


def find_by_rendering(run: Run, config: Config, on_progress: Progress) -> Reconstruction:
    """Poses of the photos without a firm one, as far as a scene of the others tells them; saved under `poses/`.

    What came of each photo stands in the reconstruction's `rendered`. A run that has been through this keeps what it
    has, and so does one with nothing to look for.
    """
    reconstruction = load_reconstruction(run)
    lost = _lost(run, reconstruction)
    firm = len(reconstruction.names) - len(reconstruction.doubtful)
    if reconstruction.rendered is not None or not config.pose.render_limit or not lost:
        return reconstruction
    if firm < MIN_FIRM:
        logger.warning("%d photos have a firm pose, too few to look for the other %d by rendering", firm, len(lost))
        return reconstruction
    search = _Search(run, config, reconstruction, on_progress)
    search.run_through(lost)
    result = search.result()
    save_again(result, run)
    for name, sentence in (result.rendered or {}).items():
        logger.info("%s: %s", name, sentence)
    on_progress(1.0, f"{len(result.names) - len(result.doubtful)} of {len(_shots(run))} photos have a firm pose")
    return result


def _shots(run: Run) -> tuple[str, ...]:
    return tuple(frame.name for frame in Capture.load(run.require(run.capture, "prepare")).frames)


def _lost(run: Run, reconstruction: Reconstruction) -> list[str]:
    """Photos to look for, in the capture's order: those that training wants, and whose lens is known."""
    choices = Choices.load(run.choices)
    candidates = reconstruction.doubtful.keys() | (reconstruction.missing.keys() & reconstruction.lost_lenses.keys())
    return [name for name in _shots(run) if name in candidates and choices.use(name) == Use.TRAIN]


def _small(config: Config, run: Run, num_photos: int) -> Config:
    """Settings of the small training."""
    full_px = Capture.load(run.capture).width
    downscale = max(downscale_of(run, config), full_px / WIDTH_PX)
    steps = min(config.train.steps, STEPS + STEPS_PER_PHOTO * num_photos)
    limit = config.pose.render_limit * TRAINING_SHARE
    train = replace(config.train, steps=steps, time_limit=limit, gaussians=GAUSSIANS, sh_degree=0)
    return replace(config, downscale=downscale, train=train)


class _Search:
    """The small training and what it has found so far."""

    def __init__(self, run: Run, config: Config, reconstruction: Reconstruction, on_progress: Progress) -> None:
        self.run, self.before, self.on_progress = run, reconstruction, on_progress
        self.deadline = time.monotonic() + config.pose.render_limit
        self.config = _small(config, run, len(reconstruction.names))
        self.trainer = make_trainer(run, self.config)
        self.order = {name: index for index, name in enumerate(_shots(run))}
        self.found: dict[str, Guess] = {}
        self.ratios: dict[str, float] = {}  # of what a photo's best pose leaves unexplained to what its neighbours' do

    def run_through(self, lost: list[str]) -> None:
        """Trains and looks, round after round, until nothing more is found or the time is up."""
        self._train()
        for _ in range(ROUNDS):
            new = self._round([name for name in lost if name not in self.found])
            if not new:
                break
            self._join(new)
            self._train()

    def _train(self) -> None:
        for event in self.trainer.run():
            self.on_progress(event.progress, f"poses by rendering: a small scene, photos at {event.psnr:.0f} dB")

    def _round(self, left: list[str]) -> dict[str, Guess]:
        """The photos that this round finds."""
        trainer = self.trainer
        relocalizer = Relocalizer(trainer.scene, trainer.rasterizer, trainer.config, trainer.generator)
        residuals = [trainer.residual(frame) for frame in range(len(trainer.photos))]
        poses = _poses(trainer)
        new: dict[str, Guess] = {}
        for index, name in enumerate(left):
            if time.monotonic() > self.deadline:
                break
            self.on_progress(index / len(left), f"poses by rendering: looking for photo {index + 1} of {len(left)}")
            guess = relocalizer.find(self._photo(name, poses), self._starts(name, poses))
            apart = (inverse(poses)[:, :3, 3] - inverse(guess.viewmat)[:3, 3]).norm(dim=-1)
            near = apart.argsort()[:NEIGHBOURS].tolist()
            self.ratios[name] = guess.loss / median(residuals[frame] for frame in near)
            if self.ratios[name] <= MAX_RATIO:
                new[name] = guess
        return new

    def _full_camera(self, name: str) -> Cameras:
        """Of a photo, at full size; its pose is where structure from motion put it, if it did."""
        if name in self.before.names:
            return self.before.cameras.at(self.before.names.index(name))
        lens = self.before.lost_lenses[name]
        return Cameras(torch.eye(4, dtype=torch.float64)[None], intrinsics(lens)[None], lens.width, lens.height)

    def _photo(self, name: str, poses: Float[Tensor, "photo 4 4"]) -> Lost:
        downscale, full = self.config.downscale, self._full_camera(name).to(dtype=torch.float32)
        mask = mask_path(self.run, name)
        centers = inverse(poses)[:, :3, 3]
        apart = torch.cdist(centers, centers).fill_diagonal_(torch.inf)
        return Lost(
            picture=read_photo(photo_path(self.run, name), downscale),
            camera=full.resized(*reduced_size(full.width, full.height, downscale)),
            keep=mask and read_mask(mask, downscale),
            depth=self.trainer.exposure.motion.units[:, 0].median().item(),
            spacing=apart.min(dim=1).values.median().item(),
        )

    def _starts(self, name: str, poses: Float[Tensor, "photo 4 4"]) -> Float[Tensor, "start 4 4"]:
        """Where the trained photos were, between those that are next in order, and where it was thought to be."""
        some = poses[:: max(1, len(poses) // MOST_STARTS)]
        world_from_camera = inverse(poses)
        between = inverse(interpolate(world_from_camera[:-1], world_from_camera[1:], poses.new_tensor([0.5])))
        nearest = sorted(range(len(between)), key=lambda i: abs(self.order[self.names[i]] - self.order[name]))
        starts = [some, between[nearest[:MOST_STARTS]]]
        starts += [guess[None].to(poses) for guess in self.before.guesses.get(name, ())]
        if name in self.before.names:
            starts.append(self._full_camera(name).viewmats.to(poses))
        return torch.cat(starts)

    @property
    def names(self) -> tuple[str, ...]:
        return self.trainer.photos.names

    def _join(self, new: dict[str, Guess]) -> None:
        """A trainer that goes on from the middle of its schedule, with the photos that were found."""
        old, poses = self.trainer, _poses(self.trainer)
        self.found |= new
        names = tuple(sorted((*self.names, *new), key=self.order.__getitem__))
        viewmats = dict(zip(self.names, poses, strict=True)) | {name: g.viewmat for name, g in new.items()}
        full = [self._full_camera(name) for name in names]
        cameras = Cameras.of_sizes(
            torch.stack([viewmats[name] for name in names]).cpu(), torch.cat([c.Ks for c in full]),
            [(c.width, c.height) for c in full],
        )  # fmt: skip
        photos = load_photos(self.run, self.config, names, cameras)
        trainer = Trainer(photos, old.scene, old.config, old.rasterizer)
        with torch.no_grad():
            for frame, name in enumerate(names):
                path = trainer.exposure.motion.control_points[frame]
                if name in new:
                    path.copy_(new[name].path)
                    continue
                before = self.names.index(name)
                path.copy_(old.exposure.motion.control_points[before])
                if old.exposure.tone.is_learned:
                    trainer.exposure.tone.log_gains[frame].copy_(old.exposure.tone.log_gains[before])
        trainer.step_number, trainer.seconds = old.config.steps // 2, old.config.time_limit / 2
        self.trainer = trainer

    def result(self) -> Reconstruction:
        """The reconstruction with the poses as the small training left them, and the photos that were found."""
        before = self.before
        poses = dict(zip(self.names, _poses(self.trainer).double().cpu(), strict=True))
        names = tuple(n for n in self.order if n in poses or n in before.names)
        full = [self._full_camera(name) for name in names]
        viewmats = [poses.get(name, camera.viewmats[0]) for name, camera in zip(names, full, strict=True)]
        cameras = Cameras.of_sizes(
            torch.stack(viewmats), torch.cat([c.Ks for c in full]), [(c.width, c.height) for c in full]
        )
        return replace(
            before,
            names=names,
            cameras=cameras,
            missing={name: reason for name, reason in before.missing.items() if name not in names},
            evidence={name: found for name, found in before.evidence.items() if name not in self.found},
            guesses={name: poses for name, poses in before.guesses.items() if name not in self.found},
            lost_lenses={name: lens for name, lens in before.lost_lenses.items() if name not in names},
            rendered={name: self._sentence(name, ratio) for name, ratio in self.ratios.items()},
        )

    def _sentence(self, name: str, ratio: float) -> str:
        what = "found by rendering" if name in self.found else "looked for by rendering, not found"
        return f"{what}: the best pose leaves {ratio:.2f} times as much of it unexplained as the photos around it"


def _poses(trainer: Trainer) -> Float[Tensor, "photo 4 4"]:
    """Mid-exposure poses as trained."""
    with torch.no_grad():
        return torch.stack([trainer.exposure.sharp_viewmat(frame) for frame in range(len(trainer.photos))])

"""The search by rendering: photos without a firm pose are looked for in a small scene of those that have one.

A photo is looked for by `optimize.relocalize`, and a pose counts only if the render, blurred again, explains the photo
about as well as the photos around it are explained, where these have shown the place at all. Photos that were found
join the small training, and what only they show joins its scene; then the next round looks for the rest.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from math import inf, isfinite
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from .capture import Capture
from .capture.pixels import read_mask, read_photo, reduced_size
from .config import Config
from .exposure import Lens, Shutter
from .geometry import Cameras, inverse
from .optimize import PhotoSet, TrainConfig, Trainer
from .optimize.coverage import extended, known_pixels
from .optimize.density import Default
from .optimize.look_back import LOOK_BACK_AT
from .optimize.losses import unexplained
from .optimize.photos import blanked_where_masked
from .optimize.refits import can_refit, fit_anew
from .optimize.relocalize import Guess, Lost, Relocalizer
from .optimize.state import state_of
from .poses import Reconstruction
from .poses.evidence import MAX_RESIDUAL, Evidence, is_explained
from .poses.lenses import intrinsics
from .poses.reconstruction import mask_path, photo_path
from .render import RenderOptions
from .run import Run
from .scene import Gaussians
from .search_starts import Placed
from .starting import MIN_SIDE_PX, downscale_of, load_photos, looks_of, make_trainer

logger = logging.getLogger(__name__)

Progress = Callable[[float | None, str], None]
WIDTH_PX = 200  # of the photos in the small training
GAUSSIANS = 12_000
STEPS, STEPS_PER_PHOTO = 500, 12  # of the small training
TRAINING_SHARE = 0.5  # of the time limit, at most
MIN_FIRM = 5  # photos; a scene of fewer tells little about where others were
MOST_SEEDS = 6  # photos to begin with where so few are firm: doubtful ones have to do, until others take their place
NEIGHBOURS = 6  # photos that one is compared with
PROBES = 3  # photos with firm poses that the first small scene does without, to see how well it explains such
MAX_OF_PROBES = 2.2  # times what is left unexplained of them may be left of a photo that is found
# ... or so many, but then no more than TELLING of what a shift by 2 % of the width would leave. Where more may be left
# of unseen photos, the scene is too poor to tell by them which poses of trained photos, that have shaped it, are right.
AMPLE_OF_PROBES, TELLING = 2.8, 0.4
# Whatever is left of others, of what that shift would leave: a scene that explains nothing must find nothing. Photos at
# their right places leave 0.2 to 0.7, at wrong ones 1.4 and more.
MAX_UNEXPLAINED = 1.0
# The same where there are too few photos for probes, in terms of trained ones; as those few are explained better than
# any other, at least so much of what a shift would leave.
MAX_OF_TRAINED, MAX_OF_FEW = 2.5, 0.65
BADLY = 1.5  # times what is left of those around it may be left of a trained photo, else its path is fitted anew ...
MOST_ANEW = 8  # ... of so many, the worst
MOST_AT_ONCE = 6  # photos looked for between two trainings
MOST_FAILURES = 2  # in a row, after which a round that has found something ends: what it found shows more of the place
NEARLY = 1.3  # times as much left as may be: such a photo may be found in the same place once the scene is better
MIN_SEEN = 0.1  # of a photo must count for it to be looked for: a masked one is explained by anything
MIN_KNOWN = 0.25  # of a photo must show what trained photos have shown, for it to be found
SETTLE_STEPS = 20  # by which a pose is refined on those parts
TRIES = 2  # how often a photo is looked for that was found, or firm, and then doubted
REJOIN_AT = 0.4  # progress to which the small training goes back for photos that join it
NO_RENDER = "; and no render explains it"


def _small(config: Config, run: Run, num_photos: int) -> Config:
    """Settings of the small training: our own, whatever method the large one shall compare."""
    shots = Capture.load(run.capture)
    smallest_px = min(min(shots.size_of(frame)) for frame in shots.frames)
    downscale = max(downscale_of(run, config), min(shots.width / WIDTH_PX, smallest_px / MIN_SIDE_PX))
    steps = min(config.train.length(num_photos), STEPS + STEPS_PER_PHOTO * num_photos)
    limit = config.pose.render_limit * TRAINING_SHARE
    train = TrainConfig(
        steps=steps, seed=config.train.seed, time_limit=limit, gaussians=GAUSSIANS, sh_degree=0,
        clears=False,  # so small a scene shows less than any photo
        unblocks=False, density=Default(idle=0.0),  # and has too few steps for looking at all photos
        shutter=Shutter(max_subframes=6, fine_from=2.0), lens=Lens(),
    )  # fmt: skip
    return replace(config, downscale=downscale, train=train)


def _is_covered(lost: Lost) -> bool:
    """Whether a mask leaves too little of a photo to look for it."""
    return lost.keep is not None and lost.keep.float().mean().item() < MIN_SEEN


class Search:
    """The small training and what it has found so far."""

    def __init__(
        self,
        run: Run,
        config: Config,
        reconstruction: Reconstruction,
        firm: list[str],
        on_progress: Progress,
        seeds: Sequence[str] = (),
    ) -> None:
        """`seeds`: photos with doubtful poses to begin with, too, where few are firm. Once others were found, they have
        to be found like any other, in a scene without them."""
        self.run, self.before, self.on_progress = run, reconstruction, on_progress
        self.limit_s = config.pose.render_limit
        self.deadline = time.monotonic() + self.limit_s
        self.config = _small(config, run, len(reconstruction.names))
        self.probes = firm[1 : -1 : max(1, len(firm) // PROBES)][:PROBES] if len(firm) >= MIN_FIRM + PROBES else []
        self.trainer = make_trainer(run, self.config, without=self.probes, believed=seeds)
        self.seeds = list(seeds)
        shots = Capture.load(run.capture)
        viewmats = reconstruction.cameras.viewmats.to(self.trainer.photos.cameras[-1].viewmats)
        self.thought = dict(zip(reconstruction.names, viewmats, strict=True))
        self.order = {frame.name: index for index, frame in enumerate(shots.frames)}
        self.times = {frame.name: frame.time_s for frame in shots.frames if shots.is_video and frame.time_s is not None}
        self.lost: list[str] = []
        self.tries: Counter[str] = Counter()
        self.looked_among: dict[str, int] = {}  # how many trained photos there were when a photo was last looked for
        self.glanced: dict[str, str | None] = {}  # the trained photo next to a lost one when that was seen elsewhere
        self.unexplained: dict[str, float] = {}  # of photos when they were trained last, what was left unexplained ...
        self.residuals: dict[str, float] = {}  # ... and that relative to those around
        self.failures: dict[str, float] = {}  # ... and of lost ones, relative to what may be
        self.kept: Reconstruction | None = None  # what the last small training left
        self.allowance: float | None = None  # what may be left unexplained of a photo that the scene has not seen

    def run_through(self, lost: list[str]) -> None:
        """Trains and looks, round after round, until nothing more is found or the time is up."""
        self._train()
        self.lost = [name for name in lost if name not in self.seeds]
        known = self._look_at_probes()
        while not self._is_late():
            names, doubted = self._candidates(), self._doubted()
            if not names and not doubted:
                break
            new = self._round(names)
            if new or doubted:
                self._rejoin(new | known, doubted)
                self._train()
                known = {}
        self.kept = self.result()

    def _look_at_probes(self) -> dict[str, Guess]:
        """Photos with firm poses that the scene has not seen either: how well it explains them is all one can ask."""
        guesses: dict[str, Guess] = {}
        left = []
        for name in self.probes:
            lost = self._photo(name)
            start = self._relocalizer.guess(self._full_camera(name).viewmats[0].to(self.poses))
            guesses[name], part = self._settled(lost, self._relocalizer.settle(lost, [start]))
            left.append(part)
        if left := [part for part in left if isfinite(part)]:
            ample = min(AMPLE_OF_PROBES * median(left), TELLING)
            self.allowance = max(MAX_OF_PROBES * median(left), ample, 1e-6)
            self.kept = self.result()
            logger.info(
                "photos that the small scene has not seen: %.2f of what a small shift would leave", median(left)
            )
        return guesses

    @property
    def _relocalizer(self) -> Relocalizer:
        trainer = self.trainer
        return Relocalizer(trainer.scene, trainer.rasterizer, trainer.config, trainer.generator)

    def _settled(self, lost: Lost, guess: Guess) -> tuple[Guess, float]:
        """A guess refined on what the trained photos have shown of the place, and what it leaves unexplained of that,
        in terms of what a small shift would leave; no end of it where they have shown next to nothing."""
        trainer, camera = self.trainer, lost.camera.with_viewmats(guess.viewmat[None])
        options = RenderOptions(trainer.config.is_antialiased)
        known = known_pixels(trainer.scene, trainer.rasterizer, options, camera, self._trained_cameras())
        keep = known if lost.keep is None else known & lost.keep
        if keep.float().mean() < MIN_KNOWN:
            return guess, inf
        guess = self._relocalizer.refine(replace(lost, keep=keep), guess, SETTLE_STEPS)
        return guess, unexplained(guess.loss, lost.picture, keep, self.config.train.loss.dssim)

    def _trained_cameras(self) -> Cameras:
        return self.trainer.photos.cameras[-1].with_viewmats(self.poses)

    def _doubted(self) -> list[str]:
        """Trained photos that the scene explains badly, or was only begun with, to be looked for in a scene without
        them."""
        doubted = [n for n in self.names if self.tries[n] < TRIES and not is_explained(*self._left_of(n))]
        for further in ([n for n in self.seeds if n not in doubted], []):
            if len(self.names) - len(doubted) - len(further) >= MIN_FIRM:
                return doubted + further
        return []

    def _left_of(self, name: str) -> tuple[float, float | None]:
        """What is left unexplained of a photo that was trained: relative to those around it, and to what may be of
        photos that the scene has not seen."""
        is_telling = self.allowance is not None and self.allowance <= TELLING
        return self.residuals[name], self.unexplained[name] / self.allowance if is_telling else None

    def _is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def _candidates(self) -> list[str]:
        """The lost photos to look for now, those next in order to trained ones first: all that were not looked for
        among so many trained ones yet."""
        trained = [self.order[name] for name in self.names]
        left = [name for name in self.lost if self.looked_among.get(name, 0) < len(trained)]
        left.sort(key=lambda name: min(abs(self.order[name] - place) for place in trained))
        return left

    def _train(self) -> None:
        for event in self.trainer.run():
            self.on_progress(event.progress, f"poses by rendering: a small scene, photos at {event.psnr:.0f} dB")
        self._look_at_trained()
        bad = sorted(range(len(self.names)), key=lambda frame: self.residuals[self.names[frame]], reverse=True)
        bad = [frame for frame in bad if self.residuals[self.names[frame]] > BADLY][:MOST_ANEW]
        if can_refit(self.trainer) and fit_anew(self.trainer, takewhile(lambda _: not self._is_late(), bad)):
            self._look_at_trained()
        self.kept = self.result()

    def _look_at_trained(self) -> None:
        """Where trained photos were taken, and what is left unexplained of them, for itself and in terms of others."""
        trainer = self.trainer
        self.poses = _poses(trainer)
        for frame, (name, keep) in enumerate(zip(self.names, trainer.photos.keeps[-1], strict=True)):
            self.unexplained[name] = unexplained(
                trainer.residual(frame), trainer.photos.pictures[-1][frame], keep, trainer.config.loss.dssim
            )
        for frame, name in enumerate(self.names):
            self.residuals[name] = self.unexplained[name] / self._usual(self.poses[frame], besides=frame)

    def _usual(self, viewmat: Float[Tensor, "4 4"], besides: int | None = None) -> float:
        """What is left unexplained of the trained photos nearest to a pose."""
        apart = (inverse(self.poses)[:, :3, 3] - inverse(viewmat)[:3, 3]).norm(dim=-1)
        near = [frame for frame in apart.argsort().tolist() if frame != besides][:NEIGHBOURS]
        return max(median(self.unexplained[self.names[frame]] for frame in near), 1e-6)

    def _round(self, names: list[str]) -> dict[str, Guess]:
        """Those of some lost photos that are found: about where they were thought to be, which is quickly seen, or,
        where none of them is, anywhere."""
        if new := self._found_where_they_were(names):
            return new
        failures = 0
        names = names[:MOST_AT_ONCE]
        for index, name in enumerate(names):
            if self._is_late() or (new and failures >= MOST_FAILURES):
                break
            self.on_progress(index / len(names), f"poses by rendering: looking for photo {index + 1} of {len(names)}")
            self.tries[name] += 1
            self.looked_among[name] = len(self.names)
            lost = self._photo(name)
            if _is_covered(lost):
                continue
            guess = self._relocalizer.find(lost, self._placed.starts(name), self._likely(name))
            guess, ratio = self._judged(name, lost, guess)
            if ratio <= 1:
                new[name] = guess
                failures = 0
            else:
                failures += 1
                self.failures[name] = min(ratio, self.failures.get(name, ratio))
        return new

    def _found_where_they_were(self, names: list[str]) -> dict[str, Guess]:
        """Those of some lost photos that structure from motion placed about right, if not firmly: in the world, or
        beside the trained photo next in order. Each is looked at anew when another has come to be that one."""
        found: dict[str, Guess] = {}
        beside = {name: self._placed.next_to(name, self.thought) for name in names if name in self.thought}
        placed = [name for name, other in beside.items() if self.glanced.get(name, "") != other]
        for index, name in enumerate(placed):
            if self._is_late():
                break
            self.on_progress(index / len(placed), f"poses by rendering: looking at photo {index + 1} of {len(placed)}")
            lost = self._photo(name)
            if _is_covered(lost):
                continue
            starts = [self._relocalizer.guess(pose) for pose in self._where_thought(name)]
            guess, ratio = self._judged(name, lost, self._relocalizer.settle(lost, starts))
            if ratio > NEARLY:
                self.glanced[name] = beside[name]
            if ratio <= 1:
                self.tries[name] += 1
                found[name] = guess
        return found

    def _judged(self, name: str, lost: Lost, guess: Guess) -> tuple[Guess, float]:
        """A guess refined on what trained photos have shown, and what it leaves of what may be left unexplained."""
        guess, left = self._settled(lost, guess)
        allowance = self.allowance or max(MAX_OF_TRAINED * self._usual(guess.viewmat), MAX_OF_FEW)
        ratio = left / min(allowance, MAX_UNEXPLAINED)
        logger.info("%s by rendering: %.2f of what may be left unexplained, %.2f of what a small shift would leave",
                    name, ratio, left)  # fmt: skip
        return guess, ratio

    def _full_camera(self, name: str) -> Cameras:
        """Of a photo, at full size; its pose is where structure from motion put it, if it did."""
        if name in self.before.names:
            return self.before.cameras.at(self.before.names.index(name))
        lens = self.before.lost_lenses[name]
        return Cameras(torch.eye(4, dtype=torch.float64)[None], intrinsics(lens)[None], lens.width, lens.height)

    def _photo(self, name: str) -> Lost:
        downscale, device = self.config.downscale, self.trainer.rasterizer.device
        full, mask = self._full_camera(name).to(device, torch.float32), mask_path(self.run, name)
        picture, keep = read_photo(photo_path(self.run, name), downscale), mask and read_mask(mask, downscale)
        centers = inverse(self.poses)[:, :3, 3]
        apart = torch.cdist(centers, centers).fill_diagonal_(torch.inf)
        return Lost(
            picture=picture.to(device),
            camera=full.resized(*reduced_size(full.width, full.height, downscale)),
            keep=None if keep is None else keep.to(device),
            depth=self.trainer.exposure.motion.units[:, 0].median().item(),
            spacing=apart.min(dim=1).values.median().item(),
            blur_px=looks_of((blanked_where_masked(picture, keep),), self.config.train)[0].blur_px,
        )

    def _likely(self, name: str) -> Float[Tensor, "start 4 4"]:
        """Where the photo was thought to be, and where its place in the order or its time would have it."""
        likely = [self._placed.likely(name)]
        likely += [guess[None].to(self.poses) for guess in self.before.guesses.get(name, ())]
        return torch.cat([*likely, *(pose[None] for pose in self._where_thought(name))])

    def _where_thought(self, name: str) -> list[Float[Tensor, "4 4"]]:
        """Where structure from motion put a photo, if it did: in the world, beside the next trained one in order."""
        if name not in self.thought:
            return []
        beside = self._placed.next_to(name, self.thought)
        return [self.thought[name], *([self._placed.carried(name, beside, self.thought)] if beside else [])]

    @property
    def _placed(self) -> Placed:
        return Placed(self.names, self.poses, self.order, self.times)

    @property
    def names(self) -> tuple[str, ...]:
        return self.trainer.photos.names

    def _rejoin(self, new: dict[str, Guess], doubted: list[str]) -> None:
        """A trainer that goes on from the middle of its schedule, with photos that were found, without others."""
        old, poses = self.trainer, dict(zip(self.names, self.poses, strict=True))
        self.lost = [name for name in self.lost if name not in new] + doubted
        for name in doubted:
            residual, of_unseen = self._left_of(name)
            self.failures[name] = residual / MAX_RESIDUAL if of_unseen is None else of_unseen
            self.looked_among.pop(name, None)
            if name in self.seeds:
                self.seeds.remove(name)
                self.residuals.pop(name)  # in a scene that believed it
        before = {name: frame for frame, name in enumerate(self.names) if name not in doubted}
        names = tuple(sorted(before.keys() | new.keys(), key=self.order.__getitem__))
        viewmats = [new[name].viewmat if name in new else poses[name] for name in names]
        photos = load_photos(self.run, self.config, names, self._cameras(names, viewmats))
        trainer = Trainer(photos, self._scene_for(photos, new), old.config, old.rasterizer)
        paths, gains = trainer.exposure.motion.control_points, trainer.exposure.tone.log_gains
        with torch.no_grad():
            for frame, name in enumerate(names):
                if name in new:
                    paths[frame].copy_(new[name].path)
                    continue
                # Translations count in the scene's depth, which a grown scene has anew.
                units = [t.exposure.motion.units[f, :6] for t, f in ((old, before[name]), (trainer, frame))]
                paths[frame].copy_(old.exposure.motion.control_points[before[name]] * (units[0] / units[1]))
                if gains:
                    gains[frame].copy_(old.exposure.tone.log_gains[before[name]])
        trainer.step_number = round(old.config.steps * REJOIN_AT)
        trainer.seconds = old.config.time_limit * REJOIN_AT
        trainer.done["looks"] = len(LOOK_BACK_AT) - 1  # once is enough
        trainer.watch.good_state = state_of(trainer, is_copy=True)
        self.trainer = trainer

    def _scene_for(self, photos: PhotoSet, new: dict[str, Guess]) -> Gaussians:
        """The scene, with something to begin with where only new photos look."""
        rows = [row for row, name in enumerate(photos.names) if name in new]
        if not rows:
            return self.trainer.scene
        cameras = photos.cameras[-1].at(rows).to(self.trainer.rasterizer.device)
        depths = self.trainer.exposure.motion.units[:, 0].median().expand(len(rows))
        count = int(self.config.train.initial * GAUSSIANS * len(rows) / len(photos))
        return extended(
            self.trainer.scene, self._trained_cameras(), cameras, depths, count, self.trainer.generator
        )

    def _cameras(self, names: tuple[str, ...], viewmats: list[Float[Tensor, "4 4"]]) -> Cameras:
        """Photos' cameras at full size, at other poses."""
        full = [self._full_camera(name) for name in names]
        Ks, sizes = torch.cat([c.Ks for c in full]), [(c.width, c.height) for c in full]
        return Cameras.of_sizes(torch.stack([v.double().cpu() for v in viewmats]), Ks, sizes)

    def result(self) -> Reconstruction:
        """The reconstruction with the poses as the small training left them, and with the photos that were found."""
        before, poses = self.before, dict(zip(self.names, self.poses, strict=True))
        names = tuple(n for n in self.order if n in poses or n in before.names)
        viewmats = [poses.get(name, self._full_camera(name).viewmats[0]) for name in names]
        left = {name: self._left_of(name) for name in self.residuals if name not in self.seeds}
        found = {name: Evidence.by_rendering(*left[name]) for name in left if name in poses and self.tries[name]}
        kept = {
            name: replace(before.evidence[name], residual=residual, of_unseen=of_unseen)
            for name, (residual, of_unseen) in left.items()
            if name in before.evidence
        }
        return replace(
            before,
            names=names,
            cameras=self._cameras(names, viewmats),
            missing={name: self._why(name) for name in before.missing if name not in names},
            evidence={name: e for name, e in (before.evidence | kept | found).items() if name in names},
            lost_lenses={name: lens for name, lens in before.lost_lenses.items() if name not in names},
            guesses={name: poses for name, poses in before.guesses.items() if name not in found},
            searched_s=self.limit_s,
        )

    def _why(self, name: str) -> str:
        reason = self.before.missing[name]
        if name not in self.failures:
            return reason
        reason, failure = reason.partition(NO_RENDER)[0], self.failures[name]  # without that of an earlier search
        if failure == inf:
            return f"{reason}{NO_RENDER}: the photos with a pose show too little of what it shows"
        return f"{reason}{NO_RENDER}: {failure:.1f} times as much is left as may be"


def _poses(trainer: Trainer) -> Float[Tensor, "photo 4 4"]:
    """Mid-exposure poses as trained."""
    with torch.no_grad():
        return torch.stack([trainer.exposure.sharp_viewmat(frame) for frame in range(len(trainer.photos))])

"""The whole story: photos in, a sharp scene out. Each stage is a function from files to files in a run folder."""

import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import count
from math import isfinite
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from . import capture, poses
from .blur import assess_blur
from .capture import Capture
from .capture.choices import Choices, Use
from .capture.pixels import read_mask, read_photo, reduced_size
from .config import Config, config_from_plain, plain, save_config
from .errors import CaptureError, ConfigError, FormatError, PoseError
from .evaluate import Scores
from .exposure import Defocus, Static
from .geometry import Cameras
from .optimize import Looks, PhotoSet, TrainConfig, Trainer, TrainEvent, initial_scene
from .optimize import checkpoint as checkpoints
from .poses.reconstruction import load_reconstruction, mask_path, photo_path
from .render import best_available
from .result import Result, load_result
from .run import Run, atomic_write

logger = logging.getLogger(__name__)

Progress = Callable[[float | None, str], None]
EVENTS_EVERY = 20  # steps between two lines in events.jsonl
TARGET_WIDTH_PX = 400  # what downscale 0 aims at
BLUR_PATCHES = 6  # across a photo, which tell how blurred it is
FINEST_STRIDE_PX = 32  # between them
MIN_SIDE_PX = 16  # SSIM's window has 11
MIN_PHOTOS = 3
MAX_EXTENT = 1e7
LIBRARIES = ("splatdeblur", "torch", "gsplat", "numba", "pycolmap")


def reconstruct(input: Path, run: Run, config: Config, on_progress: Progress, on_event: Callable[[TrainEvent], None]):
    """All stages, one after the other; stages that are done already are not done again."""
    prepare(input, run, config, on_progress)
    pose(run, config, on_progress)
    return train(run, config, on_event)


def prepare(input: Path, run: Run, config: Config, on_progress: Progress) -> Capture:
    """Photos or a video to `images/` and `capture.json`."""
    return capture.prepare(
        input, run, downscale=config.downscale or 1.0, limits=config.prepare, on_progress=on_progress
    )


def pose(run: Run, config: Config, on_progress: Progress) -> poses.Reconstruction:
    """`images/` to `poses/`: imported where they came along, else found by COLMAP."""
    shots = Capture.load(run.require(run.capture, "prepare"))
    limit = config.pose.time_limit or None
    return poses.find_poses(run, shots, seed=config.train.seed, time_limit_s=limit, on_progress=on_progress)


def make_trainer(run: Run, config: Config) -> Trainer:
    """A trainer at its first step, from the photos and poses of a run."""
    reconstruction = load_reconstruction(run)
    chosen = _chosen(reconstruction.names, Choices.load(run.choices))
    names = tuple(reconstruction.names[i] for i in chosen)
    downscale = downscale_of(run, config)
    pictures = [read_photo(photo_path(run, name), downscale) for name in names]
    masks = tuple((path := mask_path(run, name)) and read_mask(path, downscale) for name in names)
    full = reconstruction.cameras.at(chosen).to(dtype=torch.float32)
    cameras = full.resized_each([reduced_size(w, h, downscale) for w, h in full.own_sizes])
    _require_sense(cameras, downscale)
    photos = PhotoSet.build(names, cameras, pictures, config.train.resolution.levels, masks)
    photos = replace(photos, looks=_looks(photos.pictures[-1], config.train))
    budget = config.train.budget(len(photos), photos.mean_pixels)
    scene = initial_scene(
        cameras, reconstruction.points.float(), reconstruction.colors.float(),
        count=int(config.train.initial * budget), sh_degree=config.train.sh_degree,
        generator=torch.Generator().manual_seed(config.train.seed),
    )  # fmt: skip
    return Trainer(photos, scene, _for_its_poses(config.train, run), best_available(config.device))


def _chosen(names: tuple[str, ...], choices: Choices) -> list[int]:
    """Indices of the photos to train on."""
    chosen = [i for i, name in enumerate(names) if choices.use(name) == Use.TRAIN]
    if len(chosen) < MIN_PHOTOS:
        raise CaptureError(
            f"photos.json leaves {len(chosen)} of {len(names)} photos for training; need at least {MIN_PHOTOS}: "
            "take some out of its lists"
        )
    return chosen


def _looks(pictures: tuple[Tensor, ...], settings: TrainConfig) -> tuple[Looks, ...]:
    """How blurred each photo looks; where one has no texture to tell, as the median of the others."""
    blurs = not isinstance(settings.motion, Static) or isinstance(settings.lens.focus, Defocus)
    if not blurs or not (settings.max_path or settings.loss.path):
        return (Looks(),) * len(pictures)
    found = [_look(picture) for picture in pictures]
    known = [looks for looks in found if looks is not None]
    usual = Looks()
    if known:
        usual = Looks(median(looks.blur_px for looks in known), median(looks.most_px for looks in known), 0.0)
    return tuple(looks or usual for looks in found)


def _look(picture: Tensor) -> Looks | None:
    seen = assess_blur(picture, stride_px=max(FINEST_STRIDE_PX, picture.shape[1] // BLUR_PATCHES))
    if not isfinite(seen.strength_px):
        return None
    _, motion, defocus = seen.probabilities
    most = seen.map.strength_px[seen.map.confidence > 0].quantile(0.9).item()
    return Looks(seen.strength_px, max(most, seen.strength_px), defocus / max(motion + defocus, 1e-6))


def _for_its_poses(settings: TrainConfig, run: Run) -> TrainConfig:
    """Corrections of the poses as fast as where they come from demands."""
    if Capture.load(run.capture).known_poses is not None:
        return settings
    start, end = settings.rates.pose
    factor = settings.rates.found_poses
    return replace(settings, rates=replace(settings.rates, pose=(start * factor, end * factor)))


def _require_sense(cameras: Cameras, downscale: float) -> None:
    width, height = min(cameras.own_sizes, key=min)
    if min(width, height) < MIN_SIDE_PX:
        raise ConfigError(
            f"--downscale {downscale:g} leaves photos of {width}x{height}; training needs "
            f"{MIN_SIDE_PX} px on the shorter side, so take a smaller factor or larger photos"
        )
    extent = torch.cat([cameras.Ks.flatten(), cameras.viewmats.flatten()]).abs().max()
    if not extent <= MAX_EXTENT:
        raise PoseError(
            f"poses or focal lengths reach {extent:.3g}; above {MAX_EXTENT:g} they are no use in single precision: "
            "repair the file that they came from, or scale its positions"
        )


def downscale_of(run: Run, config: Config) -> float:
    """By how much training reduces the photos: as set, else as prepared, else to about 400 px."""
    shots = Capture.load(run.require(run.capture, "prepare"))
    if config.downscale:
        return config.downscale
    return shots.downscale if shots.downscale != 1 else max(1.0, shots.width / TARGET_WIDTH_PX)


def train(run: Run, config: Config, on_event: Callable[[TrainEvent], None]) -> Result:
    """`images/` and `poses/` to `checkpoints/latest.pt`; continues where an earlier training with the same settings
    stopped. Saves on interruption, and every so often."""
    run.require(run.poses / "poses.json", "pose")
    trainer = make_trainer(run, config)
    settings = plain(replace(config, downscale=downscale_of(run, config)))
    _resume(run, trainer, settings)
    if trainer.progress < 1:
        save_config(config_from_plain(settings), run.config)
        versions = {name: version(name) for name in LIBRARIES}
        (run.folder / "versions.json").write_text(json.dumps(versions, indent=1))
        _train_to_end(run, trainer, settings, config.checkpoint_every, on_event)
    else:
        logger.info("%s is trained already, with the same settings", run.folder)
    result = load_result(run, config.device)
    result.show()
    with atomic_write(run.blur) as temporary:
        temporary.write_text(json.dumps({name: asdict(blur) for name, blur in result.blur().items()}, indent=1))
    return result


def _train_to_end(
    run: Run, trainer: Trainer, settings: dict, checkpoint_every: float, on_event: Callable[[TrainEvent], None]
) -> None:
    saved_at = trainer.seconds
    mode = "a" if trainer.step_number else "w"
    with open(run.events, mode, buffering=1) as log, _interruptions_noted() as interruptions:
        for event in trainer.run():
            on_event(event)
            if event.step % EVENTS_EVERY == 0 or event.note:
                log.write(json.dumps(asdict(event)) + "\n")
            if trainer.seconds - saved_at > checkpoint_every or interruptions:
                checkpoints.save(trainer, run.checkpoint, settings)
                saved_at = trainer.seconds
            if interruptions:
                raise KeyboardInterrupt
    checkpoints.save(trainer, run.checkpoint, settings)


@contextmanager
def _interruptions_noted() -> Iterator[list[int]]:
    """Ctrl-C only adds to the list: in the middle of a step it would leave half a step, which cannot be continued."""
    noted: list[int] = []
    # Only the main thread may handle signals; and one that was told to be ignored, as in `command &`, stays ignored.
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield noted
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _resume(run: Run, trainer: Trainer, settings: dict) -> None:
    """Continues from the run's checkpoint if it is of the same training; else moves it out of the way.

    Raises:
        FormatError: it is damaged.
    """
    if not run.checkpoint.exists():
        return
    old = checkpoints.load(run.checkpoint)
    left_out = set(old.names) - set(trainer.photos.names) - Choices.load(run.choices).test
    if left_out:
        logger.info("going on without %s", ", ".join(sorted(left_out)))
        old = old.without(left_out)
    cameras = trainer.photos.cameras[-1].to("cpu")
    is_same = (
        old.names == trainer.photos.names
        and old.state.get("masks") == trainer.photos.mask_marks
        and all(old.settings.get(key) == settings[key] for key in ("downscale", "train"))
        and torch.equal(old.cameras.viewmats, cameras.viewmats)
        and torch.equal(old.cameras.Ks, cameras.Ks)
    )
    if is_same:
        try:
            trainer.load_state(old.state)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise FormatError(
                f"{run.checkpoint} is damaged ({error}); delete it and run `splatdeblur train` again"
            ) from error
        logger.info("continuing at step %d", old.step)
        return
    names = (run.checkpoint.with_name(f"other-{number}.pt") for number in count(1))
    kept = next(name for name in names if not name.exists())
    run.checkpoint.replace(kept)
    logger.warning("settings, photos or poses have changed: starting anew, and keeping the old scene as %s", kept)


def evaluate(run: Run, reference: Path | None, device: str, on_progress: Callable[[str, float], None]) -> Scores:
    """Scores against a reference folder, or photos kept for testing: `scores.json` and `evaluation/`."""
    result = load_result(run, device)
    return result.evaluate(reference, result.config.evaluate.refine_steps, on_progress)

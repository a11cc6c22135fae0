"""The start of a training: photos, poses and settings of a run made into a trainer at its first step."""

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from itertools import pairwise
from math import isfinite
from statistics import median

import torch
from torch import Tensor

from .blur import assess_blur
from .capture import Capture
from .capture.choices import Choices, Use
from .capture.pixels import read_mask, read_photo, reduced_size
from .config import Config
from .errors import CaptureError, ConfigError, PoseError
from .exposure import Defocus, Static, Timing, Trajectory
from .geometry import Cameras
from .optimize import Looks, PhotoSet, TrainConfig, Trainer, initial_scene, nearest_depths
from .poses.reconstruction import Reconstruction, load_reconstruction, mask_path, photo_path
from .render import best_available
from .run import Run

TARGET_WIDTH_PX = 400  # what downscale 0 aims at
BLUR_PATCHES = 6  # across a photo, which tell how blurred it is
FINEST_STRIDE_PX = 32  # between them
MIN_SIDE_PX = 16  # SSIM's window has 11
MIN_PHOTOS = 3
MAX_EXTENT = 1e7


def make_trainer(
    run: Run, config: Config, without: Collection[str] = (), believed: Collection[str] = ()
) -> Trainer:
    """A trainer at its first step, from the photos and poses of a run.

    Args:
        without: photos to leave out, besides those whose pose is doubtful.
        believed: photos to take in though their pose is.
    """
    reconstruction = load_reconstruction(run)
    chosen = _chosen(reconstruction, Choices.load(run.choices), believed)
    chosen = [i for i in chosen if reconstruction.names[i] not in without]
    names = tuple(reconstruction.names[i] for i in chosen)
    photos = load_photos(run, config, names, reconstruction.cameras.at(chosen))
    photos = replace(
        photos, velocities=tuple(reconstruction.velocities.get(name) for name in names),
        nearest=nearest_depths(photos.cameras[-1], reconstruction.points.float()),
    )  # fmt: skip
    budget = config.train.budget(len(photos), photos.mean_pixels)
    scene = initial_scene(
        photos.cameras[-1], reconstruction.points.float(), reconstruction.colors.float(),
        count=int(config.train.initial * budget), sh_degree=config.train.sh_degree,
        generator=torch.Generator().manual_seed(config.train.seed),
    )  # fmt: skip
    return Trainer(photos, scene, _for_its_poses(config.train, run), best_available(config.device))


def load_photos(run: Run, config: Config, names: tuple[str, ...], full: Cameras) -> PhotoSet:
    """Photos of a run at training size, with their masks and how blurred they look.

    Args:
        full: their cameras at full size.
    """
    downscale = downscale_of(run, config)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pictures = list(pool.map(lambda name: read_photo(photo_path(run, name), downscale), names))
    masks = tuple((path := mask_path(run, name)) and read_mask(path, downscale) for name in names)
    full = full.to(dtype=torch.float32)
    cameras = full.resized_each([reduced_size(w, h, downscale) for w, h in full.own_sizes])
    _require_sense(cameras, downscale)
    photos = PhotoSet.build(names, cameras, pictures, config.train.resolution.levels, masks)
    timing = timing_of(Capture.load(run.capture), names) if isinstance(config.train.motion, Trajectory) else None
    return replace(photos, looks=looks_of(photos.pictures[-1], config.train), timing=timing)


def timing_of(shots: Capture, names: tuple[str, ...]) -> Timing:
    """When some photos of a capture were taken, and for how long as far as all of them tell.

    Raises:
        ConfigError: not all have times of their own, or those are whole seconds, too coarse to tell movement.
    """
    frames = {frame.name: frame for frame in shots.frames}
    chosen = [frames[name] for name in names]
    advice = "one path through all photos (train.motion.type=Trajectory) needs a video; take train.motion.type=Bezier"
    times = [frame.time_s for frame in chosen]
    timeless = [frame.name for frame in chosen if frame.time_s is None]
    if timeless:
        raise ConfigError(f"{len(timeless)} of {len(names)} photos have no time ({timeless[0]}, say): {advice}")
    if len(set(times)) < len(times):
        twice = next(frame.name for frame in chosen if times.count(frame.time_s) > 1)
        raise ConfigError(f"several photos have the same time ({twice}, say): {advice}")
    if not shots.is_video and all(float(time).is_integer() for time in times):
        raise ConfigError(f"the photos' times are whole seconds: {advice}")
    intervals = [f.interval_s for f in shots.frames if f.interval_s]
    exposures = tuple(frame.exposure_s for frame in chosen)
    return Timing(
        tuple(times),
        median(intervals) if intervals else min(b - a for a, b in pairwise(sorted(times))),
        None if None in exposures else exposures,
    )


def _chosen(reconstruction: Reconstruction, choices: Choices, believed: Collection[str]) -> list[int]:
    """Indices of the photos to train on."""
    names, doubtful = reconstruction.names, reconstruction.doubtful.keys() - set(believed)
    chosen = [i for i, name in enumerate(names) if choices.use(name) == Use.TRAIN and name not in doubtful]
    if doubtful and len(chosen) < MIN_PHOTOS:
        raise PoseError(
            f"the poses of {len(doubtful)} of {len(names)} photos are doubtful, which leaves {len(chosen)} for "
            f"training; need at least {MIN_PHOTOS}. poses/poses.json says why; take more photos from places between "
            "these, less blurred ones if you can, or supply poses in a transforms.json"
        )
    if len(chosen) < MIN_PHOTOS:
        raise CaptureError(
            f"photos.json leaves {len(chosen)} of {len(names)} photos for training; need at least {MIN_PHOTOS}: "
            "take some out of its lists"
        )
    return chosen


def looks_of(pictures: tuple[Tensor, ...], settings: TrainConfig) -> tuple[Looks, ...]:
    """How blurred each photo looks; where one has no texture to tell, as the median of the others, if there are any."""
    blurs = not isinstance(settings.motion, Static) or isinstance(settings.lens.focus, Defocus)
    if not blurs or not (settings.max_path or settings.loss.path):
        return (Looks(),) * len(pictures)
    found = [_look(picture) for picture in pictures]
    known = [looks for looks in found if looks is not None]
    usual = Looks()
    if known:
        usual = Looks(*(median(values) for values in zip(*map(astuple, known), strict=True)))
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
    rates = settings.rates
    pose, trajectory = ((a * rates.found_poses, b * rates.found_poses) for a, b in (rates.pose, rates.trajectory))
    return replace(settings, rates=replace(rates, pose=pose, trajectory=trajectory))


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


def settled(run: Run, config: Config) -> Config:
    """Settings with what the run itself decides where they leave it open: the scale of its photos, and the read-out
    that its poses came with."""
    shutter = config.train.shutter
    if not shutter.is_rolling and shutter.can_roll:
        shutter = replace(shutter, readout=load_reconstruction(run).readout)
    return replace(config, downscale=downscale_of(run, config), train=replace(config.train, shutter=shutter))


def downscale_of(run: Run, config: Config) -> float:
    """By how much training reduces the photos: as set, else as prepared, else to about 400 px."""
    shots = Capture.load(run.require(run.capture, "prepare"))
    if config.downscale:
        return config.downscale
    return shots.downscale if shots.downscale != 1 else max(1.0, shots.width / TARGET_WIDTH_PX)

"""The room of `tracer`, filmed by a hand that walks past: videos of known truth, one smooth motion through all frames.

Numpy alone, with its own motion, so that it can share no mistake with the package.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from synthetic import Array, SyntheticCapture, _eight_bit, _extent, _look_at, _rigid, _surface
from tracer import Scene, encode_srgb, render


@dataclass(frozen=True, eq=False)
class Film:
    """Kept frames of a video, with everything that is true about them.

    Attributes:
        shots: the frames as photos; `path_viewmats` are those of each frame's exposure.
        times_s: middle of each frame's exposure.
        interval_s: from one frame of the video to the next, kept or not.
        share: of that, how long the shutter is open.
    """

    shots: SyntheticCapture
    times_s: Array
    interval_s: float
    share: float


def _walk(
    rng: np.random.Generator, seconds: float, target: Array, arc_deg: float, shake_hz: tuple[float, float]
) -> Callable[[Array, float], Array]:
    """World-from-camera poses at times, with the shake of the hand taken so many times as strong."""
    rates = rng.uniform(*shake_hz, (6, 12))
    phases = rng.uniform(0, 2 * np.pi, (6, 12))
    # As fast at all frequencies: slow sway is wide, tremor narrow.
    reach = rng.normal(size=(6, 12)) / (2 * np.pi * rates) * np.array([0.25, 0.25, 0.25, 0.35, 0.35, 0.5])[:, None]

    def poses(times: Array, strength: float) -> Array:
        part = np.asarray(times) / seconds
        angle = (part - 0.5) * np.deg2rad(arc_deg)
        distance, height = 1.65 + 0.1 * np.sin(5 * part + 1), 1.0 + 0.2 * np.sin(4 * part)
        eyes = np.stack([distance * np.sin(angle), -distance * np.cos(angle), height], -1)
        sway = (reach * np.sin(2 * np.pi * rates * np.asarray(times)[:, None, None] + phases)).sum(-1) * strength
        return np.stack([_look_at(eye, target) for eye in eyes]) @ _rigid(sway[:, :3], sway[:, 3:])

    return poses


def make_film(
    scene: Scene,
    *,
    frames: int = 30,
    every: int = 1,
    fps: float = 20.0,
    share: float = 0.7,
    blur_px: float = 6.0,
    size: tuple[int, int] = (160, 112),
    arc_deg: float = 30.0,
    shake_hz: tuple[float, float] = (1.0, 4.0),
    seed: int = 0,
    subframes: int = 20,
    tests: int = 4,
    samples: int = 1,
    fov_deg: float = 60.0,
    points: int = 1500,
) -> Film:
    """Films the scene from an arc around it.

    Args:
        frames: how many are kept, each `every`-th of the video.
        share: of the time between two frames that the shutter is open.
        blur_px: how far the picture smears during an exposure, median over the frames.
        shake_hz: frequencies of the hand's shaking.
        subframes, samples: poses averaged per frame, and rays per pixel and pose.
        tests: held-out sharp views, near the way but not on it.
    """
    rng = np.random.default_rng([scene.seed, seed])
    width, height = size
    focal = width / 2 / np.tan(np.deg2rad(fov_deg) / 2)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    middles = (np.arange(frames) * every + 0.5) / fps
    way = _walk(rng, frames * every / fps, scene.target, arc_deg, shake_hz)
    times = (np.arange(subframes) + 0.5) / subframes
    open_at = middles[:, None] + (times - 0.5) * share / fps
    surfaces = [_surface(scene, way(middles[i : i + 1], 1.0)[0], K, size)[1][::37] for i in range(0, frames, 4)]

    def smear(strength: float) -> float:
        paths = way(open_at[::4].ravel(), strength).reshape(-1, subframes, 4, 4)
        return float(np.median([_extent(s, p, K) for s, p in zip(surfaces, paths, strict=True)]))

    low, high = 0.0, 1.0
    while smear(high) < blur_px:
        low, high = high, 2 * high
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if smear(middle) < blur_px else (low, middle)
    paths = way(open_at.ravel(), high).reshape(frames, subframes, 4, 4)
    poses = way(middles, high)
    aside = _rigid(rng.normal(size=(tests, 3)) * 0.05, rng.normal(size=(tests, 3)) * 0.03)
    held_out = way((np.arange(tests) + 0.5) / tests * frames * every / fps, 0.0) @ aside
    still = 12 * samples
    light = [render(scene, path, K, size, samples=samples, rng=rng) for path in paths]
    sharp = [render(scene, pose[None], K, size, samples=still, rng=rng) for pose in poses]
    test = [render(scene, pose[None], K, size, samples=still, rng=rng) for pose in held_out]
    seen, colors, depths, extents = [], [], [], []
    for pose, path, picture in zip(poses, paths, sharp, strict=True):
        depth, surface = _surface(scene, pose, K, size)
        chosen = rng.choice(len(surface), points // frames + 1, replace=False)
        depths.append(depth)
        seen.append(surface[chosen])
        colors.append(encode_srgb(picture.reshape(-1, 3)[chosen]))
        extents.append(_extent(surface[::7], path, K))
    shots = SyntheticCapture(
        photos=_eight_bit(light), sharp=_eight_bit(sharp), test=_eight_bit(test), depth=np.stack(depths),
        viewmats=np.linalg.inv(poses), test_viewmats=np.linalg.inv(held_out), path_viewmats=np.linalg.inv(paths),
        times=times, K=K, extent_px=np.array(extents), target_px=np.full(frames, blur_px), gains=np.ones(frames),
        tints=np.ones((frames, 3)), aperture=np.zeros(frames), focus=np.ones(frames), points=np.concatenate(seen),
        point_colors=np.concatenate(colors), readout=0.0, test_light=np.stack(test),
    )  # fmt: skip
    return Film(shots, middles, 1 / fps, share)

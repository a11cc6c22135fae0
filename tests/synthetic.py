"""The room of `tracer`, photographed with a shaking hand: captures of known truth.

Numpy, with its own poses, so that it can share no mistake with the package.
Cameras are pinholes; poses are OpenCV camera-to-world inside, OpenGL camera-to-world in the files, as in
`transforms.json`. Light is added up in linear RGB and encoded last.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from plyfile import PlyData, PlyElement
from tracer import Scene, encode_srgb, make_scene, render, shoot

__all__ = ["SyntheticCapture", "make_capture", "make_scene", "render"]

Array = NDArray[np.floating]

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class SyntheticCapture:
    """Photos with everything that is true about them.

    Attributes:
        photos, sharp, test: sRGB in [0, 1], [photo, height, width, 3], rounded to 8 bit: blurred, the same
            without blur (pose of the middle of the exposure), and held-out sharp views.
        depth: z-depth of the middle of each pixel of `sharp`.
        viewmats, test_viewmats: world-to-camera, OpenCV axes, middle of the exposure.
        path_viewmats: the same along the exposure, [photo, sub-frame, 4, 4], at shutter times `times`.
        K: intrinsics in pixels, centre of the first pixel at (0.5, 0.5).
        extent_px: longest way between two places of one point during exposure and read-out, mean over the picture.
        target_px: what was asked for, per photo.
        aperture, focus: of each photo's lens: radius and z-depth in focus, in world units.
        gains: brightness of each photo relative to `sharp`, before clipping.
        tints: of each photo's channels relative to that, [photo, 3].
        readout: read-out time over exposure time; `times` cover both, as [0, 1].
        test_light: linear RGB of `test`, not clipped.
        points, point_colors: some of the surface points in view, and their sRGB colour.
    """

    photos: Array
    sharp: Array
    test: Array
    depth: Array
    viewmats: Array
    test_viewmats: Array
    path_viewmats: Array
    times: Array
    K: Array
    extent_px: Array
    target_px: Array
    gains: Array
    tints: Array
    aperture: Array
    focus: Array
    points: Array
    point_colors: Array
    readout: float
    test_light: Array

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.photos.shape[2], self.photos.shape[1]

    def save(self, folder: Path, with_points: bool = False) -> Path:
        """Writes a capture with truth: transforms.json, images/, sharp/, test/, trajectories.npz.

        Args:
            with_points: writes points.ply as well, which transforms.json then names, as captures bring the points
                that their poses were found from.
        """
        for name, pictures in (("images", self.photos), ("sharp", self.sharp), ("test", self.test)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            for i, picture in enumerate(pictures):
                Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(folder / name / f"{i:03d}.png")
        transforms = self._transforms()
        if with_points:
            transforms["ply_file_path"] = "points.ply"
            PlyData([PlyElement.describe(self._vertices(), "vertex")]).write(str(folder / "points.ply"))
        (folder / "transforms.json").write_text(json.dumps(transforms, indent=1))
        height = self.photos.shape[1]
        longer = 1 + self.readout
        after = self.times * longer - self.readout * (np.arange(height)[:, None] + 0.5) / height
        is_open = ((after > 0) & (after < 1)).astype(np.float32)
        np.savez_compressed(
            folder / "trajectories.npz",
            c2w=np.linalg.inv(self.path_viewmats) @ OPENGL_FROM_OPENCV,
            times=self.times * longer,
            gains=self.gains,
            tints=self.tints,
            readout=np.array(float(self.readout)),
            extent_px=self.extent_px,
            target=np.array([f"{x:g}" for x in self.target_px]),
            aperture=self.aperture,
            focus=self.focus,
            row_weights=is_open / is_open.sum(1, keepdims=True),
        )
        return folder

    def _vertices(self) -> Array:
        kinds = [*((name, "f4") for name in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))]
        vertices = np.empty(len(self.points), kinds)
        for name, column in zip(vertices.dtype.names, (*self.points.T, *(255 * self.point_colors).T), strict=True):
            vertices[name] = np.round(column) if vertices.dtype[name] == np.uint8 else column
        return vertices

    def _transforms(self) -> dict:
        width, height = self.size
        K = self.K
        lens = {
            "camera_model": "OPENCV", "w": width, "h": height,
            "fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2],
            "k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0,
            "camera_angle_x": 2 * np.arctan(width / (2 * K[0, 0])), "readout_fraction": self.readout,
        }  # fmt: skip
        train = [f"images/{i:03d}.png" for i in range(len(self.photos))]
        test = [f"test/{i:03d}.png" for i in range(len(self.test))]
        frames = []
        for i, pose in enumerate(np.linalg.inv(self.viewmats) @ OPENGL_FROM_OPENCV):
            truth = {"sharp_path": f"sharp/{i:03d}.png", "split": "train", "kind": "motion"}
            blur = {"exposure_gain": self.gains[i], "blur_extent_px": self.extent_px[i]}
            frames.append({"file_path": train[i], **truth, **blur, "transform_matrix": pose.tolist()})
        for i, pose in enumerate(np.linalg.inv(self.test_viewmats) @ OPENGL_FROM_OPENCV):
            frames.append({"file_path": test[i], "split": "test", "transform_matrix": pose.tolist()})
        names = {"train_filenames": train, "val_filenames": test, "test_filenames": test}
        return {**lens, **names, "frames": frames}


# ---- cameras and their shaking


def _look_at(eye: Array, target: Array) -> Array:
    """World-from-camera pose, OpenCV axes, upright."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=-1)
    pose[:3, 3] = eye
    return pose


def _rigid(shift: Array, turn: Array) -> Array:
    """[..., 4, 4] with the rotation about `turn` (radians) and the translation `shift`."""
    angle = np.linalg.norm(turn, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(turn, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*turn.shape[:-1], 3, 3)
    pose = np.zeros((*turn.shape[:-1], 4, 4))
    first, second = np.sinc(angle / np.pi), np.sinc(angle / 2 / np.pi) ** 2 / 2
    pose[..., :3, :3] = np.eye(3) + first * cross + second * cross @ cross
    pose[..., :3, 3] = shift
    pose[..., 3, 3] = 1
    return pose


def _shake(rng: np.random.Generator, times: Array, wobble: float) -> Array:
    """A smooth random way of a hand, zero at half time: [time, 6], translation first."""
    u = times[:, None] - 0.5
    straight = rng.normal(size=6)
    bent = rng.normal(size=(3, 6)) * wobble
    way = straight * u + bent[0] * u**2 * 2
    for k in (1, 2):
        phase = rng.uniform(0, 2 * np.pi, 6)
        way = way + bent[k] * (np.sin(np.pi * (k + 0.5) * u + phase) - np.sin(phase)) / (k + 0.5) / 2
    # Turning about the optical axis and moving along it blur little; a hand does all of it alike.
    return way * np.array([0.25, 0.25, 0.25, 0.35, 0.35, 0.5])


def _extent(points: Array, poses: Array, K: Array) -> float:
    """Mean over world points of the longest way between two places of their image, in px."""
    local = (points[None] - poses[:, None, :3, 3]) @ poses[:, :3, :3]
    image = local[..., :2] / local[..., 2:] * [K[0, 0], K[1, 1]]
    gaps = np.linalg.norm(image[:, None] - image[None, :], axis=-1)
    return float(gaps.max((0, 1)).mean())


def _poses(count: int, rng: np.random.Generator, target: Array, *, phase: float, arc_deg: float = 200) -> Array:
    """Hand-held camera poses on a wide arc around the target, at changing heights and distances."""
    poses = []
    for k in range(count):
        part = (k + phase) / count
        angle = (part - 0.5) * np.deg2rad(arc_deg) + rng.uniform(-0.06, 0.06)
        distance, height = 1.65 + 0.15 * np.sin(7 * part + 1), 1.0 + 0.35 * np.sin(11 * part)
        eye = np.array([distance * np.sin(angle), -distance * np.cos(angle), height])
        tilt = _rigid(np.zeros(3), np.array([0, 0, rng.normal() * 0.04]))
        poses.append(_look_at(eye, target + rng.uniform(-0.12, 0.12, 3)) @ tilt)
    return np.stack(poses)


def make_capture(
    scene: Scene,
    *,
    photos: int = 12,
    size: tuple[int, int] = (96, 64),
    blur_px: float | tuple[float, ...] = (1.5, 3.0, 6.0),
    defocus_px: float | tuple[float, ...] = 0.0,
    seed: int = 0,
    subframes: int = 16,
    tests: int = 3,
    noise: float = 0.0,
    gain_stops: float = 0.0,
    tint_stops: float = 0.0,
    wobble: float | tuple[float, ...] = 0.7,
    samples: int = 2,
    fov_deg: float = 60.0,
    points: int = 1500,
    readout: float = 0.0,
    arc_deg: float = 200.0,
) -> SyntheticCapture:
    """Photographs the scene with a shaking hand.

    Args:
        size: width and height in pixels.
        blur_px: how far the picture smears during the exposure, in px; photos take the values in turn; 0 is
            sharp.
        defocus_px: mean radius over which out-of-focus light spreads, in px; photos take the values in turn, and are
            focused near and far in turn.
        subframes: poses averaged per photo; take more than the largest `blur_px`.
        tests: held-out sharp views.
        noise: standard deviation of sensor noise at white, in linear light; falls with the root of the light.
        gain_stops: each photo's brightness is 2^x, x uniform in +- this.
        tint_stops: so is that of each of its channels, on top: its white balance.
        wobble: 0 makes a path straight and even, 1 bends it strongly; photos take the values in turn.
        samples: rays per pixel and sub-frame.
        readout: from the first row's exposure to the last row's, in exposures; `blur_px` is one row's.
        arc_deg: of the way around the target on which cameras stand.
    """
    rng = np.random.default_rng([scene.seed, seed])
    width, height = size
    focal = width / 2 / np.tan(np.deg2rad(fov_deg) / 2)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    times = (np.arange(subframes) + 0.5) / subframes
    middles = _poses(photos, rng, scene.target, phase=0.5, arc_deg=arc_deg)
    held_out = _poses(tests, rng, scene.target, phase=0.3, arc_deg=arc_deg)
    wobbles = np.resize(np.asarray(wobble, float), photos)
    targets = np.resize(np.asarray(blur_px, float), photos)
    disks = np.resize(np.asarray(defocus_px, float), photos)
    lenses = []
    gains = 2 ** rng.uniform(-gain_stops, gain_stops, photos)
    tints = 2 ** np.random.default_rng([scene.seed, seed, 1]).uniform(-tint_stops, tint_stops, (photos, 3))
    blurred, sharp, depths, paths, extents, seen, seen_colors = [], [], [], [], [], [], []
    still = max(16, samples * 4)
    exposed = gains[:, None] * tints
    for pose, target, disk, bend, gain in zip(middles, targets, disks, wobbles, exposed, strict=True):
        depth, surface = _surface(scene, pose, K, size)
        focus = float(np.quantile(depth, (0.1, 0.9)[len(lenses) % 2]))
        aperture = disk / focal / float(abs(1 / depth - 1 / focus).mean())
        lenses.append((aperture, focus))
        of_rows = (readout * (np.arange(height) + 0.5) / height + times[:, None]) / (1 + readout)
        path = _path(pose, target * (1 + readout), surface, K, rng, np.r_[times, of_rows.ravel()], bend, subframes)
        path, rolling = path[:subframes], path[subframes:].reshape(subframes, height, 4, 4)
        shots, each = (rolling if readout else path, samples) if target else (pose[None], still * (8 if disk else 1))
        light = gain * render(scene, shots, K, size, samples=each, rng=rng, aperture=aperture, focus=focus)
        light = light + noise * np.sqrt(np.maximum(light, 0)) * rng.normal(size=light.shape)
        sharp_light = render(scene, pose[None], K, size, samples=still, rng=rng)
        chosen = rng.choice(len(surface), min(len(surface), points // photos + 1), replace=False)
        seen.append(surface[chosen])
        seen_colors.append(encode_srgb(sharp_light.reshape(-1, 3)[chosen]))
        blurred.append(light)
        sharp.append(sharp_light)
        depths.append(depth)
        paths.append(path)
        extents.append(_extent(surface[::7], path, K))
    test = [render(scene, pose[None], K, size, samples=still, rng=rng) for pose in held_out]
    return SyntheticCapture(
        photos=_eight_bit(blurred), sharp=_eight_bit(sharp), test=_eight_bit(test), depth=np.stack(depths),
        viewmats=np.linalg.inv(middles), test_viewmats=np.linalg.inv(held_out),
        path_viewmats=np.linalg.inv(np.stack(paths)), times=times, K=K, extent_px=np.array(extents),
        target_px=targets, gains=gains, tints=tints, readout=readout, test_light=np.stack(test),
        aperture=np.array(lenses)[:, 0], focus=np.array(lenses)[:, 1],
        points=np.concatenate(seen), point_colors=np.concatenate(seen_colors),
    )  # fmt: skip


def _eight_bit(pictures: list[Array]) -> Array:
    return np.round(encode_srgb(np.stack(pictures)) * 255) / 255


def _surface(scene: Scene, pose: Array, K: Array, size: tuple[int, int]) -> tuple[Array, Array]:
    """z-depth of the pixels' middles [height, width], and the world points there [height * width, 3]."""
    column, row = (x.ravel() + 0.5 for x in np.meshgrid(np.arange(size[0]), np.arange(size[1])))
    local = np.stack([(column - K[0, 2]) / K[0, 0], (row - K[1, 2]) / K[1, 1], np.ones_like(column)], -1)
    norm = np.linalg.norm(local, axis=-1, keepdims=True)
    ways = local / norm @ pose[:3, :3].T
    distance = shoot(scene, pose[None, :3, 3], ways, 1 / K[0, 0])[1]
    return (distance / norm[:, 0]).reshape(size[1], size[0]), pose[:3, 3] + distance[:, None] * ways


def _path(
    pose: Array,
    target_px: float,
    surface: Array,
    K: Array,
    rng: np.random.Generator,
    times: Array,
    wobble: float,
    spanning: int,
) -> Array:
    """Poses along one exposure, scaled until the picture smears as far as asked for: [time, 4, 4].

    The first `spanning` of `times` are those that count for that.
    """
    shake = _shake(rng, times, wobble)
    points = surface[:: max(1, len(surface) // 400)]
    scale = 0.0 if target_px == 0 else 1e-3
    for _ in range(4 if target_px else 0):
        path = pose @ _rigid(scale * shake[:spanning, :3], scale * shake[:spanning, 3:])
        scale *= target_px / _extent(points, path, K)
    return pose @ _rigid(scale * shake[:, :3], scale * shake[:, 3:])

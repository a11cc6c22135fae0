"""The shipped weights against captures: true paths of a made one, sharp and blurry photos of a real one."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from splatdeblur.blur import PhotoBlur, assess_blur
from splatdeblur.blur.patches import luma

from .pairs import laplacian_variance
from .sources import Array
from .trials import STREAK_PX, spearman


def _assessed(path: Path) -> tuple[PhotoBlur, float]:
    photo = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).float() / 255
    return assess_blur(photo), float(laplacian_variance(luma(photo)[None])[0])


def true_paths(folder: Path) -> tuple[Array, Array, Array]:
    """Per photo: length of the path in px, its direction in degrees, and how far the picture agrees on that.

    Points are taken at the distance where the optical axes nearly meet.
    """
    transforms = json.loads((folder / "transforms.json").read_text())
    trajectories = np.load(folder / "trajectories.npz")
    poses = trajectories["c2w"] @ np.diag([1.0, -1.0, -1.0, 1.0])
    middles = poses[:, poses.shape[1] // 2]
    aside = np.eye(3) - middles[:, :3, 2, None] * middles[:, None, :3, 2]
    target = np.linalg.solve(aside.sum(0), (aside @ middles[:, :3, 3, None]).sum(0))[:, 0]
    focal, width, height = transforms["fl_x"], transforms["w"], transforms["h"]
    x, y = np.meshgrid(np.linspace(-0.45, 0.45, 12) * width, np.linspace(-0.45, 0.45, 8) * height)
    lengths, directions, agreements = [], [], []
    for middle, path in zip(middles, poses, strict=True):
        depth = (target - middle[:3, 3]) @ middle[:3, 2]
        points = np.stack([x / focal * depth, y / focal * depth, np.full_like(x, depth), np.ones_like(x)], -1)
        seen = points.reshape(-1, 4) @ middle.T @ np.linalg.inv(path).transpose(0, 2, 1)
        image = seen[..., :2] / seen[..., 2:3] * focal
        lengths.append(np.linalg.norm(np.diff(image, axis=0), axis=-1).sum(0).mean())
        u, v = np.moveaxis(image - image.mean(0), -1, 0)
        doubled = np.arctan2(2 * (u * v).sum(0), (u**2 - v**2).sum(0))
        mean = np.exp(1j * doubled).mean()
        directions.append(np.rad2deg(np.angle(mean)) / 2 % 180)
        agreements.append(abs(mean))
    return np.array(lengths), np.array(directions), np.array(agreements)


def capture(folder: Path) -> str:
    """Strength and direction of every photo against the truth."""
    names = [f["file_path"] for f in json.loads((folder / "transforms.json").read_text())["frames"]]
    names = [name for name in names if name.startswith("images/")]
    true_px, true_deg, agrees = true_paths(folder)
    extent_px = np.load(folder / "trajectories.npz")["extent_px"]
    found = [_assessed(folder / name) for name in names]
    ours = np.array([blur.strength_px for blur, _ in found])
    laplacian = np.array([value for _, value in found])
    apart = abs((np.array([blur.direction_deg for blur, _ in found]) - true_deg + 90) % 180 - 90)
    is_streak = (true_px >= STREAK_PX) & (agrees > 0.5)
    lines = [
        f"{name}: path {length:.1f} px, extent {extent:.1f} px; found {blur.kind.name} {blur.strength_px:.1f} px, "
        f"{blur.direction_deg:.0f} degrees, true {direction:.0f}"
        for name, length, extent, direction, (blur, _) in zip(
            names, true_px, extent_px, true_deg, found, strict=True
        )
    ]
    return "\n".join([
        *lines,
        f"Spearman of strength with path length {spearman(ours, true_px):.3f}, with extent "
        f"{spearman(ours, extent_px):.3f}; variance of Laplacian {spearman(-laplacian, true_px):.3f}, "
        f"{spearman(-laplacian, extent_px):.3f}",
        f"direction off by {np.nanmedian(apart[is_streak]):.1f} degrees (median of {is_streak.sum()} photos)",
    ])  # fmt: skip


def apart(sharp: Path, blurry: Path) -> str:
    """How often a blurry photo is ranked above a sharp one."""
    sides = [[_assessed(path) for path in _photos(where)] for where in (sharp, blurry)]
    ours = [np.array([blur.strength_px for blur, _ in side]) for side in sides]
    theirs = [-np.array([value for _, value in side]) for side in sides]
    medians = [np.nanmedian(values) for values in ours]
    return (
        f"AUC {_auc(*ours):.3f} ({len(ours[0])} sharp of {medians[0]:.1f} px, {len(ours[1])} blurry of "
        f"{medians[1]:.1f} px, medians); variance of Laplacian {_auc(*theirs):.3f}"
    )


def _photos(where: Path) -> list[Path]:
    if where.is_file():
        return [where.parent / line for line in where.read_text().split("\n") if line]
    return sorted(p for p in where.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))


def _auc(low: Array, high: Array) -> float:
    above = high[:, None] - low[None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())

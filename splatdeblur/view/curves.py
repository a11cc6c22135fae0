"""Blur paths as lines in the browser: how each camera moved, and how that smears its photo."""

from math import atan, tan

import numpy as np
import torch
from jaxtyping import Float

from ..geometry import Cameras, inverse
from .stage import Stage

TICK = 0.018  # half length of a sub-frame's tick, as a share of the frustum's depth
CURVE_TIMES = 25


def vertical_fov(camera: Cameras) -> float:
    """Of one camera, in radians."""
    return 2 * atan(camera.height / 2 / camera.Ks[0, 1, 1].item())


def fitting_fov(camera: Cameras, aspect: float) -> float:
    """The vertical field of view, in radians, with which a window of this width over height shows all of a photo."""
    half_width = camera.width / 2 / camera.Ks[0, 0, 0].item()
    return 2 * atan(max(tan(vertical_fov(camera) / 2), half_width / aspect))


def screen_camera(viewmat: Float[torch.Tensor, "4 4"], fov: float, width: int, height: int) -> Cameras:
    """The camera of a browser's window: square pixels, the axis through its middle."""
    focal = height / 2 / tan(fov / 2)
    K = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Cameras(viewmat[None], K[None], width, height)


def _chain(points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "line 2 3"]:
    return np.stack([points[:-1], points[1:]], axis=1)


def smear(stage: Stage, index: int, times: Float[torch.Tensor, "time"], factor: float) -> Float[np.ndarray, "time 3"]:
    """Where the scene's point in the middle of a photo lies on the photo in its frustum, at shutter times."""
    camera = stage.camera(index)
    middle = inverse(camera.viewmats.double())[0]
    depth = (camera.viewmats[0, 2, :3] @ stage.target + camera.viewmats[0, 2, 3]).clamp(min=1e-6).double()
    point = middle @ torch.tensor([0.0, 0.0, depth, 1.0], dtype=torch.float64)
    local = (stage.path(index, times, factor).double() @ point)[:, :3]
    on_plane = local / local[:, 2:].clamp(min=1e-9) * (1.001 * stage.frustum_depth / stage.display.scale)
    return stage.display.points((on_plane @ middle[:3, :3].mT) + middle[:3, 3])


def walk(stage: Stage, index: int, times: Float[torch.Tensor, "time"], factor: float) -> Float[np.ndarray, "time 3"]:
    """Where the camera stood at shutter times."""
    return stage.display.points(inverse(stage.path(index, times, factor).double())[:, :3, 3])


def smear_lines(stage: Stage, factor: float) -> Float[np.ndarray, "line 2 3"]:
    """The path that each photo's middle draws on it, with a tick across it at every sub-frame; straight pieces, in
    display units."""
    parts = []
    curve = torch.linspace(0, 1, CURVE_TIMES)
    for index in range(len(stage.names)):
        instants = stage.subframe_times(index)
        times = torch.cat([curve, *((instants + step).clamp(0, 1) for step in (-0.02, 0.0, 0.02))])
        ends = len(curve) + len(instants) * np.arange(3)
        line, before, at, after = np.split(smear(stage, index, times, factor), ends)
        axis = stage.display.rotation.numpy() @ stage.camera(index).viewmats[0, 2, :3].double().numpy()
        across = np.cross(after - before, axis)
        across *= TICK * stage.frustum_depth / (np.linalg.norm(across, axis=-1, keepdims=True) + 1e-12)
        parts += [_chain(line), np.stack([at - across, at + across], axis=1)]
    return np.concatenate(parts)


def walk_lines(stage: Stage, factor: float) -> Float[np.ndarray, "line 2 3"]:
    """The path of each camera through space; straight pieces, in display units."""
    times = torch.linspace(0, 1, CURVE_TIMES)
    return np.concatenate([_chain(walk(stage, index, times, factor)) for index in range(len(stage.names))])

"""One optimizer for each kind of parameter, and how fast each moves when."""

from functools import partial

import torch

from ..exposure import Exposure
from ..scene import Gaussians
from .look_back import LOOK_BACK_AT
from .schedules import LearningRates, geometric, ramp
from .visits import VisitAdam


def make_optimizers(scene: Gaussians, exposure: Exposure, rates: LearningRates) -> dict[str, torch.optim.Optimizer]:
    """By name; of the exposures' parameters only those that there are. Their rates are set at every step."""
    of_scene = {
        name: torch.optim.Adam([parameter], lr=0.0, eps=1e-15, fused=True) for name, parameter in scene.params.items()
    }
    lens = exposure.lens
    of_photos = exposure.motion.of_photos() | {
        "times": list(exposure.shutter.log_durations),
        "tone": list(exposure.tone.log_gains),
        "focus": [] if lens.focus is None else list(lens.focus.focus),
        "embeddings": [] if lens.kernels is None else list(lens.kernels.embeddings),
    }
    adam = VisitAdam if rates.by_visits else partial(torch.optim.Adam, eps=1e-15)
    # Resting between visits, with any rate and momentum that was tried, gains came out worse.
    adams = dict.fromkeys(of_photos, adam) | {"tone": partial(VisitAdam, rests=False)}
    result = of_scene | {
        name: adams[name](parameters, lr=0.0)
        for name, parameters in of_photos.items()
        if any(p.numel() for p in parameters)
    }
    if lens.kernels is not None:
        result["kernels"] = torch.optim.Adam(lens.kernels.shared(), lr=0.0)
    of_all = {
        "share": exposure.motion.shared_parameters(),
        "readout": exposure.shutter.shared_parameters(),
        "response": exposure.tone.shared_parameters(),
        "networks": exposure.networks(),
    }
    return result | {name: torch.optim.Adam(shared, lr=0.0) for name, shared in of_all.items() if shared}


def learning_rates(rates: LearningRates, progress: float, scene_scale: float) -> dict[str, float]:
    """Of every optimizer by name, those that are not in use included."""
    wake = ramp(progress, rates.camera_start, rates.camera_start + rates.camera_ramp)
    result = {name: getattr(rates, name) for name in ("quats", "scales", "opacities", "sh0", "shN")}
    result["means"] = geometric(*rates.means, progress) * scene_scale
    result["motion"] = geometric(*rates.motion, progress) * wake
    result["trajectory"] = geometric(*rates.trajectory, progress) * wake if rates.trajectory[0] else 0.0
    result["share"] = geometric(*rates.share, progress) * wake
    result["pose"] = geometric(*rates.pose, progress) * wake if rates.pose[0] else 0.0
    result["focus"] = geometric(*rates.focus, progress) * wake
    result["embeddings"] = result["kernels"] = result["networks"] = rates.kernels * wake
    result["times"] = rates.times * wake
    # Of a video's one path; where paths have to find their direction in time first, the trainer holds it longer.
    result["readout"] = geometric(*rates.readout, progress) * ramp(progress, LOOK_BACK_AT[0], LOOK_BACK_AT[1])
    # The scene first: what it does not show yet is not to be blamed on the camera.
    result["response"] = geometric(*rates.response, progress) * ramp(progress, 0.2, 0.3)
    result["tone"] = geometric(*rates.tone, progress) * wake
    return result

"""A run folder in a second: a synthetic capture, its given poses, and a checkpoint of a training that just began."""

from dataclasses import replace
from pathlib import Path

import synthetic
import torch

from splatdeblur import pipeline
from splatdeblur.config import Config, plain
from splatdeblur.optimize import checkpoint
from splatdeblur.run import Run

SIZE = (96, 64)


def make_run(folder: Path, *, is_antialiased: bool = False) -> Run:
    """Six photos of 96x64, trained at half the size; cameras that moved a few pixels, each photo in its own light."""
    shots = synthetic.make_capture(synthetic.make_scene(0), photos=6, size=SIZE, blur_px=(2, 4), subframes=4, tests=1)
    source = shots.save(folder / "capture")
    run, config = Run(folder / "run"), replace(Config(), downscale=2.0)
    config = replace(config, train=replace(config.train, is_antialiased=is_antialiased, gaussians=1500, initial=1.0))
    pipeline.prepare(source, run, config, lambda *_: None)
    pipeline.pose(run, config, lambda *_: None)
    trainer = pipeline.make_trainer(run, config)
    generator = torch.Generator().manual_seed(0)
    for points in trainer.exposure.motion.control_points:
        points.data += 0.02 * torch.randn(points.shape, generator=generator)
    for gains in trainer.exposure.tone.log_gains:
        gains.data += 0.1 * torch.randn(gains.shape, generator=generator)
    trainer.scene.params["scales"].data -= 1.7 if is_antialiased else 0.7  # the first is below a pixel
    trainer.scene.params["opacities"].data += 3.0
    checkpoint.save(trainer, run.checkpoint, plain(config))
    return run

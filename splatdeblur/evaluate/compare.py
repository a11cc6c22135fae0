"""The whole evaluation, from the scene to scores.json."""

import time
from dataclasses import replace
from pathlib import Path

from ..geometry import Cameras
from ..render import Rasterizer, RenderOptions
from ..run import Run
from ..scene import Gaussians
from .against import AgainstTruth, Progress
from .held_out import SIDE_BY_SIDE as HELD_OUT_SHEET
from .held_out import score_held_out
from .metrics import find_lpips
from .scores import Scores
from .studio import Studio, TrainedPhotos
from .truth import load_truth


def _silent(stage: str, fraction: float) -> None:
    """Nobody listens."""


def evaluate(
    run: Run,
    reference: Path | None,
    *,
    scene: Gaussians,
    rasterizer: Rasterizer,
    photos: TrainedPhotos,
    options: RenderOptions,
    downscale: float,
    held_out: tuple[tuple[str, ...], Cameras] | None = None,
    refine_steps: int = 200,
    inputs_refine_steps: int = 0,
    on_progress: Progress = _silent,
) -> Scores:
    """Scores a scene against the truth, and against photos of the run that it was not trained on; writes
    RUN/scores.json and the pictures it scored to RUN/evaluation.

    Test views of the reference are drawn with its lenses, through the similarity that the training cameras give
    (*unaligned*); then each pose is refined on its picture (*aligned*), and last each view takes its picture's
    brightness and white balance (*exposed*).

    Args:
        reference: a folder with transforms.json, and any of sharp/, test/, trajectories.npz; None if there is none.
        downscale: training read the photos reduced by this factor; so are the reference's.
        held_out: names and cameras of the run's photos that are kept for testing.
        refine_steps: render calls with gradient spent on the poses of test views and photos.
        inputs_refine_steps: the same for the training photos' poses; 0 scores them as trained only.
        on_progress: told the part that begins and the share that is done.
    Raises:
        PoseError: the reference is none, or shares too few photos with the run.
        FormatError: a test picture has another size than its camera.
    """
    began = time.monotonic()
    studio = Studio(scene.detached(), rasterizer, options)
    scores = Scores(
        settings={
            "downscale": downscale,
            "size": [photos.cameras.width, photos.cameras.height],
            "refine_steps": refine_steps,
            "inputs_refine_steps": inputs_refine_steps,
            "rasterizer": rasterizer.name,
            "gaussians": len(scene),
            "values": "sRGB floats clipped to [0, 1], not rounded; PSNR per picture, then mean",
            "lpips": find_lpips()[1],
        }
    )
    if reference is not None:
        work = AgainstTruth(run, load_truth(reference), studio, photos, downscale)
        scores = work.scores(scores, refine_steps, inputs_refine_steps, on_progress)
    if held_out is not None:
        found = score_held_out(
            run, *held_out, studio, downscale=downscale, steps=refine_steps,
            on_progress=lambda share: on_progress("photos kept for testing", 0.9 + 0.1 * share),
        )  # fmt: skip
        sheet = str((run.evaluation / HELD_OUT_SHEET).relative_to(run.folder))
        scores = replace(scores, held_out=found, pictures=[*scores.pictures, sheet])
    scores = replace(scores, seconds=time.monotonic() - began)
    scores.save(run.scores)
    on_progress("done", 1.0)
    return scores

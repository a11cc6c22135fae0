"""The whole story: photos in, a sharp scene out. Each stage is a function from files to files in a run folder."""

import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import count
from pathlib import Path

import torch

from . import capture, poses
from .capture import Capture
from .capture.choices import Choices
from .config import Config, config_from_plain, plain, save_config
from .errors import FormatError
from .evaluate import Scores
from .optimize import Trainer, TrainEvent
from .optimize import checkpoint as checkpoints
from .optimize.causes import Cause
from .optimize.doubts import Explained, doubts
from .repose import find_by_rendering
from .result import Result, load_result
from .run import Run, atomic_write
from .starting import make_trainer, settled

logger = logging.getLogger(__name__)

Progress = Callable[[float | None, str], None]
EVENTS_EVERY = 20  # steps between two lines in events.jsonl
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
    """`images/` to `poses/`: imported where they came along, else found by COLMAP and, what that lost, by rendering."""
    shots = Capture.load(run.require(run.capture, "prepare"))
    limit = config.pose.time_limit or None
    poses.find_poses(run, shots, seed=config.train.seed, time_limit_s=limit, on_progress=on_progress)
    found = find_by_rendering(run, config, on_progress)
    page, facts = run.poses / "poses.html", run.poses / "poses.json"
    if not page.exists() or page.stat().st_mtime < facts.stat().st_mtime:
        poses.write_page(run, shots, found)
    return found


def train(run: Run, config: Config, on_event: Callable[[TrainEvent], None]) -> Result:
    """`images/` and `poses/` to `checkpoints/latest.pt`; continues where an earlier training with the same settings
    stopped. Saves on interruption, and every so often."""
    run.require(run.poses / "poses.json", "pose")
    config = settled(run, config)
    trainer, settings = make_trainer(run, config), plain(config)
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
    causes = result.blur()
    with atomic_write(run.blur) as temporary:
        temporary.write_text(json.dumps({name: asdict(blur) for name, blur in causes.items()}, indent=1))
    looks = dict(zip(trainer.photos.names, trainer.photos.looks, strict=True))
    sharp = {name for name, cause in zip(trainer.photos.names, trainer.causes, strict=True) if cause == Cause.SHARP}
    explained = [
        Explained(b.path_px, b.radius_px, b.moved, looks[name], name in sharp) for name, b in causes.items()
    ]
    for doubt in doubts(explained):
        logger.warning(doubt)
        _add_note(run, doubt)
    return result


def _add_note(run: Run, note: str) -> None:
    """Repeats the last event, with a note, unless a training that was finished before has left it there already."""
    lines = run.events.read_text().splitlines() if run.events.exists() else []
    if lines and not any(json.loads(line).get("note") == note for line in lines):
        with open(run.events, "a") as log:
            log.write(json.dumps(json.loads(lines[-1]) | {"note": note}) + "\n")


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
    if left_out and old.timing is None:  # the path of a video is one, and what a photo did to it stays in it
        logger.info("going on without %s", ", ".join(sorted(left_out)))
        old = old.without(left_out, trainer.config.steps)
    cameras = trainer.photos.cameras[-1].to("cpu")
    is_same = (
        old.names == trainer.photos.names
        and old.state.get("masks") == trainer.photos.mask_marks
        and all(old.settings.get(key) == settings[key] for key in ("downscale", "train"))
        and torch.equal(old.cameras.viewmats, cameras.viewmats)
        and torch.equal(old.cameras.Ks, cameras.Ks)
        and old.timing == trainer.photos.timing
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

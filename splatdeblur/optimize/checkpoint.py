"""One file that holds a training: scene, exposures, optimizers, density control, random state, settings."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import torch

from ..errors import FormatError
from ..exposure import Exposure, Timing
from ..geometry import Cameras
from ..run import atomic_write
from ..scene import Gaussians
from .config import TrainConfig
from .occasions import passed_before
from .state import done_by, lasting_as_long
from .trainer import Trainer

VERSION = 1
# Of a scene, with the shape of each Gaussian's values; None for any size.
PARAMETERS = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "sh0": (1, 3), "shN": (None, 3)}

PER_PHOTO_OPTIMIZERS = {"motion", "pose", "times", "tone", "focus", "embeddings"}
PER_PHOTO_ROWS = {"motion.poses", "motion.units", "motion.orders", "lens.focus.depths"}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training at rest.

    Attributes:
        settings: the run's resolved configuration, plain values.
        names: of the photos.
        cameras: poses that training started from, at training size.
        state: what `Trainer.state` gave.
        timing: when the photos were taken, where training asked for it.
    """

    settings: dict[str, Any]
    names: tuple[str, ...]
    cameras: Cameras
    state: dict[str, Any]
    timing: Timing | None = None

    @property
    def step(self) -> int:
        return self.state["step"]

    def without(self, names: Collection[str], steps: int) -> "Checkpoint":
        """The same training with some photos forgotten: their paths and brightness, not what the scene has of them.

        To wear that off, at least half of the schedule is left to go: a training that is further goes back to there.

        Args:
            steps: of the whole training that goes on without them.
        """
        kept = [i for i, name in enumerate(self.names) if name not in names]
        new_index = {str(old): str(new) for new, old in enumerate(kept)}
        old = self.state
        exposure = {}
        for key, value in old["exposure"].items():
            part, _, last = key.rpartition(".")
            if key in PER_PHOTO_ROWS:
                exposure[key] = value[kept]
            elif not last.isdecimal():
                exposure[key] = value
            elif last in new_index:
                exposure[f"{part}.{new_index[last]}"] = value
        optimizers = dict(old["optimizers"])
        for group in PER_PHOTO_OPTIMIZERS & optimizers.keys():
            before = optimizers[group]
            moments = {new: before["state"][i] for new, i in enumerate(kept) if i in before["state"]}
            groups = [{**g, "params": list(range(len(kept)))} for g in before["param_groups"]]
            optimizers[group] = {"state": moments, "param_groups": groups}
        again = passed_before(0.5)
        half_time = self.settings["train"]["time_limit"] / 2 or inf
        state = {
            **old,
            "step": min(old["step"], steps // 2), "seconds": min(old["seconds"], half_time),
            "losses": [inf, inf],
            **{name: min(done, again[name]) for name, done in done_by(old).items()},
            "queue": [int(new_index[str(i)]) for i in old["queue"] if str(i) in new_index],
            "subframes": [old["subframes"][i] for i in kept],
            "causes": [old["causes"][i] for i in kept] if "causes" in old else [0] * len(kept),
            "masks": [old["masks"][i] for i in kept] if "masks" in old else None,
            "names": [self.names[i] for i in kept], "exposure": exposure, "optimizers": optimizers,
        }  # fmt: skip
        return replace(self, names=tuple(state["names"]), cameras=self.cameras.at(kept), state=state)

    def scene(self) -> Gaussians:
        """The Gaussians, on the CPU."""
        raw = self.state["scene"]
        sh = torch.cat([raw["sh0"], raw["shN"]], dim=1)
        return Gaussians.from_raw(raw["means"], raw["quats"], raw["scales"], raw["opacities"], sh)

    def exposure(self, config: TrainConfig) -> Exposure:
        """The photos' exposures as learned."""
        exposure = Exposure(
            self.cameras.viewmats, self.cameras.viewmats.new_ones(len(self.names)),
            motion=config.motion, shutter=config.shutter, tone=config.tone, lens=config.lens,
            sight=config.sight, generator=torch.Generator(), timing=self.timing,
        )  # fmt: skip
        exposure.load_state_dict(lasting_as_long(self.state["exposure"], exposure, config))
        return exposure


def save(trainer: Trainer, path: Path, settings: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all.

    Raises:
        OSError: the disk is full or closed to us; an older file at `path` is left as it was.
    """
    cameras = trainer.photos.cameras[-1].to("cpu")
    content = {
        "version": VERSION,
        "settings": settings,
        "names": list(trainer.photos.names),
        "viewmats": cameras.viewmats, "Ks": cameras.Ks, "width": cameras.width, "height": cameras.height,
        "sizes": None if cameras.sizes is None else [list(size) for size in cameras.sizes],
        "timing": trainer.photos.timing and asdict(trainer.photos.timing),
        "state": trainer.state(),
    }  # fmt: skip
    with atomic_write(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's archive writer reports a full disk so
            raise OSError(
                f"writing {path} failed ({error}); most likely the disk is full. Free some space and run the same "
                "command again: it goes on from the last checkpoint"
            ) from error


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint; no code from the file is run.

    Raises:
        FormatError: the file is cut short, of another version, or no checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler met
        raise FormatError(
            f"{path} is no checkpoint, or was cut short ({type(error).__name__}); "
            "delete it and run `splatdeblur train` again, which starts from the poses"
        ) from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        found = content.get("version") if isinstance(content, dict) else type(content).__name__
        advice = "update the program" if isinstance(found, int) and found > VERSION else "train again"
        raise FormatError(f"{path} has version {found}, this program reads version {VERSION}; {advice}")
    try:
        if "train" in content["settings"]:  # which may be from before there were lenses
            content["settings"]["train"].setdefault("lens", {"focus": {"type": "Focused"}})
        _check_shapes(content)
        sizes = tuple((w, h) for w, h in content["sizes"]) if content.get("sizes") else None
        cameras = Cameras(content["viewmats"], content["Ks"], content["width"], content["height"], sizes)
        timing = content.get("timing") and Timing(**content["timing"])
        checkpoint = Checkpoint(content["settings"], tuple(content["names"]), cameras, content["state"], timing)
        missing = [key for key in ("step", "exposure", "optimizers", "density") if key not in checkpoint.state]
    except KeyError as error:
        raise FormatError(f"{path} lacks {error}; delete it and train again") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path} is damaged ({error}); delete it and train again") from error
    if missing:
        raise FormatError(f"{path} lacks {', '.join(missing)}; delete it and train again")
    return checkpoint


def _check_shapes(content: dict[str, Any]) -> None:
    """Raises a ValueError if a photo lacks its camera, or a Gaussian a value."""
    scene = content["state"]["scene"]
    photos, count = len(content["names"]), len(scene["means"])
    needed = {"viewmats": (photos, 4, 4), "Ks": (photos, 3, 3)}
    needed |= {name: (count, *rest) for name, rest in PARAMETERS.items()}
    for name, wanted in needed.items():
        shape = tuple((scene if name in PARAMETERS else content)[name].shape)
        fits = [some in (None, size) for size, some in zip(shape, wanted, strict=False)]
        if len(shape) != len(wanted) or not all(fits):
            raise ValueError(f"{name} has the shape {shape}; need {wanted}")

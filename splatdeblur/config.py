"""The settings of a run: one tree of frozen dataclasses, presets as differences from it, strict YAML in and out."""

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Union

import yaml

from .capture import PrepareConfig
from .errors import ConfigError
from .exposure import PixelWeights, Widened
from .optimize import TrainConfig

DEFAULT_PRESET = "auto"
ENDLESS = float("inf")
# Smallest and largest sensible value of each number that would otherwise fail late, hang or train nonsense. Keys that
# a chosen motion or density control does not have are passed over.
LIMITS: dict[str, tuple[float, float]] = {
    "checkpoint_every": (1, ENDLESS),
    "prepare.max_size": (32, ENDLESS),
    "prepare.max_frames": (3, ENDLESS),
    "prepare.max_photos": (3, ENDLESS),
    "pose.time_limit": (0, ENDLESS),
    "pose.render_limit": (0, ENDLESS),
    "train.steps": (0, ENDLESS),
    "train.seed": (0, 2**31 - 1),
    "train.time_limit": (0, ENDLESS),
    "train.sh_degree": (0, 3),
    "train.gaussians": (0, ENDLESS),
    "train.abundance": (1e-3, 1000),
    "train.initial": (1e-3, 1),
    "train.crop_pixels": (0, ENDLESS),
    "train.noise": (0, 1),
    "train.motion.order": (1, 30),
    "train.motion.grows_from": (0, 30),
    "train.motion.knots": (1, 8),
    "train.motion.share": (0.02, 1),
    "train.motion.cut_s": (1e-3, ENDLESS),
    "train.motion.cut_speed": (1, ENDLESS),
    "train.shutter.max_subframes": (1, 1000),
    "train.shutter.weights.stride_px": (1, 16),
    "train.shutter.weights.features": (1, 1024),
    "train.sight.copies": (0, 32),
    "train.sight.features": (1, 1024),
    "train.sight.step": (1e-6, 1),
    "train.sight.most": (1, 100),
    "train.sight.shift": (0, 1),
    "train.shutter.spacing_px": (0, ENDLESS),
    "train.shutter.readout": (0, 100),
    "train.shutter.max_readout": (1e-3, 100),
    "train.tone.response_pieces": (0, 64),
    "train.density.every": (1, ENDLESS),
    "train.density.reset_every": (0, ENDLESS),
    "train.density.idle": (0, 0.5),
    "train.rates.found_poses": (0, ENDLESS),
    "train.loss.dssim": (0, 1),
    "train.loss.slopes": (0, ENDLESS),
    "train.loss.noise_from": (0, ENDLESS),
    "train.loss.k2": (3e-3, ENDLESS),
    "train.loss.opacity": (0, ENDLESS),
    "train.loss.scale": (0, ENDLESS),
    "train.loss.temporal": (0, ENDLESS),
    "train.loss.path": (0, ENDLESS),
    "train.loss.path_free": (0, ENDLESS),
    "train.loss.kernels": (0, ENDLESS),
    "train.loss.bend": (0, ENDLESS),
    "train.loss.response": (0, ENDLESS),
    "train.loss.pose_anchor": (0, ENDLESS),
    "train.shutter.fine_from": (0, ENDLESS),
    "train.max_path": (0, ENDLESS),
    "train.average": (0, 1),
    "train.lens.focus.start": (1e-6, 0.1),
    "train.lens.kernels.stride_px": (1, 16),
    "train.lens.kernels.features": (1, 1024),
    "train.rates.kernels": (0, ENDLESS),
    "evaluate.refine_steps": (0, ENDLESS),
}


@dataclass(frozen=True)
class PoseConfig:
    """Structure from motion.

    Attributes:
        time_limit: seconds after which nothing beyond the first attempt is tried; 0 for no limit.
        render_limit: seconds for finding photos by rendering that structure from motion lost, or placed doubtfully;
            0 leaves them lost. What was found by then is trained on for a moment longer. Given more than last time,
            `pose` looks again.
    """

    time_limit: float = 300.0
    render_limit: float = 300.0


@dataclass(frozen=True)
class EvaluateConfig:
    """Scores.

    Attributes:
        refine_steps: steps spent on each held-out view's pose with the scene frozen.
    """

    refine_steps: int = 200


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run does.

    Attributes:
        preset: where these settings started from.
        downscale: training reads the photos reduced by this factor; 0 picks one that gives about 400 px of width.
        device: where to render: auto, cpu or cuda.
        checkpoint_every: seconds between two checkpoints.
    """

    preset: str = DEFAULT_PRESET
    downscale: float = 0.0
    device: str = "auto"
    checkpoint_every: float = 60.0
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    pose: PoseConfig = field(default_factory=PoseConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def plain(value: Any) -> Any:
    """A config as nested dicts, lists and scalars; a member of a union says its `type`."""
    if is_dataclass(value):
        content = {f.name: plain(getattr(value, f.name)) for f in fields(value)}
        return {"type": type(value).__name__, **content}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; there are {', '.join(known)}"


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)


def merged(current: Any, changes: Any, kind: Any, where: str) -> Any:
    """`current` with `changes` (plain values) applied, checked against the type `kind`.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type; `where` names the place.
    """
    choices = [k for k in _options(kind) if is_dataclass(k)]
    if choices:
        if not isinstance(changes, dict):
            raise ConfigError(f"{where} is {changes!r}; it needs keys: {', '.join(f.name for f in fields(choices[0]))}")
        changes = dict(changes)
        name = changes.pop("type", type(current).__name__)
        known = {c.__name__: c for c in choices}
        if name not in known:
            raise ConfigError(f'{where}.type is "{name}"{_suggest(str(name), list(known))}')
        cls = known[name]
        base = current if isinstance(current, cls) else cls()
        hints = typing.get_type_hints(cls)
        names = [f.name for f in fields(cls)]
        for key in changes:
            if key not in names:
                raise ConfigError(f'{where}.{key} does not exist{_suggest(key, names)}')
        new = {key: merged(getattr(base, key), v, hints[key], f"{where}.{key}") for key, v in changes.items()}
        return dataclasses.replace(base, **new)
    if typing.get_origin(kind) is tuple:
        if not isinstance(changes, (list, tuple)):
            raise ConfigError(f"{where} is {changes!r}; it needs a list")
        inner = typing.get_args(kind)
        variadic = len(inner) == 2 and inner[1] is Ellipsis
        if not variadic and len(changes) != len(inner):
            raise ConfigError(f"{where} has {len(changes)} values; it needs {len(inner)}")
        kinds = [inner[0]] * len(changes) if variadic else inner
        return tuple(merged(None, v, k, f"{where}[{i}]") for i, (v, k) in enumerate(zip(changes, kinds, strict=True)))
    if typing.get_origin(kind) is Literal:
        allowed = typing.get_args(kind)
        if changes not in allowed:
            raise ConfigError(f'{where} is "{changes}"{_suggest(str(changes), [str(a) for a in allowed])}')
        return changes
    if kind is float and isinstance(changes, (int, float, str)) and not isinstance(changes, bool):
        try:
            number = float(changes)  # YAML reads 1e-3 as a string
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
        raise ConfigError(f"{where} is {changes!r}; it needs a finite number")
    elif isinstance(changes, kind) and not (kind is int and isinstance(changes, bool)):
        return changes
    raise ConfigError(f"{where} is {changes!r}; it needs a value of type {kind.__name__}")


def checked(config: Config) -> Config:
    """`config` as it is, if its numbers make sense.

    Raises:
        ConfigError: one of them does not; the message says which and what it may be.
    """
    for key, (low, high) in LIMITS.items():
        value: Any = config
        for part in key.split("."):
            value = getattr(value, part, None)
        if value is not None and not low <= value <= high:
            allowed = f"at least {low:g}" if high == ENDLESS else f"{low:g} to {high:g}"
            raise ConfigError(f"{key} is {value}; it must be {allowed}")
    if config.downscale != 0 and not 1 <= config.downscale < ENDLESS:
        raise ConfigError(f"downscale is {config.downscale:g}; it must be 1 or more, or 0 to have it chosen")
    if 0 < config.train.crop_pixels < 4096:
        raise ConfigError(f"train.crop_pixels is {config.train.crop_pixels}; it must be 4096 or more, or 0 for all")
    rates = config.train.rates
    decays = {"rates.means": rates.means, "rates.motion": rates.motion, "rates.readout": rates.readout}
    decays |= {"rates.response": rates.response, "rates.focus": rates.focus, "rates.tone": rates.tone}
    decays |= {"rates.trajectory": rates.trajectory, "rates.share": rates.share}
    decays |= {"rates.pose": rates.pose} if rates.pose[0] else {}  # 0 keeps the poses as they are
    decays |= {"density.threshold": getattr(config.train.density, "threshold", (1.0,))}
    for key, values in decays.items():
        if min(values) <= 0:
            raise ConfigError(f"train.{key} is {list(values)}; both ends must be above 0")
    shutter = config.train.shutter
    if shutter.is_rolling and shutter.sampling != "middles":
        raise ConfigError(
            f'train.shutter.sampling is "{shutter.sampling}"; a rolling shutter (train.shutter.readout or '
            'learns_readout) needs "middles"'
        )
    if shutter.is_rolling and isinstance(shutter.weights, PixelWeights):
        raise ConfigError(
            "train.shutter.weights is PixelWeights; a rolling shutter (train.shutter.readout or learns_readout) weighs "
            "sub-frames by rows: take EvenWeights"
        )
    if config.train.tone.response_pieces % 2:
        raise ConfigError(
            f"train.tone.response_pieces is {config.train.tone.response_pieces}; it must be even (half of the pieces "
            "lie below the middle value), or 0"
        )
    if isinstance(config.train.sight, Widened) and isinstance(config.train.shutter.weights, PixelWeights):
        raise ConfigError("train.sight Widened and train.shutter.weights PixelWeights do not go together; choose one")
    levels, until = config.train.resolution.levels, config.train.resolution.until
    if len(levels) != len(until) + 1 or min(levels) < 1 or list(until) != sorted(until):
        raise ConfigError(
            f"train.resolution has levels {list(levels)} and until {list(until)}; it needs levels of 1 or more, "
            "and one end fewer than levels, each no earlier than the one before"
        )
    sizes = getattr(config.train.lens.kernels, "sizes", (1,))
    if not sizes or any(size < 1 or size % 2 == 0 for size in sizes):
        raise ConfigError(f"train.lens.kernels.sizes is {list(sizes)}; it needs odd numbers of px")
    if len(sizes) > len(levels):
        raise ConfigError(
            f"train.lens.kernels.sizes has {len(sizes)} sizes for {len(levels)} stages of "
            "train.resolution; it needs no more than those"
        )
    return config


def _preset_folder() -> Path:
    inside = Path(str(files("splatdeblur"))) / "configs"  # in an installed package
    return inside if inside.is_dir() else inside.parent.parent / "configs"


def presets() -> list[str]:
    """Names of the presets that come along."""
    return sorted(path.stem for path in _preset_folder().glob("*.yaml"))


def load_preset(name: str) -> Config:
    """The defaults with a preset's differences.

    Args:
        name: of a preset that comes along, or a path of a YAML file.
    Raises:
        ConfigError: no such preset, or it does not fit this program.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else _preset_folder() / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f'no preset "{name}"{_suggest(name, presets())}')
    try:
        changes = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    return dataclasses.replace(merged(Config(), changes, Config, path.stem), preset=name)


def with_settings(config: Config, assignments: tuple[str, ...]) -> Config:
    """Applies `key.key=value` assignments, values in YAML.

    Raises:
        ConfigError: the key does not exist or the value does not fit.
    """
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f'--set "{assignment}" needs the form key.key=value')
        try:
            changes: Any = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f'--set "{assignment}": the value is not YAML; quote it or close brackets') from error
        for key in reversed(path.split(".")):
            changes = {key: changes}
        config = merged(config, changes, Config, "config")
    return config


def save_config(config: Config, path: Path) -> None:
    """Writes the resolved settings as YAML."""
    path.write_text(yaml.safe_dump(plain(config), sort_keys=False))


def config_from_plain(content: dict[str, Any]) -> Config:
    """The inverse of `plain`."""
    return merged(Config(), content, Config, "config")

"""All that the rest of a training depends on: taken from a trainer, and given back to one."""

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..exposure import Bezier, Exposure
from ..exposure.motion import order_elevation, order_projection
from .causes import Cause
from .config import TrainConfig
from .occasions import OCCASIONS
from .optimizers import make_optimizers

if TYPE_CHECKING:
    from .trainer import Trainer


def state_of(trainer: "Trainer", *, is_copy: bool = False) -> dict[str, Any]:
    """As tensors, numbers, strings, lists and dicts.

    Args:
        is_copy: the tensors are copies, which further training does not change.
    """

    def keep(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().clone() if is_copy else value.detach()
        if isinstance(value, dict):
            return {k: keep(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [keep(v) for v in value]
        return value

    watch = trainer.watch
    return {
        "step": trainer.step_number,
        "seconds": trainer.seconds,
        "rate_factor": watch.rate_factor,
        "recoveries": watch.recoveries,
        "queue": list(trainer.queue),
        "subframes": list(trainer.subframes),
        **trainer.done,
        "causes": [int(cause) for cause in trainer.causes],
        "losses": [watch.smooth_loss, watch.best_loss],
        "names": list(trainer.photos.names),
        "masks": trainer.photos.mask_marks,
        "generator": trainer.generator.get_state(),
        "scene": keep(dict(trainer.scene.params.items())),
        "exposure": keep(dict(trainer.exposure.state_dict())),
        "optimizers": {name: keep(optimizer.state_dict()) for name, optimizer in trainer.optimizers.items()},
        "density": keep(trainer.density.state),
        "mean": keep(trainer.mean.state()),
    }


def done_by(state: dict[str, Any]) -> dict[str, int]:
    """How many moments of each occasion lie behind a saved training; all of those that an older version did not know,
    which counted looks at the read-out with the others."""
    known = {name: state.get(name, len(occasion.at)) for name, occasion in OCCASIONS.items()}
    return known if "readouts" in state else known | {"readouts": max(known["looks"] - len(OCCASIONS["looks"].at), 0)}


def lasting_as_long(saved: dict[str, Tensor], exposure: Exposure, config: TrainConfig) -> dict[str, Tensor]:
    """The saved state of an exposure, its curves of the order that they have by now: in older versions, those of a
    rolling shutter had no more than `config` says. As it is where nothing is to be done."""
    told, model = config.motion, exposure.motion.model
    points = {key: value for key, value in saved.items() if key.startswith("motion.control_points.")}
    is_older = isinstance(told, Bezier) and all(len(p) == told.controls < model.controls for p in points.values())
    if not is_older:
        return saved
    orders, raised = saved.get("motion.orders"), {}
    for key, values in points.items():
        if orders is not None:
            order = orders[int(key.rpartition(".")[2])].item()
            values = order_projection(order, told.order).to(values) @ values
        raised[key] = order_elevation(told.order, model.order).to(values) @ values
    if orders is not None:
        raised["motion.orders"] = orders + model.order - told.order
    return saved | raised


def restore(trainer: "Trainer", state: dict[str, Any]) -> None:
    """Brings a trainer to where `state` was taken; it then goes on from there, bit for bit on a CPU."""
    device = trainer.rasterizer.device
    for name, value in state["scene"].items():
        trainer.scene.params[name] = torch.nn.Parameter(value.detach().clone().to(device))
    exposure = lasting_as_long(state["exposure"], trainer.exposure, trainer.config)
    trainer.exposure.load_state_dict(exposure)
    trainer.optimizers = make_optimizers(trainer.scene, trainer.exposure, trainer.config.rates)
    for name, optimizer in trainer.optimizers.items():
        if name != "motion" or exposure is state["exposure"]:  # else it remembers curves of another order
            optimizer.load_state_dict(deepcopy(state["optimizers"][name]))  # Adam would work on the state's own
    trainer.density.state = {
        k: v.clone().to(device) if isinstance(v, Tensor) else v for k, v in state["density"].items()
    }
    trainer.mean.load_state(state.get("mean", {"count": 0, "means": {}}), device)
    trainer.generator.set_state(state["generator"].cpu())
    trainer.queue = list(state["queue"])
    trainer.subframes = list(state["subframes"])
    trainer.done = done_by(state)
    trainer.causes = [Cause(n) for n in state.get("causes", [0] * len(trainer.photos))]
    trainer.step_number, trainer.seconds = state["step"], state["seconds"]
    watch = trainer.watch
    watch.smooth_loss, watch.best_loss = state["losses"]
    watch.rate_factor, watch.recoveries = state["rate_factor"], state["recoveries"]
    watch.good_state = state

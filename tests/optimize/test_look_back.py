"""What gradients miss is found at once, and left alone where nothing is missing."""

from dataclasses import replace

import pytest
import torch
from optimize.test_trainer import CONFIG, make_trainer

from splatdeblur.exposure import Bezier, Shutter
from splatdeblur.exposure.gains import with_gains
from splatdeblur.exposure.motion import order_elevation
from splatdeblur.optimize import Trainer
from splatdeblur.optimize.look_back import look_back
from splatdeblur.render.cpu import CpuRasterizer


def test_photos_of_unlike_brightness_get_their_gains_at_once_and_others_are_left_alone():
    alike = make_trainer(replace(CONFIG, steps=120, gaussians=1500))
    for _ in alike.run():
        pass
    before = alike.exposure.tone.gains().detach().clone()
    look_back(alike)
    assert torch.equal(alike.exposure.tone.gains(), before)
    true = torch.tensor([0.5, 1.0, 2.0, 0.7, 1.4, 1.0])
    pictures = tuple(tuple(map(with_gains, level, true[:, None].expand(6, 3))) for level in alike.photos.pictures)
    clipped = tuple(tuple(p.clamp(0, 1) for p in level) for level in pictures)
    unlike = Trainer(replace(alike.photos, pictures=clipped), alike.scene, CONFIG, CpuRasterizer())
    unlike.step_number = unlike.config.steps  # at full size
    look_back(unlike)
    found, true = unlike.exposure.tone.gains().mean(1).detach(), true / true.log().mean().exp()
    torch.testing.assert_close(found.log(), true.log(), atol=0.15, rtol=0)  # the scene is young


@pytest.mark.parametrize("learns_times", [False, True])
def test_paths_that_go_the_wrong_way_in_time_are_turned(learns_times):
    shutter = Shutter(readout=0.8, learns_times=learns_times)
    trainer = make_trainer(replace(CONFIG, motion=Bezier(order=3), shutter=shutter))
    ends = torch.tensor([[-3, 0, 0], [-1, 0.5, 0], [1, 0.5, 0], [3, 0, 0]]) * 0.02
    lasting = order_elevation(3, trainer.exposure.motion.model.order).float()
    true = {"motion": lasting @ torch.cat([ends, torch.zeros(4, 3)], dim=1)}
    learned = {"motion": list(trainer.exposure.motion.control_points)}
    if learns_times:  # slowly at first
        true["times"] = torch.linspace(1, -1, shutter.max_subframes)
        learned["times"] = list(trainer.exposure.shutter.log_durations)
    moments = {}
    with torch.no_grad():
        for kind, parameters in learned.items():
            for parameter in parameters:
                parameter.copy_(true[kind])
        photos = tuple(trainer.predict(-1, frame, 12).clamp(0, 1) for frame in range(6))
        trainer.photos = replace(trainer.photos, pictures=(*trainer.photos.pictures[:-1], photos))
        for kind, parameters in learned.items():
            for frame, parameter in enumerate(parameters):
                if frame % 2 == 0:
                    parameter.copy_(true[kind].flip(0))
                moments[kind, frame] = torch.randn_like(parameter)
                trainer.optimizers[kind].state[parameter] = {"mean": moments[kind, frame].clone()}
    trainer.step_number = trainer.config.steps  # at full size
    look_back(trainer)
    for kind, parameters in learned.items():
        for frame, parameter in enumerate(parameters):
            torch.testing.assert_close(parameter.detach(), true[kind])
            before, after = moments[kind, frame], trainer.optimizers[kind].state[parameter]["mean"]
            assert torch.equal(after, before.flip(0) if frame % 2 == 0 else before)

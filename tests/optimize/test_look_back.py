"""What gradients miss is found at once, and left alone where nothing is missing."""

from dataclasses import replace

import torch
from optimize.test_trainer import CONFIG, make_trainer

from splatdeblur.exposure import Bezier, Shutter
from splatdeblur.exposure.gains import with_gains
from splatdeblur.optimize import Trainer
from splatdeblur.render.cpu import CpuRasterizer


def test_photos_of_unlike_brightness_get_their_gains_at_once_and_others_are_left_alone():
    alike = make_trainer()
    for _ in alike.run():
        pass
    before = alike.exposure.tone.gains().detach().clone()
    alike._look_back(-1)
    assert torch.equal(alike.exposure.tone.gains(), before)
    true = torch.tensor([0.5, 1.0, 2.0, 0.7, 1.4, 1.0])
    pictures = tuple(tuple(map(with_gains, level, true[:, None].expand(6, 3))) for level in alike.photos.pictures)
    clipped = tuple(tuple(p.clamp(0, 1) for p in level) for level in pictures)
    unlike = Trainer(replace(alike.photos, pictures=clipped), alike.scene, CONFIG, CpuRasterizer())
    unlike._look_back(-1)
    found, true = unlike.exposure.tone.gains().mean(1).detach(), true / true.log().mean().exp()
    torch.testing.assert_close(found.log(), true.log(), atol=0.2, rtol=0)  # the scene is young


def test_paths_that_go_the_wrong_way_in_time_are_turned():
    trainer = make_trainer(replace(CONFIG, motion=Bezier(order=3), shutter=Shutter(readout=0.8)))
    ends = torch.tensor([[-3, 0, 0], [-1, 0.5, 0], [1, 0.5, 0], [3, 0, 0]]) * 0.02
    points = torch.cat([ends, torch.zeros(4, 3)], dim=1)
    paths = list(trainer.exposure.motion.control_points)
    with torch.no_grad():
        for path in paths:
            path.copy_(points)
        photos = tuple(trainer._predict(-1, frame, 12).clamp(0, 1) for frame in range(6))
        trainer.photos = replace(trainer.photos, pictures=(*trainer.photos.pictures[:-1], photos))
        for path in paths[::2]:
            path.copy_(points.flip(0))
    trainer._look_back(-1)
    for path in paths:
        torch.testing.assert_close(path.detach(), points)

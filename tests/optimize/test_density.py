"""What gets a Gaussian split."""

import pytest
import torch
from render.scenes import cameras

from splatdeblur.optimize.density import Default, DensityControl
from splatdeblur.render import RenderOptions
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians


@pytest.mark.parametrize("by_magnitude, expected", [(True, 2), (False, 1)])
def test_a_wide_gaussian_that_stands_for_many_stripes_is_split_by_magnitude_alone(by_magnitude, expected):
    """Each stripe pulls at it, but for each that pulls to the left there is one that pulls to the right."""
    views = cameras(64, 48, shake=0.0)
    scene = Gaussians.from_raw(
        torch.tensor([[0.0, 0.0, 3.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.full((1, 3), -0.5),
        torch.tensor([2.0]), torch.zeros(1, 4, 3),
    )  # fmt: skip
    photo = (torch.arange(64) // 2 % 2).float()[None, :, None].expand(48, 64, 3)
    optimizers = {name: torch.optim.Adam([parameter], lr=0.0) for name, parameter in scene.params.items()}
    control = DensityControl(
        Default(by_magnitude=by_magnitude, threshold=(2e-3, 2e-3), start=0.0, every=1), budget=10, scene_scale=1.0,
        steps=1000,
    )  # fmt: skip
    options = RenderOptions(keeps_magnitudes=control.needs_magnitudes(0.1))
    render = CpuRasterizer().render(scene, views, options=options)
    control.before_backward(render)
    (render.rgb[0] - photo).abs().mean().backward()
    control.after_backward(
        scene, optimizers, render, step=1, progress=0.1, means_lr=0.0, generator=torch.Generator().manual_seed(0)
    )
    assert len(scene) == expected

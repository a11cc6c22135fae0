"""What gets a Gaussian split, and how many are."""

import pytest
import torch
from render.scenes import cameras

from splatdeblur.optimize.density import Default, DensityControl
from splatdeblur.render import RenderOptions
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians

STRIPES = (torch.arange(64) // 2 % 2).float()[None, :, None].expand(48, 64, 3)


def blob(count: int) -> Gaussians:
    """Wide Gaussians, one behind the other."""
    return Gaussians.from_raw(
        torch.stack([torch.tensor([0.0, 0.0, 3.0 + 0.02 * i]) for i in range(count)]),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]).repeat(count, 1), torch.full((count, 3), -0.5),
        torch.full((count,), 2.0 / count), torch.zeros(count, 4, 3),
    )  # fmt: skip


def refine(control: DensityControl, scene: Gaussians, progress: float) -> None:
    """A step in which the scene is drawn for a photo of stripes, and refined."""
    optimizers = {name: torch.optim.Adam([parameter], lr=0.0) for name, parameter in scene.params.items()}
    options = RenderOptions(keeps_magnitudes=control.needs_magnitudes(progress))
    render = CpuRasterizer().render(scene, cameras(64, 48, shake=0.0), options=options)
    control.before_backward(render)
    (render.rgb[0] - STRIPES).abs().mean().backward()
    control.after_backward(
        scene, optimizers, render, step=round(1000 * progress), progress=progress, means_lr=0.0,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


@pytest.mark.parametrize("by_magnitude, expected", [(True, 2), (False, 1)])
def test_a_wide_gaussian_that_stands_for_many_stripes_is_split_by_magnitude_alone(by_magnitude, expected):
    """Each stripe pulls at it, but for each that pulls to the left there is one that pulls to the right."""
    config = Default(by_magnitude=by_magnitude, threshold=(2e-3, 2e-3), start=0.0, every=1)
    control, scene = DensityControl(config, budget=10, scene_scale=1.0, steps=1000), blob(1)
    refine(control, scene, 0.1)
    assert len(scene) == 1  # one photo tells little
    refine(control, scene, 0.2)
    assert len(scene) == expected


def test_the_budget_is_spent_bit_by_bit():
    """All pull far more than the threshold asks for, from the start."""
    config = Default(threshold=(1e-9, 1e-9), start=0.2, stop=0.7, every=1000)
    control, scene = DensityControl(config, budget=60, scene_scale=1.0, steps=1000), blob(20)
    counts = {}
    for progress in (0.2, 0.35, 0.5, 0.65, 0.69):
        refine(control, scene, progress)
        counts[progress] = len(scene)
        refine(control, scene, progress + 0.001)  # too soon for another refinement, but seen
    assert counts[0.2] == 20
    assert counts[0.35] == pytest.approx(20 + 40 * (0.15 / 0.45), abs=2)
    assert counts[0.5] == pytest.approx(20 + 40 * (0.30 / 0.45), abs=3)
    assert counts[0.5] < counts[0.69] <= 60
    assert counts[0.69] > 50

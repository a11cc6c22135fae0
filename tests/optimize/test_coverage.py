"""What photos have shown of a place is told from where its points fall in their pictures."""

import torch

from splatdeblur.geometry import Cameras, look_at
from splatdeblur.optimize.coverage import extended, known_pixels, views_of
from splatdeblur.render import RenderOptions, best_available
from splatdeblur.scene import from_points

K = torch.tensor([[40.0, 0, 20], [0, 40, 15], [0, 0, 1]])


def cameras_at(*x: float) -> Cameras:
    """Side by side, all looking along +y from y = -4, each seeing 4 of width at y = 0."""
    centers = torch.tensor([[value, -4.0, 0.0] for value in x])
    viewmats = look_at(centers, centers + torch.tensor([0.0, 1, 0]), torch.tensor([0.0, 0.0, 1.0]))
    return Cameras(viewmats, K.expand(len(x), 3, 3), 40, 30)


def wall(left: float, right: float) -> torch.Tensor:
    x, z = torch.meshgrid(torch.arange(left, right, 0.1), torch.arange(-2, 2, 0.1), indexing="ij")
    return torch.stack([x.flatten(), torch.zeros(x.numel()), z.flatten()], dim=-1)


def test_points_count_for_cameras_that_have_them_before_them_and_in_their_picture():
    cameras = cameras_at(0.0, 1.0)
    points = [[0.5, 0, 0], [-1.5, 0, 0], [2.5, 0, 0], [9, 0, 0], [0.5, -9, 0], [0.5, 0, 1.4], [0.5, 0, 1.6]]
    assert views_of(cameras, torch.tensor(points)).tolist() == [2, 1, 1, 0, 0, 2, 0]


def test_pixels_are_known_where_two_others_look_and_something_is_drawn():
    points = wall(-6, 2)
    scene = from_points(points, torch.full_like(points, 0.5), sh_degree=0, opacity=0.9)
    known = known_pixels(scene, best_available("cpu"), RenderOptions(), cameras_at(0.0), cameras_at(1.0, 1.5))
    columns = known.float().mean(0)
    # From x = -0.5, which the farther one still sees, to 2, where the wall ends at the picture's edge.
    assert columns[:14].max() == 0 and columns[16:38].min() > 0.8
    alone = known_pixels(scene, best_available("cpu"), RenderOptions(), cameras_at(0.0), cameras_at(1.0))
    assert not alone.any()


def test_a_scene_grows_only_where_nobody_has_looked():
    points = wall(-2, 2)
    scene = from_points(points, torch.full_like(points, 0.5), sh_degree=1)
    old, new = cameras_at(-0.1, 0.1), cameras_at(2.0)
    grown = extended(scene, old, new, torch.tensor([4.0]), 400, torch.Generator().manual_seed(0))
    added = grown.means[len(scene) :]
    torch.testing.assert_close(grown.means[: len(scene)], scene.means)
    assert 50 < len(added) < 400 and grown.sh_degree == 1
    assert (views_of(old, added) < 2).all() and (views_of(new, added) == 1).all()
    same = extended(scene, old, old.at([0]), torch.tensor([4.0]), 400, torch.Generator().manual_seed(0))
    assert len(same) < len(scene) + 40

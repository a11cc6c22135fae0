"""A recorded path goes smoothly through its views."""

import pytest
import torch

from splatdeblur.errors import ConfigError
from splatdeblur.geometry import Cameras, exp, inverse, log
from splatdeblur.view.recorder import Route


def views(count):
    generator = torch.Generator().manual_seed(1)
    viewmats = exp(torch.randn(count, 6, generator=generator) * 0.4)
    K = torch.tensor([[200.0, 0, 160], [0, 200.0, 90], [0, 0, 1]])
    return Cameras(viewmats, K.expand(count, 3, 3), 320, 180)


def route(count):
    found = Route()
    for i in range(count):
        found = found.with_view(views(count).at(i))
    return found


def test_the_path_passes_through_every_view():
    path = route(4).cameras(31)
    torch.testing.assert_close(path.viewmats[::10], views(4).viewmats, atol=1e-5, rtol=0)


def test_the_path_has_no_corners():
    viewmats = route(4).cameras(3001).viewmats.double()
    speeds = log(inverse(viewmats[:-1]) @ viewmats[1:]).norm(dim=-1)
    turns = (log(inverse(viewmats[:-1]) @ viewmats[1:]).diff(dim=0)).norm(dim=-1)
    assert turns.max() < 0.02 * speeds.max()


def test_two_views_are_joined_by_the_shortest_way():
    path = route(2).cameras(5).viewmats
    whole = log(inverse(path[0]) @ path[-1])
    parts = log(inverse(path[0]) @ path[2])
    torch.testing.assert_close(parts, whole / 2, atol=1e-4, rtol=1e-3)


def test_one_view_is_no_path():
    with pytest.raises(ConfigError, match="record at least 2"):
        route(1).cameras(10)

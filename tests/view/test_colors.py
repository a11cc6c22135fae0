"""Colours in the order of their values."""

import torch

from splatdeblur.view.colors import colored


def test_colours_of_values_go_from_dark_to_pale():
    picture = colored(torch.linspace(-1, 3, 50)[None], 0.0, 2.0)
    assert (picture.sum(-1).diff() >= 0).all() and picture[0, 0].sum() < picture[0, -1].sum() - 1


def test_values_out_of_range_have_the_colour_of_its_end():
    picture = colored(torch.tensor([[-1.0, 0.0, 2.0, 3.0]]), 0.0, 2.0)[0]
    assert torch.equal(picture[0], picture[1]) and torch.equal(picture[2], picture[3])

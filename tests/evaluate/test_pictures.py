"""The sheet for people: who is on it, and how it is laid out."""

import torch
from PIL import Image

from splatdeblur.evaluate.pictures import Comparison, telling_photos, unsharpness, write_side_by_side


def test_the_most_blurred_a_median_and_the_sharpest_are_chosen():
    assert telling_photos(torch.tensor([3.0, 9.0, 1.0, 5.0, 7.0])) == [1, 3, 2]
    assert telling_photos(torch.tensor([3.0, 9.0])) == [1, 0]
    assert telling_photos(torch.tensor([3.0])) == [0]


def test_a_smoothed_photo_ranks_as_less_sharp():
    sharp = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(sharp.movedim(-1, 1), 3, 1, 1).movedim(1, -1)
    ranks = unsharpness(torch.cat([sharp, smooth]))
    assert ranks[1] > ranks[0]


def test_the_sheet_has_a_panel_per_picture_and_a_row_per_photo(tmp_path):
    picture = torch.rand(30, 40, 3, generator=torch.Generator().manual_seed(0))
    rows = [Comparison("a.jpg", picture, picture, picture, "12.0 px"), Comparison("b.jpg", picture, picture)]
    write_side_by_side(tmp_path / "new" / "sheet.png", rows)
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.width == 3 * 480 + 2 * 6
        assert sheet.height == 2 * (360 + 22) + 6

"""Photos of any size at every resolution, and nothing of what their masks hide."""

from dataclasses import replace
from math import inf

import torch

from splatdeblur.geometry import Cameras, linear_from_srgb
from splatdeblur.optimize import Looks, PhotoSet, TrainConfig, Trainer
from splatdeblur.optimize.losses import Loss
from splatdeblur.render.cpu import CpuRasterizer
from splatdeblur.scene import Gaussians, from_points

SIZES = ((320, 200), (200, 320), (320, 200))


def cameras() -> Cameras:
    Ks = torch.tensor([[300.0, 0, 160], [0, 300, 100], [0, 0, 1]]).repeat(3, 1, 1)
    return Cameras.of_sizes(torch.eye(4).repeat(3, 1, 1), Ks, SIZES)


def random_pictures() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(h, w, 3, generator=generator) for w, h in SIZES]


def test_every_photo_keeps_its_size_at_every_level():
    photos = PhotoSet.build(("a", "b", "c"), cameras(), random_pictures(), (2, 1))
    for level, factor in ((0, 2), (1, 1)):
        for index, (width, height) in enumerate(SIZES):
            size = (width // factor, height // factor)
            assert photos.cameras[level].own_sizes[index] == size
            assert photos.pictures[level][index].shape == (*size[::-1], 3) and photos.keeps[level][index] is None
    assert photos.looks == (Looks(),) * 3
    known = tuple(map(Looks, (3.0, 4.0, inf)))
    assert replace(photos, looks=known).at([1]).looks == (Looks(4.0),)
    assert photos.mean_pixels == 64000 and len(photos.at([1])) == 1
    assert photos.at([1]).cameras[0].sizes is None and photos.at([0, 1]).pictures[0][1].shape == (160, 100, 3)


def test_a_capture_is_sharp_if_nearly_all_of_its_photos_look_so():
    photos = PhotoSet.build(("a", "b", "c"), cameras(), random_pictures(), (2, 1))
    assert not photos.are_sharp  # nobody looked
    sharp = replace(photos, looks=(Looks(0.7), Looks(0.4), Looks(0.1)))  # limits of 0.8, 0.5 and 0.8 px
    assert sharp.are_sharp
    assert not replace(photos, looks=(Looks(0.7), Looks(0.7), Looks(0.1))).are_sharp
    trainer = Trainer(sharp, scene(), TrainConfig(steps=10), CpuRasterizer())
    assert {(c.dssim, c.slopes) for c in trainer.charges} == {(0.2, 0.0)}
    chosen = Loss(dssim=0.3).for_sharp()  # what somebody asked for is not overruled
    assert (chosen.dssim, chosen.k2, chosen.slopes) == (0.3, 0.03, 0.0)
    for other in (TrainConfig(steps=10, max_path=0.0), TrainConfig(steps=10, looks_back=False)):
        assert {c.dssim for c in Trainer(sharp, scene(), other, CpuRasterizer()).charges} == {0.5}
    assert {c.dssim for c in Trainer(photos, scene(), TrainConfig(steps=10), CpuRasterizer()).charges} == {0.5}


def scene() -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    return from_points(torch.rand(50, 3, generator=generator) + 2, torch.rand(50, 3, generator=generator), sh_degree=1)


def test_what_a_mask_hides_reaches_no_level():
    pictures, keep = random_pictures(), torch.ones(200, 320, dtype=torch.bool)
    keep[51:101, 33:70] = False
    painted = pictures[0].clone()
    painted[~keep] = torch.tensor([1.0, 0.0, 1.0])
    masks = (keep, None, None)
    names = ("a", "b", "c")
    clean = PhotoSet.build(names, cameras(), pictures, (2, 1), masks)
    hidden = PhotoSet.build(names, cameras(), [painted, *pictures[1:]], (2, 1), masks)
    for level in range(2):
        assert torch.equal(clean.pictures[level][0], hidden.pictures[level][0])
        assert clean.keeps[level][1] is None
    assert torch.equal(clean.keeps[1][0], keep)
    assert not clean.keeps[0][0][25:51, 16:35].any() and clean.keeps[0][0].sum() == 16000 - 26 * 19
    assert clean.mask_marks == hidden.mask_marks and clean.mask_marks[0] and clean.mask_marks[1:] == [0, 0]
    assert PhotoSet.build(names, cameras(), pictures, (1,)).mask_marks == [0, 0, 0]
    other = PhotoSet.build(names, cameras(), pictures, (1,), (keep.flip(0), None, None))
    assert other.mask_marks[0] not in (0, clean.mask_marks[0])
    # What stands there is the mean of the rest, so that coarse levels fade into nothing new.
    light = linear_from_srgb(clean.pictures[1][0])
    torch.testing.assert_close(light[~keep].mean(0), light[keep].mean(0), atol=1e-4, rtol=0)
    assert torch.equal(clean.pictures[1][0][keep], pictures[0][keep])

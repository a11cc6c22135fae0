"""A similarity between two worlds is found from their cameras, and carries cameras so that they see the same."""

from dataclasses import replace

import pytest
import torch

from splatdeblur.errors import PoseError
from splatdeblur.evaluate.against import AgainstTruth
from splatdeblur.evaluate.alignment import Similarity, fit_similarity, fit_to_scene
from splatdeblur.geometry import Cameras, exp, look_at, matrix_from_quat


def random_similarity(seed: int) -> Similarity:
    g = torch.Generator().manual_seed(seed)
    rotation = matrix_from_quat(torch.randn(4, generator=g, dtype=torch.float64))
    return Similarity(
        float(torch.rand(1, generator=g) * 5 + 0.1), rotation, torch.randn(3, generator=g, dtype=torch.float64)
    )


def cameras_at(centers: torch.Tensor) -> Cameras:
    target = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    viewmats = look_at(centers, target.expand_as(centers), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    K = torch.tensor([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]], dtype=torch.float64)
    return Cameras(viewmats, K.expand(len(centers), 3, 3), 40, 30)


def random_cameras(count: int, seed: int = 0) -> Cameras:
    g = torch.Generator().manual_seed(seed)
    return cameras_at(torch.randn(count, 3, generator=g, dtype=torch.float64) * 2 + 3)


def shaken(cameras: Cameras, indices: list[int], amount: float, seed: int = 1) -> Cameras:
    g = torch.Generator().manual_seed(seed)
    delta = torch.zeros(len(cameras), 6, dtype=torch.float64)
    delta[indices] = amount * torch.randn(len(indices), 6, generator=g, dtype=torch.float64)
    return cameras.with_viewmats(exp(delta) @ cameras.viewmats)


def assert_same(a: Similarity, b: Similarity, tolerance: float) -> None:
    assert abs(a.scale / b.scale - 1) < tolerance
    assert (a.rotation - b.rotation).abs().max() < tolerance
    assert (a.translation - b.translation).abs().max() < tolerance * 10


@pytest.mark.parametrize("seed", range(3))
def test_a_similarity_is_recovered_exactly(seed):
    truth, reference = random_similarity(seed), random_cameras(12)
    found = fit_similarity(truth.cameras(reference), reference)
    assert_same(found.run_from_reference, truth, 1e-9)
    assert not any(found.is_outlier)


@pytest.mark.parametrize("seed", range(3))
def test_a_third_of_wrong_cameras_does_not_matter(seed):
    truth, reference = random_similarity(seed), random_cameras(15)
    wrong = [1, 4, 7, 8, 13]
    found = fit_similarity(shaken(truth.cameras(reference), wrong, 1.0), reference)
    assert_same(found.run_from_reference, truth, 1e-8)
    assert [i for i, out in enumerate(found.is_outlier) if out] == wrong


def test_noise_and_wrong_cameras_together_give_the_fit_of_the_good_ones():
    truth, reference = random_similarity(3), random_cameras(30)
    noisy = shaken(truth.cameras(reference), list(range(30)), 0.01, seed=2)
    good = fit_similarity(noisy.at(list(range(24))), reference.at(list(range(24)))).run_from_reference
    found = fit_similarity(shaken(noisy, list(range(24, 30)), 2.0), reference)
    assert_same(found.run_from_reference, good, 2e-3)
    assert all(found.is_outlier[24:])


def test_cameras_on_a_line_are_told_apart_by_their_rotations():
    truth = random_similarity(4)
    along = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None] * torch.tensor([1.0, 2.0, 0.5]).double()
    reference = cameras_at(along + torch.tensor([1.0, -4.0, 0.5]))
    found = fit_similarity(truth.cameras(reference), reference)
    assert_same(found.run_from_reference, truth, 1e-8)


def test_a_similarity_fits_worlds_of_any_size_and_single_precision():
    truth = random_similarity(5)
    far = Similarity(1e4 * truth.scale, truth.rotation, 1e4 * truth.translation)
    reference = random_cameras(10).to(dtype=torch.float32)
    found = fit_similarity(far.cameras(reference), reference).run_from_reference
    assert abs(found.scale / far.scale - 1) < 1e-5
    assert (found.rotation - far.rotation).abs().max() < 1e-5


def test_carried_cameras_project_carried_points_onto_the_same_pixels():
    similarity, cameras = random_similarity(6), random_cameras(5)
    points = torch.randn(20, 3, dtype=torch.float64) * 0.3

    def projected(cameras: Cameras, points: torch.Tensor) -> torch.Tensor:
        homogeneous = torch.cat([points, torch.ones_like(points[:, :1])], 1)
        seen = torch.einsum("cij,nj->cni", cameras.Ks @ cameras.viewmats[:, :3], homogeneous)
        return seen[..., :2] / seen[..., 2:]

    carried = similarity.cameras(cameras)
    assert torch.allclose(projected(carried, similarity.points(points)), projected(cameras, points))
    assert torch.allclose(carried.centers, similarity.points(cameras.centers))
    assert torch.allclose(carried.viewmats[:, :3, :3].det(), torch.ones(5).double())


def test_the_inverse_brings_points_back():
    similarity, points = random_similarity(7), torch.randn(9, 3, dtype=torch.float64)
    assert torch.allclose(similarity.inverse().points(similarity.points(points)), points)


def test_too_few_cameras_or_cameras_in_one_place_are_clear_errors():
    with pytest.raises(PoseError, match="need 3"):
        fit_similarity(random_cameras(2), random_cameras(2))
    one_place = random_cameras(1).at([0, 0, 0, 0])
    with pytest.raises(PoseError, match="one place"):
        fit_similarity(random_cameras(4), one_place)
    with pytest.raises(PoseError, match="one place"):
        fit_similarity(one_place, random_cameras(4))


def ground_depths(cameras: Cameras) -> list[torch.Tensor]:
    """What each camera sees of the plane z = 0: z-depth per pixel, 0 above the horizon."""
    y, x = torch.meshgrid(
        torch.arange(cameras.height).double() + 0.5, torch.arange(cameras.width).double() + 0.5, indexing="ij"
    )
    depths = []
    for viewmat, K, center in zip(cameras.viewmats, cameras.Ks, cameras.centers, strict=True):
        rays = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ K.inverse().mT @ viewmat[:3, :3]
        depths.append((-center[2] / rays[..., 2]).clamp(min=0).nan_to_num(0, 0, 0))
    return depths


def seen(cameras: Cameras, points: torch.Tensor) -> torch.Tensor:
    there = torch.einsum("cij,nj->cni", cameras.viewmats[:, :3, :3], points) + cameras.viewmats[:, None, :3, 3]
    projected = torch.einsum("cij,cnj->cni", cameras.Ks, there)
    return projected[..., :2] / projected[..., 2:]


def with_focal(cameras: Cameras, factor: float) -> Cameras:
    Ks = cameras.Ks.clone()
    Ks[:, :2, :2] *= factor
    return replace(cameras, Ks=Ks)


@pytest.mark.parametrize("wrong", [[], [2, 5, 7]])
def test_cameras_that_see_a_scene_alike_are_brought_together_exactly(wrong):
    truth, run = random_similarity(7), random_cameras(12)
    depths, reference = ground_depths(run), truth.cameras(run)
    run = shaken(run, wrong, 0.3)
    start = Similarity(truth.scale * 1.02, truth.rotation, truth.translation + 0.02)
    assert_same(fit_to_scene(start.inverse(), run, reference, depths).inverse(), truth, 1e-6)


def test_a_focal_length_that_is_off_hardly_moves_what_is_seen():
    """Cameras with a longer lens stand as much farther away; the truth's then have to look at the same place."""
    reference = random_cameras(12, seed=3)
    target = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    run = with_focal(cameras_at(target + 1.03 * (reference.centers - target)), 1.03)
    by_cameras = fit_similarity(run, reference).run_from_reference
    by_scene = fit_to_scene(by_cameras, run, reference, ground_depths(run))

    def missed_px(similarity: Similarity) -> float:
        points = torch.tensor([[0.4, -0.3, 0.0], [-0.3, 0.2, 0.0], [0.1, 0.6, 0.0]], dtype=torch.float64)
        return (seen(run, points) - seen(reference, similarity.inverse().points(points))).norm(dim=-1).mean().item()

    assert missed_px(by_scene) < 0.25 * missed_px(by_cameras)


def test_a_scene_that_nobody_sees_leaves_the_cameras_fit():
    truth, reference = random_similarity(8), random_cameras(5)
    run = truth.cameras(reference)
    assert fit_to_scene(truth, run, reference, [torch.zeros(30, 40)] * 5) is truth


@pytest.mark.parametrize(("size", "focal", "center"), [((38, 28), 50.0, (19.0, 14.0)), ((80, 60), 100.0, (40.0, 30.0))])
def test_lenses_of_the_reference_fit_pictures_that_were_cropped_or_enlarged(size, focal, center):
    run = replace(random_cameras(4), width=size[0], height=size[1])
    comparison = AgainstTruth.__new__(AgainstTruth)
    comparison.reference, comparison.cameras, comparison.downscale = random_cameras(4), run, 1.0
    lenses = comparison.reference_lenses()
    assert lenses.own_sizes == run.own_sizes
    torch.testing.assert_close(lenses.Ks[0, 0, 0].item(), focal)
    torch.testing.assert_close(lenses.Ks[0, :2, 2].tolist(), list(center))

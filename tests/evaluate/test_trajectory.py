"""Paths are compared by how they move the picture: laws that hold whatever the numbers."""

from dataclasses import replace

import torch

from splatdeblur.evaluate.alignment import Similarity, fit_similarity
from splatdeblur.evaluate.trajectory import Paths, center_errors, path_errors
from splatdeblur.geometry import exp, inverse, matrix_from_quat

NAMES = tuple("abcdef")


def similarity() -> Similarity:
    g = torch.Generator().manual_seed(3)
    rotation = matrix_from_quat(torch.randn(4, generator=g, dtype=torch.float64))
    return Similarity(2.5, rotation, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))


def compare(world, learned: Paths, true: Paths, scale: float = 1.0):
    depths = [torch.full((36, 48), 3.0 * scale)] * len(NAMES)
    lenses = {"cameras": world.cameras, "reference": world.cameras}
    return path_errors(NAMES, learned, true, scale=scale, depths=depths, **lenses)


def test_the_true_path_has_no_error(world):
    true = Paths(world.paths, world.times)
    found = compare(world, true, true)
    assert found.median_px < 1e-9
    assert found.static_px > 0.1
    assert not any(found.is_reversed.values())


def test_a_similarity_of_the_world_changes_nothing(world):
    true = Paths(world.paths, world.times)
    learned = Paths(similarity().viewmats(world.paths), world.times)
    assert compare(world, learned, true, scale=2.5).median_px < 1e-9


def test_direction_in_time_does_not_count_and_is_told(world):
    true = Paths(world.paths, world.times)
    found = compare(world, Paths(world.paths.flip(1), world.times), true)
    assert found.median_px < 1e-9
    assert all(found.is_reversed.values())


def test_a_wrong_mid_pose_does_not_count_as_a_wrong_path(world):
    true = Paths(world.paths, world.times)
    # The whole path seen from a camera mounted elsewhere in the world: relative motion stays what it was.
    offset = exp(torch.tensor([0.1, -0.2, 0.05, 0.3, 0.1, -0.2], dtype=torch.float64))
    assert compare(world, Paths(world.paths @ offset, world.times), true).median_px < 1e-9


def test_a_static_guess_scores_what_static_px_says(world):
    true = Paths(world.paths, world.times)
    still = Paths(world.paths[:, 4:5], world.times[4:5])
    found = compare(world, still, true)
    assert abs(found.median_px - found.static_px) < 1e-9


def test_a_known_turn_has_its_extent_in_px(world):
    turn = torch.zeros(6, 9, 6, dtype=torch.float64)
    turn[..., 4] = 0.02 * (world.times - 0.5)
    true = Paths(exp(turn) @ world.paths[:, :1], world.times)
    extents = compare(world, true, true).extent_px.values()
    # focal 45 px times 0.02 rad at the centre of the picture, a little more towards its sides
    assert all(0.9 < extent < 1.1 for extent in extents)


def test_sampling_of_the_learned_path_does_not_matter_at_constant_twist(world):
    true = Paths(world.paths, world.times)
    middles = (torch.arange(3, dtype=torch.float64) + 0.5) / 3
    assert compare(world, Paths(true.at(middles), middles), true).median_px < 1e-6


def test_paths_pass_through_their_samples(world):
    paths = Paths(world.paths, world.times)
    assert torch.allclose(paths.at(world.times), world.paths, atol=1e-12)


def test_centre_errors_are_in_reference_units(world):
    bent = inverse(world.cameras.viewmats)
    bent[0, :3, 3] += torch.tensor([0.0, 0.3, 0.0])
    run = similarity().cameras(replace(world.cameras, viewmats=inverse(bent)))
    errors = center_errors(NAMES, fit_similarity(run, world.cameras), world.cameras)
    assert abs(errors.per_image["a"] - 0.3) < 1e-6
    assert abs(errors.ate - 0.3 / 6**0.5) < 1e-6
    assert errors.median < 1e-6
    assert abs(errors.relative - errors.ate / torch.pdist(world.cameras.centers).max()) < 1e-9

import numpy as np
import pycolmap
import pytest

from splatdeblur.poses.shortlist import LARGEST, coarse_matches, likely_pairs


def database_of(path, photos):
    """A COLMAP database of photos, each given as (scales [K], descriptors [K, 128])."""
    with pycolmap.Database.open(path) as database:
        pinhole = pycolmap.Camera.create_from_model_id(0, pycolmap.CameraModelId.PINHOLE, 100, 100, 80)
        camera = database.write_camera(pinhole)
        for index, (scales, descriptors) in enumerate(photos):
            image = database.write_image(pycolmap.Image(name=f"{index}.png", camera_id=camera))
            keypoints = np.zeros((len(scales), 6), np.float32)
            keypoints[:, 2] = keypoints[:, 5] = scales
            database.write_keypoints(image, keypoints)
            data = pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, descriptors)
            database.write_descriptors(image, data)
    return path


def test_photos_of_the_same_things_match_by_their_largest_features(tmp_path):
    rng = np.random.default_rng(0)
    world = rng.integers(0, 200, (3 * LARGEST, 128)).astype(np.uint8)

    def photo(large, small):
        """Large features first seen from `large` on, and small ones, which must not count, from `small` on."""
        seen = np.concatenate([world[large : large + LARGEST], world[small : small + LARGEST]])
        scales = np.concatenate([rng.uniform(5, 9, LARGEST), rng.uniform(1, 4, LARGEST)])
        order = rng.permutation(len(scales))
        noisy = np.clip(seen.astype(int) + rng.integers(-5, 6, seen.shape), 0, 255).astype(np.uint8)
        return scales[order], noisy[order]

    half = LARGEST // 2
    photos = [photo(0, LARGEST), photo(half, LARGEST), photo(LARGEST, 0), (np.zeros(0), np.zeros((0, 128), np.uint8))]
    counts = coarse_matches(database_of(tmp_path / "features.db", photos))
    assert counts["0.png", "1.png"] == pytest.approx(half, abs=3)
    assert counts["1.png", "2.png"] == pytest.approx(half, abs=3)
    assert counts.get(("0.png", "2.png"), 0) <= 3
    assert not any("3.png" in pair for pair in counts)


def test_likely_pairs_are_the_best_matched_and_the_next_in_order():
    names = [str(i) for i in range(9)]
    pairs = likely_pairs(names, {("0", "8"): 9, ("0", "7"): 8, ("0", "6"): 7, ("5", "1"): 3}, most=2)
    assert {("0", "8"), ("0", "7"), ("0", "6"), ("1", "5"), ("3", "4"), ("3", "5")} <= set(pairs)
    assert ("2", "8") not in pairs and len(pairs) == len(set(pairs)) == 4 + 8 + 7

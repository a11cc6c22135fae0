import pytest
import torch

from splatdeblur.geometry import exp, inverse
from splatdeblur.search_starts import MOST_STARTS, Placed

ORDER = {name: place for place, name in enumerate("abcdefgh")}


def placed(names: str, times: dict[str, float] | None = None) -> Placed:
    """Photos of a camera that goes on by one along x at each place in the order, and turns evenly."""
    step = torch.tensor([-1.0, 0, 0, 0, 0.02, 0], dtype=torch.float64)
    poses = torch.stack([exp(step * ORDER[name]) for name in names])
    return Placed(tuple(names), poses, ORDER, times or {})


def centers(viewmats: torch.Tensor) -> torch.Tensor:
    return inverse(viewmats)[:, :3, 3]


def test_a_search_starts_at_the_known_poses_and_between_neighbours_nearest_in_order_first():
    known = placed("abdh")
    starts = known.starts("e")
    assert len(starts) == 4 + 3
    torch.testing.assert_close(starts[:4], known.poses)
    halfway = (centers(known.poses)[2] + centers(known.poses)[3]) / 2
    assert (centers(starts)[4] - halfway).norm() < 0.1 or (centers(starts)[5] - halfway).norm() < 0.1


def test_of_very_many_photos_only_some_are_started_from():
    many = {str(i): i for i in range(10 * MOST_STARTS)}
    poses = torch.eye(4, dtype=torch.float64).repeat(len(many), 1, 1)
    assert len(Placed(tuple(many), poses, many, {}).starts("7")) <= 2 * MOST_STARTS


@pytest.mark.parametrize("lost", ["d", "h"], ids=["between", "beyond the end"])
def test_a_steady_camera_is_expected_where_the_order_has_it(lost):
    expected = centers(placed(lost).poses)
    likely = centers(placed("abcefg").likely(lost))
    assert (likely - expected).norm(dim=-1).max() < 0.02


def test_a_frame_of_a_video_is_expected_where_the_camera_passed_at_its_time():
    times = {name: 0.1 * place for name, place in ORDER.items()} | {"d": 0.32}
    known = placed("abcefgh", times)
    passing = centers(known.likely("d"))[-1]
    expected = centers(exp(torch.tensor([[-3.2, 0, 0, 0, 0.064, 0]], dtype=torch.float64)))[0]
    assert (passing - expected).norm() < 0.02
    del times["e"]
    assert len(placed("abcefgh", times).likely("d")) == 3, "where not all times are known, time tells nothing"


def test_a_photo_is_carried_along_with_the_known_one_next_in_order():
    known, true = placed("abcg"), placed("abcdefgh")
    moved = exp(torch.tensor([0.5, -0.2, 0.1, 0.1, 0, 0.3], dtype=torch.float64))
    thought = {name: pose @ moved for name, pose in zip(ORDER, true.poses, strict=True) if name not in "ac"}
    assert known.next_to("d", thought) == "b" and known.next_to("f", thought) == "g"
    assert known.next_to("d", {}) is None and known.next_to("g", "g") is None
    torch.testing.assert_close(known.carried("d", "b", thought), true.poses[3])

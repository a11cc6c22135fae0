"""What holds each camera where structure from motion put it, and where that is too little to believe.

A photo may be registered by a handful of features on one side of the picture, or by features that its blur moved: a
wrong pose with a small reprojection error. So a pose is judged by how firmly its features hold it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pycolmap
from jaxtyping import Bool, Int

GRID = 4  # cells across and down, for the spread
FEATURE_ERROR = 1e-3  # of the photo's longer side: what any feature may err
MAX_SLACK = 0.003  # features that blur moved err together: poses are often ten times as wrong as their slack says
MIN_INLIERS = 12
MIN_SPREAD = 0.25
MIN_LINK = 25
MAX_SHIFT = 0.02  # of the cameras' extent, between two rungs
MIN_STEPS = 8  # frames between others; fewer do not tell what is usual
MIN_JUMP = 1e-4  # of the cameras' extent; where less is usual, the camera stood on a tripod
MAX_JUMP = 10.0  # times what is usual in a video
MAX_RESIDUAL = 2.5  # times what is usual around a photo
# The same where it is known what may be left of photos that a scene has not seen, and that much or more is left. On the
# desk capture poses that were right to 1 % of the extent left less than that, and up to 2.7 times what is usual around
# them; 18 that were wrong by 2.5 to 14 % left 1.1 to 3.2 times as much, and 2.0 to 6.1 times what is usual.
MAX_RESIDUAL_WITHIN, MAX_RESIDUAL_BEYOND = 3.5, 1.8
RENDERING = "rendering"


@dataclass(frozen=True)
class Evidence:
    """What speaks for one photo's pose.

    Attributes:
        found_by: the rung that placed it.
        inliers: points of the model that it sees.
        spread: share of the picture's cells (4 x 4) with a point, in [0, 1].
        error_px: mean reprojection error of its points.
        slack: standard deviation of the camera's centre that these points leave, as a part of the cameras' extent or,
            where that is larger, of the distance to what it sees; 1 at most.
        link: points that hold the weakest step on the best way here from most other photos, each seen by two photos
            before that step.
        jump: of a video's frame, how far the camera stands from between those before and after it, in terms of what is
            usual; None where that says nothing.
        residual: what the render of a scene, blurred again, leaves unexplained of the photo, relative to what it leaves
            of the photos around it; None where there is no scene yet. It says more than all the rest.
        of_unseen: the same relative to what may be left of photos that the scene has not seen; None if that is unknown.
        shift: how far from here two thirds of the other attempts put it at most, as a part of the cameras' extent; None
            where no other did.
    """

    found_by: str
    inliers: int
    spread: float
    error_px: float
    slack: float
    link: int
    shift: float | None = None
    jump: float | None = None
    residual: float | None = None
    of_unseen: float | None = None

    @classmethod
    def by_rendering(cls, residual: float, of_unseen: float | None = None) -> "Evidence":
        """For a pose that was found by rendering, without any feature."""
        return cls(RENDERING, 0, 0.0, 0.0, 1.0, 0, residual=residual, of_unseen=of_unseen)

    @property
    def doubt(self) -> str:
        """Why the pose is not to be believed; empty where it is."""
        if self.residual is not None:
            if is_explained(self.residual, self.of_unseen):
                return ""
            beyond = ", and more than of photos that the scene has not seen" if (self.of_unseen or 0) > 1 else ""
            return (
                f"a render from there leaves {self.residual:.1f} times as much unexplained as of the photos around it"
                + beyond
            )
        if self.inliers < MIN_INLIERS:
            return f"only {self.inliers} points of the model are seen in it"
        if self.spread < MIN_SPREAD:
            return f"its {self.inliers} points lie in {100 * self.spread:.0f} % of the picture"
        if self.slack > MAX_SLACK:
            return f"its {self.inliers} points hold it loosely (to {100 * self.slack:.1f} % of the cameras' extent)"
        if self.link < MIN_LINK:
            return f"only {self.link} points connect it, and what is near it, with the others"
        if self.jump is not None and self.jump > MAX_JUMP:
            return f"the camera would have jumped {self.jump:.0f} times as far as it usually does between frames"
        if self.shift is not None and self.shift > MAX_SHIFT:
            return f"other attempts put the camera {100 * self.shift:.1f} % of the cameras' extent away"
        return ""


    @property
    def firmness(self) -> float:
        """What speaks for the pose, as a part of what is asked for, by the test that it passes least."""
        asked = [
            self.inliers / MIN_INLIERS, self.spread / MIN_SPREAD, MAX_SLACK / max(self.slack, 1e-9),
            self.link / MIN_LINK, MAX_JUMP / max(self.jump or 0.0, 1e-9), MAX_SHIFT / max(self.shift or 0.0, 1e-9),
        ]  # fmt: skip
        return min(asked)


def is_explained(residual: float, of_unseen: float | None) -> bool:
    """Whether a scene explains a photo well enough for its pose to be believed; see `Evidence`."""
    if of_unseen is None:
        return residual <= MAX_RESIDUAL
    return residual <= (MAX_RESIDUAL_WITHIN if of_unseen <= 1 else MAX_RESIDUAL_BEYOND)


def centers_of(model: pycolmap.Reconstruction) -> dict[str, np.ndarray]:
    """Camera centres by photo name."""
    return {i.name: i.projection_center() for i in model.images.values() if i.has_pose}


def extent_of(centers: Mapping[str, np.ndarray]) -> float:
    """Diagonal of the box around the cameras, or what it would be but for a few that went astray."""
    all_centers = np.array(list(centers.values()))
    usual = np.median(np.linalg.norm(all_centers - np.median(all_centers, axis=0), axis=1))
    return float(min(np.linalg.norm(np.ptp(all_centers, axis=0)), 4 * usual))


def evidence_in(model: pycolmap.Reconstruction, found_by: str, extent: float) -> dict[str, Evidence]:
    """The evidence for every posed photo of a model, by name.

    Args:
        extent: of all cameras, in the model's unit.
    """
    links = _links(model)
    return {
        i.name: _of_image(model, i, found_by, extent, links.get(i.image_id, 0))
        for i in model.images.values()
        if i.has_pose
    }


def _links(model: pycolmap.Reconstruction) -> dict[int, int]:
    """For every image that sees a point: by how many points the weakest step on the best way to it is held, over one
    image after another, from the image that firmly reaches most others.

    A step counts points that two images before it see already: those alone tell how far away it is. Behind a weak
    step everything may be turned and scaled as a whole, however firmly it holds together.
    """
    sees: dict[int, list[int]] = {}
    for row, point in enumerate(model.points3D.values()):
        for image in {element.image_id for element in point.track.elements}:
            sees.setdefault(image, []).append(row)
    seen = np.zeros((len(sees), model.num_points3D()), dtype=bool)
    for number, rows in enumerate(sees.values()):
        seen[number, rows] = True
    best, left = np.zeros(len(sees), dtype=int), seen.sum(axis=1)
    while left.max(initial=0) >= MIN_LINK:
        links = _links_from(int(left.argmax()), seen)
        if (links >= MIN_LINK).sum() > (best >= MIN_LINK).sum():
            best = links
        left[links >= MIN_LINK] = 0  # from these, others are reached about as well
        left[left.argmax()] = 0
    return dict(zip(sees, best.tolist(), strict=True))


def _links_from(start: int, seen: Bool[np.ndarray, "image point"]) -> Int[np.ndarray, "image"]:
    """The links from one image on.

    Source: widest paths (Pollack 1960), found as by Prim: images are reached from the firmest step down.
    """
    links, is_reached = np.zeros(len(seen), dtype=int), np.zeros(len(seen), dtype=bool)
    by_point = np.ascontiguousarray(seen.T)
    times_seen, firm = np.zeros(len(by_point), dtype=int), np.zeros(len(seen), dtype=int)
    image, weakest = start, int(seen[start].sum())
    for reached in range(1, len(seen) + 1):
        links[image], is_reached[image] = weakest, True
        times_seen += seen[image]
        firm += by_point[seen[image] & (times_seen == 2)].sum(axis=0)
        counts = firm if reached > 1 else by_point[seen[image]].sum(axis=0)
        steps = np.where(is_reached, -1, counts)
        image = int(steps.argmax())
        weakest = min(weakest, int(steps[image]))
    return links


def _of_image(
    model: pycolmap.Reconstruction, image: pycolmap.Image, found_by: str, extent: float, link: int
) -> Evidence:
    camera = model.cameras[image.camera_id]
    seen = [p for p in image.points2D if p.has_point3D()]
    if not seen:
        return Evidence(found_by, 0, 0.0, 0.0, 1.0, 0)
    pixels = np.array([p.xy for p in seen])
    local = image.cam_from_world() * np.array([model.points3D[p.point3D_id].xyz for p in seen])
    errors = np.linalg.norm(camera.img_from_cam(local) - pixels, axis=1)
    cells = np.clip(pixels / [camera.width, camera.height], 0, 1 - 1e-9) * GRID
    spread = len(np.unique(cells.astype(int), axis=0)) / GRID**2
    noise = max(float(np.sqrt(np.mean(errors**2) / 2)), FEATURE_ERROR * max(camera.width, camera.height))
    unit = max(extent, float(np.median(local[:, 2])))
    slack = min(noise * _center_sensitivity(local, camera.mean_focal_length()) / unit, 1.0)
    return Evidence(found_by, len(seen), spread, float(errors.mean()), slack, link)


def _center_sensitivity(local: np.ndarray, focal: float) -> float:
    """Standard deviation of a camera's centre per px of independent error in its features; infinity if it is free.

    Args:
        local: its points in its own frame, [point, 3].
    """
    x, y, z = local.T
    by_point = np.zeros((len(local), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = focal / z
    by_point[:, 0, 2], by_point[:, 1, 2] = -focal * x / z**2, -focal * y / z**2
    cross = np.zeros((len(local), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
    cross -= cross.transpose(0, 2, 1)
    by_pose = np.concatenate([by_point, -by_point @ cross], axis=2).reshape(-1, 6)
    information = by_pose.T @ by_pose
    if np.linalg.matrix_rank(information) < 6:
        return math.inf
    return float(np.sqrt(np.trace(np.linalg.inv(information)[:3, :3])))


def with_jumps(
    evidence: Mapping[str, Evidence], centers: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, Evidence]:
    """The evidence of a video's frames, with how far each camera stands off the way of those around it.

    Args:
        names: all frames in order of time; those without a pose leave gaps, over which nothing is said.
    """
    off = {
        name: np.linalg.norm(centers[name] - (centers[before] + centers[after]) / 2)
        for before, name, after in zip(names, names[1:], names[2:], strict=False)
        if {before, name, after} <= centers.keys()
    }
    usual = np.median(list(off.values())) if len(off) >= MIN_STEPS else 0.0
    if usual < MIN_JUMP * extent_of(centers):
        return dict(evidence)
    return {name: replace(found, jump=float(off[name] / usual) if name in off else None)
            for name, found in evidence.items()}  # fmt: skip

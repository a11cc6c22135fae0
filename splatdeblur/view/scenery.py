"""The things in a browser's 3D view: splats, the photos' frustums, their blur paths, the crop box."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import viser
from jaxtyping import Float, UInt8
from torch import Tensor

from ..geometry import Cameras
from .curves import smear_lines, vertical_fov, walk_lines
from .display import Splats
from .stage import Stage

IN_USE, AT_HAND, UNUSED = (40, 90, 160), (230, 120, 20), (150, 150, 150)
SMEAR, WALK, CROP = (230, 60, 40), (40, 160, 90), (240, 200, 40)
FRUSTUM_LINE, SMEAR_LINE = 1.5, 2.5  # px


class Scenery:
    """What stands in one viser scene, updated in place."""

    def __init__(self, api: viser.SceneApi, on_click: Callable[[int], None] | None = None) -> None:
        """`on_click` is told the index of a photo whose frustum was clicked."""
        self._api = api
        self._on_click = on_click
        self._changing = threading.RLock()  # of frustums, which viser forbids to change once they are removed
        self._splats: viser.GaussianSplatHandle | None = None
        self._frustums: list[viser.CameraFrustumHandle] = []
        self._names: tuple[str, ...] = ()
        self._at_hand = 0
        self._pictures: dict[str, UInt8[np.ndarray, "height width 3"]] = {}
        self._lines: dict[str, Any] = {}
        self._unused: frozenset[str] = frozenset()
        self._eye: np.ndarray | None = None
        self._near = 0.0
        self._are_frustums_visible = self._are_paths_visible = self._are_splats_visible = True

    def show_splats(self, splats: Splats) -> None:
        """Puts these splats in the place of those before."""
        parts = (splats.centers, splats.covariances, splats.rgbs, splats.opacities)
        if self._splats is None:
            self._splats = self._api.add_gaussian_splats("/splats", *parts, visible=self._are_splats_visible)
        else:
            self._splats.set_gaussians(*parts)

    def show_photos(self, stage: Stage, factor: float) -> None:
        """Frustums and blur paths of the stage's photos, motion `factor` times as large."""
        self._near = 1.2 * stage.frustum_depth
        with self._changing:
            if self._names != stage.all_names:
                for handle in self._frustums:
                    handle.remove()
                self._names = stage.all_names
                self._frustums = [self._add_frustum(stage, i) for i in range(len(self._names))]
            else:
                for index, handle in enumerate(self._frustums):
                    handle.wxyz, handle.position = stage.display.pose(stage.camera(index).viewmats[0])
            self._color()
            self._show_far_frustums()
        self.show_paths(stage, factor)

    def show_paths(self, stage: Stage, factor: float) -> None:
        """The blur paths alone."""
        if not stage.names:
            return
        self._put_lines("/paths/smear", smear_lines(stage, factor), SMEAR)
        self._put_lines("/paths/walk", walk_lines(stage, factor), WALK)

    def _put_lines(self, name: str, segments: Float[np.ndarray, "line 2 3"], color: tuple[int, int, int]) -> None:
        if not len(segments):
            return
        self._lines[name] = self._api.add_line_segments(
            name, segments, color, thickness=SMEAR_LINE, thickness_units="screen", visible=self._are_paths_visible
        )

    def _add_frustum(self, stage: Stage, index: int) -> viser.CameraFrustumHandle:
        camera, name = stage.camera(index), stage.all_names[index]
        wxyz, position = stage.display.pose(camera.viewmats[0])
        handle = self._api.add_camera_frustum(
            f"/photos/{name}", vertical_fov(camera), _aspect(camera), thickness=FRUSTUM_LINE,
            thickness_units="screen", image=self._pictures.get(name), format="jpeg", wxyz=wxyz, position=position,
            visible=self._are_frustums_visible,
        )  # fmt: skip
        handle.scale = stage.frustum_depth / handle.compute_canonical_frustum_size()[2]
        if self._on_click is not None:
            clicked = self._on_click
            handle.on_click(lambda _: clicked(index))
        return handle

    def _color(self) -> None:
        with self._changing:
            for index, handle in enumerate(self._frustums):
                is_used = self._names[index] not in self._unused
                handle.color = AT_HAND if index == self._at_hand else IN_USE if is_used else UNUSED

    def mark(self, at_hand: int, unused: frozenset[str]) -> None:
        """Colours the photo at hand, and those that training does not or will not use."""
        self._at_hand, self._unused = at_hand, unused
        self._color()

    def show_picture(self, index: int, name: str, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """The photo in its frustum."""
        self._pictures[name] = picture
        with self._changing:
            if index < len(self._frustums) and self._names[index] == name:
                self._frustums[index].image = picture

    def set_visible(self, *, splats: bool, frustums: bool, paths: bool) -> None:
        """Shows or hides each kind of thing."""
        self._are_splats_visible, self._are_frustums_visible, self._are_paths_visible = splats, frustums, paths
        if self._splats is not None:
            self._splats.visible = splats
        self._show_far_frustums()
        for handle in self._lines.values():
            handle.visible = paths

    def look_from(self, position: Float[np.ndarray, "3"]) -> None:
        """Hides the frustums that a viewer at this place would stand in, with their pictures before the scene."""
        self._eye = position
        self._show_far_frustums()

    def _show_far_frustums(self) -> None:
        with self._changing:
            for handle in self._frustums:
                is_near = self._eye is not None and np.linalg.norm(handle.position - self._eye) < self._near
                is_visible = self._are_frustums_visible and not is_near
                if handle.visible != is_visible:
                    handle.visible = is_visible

    def show_box(self, low: Tensor | None, high: Tensor | None) -> None:
        """The edges of a crop box in display units; None hides it."""
        if low is None or high is None:
            if (old := self._lines.pop("/crop", None)) is not None:
                old.remove()
            return
        self._put_lines("/crop", _box_edges(low.numpy(), high.numpy()), CROP)


def _aspect(camera: Cameras) -> float:
    return camera.width / camera.height * camera.Ks[0, 1, 1].item() / camera.Ks[0, 0, 0].item()


def _box_edges(low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"]) -> Float[np.ndarray, "12 2 3"]:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    pairs = [(a, b) for a in range(8) for b in range(a) if np.abs(corners[a] - corners[b]).sum() == 1]
    return (low + corners * (high - low))[np.array(pairs)]

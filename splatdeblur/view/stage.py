"""What a viewer shows of a run at one moment: scene, photos, and how each camera moved."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ..exposure import Exposure
from ..geometry import Cameras, exp, log
from ..render import Rasterizer, RenderOptions
from ..render.bake import baked
from ..render.enlarge import TrainingWidth
from ..scene import Gaussians
from .display import Display, Splats

BROWSER_ENLARGEMENT = 3.0  # about how much larger than the training's a browser's pictures are
FRUSTUM_DEPTHS = (0.1, 0.45)  # least and most, in display units


@dataclass(frozen=True, eq=False)
class Stage:
    """A scene and the photos it is made of, handed over whole, so that no viewer needs to know training.

    Attributes:
        names: of the photos in use, in the order of `exposure`'s frames.
        cameras: their lenses, and poses at mid-exposure as learned, on the CPU.
        scene, exposure: on the rasterizer's device.
        target: what the photos show, in world units.
        read_photo: the photo of a name as it was taken, at the cameras' size.
        step: of the training.
        other_names, other_cameras: photos that have a pose and take no part in the training.
    """

    names: tuple[str, ...]
    cameras: Cameras
    scene: Gaussians
    exposure: Exposure
    rasterizer: Rasterizer
    options: RenderOptions
    target: Float[Tensor, "3"]
    read_photo: Callable[[str], Float[Tensor, "height width 3"]]
    step: int
    other_names: tuple[str, ...]
    other_cameras: Cameras

    @cached_property
    def display(self) -> Display:
        """The similarity between the world and the browser."""
        return Display.around(self.cameras, self.target)

    @cached_property
    def frustum_depth(self) -> float:
        """How far the photos' pictures stand before their cameras, in display units: less where cameras crowd."""
        places = torch.from_numpy(self.display.points(self.cameras.centers))
        nearest = torch.cdist(places, places).fill_diagonal_(float("inf")).min(dim=1).values.median().item()
        return min(max(0.8 * nearest, FRUSTUM_DEPTHS[0]), FRUSTUM_DEPTHS[1])

    @cached_property
    def _width(self) -> TrainingWidth:
        return TrainingWidth.of(self.scene, self.cameras, self.options)

    def seen_through(self, camera: Cameras) -> Gaussians:
        """The scene for a picture of any size, as wide as training drew it where there was one."""
        return self._width.seen_through(camera, self.scene) if self.names else self.scene

    @cached_property
    def _browser_scene(self) -> Gaussians:
        return baked(self._for_browser(), self.cameras, self.options)

    def _for_browser(self) -> Gaussians:
        return self._width.enlarged(self.scene, BROWSER_ENLARGEMENT) if self.names else self.scene

    def splats(self, index: int, *, is_sorted: bool = False) -> Splats:
        """The scene for a browser, which knows neither antialiasing nor view-dependent colours: they are those seen
        from photo `index`.

        Args:
            is_sorted: the farthest from there come first, for pages that cannot sort.
        """
        return self.display.splats(self._browser_scene, self.camera(index).centers[0], is_sorted=is_sorted)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Photos in use, then the others."""
        return self.names + self.other_names

    def camera(self, index: int) -> Cameras:
        """The camera of a photo at mid-exposure, as counted in `all_names`."""
        if index < len(self.names):
            return self.cameras.at(index)
        return self.other_cameras.at(index - len(self.names))

    @torch.no_grad()
    def path(self, index: int, times: Float[Tensor, "time"], factor: float = 1.0) -> Float[Tensor, "time 4 4"]:
        """View matrices of a photo at shutter times, on the CPU; its motion about mid-exposure is taken `factor`
        times as large. Photos that take no part in the training stand still."""
        middle = self.camera(index).viewmats
        if index >= len(self.names):
            return middle.expand(len(times), 4, 4)
        viewmats = self.exposure.path(index, times.to(self.exposure.motion.units)).cpu()
        return enlarged(viewmats, middle[0], factor) @ middle[0]

    def subframe_times(self, index: int) -> Float[Tensor, "subframe"]:
        """The instants at which training renders a photo."""
        if index >= len(self.names):
            return torch.tensor([0.5])
        return self.exposure.shutter.render_times(index, self.subframe_count(index)).detach().cpu()

    def subframe_count(self, index: int) -> int:
        """How many renders a photo is averaged from."""
        return self.exposure.subframe_counts(self.cameras.Ks[index, 0, 0].item())[index]

    def cropped(self, low: Float[Tensor, "3"], high: Float[Tensor, "3"]) -> "Stage":
        """The Gaussians whose centres lie inside a box given in display units."""
        places = torch.from_numpy(self.display.points(self.scene.means))
        is_inside = ((places >= low) & (places <= high)).all(-1).to(self.scene.means.device)
        kept = {name: value.detach()[is_inside] for name, value in self.scene.params.items()}
        sh = torch.cat([kept["sh0"], kept["shN"]], dim=1)
        scene = Gaussians.from_raw(kept["means"], kept["quats"], kept["scales"], kept["opacities"], sh)
        return replace(self, scene=scene.detached())


def enlarged(
    viewmats: Float[Tensor, "time 4 4"], middle: Float[Tensor, "4 4"], factor: float = 1.0
) -> Float[Tensor, "time 4 4"]:
    """How a camera moves from `middle` to each of `viewmats`, in its own frame, `factor` times as far."""
    moves = viewmats @ torch.linalg.inv(middle)  # its rotation may be one in single precision only
    return moves if factor == 1 else exp(factor * log(moves))

"""What photos alone leave open: numbers that show when scene, paths, disks and kernels have shared blur out wrongly."""

from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from statistics import median

from .photos import Looks

BLURRED_PX = 2.0  # a photo that shows less is next to sharp
COMMON_PX = 3.0  # of blur in even the sharpest photos
SOFT, EXPLODED = 0.5, 2.0  # blur explained over blur that shows, below and above which something is wrong
KERNELS = 0.3  # share of the light that kernels move, from which they do a path's work


@dataclass(frozen=True)
class Explained:
    """How much each cause blurs a photo, and how blurred it looks.

    Attributes:
        path_px: length of its path; radius_px: mean radius of its disks.
        moved: share of light that kernels moved.
        is_clear: the photo shows more detail than the scene, so that it is not blurred, whatever it looks like.
    """

    path_px: float
    radius_px: float
    moved: float
    looks: Looks
    is_clear: bool = False

    @property
    def blur_px(self) -> float:
        """About how far a point smears by path and disks."""
        return (self.path_px**2 + 3 * self.radius_px**2) ** 0.5  # a disk varies as much as a path of sqrt(3) radii


def doubts(photos: Collection[Explained]) -> list[str]:
    """Sentences on what is doubtful in how a training explained its photos; none where nothing is."""
    found = []
    blurs = sorted(photo.blur_px for photo in photos)
    sharpest = blurs[len(blurs) // 10] if blurs else 0.0
    if sharpest > COMMON_PX:
        found.append(
            f"nine of ten photos are blurred by {sharpest:.1f} px or more: a blur that all have in common cannot be "
            "told from a scene that is soft itself; some sharp photos would settle it"
        )
    seeming = [p for p in photos if BLURRED_PX < p.looks.blur_px < inf]
    blurred = [p for p in seeming if not p.is_clear]
    if len(blurred) < len(seeming) / 2:
        found.append(
            f"{len(seeming) - len(blurred)} of {len(seeming)} photos that look blurred show more detail than the scene "
            "does: either they only look so, or the scene is softer still, and longer training (--preset quality) or "
            "more photos from there would help"
        )
    if not blurred:
        return found
    told = median(photo.blur_px / photo.looks.blur_px for photo in blurred)
    moved = median(photo.moved for photo in blurred)
    if moved > KERNELS:
        found.append(
            f"kernels move {100 * moved:.0f} % of the light in half of the blurred photos: they do the work of paths, "
            "and the scene may be off by as much"
        )
    elif told < SOFT:
        found.append(
            f"paths and disks explain {100 * told:.0f} % of the blur that shows in half of the blurred photos: the "
            "rest is in the scene, which is as soft"
        )
    if told > EXPLODED:
        found.append(
            f"paths and disks are {told:.1f} times the blur that shows in half of the blurred photos: they blur a "
            "scene that is sharper than it should be, or make up for poses that are off"
        )
    return found

"""Everything that decides how a scene is trained."""

from dataclasses import dataclass, field

from ..exposure import (
    Bezier,
    CubicSpline,
    Defocus,
    Lens,
    Linear,
    Shutter,
    Static,
    Tone,
    Trajectory,
    Unchanged,
    Widened,
)
from .density import MCMC, Default
from .losses import Loss
from .schedules import LearningRates, Resolution


@dataclass(frozen=True)
class TrainConfig:
    """How a scene is trained: sizes, parts of the model and their schedules.

    Attributes:
        steps: number of steps; one photo each. 0 ties them to the photos: 100 for each, but no fewer than 6,000, and no
            more than 7,000, which a slow CPU does in a quarter of an hour.
        seed: of every random choice.
        time_limit: seconds of training after which schedules are squeezed to end; 0 for no limit.
        sh_degree: of the colours, 0 to 3; it rises one by one during the first half.
        gaussians: most Gaussians; 0 ties them to the photos: two per pixel of a photo or one per 12 pixels of all, and
            no more than 60,000: many real photos, which never quite agree, are explained worse by more. Photos of more
            than 400x300 px have one per 2 pixels, and no more than 100,000, what a CPU can train in minutes.
        abundance: factor on what the photos call for.
        initial: share of them to start with.
        crop_pixels: a step looks at no more than about so many pixels, a random window of a larger photo; 0 for all.
        is_antialiased: Mip-Splatting's opacity compensation.
        random_background: a colour drawn at every step behind the scene, so that no hole can pass for black.
        noise: std of the initial control points of motion, in radians.
        max_path: a photo's blur path is held to so many times the blur that shows in the photo, and a little more; its
            disks out of focus to half as many times the blur of its most blurred parts. 0 for no bound.
        looks_back: three times, early on, all photos are looked at for what small steps miss: gains far off, paths
            that run the wrong way in time, paths that stand in for disks out of focus and the reverse, a read-out
            that is learned (and twice again). Three times, too, paths that explain their photo badly, or are folded,
            are fitted anew; the last two times, a path or disks that the other makes needless go.
        clears: then, too, but for the first time, photos that show more detail than the scene lose paths and disks that
            explain hardly anything.
        unblocks: at 0.62 and 0.8 of the training, if density control has ended by then, what stands nearer to a camera
            than anything that structure from motion saw in its photo is taken out, if the photo hardly misses it
            (`obstructions.py`, which says where not).
        average: share of the training, at its end, over which the scene's mean is taken as its result; 0 for the scene
            as the last step leaves it.
    """

    steps: int = 0
    seed: int = 0
    time_limit: float = 0.0
    sh_degree: int = 1
    gaussians: int = 0
    abundance: float = 1.0
    initial: float = 0.4
    crop_pixels: int = 60_000
    is_antialiased: bool = False
    random_background: bool = True
    noise: float = 5e-4
    max_path: float = 4.0
    looks_back: bool = True
    clears: bool = True
    unblocks: bool = True
    average: float = 0.06
    motion: Static | Linear | CubicSpline | Bezier | Trajectory = field(default_factory=lambda: Bezier(order=3))
    shutter: Shutter = field(default_factory=Shutter)
    lens: Lens = field(default_factory=lambda: Lens(focus=Defocus()))
    tone: Tone = field(default_factory=Tone)
    sight: Unchanged | Widened = field(default_factory=Unchanged)
    density: Default | MCMC = field(default_factory=Default)
    loss: Loss = field(default_factory=Loss)
    rates: LearningRates = field(default_factory=LearningRates)
    resolution: Resolution = field(default_factory=Resolution)

    def length(self, photos: int) -> int:
        """Steps for so many photos."""
        return self.steps or min(max(6000, 100 * photos), 7000)

    def budget(self, photos: int, pixels: int) -> int:
        """Most Gaussians for so many photos of so many pixels each."""
        enough = max(60_000, min(pixels // 2, 100_000))
        return self.gaussians or max(1000, int(self.abundance * min(2 * pixels, photos * pixels // 12, enough)))

"""The parts of the preset `auto`: for each, the settings that leave it out."""

PARTS: dict[str, tuple[str, ...]] = {
    "slopes": ("train.loss.slopes=0",),
    "much-ssim": ("train.loss.dssim=0.2",),
    "faint-texture": ("train.loss.k2=0.03",),
    "linear-light": ("train.shutter.is_linear=false",),
    "thick-subframes": ("train.shutter.is_thick=false",),
    "fine-subframes": ("train.shutter.fine_from=2",),
    "subframes-by-length": ("train.shutter.spacing_px=0",),
    "curves": ("train.motion={type: Linear}",),
    "lens": ("train.lens.focus.type=Focused",),
    "path-charge": ("train.loss.path=0",),
    "path-bound": ("train.max_path=0",),
    "gain": ("train.tone.learns_gain=false", "train.tone.learns_white_balance=false"),
    "white-balance": ("train.tone.learns_white_balance=false",),
    "look-back": ("train.looks_back=false",),
    "clearing": ("train.clears=false",),
    "mean-scene": ("train.average=0",),
    "pose-corrections": ("train.rates.pose=[0,0]",),
    "found-pose-rate": ("train.rates.found_poses=1",),  # tells only with --poses colmap
    "shared-second-moment": ("train.rates.by_visits=false",),
    "coarse-to-fine": ("train.resolution.levels=[1]", "train.resolution.until=[]"),
    "random-background": ("train.random_background=false",),
    "magnitudes": ("train.density.by_magnitude=false", "train.density.threshold=[1.5e-4,1e-4]"),
    "taking-out-idle": ("train.density.idle=0",),
    "unblocking": ("train.unblocks=false",),
    "falling-threshold": ("train.density.threshold=[4.5e-4,4.5e-4]",),
}

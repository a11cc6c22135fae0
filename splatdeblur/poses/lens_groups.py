"""Which photos one lens took, and what is known of it before and after structure from motion."""

import math
from collections import Counter
from collections.abc import Sequence

import pycolmap

from ..capture import Capture, Frame
from ..capture.exif import FULL_FRAME_DIAGONAL_MM

SAME_FOCAL = 0.03  # relative; zoom lenses and EXIF's rounding differ by less without being another lens


def initial_focal_px(frames: Sequence[Frame], size: tuple[int, int]) -> float | None:
    """The focal length that most of some photos' EXIF tells, in px for that size; None where EXIF is silent."""
    known = Counter(f.focal_35mm for f in frames if f.focal_35mm)
    if not known:
        return None
    return known.most_common(1)[0][0] / FULL_FRAME_DIAGONAL_MM * math.hypot(*size)


def lens_groups(capture: Capture) -> dict[str, int]:
    """Photo name -> number of its camera: photos of one size and, as far as EXIF tells, one focal length share one.

    Photos whose EXIF is silent go with most others of their size.
    """
    groups: list[tuple[tuple[int, int], float | None]] = []
    numbers: dict[str, int] = {}
    by_size = Counter((capture.size_of(f), f.focal_35mm) for f in capture.frames if f.focal_35mm)
    usual = {size: focal for (size, focal), _ in reversed(by_size.most_common())}
    for frame in capture.frames:
        size = capture.size_of(frame)
        focal = frame.focal_35mm or usual.get(size)
        for number, (known_size, known_focal) in enumerate(groups):
            is_close = known_focal == focal or (known_focal and focal and abs(known_focal / focal - 1) < SAME_FOCAL)
            if known_size == size and is_close:
                numbers[frame.name] = number
                break
        else:
            numbers[frame.name] = len(groups)
            groups.append((size, focal))
    return numbers


def lenses_from(model: pycolmap.Reconstruction, capture: Capture) -> dict[str, pycolmap.Camera]:
    """Photo name -> its camera in the model; of a photo without a pose, that of another one of its lens group.

    Photos whose lens took none of the posed photos are left out.
    """
    groups = lens_groups(capture)
    posed = {i.name: model.cameras[i.camera_id] for i in model.images.values() if i.has_pose}
    by_group = {groups[name]: lens for name, lens in sorted(posed.items(), reverse=True) if name in groups}
    lenses = {name: by_group[group] for name, group in groups.items() if group in by_group}
    return lenses | posed

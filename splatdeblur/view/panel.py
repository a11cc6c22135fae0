"""The controls beside the picture; what they do is the session's business."""

from dataclasses import dataclass

import numpy as np
import viser

from ..capture.choices import Use
from .pictures import Exposed, Look
from .portrait import PICTURES

SPLATS, EXACT = "splats (browser)", "exact (our renderer)"
MOST_FACTOR = 30.0
FIRST_FACTOR = 6.0
LEGEND = "red: how each photo smears, a tick for every sub-frame; green: the way of its camera"
LOOK_HINT = "depth: pale is near; opacity: white is opaque; Gaussians per pixel: pale is where most overlap"
EXPOSURE_HINT = "re-blurred: as the photo in hand was taken; motion exaggerated: time moves the camera further"
BOX = 8.0  # reach of the crop box's sliders, in display units


@dataclass(frozen=True, eq=False)
class Panel:
    """Handles of one browser's controls."""

    status: viser.GuiMarkdownHandle
    photo: viser.GuiDropdownHandle
    use: viser.GuiDropdownHandle
    plan: viser.GuiMarkdownHandle
    about: viser.GuiMarkdownHandle
    pictures: tuple[viser.GuiImageHandle, ...]
    time: viser.GuiSliderHandle
    play: viser.GuiButtonHandle
    exposed: viser.GuiDropdownHandle
    factor: viser.GuiSliderHandle
    renderer: viser.GuiDropdownHandle
    look: viser.GuiDropdownHandle
    has_frustums: viser.GuiCheckboxHandle
    has_paths: viser.GuiCheckboxHandle
    has_crop: viser.GuiCheckboxHandle
    crop: tuple[viser.GuiMultiSliderHandle, ...]


def build(gui: viser.GuiApi, names: tuple[str, ...], *, drawn_as: str) -> Panel:
    """All controls, from top to bottom, those of photos only where there are `names`; `drawn_as` is SPLATS or EXACT."""
    blank = np.full((2, 3, 3), 200, np.uint8)
    status = gui.add_markdown("")
    with gui.add_folder("View"):
        renderer = gui.add_dropdown("drawn as", (SPLATS, EXACT), initial_value=drawn_as)
        look = gui.add_dropdown("show", tuple(Look), initial_value=Look.COLOR, hint=LOOK_HINT)
        has_frustums = gui.add_checkbox("cameras", True, visible=bool(names), hint="click one to fly there")
        has_paths = gui.add_checkbox("blur paths", True, visible=bool(names), hint="enlarged by the exaggeration below")
        gui.add_markdown(LEGEND, visible=bool(names))
        has_crop = gui.add_checkbox("crop box", False, hint="leaves out what lies outside, here and in films")
        crop = tuple(
            gui.add_multi_slider(axis, -BOX, BOX, 0.05, (-BOX / 2, BOX / 2), visible=False) for axis in ("x", "y", "z")
        )
    with gui.add_folder("Shutter", visible=bool(names)):
        time = gui.add_slider("time", 0.0, 1.0, 0.01, 0.5, hint="moves the camera along the photo's learned path")
        play = gui.add_button("play the exposure", hint="moves the camera as it moved while the photo was taken")
        exposed = gui.add_dropdown("exposure", tuple(Exposed), initial_value=Exposed.SHARP, hint=EXPOSURE_HINT)
        factor = gui.add_slider("exaggeration", 1.0, MOST_FACTOR, 0.5, FIRST_FACTOR, hint="of the drawn blur paths too")
    with gui.add_folder("Photo", visible=bool(names)):
        photo = gui.add_dropdown("photo", names or ("",))
        use = gui.add_dropdown("next training", tuple(Use), initial_value=Use.TRAIN)
        plan = gui.add_markdown("")
        about = gui.add_markdown("")
        pictures = tuple(gui.add_image(blank, label=label) for label in PICTURES)
    return Panel(
        status, photo, use, plan, about, pictures, time, play, exposed, factor, renderer, look, has_frustums, has_paths,
        has_crop, crop,
    )  # fmt: skip

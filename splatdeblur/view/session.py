"""One browser's visit: its camera, its choice of photo, and what it is shown."""

import threading
import time
from collections.abc import Callable
from math import inf, pi, sin
from typing import Any

import numpy as np
import torch
import viser
from torch import Tensor

from ..capture.choices import Choices, Use
from ..errors import SplatDeblurError
from ..geometry import Cameras, interpolate
from ..run import Run
from . import panel as panels
from .curves import fitting_fov, screen_camera
from .filming import Filming
from .panel import Panel
from .pictures import Exposed, Look, draw
from .portrait import PICTURES, Portrait, portrait
from .scenery import Scenery
from .stage import Stage
from .trial import SLOW_S, seconds_for_splats
from .worker import Worker

FLIGHT_S, FLIGHT_STEPS = 0.5, 12
DRAFT_PX = 50_000  # pixels of a picture drawn while the camera moves
REST_S = 0.25  # a camera that has not moved for so long is at rest
MOST_PX = 2_000_000
MOST_BLURRED_PX = 300_000  # of a re-blurred one, which is many renders, and smooth
NOTICE_S = 15.0
SWEEP_S, SWEEP_STEPS = 3.0, 36  # there and back through the shutter's time
FILM_HEIGHT = 720
BLACK = np.zeros((2, 2, 3), np.uint8)  # behind the browser's splats, as behind our renders

Choose = Callable[[str, Use], None]


class Session:
    """Connects one browser's controls with a stage; every browser has its own."""

    def __init__(
        self, client: viser.ClientHandle, stage: Stage, run: Run, lock: threading.Lock, choose: Choose,
        drawn_as: str | None,
    ) -> None:  # fmt: skip
        """`lock` keeps renderers of several browsers from working at once; `choose` notes what a photo is for;
        `drawn_as` is `panel.SPLATS` or `panel.EXACT`, to begin with; None begins with our renders, and leaves them
        for splats if the browser turns out to be fast."""
        self.client = client
        self._choose = choose
        self.index = 0
        self.stage = self._shown = stage
        self.worker = Worker(lock)
        self.scenery = Scenery(client.scene, on_click=self.fly_to)
        self.panel: Panel = panels.build(client.gui, stage.all_names, drawn_as=drawn_as or panels.EXACT)
        self.filming = Filming(
            client.gui, run.folder, lock, here=self._film_camera, go=self.place, stage=lambda: self._shown
        )
        self._is_drawn = False
        self._playing = threading.Lock()
        self._choices = Choices()
        self._listen()
        self.show(stage)
        client.camera.on_update(lambda _: self._on_camera())
        self._on_camera()  # a browser that has come stands where it says, and says so again only when it moves
        if drawn_as is None:
            threading.Thread(target=self._try_splats, daemon=True).start()

    @property
    def name(self) -> str:
        """Of the photo in hand; empty where the scene has none."""
        return self.stage.all_names[self.index] if self.stage.all_names else ""

    def close(self) -> None:
        """The browser has left."""
        self.worker.stop()

    def _listen(self) -> None:
        panel = self.panel
        self._on_change(panel.time, self._on_time)
        panel.play.on_click(lambda _: self._play())
        self._on_change(panel.factor, self._on_factor)
        self._on_change(panel.photo, lambda: self.fly_to(self.stage.all_names.index(panel.photo.value)))
        self._on_change(panel.exposed, self._on_exposed)
        for control in (panel.renderer, panel.look, panel.has_frustums, panel.has_paths):
            self._on_change(control, self._refresh)
        self._on_change(panel.use, lambda: self._choose(self.name, Use(panel.use.value)))
        for control in (panel.has_crop, *panel.crop):
            self._on_change(control, self._on_crop)

    def _on_change(self, control: Any, act: Callable[[], None]) -> None:
        """Does `act` when a person changes a control; what the program sets itself is no wish."""

        def changed(event: viser.GuiEvent) -> None:
            if event.client is None:
                return
            try:
                act()
            except (SplatDeblurError, OSError) as error:
                self.client.add_notification("That did not work", str(error), color="red")

        control.on_update(changed)

    # What is shown

    def show(self, stage: Stage) -> None:
        """A newer state of the training, or the first."""
        in_hand = self.name
        self.stage = stage
        self.index = stage.all_names.index(in_hand) if in_hand in stage.all_names else 0
        if stage.all_names and tuple(self.panel.photo.options) != stage.all_names:
            self.panel.photo.options = stage.all_names
        trained = f"step {stage.step:,} · " if stage.all_names else ""
        self.panel.status.content = f"{trained}{len(stage.scene):,} Gaussians"
        self._on_crop()
        self.scenery.show_photos(stage, self.panel.factor.value)
        if stage.all_names:
            self.worker.submit("photo", self._show_photo, 0.1)

    def show_choices(self, choices: Choices) -> None:
        """What each photo is for from the next training on."""
        self._choices = choices
        self.panel.use.value = choices.use(self.name)
        self.panel.plan.content = choices.plan(self.stage.names, self.stage.other_names) if self.stage.step else ""
        self.scenery.mark(self.index, choices.left_out | choices.test)

    def _on_crop(self) -> None:
        has_crop = self.panel.has_crop.value
        for slider in self.panel.crop:
            slider.visible = has_crop
        low, high = (torch.tensor([s.value[end] for s in self.panel.crop]) for end in (0, 1))
        self._shown = self.stage.cropped(low, high) if has_crop else self.stage
        self.scenery.show_box(low if has_crop else None, high)
        self._refresh()

    def _show_splats(self) -> None:
        if len(self._shown.scene) and not self._is_drawn:  # they are many bytes, and work for a browser without a GPU
            self.scenery.show_splats(self._shown.splats(self.index))

    def _try_splats(self) -> None:
        """Leaves the drawing to the browser, if it is fast and nobody has chosen meanwhile."""
        taken = seconds_for_splats(self.client, self.stage.splats(self.index))
        if self.panel.renderer.value != panels.EXACT:
            return
        if taken < SLOW_S:
            self.panel.renderer.value = panels.SPLATS
            self._refresh()
        elif taken < inf:
            self.client.add_notification(
                "Pictures by our own renderer",
                "This browser draws splats in software, too slowly to move among them. \"drawn as\" has them all the "
                "same.",
                auto_close_seconds=NOTICE_S,
            )

    def _refresh(self) -> None:
        """Shows what the controls say."""
        panel = self.panel
        # A browser's splats are sharp colours and nothing else.
        self._is_drawn = (
            panel.renderer.value == panels.EXACT
            or panel.look.value != Look.COLOR
            or panel.exposed.value == Exposed.REBLURRED
        )
        self.scenery.set_visible(
            splats=not self._is_drawn and len(self._shown.scene) > 0,
            frustums=panel.has_frustums.value,
            paths=panel.has_paths.value,
        )
        if self._is_drawn:
            self._draw_soon()
        else:
            self.worker.cancel("full")
            self.worker.submit("splats", self._show_splats)
            self.worker.submit("draft", lambda: self.client.scene.set_background_image(BLACK, format="png"))

    # The camera

    def fly_to(self, index: int) -> None:
        """Takes a photo in hand: the camera goes where it was taken, and its pictures are shown."""
        if index != self.index:
            self.index = index
            self.panel.photo.value = self.name
            self.show_choices(self._choices)
            self.panel.time.value = 0.5
            self.worker.submit("splats", self._show_splats, FLIGHT_S)
        camera = self.stage.camera(index)
        start, end = self._viewmat().double(), camera.viewmats[0].double()
        self.client.camera.fov = self._fitting_fov()
        for step in range(1, FLIGHT_STEPS + 1):
            share = torch.tensor(step / FLIGHT_STEPS).double()
            self.place(interpolate(start, end, share * share * (3 - 2 * share)))
            time.sleep(FLIGHT_S / FLIGHT_STEPS)
        self.worker.submit("photo", self._show_photo)

    def _fitting_fov(self) -> float:
        aspect = self.client.camera.image_width / max(self.client.camera.image_height, 1)
        return fitting_fov(self.stage.camera(self.index), aspect)

    def _viewmat(self) -> Tensor:
        return self.stage.display.viewmat(self.client.camera.wxyz, self.client.camera.position)

    def _film_camera(self) -> Cameras:
        camera = self.client.camera
        width = 2 * round(FILM_HEIGHT * camera.image_width / camera.image_height / 2)
        return screen_camera(self._viewmat(), camera.fov, width, FILM_HEIGHT)

    def place(self, viewmat: Tensor) -> None:
        """Puts the browser's camera somewhere."""
        wxyz, position = self.stage.display.pose(viewmat)
        with self.client.atomic():
            self.client.camera.wxyz = wxyz
            self.client.camera.position = position
        self.scenery.look_from(position)

    def _on_time(self) -> None:
        factor = self.panel.factor.value if self.panel.exposed.value == Exposed.EXAGGERATED else 1.0
        self.place(self.stage.path(self.index, torch.tensor([self.panel.time.value]), factor)[0])

    def _play(self) -> None:
        """Moves the camera as it moved while the photo in hand was taken, and back to the middle."""
        if not self._playing.acquire(blocking=False):
            return
        try:
            self.client.camera.fov = self._fitting_fov()
            for step in range(SWEEP_STEPS + 1):
                self.panel.time.value = round(0.5 - 0.5 * sin(2 * pi * step / SWEEP_STEPS), 3)
                self._on_time()
                time.sleep(SWEEP_S / SWEEP_STEPS)
        finally:
            self._playing.release()

    def _on_factor(self) -> None:
        self.worker.submit("paths", lambda: self.scenery.show_paths(self.stage, self.panel.factor.value), 0.1)
        if self.panel.exposed.value == Exposed.EXAGGERATED:
            self._on_time()

    def _on_exposed(self) -> None:
        self._refresh()
        if self.panel.time.value != 0.5:
            self._on_time()
        elif self.panel.exposed.value == Exposed.EXAGGERATED:  # which nothing shows while the camera stands still
            self._play()

    def _on_camera(self) -> None:
        self.scenery.look_from(self.client.camera.position)
        if self._is_drawn:
            self._draw_soon()

    # Our own renders

    def _draw_soon(self) -> None:
        self.worker.submit("draft", lambda: self._draw(DRAFT_PX))
        is_blurred = self.panel.exposed.value == Exposed.REBLURRED
        self.worker.submit("full", lambda: self._draw(MOST_BLURRED_PX if is_blurred else MOST_PX), REST_S)

    def _draw(self, most_px: int) -> None:
        camera = self.client.camera
        shrink = max(1.0, (camera.image_width * camera.image_height / most_px) ** 0.5)
        width, height = (max(16, round(side / shrink)) for side in (camera.image_width, camera.image_height))
        screen = screen_camera(self._viewmat(), camera.fov, width, height)
        look, exposed = Look(self.panel.look.value), Exposed(self.panel.exposed.value)
        picture = draw(self._shown, screen, self.index, look=look, exposed=exposed)
        self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=90)

    def _show_photo(self) -> None:
        stage, index = self.stage, self.index
        try:
            found = portrait(stage, index)
        except SplatDeblurError as error:
            found = Portrait((None,) * len(PICTURES), str(error))
        for handle, picture in zip(self.panel.pictures, found.pictures, strict=True):
            if picture is not None:
                handle.image = picture
            handle.visible = picture is not None
        self.panel.about.content = found.about
        if found.pictures[0] is not None:
            self.scenery.show_picture(index, stage.all_names[index], found.pictures[0])

"""Recording a camera path in the browser: views in, a preview, a file of cameras and a video out."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import torch
import viser
from jaxtyping import UInt8

from ..errors import SplatDeblurError
from ..geometry import Cameras
from ..poses.exports import save_cameras
from .film import write_video
from .pictures import draw
from .recorder import Route
from .stage import Stage

logger = logging.getLogger(__name__)

FPS, PREVIEW_FPS = 30, 12


def _is_new(path: Path) -> bool:
    """Whether there was no such file; there is one now."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Filming:
    """The controls of one browser's camera path."""

    def __init__(
        self, gui: viser.GuiApi, source: Path, lock: threading.Lock,
        *, here: Callable[[], Cameras], go: Callable[[torch.Tensor], None], stage: Callable[[], Stage],
    ) -> None:  # fmt: skip
        """Files go into the run folder `source`, or beside it if it is a scene file; `here` gives the view to record,
        `go` moves the browser's camera, `stage` is what a video shows, one frame at a time under `lock`."""
        self.route = Route()
        self._source, self._lock = source, lock
        self._folder = source.with_name(f"{source.name}-paths") if source.is_file() else source / "paths"
        self._here, self._go, self._stage = here, go, stage
        self._busy = threading.Lock()
        with gui.add_folder("Camera path", expand_by_default=False):
            self._about = gui.add_markdown("No view recorded yet.")
            self._seconds = gui.add_slider("seconds", 1, 60, 1, 6)
            add, clear = gui.add_button("add this view"), gui.add_button("start over")
            preview, save, film = (gui.add_button(label) for label in ("preview", "save", "render video"))
        add.on_click(lambda _: self._set(self.route.with_view(self._here())))
        clear.on_click(lambda _: self._set(Route()))
        for button, act in ((preview, self.preview), (save, self.save), (film, self.film)):
            button.on_click(lambda _, act=act: self._do(act))

    def _set(self, route: Route) -> None:
        self.route = route
        self._about.content = f"{len(route)} views recorded."

    def _do(self, act: Callable[[], str]) -> None:
        if not self._busy.acquire(blocking=False):
            return
        try:
            self._about.content = act()
        except SplatDeblurError as error:
            self._about.content = str(error)
        except OSError as error:
            self._about.content = f"nothing was written: {error}"
        finally:
            self._busy.release()

    def _cameras(self, fps: int) -> Cameras:
        return self.route.cameras(self._seconds.value * fps + 1)

    def preview(self) -> str:
        """Moves the browser's camera along the path; what to say then."""
        for viewmat in self._cameras(PREVIEW_FPS).viewmats:
            self._go(viewmat)
            time.sleep(1 / PREVIEW_FPS)
        return f"{len(self.route)} views recorded."

    @contextmanager
    def _file(self, suffix: str) -> Iterator[Path]:
        """A new, empty file in the folder, to be replaced; removed if that fails."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = next(path for number in count(1) if _is_new(path := self._folder / f"path-{number}{suffix}"))
        try:
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def save(self) -> str:
        """Writes the path as a file of cameras; what to say then."""
        cameras = self._cameras(FPS)
        with self._file(".json") as path:
            save_cameras(path, [f"{index:04d}.png" for index in range(len(cameras))], cameras)
        return f"saved; `splatdeblur render {self._source} --cameras {path} --out DIR` draws it."

    def film(self) -> str:
        """Renders the path as a video; what to say then."""
        cameras, stage = self._cameras(FPS), self._stage()

        def frames() -> Iterator[UInt8[np.ndarray, "height width 3"]]:
            for index in range(len(cameras)):
                self._about.content = f"frame {index + 1} of {len(cameras)}"
                with self._lock:
                    picture = draw(stage, cameras.at(index), 0)
                yield picture

        with self._file(".mp4") as path:
            drawn = write_video(path, frames(), fps=float(FPS))
        return f"{drawn} frames of {cameras.width}x{cameras.height}: {path}"

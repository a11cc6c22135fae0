"""The viewer: a server that shows a run to any number of browsers, and follows its training."""

import logging
import threading

import numpy as np
import viser
from jaxtyping import UInt8

from ..capture.choices import Choices, Use
from ..capture.pixels import eight_bit
from ..errors import SplatDeblurError
from ..run import Run
from .server import initial_camera, start_server, stop_server
from .session import Session
from .snapshots import Snapshots
from .stage import Stage

logger = logging.getLogger(__name__)

POLL_S = 1.0
THUMBNAIL_PX = 200  # longer side of the photos in their frustums


class Viewer:
    """Serves until stopped."""

    def __init__(
        self, run: Run, snapshots: Snapshots[Stage], *, host: str, port: int, drawn_as: str | None = None
    ) -> None:
        """Reads the run and starts the server; `drawn_as` as in `Session`.

        Raises:
            SplatDeblurError: the run cannot be read, or nobody can listen there.
        """
        self.host = host
        self._run, self._drawn_as = run, drawn_as
        self._snapshots = snapshots
        self._stage = snapshots.first()
        self._choices = Choices.load(run.choices)
        self._lock = threading.Lock()  # of renderers
        self._choosing = threading.Lock()  # while photos.json is read, changed and written
        self.sessions: dict[int, Session] = {}
        self._thumbnails: dict[str, UInt8[np.ndarray, "height width 3"]] = {}
        self._server = start_server(host, port, run.folder.resolve().name)
        self._stopped = threading.Event()
        initial_camera(self._server, self._stage, 0)
        self._server.on_client_connect(self._welcome)
        self._server.on_client_disconnect(self._part)

    @property
    def port(self) -> int:
        return self._server.get_port()

    def _welcome(self, client: viser.ClientHandle) -> None:
        session = Session(client, self._stage, self._run, self._lock, self.choose, self._drawn_as)
        self.sessions[client.client_id] = session
        if client.client_id not in self._server.get_clients():  # it has left meanwhile, and `_part` found no session
            self._part(client)
            return
        session.show_choices(self._choices)
        if session.stage is not self._stage:  # training went on meanwhile
            session.show(self._stage)
        for index, name in enumerate(session.stage.all_names):
            try:
                session.scenery.show_picture(index, name, self._thumbnail(session.stage, name))
            except SplatDeblurError as error:
                logger.warning("%s", error)

    def _thumbnail(self, stage: Stage, name: str) -> UInt8[np.ndarray, "height width 3"]:
        if name not in self._thumbnails:
            picture = stage.read_photo(name)
            step = max(1, max(picture.shape[:2]) // THUMBNAIL_PX)
            self._thumbnails[name] = eight_bit(picture[::step, ::step])
        return self._thumbnails[name]

    def choose(self, name: str, use: Use) -> None:
        """Notes in the run what a photo is for, and tells every browser."""
        with self._choosing:
            choices = Choices.load(self._run.choices).with_use(name, use)
            choices.save(self._run.choices)
            self._choices = choices
            for session in list(self.sessions.values()):
                session.show_choices(choices)

    def _part(self, client: viser.ClientHandle) -> None:
        session = self.sessions.pop(client.client_id, None)
        if session is not None:
            session.close()

    def follow(self) -> None:
        """Shows each newer state of the run until `stop`; returns then."""
        while not self._stopped.wait(POLL_S):
            stage = self._snapshots.poll()
            if stage is None:
                continue
            self._stage = stage
            for session in list(self.sessions.values()):
                session.show(stage)
                session.show_choices(self._choices)

    def stop(self) -> None:
        """Ends the server and `follow`."""
        self._stopped.set()
        for session in list(self.sessions.values()):
            session.close()
        stop_server(self._server)

"""The viewer: a server that shows a run to any number of browsers, and follows its training."""

import logging
import threading
from collections.abc import Callable

import viser

from .curves import vertical_fov
from .pictures import eight_bit
from .server import start_server
from .session import Session
from .snapshots import Snapshots
from .stage import Stage

logger = logging.getLogger(__name__)

POLL_S = 1.0
THUMBNAIL_PX = 200  # longer side of the photos in their frustums


class Viewer:
    """Serves until stopped."""

    def __init__(self, snapshots: Snapshots[Stage], *, host: str, port: int, label: str) -> None:
        """Reads the run and starts the server.

        Raises:
            SplatDeblurError: the run cannot be read, or nobody can listen there.
        """
        self.host = host
        self._snapshots = snapshots
        self._stage = snapshots.first()
        self._lock = threading.Lock()  # of renderers
        self.sessions: dict[int, Session] = {}
        self._server = start_server(host, port, label)
        self._stopped = threading.Event()
        self._point_initial_camera()
        self._server.on_client_connect(self._welcome)
        self._server.on_client_disconnect(self._part)

    @property
    def port(self) -> int:
        return self._server.get_port()

    def _point_initial_camera(self) -> None:
        camera = self._stage.camera(0)
        display = self._stage.display
        wxyz, position = display.pose(camera.viewmats[0])
        rotation = viser.transforms.SO3(wxyz).as_matrix()
        start = self._server.initial_camera
        start.position, start.look_at = tuple(position), tuple(position + rotation[:, 2])
        start.up, start.fov = tuple(-rotation[:, 1]), vertical_fov(camera)

    def _welcome(self, client: viser.ClientHandle) -> None:
        session = Session(client, self._stage, self._lock)
        self.sessions[client.client_id] = session
        self._hang_pictures(session)

    def _hang_pictures(self, session: Session) -> None:
        stage = session.stage
        for index, name in enumerate(stage.all_names):
            picture = stage.read_photo(name)
            step = max(1, max(picture.shape[:2]) // THUMBNAIL_PX)
            session.scenery.show_picture(index, name, eight_bit(picture[::step, ::step]))

    def _part(self, client: viser.ClientHandle) -> None:
        session = self.sessions.pop(client.client_id, None)
        if session is not None:
            session.close()

    def follow(self, on_new: Callable[[Stage], None] = lambda stage: None) -> None:
        """Shows each newer state of the run until `stop`; returns then."""
        while not self._stopped.wait(POLL_S):
            stage = self._snapshots.poll()
            if stage is None:
                continue
            self._stage = stage
            for session in list(self.sessions.values()):
                session.show(stage)
            on_new(stage)

    def stop(self) -> None:
        """Ends the server and `follow`."""
        self._stopped.set()
        for session in list(self.sessions.values()):
            session.close()
        self._server.stop()

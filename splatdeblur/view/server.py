"""A viser server that listens to its own pages only."""

import contextlib
import io
import socket
from collections.abc import Iterator
from http import HTTPStatus

import viser
import websockets.asyncio.server as websockets_server

from ..errors import BackendError
from .curves import vertical_fov
from .display import CAMERA_DISTANCE
from .origin import own_names, refusal
from .stage import Stage


@contextlib.contextmanager
def _guarded(bound_to: str) -> Iterator[list[bool]]:
    """While this lasts, servers that are started refuse requests as `refusal` says; viser has no setting for it.

    Yields a list that gets an entry for each server that was started so.
    """
    serve = websockets_server.serve
    names = own_names(bound_to)  # once: requests are answered by a loop that must not wait for the network
    started: list[bool] = []

    def serve_guarded(*args, process_request, **kwargs):
        def check(connection, request):
            is_websocket = request.headers.get("Upgrade", "").lower() == "websocket"
            origins, hosts = request.headers.get_all("Origin"), request.headers.get_all("Host")
            reason = refusal(
                hosts[0] if len(hosts) == 1 else None, origins[0] if len(origins) == 1 else None,
                is_websocket=is_websocket, names=names,
            )  # fmt: skip
            if reason is not None:
                return connection.respond(HTTPStatus.FORBIDDEN, f"{reason}\n")
            return process_request(connection, request)

        started.append(True)
        return serve(*args, process_request=check, **kwargs)

    websockets_server.serve = serve_guarded
    try:
        yield started
    finally:
        websockets_server.serve = serve


def _require_bindable(host: str, port: int) -> None:
    """viser would go on to the next ports without a word.

    Raises:
        BackendError: nobody can listen there.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise BackendError(
            f"cannot listen on {host}:{port} ({error}); another viewer may be open: take another --port, "
            "or 0 for any that is free"
        ) from error


def start_server(host: str, port: int, label: str) -> viser.ViserServer:
    """A running server; 0 picks a port.

    Raises:
        BackendError: the port cannot be had, or this viser cannot be guarded.
    """
    _require_bindable(host, port)
    with _guarded(host) as started, contextlib.redirect_stdout(io.StringIO()):  # viser prints a banner of its own
        server = viser.ViserServer(host=host, port=port, label=label, verbose=False)
    if not started:
        stop_server(server)
        raise BackendError(
            f"viser {viser.__version__} starts its server in a way that this program cannot guard against other "
            "web pages; install viser 1.1.1"
        )
    server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
    return server


def stop_server(server: viser.ViserServer) -> None:
    """Ends a server without a word."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def initial_camera(server: viser.ViserServer, stage: Stage, index: int) -> None:
    """Browsers that come open their eyes where a photo was taken."""
    camera = stage.camera(index)
    wxyz, position = stage.display.pose(camera.viewmats[0])
    rotation = viser.transforms.SO3(wxyz).as_matrix()
    start = server.initial_camera
    start.position, start.look_at = tuple(position), tuple(position + CAMERA_DISTANCE * rotation[:, 2])
    start.up, start.fov = tuple(-rotation[:, 1]), vertical_fov(camera)

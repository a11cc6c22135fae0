"""A page to share: one HTML file with the scene in it, which opens without a server or a network."""

from pathlib import Path

from ..run import atomic_write
from .scenery import Scenery
from .server import initial_camera, start_server, stop_server
from .stage import Stage


def write_page(stage: Stage, path: Path, *, index: int = 0) -> None:
    """Writes the page, whole or not at all.

    viser's page knows no view-dependent colours: each Gaussian has the one that it shows towards the camera of photo
    `index`, where the page opens. Opened from a file, browsers forbid it the thread that sorts, so the Gaussians are
    stored in the order that is right from there; from behind, far ones may shine through near ones.

    Raises:
        BackendError: viser cannot be started.
    """
    server = start_server("127.0.0.1", 0, path.stem)
    try:
        initial_camera(server, stage, index)
        Scenery(server.scene).show_splats(stage.splats(index, is_sorted=True))
        html = server.scene.as_html()
    finally:
        stop_server(server)
    with atomic_write(path) as temporary:
        temporary.write_text(html, encoding="utf-8")

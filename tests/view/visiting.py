"""A client that speaks viser's protocol and draws nothing."""

import asyncio
import threading

import msgspec
import pytest

viser = pytest.importorskip("viser", reason="the extra `view` is not installed")
websockets = pytest.importorskip("websockets")

from view.served import is_at, wait_for  # noqa: E402

WIDTH, HEIGHT = 150, 100


class Visitor:
    """A browser without eyes."""

    def __init__(self, viewer, position=(0, -4, 0)):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        known = set(viewer.sessions)
        url = f"127.0.0.1:{viewer.port}"
        self._connection = self._do(self._connect(url))
        self._send(
            type="ViewerCameraMessage", wxyz=(1, 0, 0, 0), position=position, fov=1.0, near=0.01, far=1000.0,
            image_height=HEIGHT, image_width=WIDTH, look_at=(0, 0, 0), up_direction=(0, 0, 1),
        )  # fmt: skip
        (new,) = wait_for(lambda: set(viewer.sessions) - known)
        self.session = viewer.sessions[new]
        self.panel = self.session.panel

    async def _connect(self, url):
        connection = await websockets.connect(
            f"ws://{url}", origin=f"http://{url}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None
        )
        self._drain = asyncio.create_task(self._forget(connection))
        return connection

    async def _forget(self, connection):
        async for _ in connection:
            pass

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def _send(self, **message):
        self._do(self._connection.send(msgspec.msgpack.encode(message)))

    def change(self, control, value):
        """As a hand would."""
        self._send(type="GuiUpdateMessage", uuid=control._impl.uuid, updates={"value": value})

    def click(self, name):
        """On a frustum."""
        self._send(
            type="SceneNodeClickMessage", name=name, instance_index=None, ray_origin=(0, 0, 0),
            ray_direction=(0, 0, 1), screen_pos=(0.5, 0.5), modifier=None, owner=str(self.session.client.client_id),
        )  # fmt: skip

    def is_at(self, viewmat):
        return is_at(self.session, viewmat)

    def leave(self):
        self._do(self._connection.close())

"""Only pages of the viewer's own may control it."""

import socket

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from splatdeblur.view.origin import is_loopback, own_names, refusal

viser = pytest.importorskip("viser", reason="the extra `view` is not installed")

from splatdeblur.errors import BackendError  # noqa: E402
from splatdeblur.view.server import start_server  # noqa: E402


@pytest.mark.parametrize(
    ("host", "origin", "bound_to", "is_welcome"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1", True),
        ("localhost:8080", "http://localhost:8080", "127.0.0.1", True),
        ("[::1]:8080", "http://[::1]:8080", "::1", True),
        ("localhost:9000", "http://localhost:9000", "127.0.0.1", True),  # through a tunnel with another port
        ("192.168.1.5:8080", "http://192.168.1.5:8080", "0.0.0.0", True),
        ("127.0.0.1:8080", "http://evil.example", "127.0.0.1", False),
        ("127.0.0.1:8080", "http://127.0.0.1:9000", "127.0.0.1", False),  # another server of this machine
        ("127.0.0.1:8080", "null", "127.0.0.1", False),  # a file, or a sandboxed frame
        ("127.0.0.1:8080", None, "127.0.0.1", False),
        ("evil.example:8080", "http://evil.example:8080", "127.0.0.1", False),  # its name was made to point here
        ("evil.example:8080", "http://evil.example:8080", "0.0.0.0", False),
        ("192.168.1.5:8080", "http://192.168.1.5:8080", "127.0.0.1", False),
        (None, "http://127.0.0.1:8080", "127.0.0.1", False),
        ("", "http://", "127.0.0.1", False),
        ("[", "http://[", "127.0.0.1", False),
    ],
)
def test_who_may_control_the_viewer(host, origin, bound_to, is_welcome):
    reason = refusal(host, origin, is_websocket=True, names=own_names(bound_to))
    assert (reason is None) == is_welcome, reason


def test_pages_are_for_anyone_who_knows_the_address():
    assert refusal("127.0.0.1:8080", None, is_websocket=False, names=frozenset()) is None
    assert refusal("evil.example", None, is_websocket=False, names=frozenset()) is not None


def test_other_machines_may_say_this_machines_name():
    name = socket.gethostname()
    for bound_to, is_welcome in (("0.0.0.0", True), ("127.0.0.1", name == "localhost")):
        reason = refusal(name, f"http://{name}", is_websocket=True, names=own_names(bound_to))
        assert (reason is None) == is_welcome, reason


def test_which_addresses_stay_on_this_machine():
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "host.example")))


@pytest.fixture(scope="module")
def server():
    server = start_server("127.0.0.1", 0, "test")
    yield server
    server.stop()


def shake_hands(server, origin):
    uri = f"ws://127.0.0.1:{server.get_port()}"
    with connect(uri, origin=origin, subprotocols=[f"viser-v{viser.__version__}"]) as connection:
        return connection.recv(timeout=5)


def test_the_server_answers_its_own_pages_alone(server):
    assert shake_hands(server, f"http://127.0.0.1:{server.get_port()}")
    for origin in ("http://evil.example", "null", None):
        with pytest.raises(InvalidStatus, match="403"):
            shake_hands(server, origin)


def test_requests_do_not_wait_for_the_network(server, monkeypatch):
    asked = []
    monkeypatch.setattr(socket, "getfqdn", lambda: asked.append(1) or "host.example")
    assert shake_hands(server, f"http://127.0.0.1:{server.get_port()}") and not asked
    assert own_names("127.0.0.1") == frozenset() and not asked
    assert "host.example" in own_names("0.0.0.0")


def test_a_port_that_is_taken_is_an_error(server):
    with pytest.raises(BackendError, match="another --port"):
        start_server("127.0.0.1", server.get_port(), "test")

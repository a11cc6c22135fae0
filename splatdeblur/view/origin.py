"""Who may talk to the viewer's server: a browser's page that this server sent itself, under a name that is ours."""

import ipaddress
import socket
from urllib.parse import urlsplit


def _hostname(netloc: str) -> str | None:
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None


def _is_local(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server bound to `host` can be reached from this machine alone."""
    return _is_local(host)


def own_names(bound_to: str) -> frozenset[str]:
    """The names under which other machines reach a server bound to this address; none if none of them can.

    Asks the network for this machine's full name, which may take seconds.
    """
    if is_loopback(bound_to):
        return frozenset()
    return frozenset(name.lower() for name in (bound_to, socket.gethostname(), socket.getfqdn()))


def refusal(host: str | None, origin: str | None, *, is_websocket: bool, names: frozenset[str]) -> str | None:
    """Why a request is refused, in a sentence; None if it is welcome.

    A page of another site can open a connection to a server on this machine, but its browser says so in `Origin`;
    and a site whose name was made to point here (DNS rebinding) is betrayed by its name in `Host`.

    Args:
        host, origin: the request's headers of these names.
        is_websocket: whether it asks for the connection that controls the viewer; pages and scripts are for anyone.
        names: the server's `own_names`.
    """
    name = _hostname(host or "")
    if not name:
        return "the request does not say which host it is for"
    is_ours_to_others = bool(names) and (_is_address(name) or name in names)
    if not (_is_local(name) or is_ours_to_others):
        return f"this server is not known as {name}; open it under the address that it printed"
    if not is_websocket:
        return None
    if (origin or "").lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return f"pages of {origin or 'an unknown origin'} may not control this viewer"
    return None

"""The socket a component serves on: inherited from the supervisor, or bound here.

Locally the supervisor binds port 0 and hands the listening socket down, so that no port is fixed, none can be taken
between choosing and binding, and a restarted component keeps its address. In a cluster the address is given.
"""

from __future__ import annotations

import os
import socket

LISTEN_FD_VARIABLE = "PRORL_LISTEN_FD"
"""Environment variable naming the inherited listening socket."""
LISTEN_ADDRESS_VARIABLE = "PRORL_LISTEN_ADDRESS"
"""Environment variable `host:port` to bind when no socket is inherited; `:port` is every address of the machine."""


def listening_socket() -> socket.socket:
    """Return the socket to serve on.

    Raises:
        OSError: The address is taken or not ours; the message names it and the variable to change.
    """
    text = os.environ.pop(LISTEN_FD_VARIABLE, None)
    if text is not None:
        inherited = socket.socket(fileno=int(text))
        inherited.set_inheritable(False)
        return inherited
    host, _, port = os.environ.get(LISTEN_ADDRESS_VARIABLE, "127.0.0.1:0").rpartition(":")
    return bind(host, int(port))


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket on `host:port`; port 0 picks a free one.

    Args:
        host: Name or address; an IPv6 address may stand in brackets. Empty: every address, of IPv4 and IPv6 where the
            machine has both, since a cluster may give its pods either.
        port: TCP port.
    """
    address = (host.strip("[]"), port)
    try:
        if not host and socket.has_dualstack_ipv6():
            return socket.create_server(address, family=socket.AF_INET6, backlog=2048, dualstack_ipv6=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot listen on {host}:{port} ({error.strerror}); free the port or set {LISTEN_ADDRESS_VARIABLE}",
        ) from error


def address_of(listening: socket.socket) -> str:
    """`host:port` of a bound socket, an IPv6 address in brackets."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def advertised_url(text: str | None) -> str | None:
    """Return the base URL in a variable, without a trailing slash; None if there is none.

    A bare IPv6 address is put into brackets: a pod's template writes `http://$(IP):8000` and cannot know the family.
    """
    if not text:
        return None
    scheme, separator, rest = text.rstrip("/").partition("://")
    host, colon, port = rest.rpartition(":")
    return f"{scheme}{separator}[{host}]{colon}{port}" if ":" in host and not host.startswith("[") else text.rstrip("/")

"""The socket that callers reach the hub at, opened by whoever outlives the gateways that accept from it."""

from __future__ import annotations

import socket

from hub.settings import InvalidSettings

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; with port 0 the system chooses. InvalidSettings when the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidSettings(f"HUB_HTTP_PORT: cannot listen on {host}:{port} ({reason})") from None
    return listener

"""The other end of a connection."""

import socket
from dataclasses import dataclass

__all__ = ["UNIX", "UNKNOWN", "Peer", "at_the_end_of"]

# What stands for an address where there is none: whoever comes by a socket in the file system is on this machine.
UNIX = "unix:"
# Where a proxy does not say, or not so that it can be read.
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Peer:
    """``host`` is an IP address, UNIX, or UNKNOWN. ``with_tls`` is whether a proxy said that its client came by TLS."""

    host: str
    port: int
    with_tls: bool | None = None

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def at_the_end_of(connection: socket.socket) -> Peer:
    """Give the peer of a socket. Raises OSError where it has gone."""
    if connection.family == socket.AF_UNIX:
        return Peer(UNIX, 0)
    host, port, *_ = connection.getpeername()
    return Peer(str(host), int(port))

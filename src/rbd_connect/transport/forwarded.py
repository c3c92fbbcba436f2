"""What proxies say in headers of those they speak for: X-Forwarded-For with X-Forwarded-Proto, or Forwarded.

https://www.rfc-editor.org/rfc/rfc7239
"""

import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Literal

from .peer import UNKNOWN, Peer

__all__ = ["Forwarding", "read"]

# A chain that is longer is nobody's.
_MOST_HOPS = 16

Values = Callable[[str], Sequence[str]]
# Who came to each proxy, the nearest last; and whether all say that it was by TLS, or None where nobody says anything.
Forwarding = tuple[list[Peer], bool | None]

# An address, with or without a port; IPv6 is in brackets where there is one (section 6).
_NODE = re.compile(
    r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::(?P<six_port>\d{1,5}))?|(?P<four>[0-9.]+)(?::(?P<four_port>\d{1,5}))?"
)
_PAIR = re.compile(r"\s*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"(?P<quoted>[^\"\\]*)\"|(?P<token>[^\s\";,]*))\s*")


def read(header: Literal["x-forwarded-for", "forwarded"], values: Values) -> Forwarding:
    """Read the headers of a request. ``values`` gives those of a name, in the order in which they came."""
    return _forwarded(values("forwarded")) if header == "forwarded" else _x_forwarded(values)


def _x_forwarded(values: Values) -> Forwarding:
    nodes = ",".join(values("x-forwarded-for")).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]
    schemes = ",".join(values("x-forwarded-proto")).rpartition(",")[2].strip().lower()
    return [_peer(node.strip()) for node in nodes if node.strip()], schemes == "https" if schemes else None


def _forwarded(values: Sequence[str]) -> Forwarding:
    peers: list[Peer] = []
    by_tls: bool | None = None
    for element in ",".join(values).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]:
        if not element.strip():
            continue
        pairs = {}
        for part in element.split(";"):
            match = _PAIR.fullmatch(part)
            if match is not None:
                pairs[match["name"].lower()] = match["quoted"] if match["token"] is None else match["token"]
        peers.append(_peer(pairs.get("for", "")))
        if "proto" in pairs:
            by_tls = by_tls is not False and pairs["proto"].lower() == "https"
    return peers, by_tls


def _peer(node: str) -> Peer:
    """Read an address; also one of IPv6 without brackets, as X-Forwarded-For has it."""
    match = _NODE.fullmatch(node)
    host, port = node, "0"
    if match is not None:
        host = match["six"] or match["four"]
        port = match["six_port"] or match["four_port"] or "0"
    try:
        return Peer(str(ip_address(host)), int(port))
    except ValueError:
        return Peer(UNKNOWN, 0)

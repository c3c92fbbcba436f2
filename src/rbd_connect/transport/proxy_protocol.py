"""The PROXY protocol: what a proxy sends before all else, to say who its client is.

https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt
"""

import socket
from ipaddress import ip_address

from rbd_connect.transport.http.awaiting import readable

from .peer import UNKNOWN, Peer

__all__ = ["read_header"]

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD_BYTES = len(_SIGNATURE) + 4
_LEAST_BYTES = len(b"PROXY UNKNOWN\r\n")
_MOST_LINE_BYTES = 107
# What follows the addresses says more of the connection, and is a few hundred bytes at the most.
_MOST_REST_BYTES = 4096
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}
_TYPE_SSL = 0x20
_CLIENT_SSL = 0x01
_TLV_HEAD_BYTES = 3


async def read_header(connection: socket.socket) -> Peer | None:
    """Read what comes before all else. Give the client, or None where the proxy speaks for itself.

    A client that the proxy does not know is UNKNOWN. Raises ConnectionError where it is not of the protocol.
    """
    await readable(connection, _LEAST_BYTES)
    if connection.recv(len(_SIGNATURE), socket.MSG_PEEK) == _SIGNATURE:
        return await _read_binary(connection)
    return await _read_line(connection)


async def _read_line(connection: socket.socket) -> Peer:
    """Version 1. Nothing is taken of what follows the line."""
    received = b""
    while b"\n" not in received:
        await readable(connection, len(received) + 1)
        more = connection.recv(_MOST_LINE_BYTES, socket.MSG_PEEK)
        is_complete = b"\n" in more
        if not more.startswith(b"PROXY ") or (not is_complete and len(more) in {len(received), _MOST_LINE_BYTES}):
            raise ConnectionError("no line of the PROXY protocol")
        received = more
    line = connection.recv(received.index(b"\n") + 1)
    words = line.decode("ascii", "replace").removesuffix("\r\n").split(" ")
    try:
        _, family, source, _, port, _ = words
        if family in {"TCP4", "TCP6"}:
            return Peer(str(ip_address(source)), int(port))
    except ValueError:
        if words[1] != "UNKNOWN":
            raise ConnectionError("a line that is not of the PROXY protocol") from None
    return Peer(UNKNOWN, 0)


async def _read_binary(connection: socket.socket) -> Peer | None:
    """Version 2."""
    await readable(connection, _HEAD_BYTES)
    head = connection.recv(_HEAD_BYTES, socket.MSG_PEEK)
    length = int.from_bytes(head[14:])
    if len(head) < _HEAD_BYTES or length > _MOST_REST_BYTES:
        raise ConnectionError("a header of the PROXY protocol that is cut short, or too long")
    await readable(connection, _HEAD_BYTES + length)
    rest = connection.recv(_HEAD_BYTES + length)[_HEAD_BYTES:]
    command, family = head[12], head[13]
    if len(rest) < length or command not in {_LOCAL, _PROXY}:
        raise ConnectionError("a header that is not of the PROXY protocol")
    if command == _LOCAL:
        return None
    size = _ADDRESS_BYTES.get(family)
    if size is None:
        return Peer(UNKNOWN, 0)
    if length < 2 * size + 4:
        raise ConnectionError("a header of the PROXY protocol without its addresses")
    port = int.from_bytes(rest[2 * size : 2 * size + 2])
    return Peer(str(ip_address(rest[:size])), port, _by_tls(rest[2 * size + 4 :]))


def _by_tls(more: bytes) -> bool | None:
    """Say whether the client came to the proxy by TLS; None where the proxy does not say."""
    while len(more) > _TLV_HEAD_BYTES:
        length = int.from_bytes(more[1:_TLV_HEAD_BYTES])
        value = more[_TLV_HEAD_BYTES : _TLV_HEAD_BYTES + length]
        if more[0] == _TYPE_SSL and value:
            return bool(value[0] & _CLIENT_SSL)
        more = more[_TLV_HEAD_BYTES + length :]
    return None

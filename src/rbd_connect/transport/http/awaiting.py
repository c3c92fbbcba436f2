"""Waiting for bytes on a socket that is nobody's yet, without taking any of them."""

import asyncio
import socket

__all__ = ["first_record", "readable"]

_RECORD_HEAD_BYTES = 5
_HANDSHAKE_RECORD = b"\x16"
_MOST_RECORD_BYTES = 16 * 1024


async def readable(connection: socket.socket, number: int) -> None:
    """Return when so many bytes have come, or the client has ended."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, number)
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, note)
    try:
        await ready
    finally:
        loop.remove_reader(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


async def first_record(connection: socket.socket) -> None:
    """Return when the first record of TLS has come as a whole, or what is none.

    https://www.rfc-editor.org/rfc/rfc8446#section-5.1
    """
    await readable(connection, _RECORD_HEAD_BYTES)
    head = connection.recv(_RECORD_HEAD_BYTES, socket.MSG_PEEK)
    length = int.from_bytes(head[3:])
    if head.startswith(_HANDSHAKE_RECORD) and length <= _MOST_RECORD_BYTES:
        await readable(connection, _RECORD_HEAD_BYTES + length)

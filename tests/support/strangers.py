"""Calls with tokens that are none, as fast as a server takes them."""

import asyncio
import secrets
from collections import Counter

from .server import PROCEDURE, Server

__all__ = ["flood"]

_BODY = b'{"scope":"test","poolName":"rbd","imageName":"nowhere","snapshotName":"s"}'


async def flood(server: Server, calls: int, connections: int) -> Counter[bytes]:
    """Make so many calls, each with a token of its own, and count what they are answered by their status line."""
    shares = [calls // connections] * connections
    counted = await asyncio.gather(*(_calls(server, share) for share in shares))
    return sum(counted, Counter())


async def _calls(server: Server, number: int) -> Counter[bytes]:
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answers: Counter[bytes] = Counter()
    for _ in range(number):
        writer.write(
            b"POST /%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnect-Protocol-Version: 1\r\n"
            b"Authorization: Bearer rbdc_%b\r\nContent-Length: %d\r\n\r\n%b"
            % (PROCEDURE.encode(), secrets.token_urlsafe(32).encode(), len(_BODY), _BODY)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        status, *headers = head.lower().split(b"\r\n")
        (length,) = [int(header[15:]) for header in headers if header.startswith(b"content-length:")]
        await reader.readexactly(length)
        answers[status] += 1
    writer.close()
    return answers

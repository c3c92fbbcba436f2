"""The connections of this process to daemons: the kernel is told to give them up when nobody acknowledges any more.

After a network was cut, TCP waits twice as long each time before it sends anew what was lost, in the end two minutes.
librados never looks at that for OSDs; but where a connection fails it opens another at once, and sends again what was
not answered.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["TcpTimeouts"]

_UNACKNOWLEDGED_MILLISECONDS = 4000
_PERIOD_SECONDS = 1.0
_DESCRIPTORS = Path("/proc/self/fd")


class TcpTimeouts:
    """The TCP sockets that librados opens, which has no option for this. For one thread."""

    def __init__(self) -> None:
        self._known: set[tuple[int, Path]] = set()
        self._looked = float("-inf")

    def review(self) -> None:
        """Call this at least each second. Sets TCP_USER_TIMEOUT (RFC 5482) on what was opened since."""
        if time.monotonic() - self._looked < _PERIOD_SECONDS:
            return
        self._looked = time.monotonic()
        found = set(_sockets())
        for descriptor, _ in found - self._known:
            _limit(descriptor)
        self._known = found


def _sockets() -> Iterator[tuple[int, Path]]:
    """Give each socket's descriptor, with what tells it from another that has the same later."""
    for entry in _DESCRIPTORS.iterdir():
        with suppress(OSError):  # closed meanwhile
            target = entry.readlink()
            if target.name.startswith("socket:"):
                yield int(entry.name), target


def _limit(descriptor: int) -> None:
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as opened:  # it may be closed meanwhile
        if opened.family in {socket.AF_INET, socket.AF_INET6} and opened.type == socket.SOCK_STREAM:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MILLISECONDS)

"""What a worker and its server say to each other: pickles on a socket that only they have, each behind its length."""

import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbd_connect.common.call_context import Spent
from rbd_connect.config.cluster import ClusterConfig

__all__ = ["Call", "Connected", "Decoder", "Init", "Ping", "Pong", "Result", "WorkerCrashError", "encode"]

_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Init:
    """What a worker is told first: its cluster, and how many calls there will be at a time.

    ``admin_socket`` is where librados may make its admin socket. The server removes it when the process has ended.
    """

    config: ClusterConfig
    threads: int
    admin_socket: Path | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call to make: the name of one of ``Operations``, and what it is called with."""

    number: int
    request_id: str
    operation: str
    arguments: tuple[Any, ...]


class WorkerCrashError(Exception):
    """A call raised what nobody foresaw. Its text is the traceback in the worker."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a call ended, where its time went, and whether it may have changed anything.

    ``error`` is what it raised, if that is for its caller; ``crash`` is the traceback of anything else.
    """

    number: int
    spent: Spent
    changes: bool
    result: Any
    error: Exception | None
    crash: str | None

    @property
    def failure(self) -> Exception | None:
        """What to raise for it."""
        return self.error if self.crash is None else WorkerCrashError(self.crash)


@dataclass(frozen=True, slots=True)
class Connected:
    """The worker has connected, and Ceph knows it by this address (``rados_getaddrs``)."""

    address: str


@dataclass(frozen=True, slots=True)
class Ping:
    """The server wants to know whether librados can be asked anything at all."""


@dataclass(frozen=True, slots=True)
class Pong:
    """It can. ``is_stale`` says whether what the worker connected by is another by now.

    ``spent`` says, by the number of each call under way, where its time has gone so far.
    """

    is_stale: bool
    spent: dict[int, Spent]


def encode(message: object) -> bytes:
    content = pickle.dumps(message)
    return _LENGTH.pack(len(content)) + content


class Decoder:
    """Messages out of bytes as they come."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Give the messages that are complete with these bytes."""
        self._received += data
        while len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            end = _LENGTH.size + length
            if len(self._received) < end:
                return
            content = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            yield pickle.loads(content)  # noqa: S301 - nobody else has the socket

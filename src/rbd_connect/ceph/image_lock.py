"""One change of an image at a time, across servers: librados' advisory lock on the image's header object.

librbd lets every one of several clients that create the same snapshot at once succeed. Among servers, here, one does.
The lock binds nobody else; Ceph's own tools and a running VM's exclusive lock have nothing to do with it.

The bindings cannot unlock without waiting, nor say who has a lock, nor break it; so what the OSD's class lock takes is
encoded here (src/cls/lock/cls_lock_ops.h).
"""

import logging
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import uuid4

import rados
import rbd
from connectrpc.code import Code

from ..backoff import pauses
from ..errors import TryLaterError
from ..progress import phase

__all__ = ["ImageLock"]

# A server that dies keeps others out for so long; a change that takes longer is no longer alone.
_LEASE_SECONDS = 30

# What a dead one sent last, an OSD that has to wait for the monitor may do seconds later.
_PATIENCE_SECONDS = _LEASE_SECONDS + 10

_LOOK_SECONDS = 0.25  # how often who has it is looked at

_NAME = "rbd-connect"
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05

# LIBRADOS_OPERATION_FULL_TRY, which the bindings lack: where there is no space, a lock can be let go nevertheless.
_FULL_TRY = 64

_STRUCT = struct.Struct("<BBI")  # version, the oldest that can read it, bytes that follow
_COUNT = struct.Struct("<I")
_ENTITY = struct.Struct("<BQ")  # entity_name_t
_CLIENT = 8  # CEPH_ENTITY_TYPE_CLIENT

_log = logging.getLogger(__name__)


class ImageLock:
    """The lock (``rados_lock_exclusive``) on an image. At the end it has been let go, if it was taken."""

    def __init__(self, ioctx: rados.Ioctx) -> None:
        self._ioctx = ioctx
        self._cookie = uuid4().hex
        self._header: str | None = None
        self._letting_go: rados.Completion | None = None

    def take(self, image: rbd.Image, name: str) -> None:
        """Wait for the lock on an image.

        Raises TryLaterError where others have it for longer than a lease, and what the bindings raise.
        """
        self._header = f"{name}.rbd" if image.old_format() else f"rbd_header.{image.id()}"
        with phase("lock"):
            self._wait_for(image, self._header)

    def let_go(self) -> None:
        """Begin to let it go. What follows need not wait for that."""
        if self._header is not None and self._letting_go is None:
            operation = _struct(_string(_NAME), _string(self._cookie))  # cls_lock_unlock_op
            with _change("unlock", operation) as change:
                self._letting_go = self._ioctx.operate_aio_write_op(change, self._header, flags=_FULL_TRY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Whatever it fails with, the lease ends by itself.
        with phase("unlock"), suppress(rados.Error):
            self.let_go()
            if self._letting_go is not None:
                self._letting_go.wait_for_complete()

    def _wait_for(self, image: rbd.Image, header: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        look = time.monotonic() + _LOOK_SECONDS
        for pause in pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS):
            try:
                self._ioctx.lock_exclusive(header, _NAME, self._cookie, "a change by rbd-connect", _LEASE_SECONDS, 0)
            except rados.ObjectBusy:
                if time.monotonic() > deadline:
                    raise TryLaterError(
                        Code.UNAVAILABLE, "IMAGE_LOCKED", "Another server is at a change of the image.", seconds=5
                    ) from None
            else:
                return
            if time.monotonic() > look:
                self._break_if_abandoned(image, header)
                look = time.monotonic() + _LOOK_SECONDS
            time.sleep(pause)

    def _break_if_abandoned(self, image: rbd.Image, header: str) -> None:
        """Break the lock where who has it has the image open no longer.

        So it is with a client that was blocklisted, or has been gone for as long as Ceph waits for a watcher (30 s).
        """
        holder = _Holder.read(self._ioctx.execute(header, "lock", "get_info", _struct(_string(_NAME)))[1])
        if holder is not None and holder.client not in {watcher["id"] for watcher in image.watchers_list()}:
            _log.warning("breaking the lock of client.%d on %s, which it has open no longer", holder.client, header)
            with suppress(rados.ObjectNotFound), _change("break_lock", holder.operation_to_break(_NAME)) as change:
                self._ioctx.operate_write_op(change, header, flags=_FULL_TRY)


@contextmanager
def _change(method: str, operation: bytes) -> Iterator[rados.WriteOp]:
    """Have class lock change an object.

    By ``rados_exec`` it would be a read to the client, which does not send again what an OSD without space let fall.
    """
    with rados.WriteOpCtx() as change:
        change.execute("lock", method, operation)
        yield change


@dataclass(frozen=True, slots=True)
class _Holder:
    """Who has a lock: the number of a RADOS client, and the cookie that it chose."""

    client: int
    cookie: bytes

    @classmethod
    def read(cls, reply: bytes) -> "_Holder | None":
        """Read the first holder of a cls_lock_get_info_reply, which has them by locker_id_t."""
        (number,) = _COUNT.unpack_from(reply, _STRUCT.size)
        if not number:
            return None
        place = _STRUCT.size + _COUNT.size + _STRUCT.size
        _, client = _ENTITY.unpack_from(reply, place)
        (length,) = _COUNT.unpack_from(reply, place + _ENTITY.size)
        start = place + _ENTITY.size + _COUNT.size
        return cls(client, reply[start : start + length])

    def operation_to_break(self, name: str) -> bytes:
        """Encode a cls_lock_break_op."""
        return _struct(_string(name), _ENTITY.pack(_CLIENT, self.client), _COUNT.pack(len(self.cookie)), self.cookie)


def _struct(*parts: bytes) -> bytes:
    """Encode what ENCODE_START(1, 1) begins (src/include/encoding.h)."""
    content = b"".join(parts)
    return _STRUCT.pack(1, 1, len(content)) + content


def _string(text: str) -> bytes:
    return _COUNT.pack(len(text)) + text.encode()

"""One change of an image at a time, across servers: librados' advisory lock on the image's header object.

librbd lets every one of several clients that create the same snapshot at once succeed. Among servers, here, one does.
The lock binds nobody else; Ceph's own tools and a running VM's exclusive lock have nothing to do with it.
"""

import struct
import time
from contextlib import suppress
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

_NAME = "rbd-connect"
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05


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
            self._wait_for(self._header)

    def let_go(self) -> None:
        """Begin to let it go. What follows need not wait for that."""
        if self._header is not None and self._letting_go is None:
            operation = _encoded(_NAME, self._cookie)
            self._letting_go = self._ioctx.aio_execute(self._header, "lock", "unlock", operation)

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

    def _wait_for(self, header: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
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
            time.sleep(pause)


def _encoded(name: str, cookie: str) -> bytes:
    """Encode cls_lock_unlock_op (src/cls/lock/cls_lock_ops.h), for the binding cannot unlock without waiting."""
    content = b"".join(struct.pack("<I", len(text)) + text.encode() for text in (name, cookie))
    return struct.pack("<BBI", 1, 1, len(content)) + content

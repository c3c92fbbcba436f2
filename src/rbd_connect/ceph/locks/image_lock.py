"""One change of an image at a time, across servers: librados' advisory lock on the image's header object.

librbd lets every one of several clients that create the same snapshot at once succeed. Among servers, here, one does.
The lock binds nobody else; Ceph's own tools and a running VM's exclusive lock have nothing to do with it.
"""

from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self

import rados
import rbd
from connectrpc.code import Code

from rbd_connect.ceph.objects.object_lock import ObjectLock
from rbd_connect.common.call_context import phase
from rbd_connect.common.periodic_timer import periodically
from rbd_connect.model.errors import RetryableError

__all__ = ["LOCK_NAME", "ImageLock", "locked_elsewhere"]

LOCK_NAME = "rbd-connect"

# A server that dies keeps others out for so long; one that lives asks for as long again, however long a change takes.
_LEASE_SECONDS = 30
_RENEWAL_SECONDS = 10.0

# What a dead one sent last, an OSD that has to wait for the monitor may do seconds later.
_PATIENCE_SECONDS = _LEASE_SECONDS + 10


class ImageLock:
    """The lock on an image. At the end it has been let go, if it was taken."""

    def __init__(self, ioctx: rados.Ioctx) -> None:
        self._ioctx = ioctx
        self._lock: ObjectLock | None = None
        self._renewing = ExitStack()

    def take(self, image: rbd.Image, name: str) -> None:
        """Wait for the lock on an image.

        Raises RetryableError where others do not let go of it, and what the bindings raise.
        """
        header = f"{name}.rbd" if image.old_format() else f"rbd_header.{image.id()}"
        self._lock = ObjectLock(self._ioctx, header, LOCK_NAME, seconds=_LEASE_SECONDS)

        def is_gone(client: int) -> bool:
            """Say whether a holder has the image open no longer.

            So it is with one that was blocklisted, or has been gone for as long as Ceph waits for a watcher (30 s).
            """
            return client not in {watcher["id"] for watcher in image.watchers_list()}

        with phase("lock"):
            if not self._lock.take(_PATIENCE_SECONDS, is_gone):
                raise locked_elsewhere()
        self._renewing.enter_context(periodically(_RENEWAL_SECONDS, self._lock.renew))

    def let_go(self) -> None:
        """Begin to let it go. What follows need not wait for that."""
        if self._lock is not None:
            self._renewing.close()
            self._lock.let_go()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._renewing.close()
        # Whatever it fails with, the lease ends by itself.
        with phase("unlock"), suppress(rados.Error):
            if self._lock is not None:
                self._lock.wait_until_let_go()


def locked_elsewhere() -> RetryableError:
    """Give what is told where another server does not let go of a lock."""
    return RetryableError(Code.UNAVAILABLE, "IMAGE_LOCKED", "Another server is at a change of the image.")

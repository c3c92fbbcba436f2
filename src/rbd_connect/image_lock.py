"""One change of an image at a time, across servers: librados' advisory lock on the image's header object.

librbd lets every one of several clients that create the same snapshot at once succeed. Among servers, here, one does.
The lock binds nobody else; Ceph's own tools and a running VM's exclusive lock have nothing to do with it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import rados
import rbd
from connectrpc.code import Code

from .errors import TryLaterError
from .progress import phase

__all__ = ["LEASE_SECONDS", "alone"]

# A server that dies keeps others out for so long; a change that takes longer is no longer alone.
LEASE_SECONDS = 30

_NAME = "rbd-connect"
_FIRST_PAUSE_SECONDS = 0.002
_LONGEST_PAUSE_SECONDS = 0.05


@contextmanager
def alone(ioctx: rados.Ioctx, image: rbd.Image, name: str) -> Iterator[None]:
    """Hold the lock (``rados_lock_exclusive``) on an image, and let it go.

    Raises TryLaterError where others have it for longer than a lease, and what the bindings raise.
    """
    header = f"{name}.rbd" if image.old_format() else f"rbd_header.{image.id()}"
    cookie = uuid4().hex
    with phase("lock"):
        _take(ioctx, header, cookie)
    try:
        yield
    finally:
        # Whatever it fails with, the lease ends by itself.
        with phase("unlock"), suppress(rados.Error):
            ioctx.unlock(header, _NAME, cookie)


def _take(ioctx: rados.Ioctx, header: str, cookie: str) -> None:
    deadline = time.monotonic() + LEASE_SECONDS + 1
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            ioctx.lock_exclusive(header, _NAME, cookie, "a change by rbd-connect", LEASE_SECONDS, 0)
        except rados.ObjectBusy:
            if time.monotonic() > deadline:
                raise TryLaterError(
                    Code.UNAVAILABLE, "IMAGE_LOCKED", "Another server is at a change of the image.", seconds=5
                ) from None
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

"""One deletion of an image at a time, across servers.

librbd takes a deletion that another client is at for one that was interrupted, and goes on with it: both delete, and
either may find that the other was faster. While it is deleted an image cannot be held open, so the lock of its other
changes will not do: this one is on the directory of images, which is there wherever an image is.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256

import rados

from rbd_connect.ceph.objects.header import DIRECTORY
from rbd_connect.ceph.objects.object_lock import ObjectLock
from rbd_connect.common.call_context import phase
from rbd_connect.common.periodic_timer import periodically

from .image_lock import LOCK_NAME, locked_elsewhere

__all__ = ["alone_to_delete"]

# A server that dies keeps others out for so long; two seconds longer since Ceph 18.
_LEASE_SECONDS = 3
_RENEWAL_SECONDS = 0.5
_PATIENCE_SECONDS = 8.0


@contextmanager
def alone_to_delete(ioctx: rados.Ioctx, image: str) -> Iterator[None]:
    """Keep other servers from deleting an image of this name meanwhile, however long it takes.

    The directory must be there. Raises RetryableError where another is at it for longer, and what the bindings raise.
    """
    # The OSD bounds the length of an attribute's name, by which it keeps the lock (osd_max_attr_name_len).
    name = f"{LOCK_NAME}.{sha256(image.encode()).hexdigest()[:32]}"
    lock = ObjectLock(ioctx, DIRECTORY, name, seconds=_LEASE_SECONDS)
    try:
        with phase("lock"):
            if not lock.take(_PATIENCE_SECONDS):
                raise locked_elsewhere()
        with periodically(_RENEWAL_SECONDS, lock.renew):
            yield
    finally:
        with phase("unlock"), suppress(rados.Error):
            lock.wait_until_let_go()

"""Opening an image: for reading, and for a change."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import rados
import rbd

from rbd_connect.ceph.locks.image_lock import ImageLock
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.pools.placement_groups import check_served
from rbd_connect.common.call_context import phase
from rbd_connect.model.errors import RetryableError
from rbd_connect.model.names import ImageSpec

from .diagnosis import why_not_found, why_refused
from .touched_pools import Needs, begin_checks
from .users import check_unused

__all__ = ["acquire", "changing", "open_image", "opened"]


@contextmanager
def open_image(ioctx: rados.Ioctx, name: str, *, read_only: bool = False) -> Iterator[rbd.Image]:
    """Open an image (``rbd_open``, ``rbd_open_read_only``), and close it.

    A handle for writing holds a watcher while it is open, and may hold the exclusive lock.

    Raises ``rbd.ImageNotFound``, and what else the bindings raise.
    """
    with phase("open"):
        image = rbd.Image(ioctx, name, read_only=read_only)
    try:
        yield image
    finally:
        with phase("close"):
            image.close()


@contextmanager
def opened(pool: OpenPool, spec: ImageSpec, *, read_only: bool = False) -> Iterator[rbd.Image]:
    """Open an image as ``open_image`` does.

    Raises NotFoundError for the namespace or the image; PreconditionError where the image is there and cannot be
    opened; RetryableError where no OSD serves it; and what the bindings raise.
    """
    check_served(pool, spec)
    with ExitStack() as stack:
        try:
            image = stack.enter_context(open_image(pool.ioctx, spec.image, read_only=read_only))
        except rbd.ImageNotFound as error:
            reason = why_not_found(pool, spec)
            if not isinstance(reason, RetryableError):
                raise reason from error
            # It was renamed, or made, in between.
            try:
                image = stack.enter_context(open_image(pool.ioctx, spec.image, read_only=read_only))
            except rbd.ImageNotFound:
                raise reason from error
        yield image


@contextmanager
def changing(pool: OpenPool, spec: ImageSpec, needs: Needs) -> Iterator[tuple[rbd.Image, ImageLock]]:
    """Open an image for a change, and keep other servers from changing it until the lock is released: at the end, or
    by the caller before.

    Before it gives the image, the names are checked once more if that took long, and so are all pools that are needed.

    Raises ServiceError as ``opened`` does, where a pool cannot be used, and where librbd refuses for a reason that the
    image's state tells; and what the bindings raise.
    """
    with ImageLock(pool.ioctx) as lock, opened(pool, spec) as image:
        checks = begin_checks(pool, image, needs)
        lock.take(image, spec.image)
        checks.wait()
        pool.check_still_named(spec, None if image.old_format() else image.id())
        try:
            yield image, lock
        except rbd.Error as error:
            reason = why_refused(pool, image, spec, error)
            if reason is None:
                raise
            raise reason from error
        lock.let_go()


def acquire(pool: OpenPool, image: rbd.Image, spec: ImageSpec) -> None:
    """Make sure that nobody else uses an image, and take its exclusive lock, if it has one (``rbd_lock_acquire``).

    From here on nobody gets the lock by asking for it, and a client that had it before is seen.

    Raises PreconditionError where somebody else has the image; RetryableError where a name means another by now; and
    what the bindings raise.
    """
    own_id = pool.connection.get_instance_id()
    check_unused(image, own_id)
    if image.features() & rbd.RBD_FEATURE_EXCLUSIVE_LOCK:
        with phase("acquire"):
            image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)
        check_unused(image, own_id)
        pool.check_still_named(spec, image.id())

"""librbd calls on images: open one, and say what is missing or in the way where that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_

import rados
import rbd
from connectrpc.code import Code

from ..errors import NotFoundError, ServiceError
from ..missing import no_image, no_namespace
from ..progress import phase
from ..spec import ImageSpec
from .holders import check_unlocked
from .image_lock import ImageLock

__all__ = ["changing", "check_writable", "missing", "open_image"]

_KNOWN_OPERATIONS = reduce(
    or_, (number for name, number in vars(rbd).items() if name.startswith("RBD_OPERATION_FEATURE_"))
)


@contextmanager
def open_image(ioctx: rados.Ioctx, spec: ImageSpec, *, read_only: bool = False) -> Iterator[rbd.Image]:
    """Open an image (``rbd_open``, ``rbd_open_read_only``), and close it.

    A handle for writing holds a watcher while it is open, and may hold the exclusive lock.

    Raises NotFoundError for the namespace or the image.
    """
    try:
        with phase("open"):
            image = rbd.Image(ioctx, spec.image, read_only=read_only)
    except rbd.ImageNotFound as error:
        raise missing(ioctx, spec) from error
    try:
        yield image
    finally:
        with phase("close"):
            image.close()


@contextmanager
def changing(ioctx: rados.Ioctx, spec: ImageSpec) -> Iterator[tuple[rbd.Image, ImageLock]]:
    """Open an image for writing, and keep other servers from changing it until the lock is let go: at the end, or by
    who has done with it before.

    Raises NotFoundError for the namespace or the image, ServiceError where it takes no changes.
    """
    with ImageLock(ioctx) as lock, open_image(ioctx, spec) as image:
        lock.take(image, spec.image)
        try:
            yield image, lock
        except rbd.ReadOnlyImage:
            check_writable(image)
            check_unlocked(image)
            raise  # the exclusive lock cannot be had
        lock.let_go()


def missing(ioctx: rados.Ioctx, spec: ImageSpec) -> NotFoundError:
    """Say what is not there of an image that was not found: its namespace (``rbd_namespace_exists``), or itself."""
    if spec.namespace and not rbd.RBD().namespace_exists(ioctx, spec.namespace):
        return no_namespace(spec)
    return no_image(spec)


def check_writable(image: rbd.Image) -> None:
    """Say why an image takes no changes, where that is its own state and not the cluster's.

    Raises ServiceError (failed_precondition) for a mirror's replica (``rbd_mirror_image_get_info``), and for an image
    that a newer Ceph has put to a use that this librbd does not know (``rbd_get_op_features``).
    """
    mirroring = image.mirror_image_get_info()
    if mirroring["state"] == rbd.RBD_MIRROR_IMAGE_ENABLED and not mirroring["primary"]:
        raise ServiceError(
            Code.FAILED_PRECONDITION, "IMAGE_NON_PRIMARY", "The image is the replica of a mirrored one: read-only here."
        )
    if image.op_features() & ~_KNOWN_OPERATIONS:
        raise ServiceError(
            Code.FAILED_PRECONDITION, "IMAGE_READ_ONLY", "The image is used in a way that only a newer Ceph knows."
        )

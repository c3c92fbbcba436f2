"""librbd calls on images: open one, and say what is missing or in the way where that fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_

import rados
import rbd
from connectrpc.code import Code

from ..errors import NotFoundError, ServiceError
from ..progress import phase
from ..spec import ImageSpec

__all__ = ["check_writable", "open_image"]

_KNOWN_OPERATIONS = reduce(
    or_, (number for name, number in vars(rbd).items() if name.startswith("RBD_OPERATION_FEATURE_"))
)


@contextmanager
def open_image(ioctx: rados.Ioctx, spec: ImageSpec) -> Iterator[rbd.Image]:
    """Open an image for writing (``rbd_open``), and close it.

    An open handle holds a watcher, and may hold the exclusive lock.

    Raises NotFoundError for the namespace or the image.
    """
    try:
        with phase("open"):
            image = rbd.Image(ioctx, spec.image)
    except rbd.ImageNotFound as error:
        if spec.namespace and not rbd.RBD().namespace_exists(ioctx, spec.namespace):
            raise NotFoundError("namespace", spec.namespace, f"in pool {spec.pool!r}") from error
        place = f"{spec.pool}/{spec.namespace}" if spec.namespace else spec.pool
        raise NotFoundError("image", spec.image, f"in pool {place!r}") from error
    try:
        yield image
    finally:
        with phase("close"):
            image.close()


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

"""librbd calls on images: open one, and say what is missing or in the way where that fails."""

from collections.abc import Iterator
from contextlib import contextmanager

import rados
import rbd

from .errors import NotFoundError
from .phases import phase
from .spec import ImageSpec

__all__ = ["is_non_primary", "open_image"]


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


def is_non_primary(image: rbd.Image) -> bool:
    """Say whether the image is a mirror's replica (``rbd_mirror_image_get_info``), and so is read-only here."""
    mirroring = image.mirror_image_get_info()
    return mirroring["state"] == rbd.RBD_MIRROR_IMAGE_ENABLED and not mirroring["primary"]

"""Creating an image. All of it blocks."""

import time

import rados
import rbd
from connectrpc.code import Code

from ..backoff import pauses
from ..errors import NotFoundError, PreconditionError, ServiceError
from ..layout import Layout, check
from ..progress import changes, phase
from ..spec import ImageSpec
from .image import missing
from .image_info import Image, bits_of, read_image

__all__ = ["ImageExistsError", "create"]

# An image that another client creates at the moment has its name before it can be opened.
_BEING_MADE_SECONDS = 2.0


class ImageExistsError(ServiceError):
    """The image exists. It comes along, so that a retry needs no second call."""

    def __init__(self, image: Image) -> None:
        super().__init__(Code.ALREADY_EXISTS, "IMAGE_EXISTS", f"The image {image.name!r} exists already.")
        self.image = image


def create(ioctx: rados.Ioctx, spec: ImageSpec, layout: Layout, *, defaults: Layout, diff_budget: int) -> Image:
    """Create an image (``rbd_create4``) and describe it.

    ``defaults`` are the cluster's, and have an object size and features.

    Raises ImageExistsError with the existing image; InvalidRequestError where librbd would refuse the layout;
    NotFoundError for the namespace; PreconditionError; and what the bindings raise.
    """
    check(layout.completed(defaults))
    try:
        with phase("create"):
            changes()
            _create(ioctx, spec.image, layout)
    except rbd.ImageNotFound as error:
        raise missing(ioctx, spec) from error
    except rbd.ImageExists as error:
        raise ImageExistsError(_existing(ioctx, spec, diff_budget)) from error
    try:
        return read_image(ioctx, spec, diff_budget=diff_budget)
    except NotFoundError as error:
        raise ServiceError(
            Code.ABORTED, "IMAGE_VANISHED", f"The image {spec.image!r} was removed by another client meanwhile."
        ) from error


def _create(ioctx: rados.Ioctx, name: str, layout: Layout) -> None:
    rbd.RBD().create(
        ioctx,
        name,
        layout.size,
        order=layout.object_size.bit_length() - 1 if layout.object_size else None,
        old_format=False,
        features=None if layout.features is None else bits_of(layout.features),
        stripe_unit=layout.stripe_unit,
        stripe_count=layout.stripe_count,
    )


def _existing(ioctx: rados.Ioctx, spec: ImageSpec, diff_budget: int) -> Image:
    """Describe the image that has the name. Raises PreconditionError where none but the name is there."""
    deadline = time.monotonic() + _BEING_MADE_SECONDS
    for pause in pauses(0.02, 0.2):
        try:
            return read_image(ioctx, spec, diff_budget=diff_budget)
        except NotFoundError as error:
            if time.monotonic() > deadline:
                raise PreconditionError(
                    "IMAGE_INCOMPLETE",
                    f"The image {spec.image!r} was begun or deleted by halves, and cannot be opened; delete it first.",
                ) from error
        time.sleep(pause)
    raise AssertionError

"""Creating an image. All of it blocks."""

import time

import rados
import rbd
from connectrpc.code import Code

from rbd_connect.ceph.opening.layout import bits_of, features_of
from rbd_connect.ceph.opening.open_image import opened
from rbd_connect.ceph.opening.touched_pools import begin_data_checks
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.pools.placement_groups import check_new_served
from rbd_connect.ceph.pools.pool_map import PoolState
from rbd_connect.common.backoff import pauses
from rbd_connect.common.call_context import changes, phase
from rbd_connect.model.errors import NotFoundError, PreconditionError, ServiceError, quoted
from rbd_connect.model.layout import Layout, check
from rbd_connect.model.names import ImageSpec
from rbd_connect.model.not_found import no_namespace
from rbd_connect.model.resources import Image, ImageExistsError

from .info import describe_image

__all__ = ["create"]

# An image that another client creates at the moment has its name before it can be opened.
_BEING_MADE_SECONDS = 2.0
_BEING_MADE = frozenset({"IMAGE_INCOMPLETE", "IMAGE_NOT_FOUND"})


def create(pool: OpenPool, spec: ImageSpec, layout: Layout, *, diff_budget: int) -> Image:
    """Create an image (``rbd_create4``) and describe it.

    Raises ImageExistsError with the existing image; InvalidRequestError where librbd would refuse the layout;
    NotFoundError for the namespace; PreconditionError where the pool, or the one that Ceph is configured to put data
    in, is not for images; ServiceError where one cannot be used; and what the bindings raise.
    """
    _check_holds_images(pool.state)
    check_new_served(pool, spec.image)
    check(layout.completed(_defaults(pool)))
    data_pool = _data_pool(pool)
    checks = begin_data_checks(pool, data_pool)
    if spec.namespace and not rbd.RBD().namespace_exists(pool.ioctx, spec.namespace):
        raise no_namespace(spec)
    checks.wait()
    try:
        with phase("create"):
            changes()
            _create(pool.ioctx, spec.image, layout)
    except rbd.ImageExists as error:
        raise ImageExistsError(_existing(pool, spec, diff_budget)) from error
    try:
        with opened(pool, spec, read_only=True) as image:
            return describe_image(pool.ioctx, image, spec, diff_budget=diff_budget)
    except (NotFoundError, PreconditionError) as error:
        raise ServiceError(
            Code.ABORTED, "IMAGE_VANISHED", f"The image {quoted(spec.image)} was removed by another client meanwhile."
        ) from error


def _check_holds_images(pool: PoolState) -> None:
    """Raise PreconditionError where a pool is not there for images."""
    if not pool.holds_images:
        raise PreconditionError(
            "POOL_NOT_FOR_IMAGES",
            f"The pool {quoted(pool.name)} is not for images: it must be replicated, and tagged for the application "
            "rbd.",
        )


def _defaults(pool: OpenPool) -> Layout:
    """Return what librbd takes where a request says nothing: the pool's own configuration, else the client's."""
    features = rbd.RBD().features_from_string(pool.option("rbd_default_features"))
    return Layout(size=0, object_size=1 << int(pool.option("rbd_default_order")), features=features_of(features))


def _data_pool(pool: OpenPool) -> PoolState:
    """Return the pool where Ceph is configured to put the data of new images (``rbd_default_data_pool``)."""
    name = pool.option("rbd_default_data_pool")
    if not name:
        return pool.state
    found = pool.pools.named(name)
    if found is None:
        raise PreconditionError(
            "DATA_POOL_MISSING",
            f"The pool {quoted(name)}, where Ceph is configured to put the data of new images (rbd_default_data_pool), "
            "does not exist.",
        )
    return found


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


def _existing(pool: OpenPool, spec: ImageSpec, diff_budget: int) -> Image:
    """Describe the image that has the name. Raises PreconditionError where it cannot be opened."""
    deadline = time.monotonic() + _BEING_MADE_SECONDS
    for pause in pauses(0.02, 0.2):
        try:
            with opened(pool, spec, read_only=True) as image:
                return describe_image(pool.ioctx, image, spec, diff_budget=diff_budget)
        except ServiceError as error:
            if error.reason not in _BEING_MADE or time.monotonic() > deadline:
                raise
        time.sleep(pause)
    raise AssertionError

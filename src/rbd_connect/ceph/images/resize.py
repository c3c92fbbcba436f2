"""Giving an image another size. All of it blocks."""

import logging

import rbd

from rbd_connect.ceph.opening.layout import layout_of
from rbd_connect.ceph.opening.open_image import acquire, changing
from rbd_connect.ceph.opening.touched_pools import Needs, begin_checks
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.workarounds.object_progress import InFlight, progress_by_objects
from rbd_connect.common.call_context import changes, phase
from rbd_connect.common.progress_log import progress_logged
from rbd_connect.model.layout import check
from rbd_connect.model.names import ImageSpec
from rbd_connect.model.resources import Image

from .info import describe_image

__all__ = ["resize"]

_TO_GROW = Needs(data_pool=True)
_TO_SHRINK = Needs(data_pool=True, data_access=True, data_room=True, all_data=True)

_log = logging.getLogger(__name__)


def resize(pool: OpenPool, spec: ImageSpec, size: int, *, diff_budget: int, in_flight: InFlight) -> Image:
    """Give an image another size (``rbd_resize2``), in bytes, and describe it. What is beyond a smaller one is lost.

    ``in_flight`` tells how far it is.

    Raises ServiceError as ``changing`` does; InvalidRequestError for a size that librbd would refuse; PreconditionError
    where the image would become smaller and somebody else has it; and what the bindings raise.
    """
    name = f"{spec.pool_name}/{spec.image}"
    with changing(pool, spec, _TO_GROW) as (image, lock):
        check(layout_of(image, size))
        before = image.size()
        if size < before:
            _prepare_to_shrink(pool, image, spec)
            _log.warning("%s shrinks from %d to %d bytes: what is beyond is lost", name, before, size)
        how_far = progress_by_objects(image, in_flight, start=size, end=before)
        with phase("resize"), progress_logged(f"resize of {name} to {size} bytes", how_far):
            changes()
            image.resize(size)
        lock.let_go()
        return describe_image(pool.ioctx, image, spec, diff_budget=diff_budget)


def _prepare_to_shrink(pool: OpenPool, image: rbd.Image, spec: ImageSpec) -> None:
    """Make sure that nobody uses what is cut off, and that it can be cut off to the end."""
    begin_checks(pool, image, _TO_SHRINK).wait()
    acquire(pool, image, spec)

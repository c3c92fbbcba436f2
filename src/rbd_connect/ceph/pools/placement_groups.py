"""Whether the OSDs serve what an image's opening reads, where it is known that they do not serve everything.

librbd waits for them as long as librados' timeouts allow.
"""

from collections.abc import Iterable
from functools import partial

import rados

from rbd_connect.ceph.objects.async_calls import BoundedReply, open_handle
from rbd_connect.ceph.objects.header import DIRECTORY, header_of, id_of, parent_of
from rbd_connect.model.names import ImageSpec

from .open_pool import OpenPool
from .pool_map import inactive

__all__ = ["check_clones_served", "check_new_served", "check_served"]

_CHILDREN = "rbd_children"
_PATIENCE_SECONDS = 1.0


def check_served(pool: OpenPool, spec: ImageSpec) -> None:
    """Return at once where all pools are served; else where the objects that an image's opening reads are.

    Raises RetryableError with the name of the pool that is not served, and what the bindings raise.
    """
    unserved = pool.current.unserved()
    if not unserved:
        return
    is_own_unserved = pool.state.id in unserved
    if is_own_unserved:
        _check(pool.ioctx, pool.state.name, [f"rbd_id.{spec.image}", DIRECTORY])
    image_id = id_of(pool.ioctx, spec.image)
    if image_id is None:
        return
    if is_own_unserved:
        _check(pool.ioctx, pool.state.name, [header_of(image_id), f"rbd_object_map.{image_id}"])
    try:
        parent = parent_of(pool.ioctx, image_id)
    except rados.ObjectNotFound:
        return
    found = None if parent is None else pool.pools.by_id.get(parent.pool_id)
    if parent is not None and found is not None and found.id in unserved:
        ioctx = open_handle(pool.connection, found.id, parent.namespace)
        _check(ioctx, found.name, [header_of(parent.image_id)])


def check_new_served(pool: OpenPool, name: str) -> None:
    """Return where the objects are served that the creation of an image reads and writes first.

    Raises RetryableError with the name of the pool that is not served, and what the bindings raise.
    """
    if pool.state.id in pool.current.unserved():
        _check(pool.ioctx, pool.state.name, [f"rbd_id.{name}", DIRECTORY])


def check_clones_served(pool: OpenPool) -> None:
    """Return where each pool tells which clones of format 1 it has (its ``rbd_children``): librbd asks all of them.

    Raises RetryableError where one is not served. It does not name that pool, of which the caller may not know.
    """
    for number in pool.current.unserved():
        ioctx = open_handle(pool.connection, number, pool.namespace)
        _check(ioctx, pool.state.name if number == pool.state.id else None, [_CHILDREN])


def _check(ioctx: rados.Ioctx, pool: str | None, objects: Iterable[str]) -> None:
    replies = [BoundedReply(partial(ioctx.aio_read, name, 1, 0)) for name in objects]
    if any(reply.status(_PATIENCE_SECONDS) is None for reply in replies):
        raise inactive(pool)

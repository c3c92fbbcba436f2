"""The pools that a change of an image touches besides its own: those of its data, its journal, its parent.

librbd waits, gives up half-way, or crashes where one of them is full, not served, or gone. So they are looked at first.
"""

import errno
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import rados
import rbd
from connectrpc.code import Code

from rbd_connect.ceph.objects.async_calls import BoundedReply, open_handle
from rbd_connect.ceph.objects.header import header_of, parent_of
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.pools.pool_map import PoolState, inactive
from rbd_connect.model.errors import CephError, PreconditionError, quoted

from .diagnosis import data_pool_error

__all__ = ["Needs", "PendingChecks", "begin_checks", "begin_data_checks"]

_PATIENCE_SECONDS = 3.0
_NO_POOL = -1
_I64 = struct.Struct("<q")
_REFUSED = (errno.EPERM, errno.EACCES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a change needs of an image's pools.

    ``data_pool``: the pool of its data must exist. ``data_access``: the Ceph user must be allowed to write there.
    ``data_room``: there must be space. ``all_data``: every placement group must be served, since the change goes
    through all of the data. ``journal``: librbd writes to the journal, if there is one. ``parent``: a clone leaves its
    parent.
    """

    data_pool: bool = False
    data_access: bool = False
    data_room: bool = False
    all_data: bool = False
    journal: bool = True
    parent: bool = False


class PendingChecks:
    """What OSDs were asked, so that other work goes on until they answer."""

    def __init__(self, probes: "list[_Probe]") -> None:
        self._probes = probes

    def wait(self) -> None:
        """Raise ServiceError where a pool does not answer, or the Ceph user may not write there."""
        for probe in self._probes:
            probe.wait()


def begin_checks(pool: OpenPool, image: rbd.Image, needs: Needs) -> PendingChecks:
    """Look at the pools of an open image, as far as monitors know, and begin to ask the OSDs the rest.

    Raises ServiceError with the pool's name: PreconditionError where it has gone, CephError where it is full,
    RetryableError where it is not served; and what the bindings raise.
    """
    return PendingChecks(list(_checks(pool, image, needs)))


def begin_data_checks(pool: OpenPool, data: PoolState) -> PendingChecks:
    """Look at the pool that the data of a new image will lie in, as ``begin_checks`` does for an image that is open.

    librbd writes there when it creates an image.
    """
    data.check_room()
    return PendingChecks([] if data.id == pool.state.id else [_data_probe(pool, data, "rbd_data")])


def _checks(pool: OpenPool, image: rbd.Image, needs: Needs) -> "Iterator[_Probe]":
    data = _data_pool(pool, image, needs)
    if data is not None:
        if needs.data_room:
            data.check_room()
        if needs.all_data and data.id in pool.current.unserved():
            raise inactive(data.name)
        if needs.data_access and data.id != pool.state.id:
            yield _data_probe(pool, data, image.block_name_prefix())
    if needs.journal and image.features() & rbd.RBD_FEATURE_JOURNALING:
        _check_journal(pool, image)
    if needs.parent and image.op_features() & rbd.RBD_OPERATION_FEATURE_CLONE_CHILD:
        _check_parent(pool, image)


def _data_pool(pool: OpenPool, image: rbd.Image, needs: Needs) -> PoolState | None:
    """Return the pool of an image's data; None where it has gone, and that does not matter."""
    number = image.data_pool_id()
    found = pool.pools.by_id.get(number)
    if found is None and number == pool.state.id:
        found = pool.state
    if found is None and needs.data_pool and (error := data_pool_error(pool, image)):
        raise error
    return found


def _check_journal(pool: OpenPool, image: rbd.Image) -> None:
    _, reply = pool.ioctx.execute(f"journal.{image.id()}", "journal", "get_pool_id", b"")
    (number,) = _I64.unpack(reply[: _I64.size])
    journal = pool.state if number == _NO_POOL else pool.pools.by_id.get(number)
    if journal is None:
        raise PreconditionError(
            "JOURNAL_POOL_MISSING",
            f"The pool of the image's journal, with the id {number}, does not exist any more. Disable journaling "
            f"first: rbd feature disable {pool.state.name}/{image.get_name()} journaling",
        )
    journal.check_room()
    if journal.id in pool.current.unserved():
        raise inactive(journal.name)


def _data_probe(pool: OpenPool, data: PoolState, prefix: str) -> "_Probe":
    """Remove an object that does not exist: the OSD refuses that where it refuses all writes, and changes nothing."""
    name = f"{prefix}.rbd-connect"
    ioctx = open_handle(pool.connection, data.id, pool.namespace)
    ioctx.set_osdmap_full_try()
    return _Probe(data, "the image's data is", partial(ioctx.aio_remove, name))


def _check_parent(pool: OpenPool, image: rbd.Image) -> None:
    """Ask the OSD to detach nobody from the parent. Without an argument it changes nothing, whatever it answers."""
    parent = parent_of(pool.ioctx, image.id())
    found = None if parent is None else pool.pools.by_id.get(parent.pool_id)
    if parent is None or found is None:
        return
    ioctx = open_handle(pool.connection, found.id, parent.namespace)
    try:
        ioctx.execute(header_of(parent.image_id), "rbd", "child_detach", b"")
    except (rados.PermissionError, rados.PermissionDeniedError) as error:
        raise _no_capability(found, "the image's parent is") from error
    except (rados.InvalidArgumentError, rados.OSError):
        return  # it is allowed, and there is nothing to detach


class _Probe:
    """A question to an OSD of a pool, whose answer tells whether the Ceph user may write there."""

    def __init__(self, pool: PoolState, why: str, start: Callable[..., rados.Completion]) -> None:
        self._pool = pool
        self._why = why
        self._reply = BoundedReply(start)

    def wait(self) -> None:
        status = self._reply.status(_PATIENCE_SECONDS)
        if status is None:
            raise inactive(self._pool.name)
        if status in _REFUSED:
            raise _no_capability(self._pool, self._why)


def _no_capability(pool: PoolState, why: str) -> CephError:
    return CephError(
        Code.PERMISSION_DENIED,
        "CEPH_CAPS_MISSING",
        f"The server's Ceph user has no capability to write to pool {quoted(pool.name)}, where {why}.",
        errno.EPERM,
    )

"""Creating a snapshot. All of it blocks."""

import rados
import rbd
from connectrpc.code import Code

from rbd_connect.ceph.opening.open_image import changing, open_image
from rbd_connect.ceph.opening.touched_pools import Needs
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.used_bytes import Listed, used_bytes
from rbd_connect.ceph.workarounds.monitor_failover import once_more_if_denied
from rbd_connect.common.call_context import changes, phase
from rbd_connect.model.errors import ServiceError, quoted
from rbd_connect.model.names import SnapshotSpec
from rbd_connect.model.resources import Snapshot, SnapshotExistsError

from .info import describe, list_snapshots

__all__ = ["create"]


def create(pool: OpenPool, spec: SnapshotSpec, *, diff_budget: int) -> Snapshot:
    """Create a snapshot (``rbd_snap_create``) and describe it.

    ``diff_budget`` bounds, in objects, what is spent on its used bytes.

    Of several that create it at once, whichever servers they call, one succeeds.

    Raises SnapshotExistsError with the existing snapshot, ServiceError as ``changing`` does; and what the bindings
    raise.
    """
    with changing(pool, spec, Needs(data_pool=True, data_access=True)) as (image, lock):
        existed = _create(image, spec.snapshot)
        with phase("refresh"):
            listing = list_snapshots(pool.ioctx, image)
        lock.let_go()
        snapshot = _described(pool.ioctx, image, listing, spec.snapshot, diff_budget)
        if snapshot is None:
            snapshot = _described_anew(pool, spec, diff_budget)
    if existed is not None:
        raise SnapshotExistsError(snapshot) from existed
    return snapshot


def _create(image: rbd.Image, name: str) -> rbd.ImageExists | None:
    """Create a snapshot; give the error where there is one of that name."""
    try:
        with phase("create"):
            changes()
            once_more_if_denied(lambda: image.create_snap(name))
    except rbd.ImageExists as error:
        return error
    return None


def _described_anew(pool: OpenPool, spec: SnapshotSpec, diff_budget: int) -> Snapshot:
    """Describe the snapshot by a handle that is opened now.

    Where another client has the exclusive lock, it makes the snapshot, and the handle that asked for it may not have
    heard of that yet. Raises ServiceError (aborted) where the snapshot is not there.
    """
    with open_image(pool.ioctx, spec.image, read_only=True) as image:
        listing = list_snapshots(pool.ioctx, image)
        snapshot = _described(pool.ioctx, image, listing, spec.snapshot, diff_budget)
    if snapshot is None:
        raise ServiceError(
            Code.ABORTED,
            "SNAPSHOT_VANISHED",
            f"The snapshot {quoted(spec.snapshot)} was removed by another client meanwhile.",
        )
    return snapshot


def _described(
    ioctx: rados.Ioctx, image: rbd.Image, listing: list[Listed], name: str, diff_budget: int
) -> Snapshot | None:
    snapshot = next((listed for listed in listing if listed.user and listed.name == name), None)
    if snapshot is None:
        return None
    with phase("usage"):
        (used,) = used_bytes(ioctx, image, listing, [snapshot], diff_budget=diff_budget)
    return describe(image, snapshot, used)

"""Rolling an image back to a snapshot. All of it blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

import rbd

from rbd_connect.ceph.opening.open_image import acquire, changing
from rbd_connect.ceph.opening.touched_pools import Needs
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.workarounds.object_progress import InFlight, progress_by_objects
from rbd_connect.common.call_context import changes, phase
from rbd_connect.common.progress_log import progress_logged
from rbd_connect.model.names import SnapshotSpec

from .info import list_snapshots
from .preconditions import why_no_snapshot

__all__ = ["rollback"]

_NEEDS = Needs(data_pool=True, data_access=True, data_room=True, all_data=True)


def rollback(pool: OpenPool, spec: SnapshotSpec, *, in_flight: InFlight) -> int:
    """Make an image what it was at a snapshot (``rbd_snap_rollback``), its size too. What was written since is lost.

    Gives the snapshot's id.

    ``in_flight`` tells how far it is.

    Raises ServiceError as ``changing`` does; NotFoundError; PreconditionError with who has the image; and what the
    bindings raise.
    """
    with changing(pool, spec, _NEEDS) as (image, _), _found(pool, image, spec):
        acquire(pool, image, spec)
        number = image.snap_get_id(spec.snapshot)
        what = f"rollback of {spec.pool_name}/{spec.image} to {spec.snapshot!r}"
        size = next((listed.size for listed in list_snapshots(pool.ioctx, image) if listed.id == number), 0)
        how_far = progress_by_objects(image, in_flight, start=0, end=size)
        with phase("rollback"), progress_logged(what, how_far):
            changes()
            image.rollback_to_snap(spec.snapshot)
        return number


@contextmanager
def _found(pool: OpenPool, image: rbd.Image, spec: SnapshotSpec) -> Iterator[None]:
    try:
        yield
    except rbd.ImageNotFound as error:
        raise why_no_snapshot(pool, image, spec) from error

"""Rolling an image back to a snapshot. All of it blocks."""

from collections.abc import Iterator
from contextlib import contextmanager

import rados
import rbd

from ..missing import no_snapshot
from ..progress import changes, phase
from ..spec import SnapshotSpec
from .heartbeat import heartbeat
from .holders import check_unused
from .image import changing
from .snapshots import list_snapshots
from .sweep import InFlight, sweep

__all__ = ["rollback"]


def rollback(ioctx: rados.Ioctx, spec: SnapshotSpec, *, own_id: int, in_flight: InFlight) -> int:
    """Make an image what it was at a snapshot (``rbd_snap_rollback``), its size too. What was written since is lost.

    Gives the snapshot's id.

    ``own_id`` is the number of our own client (``rados_get_instance_id``); ``in_flight`` tells how far it is.

    Raises NotFoundError; PreconditionError with who has the image; and what the bindings raise.
    """
    with changing(ioctx, spec) as (image, _):
        check_unused(image, own_id)
        with _found(spec):
            number = image.snap_get_id(spec.snapshot)
        if image.features() & rbd.RBD_FEATURE_EXCLUSIVE_LOCK:
            # From here on nobody gets the lock by asking for it; and who got it before is seen.
            with phase("acquire"):
                image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE)
            check_unused(image, own_id)
        what = f"rollback of {spec.pool_name}/{spec.image} to {spec.snapshot!r}"
        size = next((listed.size for listed in list_snapshots(image) or () if listed.id == number), 0)
        how_far = sweep(image, in_flight, start=0, end=size)
        with _found(spec), phase("rollback"), heartbeat(what, how_far):
            changes()
            image.rollback_to_snap(spec.snapshot)
        return number


@contextmanager
def _found(spec: SnapshotSpec) -> Iterator[None]:
    try:
        yield
    except rbd.ImageNotFound as error:
        raise no_snapshot(spec) from error

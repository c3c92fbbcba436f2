"""Deleting, protecting and unprotecting a snapshot. All of it blocks."""

from collections.abc import Callable

import rbd

from rbd_connect.ceph.opening.open_image import changing, opened
from rbd_connect.ceph.opening.touched_pools import Needs
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.pools.placement_groups import check_clones_served
from rbd_connect.ceph.workarounds.monitor_failover import once_more_if_denied
from rbd_connect.common.call_context import changes, phase
from rbd_connect.model.errors import InTheWayError, PreconditionError, quoted
from rbd_connect.model.names import SnapshotSpec

from .preconditions import clones_of, why_no_snapshot
from .trash import remove_trash

__all__ = ["delete", "protect", "unprotect"]


def delete(pool: OpenPool, spec: SnapshotSpec) -> int | None:
    """Delete a snapshot (``rbd_snap_remove``), also what is left of one whose deletion was interrupted.

    Gives its id; None for what was left.

    Raises ServiceError as ``changing`` does; NotFoundError; PreconditionError where it is protected, or not a user's;
    and what the bindings raise.
    """
    with changing(pool, spec, Needs(data_access=True)) as (image, _):
        try:
            number = image.snap_get_id(spec.snapshot)
        except rbd.ImageNotFound as error:
            if not remove_trash(pool.ioctx, image, spec.snapshot):
                raise why_no_snapshot(pool, image, spec) from error
            return None
        try:
            _change("delete", lambda: once_more_if_denied(lambda: image.remove_snap(spec.snapshot)))
        except rbd.ImageNotFound as error:
            raise why_no_snapshot(pool, image, spec) from error
        except rbd.ImageBusy as error:
            if not image.is_protected_snap(spec.snapshot):
                raise
            raise PreconditionError(
                "SNAPSHOT_PROTECTED", f"The snapshot {quoted(spec.snapshot)} is protected; unprotect it first."
            ) from error
        return number


def protect(pool: OpenPool, spec: SnapshotSpec) -> int:
    """Protect a snapshot (``rbd_snap_protect``), and give its id. One that is protected stays so.

    Raises ServiceError as ``changing`` does; NotFoundError; PreconditionError where the image cannot be cloned; and
    what the bindings raise.
    """
    with changing(pool, spec, Needs()) as (image, _):
        try:
            number = image.snap_get_id(spec.snapshot)
            _change("protect", lambda: image.protect_snap(spec.snapshot))
        except rbd.ImageNotFound as error:
            raise why_no_snapshot(pool, image, spec) from error
        except rbd.ImageBusy:
            if not image.is_protected_snap(spec.snapshot):
                raise
        except rbd.FunctionNotSupported as error:
            raise PreconditionError(
                "IMAGE_WITHOUT_LAYERING", "The image lacks the feature layering, without which nothing is protected."
            ) from error
        return number


def unprotect(pool: OpenPool, spec: SnapshotSpec) -> int:
    """Unprotect a snapshot (``rbd_snap_unprotect``), and give its id. One that is not protected stays so.

    Raises ServiceError as ``changing`` does; NotFoundError; PreconditionError with the clones where there are any; and
    what the bindings raise.
    """
    check_clones_served(pool)
    with changing(pool, spec, Needs()) as (image, _):
        try:
            number = image.snap_get_id(spec.snapshot)
            _change("unprotect", lambda: image.unprotect_snap(spec.snapshot))
        except rbd.ImageNotFound as error:
            raise why_no_snapshot(pool, image, spec) from error
        except rbd.InvalidArgument:
            if image.is_protected_snap(spec.snapshot):
                raise
        except rbd.ImageBusy as error:
            if not image.is_protected_snap(spec.snapshot):
                raise
            raise _has_clones(pool, spec, number) from error
        return number


def _change(name: str, call: Callable[[], None]) -> None:
    with phase(name):
        changes()
        call()


def _has_clones(pool: OpenPool, spec: SnapshotSpec, number: int) -> PreconditionError:
    with opened(pool, spec, read_only=True) as image:
        clones = list(clones_of(image, number))
    lead = "The snapshot has clones; flatten or delete them first:"
    if not clones:
        return PreconditionError(
            "SNAPSHOT_HAS_CLONES", f"{lead} `rbd children --snap-id {number} {spec.words}` lists them."
        )
    return InTheWayError("SNAPSHOT_HAS_CLONES", lead, clones)

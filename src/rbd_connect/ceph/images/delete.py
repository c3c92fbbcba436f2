"""Deleting an image. All of it blocks."""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import rados
import rbd

from rbd_connect.ceph.locks.deletion_lock import alone_to_delete
from rbd_connect.ceph.objects.header import TRASH
from rbd_connect.ceph.opening.diagnosis import group_error, migration_error, replica_error, why_not_found
from rbd_connect.ceph.opening.open_image import changing, opened
from rbd_connect.ceph.opening.touched_pools import Needs, begin_checks
from rbd_connect.ceph.opening.users import image_users, in_use
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.snapshots.preconditions import snapshots_in_the_way
from rbd_connect.ceph.snapshots.trash import remove_trash
from rbd_connect.common.call_context import changes, phase
from rbd_connect.common.progress_log import progress_logged
from rbd_connect.model.errors import InTheWayError, PreconditionError, PreconditionViolation, ServiceError
from rbd_connect.model.names import ImageSpec

__all__ = ["delete"]

# Other servers that are at a call, and clients that come and go, have an image for as long.
_PATIENCE_SECONDS = 1.0
_PAUSE_SECONDS = 0.05

_TRASH_OPTION = "rbd_move_to_trash_on_remove"
_FULL_FORCE = 128  # LIBRADOS_OPERATION_FULL_FORCE, which the bindings lack
_NEEDS = Needs(data_access=True, all_data=True, journal=False, parent=True)

# librbd opens none of these, and deletes them.
_UNOPENED = frozenset({"IMAGE_INCOMPLETE", "PARENT_MISSING"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is in a deletion's way, and can go: clients that have the image, deletions that were interrupted."""

    in_use: PreconditionError | None
    trash_snapshots: Sequence[PreconditionViolation]


def delete(pool: OpenPool, spec: ImageSpec) -> None:
    """Delete an image (``rbd_remove_with_progress``), also what is left of one that was made or deleted by halves.

    Where Ceph is told to, it moves the image to the trash instead (``rbd_move_to_trash_on_remove``).

    Raises NotFoundError; PreconditionError with its snapshots, with who has it, or with what it belongs to;
    ServiceError where a pool that it touches cannot be used; RetryableError while another server deletes it; and what
    the bindings raise. Nothing is written to Ceph before all of that was looked at.
    """
    _look(pool, spec)
    with alone_to_delete(pool.ioctx, spec.image):
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            look = _look(pool, spec)
            if look.trash_snapshots and not _remove_trash_snapshots(pool, spec):
                raise _has_snapshots(look.trash_snapshots)
            error = look.in_use or _try_to_delete(pool, spec)
            if error is None:
                return
            if error.reason != "IMAGE_IN_USE" or time.monotonic() > deadline:
                raise error
            time.sleep(random.uniform(0, 2) * _PAUSE_SECONDS)  # noqa: S311 - so that two do not meet for ever


def _look(pool: OpenPool, spec: ImageSpec) -> _Look:
    """Check all that can keep an image from being deleted. Raises ServiceError where waiting does not help."""
    try:
        with opened(pool, spec, read_only=True) as image:
            error = replica_error(image) or migration_error(pool, image, spec) or group_error(pool, image, spec)
            if error is not None:
                raise error
            checks = begin_checks(pool, image, _NEEDS)
            users = image_users(image)
            snapshots = snapshots_in_the_way(pool, image, spec)
            checks.wait()
    except PreconditionError as error:
        if error.reason not in _UNOPENED:
            raise
        return _Look(None, ())
    if any(snapshot.kind != "TRASH_SNAPSHOT" for snapshot in snapshots):
        raise _has_snapshots(snapshots)
    return _Look(in_use(users) if users else None, snapshots)


def _has_snapshots(snapshots: Sequence[PreconditionViolation]) -> PreconditionError:
    if all(snapshot.kind == "SNAPSHOT" for snapshot in snapshots):
        advice = "delete them first"
    else:
        advice = "the details say how to remove each"
    return InTheWayError("IMAGE_HAS_SNAPSHOTS", f"The image has snapshots; {advice}:", snapshots)


def _remove_trash_snapshots(pool: OpenPool, spec: ImageSpec) -> bool:
    """Rid an image of what interrupted deletions of its snapshots left. Say whether there was something."""
    with changing(pool, spec, _NEEDS) as (image, _):
        return remove_trash(pool.ioctx, image)


def _try_to_delete(pool: OpenPool, spec: ImageSpec) -> ServiceError | None:
    """Delete an image. Return the reason where that was refused, since somebody came in between."""
    name = f"{spec.pool_name}/{spec.image}"
    pool.check_still_named(spec, None)
    if "full" in pool.state.flags:
        _make_trash(pool.ioctx)
    if pool.option(_TRASH_OPTION) == "true":
        _log.info("%s is moved to the trash, and takes space there: %s is set", name, _TRASH_OPTION)
    try:
        with phase("delete"), progress_logged(f"deletion of {name}") as beat:
            changes()
            rbd.RBD().remove(pool.ioctx, spec.image, on_progress=beat.update)
    except rbd.ImageNotFound as error:
        raise why_not_found(pool, spec) from error  # librbd hides other errors behind this one
    except (rbd.ImageBusy, rbd.ImageHasSnapshots):
        return _why_not_deleted(pool, spec)
    return None


def _why_not_deleted(pool: OpenPool, spec: ImageSpec) -> ServiceError:
    try:
        with opened(pool, spec, read_only=True):
            return PreconditionError("IMAGE_IN_USE", "The image is in use, or its deletion was interrupted just now.")
    except ServiceError as error:
        return error


def _make_trash(ioctx: rados.Ioctx) -> None:
    """Make the object by which librbd notes what it deletes, where there is none: in a full pool it cannot."""
    with rados.WriteOpCtx() as operation:
        operation.new(rados.LIBRADOS_CREATE_IDEMPOTENT)
        ioctx.operate_write_op(operation, TRASH, flags=_FULL_FORCE)

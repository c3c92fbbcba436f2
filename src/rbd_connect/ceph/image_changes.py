"""Resizing and deleting an image. All of it blocks."""

import logging
import random
import time

import rados
import rbd
from connectrpc.code import Code

from ..errors import NotFoundError, Obstacle, PreconditionError, TryLaterError, named
from ..layout import check
from ..progress import changes, phase
from ..spec import ImageSpec
from .deletion_lock import TRASH, alone_to_delete
from .heartbeat import heartbeat
from .holders import holders, in_use
from .image import changing, missing, open_image
from .image_info import Image, describe_image, layout_of
from .remains import remove_remains
from .snapshots import snapshots_of
from .sweep import InFlight, sweep

__all__ = ["delete", "resize"]

# Other servers that are at a call, and clients that come and go, have an image for as long.
_PATIENCE_SECONDS = 1.0
_PAUSE_SECONDS = 0.05

_KINDS = {
    rbd.RBD_SNAP_NAMESPACE_TYPE_GROUP: "It is a group's.",
    rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH: "It was deleted, and is kept for its clones.",
    rbd.RBD_SNAP_NAMESPACE_TYPE_MIRROR: "It is mirroring's.",
}

_FULL_FORCE = 128  # LIBRADOS_OPERATION_FULL_FORCE, which the bindings lack

_log = logging.getLogger(__name__)


def resize(ioctx: rados.Ioctx, spec: ImageSpec, size: int, *, diff_budget: int, in_flight: InFlight) -> Image:
    """Give an image another size (``rbd_resize2``), in bytes, and describe it. What is beyond a smaller one is lost.

    ``in_flight`` tells how far it is.

    Raises NotFoundError; InvalidRequestError for a size that librbd would refuse; and what the bindings raise.
    """
    name = f"{spec.pool_name}/{spec.image}"
    with changing(ioctx, spec) as (image, lock):
        check(layout_of(image, size))
        before = image.size()
        if size < before:
            _log.warning("%s shrinks from %d to %d bytes: what is beyond is lost", name, before, size)
        how_far = sweep(image, in_flight, start=size, end=before)
        with phase("resize"), heartbeat(f"resize of {name} to {size} bytes", how_far):
            changes()
            image.resize(size)
        lock.let_go()
        return describe_image(ioctx, image, spec, diff_budget=diff_budget)


def delete(ioctx: rados.Ioctx, spec: ImageSpec) -> None:
    """Delete an image (``rbd_remove_with_progress``), also what is left of one that was made or deleted by halves.

    librbd itself keeps off who would use it meanwhile.

    Raises NotFoundError; PreconditionError with its snapshots, or with who has it; TryLaterError while another server
    deletes it; and what the bindings raise.
    """
    _make_trash(ioctx)
    with alone_to_delete(ioctx, spec.image):
        _delete(ioctx, spec)


def _delete(ioctx: rados.Ioctx, spec: ImageSpec) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        obstacle = _obstacle(ioctx, spec) or _try_to_delete(ioctx, spec)
        if obstacle is None:
            return
        if obstacle.reason == "IMAGE_HAS_SNAPSHOTS" and _remove_remains(ioctx, spec):
            continue
        if obstacle.reason != "IMAGE_IN_USE" or time.monotonic() > deadline:
            raise obstacle
        time.sleep(random.uniform(0, 2) * _PAUSE_SECONDS)  # noqa: S311 - so that two do not meet for ever


def _make_trash(ioctx: rados.Ioctx) -> None:
    """Make the object by which librbd notes what it deletes, where there is none: in a full pool it cannot."""
    with rados.WriteOpCtx() as operation:
        operation.new(rados.LIBRADOS_CREATE_IDEMPOTENT)
        ioctx.operate_write_op(operation, TRASH, flags=_FULL_FORCE)


def _obstacle(ioctx: rados.Ioctx, spec: ImageSpec) -> PreconditionError | None:
    """Say what keeps an image from being deleted."""
    try:
        with open_image(ioctx, spec, read_only=True) as image:
            snapshots = _snapshots(image)
            found = holders(image)
    except NotFoundError:
        return None  # or there is only the name: librbd knows
    if snapshots:
        return PreconditionError(
            "IMAGE_HAS_SNAPSHOTS", f"The image has snapshots; delete them first: {named(snapshots)}.", snapshots
        )
    return in_use(found) if found else None


def _remove_remains(ioctx: rados.Ioctx, spec: ImageSpec) -> bool:
    """Rid an image of what interrupted deletions of its snapshots left. Say whether there was something."""
    try:
        with changing(ioctx, spec) as (image, _):
            return remove_remains(image)
    except NotFoundError:
        return False


def _snapshots(image: rbd.Image) -> list[Obstacle]:
    try:
        return [
            Obstacle(
                kind="SNAPSHOT", subject=snap["name"], description=_KINDS.get(snap["namespace"], "It is a user's.")
            )
            for snap in snapshots_of(image)
        ]
    except UnicodeDecodeError:
        return [Obstacle(kind="SNAPSHOT", subject="", description="The name of one of them is no UTF-8.")]


def _try_to_delete(ioctx: rados.Ioctx, spec: ImageSpec) -> PreconditionError | None:
    """Delete an image. Give why not, where somebody came in between."""
    name = f"{spec.pool_name}/{spec.image}"
    try:
        with phase("delete"), heartbeat(f"deletion of {name}") as beat:
            changes()
            rbd.RBD().remove(ioctx, spec.image, on_progress=beat.update)
    except rbd.ImageNotFound as error:
        if spec.image in rbd.RBD().list(ioctx):  # librbd hides other errors behind this one
            raise TryLaterError(
                Code.UNAVAILABLE, "TRY_AGAIN", "Ceph could not delete the image, which is still there.", seconds=5
            ) from error
        raise missing(ioctx, spec) from error
    except (rbd.ImageBusy, rbd.ImageHasSnapshots):
        return _obstacle(ioctx, spec) or PreconditionError(
            "IMAGE_IN_USE", "The image is in use, or who began to delete it has died just now."
        )
    return None

"""Why Ceph refuses something: found out from the state of the image, since an errno does not tell.

An image is "not found" also where its parent is gone; a replica is refused with EPERM, EINVAL or EROFS; an image under
migration is "busy" and nobody has it.
"""

import errno
import shlex
import time
from contextlib import suppress
from functools import partial, reduce
from operator import or_

import rados
import rbd
from connectrpc.code import Code

from rbd_connect.ceph.errors import errno_of
from rbd_connect.ceph.objects.async_calls import BoundedReply, open_handle
from rbd_connect.ceph.objects.header import (
    Link,
    header_of,
    id_in_directory,
    id_of,
    is_half_deleted,
    migration_source,
    parent_of,
    raw_snapshots,
)
from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.model.errors import PreconditionError, PreconditionViolation, RetryableError, ServiceError, quoted
from rbd_connect.model.names import ImageSpec
from rbd_connect.model.not_found import no_image, no_namespace

from .users import lock_error

__all__ = ["data_pool_error", "group_error", "migration_error", "replica_error", "why_not_found", "why_refused"]

_PATIENCE_SECONDS = 3.0
_CHANGING_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_INCOMPLETE = "IMAGE_INCOMPLETE"
_KNOWN_OPERATIONS = reduce(
    or_, (number for name, number in vars(rbd).items() if name.startswith("RBD_OPERATION_FEATURE_"))
)
_REPLICA_ERRNOS = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EROFS)
_IN_USE_ERRNOS = (errno.EROFS, errno.EBUSY)


def why_refused(pool: OpenPool, image: rbd.Image, spec: ImageSpec, error: rbd.Error) -> ServiceError | None:
    """Say why librbd refused to change an open image; None where the image's state does not tell."""
    number = errno_of(error)
    if number in _REPLICA_ERRNOS and (found := replica_error(image)):
        return found
    if number in _IN_USE_ERRNOS:
        return _unknown_operation(image) or migration_error(pool, image, spec) or lock_error(image)
    if number == errno.EMLINK:
        return group_error(pool, image, spec)
    if number == errno.ENODEV:
        return data_pool_error(pool, image)
    return None


def replica_error(image: rbd.Image) -> PreconditionError | None:
    """Return the error for an image that mirroring keeps read-only here (``rbd_mirror_image_get_info``)."""
    with suppress(rbd.Error):  # an image of format 1 has no mirroring
        mirroring = image.mirror_image_get_info()
        if mirroring["state"] != rbd.RBD_MIRROR_IMAGE_DISABLED and not mirroring["primary"]:
            return PreconditionError(
                "IMAGE_NON_PRIMARY",
                "The image is the replica of a mirrored one: read-only here. Change the primary image, or promote this "
                "one with `rbd mirror image promote`.",
            )
    return None


def migration_error(pool: OpenPool, image: rbd.Image, spec: ImageSpec) -> PreconditionError | None:
    """Return the error for an image under migration (``rbd_get_migration_source_spec``)."""
    if not image.features() & rbd.RBD_FEATURE_MIGRATING:
        return None
    source = "another image"
    with suppress(rbd.Error, ValueError, KeyError):
        found = image.migration_source_spec()
        if found.get("type") == "native":
            name = pool.pool_name(int(str(found["pool_id"])), str(found["pool_namespace"]))
            source = f"{name}/{found['image_name']}"
    return PreconditionError(
        "IMAGE_MIGRATING",
        f"The image is under migration. End that first with `rbd migration commit {spec.words}` or "
        f"`rbd migration abort {spec.words}`.",
        [
            PreconditionViolation(
                kind="MIGRATION",
                subject=f"{spec.pool_name}/{spec.image}",
                description=f"It is being migrated from {source}.",
            )
        ],
    )


def group_error(pool: OpenPool, image: rbd.Image, spec: ImageSpec) -> PreconditionError | None:
    """Return the error for an image that belongs to a group (``rbd_get_group``)."""
    with suppress(rbd.Error, UnicodeDecodeError):
        found = image.group()
        if found["pool"] < 0:
            return None
        # The binding does not tell the group's namespace, which is the image's.
        group = f"{pool.pool_name(found['pool'], spec.namespace)}/{found['name']}"
        return PreconditionError(
            "IMAGE_IN_GROUP",
            f"The image is a member of the group {group}. Remove it from there first: "
            f"`rbd group image rm {shlex.quote(group)} {spec.words}`.",
            [PreconditionViolation(kind="GROUP", subject=group, description="The image is a member of this group.")],
        )
    return None


def data_pool_error(pool: OpenPool, image: rbd.Image) -> PreconditionError | None:
    """Return the error for an image whose data pool was removed, asking a monitor."""
    number = image.data_pool_id()
    if number in pool.current.now().by_id:
        return None
    return PreconditionError(
        "DATA_POOL_MISSING",
        f"The pool of the image's data, with the id {number}, does not exist any more. The image has lost its data. "
        "It can only be deleted.",
    )


def _unknown_operation(image: rbd.Image) -> PreconditionError | None:
    """Return the error for an image that a newer Ceph has put to a use that this librbd does not know."""
    with suppress(rbd.Error):
        if image.op_features() & ~_KNOWN_OPERATIONS:
            return PreconditionError("IMAGE_READ_ONLY", "The image is used in a way that only a newer Ceph knows.")
    return None


def why_not_found(pool: OpenPool, spec: ImageSpec) -> ServiceError:
    """Say why librbd did not find an image: it, or its namespace, is not there; or it is, and lacks what it needs.

    An image that another client creates, renames or moves to the trash lacks something for a moment. So it is called
    incomplete only if it stays so for a second. Raises what the bindings raise.
    """
    until = time.monotonic() + _CHANGING_SECONDS
    while (reason := _why_not_found_now(pool, spec)).reason == _INCOMPLETE and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    return reason


def _why_not_found_now(pool: OpenPool, spec: ImageSpec) -> ServiceError:
    if spec.namespace and not rbd.RBD().namespace_exists(pool.ioctx, spec.namespace):
        return no_namespace(spec)
    by_name = id_of(pool.ioctx, spec.image)
    image_id = by_name or id_in_directory(pool.ioctx, spec.image)
    if image_id is not None:
        return _why_not_opened(pool, spec, image_id, has_id_object=by_name is not None)
    if is_half_deleted(pool.ioctx, spec.image):
        return _incomplete(spec, "its deletion was begun")
    return no_image(spec)


def _why_not_opened(pool: OpenPool, spec: ImageSpec, image_id: str, *, has_id_object: bool) -> ServiceError:
    try:
        parent, source = parent_of(pool.ioctx, image_id), migration_source(pool.ioctx, image_id)
    except rados.ObjectNotFound:
        return _incomplete(spec, "its header is missing")
    if not has_id_object:
        return _without_id(pool, spec, image_id)
    if source is not None and (lost := _lost(pool, source, "source")):
        return PreconditionError(
            "MIGRATION_SOURCE_MISSING", f"The image is under migration, and {lost}: its data is not complete."
        )
    if parent is not None and (lost := _lost(pool, parent, "parent")):
        return PreconditionError(
            "PARENT_MISSING",
            f"The image is a clone, and {lost}: Ceph does not open it. It can be deleted, unless it has snapshots.",
        )
    return RetryableError(
        Code.UNAVAILABLE, "TRY_AGAIN", "The image is there, but Ceph did not find it. It may be changing."
    )


def _incomplete(spec: ImageSpec, what: str) -> PreconditionError:
    return PreconditionError(
        "IMAGE_INCOMPLETE",
        f"The image {quoted(spec.image)} cannot be opened: {what}. Another client is creating or deleting it, or was "
        "interrupted at that. DeleteImage removes what is left.",
    )


def _without_id(pool: OpenPool, spec: ImageSpec, image_id: str) -> PreconditionError:
    """Return the error for an image whose name leads to no id. By its id, `rbd` still opens it."""
    what = "the object with its id is missing"
    if not any(True for _ in raw_snapshots(pool.ioctx, image_id)):
        return _incomplete(spec, what)
    place = " ".join(f"--{key} {shlex.quote(value)}" for key, value in _place(spec).items())
    return PreconditionError(
        "IMAGE_INCOMPLETE",
        f"The image {quoted(spec.image)} cannot be opened: {what}. It has snapshots. DeleteImage removes what is left "
        f"after `rbd snap purge {place} --image-id {image_id}`.",
    )


def _place(spec: ImageSpec) -> dict[str, str]:
    return {"pool": spec.pool, "namespace": spec.namespace} if spec.namespace else {"pool": spec.pool}


def _lost(pool: OpenPool, link: Link, what: str) -> str | None:
    """Say what is gone of an image that another one needs; None where it is there, or does not answer."""
    if link.pool_id not in pool.current.now().by_id:
        return f"the pool of its {what}, with the id {link.pool_id}, does not exist any more"
    ioctx = open_handle(pool.connection, link.pool_id, link.namespace)
    header = BoundedReply(partial(ioctx.aio_read, header_of(link.image_id), 1, 0))
    is_gone = header.status(_PATIENCE_SECONDS) == errno.ENOENT
    return f"its {what}, the image with the id {link.image_id}, does not exist any more" if is_gone else None

"""Snapshots that are in a call's way, or are not what a call takes them for: the kind of each, and what removes it."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress

import rbd
from connectrpc.code import Code

from rbd_connect.ceph.pools.open_pool import OpenPool
from rbd_connect.ceph.used_bytes import Listed
from rbd_connect.model.errors import PreconditionError, PreconditionViolation, RetryableError, ServiceError, quoted
from rbd_connect.model.names import ImageSpec, SnapshotSpec
from rbd_connect.model.not_found import no_snapshot

from .info import list_snapshots

__all__ = ["clones_of", "snapshots_in_the_way", "why_no_snapshot"]


def snapshots_in_the_way(pool: OpenPool, image: rbd.Image, spec: ImageSpec) -> list[PreconditionViolation]:
    """Return the snapshots that keep an image from being deleted: all but mirroring's, which `rbd rm` removes.

    Clones of a snapshot that was deleted, and is kept for them, follow it. Raises what the bindings raise.
    """
    found: list[PreconditionViolation] = []
    for listed in list_snapshots(pool.ioctx, image):
        if listed.kind == rbd.RBD_SNAP_NAMESPACE_TYPE_MIRROR:
            continue
        found.append(_violation(pool, image, spec, listed))
        if listed.kind == rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH:
            found.extend(clones_of(image, listed.id))
    return found


def why_no_snapshot(pool: OpenPool, image: rbd.Image, spec: SnapshotSpec) -> ServiceError:
    """Say why librbd did not find a user's snapshot: there is none; or the name is that of another kind of snapshot.

    Raises what the bindings raise.
    """
    named = [listed for listed in list_snapshots(pool.ioctx, image) if listed.name == spec.snapshot]
    if any(listed.user for listed in named):
        return RetryableError(
            Code.UNAVAILABLE, "TRY_AGAIN", "The snapshot is there, but Ceph did not find all that it needs."
        )
    for listed in named:
        violation = _violation(pool, image, spec, listed)
        message = f"The snapshot {quoted(spec.snapshot)} is not a user's. {violation.description}"
        return PreconditionError("SNAPSHOT_NOT_A_USERS", message, [violation])
    return no_snapshot(spec)


def clones_of(image: rbd.Image, snapshot_id: int) -> Iterator[PreconditionViolation]:
    """Yield the clones of a snapshot (``rbd_list_children3``), as ``pool/image`` or ``pool/namespace/image``.

    Yields none where they cannot be listed, for instance since the pool of one has gone. Leaves the handle set to the
    snapshot.
    """
    children: Sequence[rbd._Child] = ()
    with suppress(rbd.Error, UnicodeDecodeError):
        image.set_snap_by_id(snapshot_id)
        children = list(image.list_children2())
    for child in children:
        which = (child["pool"], child["pool_namespace"], child["image"])
        place = "/".join(filter(None, which))
        description = "It is a clone, in the trash." if child["trash"] else "It is a clone."
        yield PreconditionViolation(kind="CLONE", subject=place, description=description, image=which)


def _violation(pool: OpenPool, image: rbd.Image, spec: ImageSpec, listed: Listed) -> PreconditionViolation:
    by_id = f"--snap-id {listed.id} {spec.words}"
    match listed.kind:
        case rbd.RBD_SNAP_NAMESPACE_TYPE_GROUP:
            return PreconditionViolation(
                kind="GROUP_SNAPSHOT",
                subject=listed.name or f"#{listed.id}",
                description=_of_group(pool, image, listed),
            )
        case rbd.RBD_SNAP_NAMESPACE_TYPE_MIRROR:
            return PreconditionViolation(
                kind="MIRROR_SNAPSHOT",
                subject=listed.name or f"#{listed.id}",
                description=f"Mirroring made it. `rbd mirror image disable {spec.words}` removes it.",
            )
        case rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH:
            return PreconditionViolation(
                kind="TRASH_SNAPSHOT",
                subject=listed.original_name or f"#{listed.id}",
                description="It was deleted, and is kept for its clones. Flatten or delete them; "
                f"`rbd children {by_id}` lists them.",
            )
    if listed.name is None:
        return PreconditionViolation(
            kind="SNAPSHOT",
            subject=f"#{listed.id}",
            description=f"Its name is not UTF-8. `rbd snap rm {by_id}` deletes it.",
        )
    return PreconditionViolation(
        kind="SNAPSHOT", subject=listed.name, description="It is a user's. DeleteImageSnapshot deletes it."
    )


def _of_group(pool: OpenPool, image: rbd.Image, listed: Listed) -> str:
    with suppress(rbd.Error, UnicodeDecodeError):
        found = image.snap_get_group_namespace(listed.id)
        # librbd takes a group to be in the namespace of its images.
        group = shlex.quote(f"{pool.pool_name(found['pool'], pool.namespace)}/{found['name']}@{found['snap_name']}")
        return f"It belongs to a group's snapshot. `rbd group snap rm {group}` removes it."
    return "It belongs to a group's snapshot. `rbd group snap rm` removes it."

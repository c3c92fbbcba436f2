"""librbd calls on snapshots. All of them block."""

from dataclasses import dataclass

import rados
import rbd
from connectrpc.code import Code

from ..errors import ServiceError
from ..progress import changes, phase
from ..spec import SnapshotSpec
from .image import check_writable, open_image
from .image_lock import ImageLock
from .usage import Listed, used_bytes

__all__ = ["Snapshot", "SnapshotExistsError", "create"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is true of a snapshot.

    ``quota_bytes`` is the image's size at it; ``used_bytes`` is None where it is unknown.
    """

    name: str
    protected: bool
    quota_bytes: int
    used_bytes: int | None


class SnapshotExistsError(ServiceError):
    """The snapshot exists. It comes along, so that a retry needs no second call."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(Code.ALREADY_EXISTS, "SNAPSHOT_EXISTS", f"The snapshot {snapshot.name!r} exists already.")
        self.snapshot = snapshot


def create(ioctx: rados.Ioctx, spec: SnapshotSpec, *, diff_budget: int) -> Snapshot:
    """Create a snapshot (``rbd_snap_create``) and describe it.

    ``diff_budget`` bounds, in objects, what is spent on its used bytes.

    Of several that create it at once, whichever servers they call, one succeeds.

    Raises SnapshotExistsError with the existing snapshot, NotFoundError, ServiceError; and what the bindings raise.
    """
    with ImageLock(ioctx) as lock, open_image(ioctx, spec) as image:
        lock.take(image, spec.image)
        existed = _create(image, spec.snapshot)
        with phase("refresh"):
            listing = _list(image)
        lock.let_go()
        snapshot = _describe(ioctx, image, listing, spec.snapshot, diff_budget)
    if existed is not None:
        raise SnapshotExistsError(snapshot) from existed
    return snapshot


def _create(image: rbd.Image, name: str) -> rbd.ImageExists | None:
    """Create a snapshot; give the error where there is one of that name."""
    try:
        with phase("create"):
            changes()
            _create_snap(image, name)
    except rbd.ImageExists as error:
        return error
    except rbd.ReadOnlyImage:
        check_writable(image)
        raise  # the exclusive lock cannot be had
    return None


def _create_snap(image: rbd.Image, name: str) -> None:
    try:
        image.create_snap(name)
    except rbd.PermissionError:
        # So a monitor answers for one that died, whatever the caps (seen with 16.2.15). No snapshot id was given out.
        image.create_snap(name)


def _describe(
    ioctx: rados.Ioctx, image: rbd.Image, listing: list[Listed] | None, name: str, diff_budget: int
) -> Snapshot:
    if listing is None:
        return _describe_unlisted(image, name)
    snapshot = next((listed for listed in listing if listed.user and listed.name == name), None)
    if snapshot is None:
        raise ServiceError(
            Code.ABORTED, "SNAPSHOT_VANISHED", f"The snapshot {name!r} was removed by another client meanwhile."
        )
    protected = image.is_protected_snap(name)
    with phase("usage"):
        used = used_bytes(ioctx, image, listing, snapshot, diff_budget=diff_budget)
    return Snapshot(name=name, protected=protected, quota_bytes=snapshot.size, used_bytes=used)


def _list(image: rbd.Image) -> list[Listed] | None:
    """List an image's snapshots by rising id (``rbd_snap_list2``).

    None where the binding cannot, since a name among them is no UTF-8.
    """
    try:
        found = [
            Listed(snap["id"], snap["name"], snap["size"], snap["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER)
            for snap in image.list_snaps()
        ]
    except UnicodeDecodeError:
        return None
    return sorted(found, key=lambda listed: listed.id)


def _describe_unlisted(image: rbd.Image, name: str) -> Snapshot:
    """Describe a snapshot without the listing; what it used is unknown, since the snapshot before it is."""
    protected = image.is_protected_snap(name)
    image.set_snap_by_id(image.snap_get_id(name))
    return Snapshot(name=name, protected=protected, quota_bytes=image.size(), used_bytes=None)

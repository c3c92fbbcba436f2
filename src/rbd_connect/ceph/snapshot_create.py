"""Creating a snapshot. All of it blocks."""

import rados
import rbd
from connectrpc.code import Code

from ..errors import ServiceError
from ..progress import changes, phase
from ..spec import SnapshotSpec
from .image import changing
from .monitor import once_more_if_denied
from .snapshots import Snapshot, describe, list_snapshots
from .usage import Listed, used_bytes

__all__ = ["SnapshotExistsError", "create"]


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
    with changing(ioctx, spec) as (image, lock):
        existed = _create(image, spec.snapshot)
        with phase("refresh"):
            listing = list_snapshots(image)
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
            once_more_if_denied(lambda: image.create_snap(name))
    except rbd.ImageExists as error:
        return error
    return None


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
    with phase("usage"):
        (used,) = used_bytes(ioctx, image, listing, [snapshot], diff_budget=diff_budget)
    return describe(image, snapshot, used)


def _describe_unlisted(image: rbd.Image, name: str) -> Snapshot:
    """Describe a snapshot without the listing; what it used is unknown, since the snapshot before it is."""
    protected = image.is_protected_snap(name)
    number = image.snap_get_id(name)
    image.set_snap_by_id(number)
    return Snapshot(id=number, name=name, protected=protected, quota_bytes=image.size(), used_bytes=None)

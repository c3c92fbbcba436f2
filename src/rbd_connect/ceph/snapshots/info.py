"""What is true of snapshots: as librbd lists them, and as a client is told."""

from contextlib import suppress

import rados
import rbd

from rbd_connect.ceph.objects.header import RawSnapshot, raw_snapshots, raw_snapshots_of_format_1
from rbd_connect.ceph.used_bytes import Listed
from rbd_connect.model.resources import Snapshot

__all__ = ["describe", "list_snapshots"]

_TRIES = 16


def list_snapshots(ioctx: rados.Ioctx, image: rbd.Image) -> list[Listed]:
    """List an image's snapshots of all kinds by rising id (``rbd_snap_list2``).

    Where the binding cannot, since a name among them is not UTF-8, they are read from the image's header; that one has
    no name then. Raises what the bindings raise.
    """
    try:
        found = _by_librbd(image)
    except UnicodeDecodeError:
        raw = (
            raw_snapshots_of_format_1(ioctx, image.get_name())
            if image.old_format()
            else raw_snapshots(ioctx, image.id())
        )
        found = [_listed(snapshot) for snapshot in raw]
    return sorted(found, key=lambda listed: listed.id)


def describe(image: rbd.Image, listed: Listed, used: int | None) -> Snapshot:
    """Describe a snapshot, which has a name. Raises ``rbd.ImageNotFound`` where it has gone."""
    assert listed.name is not None  # noqa: S101 - see above
    protected = image.is_protected_snap(listed.name)
    return Snapshot(id=listed.id, name=listed.name, protected=protected, quota_bytes=listed.size, used_bytes=used)


def _by_librbd(image: rbd.Image) -> list[Listed]:
    """List snapshots by the binding, which lists them and then asks of what kind each is.

    Of one that was removed in between it raises ImageNotFound, for which the image's other snapshots cannot help.
    """
    for _ in range(_TRIES):
        with suppress(rbd.ImageNotFound):
            return [_of_binding(snapshot) for snapshot in image.list_snaps()]
    return [_of_binding(snapshot) for snapshot in image.list_snaps()]


def _of_binding(snapshot: "rbd.Snapshot") -> Listed:
    # There is no more about a snapshot that was removed while the binding listed it.
    deleted = snapshot.get("trash")
    original_name = deleted["original_name"] if deleted else None
    return Listed(snapshot["id"], snapshot["name"], snapshot["size"], snapshot["namespace"], original_name)


def _listed(snapshot: RawSnapshot) -> Listed:
    return Listed(snapshot.id, _decoded(snapshot.name), snapshot.size, snapshot.kind, _decoded(snapshot.original_name))


def _decoded(name: bytes | None) -> str | None:
    with suppress(UnicodeDecodeError):
        return None if name is None else name.decode()
    return None

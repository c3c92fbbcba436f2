"""What is true of snapshots: as librbd lists them, and as a client is told."""

from contextlib import suppress
from dataclasses import dataclass

import rbd

from .usage import Listed

__all__ = ["Snapshot", "describe", "list_snapshots", "snapshots_of"]

_TRIES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is true of a snapshot.

    ``id`` is its number in its image; ``quota_bytes`` is the image's size at it; ``used_bytes`` is None where it is
    unknown.
    """

    id: int
    name: str
    protected: bool
    quota_bytes: int
    used_bytes: int | None


def snapshots_of(image: rbd.Image) -> "list[rbd.Snapshot]":
    """Give an image's snapshots as the binding has them (``rbd_snap_list``). Raises UnicodeDecodeError.

    It lists them, and then asks of what kind each is; of one that was removed in between it raises ImageNotFound, for
    which the image's other snapshots cannot help.
    """
    for _ in range(_TRIES):
        with suppress(rbd.ImageNotFound):
            return list(image.list_snaps())
    return list(image.list_snaps())


def list_snapshots(image: rbd.Image) -> list[Listed] | None:
    """List an image's snapshots by rising id (``rbd_snap_list2``).

    None where the binding cannot, since a name among them is no UTF-8.
    """
    try:
        found = [
            Listed(snap["id"], snap["name"], snap["size"], snap["namespace"] == rbd.RBD_SNAP_NAMESPACE_TYPE_USER)
            for snap in snapshots_of(image)
        ]
    except UnicodeDecodeError:
        return None
    return sorted(found, key=lambda listed: listed.id)


def describe(image: rbd.Image, listed: Listed, used: int | None) -> Snapshot:
    """Describe a snapshot. Raises ``rbd.ImageNotFound`` where it has gone."""
    protected = image.is_protected_snap(listed.name)
    return Snapshot(id=listed.id, name=listed.name, protected=protected, quota_bytes=listed.size, used_bytes=used)

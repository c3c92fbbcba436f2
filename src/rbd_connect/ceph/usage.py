"""Used bytes of a snapshot.

They come from the object map where it can be trusted, else from ``diff_iterate`` within a budget, else are unknown.

The figure is the one that ``rbd du`` prints: the whole objects that changed since the user's snapshot before this one
(for the first, all that exist), a clone's parent excluded, the last object clipped at the image's size.
"""

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import rados
import rbd

from . import object_map
from .object_map import ObjectMap

__all__ = ["Listed", "used_bytes"]

_log = logging.getLogger(__name__)

_U64 = struct.Struct("<Q")
_FAST_DIFF = rbd.RBD_FEATURE_OBJECT_MAP | rbd.RBD_FEATURE_FAST_DIFF
_MAP_INVALID = rbd.RBD_FLAG_OBJECT_MAP_INVALID | rbd.RBD_FLAG_FAST_DIFF_INVALID


@dataclass(frozen=True, slots=True)
class Listed:
    """A snapshot as ``rbd_snap_list2`` lists it.

    ``size`` is in bytes; ``user`` tells users' snapshots from mirroring's, groups' and trash.
    """

    id: int
    name: str
    size: int
    user: bool


def used_bytes(
    ioctx: rados.Ioctx, image: rbd.Image, listing: Sequence[Listed], snapshot: Listed, *, diff_budget: int
) -> int | None:
    """Give the used bytes of a snapshot, or None where they cannot be known within ``diff_budget`` objects.

    Never raises what Ceph raises.

    ``listing`` is all of the image's snapshots by rising id. May leave the handle set to the snapshot
    (``rbd_snap_set_by_id``).
    """
    try:
        return _used_bytes(ioctx, image, listing, snapshot, diff_budget)
    except (rados.Error, rbd.Error) as error:
        _log.warning("usage of snapshot %d of image %s is unknown: %s", snapshot.id, image.id(), error)
        return None


def _used_bytes(
    ioctx: rados.Ioctx, image: rbd.Image, listing: Sequence[Listed], snapshot: Listed, diff_budget: int
) -> int | None:
    if snapshot.size == 0:
        return 0  # to ask for the diff of nothing would abort the process (ceph_assert in librbd's DiffIterate.cc)
    older = list(takewhile(lambda other: other.id < snapshot.id, listing))
    before = next((other for other in reversed(older) if other.user), None)
    between = [other for other in older if before is None or other.id > before.id]
    object_size = image.stat()["obj_size"]
    if _maps_can_be_trusted(ioctx, image, [*([before] if before else []), *between, snapshot]):
        try:
            return object_map.used_bytes(
                _read_map(ioctx, image.id(), snapshot, object_size),
                None if before is None else [_read_map(ioctx, image.id(), other, object_size) for other in between],
                size=snapshot.size,
                object_size=object_size,
            )
        except (object_map.MalformedObjectMapError, rados.ObjectNotFound) as error:
            _log.warning("object map of snapshot %d of image %s cannot be used: %s", snapshot.id, image.id(), error)
    if _objects(snapshot.size, object_size) > diff_budget:
        return None
    image.set_snap_by_id(snapshot.id)
    return _diff(image, before.name if before else None, snapshot.size)


def _maps_can_be_trusted(ioctx: rados.Ioctx, image: rbd.Image, snapshots: Sequence[Listed]) -> bool:
    """Say whether the object maps of these snapshots are valid and tell what changed."""
    # With fancy striping an object is no range of the image, and clipping the last one is not enough.
    if image.stripe_count() != 1 or image.features() & _FAST_DIFF != _FAST_DIFF:
        return False
    image_id = image.id()
    return not any(_flags(ioctx, image_id, snapshot) & _MAP_INVALID for snapshot in snapshots)


def _flags(ioctx: rados.Ioctx, image_id: str, snapshot: Listed) -> int:
    """Read a snapshot's flags where they are kept (``get_flags`` of ``cls_rbd``).

    ``rbd_get_flags`` would do for a handle that is set to the snapshot, which costs four times as much: librbd reads
    the snapshot's object map, and more, for that.
    """
    header = f"rbd_header.{image_id}"
    _, flags = ioctx.execute(header, "rbd", "get_flags", _U64.pack(snapshot.id))
    return int(_U64.unpack(flags)[0])


def _read_map(ioctx: rados.Ioctx, image_id: str, snapshot: Listed, object_size: int) -> ObjectMap:
    objects = _objects(snapshot.size, object_size)
    data = ioctx.read(object_map.object_name(image_id, snapshot.id), length=object_map.encoded_size(objects))
    decoded = ObjectMap.decode(data)
    if decoded.objects != objects:
        raise object_map.MalformedObjectMapError(f"it is of {decoded.objects} objects; the snapshot has {objects}")
    return decoded


def _diff(image: rbd.Image, before: str | None, size: int) -> int:
    """Sum the extents that changed (``rbd_diff_iterate2``), as ``rbd du`` does.

    Calls Python once an object, and takes the GIL each time.
    """
    used = 0

    def add(_offset: int, length: int, exists: bool) -> None:  # noqa: FBT001 - librbd's own signature
        nonlocal used
        if exists:
            used += length

    image.diff_iterate(0, size, before, add, include_parent=False, whole_object=True)
    return used


def _objects(size: int, object_size: int) -> int:
    return -(-size // object_size)

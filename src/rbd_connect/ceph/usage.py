"""Used bytes of a snapshot.

They come from the object map where it can be trusted, else from ``diff_iterate`` within a budget, else are unknown.

The figure is the one that ``rbd du`` prints: the whole objects that changed since the user's snapshot before this one
(for the first, all that exist), a clone's parent excluded, the last object clipped at the image's size.
"""

import logging
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

import rados
import rbd

from . import object_map
from .object_map import ObjectMap, encoded_size
from .reply import Reply

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
    if _tells_what_changed(image):
        try:
            maps = _Maps(ioctx, image.id(), object_size, unread=[before] if before else [], read=[*between, snapshot])
            if maps.are_valid():
                *others, current = maps.read()
                return object_map.used_bytes(
                    current, None if before is None else others, size=snapshot.size, object_size=object_size
                )
        except (object_map.MalformedObjectMapError, rados.ObjectNotFound) as error:
            _log.warning("object map of snapshot %d of image %s cannot be used: %s", snapshot.id, image.id(), error)
    if _objects(snapshot.size, object_size) > diff_budget:
        return None
    image.set_snap_by_id(snapshot.id)
    return _diff(image, before.name if before else None, snapshot.size)


def _tells_what_changed(image: rbd.Image) -> bool:
    """Say whether an image has object maps by which used bytes can be told."""
    # With fancy striping an object is no range of the image, and clipping the last one is not enough.
    return image.stripe_count() == 1 and image.features() & _FAST_DIFF == _FAST_DIFF


class _Maps:
    """Object maps of snapshots, and their flags; all asked for at once."""

    def __init__(
        self,
        ioctx: rados.Ioctx,
        image_id: str,
        object_size: int,
        *,
        unread: Sequence[Listed],
        read: Sequence[Listed],
    ) -> None:
        """``unread`` are the snapshots of which it will do that their maps are there, and valid.

        Raises what the bindings raise, as do the others.
        """
        self._objects = [_objects(snapshot.size, object_size) for snapshot in read]
        header = f"rbd_header.{image_id}"
        # ``rbd_get_flags`` would want a handle that is set to the snapshot, for which librbd reads the snapshot's
        # object map and more: four times the cost.
        self._flags = [
            Reply(partial(ioctx.aio_execute, header, "rbd", "get_flags", _U64.pack(snapshot.id), _U64.size))
            for snapshot in [*unread, *read]
        ]

        def begin_to_read(snapshot: Listed, length: int) -> Reply:
            return Reply(partial(ioctx.aio_read, object_map.object_name(image_id, snapshot.id), length, 0))

        # A create that was interrupted can leave a snapshot without a map, and no flag says so before it is looked for.
        # The head's map then still has what changed before that snapshot as changed; and so has the next one's.
        self._unread = [begin_to_read(snapshot, 1) for snapshot in unread]
        self._maps = [
            begin_to_read(snapshot, encoded_size(objects))
            for snapshot, objects in zip(read, self._objects, strict=True)
        ]

    def are_valid(self) -> bool:
        """Say whether all of them are. Raises ``rados.ObjectNotFound`` where one is not there."""
        flags = [_U64.unpack(reply.wait())[0] for reply in self._flags]
        for reply in self._unread:
            reply.wait()
        return not any(of_snapshot & _MAP_INVALID for of_snapshot in flags)

    def read(self) -> list[ObjectMap]:
        """Give those that were to be read. Raises MalformedObjectMapError."""
        decoded = [ObjectMap.decode(reply.wait()) for reply in self._maps]
        if [each.objects for each in decoded] != self._objects:
            raise object_map.MalformedObjectMapError(f"the snapshots have {self._objects} objects, and the maps others")
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

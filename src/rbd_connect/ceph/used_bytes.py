"""Used bytes of snapshots, and of an image's head.

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

from rbd_connect.ceph.objects.async_calls import Reply
from rbd_connect.ceph.objects.object_map import ObjectMap, encoded_size

from .objects import object_map

__all__ = ["Listed", "head", "used_bytes"]

_log = logging.getLogger(__name__)

_U64 = struct.Struct("<Q")
_HEAD = (1 << 64) - 2  # CEPH_NOSNAP
_FAST_DIFF = rbd.RBD_FEATURE_OBJECT_MAP | rbd.RBD_FEATURE_FAST_DIFF
_MAP_INVALID = rbd.RBD_FLAG_OBJECT_MAP_INVALID | rbd.RBD_FLAG_FAST_DIFF_INVALID


@dataclass(frozen=True, slots=True)
class Listed:
    """A snapshot as ``rbd_snap_list2`` lists it, or an image's head.

    ``size`` is in bytes; ``kind`` is librbd's ``rbd_snap_namespace_type_t``. ``name`` is None where it is not UTF-8;
    ``original_name`` is that of a deleted one, which is kept for its clones under another name.
    """

    id: int
    name: str | None
    size: int
    kind: int = rbd.RBD_SNAP_NAMESPACE_TYPE_USER
    original_name: str | None = None

    @property
    def user(self) -> bool:
        """Whether it is a user's, and not mirroring's, a group's, or deleted."""
        return self.kind == rbd.RBD_SNAP_NAMESPACE_TYPE_USER


def head(size: int) -> Listed:
    """Give an image's head, as if it were its last snapshot."""
    return Listed(_HEAD, "", size)


def used_bytes(
    ioctx: rados.Ioctx, image: rbd.Image, listing: Sequence[Listed], wanted: Sequence[Listed], *, diff_budget: int
) -> list[int | None]:
    """Give the used bytes of some snapshots, or None where they cannot be known within ``diff_budget`` objects each.

    Never raises what Ceph raises.

    ``listing`` is all of the image's snapshots by rising id, ``wanted`` are some of them, or its head. May leave the
    handle set to one of them (``rbd_snap_set_by_id``).
    """
    image_id = "" if image.old_format() else image.id()
    try:
        intervals = [_Interval.until(snapshot, listing) for snapshot in wanted]
        object_size = image.stat()["obj_size"]
        maps = _Maps(ioctx, image_id, object_size, intervals) if _tells_what_changed(image) else None
    except (rados.Error, rbd.Error) as error:
        _log.warning("usage of image %s is unknown: %s", image_id, error)
        return [None] * len(wanted)

    def used(interval: _Interval) -> int | None:
        snapshot = interval.snapshot
        if snapshot.size == 0:
            return 0  # to ask for the diff of nothing would abort the process (ceph_assert in librbd's DiffIterate.cc)
        try:
            found = None if maps is None else maps.used(interval)
            if found is not None or _objects(snapshot.size, object_size) > diff_budget:
                return found
            if interval.before is not None and interval.before.name is None:
                return None  # librbd takes the snapshot to compare with by its name
            return _diff(image, interval)
        except (rados.Error, rbd.Error) as error:
            _log.warning("usage of snapshot %d of image %s is unknown: %s", snapshot.id, image_id, error)
            return None

    return [used(interval) for interval in intervals]


@dataclass(frozen=True, slots=True)
class _Interval:
    """What a snapshot's usage counts: the time since the user's snapshot before, and the other snapshots between."""

    snapshot: Listed
    before: Listed | None
    between: tuple[Listed, ...]

    @classmethod
    def until(cls, snapshot: Listed, listing: Sequence[Listed]) -> "_Interval":
        older = list(takewhile(lambda other: other.id < snapshot.id, listing))
        before = next((other for other in reversed(older) if other.user), None)
        between = (other for other in older if before is None or other.id > before.id)
        return cls(snapshot, before, tuple(between))


def _tells_what_changed(image: rbd.Image) -> bool:
    """Say whether an image has object maps by which used bytes can be told."""
    # With fancy striping an object is no range of the image, and clipping the last one is not enough.
    return image.stripe_count() == 1 and image.features() & _FAST_DIFF == _FAST_DIFF


class _Maps:
    """Object maps of snapshots, and their flags; all asked for at once."""

    def __init__(self, ioctx: rados.Ioctx, image_id: str, object_size: int, intervals: Sequence[_Interval]) -> None:
        """Raises what the bindings raise."""
        self._image_id = image_id
        self._object_size = object_size
        read = {each.id: each for interval in intervals for each in (*interval.between, interval.snapshot)}
        unread = {
            interval.before.id: interval.before
            for interval in intervals
            if interval.before is not None and interval.before.id not in read
        }
        header = f"rbd_header.{image_id}"

        # ``rbd_get_flags`` would want a handle that is set to the snapshot, for which librbd reads the snapshot's
        # object map and more: four times the cost.
        self._flags = {
            number: Reply(partial(ioctx.aio_execute, header, "rbd", "get_flags", _U64.pack(number), _U64.size))
            for number in (*read, *unread)
        }

        def begin_to_read(number: int, length: int) -> Reply:
            name = object_map.object_name(image_id, None if number == _HEAD else number)
            return Reply(partial(ioctx.aio_read, name, length, 0))

        # A create that was interrupted can leave a snapshot without a map, and no flag says so before it is looked for.
        # The head's map then still has what changed before that snapshot as changed; and so has the next one's.
        self._maps = {number: begin_to_read(number, 1) for number in unread} | {
            number: begin_to_read(number, encoded_size(_objects(listed.size, object_size)))
            for number, listed in read.items()
        }

    def used(self, interval: _Interval) -> int | None:
        """Give the used bytes of a snapshot, or None where the maps do not tell. Raises what the bindings raise."""
        if interval.snapshot.size == 0:
            return 0
        try:
            if interval.before is not None:
                self._check(interval.before)
            between = [self._read(other) for other in interval.between]
            return object_map.used_bytes(
                self._read(interval.snapshot),
                None if interval.before is None else between,
                size=interval.snapshot.size,
                object_size=self._object_size,
            )
        except _InvalidMapError:
            return None
        except (object_map.MalformedObjectMapError, rados.ObjectNotFound) as error:
            number = interval.snapshot.id
            _log.warning("object map of snapshot %d of image %s cannot be used: %s", number, self._image_id, error)
            return None

    def _read(self, snapshot: Listed) -> ObjectMap:
        """Give the map of a snapshot. Raises MalformedObjectMapError, as well as what ``_check`` raises."""
        decoded = ObjectMap.decode(self._check(snapshot))
        objects = _objects(snapshot.size, self._object_size)
        if decoded.objects != objects:
            raise object_map.MalformedObjectMapError(f"it has {decoded.objects} objects, and the snapshot {objects}")
        return decoded

    def _check(self, snapshot: Listed) -> bytes:
        """Give what was read of a map. Raises ``rados.ObjectNotFound`` where it is not there, _InvalidMapError."""
        (flags,) = _U64.unpack(self._flags[snapshot.id].wait())
        if flags & _MAP_INVALID:
            raise _InvalidMapError("it is marked invalid")
        return self._maps[snapshot.id].wait()


class _InvalidMapError(Exception):
    """A map that its image's header says is not to be trusted."""


def _diff(image: rbd.Image, interval: _Interval) -> int:
    """Sum the extents that changed (``rbd_diff_iterate2``), as ``rbd du`` does.

    Calls Python once an object, and takes the GIL each time.
    """
    snapshot = interval.snapshot
    image.set_snap_by_id(None if snapshot.id == _HEAD else snapshot.id)
    used = 0

    def add(_offset: int, length: int, exists: bool) -> None:  # noqa: FBT001 - librbd's own signature
        nonlocal used
        if exists:
            used += length

    since = interval.before.name if interval.before else None
    image.diff_iterate(0, snapshot.size, since, add, include_parent=False, whole_object=True)
    return used


def _objects(size: int, object_size: int) -> int:
    return -(-size // object_size)

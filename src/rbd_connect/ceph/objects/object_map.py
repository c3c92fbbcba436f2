"""librbd's object map: its format on disk, and what it says of a snapshot's usage.

Arithmetic only; nothing here talks to Ceph.

An object map holds two bits an object, the first object in a byte's high bits. A table turns bytes of them into bytes
with a bit for each object of a kind, and those are counted as one integer: milliseconds for millions. Format:
``cls_rbd``'s ``BitVector`` (``src/common/bit_vector.hpp``), states: ``src/include/rbd/object_map_types.h``.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

__all__ = ["MalformedObjectMapError", "ObjectMap", "bit_of", "encoded_size", "object_name", "used_bytes"]

# A u32 with the header's length; the header: version, compatible version, length of what follows, and the number of
# objects.
_HEADER_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<BBIQ")
_OBJECTS_A_BYTE = 4
_LOWER_BITS = 0x55
_EXISTING = bytes((states | states >> 1) & _LOWER_BITS for states in range(256))
_CHANGED = bytes((states ^ states >> 1) & _LOWER_BITS for states in range(256))


class MalformedObjectMapError(ValueError):
    """These bytes are no object map, or not one of that many objects."""


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """The states of ``objects`` objects as they are stored. The bits of the last byte that belong to none are clear."""

    objects: int
    states: bytes

    @classmethod
    def decode(cls, data: bytes) -> "ObjectMap":
        """Read an object map as it is stored. Raises MalformedObjectMapError."""
        try:
            (header_length,) = _HEADER_LENGTH.unpack_from(data)
            version, _, _, objects = _HEADER.unpack_from(data, _HEADER_LENGTH.size)
        except struct.error as error:
            raise MalformedObjectMapError("the header is cut short") from error
        if version != 1 or header_length < _HEADER.size:
            raise MalformedObjectMapError(f"version {version} is not known")
        start = _HEADER_LENGTH.size + header_length
        states = data[start : start + _bytes_for(objects)]
        if len(states) != _bytes_for(objects):
            raise MalformedObjectMapError(f"there are {len(states)} bytes of {_bytes_for(objects)}")
        unused = 2 * (_OBJECTS_A_BYTE * len(states) - objects)
        if unused:
            states = states[:-1] + bytes([states[-1] >> unused << unused])
        return cls(objects, states)

    def existing(self) -> int:
        """Give a bit (see ``bit_of``) for each object that exists."""
        return int.from_bytes(self.states.translate(_EXISTING), "little")

    def changed(self) -> int:
        """Give a bit for each object that was changed since the snapshot before, of whatever kind: states 1 and 2."""
        return int.from_bytes(self.states.translate(_CHANGED), "little")


def bit_of(number: int) -> int:
    """Say where the bit of an object is, whatever the number of objects; the lowest is 0."""
    byte, place = divmod(number, _OBJECTS_A_BYTE)
    return 8 * byte + 2 * (_OBJECTS_A_BYTE - 1 - place)


def object_name(image_id: str, snapshot_id: int | None) -> str:
    """Name the RADOS object that holds a snapshot's object map, or the head's (``ObjectMap<I>::object_map_name``)."""
    name = f"rbd_object_map.{image_id}"
    return name if snapshot_id is None else f"{name}.{snapshot_id:016x}"


def encoded_size(objects: int) -> int:
    """Say how many bytes of the stored map hold the header and the states; what follows are checksums."""
    return _HEADER_LENGTH.size + _HEADER.size + _bytes_for(objects)


def used_bytes(current: ObjectMap, between: Iterable[ObjectMap] | None, *, size: int, object_size: int) -> int:
    """Give the bytes that ``rbd du`` prints for a snapshot: whole objects, the last clipped at the image's size.

    ``between`` holds the maps of the snapshots that are not users' (mirroring's, say) between the user's snapshot
    before and this one: what changed before one of those is no longer marked in ``current``. It is None where there is
    no user's snapshot before: all that exists counts.
    """
    if between is None:
        used = current.existing()
    else:
        used = current.changed()  # they exist, all of them
        elsewhere = [other.changed() for other in between]
        if elsewhere:
            used |= reduce(or_, elsewhere) & current.existing()
    last_is_used = used >> bit_of(current.objects - 1) & 1 if current.objects else 0
    return used.bit_count() * object_size - last_is_used * (current.objects * object_size - size)


def _bytes_for(objects: int) -> int:
    return -(-objects // _OBJECTS_A_BYTE)

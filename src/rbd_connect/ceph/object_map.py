"""librbd's object map: its format on disk, and what it says of a snapshot's usage.


Arithmetic only; nothing here talks to Ceph.

An object map holds two bits an object, the first object in a byte's high bits. It is kept here as one integer, so that
counting millions of objects is a handful of operations on big integers. Format: ``cls_rbd``'s ``BitVector``
(``src/common/bit_vector.hpp``), states: ``src/include/rbd/object_map_types.h``.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["MalformedObjectMapError", "ObjectMap", "encoded_size", "object_name", "used_bytes"]

# A u32 with the header's length; the header: version, compatible version, length of what follows, and the number of
# objects.
_HEADER_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<BBIQ")
_OBJECTS_A_BYTE = 4


class MalformedObjectMapError(ValueError):
    """These bytes are no object map, or not one of that many objects."""


@dataclass(frozen=True, slots=True)
class ObjectMap:
    """The states of ``objects`` objects, two bits each, the last object in the lowest bits of ``states``."""

    objects: int
    states: int

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
        body = data[start : start + _bytes_for(objects)]
        if len(body) != _bytes_for(objects):
            raise MalformedObjectMapError(f"{objects} objects need {_bytes_for(objects)} bytes; there are {len(body)}")
        padding = 2 * (_OBJECTS_A_BYTE * len(body) - objects)
        return cls(objects, int.from_bytes(body) >> padding)

    def existing(self) -> int:
        """Give a bit (the lower of its two) for each object that exists."""
        return (self.states | self.states >> 1) & self._lower_bits()

    def changed(self) -> int:
        """Give a bit for each object that was changed since the snapshot before, of whatever kind: states 1 and 2."""
        return (self.states ^ self.states >> 1) & self._lower_bits()

    def changed_in(self, objects: int) -> int:
        """Give ``changed`` for a map of another number of objects."""
        surplus = self.objects - objects
        return self.changed() >> 2 * surplus if surplus >= 0 else self.changed() << -2 * surplus

    def _lower_bits(self) -> int:
        return int.from_bytes(b"\x55" * _bytes_for(self.objects))


def object_name(image_id: str, snapshot_id: int) -> str:
    """Name the RADOS object that holds a snapshot's object map (``ObjectMap<I>::object_map_name``)."""
    return f"rbd_object_map.{image_id}.{snapshot_id:016x}"


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
        used = current.changed()
        for other in between:
            used |= other.changed_in(current.objects)
        used &= current.existing()
    bytes_beyond_the_end = current.objects * object_size - size
    return used.bit_count() * object_size - (used & 1) * bytes_beyond_the_end


def _bytes_for(objects: int) -> int:
    return -(-objects // _OBJECTS_A_BYTE)

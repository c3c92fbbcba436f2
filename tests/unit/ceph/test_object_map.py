"""Object maps: decoding what is stored, and the bytes that follow from it, against counting object by object."""

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbd_connect.ceph.objects.object_map import (
    MalformedObjectMapError,
    ObjectMap,
    bit_of,
    encoded_size,
    object_name,
    used_bytes,
)

ABSENT, CHANGED, PENDING, UNCHANGED = range(4)

states = st.lists(st.sampled_from([ABSENT, CHANGED, PENDING, UNCHANGED]), min_size=1, max_size=300)


def stored(states: list[int]) -> bytes:
    """An object map as the OSD keeps it: the first object in a byte's high bits, checksums at the end."""
    body = bytearray(-(-len(states) // 4))
    for number, state in enumerate(states):
        body[number // 4] |= state << (6 - 2 * (number % 4))
    header = struct.pack("<BBIQ", 1, 1, 8, len(states))
    return struct.pack("<I", len(header)) + header + bytes(body) + b"checksums"


def decode(states: list[int]) -> ObjectMap:
    data = stored(states)
    return ObjectMap.decode(data[: encoded_size(len(states))])


@given(states)
def test_every_object_is_counted(states: list[int]) -> None:
    decoded = decode(states)
    assert decoded.objects == len(states)
    assert decoded.existing() == sum(1 << bit_of(number) for number, state in enumerate(states) if state != ABSENT)
    changed = [number for number, state in enumerate(states) if state in {CHANGED, PENDING}]
    assert decoded.changed() == sum(1 << bit_of(number) for number in changed)


@given(
    maps=st.lists(states, min_size=1, max_size=4),
    first=st.booleans(),
    order=st.integers(12, 25),
    clipped=st.integers(0, (1 << 12) - 1),
)
def test_used_bytes_are_those_of_the_objects_one_by_one(
    maps: list[list[int]], *, first: bool, order: int, clipped: int
) -> None:
    *between, current = maps
    object_size = 1 << order
    size = len(current) * object_size - clipped
    expected = 0
    for number, state in enumerate(current):
        changed = any(number < len(states) and states[number] in {CHANGED, PENDING} for states in [*between, current])
        if state != ABSENT and (first or changed):
            expected += min(object_size, size - number * object_size)
    others = None if first else [decode(states) for states in between]
    assert used_bytes(decode(current), others, size=size, object_size=object_size) == expected


@given(states, st.data())
def test_what_is_cut_short_is_refused(states: list[int], data: st.DataObject) -> None:
    whole = stored(states)[: encoded_size(len(states))]
    with pytest.raises(MalformedObjectMapError):
        ObjectMap.decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=64))
def test_whatever_is_stored_nothing_but_its_own_error_is_raised(data: bytes) -> None:
    with suppress(MalformedObjectMapError):
        ObjectMap.decode(data)


def test_a_million_objects_are_counted_at_once() -> None:
    decoded = ObjectMap.decode(stored([CHANGED, UNCHANGED] * 500_000))
    assert used_bytes(decoded, [], size=1_000_000 << 22, object_size=1 << 22) == 500_000 << 22


def test_the_name_of_the_object() -> None:
    assert object_name("10b1", 0x2A) == "rbd_object_map.10b1.000000000000002a"

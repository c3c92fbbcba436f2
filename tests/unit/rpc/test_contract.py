"""The contract: its names, numbers, types and presence are literally these.

Its bytes are those of any client that has the same numbers.
"""

import re
from collections.abc import Iterator

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from otterscale.storage.v1.storage_pb2 import DESCRIPTOR
from support.by_number import methods, nothing_unknown

_OF_SNAPSHOT = {1: "string scope", 3: "string pool_name", 4: "string image_name", 5: "string snapshot_name"}

MESSAGES = {
    "Image.Snapshot": {1: "string name", 2: "bool protected", 3: "uint64 quota_bytes", 4: "uint64 used_bytes"},
    "Image": {
        1: "string name",
        11: "string pool_name",
        21: "uint64 object_size_bytes",
        22: "uint64 stripe_unit_bytes",
        23: "uint64 stripe_count",
        31: "uint64 quota_bytes",
        32: "uint64 used_bytes",
        33: "uint64 object_count",
        41: "bool layering",
        42: "bool exclusive_lock",
        43: "bool object_map",
        44: "bool fast_diff",
        45: "bool deep_flatten",
        51: "google.protobuf.Timestamp created_at",
        101: "repeated otterscale.storage.v1.Image.Snapshot snapshots",
    },
    "Pool": {
        1: "int64 id",
        2: "string name",
        3: "bool updating",
        11: "otterscale.storage.v1.PoolType pool_type",
        21: "bool ec_overwrites",
        22: "uint64 data_chunks",
        23: "uint64 coding_chunks",
        31: "uint64 replicated_size",
        41: "uint64 quota_bytes",
        42: "uint64 quota_objects",
        43: "uint64 used_bytes",
        44: "uint64 used_objects",
        45: "uint64 max_bytes",
        51: "uint64 placement_group_count",
        52: "map<string, int64> placement_group_state",
        61: "google.protobuf.Timestamp created_at",
        71: "repeated string applications",
    },
    "ListPoolsRequest": {1: "string scope", 11: "string application"},
    "ListPoolsResponse": {1: "repeated otterscale.storage.v1.Pool pools"},
    "ListImagesRequest": {1: "string scope"},
    "ListImagesResponse": {1: "repeated otterscale.storage.v1.Image images"},
    "CreateImageRequest": {
        1: "string scope",
        3: "string pool_name",
        4: "string image_name",
        11: "uint64 object_size_bytes",
        12: "uint64 stripe_unit_bytes",
        13: "uint64 stripe_count",
        21: "uint64 quota_bytes",
        31: "bool layering",
        32: "bool exclusive_lock",
        33: "bool object_map",
        34: "bool fast_diff",
        35: "bool deep_flatten",
    },
    "UpdateImageRequest": {
        1: "string scope",
        3: "string pool_name",
        4: "string image_name",
        11: "uint64 quota_bytes",
    },
    "DeleteImageRequest": {1: "string scope", 3: "string pool_name", 4: "string image_name"},
    "CreateImageSnapshotRequest": _OF_SNAPSHOT,
    "DeleteImageSnapshotRequest": _OF_SNAPSHOT,
    "RollbackImageSnapshotRequest": _OF_SNAPSHOT,
    "ProtectImageSnapshotRequest": _OF_SNAPSHOT,
    "UnprotectImageSnapshotRequest": _OF_SNAPSHOT,
}

_IMAGE = "otterscale.storage.v1.Image"
_NOTHING = "google.protobuf.Empty"

REPLIES = {
    "ListPools": "otterscale.storage.v1.ListPoolsResponse",
    "ListImages": "otterscale.storage.v1.ListImagesResponse",
    "CreateImage": _IMAGE,
    "UpdateImage": _IMAGE,
    "DeleteImage": _NOTHING,
    "CreateImageSnapshot": "otterscale.storage.v1.Image.Snapshot",
    "DeleteImageSnapshot": _NOTHING,
    "RollbackImageSnapshot": _NOTHING,
    "ProtectImageSnapshot": _NOTHING,
    "UnprotectImageSnapshot": _NOTHING,
}

_TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_INT32: "int32",
}

assert settings.default is not None
EXAMPLES = settings.default.max_examples // 4  # for each message of each method

SERVICE = DESCRIPTOR.services_by_name["StorageService"]


def test_numbers_types_and_names() -> None:
    found = {
        message.full_name.removeprefix("otterscale.storage.v1."): {
            field.number: f"{declared_type(field)} {field.name}" for field in message.fields
        }
        for message in messages_of_the_contract()
    }
    assert found == MESSAGES
    (enum,) = DESCRIPTOR.enum_types_by_name.values()
    assert enum.full_name == "otterscale.storage.v1.PoolType"
    assert {value.name: value.number for value in enum.values} == {"UNSPECIFIED": 0, "ERASURE": 1, "REPLICATED": 2}


def test_names_in_json() -> None:
    for message in messages_of_the_contract():
        for field in message.fields:
            assert field.json_name == re.sub("_(.)", lambda match: match[1].upper(), field.name)


def test_methods() -> None:
    assert list(DESCRIPTOR.services_by_name) == ["StorageService"]
    assert SERVICE.full_name == "otterscale.storage.v1.StorageService"
    assert {method.name: method.output_type.full_name for method in SERVICE.methods} == REPLIES
    for method in SERVICE.methods:
        assert method.input_type.full_name == f"otterscale.storage.v1.{method.name}Request"
        assert not method.client_streaming
        assert not method.server_streaming


def test_presence_and_what_is_reserved() -> None:
    for message in messages_of_the_contract():
        assert all(field.is_repeated or field.has_presence for field in message.fields)
        assert not message.oneofs  # the presence is the edition's own
        declared = descriptor_pb2.DescriptorProto()
        message.CopyToProto(declared)
        reserved = [(numbers.start, numbers.end) for numbers in declared.reserved_range]  # the end is beyond it
        assert reserved == ([(2, 3)] if message.name.endswith("Request") else [])
    file = descriptor_pb2.FileDescriptorProto()
    DESCRIPTOR.CopyToProto(file)
    assert file.edition == descriptor_pb2.EDITION_2023


def messages_of_the_contract() -> Iterator[Descriptor]:
    for message in DESCRIPTOR.message_types_by_name.values():
        yield message
        yield from (nested for nested in message.nested_types if not nested.GetOptions().map_entry)


def declared_type(field: FieldDescriptor) -> str:
    """Give a field's type as a proto file has it."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return f"map<{', '.join(declared_type(part) for part in message.fields)}>"
    named = message or field.enum_type
    name = named.full_name if named else _TYPES[field.type]
    return f"repeated {name}" if field.is_repeated else name


def messages(kind: Descriptor) -> st.SearchStrategy[Message]:
    """Messages of any content, each field set or not."""
    fields = {field.name: values(field) for field in kind.fields}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: GetMessageClass(kind)(**given))


def values(field: FieldDescriptor) -> st.SearchStrategy[object]:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return st.dictionaries(*(one(part) for part in message.fields), max_size=3)
    return st.lists(one(field), max_size=3) if field.is_repeated else one(field)


def one(field: FieldDescriptor) -> st.SearchStrategy[object]:
    """Values of a field, or one of the values where it is repeated."""
    if field.message_type is not None:
        return messages(field.message_type)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return {
        "string": st.text(),
        "bool": st.booleans(),
        "uint64": st.integers(0, 2**64 - 1),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "int32": st.integers(-(2**31), 2**31 - 1),
    }[_TYPES[field.type]]


@pytest.mark.parametrize("name", REPLIES)
@pytest.mark.parametrize("part", ["request", "reply"])
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_bytes_are_those_of_a_client_that_has_only_the_numbers(name: str, part: str, data: st.DataObject) -> None:
    method, by_number = SERVICE.methods_by_name[name], methods()[name]
    ours, theirs = (
        (method.input_type, by_number.input_type) if part == "request" else (method.output_type, by_number.output_type)
    )
    for kind, other in ((ours, theirs), (theirs, ours)):
        message = data.draw(messages(kind))
        content = message.SerializeToString(deterministic=True)
        read = GetMessageClass(other).FromString(content)
        assert nothing_unknown(read, content)
        assert read.SerializeToString(deterministic=True) == content

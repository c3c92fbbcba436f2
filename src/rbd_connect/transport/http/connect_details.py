"""Error details as connectrpc writes them: type, value, and ``debug``, the message as JSON.

It fills ``debug`` only for messages of protobuf-py, so Google's are described to that library.
"""

from collections.abc import Iterator
from functools import cache

from connectrpc.errors import ErrorDetail
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from protobuf import Registry
from protobuf.wkt import Any
from protobuf.wkt import FileDescriptorSet as PyFileDescriptorSet

__all__ = ["connect_detail"]


def connect_detail(message: Message) -> ErrorDetail:
    """Make a detail of a google.protobuf message. https://connectrpc.com/docs/protocol#error-end-stream"""
    name = message.DESCRIPTOR.full_name
    packed = Any(type_url=f"type.googleapis.com/{name}", value=message.SerializeToString())
    description = _registry(message.DESCRIPTOR.file).message(name)
    unpacked = packed.unpack(description) if description else None
    return ErrorDetail(unpacked or packed)


@cache
def _registry(file: FileDescriptor) -> Registry:
    """Describe a file of google.protobuf's, and what it imports, to protobuf-py."""
    files = FileDescriptorSet(file=_with_imports(file, seen=set()))
    return PyFileDescriptorSet.from_binary(files.SerializeToString()).to_registry()


def _with_imports(file: FileDescriptor, seen: set[str]) -> Iterator[FileDescriptorProto]:
    if file.name in seen:
        return
    seen.add(file.name)
    for imported in file.dependencies:
        yield from _with_imports(imported, seen)
    proto = FileDescriptorProto.FromString(file.serialized_pb)
    for message in proto.message_type:
        _name_fields_for_json(message, file.message_types_by_name[message.name])
    yield proto


def _name_fields_for_json(proto: DescriptorProto, descriptor: Descriptor) -> None:
    """Fill in the JSON names, which protoc leaves out of the files that it embeds in generated code."""
    for field in proto.field:
        field.json_name = descriptor.fields_by_name[field.name].json_name
    for nested in proto.nested_type:
        _name_fields_for_json(nested, descriptor.nested_types_by_name[nested.name])

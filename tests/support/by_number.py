"""Clients that know the contract's numbers and no names of its messages and fields: compiled from numbers.proto."""

from collections.abc import Callable, Mapping
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from .clients import compiled
from .server import Server

__all__ = ["CALLS_BY_NUMBER", "CallByNumber", "by_number", "methods", "nothing_unknown"]

_SERVICE = "otterscale.storage.v1.StorageService"
_BINARY = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}

# Called with a server, a method's name, and the request's fields; gives the reply's.
CallByNumber = Callable[[Server, str, Mapping[int, Any]], Mapping[int, Any]]


@cache
def methods() -> Mapping[str, MethodDescriptor]:
    """Compile numbers.proto; give the methods by their names."""
    module = compiled(Path(__file__).parent, "numbers.proto", "python")
    found: Mapping[str, MethodDescriptor] = module.DESCRIPTOR.services_by_name["Methods"].methods_by_name
    return found


def by_number(message: Message) -> dict[int, Any]:
    """Give the fields of a message by their numbers: those that are set, and all that are repeated."""
    return {
        field.number: _value(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if field.is_repeated or message.HasField(field.name)
    }


def nothing_unknown(message: Message, content: bytes) -> bool:
    """Say whether a message that was read has every field that its bytes have."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known.ByteSize() == len(content)


def _value(field: Any, value: Any) -> Any:  # noqa: ANN401 - descriptors have several types; and whatever a field holds
    if field.message_type is None:
        return list(value) if field.is_repeated else value
    if field.message_type.GetOptions().map_entry:
        return dict(value)
    return [_message_value(each) for each in value] if field.is_repeated else _message_value(value)


def _message_value(message: Message) -> Any:  # noqa: ANN401 - a time, or fields
    return message.ToDatetime(UTC) if isinstance(message, Timestamp) else by_number(message)


def _request(rpc: str, fields: Mapping[int, Any]) -> bytes:
    request = GetMessageClass(methods()[rpc].input_type)
    return request(**{f"f{number}": value for number, value in fields.items()}).SerializeToString()


def _reply(rpc: str, content: bytes) -> Mapping[int, Any]:
    reply = GetMessageClass(methods()[rpc].output_type).FromString(content)
    assert nothing_unknown(reply, content), reply
    return by_number(reply)


def _connect(server: Server, rpc: str, fields: Mapping[int, Any]) -> Mapping[int, Any]:
    request = Request(f"{server.url}/{_SERVICE}/{rpc}", _request(rpc, fields), _BINARY)  # noqa: S310 - no other scheme
    with urlopen(request) as answer:  # noqa: S310 - nor here
        assert answer.headers["Content-Type"] == "application/proto"
        return _reply(rpc, answer.read())


def _grpc(server: Server, rpc: str, fields: Mapping[int, Any]) -> Mapping[int, Any]:
    with grpc.insecure_channel(server.grpc_address) as channel:
        content = channel.unary_unary(f"/{_SERVICE}/{rpc}", bytes, bytes)(_request(rpc, fields))
    return _reply(rpc, content)


CALLS_BY_NUMBER: dict[str, CallByNumber] = {"connect": _connect, "grpc": _grpc}

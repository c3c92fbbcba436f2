"""Requests as JSON: what can be read, by protobuf's own rules, and what is wrong with the rest, field by field."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from connectrpc.code import Code
from connectrpc.compat import google_protobuf_json_codec
from connectrpc.errors import ConnectError
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from rbd_connect.model.errors import FieldViolation, InvalidRequestError, ServiceError, quoted
from rbd_connect.rpc.unknown_fields import lacks_required, note
from rbd_connect.transport import protocol_errors

if TYPE_CHECKING:
    from connectrpc.codec import Codec

__all__ = ["JSONCodec", "UnreadableError"]

_Message = TypeVar("_Message", bound=Message)

_SPACE = b" \t\r\n"
_MOST_VIOLATIONS = 5
# What a field must be, by its type.
_TYPES = {
    FieldDescriptor.TYPE_STRING: "a string, in double quotes",
    FieldDescriptor.TYPE_BOOL: "true or false, without quotes",
    FieldDescriptor.TYPE_UINT64: 'a whole number from 0 to 2^64-1, such as 1073741824 or "1073741824"',
    FieldDescriptor.TYPE_INT64: "a whole number from -2^63 to 2^63-1",
}


class UnreadableError(ConnectError):
    """A body that is not the call's message. ``refusal`` is what its sender is told."""

    def __init__(self, refusal: ServiceError) -> None:
        super().__init__(Code.INVALID_ARGUMENT, refusal.message)
        self.refusal = refusal


class JSONCodec:
    """protobuf's JSON. It takes ``[]`` and ``"x"`` for empty messages; here a message is an object.

    Unknown fields are ignored, as Connect has it. They are noted only where a required field is empty.
    """

    def __init__(self) -> None:
        self._codec: Codec[Any, Any] = google_protobuf_json_codec()

    def name(self) -> str:
        return self._codec.name()

    def encode(self, message: Message) -> bytes:
        return self._codec.encode(message)

    def decode(self, data: bytes | bytearray, message_class: type[_Message]) -> _Message:
        """Raises UnreadableError."""
        if not data.lstrip(_SPACE).startswith(b"{"):
            raise UnreadableError(_no_object(data))
        try:
            message: _Message = self._codec.decode(data, message_class)
        except Exception as error:
            raise UnreadableError(_what_is_wrong(data, message_class)) from error
        if lacks_required(message):
            note(data, message)
        return message


def _no_object(data: bytes | bytearray) -> ServiceError:
    if not data.strip(_SPACE):
        return protocol_errors.malformed("The request's body is empty; it must be a JSON object, at least {}.")
    return protocol_errors.malformed("The request's body must be a JSON object: it begins with '{'.")


def _what_is_wrong(data: bytes | bytearray, message_class: type[Message]) -> ServiceError:
    """Say why a body cannot be read, without a word of the libraries' that quotes it."""
    try:
        fields = json.loads(data.decode(), object_pairs_hook=_without_repetition)
    except UnicodeDecodeError:
        return protocol_errors.malformed("The request's body must be UTF-8.")
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        return protocol_errors.malformed(f"The request's body must be JSON: {error.msg} ({where}).")
    except _RepetitionError as error:
        return protocol_errors.malformed(f"The request's body has the field {quoted(error.name)} more than once.")
    except (ValueError, RecursionError):
        return protocol_errors.malformed()
    found = list(_violations(fields, message_class))
    if not found:
        return protocol_errors.malformed()
    return InvalidRequestError(found[:_MOST_VIOLATIONS], reason="MALFORMED_REQUEST")


class _RepetitionError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise _RepetitionError(name)
        fields[name] = value
    return fields


def _violations(fields: dict[str, Any], message_class: type[Message]) -> Iterator[FieldViolation]:
    """Read the fields that the message has one by one."""
    for field in message_class.DESCRIPTOR.fields:
        for name in dict.fromkeys((field.json_name, field.name)):
            if name not in fields:
                continue
            try:
                ParseDict({name: fields[name]}, message_class())
            except (ParseError, ValueError, RecursionError):
                must = _type_of(field.type, fields[name])
                description = f"The field '{name}' must be {must}; it is {_shown(fields[name])}."
                yield FieldViolation(field=field.name, reason="WRONG_TYPE", description=description)


def _type_of(kind: int, value: object) -> str:
    if isinstance(value, str) and kind == FieldDescriptor.TYPE_STRING:
        return "Unicode, without lone surrogates"
    return _TYPES.get(kind, "of another type")


def _shown(value: object) -> str:
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return quoted(value)
    return quoted(json.dumps(value)).strip("'")

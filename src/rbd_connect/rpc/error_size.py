"""The size of an error: small enough that it comes through a proxy, however much stands in a call's way.

gRPC has errors in headers, in base64 and percent-encoded. nginx takes 4 KiB of headers from a gRPC server
(``grpc_buffer_size``), and answers 502 for more.
"""

from collections.abc import Callable, MutableSequence, Sequence
from typing import Any
from urllib.parse import quote

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, ResourceInfo

from otterscale.storage.v1.storage_pb2 import Image

__all__ = ["MAX_ENCODED_BYTES", "encoded_bytes", "fit"]

# What is left of 4096 for the other headers: a request id, and some that are the same in every answer.
MAX_ENCODED_BYTES = 3400

# The name of its type, tags and lengths, for each detail.
_ENVELOPE_BYTES = 64
_SHORT_BYTES = 512
_NAME_BYTES = 100
_NEVER_CUT = "request_id"

_Details = Sequence[Message]


def encoded_bytes(message: str, details: _Details) -> int:
    """Say how many bytes of headers an error takes at the most."""
    status = len(message.encode()) + sum(detail.ByteSize() + _ENVELOPE_BYTES for detail in details)
    return len(quote(message)) + status * 4 // 3


def fit(message: str, details: _Details) -> tuple[str, list[Message]]:
    """Give an error that fits: a long text is cut first, then lists are made shorter, and names are cut last.

    ErrorInfo with its reason and request id is always left.
    """
    kept = list(details)
    if encoded_bytes(message, kept) > MAX_ENCODED_BYTES:
        message = _cut(message, _SHORT_BYTES)
    for shorten in (_shorten_lists, _drop_repetitions, _cut_names):
        if encoded_bytes(message, kept) <= MAX_ENCODED_BYTES:
            return message, kept
        shorten(kept, lambda: encoded_bytes(message, kept) > MAX_ENCODED_BYTES)
    if encoded_bytes(message, kept) > MAX_ENCODED_BYTES:
        kept = [detail for detail in kept if isinstance(detail, ErrorInfo)]
    return message, kept


def _shorten_lists(details: list[Message], is_too_large: Callable[[], bool]) -> None:
    for detail in details:
        match detail:
            case BadRequest():
                _shorten(detail.field_violations, is_too_large)
            case PreconditionFailure():
                _shorten(detail.violations, is_too_large)
            case Image():
                detail.ClearField("snapshots")


def _shorten(violations: MutableSequence[Any], is_too_large: Callable[[], bool]) -> None:
    """Leave out the last ones, but never the first."""
    while len(violations) > 1 and is_too_large():
        del violations[-1]


def _drop_repetitions(details: list[Message], _is_too_large: Callable[[], bool]) -> None:
    """Drop what the error's message says, too."""
    for detail in details:
        if isinstance(detail, ResourceInfo):
            detail.ClearField("description")


def _cut_names(details: list[Message], _is_too_large: Callable[[], bool]) -> None:
    for detail in details:
        match detail:
            case ErrorInfo():
                for key, value in list(detail.metadata.items()):
                    if key != _NEVER_CUT:
                        detail.metadata[key] = _cut(value, _NAME_BYTES)
            case ResourceInfo():
                detail.resource_name = _cut(detail.resource_name, _NAME_BYTES)
            case BadRequest():
                for field in detail.field_violations:
                    field.description = _cut(field.description, _SHORT_BYTES)
            case PreconditionFailure():
                for violation in detail.violations:
                    violation.subject = _cut(violation.subject, _NAME_BYTES)
                    violation.description = _cut(violation.description, _SHORT_BYTES)


def _cut(text: str, most: int) -> str:
    """Cut a text to so many bytes of UTF-8, between two characters."""
    encoded = text.encode()
    return text if len(encoded) <= most else f"{encoded[:most].decode(errors='ignore')}…"

"""What a request is about: its scope, its image, or its snapshot, by its fields."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from google.protobuf.message import Message

from otterscale.storage.v1.storage_pb2 import CreateImageRequest, CreateImageSnapshotRequest
from rbd_connect.model.names import ImageSpec, ScopeSpec, SnapshotSpec, parse_image, parse_scope, parse_snapshot

__all__ = ["OfImage", "OfScope", "OfSnapshot", "image_of", "scope_of", "snapshot_of", "spec_of"]


class OfScope(Protocol):
    """A request about a scope."""

    scope: str


class OfImage(OfScope, Protocol):
    """A request about an image."""

    pool_name: str
    image_name: str


class OfSnapshot(OfImage, Protocol):
    """A request about a snapshot."""

    snapshot_name: str


def scope_of(request: OfScope) -> ScopeSpec:
    """Raises InvalidRequestError, as the others do."""
    return parse_scope(request.scope)


def image_of(request: OfImage) -> ImageSpec:
    return parse_image(
        scope=request.scope,
        pool_name=request.pool_name,
        image_name=request.image_name,
        is_new=isinstance(request, CreateImageRequest),
    )


def snapshot_of(request: OfSnapshot) -> SnapshotSpec:
    return parse_snapshot(
        scope=request.scope,
        pool_name=request.pool_name,
        image_name=request.image_name,
        snapshot_name=request.snapshot_name,
        is_new=isinstance(request, CreateImageSnapshotRequest),
    )


_PLACE = {"scope", "pool_name", "image_name", "snapshot_name"}
_READERS: Mapping[frozenset[str], Callable[[Any], ScopeSpec]] = {
    frozenset({"scope"}): scope_of,
    frozenset({"scope", "pool_name", "image_name"}): image_of,
    frozenset(_PLACE): snapshot_of,
}


def spec_of(request: Message) -> ScopeSpec:
    """Say what any request is about, by those of these fields that its message has.

    Raises InvalidRequestError, and KeyError for a message that names its place by other fields.
    """
    return _READERS[frozenset(_PLACE.intersection(request.DESCRIPTOR.fields_by_name))](request)

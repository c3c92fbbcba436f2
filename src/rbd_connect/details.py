"""The details of an error as messages: google.rpc's (https://google.aip.dev/193), and a snapshot that exists."""

import errno
from collections.abc import Iterator

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo

from .ceph.snapshot import SnapshotExistsError
from .errors import CephError, InvalidRequestError, NotFoundError, ServiceError, TryLaterError
from .messages import snapshot_message

__all__ = ["DOMAIN", "error_details"]

DOMAIN = "rbd-connect"

# The fields of a request that say where an error happened, and their names in ErrorInfo's metadata.
_PLACE = {"scope": "scope", "pool_name": "pool", "image_name": "image", "snapshot_name": "snapshot"}
_MAX_METADATA_CHARACTERS = 256


def error_details(error: ServiceError, request: Message | None, request_id: str) -> Iterator[Message]:
    """Yield ErrorInfo, and what else applies: BadRequest, ResourceInfo, RetryInfo, the existing Image.Snapshot.

    ``request`` is None if it was unreadable.
    """
    metadata = {"request_id": request_id, **_place(request)}
    if isinstance(error, CephError) and error.errno is not None:
        metadata["errno"] = errno.errorcode.get(error.errno, str(error.errno))
    yield ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    match error:
        case InvalidRequestError():
            yield BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(
                        field=violation.field, reason=violation.reason, description=violation.description
                    )
                    for violation in error.violations
                ]
            )
        case NotFoundError():
            yield ResourceInfo(resource_type=error.resource_type, resource_name=error.name, description=error.message)
        case TryLaterError():
            delay = RetryInfo()
            delay.retry_delay.FromNanoseconds(int(error.seconds * 1_000_000_000))
            yield delay
        case SnapshotExistsError():
            yield snapshot_message(error.snapshot)


def _place(request: Message | None) -> dict[str, str]:
    """Say which scope, pool, image and snapshot a request named; a name that is too long to be one is cut."""
    if request is None:
        return {}
    return {
        key: getattr(request, field)[:_MAX_METADATA_CHARACTERS]
        for field, key in _PLACE.items()
        if field in request.DESCRIPTOR.fields_by_name and request.HasField(field)
    }

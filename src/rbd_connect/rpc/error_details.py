"""The details of an error as messages: google.rpc's (https://google.aip.dev/193), and what exists already."""

import errno
from collections.abc import Iterator, Sequence

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, ResourceInfo, RetryInfo

from otterscale.storage.v1.storage_pb2 import Image
from rbd_connect.model.errors import (
    CephError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    PreconditionViolation,
    ServiceError,
)
from rbd_connect.model.resources import ImageExistsError, SnapshotExistsError

from .conversion import image_message, snapshot_message
from .retries import retry_after

__all__ = ["DOMAIN", "error_details"]

DOMAIN = "rbd-connect"

# The fields of a request that say where an error happened, and their names in ErrorInfo's metadata.
_PLACE = {"scope": "scope", "pool_name": "pool", "image_name": "image", "snapshot_name": "snapshot"}
_MAX_METADATA_CHARACTERS = 256

# gRPC's clients take 8 KiB of trailers by default, and this comes in them, in base64.
_MAX_BYTES = 3072


def error_details(
    error: ServiceError, request: Message | None, request_id: str, call: str | None = None
) -> Iterator[Message]:
    """Yield ErrorInfo, and what else applies: BadRequest, ResourceInfo, PreconditionFailure, what exists, RetryInfo.

    ``request`` is None if it was unreadable. ``call`` is the method's name, where it is known.
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
        case PreconditionError() if error.violations:
            yield _precondition_failure(error.violations)
        case SnapshotExistsError():
            yield snapshot_message(error.snapshot)
        case ImageExistsError():
            yield _bounded(image_message(error.image))
    seconds = retry_after(error, call)
    if seconds is not None:
        delay = RetryInfo()
        delay.retry_delay.FromNanoseconds(int(seconds * 1_000_000_000))
        yield delay


def _precondition_failure(violations: Sequence[PreconditionViolation]) -> PreconditionFailure:
    """List violations, as many as there is room for."""
    failure = PreconditionFailure()
    for violation in violations:
        added = failure.violations.add(
            type=violation.kind, subject=violation.subject, description=violation.description
        )
        if failure.ByteSize() > _MAX_BYTES:
            failure.violations.remove(added)
            break
    return failure


def _bounded(image: Image) -> Image:
    """Leave out the snapshots of an image where there is no room for them."""
    if image.ByteSize() > _MAX_BYTES:
        image.ClearField("snapshots")
    return image


def _place(request: Message | None) -> dict[str, str]:
    """Say which scope, pool, image and snapshot a request named; a name that is too long to be one is cut."""
    if request is None:
        return {}
    return {
        key: getattr(request, field)[:_MAX_METADATA_CHARACTERS]
        for field, key in _PLACE.items()
        if field in request.DESCRIPTOR.fields_by_name and request.HasField(field)
    }

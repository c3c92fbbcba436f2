"""The size of an error as gRPC has it: it fits through a proxy, whatever stands in it."""

from urllib.parse import quote

import pytest
from connectrpc.code import Code
from google.rpc.error_details_pb2 import ErrorInfo, PreconditionFailure
from hypothesis import given
from hypothesis import strategies as st

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest
from rbd_connect.model.errors import (
    FieldViolation,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
    PreconditionViolation,
    ServiceError,
)
from rbd_connect.rpc.deadline import Failure
from rbd_connect.rpc.error_size import MAX_ENCODED_BYTES
from rbd_connect.transport.rpc_status import status_message

names = st.text(min_size=1, max_size=255)
violations = st.builds(PreconditionViolation, kind=st.just("CLONE"), subject=names, description=names)
field_violations = st.builds(FieldViolation, field=st.just("image_name"), reason=st.just("NAME"), description=names)
errors = st.one_of(
    st.builds(ServiceError, st.just(Code.INTERNAL), st.just("INTERNAL"), st.text(max_size=5000)),
    st.builds(NotFoundError, st.just("image"), names, names),
    st.builds(InvalidRequestError, st.lists(field_violations, min_size=1, max_size=40)),
    st.builds(
        PreconditionError, st.just("SNAPSHOT_HAS_CLONES"), st.text(max_size=500), st.lists(violations, max_size=60)
    ),
)
requests = st.builds(CreateImageSnapshotRequest, scope=names, pool_name=names, image_name=names, snapshot_name=names)


def headers_of(failure: Failure) -> int:
    """Count what grpc-message and grpc-status-details-bin take."""
    status = status_message(failure)
    return len(quote(status.message)) + -(-len(status.SerializeToString()) // 3) * 4


@given(errors, requests)
def test_any_error_fits(error: ServiceError, request: CreateImageSnapshotRequest) -> None:
    failure = Failure(error, request, "i" * 128)
    assert headers_of(failure) <= MAX_ENCODED_BYTES
    info = failure.details[0]
    assert isinstance(info, ErrorInfo)
    assert (info.reason, info.metadata["request_id"]) == (error.reason, "i" * 128)


@pytest.mark.parametrize("character", ["a", "\x7f", "\u00e9", "\U0001f600"])
def test_the_longest_of_all_fits(character: str) -> None:
    name = character * 255
    request = CreateImageSnapshotRequest(scope=name, pool_name=name, image_name=name, snapshot_name=name)
    several = [FieldViolation(field="image_name", reason="NAME", description=name)] * 20
    for error in (
        InvalidRequestError(several),
        NotFoundError("image", name, name * 4),
        PreconditionError(
            "SNAPSHOT_HAS_CLONES", name * 20, [PreconditionViolation(kind="CLONE", subject=name, description=name)]
        ),
    ):
        assert headers_of(Failure(error, request, "i" * 128)) <= MAX_ENCODED_BYTES


@pytest.mark.parametrize("number", [1, 1000])
def test_as_many_obstacles_as_there_is_room_for(number: int) -> None:
    listed = [
        PreconditionViolation(kind="CLONE", subject=f"rbd/clone-{n}", description="a clone") for n in range(number)
    ]
    failure = Failure(PreconditionError("SNAPSHOT_HAS_CLONES", "It has clones.", listed), None, "id")
    (_, precondition) = failure.details
    assert isinstance(precondition, PreconditionFailure)
    subjects = [violation.subject for violation in precondition.violations]
    assert subjects == [violation.subject for violation in listed[: len(subjects)]]
    assert len(subjects) in ({1} if number == 1 else range(40, 100))

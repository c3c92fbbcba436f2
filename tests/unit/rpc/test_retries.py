"""What an error says of a retry: RetryInfo where the answer is "later" and nowhere else, and what a retry would do."""

import pytest
from connectrpc.code import Code
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, RollbackImageSnapshotRequest
from rbd_connect.model.errors import RetryableError, ServiceError
from rbd_connect.model.reasons import REASONS
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.methods import METHODS, Method
from rbd_connect.rpc.retries import REPEATED

UNSAFE = {"RollbackImageSnapshot", "UpdateImage"}


def retry_info(failure: rpc.Failure) -> float | None:
    found = [detail.retry_delay.ToTimedelta() for detail in failure.details if isinstance(detail, RetryInfo)]
    return found[0].total_seconds() if found else None


def failure(name: str, request: Message | None) -> rpc.Failure:
    return rpc.Failure(ServiceError(REASONS[name].codes[0], name, "It failed."), request, "id")


def test_every_call_says_what_a_retry_does() -> None:
    assert REPEATED.keys() == {method.name for method in METHODS}
    assert {name for name, repeated in REPEATED.items() if not repeated.is_safe} == UNSAFE


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("name", REASONS)
def test_retry_info_is_there_where_the_answer_is_later_and_nowhere_else(name: str, method: Method) -> None:
    reason = REASONS[name]
    told = failure(name, method.request_class())
    is_dangerous = reason.is_outcome_unknown and method.name in UNSAFE
    assert retry_info(told) == (None if is_dangerous else reason.retry_after)
    invites = reason.is_outcome_unknown and reason.retry_after is not None
    said = f" {REPEATED[method.name].advice}" if invites else ""
    assert told.message == f"It failed.{said}"


@pytest.mark.parametrize("name", ["OUTCOME_UNKNOWN", "CANCELED"])
def test_a_retry_of_what_destroys_says_what_it_would_do(name: str) -> None:
    told = failure(name, RollbackImageSnapshotRequest())
    assert "what was written to it in between is lost" in told.message
    assert retry_info(told) is None
    assert "Retry to find out" in failure(name, CreateImageSnapshotRequest()).message


def test_a_call_that_was_not_read_is_known_by_its_name() -> None:
    error = ServiceError(Code.CANCELED, "CANCELED", "It was given up.")
    told = rpc.refused(error, "id", method="RollbackImageSnapshot")
    assert told.message == f"It was given up. {REPEATED['RollbackImageSnapshot'].advice}"
    assert (retry_info(told), retry_info(rpc.refused(error, "id", method="ListPools"))) == (None, 1)
    assert retry_info(rpc.refused(error, "id")) is None


def test_an_error_may_know_the_time_better() -> None:
    error = RetryableError(Code.RESOURCE_EXHAUSTED, "SUBJECT_RATE", "You may begin 2 calls a second.", seconds=0.25)
    assert retry_info(rpc.Failure(error, None, "id")) == 0.25

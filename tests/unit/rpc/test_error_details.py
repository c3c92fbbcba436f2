"""Details: each message that goes with an error also says what it means in ``debug``."""

import pytest
from connectrpc.code import Code
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, ResourceInfo, RetryInfo
from protobuf import message_to_json_value

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, Image
from rbd_connect.model.errors import CephError, ServiceError
from rbd_connect.rpc.error_details import error_details
from rbd_connect.transport.http.connect_details import connect_detail

MESSAGES = [
    ErrorInfo(reason="A_REASON", domain="rbd-connect", metadata={"pool": "p", "image": "i"}),
    BadRequest(field_violations=[BadRequest.FieldViolation(field="f", description="d", reason="R")]),
    ResourceInfo(resource_type="pool", resource_name="p", description="d"),
    RetryInfo(retry_delay={"seconds": 3}),
    Image.Snapshot(name="s", protected=False, quota_bytes=1 << 60, used_bytes=0),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.DESCRIPTOR.name)
def test_debug_says_what_the_value_says(message: Message) -> None:
    detail = connect_detail(message)
    assert detail.type_name == message.DESCRIPTOR.full_name
    assert type(message).FromString(detail.message_bytes) == message
    debug = detail.value()
    assert debug is not None
    assert message_to_json_value(debug) == json_format.MessageToDict(message)


def test_the_place_of_an_error_is_in_its_metadata_and_long_names_are_cut() -> None:
    request = CreateImageSnapshotRequest(scope="s", pool_name="p/n", image_name="i" * 1000)
    (info,) = error_details(CephError(Code.UNAVAILABLE, "REASON", "text", 110), request, "id")
    assert isinstance(info, ErrorInfo)
    assert dict(info.metadata) == {
        "request_id": "id",
        "errno": "ETIMEDOUT",
        "scope": "s",
        "pool": "p/n",
        "image": "i" * 256,
    }


def test_an_error_without_a_request_has_no_place() -> None:
    (info,) = error_details(ServiceError(Code.INTERNAL, "INTERNAL", "text"), None, "id")
    assert isinstance(info, ErrorInfo)
    assert dict(info.metadata) == {"request_id": "id"}

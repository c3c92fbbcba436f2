"""What somebody is told who writes his first call: of fields that the call does not know, and of wrong values."""

import json
from collections.abc import Mapping

import pytest

from support.clients import REQUIRED_HEADERS, Outcome, error_outcome, post, request
from support.images import NewImage
from support.server import PROCEDURE, Server
from support.tools import Tools
from support.wire import BINARY, Answer, Request, connected, framed, http1_bytes, read_http1, send, valid

POOL = "The request has a field 'pool', which this call does not know: do you mean 'poolName'?"


def call(server: Server, body: Mapping[str, object], name: str = "CreateImageSnapshot") -> Outcome:
    status, text = post(f"{server.url}/{PROCEDURE.partition('/')[0]}/{name}", json.dumps(body), REQUIRED_HEADERS)
    return Outcome(reply=json.loads(text)) if status == 200 else error_outcome(json.loads(text))


def by_grpc_web_json(server: Server, body: Mapping[str, object]) -> Answer:
    headers = [(b"content-type", b"application/grpc-web+json")]
    return send(server, Request("grpc-web", headers, framed(json.dumps(body).encode())))


def test_an_unknown_field_in_the_place_of_a_required_one_is_named(server: Server) -> None:
    body: dict[str, object] = {"scope": "test", "pool": "rbd", "imageName": "i", "snapshotName": "s"}
    outcome = call(server, body)
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_NAME")
    assert outcome.message == f"The pool name must not be empty. {POOL}"
    (violation,) = outcome.details["BadRequest"]["fieldViolations"]
    assert violation == {"field": "pool_name", "reason": "EMPTY", "description": outcome.message}
    answer = by_grpc_web_json(server, body)
    assert (answer.code, answer.reason, answer.message) == (outcome.code, outcome.reason, outcome.message)


def test_the_next_call_on_the_connection_hears_nothing_of_it(server: Server) -> None:
    """What was noted of one call is not said of another."""
    first = valid("connect-json").with_message(
        b'{"scope": "test", "pool": "rbd", "imageName": "i", "snapshotName": "s"}'
    )
    second = first.with_message(b'{"scope": "test", "imageName": "i", "snapshotName": "s"}')
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(first))
        assert POOL in read_http1(connection).message
        connection.sendall(http1_bytes(second))
        assert read_http1(connection).message == "The pool name must not be empty."


def test_an_unknown_field_beside_all_that_is_needed_is_ignored(
    server: Server, tools: Tools, new_image: NewImage
) -> None:
    image = new_image()
    assert call(server, request("rbd", image, "first") | {"pool": "x", "comment": {"a": [1]}}).reply
    assert [snapshot["name"] for snapshot in tools.snapshots(f"rbd/{image}")] == ["first"]


def test_a_size_that_is_missing_names_what_was_sent_for_it(server: Server, tools: Tools, new_image: NewImage) -> None:
    image = new_image()
    body = {"scope": "test", "poolName": "rbd", "imageName": image, "size": 1}
    outcome = call(server, body, "UpdateImage")
    assert (outcome.code, outcome.reason) == ("invalid_argument", "INVALID_LAYOUT")
    assert "The request has a field 'size', which this call does not know." in outcome.message
    assert tools.rbd_json("info", f"rbd/{image}")["size"] == 16 << 20


@pytest.mark.parametrize("transport", BINARY)
def test_what_a_binary_message_does_not_know_is_told_by_its_number(server: Server, transport: str) -> None:
    answer = send(server, valid(transport).with_message(b"\x12\x01a\x4a\x01b"))
    assert (answer.code, answer.reason) == ("invalid_argument", "INVALID_NAME")
    assert "The request has fields with the numbers 2 and 9, which this call does not know" in answer.message


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("quotaBytes", "1G", "a whole number from 0 to 2^64-1"),
        ("quotaBytes", -1, "a whole number from 0 to 2^64-1"),
        ("imageName", 5, "a string, in double quotes"),
    ],
)
def test_a_value_of_a_wrong_type_names_its_field(server: Server, name: str, value: object, must: str) -> None:
    body = {"scope": "test", "poolName": "rbd", "imageName": "i", "quotaBytes": 1, name: value}
    outcome = call(server, body, "UpdateImage")
    assert (outcome.code, outcome.reason) == ("invalid_argument", "MALFORMED_REQUEST")
    assert outcome.message.startswith(f"The field '{name}' must be {must}")
    (violation,) = outcome.details["BadRequest"]["fieldViolations"]
    assert (violation["reason"], violation["description"]) == ("WRONG_TYPE", outcome.message)


def test_what_is_no_json_says_where(server: Server) -> None:
    status, text = post(server.method_url, "{'scope': 'test'}")
    assert status == 400
    assert json.loads(text)["message"] == (
        "The request's body must be JSON: Expecting property name enclosed in double quotes (line 1, column 2)."
    )

"""Fields that a call does not know: named where a required one is empty, and what each is taken for."""

import json
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from otterscale.storage.v1.storage_pb2 import (
    CreateImageRequest,
    CreateImageSnapshotRequest,
    ListImagesRequest,
    UpdateImageRequest,
)
from rbd_connect.model.errors import FieldViolation, InvalidRequestError
from rbd_connect.rpc import deadline as rpc
from rbd_connect.rpc.methods import METHODS
from rbd_connect.rpc.resources import spec_of
from rbd_connect.rpc.unknown_fields import lacks_required
from rbd_connect.transport.http.json_codec import JSONCodec

VALID = {"scope": "dev", "poolName": "rbd", "imageName": "demo", "snapshotName": "first"}


def failure(request: Message) -> rpc.Failure:
    """What is told of a request that names its place wrongly."""
    with pytest.raises(InvalidRequestError) as refused:
        spec_of(request)
    return rpc.Failure(refused.value, request, "id")


def of_json(body: dict[str, Any], kind: type[Message] = CreateImageSnapshotRequest) -> rpc.Failure:
    return failure(JSONCodec().decode(json.dumps(body).encode(), kind))


def without(*names: str, **others: object) -> dict[str, Any]:
    return {name: value for name, value in VALID.items() if name not in names} | others


def violations(failure: rpc.Failure) -> dict[str, str]:
    (details,) = [detail for detail in failure.details if isinstance(detail, BadRequest)]
    return {each.field: each.description for each in details.field_violations}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("pool", "poolName"),
        ("PoolName", "poolName"),
        ("poolname", "poolName"),
        ("POOL_NAME", "poolName"),
        ("pool-name", "poolName"),
        ("poolNmae", "poolName"),
        ("image", "imageName"),
        ("imagename", "imageName"),
        ("snapshot", "snapshotName"),
        ("snap", "snapshotName"),
        ("name", "snapshotName"),
        ("Scope", "scope"),
        ("scopeName", "scope"),
    ],
)
def test_a_field_that_is_meant_for_an_empty_one_is_named_with_it(name: str, meant: str) -> None:
    said = f"The request has a field '{name}', which this call does not know: do you mean '{meant}'?"
    told = of_json(without(meant, **{name: "rbd"}))
    field = CreateImageSnapshotRequest.DESCRIPTOR.fields_by_camelcase_name[meant].name
    assert told.message.endswith(f" must not be empty. {said}")
    assert violations(told) == {field: told.message}


def test_each_is_told_beside_the_field_that_it_is_meant_for() -> None:
    told = of_json({"scope": "dev", "pool": "rbd", "image": "demo", "snap": "first"})
    assert [description.partition("do you mean ")[2] for description in violations(told).values()] == [
        "'poolName'?",
        "'imageName'?",
        "'snapshotName'?",
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            without("snapshotName", quotaBytes=1),
            "a field 'quotaBytes', which this call does not know: it is a field of CreateImage and UpdateImage.",
        ),
        (
            {"request": VALID},
            (
                "a field 'request', which this call does not know: what it holds, such as 'scope', must stand at the "
                "top of the request."
            ),
        ),
        (
            without("scope", cluster="dev"),
            (
                "a field 'cluster', which this call does not know. The call's fields are 'scope', 'poolName', "
                "'imageName' and 'snapshotName'."
            ),
        ),
        (
            without("scope", **dict.fromkeys("abcdefg", 1)),
            "the fields 'a', 'b', 'c', 'd', 'e' and 2 more, which this call does not know. The call's fields are",
        ),
    ],
    ids=["another-call", "nested", "unlike", "several"],
)
def test_what_is_like_no_empty_field_is_named_too(body: dict[str, Any], said: str) -> None:
    told = of_json(body)
    assert f"The request has {said}" in told.message
    assert said in next(iter(violations(told).values()))


def test_a_list_of_another_call_is_told_so() -> None:
    told = of_json({"poolName": "rbd"}, ListImagesRequest)
    assert "it is a field of CreateImage, UpdateImage, DeleteImage, CreateImageSnapshot, DeleteImageSnapshot and" in (
        told.message
    )


@pytest.mark.parametrize("name", ["pool\n\x00\u202e", "p" * 10_000, "poolName" + "雪" * 1000])
def test_names_are_escaped_and_cut(name: str) -> None:
    told = of_json(without("poolName", **{name: "rbd"}))
    assert told.message.isprintable()
    assert len(told.message) < 400


def test_a_great_many_cost_little_and_are_counted() -> None:
    told = of_json({f"poolNam{number}": 1 for number in range(3000)})
    assert "and 2,994 more".replace(",", "") in told.message
    assert len(told.message) < 600


def test_one_that_is_unknown_is_ignored_where_nothing_is_missing() -> None:
    request = JSONCodec().decode(json.dumps(VALID | {"pool": "x"}).encode(), CreateImageSnapshotRequest)
    assert spec_of(request)


def test_other_violations_say_nothing_of_it() -> None:
    told = of_json(without("poolName", poolName="a/b/c", pool="rbd"))
    assert told.message == "The namespace must not contain '/'; one '/' may stand between a pool and its namespace."


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x12\x01a", "a field with the number 2, which"),
        (b"\x12\x01a\x4a\x01b", "fields with the numbers 2 and 9, which"),
        (b"\x08\x01", "a field with the number 1 (of another type than 'scope'), which"),
    ],
)
def test_what_a_binary_message_does_not_know_is_told_by_number(body: bytes, said: str) -> None:
    told = failure(CreateImageSnapshotRequest.FromString(body))
    asked = "was the client generated from this service's proto file?"
    assert f"The request has {said} this call does not know: {asked}" in told.message
    assert asked in violations(told)["scope"]


def test_what_a_request_must_not_lack_is_looked_for_in_every_call() -> None:
    for method in METHODS:
        assert lacks_required(method.request_class()), method.name


@pytest.mark.parametrize("kind", [CreateImageRequest, UpdateImageRequest])
def test_a_size_that_is_missing_names_what_was_sent_for_it(kind: type[Message]) -> None:
    body = {"scope": "dev", "poolName": "rbd", "imageName": "demo", "quota": 1}
    request = JSONCodec().decode(json.dumps(body).encode(), kind)
    error = InvalidRequestError([FieldViolation(field="quota_bytes", reason="EMPTY", description="It must be given.")])
    assert rpc.Failure(error, request, "id").message == (
        "It must be given. The request has a field 'quota', which this call does not know: do you mean 'quotaBytes'?"
    )

"""Requests as JSON that cannot be read: which field is wrong, and what it must be."""

import pytest
from google.protobuf.message import Message

from otterscale.storage.v1.storage_pb2 import CreateImageRequest, CreateImageSnapshotRequest, UpdateImageRequest
from rbd_connect.model.errors import InvalidRequestError, ServiceError
from rbd_connect.transport import protocol_errors
from rbd_connect.transport.http.json_codec import JSONCodec, UnreadableError

SIZE = "The field 'quotaBytes' must be a whole number from 0 to 2^64-1, such as 1073741824 or \"1073741824\"; it is "
BODY = "The request's body must be"


def refusal(body: bytes, kind: type[Message] = CreateImageSnapshotRequest) -> ServiceError:
    with pytest.raises(UnreadableError) as unreadable:
        JSONCodec().decode(body, kind)
    return unreadable.value.refusal


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('"1G"', "'1G'"),
        ('"1.5"', "'1.5'"),
        ("1.5", "1.5"),
        ("-1", "-1"),
        ("true", "true"),
        ('""', "''"),
        ("1e30", "1e+30"),
        ("[1]", "a list"),
        ('{"bytes": 1}', "an object"),
        ('"' + "9" * 5000 + '"', "'" + "9" * 80 + "…'"),
    ],
)
def test_a_size_that_is_none(value: str, shown: str) -> None:
    error = refusal(b'{"scope": "dev", "quotaBytes": %s}' % value.encode(), UpdateImageRequest)
    assert isinstance(error, InvalidRequestError)
    assert (error.reason, error.message) == ("MALFORMED_REQUEST", f"{SIZE}{shown}.")
    assert [(each.field, each.reason) for each in error.violations] == [("quota_bytes", "WRONG_TYPE")]


@pytest.mark.parametrize("value", ["1024", '"1024"', "1e3", "0"])
def test_a_size_in_any_of_its_forms_is_read(value: str) -> None:
    request = JSONCodec().decode(b'{"quotaBytes": %s}' % value.encode(), UpdateImageRequest)
    assert request.quota_bytes == int(float(value.strip('"')))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"scope": 5}', "The field 'scope' must be a string, in double quotes; it is 5."),
        (b'{"pool_name": 5}', "The field 'pool_name' must be a string, in double quotes; it is 5."),
        (b'{"layering": "yes"}', "The field 'layering' must be true or false, without quotes; it is 'yes'."),
        (
            rb'{"scope": "\ud800"}',
            r"The field 'scope' must be Unicode, without lone surrogates; it is '\ud800'.",
        ),
        (
            b'{"scope": [], "poolName": {}}',
            (
                "The field 'scope' must be a string, in double quotes; it is a list. "
                "The field 'poolName' must be a string, in double quotes; it is an object."
            ),
        ),
        (b"", "The request's body is empty; it must be a JSON object, at least {}."),
        (b"[]", f"{BODY} a JSON object: it begins with '{{'."),
        (b'"x"', f"{BODY} a JSON object: it begins with '{{'."),
        (b'{"scope": "\xff"}', f"{BODY} UTF-8."),
        (
            b"{'scope': 'dev'}",
            f"{BODY} JSON: Expecting property name enclosed in double quotes (line 1, column 2).",
        ),
        (b'{"scope": "a', f"{BODY} JSON: Unterminated string starting at (line 1, column 11)."),
        (b'{"scope": "a", "scope": "b"}', "The request's body has the field 'scope' more than once."),
        (b'{"\\n": 1, "\\n": 2}', r"The request's body has the field '\n' more than once."),
        (b'{"x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", protocol_errors.malformed().message),
        (rb'{"\ud800": 1}', protocol_errors.malformed().message),
        (b'{"quotaBytes": ' + b"9" * 5000 + b"}", protocol_errors.malformed().message),
    ],
)
def test_what_is_wrong_is_said(body: bytes, message: str) -> None:
    error = refusal(body, CreateImageRequest)
    assert (error.code.value, error.reason, error.message) == ("invalid_argument", "MALFORMED_REQUEST", message)

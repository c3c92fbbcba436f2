"""The common way of a call: what nobody foresaw is told in a fixed text, and stands in the log under the request id."""

import asyncio
import logging

import pytest
from connectrpc.code import Code

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, Image
from rbd_connect.errors import NotFoundError
from rbd_connect.rpc import Failure, answer


def answered(error: Exception, caplog: pytest.LogCaptureFixture) -> Failure:
    async def handler() -> Image.Snapshot:
        raise error

    request = CreateImageSnapshotRequest(scope="s", snapshot_name="a\nb")
    with caplog.at_level(logging.INFO), pytest.raises(Failure) as failed:
        asyncio.run(answer(handler, method="Method", request=request, request_id="the-id"))
    return failed.value


def test_what_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    failure = answered(RuntimeError("the secret in /etc/ceph/keyring"), caplog)
    assert failure.code is Code.INTERNAL
    assert failure.message == "The server failed; its log has more under the request id the-id."
    assert "secret" not in str(failure.details)
    (record, _) = caplog.records
    assert "the-id" in record.getMessage()
    assert record.exc_info


def test_what_was_foreseen_is_a_line_of_the_log_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    failure = answered(NotFoundError("scope", "s", "on this server"), caplog)
    assert (failure.code, failure.message) == (Code.NOT_FOUND, "There is no scope 's' on this server.")
    (record,) = caplog.records
    assert record.exc_info is None
    assert "Method not_found in " in record.getMessage()
    assert "\n" not in record.getMessage()

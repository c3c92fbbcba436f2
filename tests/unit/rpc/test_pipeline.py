"""The common way of a call: none is without a caller and a grant, and what nobody foresaw is told in a fixed text."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from connectrpc.code import Code
from google.protobuf.message import Message

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest, Image
from rbd_connect.auth.authentication import PeerConnection
from rbd_connect.auth.policy import Policy
from rbd_connect.config.settings import Settings
from rbd_connect.model.errors import NotFoundError
from rbd_connect.rpc.audit import Audit
from rbd_connect.rpc.caller import Caller, calling
from rbd_connect.rpc.deadline import Failure
from rbd_connect.rpc.methods import METHODS
from rbd_connect.rpc.pipeline import Pipeline

_REQUEST = CreateImageSnapshotRequest(scope="s", pool_name="p", image_name="i", snapshot_name="a\u2028b")
_METHOD = next(method for method in METHODS if method.name == "CreateImageSnapshot")


class _Service:
    """Every method does the same."""

    def __init__(self, handler: Callable[[], Awaitable[Message]]) -> None:
        self._handler = handler

    def __getattr__(self, _name: str) -> Callable[[object, object], Awaitable[Message]]:
        return lambda _request, _granted: self._handler()


async def _reply() -> Message:
    return Image.Snapshot(name="done")


def answered(handler: Callable[[], Awaitable[Message]], audit: Path, *, admitted: bool = True) -> Message:
    settings = Settings(scopes={})

    async def call() -> Message:
        front = Pipeline(_Service(handler), Policy(settings), Audit(audit))
        if admitted:
            caller = Caller(
                request_id="the-id",
                transport="none",
                peer="127.0.0.1:1",
                connection=PeerConnection("127.0.0.1", with_tls=False),
                authorizations=(),
            )
            calling(caller)
            await front.admit(_METHOD, caller)
        try:
            return await _METHOD.of(front)(_REQUEST, None)
        finally:
            front.close()

    return asyncio.run(call())


def failure_of(error: Exception, audit: Path) -> Failure:
    async def fails() -> Message:
        raise error

    with pytest.raises(Failure) as failed:
        answered(fails, audit)
    return failed.value


def test_a_call_of_which_no_transport_said_who_calls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure) as refused:
        answered(_reply, tmp_path / "audit", admitted=False)
    assert refused.value.code is Code.UNAUTHENTICATED


def test_each_call_is_a_line_of_the_audit(tmp_path: Path) -> None:
    audit = tmp_path / "audit"
    assert answered(_reply, audit) == Image.Snapshot(name="done")
    failure_of(NotFoundError("scope", "s", "on this server"), audit)
    made, failed = map(json.loads, audit.read_text(encoding="ascii").splitlines())
    assert (made["code"], made["action"], made["subject"], made["snapshot"]) == ("ok", "create", "anybody", "a\u2028b")
    assert (failed["code"], failed["reason"], failed["request_id"]) == ("not_found", "SCOPE_NOT_FOUND", "the-id")
    assert audit.stat().st_mode & 0o777 == 0o600


def test_what_nobody_foresaw(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        failure = failure_of(RuntimeError("the secret in /etc/ceph/keyring"), tmp_path / "audit")
    assert failure.code is Code.INTERNAL
    assert failure.message == "The server failed; its log has more under the request id the-id."
    assert "secret" not in str(failure.details)
    assert "secret" not in (tmp_path / "audit").read_text()
    (record, _) = caplog.records
    assert "the-id" in record.getMessage()
    assert record.exc_info


def test_what_was_foreseen_is_a_line_of_the_log_and_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        failure = failure_of(NotFoundError("scope", "s", "on this server"), tmp_path / "audit")
    assert (failure.code, failure.message) == (Code.NOT_FOUND, "There is no scope 's' on this server.")
    (record,) = caplog.records
    assert record.exc_info is None
    assert "CreateImageSnapshot not_found SCOPE_NOT_FOUND in " in record.getMessage()
    assert "\u2028" not in record.getMessage()

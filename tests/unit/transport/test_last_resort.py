"""Errors that nobody foresaw, wherever they are raised: each transport has a fixed text for them; the log has more."""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty

from rbd_connect.auth.authentication import PeerConnection
from rbd_connect.auth.identity import UnauthenticatedError
from rbd_connect.auth.policy import Policy
from rbd_connect.config.access import AuthSettings
from rbd_connect.config.settings import Settings
from rbd_connect.config.types import Address
from rbd_connect.dispatch.dispatcher import Dispatcher
from rbd_connect.dispatch.readiness import Readiness
from rbd_connect.rpc.methods import METHODS, Method
from rbd_connect.rpc.pipeline import Pipeline
from rbd_connect.transport.grpc.server import GrpcServer
from rbd_connect.transport.http.request_validation import RequestValidation
from rbd_connect.transport.peer import Peer
from support.clients import grpc_outcome

SECRET = "the secret in /etc/ceph/keyring"  # noqa: S105 - it is none
_PATH = "/otterscale.storage.v1.StorageService/CreateImageSnapshot"


class _Front(Pipeline):
    """One that fails before or behind what catches everything in it."""

    def __init__(self, *, admits: bool) -> None:
        self._admits = admits
        for method in METHODS:
            setattr(self, method.python_name, self._fail)

    async def admit(self, _method: Method, _caller: object) -> None:
        if not self._admits:
            raise ZeroDivisionError(SECRET)

    async def _fail(self, _request: object, _context: object) -> Empty:
        raise ZeroDivisionError(SECRET)


@pytest.mark.parametrize("admits", [False, True])
def test_over_grpc(caplog: pytest.LogCaptureFixture, admits: bool) -> None:  # noqa: FBT001 - a parameter
    async def called() -> grpc.aio.AioRpcError:
        settings = Settings(scopes={})
        server = GrpcServer(_Front(admits=admits), Readiness(Dispatcher(settings)), settings, None, connections=16)
        address = await server.start(Address("127.0.0.1", 0))
        try:
            async with grpc.aio.insecure_channel(str(address)) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as failed:
                    await channel.unary_unary(_PATH)(b"")  # type: ignore[arg-type] # bytes, where no serializer is given
                return failed.value
        finally:
            await server.drain(0)

    outcome = grpc_outcome(asyncio.run(called()))
    assert (outcome.code, outcome.reason) == ("internal", "INTERNAL")
    assert outcome.message == (
        f"The server failed; its log has more under the request id {outcome.metadata['request_id']}."
    )
    assert "ZeroDivisionError" in caplog.text


async def _answered(gate: RequestValidation, content_type: bytes) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    headers = [(b"content-type", content_type), (b"connect-protocol-version", b"1"), (b"host", b"127.0.0.1")]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "scheme": "http",
        "state": {"peer": Peer("127.0.0.1", 1)},
        "headers": headers,
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await gate(scope, receive, send)  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize("admits", [False, True])
@pytest.mark.parametrize("content_type", [b"application/json", b"application/proto", b"application/grpc-web+proto"])
def test_over_http(caplog: pytest.LogCaptureFixture, content_type: bytes, admits: bool) -> None:  # noqa: FBT001
    async def fail(*_arguments: object) -> None:
        raise ZeroDivisionError(SECRET)

    gate = RequestValidation(fail, _Front(admits=admits), Settings(scopes={}), grpc_address="127.0.0.1:1")
    start, body = asyncio.run(_answered(gate, content_type))
    headers = dict(start["headers"])
    if b"grpc" in content_type:
        assert (start["status"], headers[b"grpc-status"]) == (200, b"13")
    else:
        assert start["status"] == 500
        assert json.loads(body["body"])["code"] == "internal"
    assert SECRET not in str(headers) + str(body)
    assert "ZeroDivisionError" in caplog.text


def test_a_credential_that_cannot_be_looked_at_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is raised, and whatever its text has of the credential."""
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    policy = Policy(Settings(scopes={}, auth=AuthSettings(tokens=tokens)))
    token = "rbdc_" + "A" * 43

    def failing(error: Exception) -> Callable[..., object]:
        def fail(_self: object, token: str) -> object:
            error.args = (token,)
            raise error

        return fail

    errors: Sequence[Exception] = [
        AttributeError(),
        KeyError(),
        RecursionError(),
        UnicodeError(),
        MemoryError(),
        OSError(),
    ]
    for error in errors:
        monkeypatch.setattr("rbd_connect.auth.tokens.Tokens.identity", failing(error))
        with caplog.at_level(logging.INFO), pytest.raises(UnauthenticatedError):
            asyncio.run(policy.identity([f"Bearer {token}"], PeerConnection("127.0.0.1", with_tls=False)))
        assert f"{type(error).__name__} in fail" in caplog.text
    assert token not in caplog.text

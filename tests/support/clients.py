"""Clients: curl, buf curl, and the generated one in three forms. Each gives what came back in one form."""

import base64
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
from connectrpc.codec import Codec
from connectrpc.compat import google_protobuf_binary_codec, google_protobuf_json_codec
from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from connectrpc.request import Headers
from google.protobuf import json_format, symbol_database
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from otterscale.storage.v1.storage_connect import StorageServiceClientSync
from rbd_connect.rpc.methods import METHODS

from .server import PROCEDURE, Server

__all__ = [
    "CALLS",
    "CLIENTS",
    "Call",
    "Client",
    "Outcome",
    "compiled",
    "create",
    "error_outcome",
    "image_request",
    "in_time",
    "post",
    "request",
]

PROTO = str(Path(__file__).parents[2] / "proto")
BUF = str(Path(sys.prefix) / "bin" / "buf")
REQUIRED_HEADERS = {"Content-Type": "application/json", "Connect-Protocol-Version": "1"}

CREATE_SNAPSHOT = "CreateImageSnapshot"

_METHODS = {method.name: method for method in METHODS}

assert error_details_pb2.DESCRIPTOR  # registers the messages that details are read as


@dataclass(frozen=True)
class Outcome:
    """What came back: the reply as JSON has it, or an error with its details by the last part of their type's name.

    ``request_id`` is an error's header, where a client reads it.
    """

    reply: dict[str, Any] | None = None
    code: str | None = None
    message: str = ""
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    request_id: str | None = None

    @property
    def reason(self) -> str:
        return str(self.details["ErrorInfo"]["reason"])

    @property
    def metadata(self) -> dict[str, str]:
        metadata = self.details["ErrorInfo"]["metadata"]
        assert isinstance(metadata, dict)
        return metadata


Client = Callable[[Server, Mapping[str, str]], Outcome]
# A client that knows every method: the server, the request, the method's name.
Call = Callable[..., Outcome]


def request(pool: str, image: str, snapshot: str, scope: str = "test") -> dict[str, str]:
    return {"scope": scope, "poolName": pool, "imageName": image, "snapshotName": snapshot}


def image_request(image: str, pool: str = "rbd", *, scope: str = "test", **more: object) -> dict[str, Any]:
    return {"scope": scope, "poolName": pool, "imageName": image, **more}


def post(url: str, body: str, headers: Mapping[str, str] = REQUIRED_HEADERS) -> tuple[int, str]:
    """Post a body with curl. Give the status and the body that came back."""
    words = [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]
    done = subprocess.run(
        ["curl", "--silent", "--show-error", *words, "--data-binary", body, "--write-out", "\n%{http_code}", url],
        capture_output=True,
        text=True,
        check=True,
    )
    text, _, status = done.stdout.rpartition("\n")
    return int(status), text


def in_time(server: Server, body: Mapping[str, Any], rpc: str, seconds: float) -> Outcome:
    """Call with a deadline that the server alone keeps; curl waits on."""
    url = f"{server.url}/{PROCEDURE.partition('/')[0]}/{rpc}"
    headers = {**REQUIRED_HEADERS, "Connect-Timeout-Ms": f"{1000 * seconds:.0f}"}
    status, text = post(url, json.dumps(body), headers)
    return Outcome(reply=json.loads(text)) if status == 200 else error_outcome(json.loads(text))


def curl(server: Server, body: Mapping[str, str]) -> Outcome:
    status, text = post(server.method_url, json.dumps(body))
    return Outcome(reply=json.loads(text)) if status == 200 else error_outcome(json.loads(text))


def buf_curl(protocol: str, server: Server, body: Mapping[str, str]) -> Outcome:
    done = subprocess.run(
        [BUF, "curl", "--schema", PROTO, "--protocol", protocol, "--data", json.dumps(body), server.method_url],
        capture_output=True,
        text=True,
        check=False,
    )
    return _buf_outcome(done, with_debug=protocol == "connect")


def _buf_outcome(done: "subprocess.CompletedProcess[str]", *, with_debug: bool = False) -> Outcome:
    if done.returncode == 0:
        return Outcome(reply=json.loads(done.stdout))
    return error_outcome(json.loads(done.stderr), with_debug=with_debug)


def buf_curl_grpc(server: Server, body: Mapping[str, str]) -> Outcome:
    """Without a schema: it asks by reflection."""
    url = f"http://{server.grpc_address}/{PROCEDURE}"
    words = ["--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(body), url]
    return _buf_outcome(subprocess.run([BUF, "curl", *words], capture_output=True, text=True, check=False))


def grpcio(
    server: Server, body: Mapping[str, Any], rpc: str = CREATE_SNAPSHOT, headers: Sequence[tuple[str, str]] = ()
) -> Outcome:
    """By the stub that grpcio's own compiler makes."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        method = getattr(grpc_stubs().StorageServiceStub(channel), rpc)
        try:
            metadata = [(name.lower(), value) for name, value in headers]
            return Outcome(reply=json_format.MessageToDict(method(_message(rpc, body), metadata=metadata)))
        except grpc.RpcError as error:
            return grpc_outcome(error)


def grpc_outcome(error: Any) -> Outcome:  # noqa: ANN401 - grpc's own type does not say that it is a call too
    status = rpc_status.from_call(error)
    details = {detail.TypeName(): _read(detail.TypeName(), detail.value) for detail in status.details} if status else {}
    code = "canceled" if error.code().name == "CANCELLED" else error.code().name.lower()
    return Outcome(code=code, message=error.details(), details=_by_short_name(details))


@cache
def grpc_stubs() -> ModuleType:
    """Compile the proto for grpcio."""
    return compiled(Path(PROTO), "otterscale/storage/v1/storage.proto", "grpc_python")


def compiled(protos: Path, file: str, plugin: str) -> ModuleType:
    """Compile a proto with one of protoc's plugins for Python, and import what it makes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}", f"--{plugin}_out={folder}", file]
        subprocess.run(words, check=True)
        path = next(Path(folder).rglob("*.py"))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def generated(
    protocol: ProtocolType,
    codec: Codec,
    server: Server,
    body: Mapping[str, Any],
    rpc: str = CREATE_SNAPSHOT,
    headers: Sequence[tuple[str, str]] = (),
) -> Outcome:
    with StorageServiceClientSync(server.url, protocol=protocol, codec=codec) as client:
        method = _METHODS[rpc].of(client)
        try:
            reply = method(_message(rpc, body), headers=Headers(headers))  # type: ignore[call-arg] # its own arguments
            return Outcome(reply=json_format.MessageToDict(reply))  # type: ignore[arg-type] # and it does not wait
        except ConnectError as error:
            details = {detail.type_name: _read(detail.type_name, detail.message_bytes) for detail in error.details}
            return Outcome(code=error.code.value, message=error.message, details=_by_short_name(details))


def error_outcome(error: Mapping[str, Any], *, with_debug: bool = True) -> Outcome:
    """Read an error as Connect writes it. ``debug``, which only Connect has, must say what ``value`` does."""
    details = {}
    for detail in error.get("details", []):
        details[detail["type"]] = _read(detail["type"], base64.b64decode(detail["value"] + "=="))
        assert detail.get("debug") == (details[detail["type"]] if with_debug else None)
    return Outcome(code=error["code"], message=error["message"], details=_by_short_name(details))


def _message(rpc: str, body: Mapping[str, Any]) -> Message:
    message: Message = json_format.ParseDict(dict(body), _METHODS[rpc].request_class())
    return message


def _read(type_name: str, value: bytes) -> dict[str, Any]:
    message = symbol_database.Default().GetSymbol(type_name).FromString(value)
    return json_format.MessageToDict(message)


def _by_short_name(details: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name.rpartition(".")[2]: detail for name, detail in details.items()}


CLIENTS: dict[str, Client] = {
    "curl": curl,
    "buf-curl": partial(buf_curl, "connect"),
    "buf-curl-grpc-web": partial(buf_curl, "grpcweb"),
    "connect-binary": partial(generated, ProtocolType.CONNECT, google_protobuf_binary_codec()),
    "connect-json": partial(generated, ProtocolType.CONNECT, google_protobuf_json_codec()),
    "grpc-web": partial(generated, ProtocolType.GRPC_WEB, google_protobuf_binary_codec()),
    "buf-curl-grpc": buf_curl_grpc,
    "grpcio": grpcio,
}

# Both transports, for every method. The request's fields are named as JSON has them.
CALLS: dict[str, Call] = {
    "connect": partial(generated, ProtocolType.CONNECT, google_protobuf_binary_codec()),
    "grpc": grpcio,
}

# The quickest of them, for tests in which it does not matter which it is.
create: Client = CLIENTS["connect-binary"]

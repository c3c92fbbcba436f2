"""Requests as bytes, for what no client library would send, and what comes back to them in one form."""

import base64
import gzip
import json
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2

from otterscale.storage.v1.storage_pb2 import CreateImageSnapshotRequest

from .secrets import check_answer
from .server import PROCEDURE, Server

__all__ = [
    "BINARY",
    "CONNECT",
    "FRAMED",
    "HTTP",
    "TRANSPORTS",
    "Answer",
    "Request",
    "connected",
    "framed",
    "http1_bytes",
    "let_down",
    "read_http1",
    "send",
    "valid",
]

TRANSPORTS = ("connect-json", "connect-binary", "grpc-web", "grpc")
HTTP = TRANSPORTS[:3]
CONNECT = TRANSPORTS[:2]
BINARY = TRANSPORTS[1:]
FRAMED = TRANSPORTS[2:]

_SECONDS = 20.0
_TRAILERS_FLAG = 0x80
_COMPRESSED_FLAG = 0x01

Headers = dict[str, bytes]


@dataclass(frozen=True)
class Request:
    """A request, in no way checked. ``ends`` is whether gRPC is told that nothing follows the body."""

    transport: str
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    method: bytes = b"POST"
    path: bytes = b"/" + PROCEDURE.encode()
    ends: bool = True

    def with_header(self, name: bytes, value: bytes) -> "Request":
        """Set a header, and only once."""
        return replace(self, headers=[*((key, old) for key, old in self.headers if key != name), (name, value)])

    def with_message(self, message: bytes) -> "Request":
        """Set the body, with the frame that the transport asks for."""
        return replace(self, body=framed(message) if self.transport in FRAMED else message)

    def with_timeout(self, milliseconds: int) -> "Request":
        if self.transport in FRAMED:
            return self.with_header(b"grpc-timeout", b"%dm" % milliseconds)
        return self.with_header(b"connect-timeout-ms", b"%d" % milliseconds)

    def without_header(self, name: bytes) -> "Request":
        return replace(self, headers=[(key, value) for key, value in self.headers if key != name])


@dataclass(frozen=True)
class Answer:
    """What came back: the HTTP status, and the error as Connect names it (``code`` is None for a success)."""

    status: int
    headers: Headers
    code: str | None
    body: bytes = b""
    message: str = ""
    reason: str = ""
    details: list[Any] = field(default_factory=list)


def framed(body: bytes, flags: int = 0) -> bytes:
    """Put the five bytes of gRPC before a message."""
    return struct.pack(">BI", flags, len(body)) + body


def valid(transport: str, scope: str = "nowhere", image: str = "image", snapshot: str = "snapshot") -> Request:
    """Give a request that is well-formed in every way. Its scope does not exist, unless one is named."""
    message = CreateImageSnapshotRequest(scope=scope, pool_name="rbd", image_name=image, snapshot_name=snapshot)
    binary = message.SerializeToString()
    match transport:
        case "connect-json":
            headers = [(b"content-type", b"application/json"), (b"connect-protocol-version", b"1")]
            return Request(transport, headers, json_format.MessageToJson(message).encode())
        case "connect-binary":
            headers = [(b"content-type", b"application/proto"), (b"connect-protocol-version", b"1")]
            return Request(transport, headers, binary)
        case "grpc-web":
            return Request(transport, [(b"content-type", b"application/grpc-web+proto")], framed(binary))
        case _:
            headers = [(b"content-type", b"application/grpc+proto"), (b"te", b"trailers")]
            return Request(transport, headers, framed(binary))


def send(server: Server, request: Request) -> Answer:
    """Send a request, and read what comes back."""
    answer = _send_http2(server.grpc_address, request) if request.transport == "grpc" else _send_http1(server, request)
    check_answer(answer.body + str(answer).encode())
    return answer


def _send_http1(server: Server, request: Request) -> Answer:
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(request))
        return read_http1(connection)


@contextmanager
def let_down(server: Server, request: Request) -> Iterator[None]:
    """Send a request, and go away at the end without having waited for the answer."""
    address = server.grpc_address if request.transport == "grpc" else server.address
    with connected(address) as connection:
        if request.transport == "grpc":
            state, stream = _begin_http2(request)
            connection.sendall(state.data_to_send())
            _send_some(connection, state, stream, request.body, ends=True)
        else:
            connection.sendall(http1_bytes(request))
        yield


def http1_bytes(request: Request) -> bytes:
    headers = [*request.headers]
    if not {b"content-length", b"transfer-encoding"} & {name for name, _ in headers}:
        headers.append((b"content-length", str(len(request.body)).encode()))
    head = b"".join(name + b": " + value + b"\r\n" for name, value in [(b"host", b"localhost"), *headers])
    return request.method + b" " + request.path + b" HTTP/1.1\r\n" + head + b"\r\n" + request.body


@contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_SECONDS) as connection:
        yield connection


def read_http1(connection: socket.socket) -> Answer:
    """Read one answer, and no byte of what follows it. Raises ConnectionError where there is none."""
    status, *lines = _read_until(connection, b"\r\n\r\n").decode("latin-1").strip().split("\r\n")
    parts = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip().encode("latin-1") for name, _, value in parts}
    body = _read(connection, int(headers["content-length"]))
    return _http1_answer(int(status.split()[1]), headers, body)


def _read_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        received += _read(connection, 1)
    return received


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        some = connection.recv(size - len(received))
        if not some:
            raise ConnectionError(f"the connection was closed after {received!r}")
        received += some
    return received


def _http1_answer(status: int, headers: Headers, body: bytes) -> Answer:
    """Read an answer of Connect or gRPC-Web."""
    if headers.get("content-type", b"").startswith(b"application/grpc-web"):
        return _grpc_answer(status, headers | _trailers_in(body), body)
    if status == 200:
        return Answer(status, headers, None, body)
    error = json.loads(body)
    details = [_detail(detail["type"], base64.b64decode(detail["value"] + "==")) for detail in error["details"]]
    return Answer(status, headers, error["code"], body, error["message"], _reason(details), details)


def _trailers_in(body: bytes) -> Headers:
    """Read the trailers of gRPC-Web, which are a message with a flag of its own."""
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        if flags & _TRAILERS_FLAG:
            trailers = body[5 : 5 + length]
            plain = gzip.decompress(trailers) if flags & _COMPRESSED_FLAG else trailers
            lines = (line.partition(b":") for line in plain.strip().split(b"\r\n"))
            return {name.decode().lower(): value.strip() for name, _, value in lines}
        body = body[5 + length :]
    return {}


def _grpc_answer(status: int, headers: Headers, body: bytes) -> Answer:
    """Read an answer of gRPC or gRPC-Web. ``headers`` are the trailers too."""
    number = int(headers["grpc-status"])
    if number == 0:
        return Answer(status, headers, None, body)
    code = code_pb2.Code.Name(number).lower().replace("cancelled", "canceled")
    packed = status_pb2.Status.FromString(base64.b64decode(headers.get("grpc-status-details-bin", b"") + b"=="))
    details = [_detail(detail.TypeName(), detail.value) for detail in packed.details]
    return Answer(
        status, headers, code, body, unquote(headers.get("grpc-message", b"").decode()), _reason(details), details
    )


def _detail(name: str, value: bytes) -> Any:  # noqa: ANN401 - a message of any type
    return getattr(error_details_pb2, name.rpartition(".")[2]).FromString(value)


def _reason(details: Sequence[Any]) -> str:
    return next((detail.reason for detail in details if isinstance(detail, error_details_pb2.ErrorInfo)), "")


def _send_http2(address: str, request: Request) -> Answer:
    state, stream = _begin_http2(request)
    with connected(address) as connection:
        connection.sendall(state.data_to_send())
        return _exchange(connection, state, stream, request)


def _begin_http2(request: Request) -> tuple[h2.connection.H2Connection, int]:
    """Begin HTTP/2 with prior knowledge, and a stream with a request's headers, in no way checked."""
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding=None
    )
    state = h2.connection.H2Connection(config)
    pseudo = [
        (b":method", request.method),
        (b":path", request.path),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
    ]
    state.initiate_connection()
    stream = state.get_next_available_stream_id()
    state.send_headers(stream, [*pseudo, *request.headers], end_stream=False)
    return state, stream


def _exchange(connection: socket.socket, state: h2.connection.H2Connection, stream: int, request: Request) -> Answer:
    """Send a body as the peer lets it come, and read until the stream ends."""
    body = request.body
    headers: Headers = {}
    trailers: Headers = {}
    received_body = b""
    while True:
        body = _send_some(connection, state, stream, body, ends=request.ends)
        received = connection.recv(65536)
        assert received, f"the connection was closed after {headers}"
        for event in state.receive_data(received):
            match event:
                case h2.events.ResponseReceived():
                    headers = _decoded(event.headers)
                case h2.events.TrailersReceived():
                    trailers = _decoded(event.headers)
                case h2.events.DataReceived():
                    received_body += event.data
                case h2.events.StreamEnded() | h2.events.StreamReset():
                    return _grpc_answer(int(headers[":status"]), headers | trailers, received_body)
                case h2.events.ConnectionTerminated():
                    raise ConnectionError(event)
        connection.sendall(state.data_to_send())


def _send_some(
    connection: socket.socket, state: h2.connection.H2Connection, stream: int, body: bytes, *, ends: bool
) -> bytes:
    """Send what the window has room for, and the end of the stream with the last of it; give what is left."""
    if state.streams.get(stream) is None or state.streams[stream].closed:
        return b""
    if not body and (not ends or state.streams[stream].state_machine.state.name == "HALF_CLOSED_LOCAL"):
        return b""
    while True:
        size = min(len(body), state.local_flow_control_window(stream), state.max_outbound_frame_size)
        if body and not size:
            break
        state.send_data(stream, body[:size], end_stream=ends and size == len(body))
        body = body[size:]
        if not body:
            break
    connection.sendall(state.data_to_send())
    return body


def _decoded(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    return {name.decode(): value for name, value in headers}

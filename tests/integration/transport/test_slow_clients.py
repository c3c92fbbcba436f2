"""Clients that are slow, silent, or speak something else: their connections end, and nobody else notices."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from rbd_connect.server.lifecycle import allow_many_connections
from support.clients import CLIENTS, request
from support.images import NewImage
from support.server import Server, descriptors_of, run_server
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import HTTP, connected, http1_bytes, read_http1, send, valid

SLOW_CONNECTIONS = 1000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def server(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for 2 s for whatever a client is to send."""
    limits = [f"--limits-{what}-timeout=2" for what in ("header", "body", "idle")]
    with run_server(tmp_path_factory.mktemp("impatient"), write_scope("test", cluster), *limits) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


def is_closed_by_peer(connection: socket.socket) -> bool:
    """Read to the end. Raises TimeoutError where there is none."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(65536):
            pass
    return True


def can_send(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


@pytest.mark.parametrize("listener", ["http", "grpc"])
def test_a_connection_that_sends_nothing_is_closed(server: Server, listener: str) -> None:
    with connected(server.address if listener == "http" else server.grpc_address) as connection:
        assert is_closed_by_peer(connection)


def test_a_head_that_does_not_end_is_refused(server: Server) -> None:
    with connected(server.address) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: te")
        answer = read_http1(connection)
        assert (answer.status, answer.code, answer.reason) == (408, "deadline_exceeded", "REQUEST_TOO_SLOW")
        assert is_closed_by_peer(connection)


@pytest.mark.parametrize("transport", HTTP)
def test_a_body_that_does_not_end_is_refused(server: Server, transport: str) -> None:
    """As it is where Content-Length promises more than is sent."""
    whole = valid(transport)
    promised = whole.with_header(b"content-length", str(len(whole.body) + 1).encode())
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(promised))
        answer = read_http1(connection)
        assert (answer.code, answer.reason) == ("deadline_exceeded", "REQUEST_TOO_SLOW")
        assert "Nothing was done" in answer.message
        assert is_closed_by_peer(connection)


def test_a_grpc_body_that_does_not_end_is_refused(server: Server) -> None:
    answer = send(server, replace(valid("grpc"), ends=False))
    assert (answer.code, answer.reason) == ("deadline_exceeded", "REQUEST_TOO_SLOW")


def test_an_upload_goes_on_after_its_refusal_for_no_longer_than_a_body_may_take(server: Server) -> None:
    chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    endless = valid("connect-json").with_header(b"transfer-encoding", b"chunked")
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(replace(endless, body=chunk * 20)))
        answer = read_http1(connection)
        assert answer.reason == "MESSAGE_TOO_LARGE"
        wait_until(lambda: not can_send(connection, chunk), seconds=20)


def test_a_client_that_ends_too_early_is_let_go(server: Server) -> None:
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(valid("connect-json"))[:-3])
        connection.shutdown(socket.SHUT_WR)
        assert is_closed_by_peer(connection)


def test_what_follows_a_body_that_was_longer_than_promised_is_no_request(server: Server) -> None:
    whole = valid("connect-json")
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(whole) + b'"}\r\n\r\n')
        assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
        answer = read_http1(connection)
        assert (answer.status, answer.reason) == (400, "MALFORMED_HTTP")
        assert is_closed_by_peer(connection)


def test_pipelined_requests_are_answered_in_turn_and_an_idle_connection_is_closed(server: Server) -> None:
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(valid("connect-json")) * 3)
        for _ in range(3):
            assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
        assert is_closed_by_peer(connection)


def test_grpc_on_the_address_for_http_1(server: Server) -> None:
    with connected(server.address) as connection:
        connection.sendall(PREFACE + b"\0" * 9)
        answer = read_http1(connection)
        assert answer.status == 400
        assert answer.reason == "MALFORMED_HTTP"
        assert server.grpc_address in answer.message
        assert is_closed_by_peer(connection)


def test_http_1_on_the_address_for_grpc(server: Server) -> None:
    with connected(server.grpc_address) as connection:
        connection.sendall(http1_bytes(valid("connect-json")))
        assert is_closed_by_peer(connection)
    assert send(server, valid("grpc")).reason == "SCOPE_NOT_FOUND"


@pytest.mark.parametrize("noise", [b"\0" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 500])
@pytest.mark.parametrize("listener", ["http", "grpc"])
def test_what_is_no_http_at_all(server: Server, listener: str, noise: bytes) -> None:
    """Zeros, and a handshake of TLS where there is none."""
    with connected(server.address if listener == "http" else server.grpc_address) as connection:
        connection.sendall(noise)
        assert is_closed_by_peer(connection)


def test_a_thousand_connections_that_send_a_byte_a_second(
    cluster: DevCluster, new_image: NewImage, tmp_path: Path
) -> None:
    """Half of them are in a head, half in a body. Meanwhile others are served, and afterwards nothing is left."""
    allow_many_connections()
    image = new_image()
    limits = ["--limits-header-timeout=6", "--limits-body-timeout=6"]
    with run_server(tmp_path, write_scope("test", cluster), *limits) as server:
        CLIENTS["connect-binary"](server, request("rbd", image, "first"))
        descriptors = descriptors_of(server.process.pid)
        with ThreadPoolExecutor(1) as executor:
            slow = executor.submit(asyncio.run, drip(server.address))
            wait_until(lambda: descriptors_of(server.process.pid) >= descriptors + SLOW_CONNECTIONS)
            while descriptors_of(server.process.pid) >= descriptors + SLOW_CONNECTIONS:
                for name in ("connect-json", "connect-binary", "grpc-web", "grpcio"):
                    outcome = CLIENTS[name](server, request("rbd", image, f"{name}-{time.monotonic_ns()}"))
                    assert outcome.reply is not None
            assert slow.result() == SLOW_CONNECTIONS
        wait_until(lambda: descriptors_of(server.process.pid) <= descriptors + 2)
        assert "Traceback" not in server.log.read_text()


async def drip(address: str) -> int:
    """Hold connections, and send a byte a second on each, until the server ends them; say how many it did."""
    head = b"POST / HTTP/1.1\r\nhost: localhost\r\nx-note: "
    body = http1_bytes(valid("connect-json").with_header(b"content-length", b"60000"))
    host, _, port = address.rpartition(":")

    async def one(first: bytes) -> bool:
        reader, writer = await asyncio.open_connection(host, int(port))
        ended = asyncio.create_task(reader.read())
        writer.write(first)
        while not ended.done():
            writer.write(b"a")
            await asyncio.wait([ended], timeout=1)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await ended
        writer.close()
        return True

    return sum(await asyncio.gather(*(one((head, body)[number % 2]) for number in range(SLOW_CONNECTIONS))))

"""Answers that are given before the request has come: they arrive, also where the connection ends with them."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request as UrllibRequest
from urllib.request import urlopen

import pytest
import trustme

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant, wrong_token
from support.clients import CALLS, create, request
from support.images import NewImage
from support.server import Server, run_server
from support.tools import Tools, held_up, write_scope
from support.waiting import wait_until
from support.wire import HTTP, Request, connected, http1_bytes, read_http1, valid

MEGABYTE = 1 << 20
LINGER_SECONDS = 2
LINGER_BYTES = 4 * MEGABYTE


@dataclass(frozen=True)
class Listener:
    """A server by one of its listeners' kinds, with a token that is right."""

    server: Server
    context: ssl.SSLContext | None
    token: str

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with connected(self.server.address) as connection:
            if self.context is None:
                yield connection
            else:
                with self.context.wrap_socket(connection, server_hostname="localhost") as secured:
                    yield secured


@pytest.fixture(scope="module", params=["clear", "tls"])
def listener(
    cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Listener]:
    folder = tmp_path_factory.mktemp(request.param)
    tokens = Tokens(folder)
    token = tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    flags = [f"--limits-linger-timeout={LINGER_SECONDS}", f"--limits-linger-bytes={LINGER_BYTES}"]
    context = None
    if request.param == "tls":
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
        (folder / "server.key").touch(0o600)
        issued.private_key_pem.write_to_path(folder / "server.key")
        flags += [f"--tls-certificate={folder / 'server.pem'}", f"--tls-key={folder / 'server.key'}"]
        context = ssl.create_default_context()
        authority.configure_trust(context)
    with run_server(folder, settings, *flags) as server:
        yield Listener(server, context, token)
        assert "Traceback" not in server.log.read_text()


def to_the_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def can_send(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except (ConnectionError, ssl.SSLError):
        return False
    return True


def refused_in_each_way(transport: str) -> dict[str, tuple[Request, str]]:
    """Requests whose body need not be read to refuse them, and the reason of each."""
    whole = valid(transport)
    wrong = f"Bearer {wrong_token()}".encode()
    return {
        "no credential": (whole, "UNAUTHENTICATED"),
        "a wrong credential": (whole.with_header(b"authorization", wrong), "UNAUTHENTICATED"),
        "no such method": (replace(whole, path=b"/nowhere"), "UNKNOWN_PROCEDURE"),
        "a wrong method": (replace(whole, method=b"PUT"), "METHOD_NOT_ALLOWED"),
        "a wrong type": (whole.with_header(b"content-type", b"text/plain"), "CONTENT_TYPE"),
        "a wrong encoding": (
            whole.with_header(b"content-encoding", b"br").with_header(b"grpc-encoding", b"br"), "ENCODING"
        ),
        "no HTTP": (replace(whole, method=b"P(ST"), "MALFORMED_HTTP"),
    }  # fmt: skip


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
@pytest.mark.parametrize("transport", HTTP)
def test_a_refusal_arrives_at_a_client_that_sends_all_before_it_reads(
    listener: Listener, transport: str, version: bytes
) -> None:
    """The connection is to end with the answer, as nginx asks for by default."""
    for name, (whole, reason) in refused_in_each_way(transport).items():
        large = replace(whole, body=b"a" * MEGABYTE).with_header(b"connection", b"close")
        with listener.connected() as connection:
            connection.sendall(http1_bytes(large).replace(b"HTTP/1.1", b"HTTP/" + version, 1))
            answer = read_http1(connection)
            assert answer.headers["connection"] == b"close"
            assert answer.reason in {reason, "MESSAGE_TOO_LARGE"}, name
            assert to_the_end(connection) == b""


@pytest.mark.parametrize("transport", HTTP)
def test_a_message_that_is_too_large_is_told_so(listener: Listener, transport: str) -> None:
    headers = [(name.encode(), value.encode()) for name, value in bearer(listener.token)]
    chunks = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    for how in ("length", "chunks"):
        whole = valid(transport)
        large = replace(whole, headers=[*whole.headers, *headers, (b"connection", b"close")], body=b"a" * MEGABYTE)
        if how == "chunks":
            large = replace(large, body=chunks * 16 + b"0\r\n\r\n").with_header(b"transfer-encoding", b"chunked")
        with listener.connected() as connection:
            connection.sendall(http1_bytes(large))
            assert read_http1(connection).reason in {"MESSAGE_TOO_LARGE", "MALFORMED_REQUEST"}
            assert to_the_end(connection) == b""


def test_urllib_sees_the_refusal(listener: Listener) -> None:
    url = listener.server.method_url
    if listener.context is not None:
        url = url.replace("http://127.0.0.1", "https://localhost")
    posted = UrllibRequest(url, data=b"a" * MEGABYTE, headers={"Content-Type": "application/json"})  # noqa: S310
    with pytest.raises(HTTPError) as refused:
        urlopen(posted, context=listener.context, timeout=20)  # noqa: S310 - no other scheme
    assert refused.value.code in {400, 429}
    assert json.load(refused.value)["details"]


@pytest.mark.parametrize("bound", ["bytes", "time"])
def test_what_follows_an_answer_is_read_within_bounds(listener: Listener, bound: str) -> None:
    unread = replace(valid("connect-json"), path=b"/nowhere").with_header(b"connection", b"close")
    endless = http1_bytes(unread.with_header(b"content-length", b"100000000000"))
    sent = 0
    with listener.connected() as connection:
        connection.sendall(endless)
        assert read_http1(connection).reason == "UNKNOWN_PROCEDURE"
        began = time.monotonic()
        piece = b"a" * (65536 if bound == "bytes" else 1)
        while can_send(connection, piece):
            sent += len(piece)
            assert time.monotonic() - began < LINGER_SECONDS + 3
            if bound == "time":
                time.sleep(0.05)
    if bound == "bytes":
        # What the kernel buffers has been sent, too.
        assert LINGER_BYTES // 2 < sent < LINGER_BYTES + 16 * MEGABYTE


def test_meanwhile_others_are_served(listener: Listener) -> None:
    unread = replace(valid("connect-json"), path=b"/nowhere").with_header(b"connection", b"close")
    endless = http1_bytes(unread.with_header(b"content-length", b"100000000000"))
    good = valid("connect-json").with_header(b"authorization", f"Bearer {listener.token}".encode())
    with listener.connected() as one, listener.connected() as other:
        for connection in (one, other):
            connection.sendall(endless)
        with listener.connected() as connection:
            connection.sendall(http1_bytes(good))
            assert read_http1(connection).reason == "SCOPE_NOT_FOUND"


class TestAClientThatEndsItsSide:
    """It shuts down the sending side of its connection once the request is sent."""

    @pytest.mark.parametrize("transport", HTTP)
    def test_gets_its_answer(self, server: Server, transport: str) -> None:
        with connected(server.address) as connection:
            connection.sendall(http1_bytes(valid(transport)))
            connection.shutdown(socket.SHUT_WR)
            assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
            assert to_the_end(connection) == b""

    def test_gets_all_its_answers(self, server: Server) -> None:
        with connected(server.address) as connection:
            connection.sendall(http1_bytes(valid("connect-json")) * 3)
            connection.shutdown(socket.SHUT_WR)
            for _ in range(3):
                assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
            assert to_the_end(connection) == b""

    def test_gets_an_answer_that_takes_its_time(self, server: Server, tools: Tools, new_image: NewImage) -> None:
        """Longer than until the server sees whether the client is still there."""
        image = new_image()
        assert create(server, request("rbd", image, "first")).reply
        with connected(server.address) as connection:
            with held_up(tools, image) as is_held:
                connection.sendall(http1_bytes(valid("connect-json", "test", image, "second")))
                connection.shutdown(socket.SHUT_WR)
                wait_until(lambda: is_held(image))
            answer = read_http1(connection)
            assert answer.status == 200
            assert json.loads(answer.body)["name"] == "second"


class TestAClientOfWhichTheKernelDoesNotKnow:
    """As of one of another machine's: it is asked whether it is there. Here it comes by a socket in the file system."""

    @pytest.fixture(scope="class")
    @classmethod
    def path(cls, cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
        folder = tmp_path_factory.mktemp("files")
        path = folder / "http.sock"
        with run_server(folder, write_scope("test", cluster), f"--listen-http=unix:{path}") as server:
            yield server, path

    @pytest.mark.parametrize("goes", [False, True])
    def test_by_an_answer_that_goes_before_others(
        self, tools: Tools, new_image: NewImage, path: tuple[Server, Path], *, goes: bool
    ) -> None:
        server, file = path
        image = new_image()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(file))
            assert CALLS["grpc"](server, request("rbd", image, "first")).reply
            with held_up(tools, image) as is_held:
                connection.sendall(http1_bytes(valid("connect-json", "test", image, "second")))
                connection.shutdown(socket.SHUT_WR)
                wait_until(lambda: is_held(image))
                if goes:
                    connection.close()
                    wait_until(lambda: "canceled in" in server.log.read_text())
                else:
                    assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            if not goes:
                assert read_http1(connection).status == 200

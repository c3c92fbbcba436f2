"""Without authentication, a page of another site is not taken for this machine's, whatever its name leads to."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant
from support.clients import CALLS
from support.server import Server, run_server
from support.tools import write_scope
from support.wire import HTTP, connected, http1_bytes, read_http1, valid

EVIL = b"evil.example:8080"


def reason_by(server: Server, transport: str, host: bytes, path: bytes | None = None) -> tuple[int, str]:
    whole = valid(transport)
    sent = http1_bytes(whole if path is None else replace(whole, path=path))
    with connected(server.address) as connection:
        connection.sendall(sent.replace(b"host: localhost", b"host: " + host, 1))
        answer = read_http1(connection)
        return answer.status, answer.reason


@pytest.mark.parametrize("transport", HTTP)
def test_a_call_by_another_name_is_refused(server: Server, transport: str) -> None:
    status = 200 if transport == "grpc-web" else 403
    assert reason_by(server, transport, EVIL) == (status, "NOT_LOCAL")
    for host in (b"localhost", b"LOCALHOST:1", b"127.0.0.1", b"[::1]:1"):
        assert reason_by(server, transport, host)[1] == "SCOPE_NOT_FOUND"


def test_an_absolute_target_says_its_name_itself(server: Server) -> None:
    path = valid("connect-json").path
    assert reason_by(server, "connect-json", b"localhost", b"http://" + EVIL + path) == (403, "NOT_LOCAL")
    assert reason_by(server, "connect-json", EVIL, b"http://localhost" + path)[1] == "SCOPE_NOT_FOUND"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/"])
def test_nothing_at_all_is_told_by_another_name(server: Server, path: str) -> None:
    with connected(server.address) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert json.loads(body)["code"] == "permission_denied"


class TestOtherwise:
    @pytest.fixture
    def with_tokens(self, cluster: DevCluster, tmp_path: Path) -> Iterator[Server]:
        tokens = Tokens(tmp_path)
        tokens.new("alice")
        settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
        with run_server(tmp_path, settings) as server:
            yield server

    def test_with_authentication_any_name_will_do(self, with_tokens: Server) -> None:
        """A page has no token of its own."""
        assert reason_by(with_tokens, "connect-json", EVIL) == (401, "UNAUTHENTICATED")

    def test_and_where_everybody_is_meant(self, cluster: DevCluster, tmp_path: Path) -> None:
        with run_server(tmp_path, write_scope("test", cluster), "--insecure") as server:
            assert reason_by(server, "connect-json", EVIL)[1] == "SCOPE_NOT_FOUND"


def test_whom_a_trusted_proxy_speaks_for_is_on_no_machine_of_ours(cluster: DevCluster, tmp_path: Path) -> None:
    """On either transport."""
    with run_server(tmp_path, write_scope("test", cluster), "--proxies-trusted=127.0.0.1") as server:
        for call in CALLS.values():
            by_proxy = call(server, {"scope": "nowhere"}, "ListPools", [("x-forwarded-for", "192.0.2.7")])
            assert by_proxy.reason == "NOT_LOCAL"
            assert call(server, {"scope": "nowhere"}, "ListPools").reason == "SCOPE_NOT_FOUND"

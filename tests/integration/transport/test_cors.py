"""What a browser is told of the pages that may call; a browser itself is in test_javascript_clients."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.server import Server, run_server, start_and_fail
from support.tools import write_scope

ORIGIN = "https://console.example.com"
OTHERS = ["https://console.example.org", "http://console.example.com", "https://console.example.com:8443", "null"]


@pytest.fixture(scope="module")
def open_server(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets the pages of two origins call."""
    flags = ("--cors-origins", f"{ORIGIN}, http://localhost:3000")
    with run_server(tmp_path_factory.mktemp("cors"), write_scope("test", cluster), *flags) as server:
        yield server


def exchange(url: str, method: str, headers: Mapping[str, str], body: str = "") -> tuple[int, dict[str, str]]:
    words = [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]
    command = ["curl", "--silent", "--request", method, *words, "--data", body, "--dump-header", "-", "--output"]
    done = subprocess.run([*command, "/dev/null", url], capture_output=True, text=True, check=True)
    status, *lines = done.stdout.strip().splitlines()
    received = (line.partition(":") for line in lines)
    return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in received}


def preflight(server: Server, origin: str, asked: str) -> tuple[int, dict[str, str]]:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    return exchange(server.method_url, "OPTIONS", {"Origin": origin, **asking})


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
def test_a_preflight_of_a_page_that_may_call(open_server: Server, origin: str) -> None:
    asked = "connect-protocol-version,connect-timeout-ms,content-type,grpc-timeout,x-grpc-web,x-user-agent"
    status, headers = preflight(open_server, origin, asked)
    assert (status, headers["access-control-allow-origin"]) == (200, origin)
    assert headers["access-control-allow-methods"] == "POST"
    allowed = set(headers["access-control-allow-headers"].lower().split(", "))
    assert set(asked.split(",")) <= allowed


@pytest.mark.parametrize("origin", OTHERS)
def test_a_preflight_of_another_page(open_server: Server, origin: str) -> None:
    status, headers = preflight(open_server, origin, "content-type")
    assert status == 400
    assert "access-control-allow-origin" not in headers


def test_a_preflight_for_headers_of_traces_and_for_one_of_the_settings(cluster: DevCluster, tmp_path: Path) -> None:
    flags = ("--cors-origins", ORIGIN, "--cors-headers", "X-Tenant,baggage")
    with run_server(tmp_path, write_scope("test", cluster), *flags) as server:
        assert preflight(server, ORIGIN, "traceparent,tracestate,x-tenant,baggage")[0] == 200
        assert preflight(server, ORIGIN, "x-anything")[0] == 400


def test_a_preflight_for_a_header_that_nobody_needs(open_server: Server) -> None:
    assert preflight(open_server, ORIGIN, "x-anything")[0] == 400


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json", 400), ("text/plain", 415), ("application/grpc-web", 200)],
)
def test_errors_can_be_read_too(open_server: Server, content_type: str, status: int) -> None:
    sent = {"Origin": ORIGIN, "Content-Type": content_type, "Connect-Protocol-Version": "1"}
    got, headers = exchange(open_server.method_url, "POST", sent, "{")
    assert (got, headers["access-control-allow-origin"]) == (status, ORIGIN)
    exposed = {name.strip().lower() for name in headers["access-control-expose-headers"].split(",")}
    assert {"grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id"} <= exposed


def test_no_page_may_call_unless_it_was_set(server: Server) -> None:
    status, headers = preflight(server, ORIGIN, "content-type")
    assert status == 405
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["*", "console.example.com", "https://console.example.com/", "ftp://a"])
def test_what_is_no_origin_is_told_at_the_start(cluster: DevCluster, origin: str) -> None:
    failed = start_and_fail("serve", "--scope", f"a={cluster.conf}", "--cors-origins", origin)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"Error: --cors-origins: cors.origins: {origin!r} is no origin")
    assert failed.stderr.count("\n") == 1

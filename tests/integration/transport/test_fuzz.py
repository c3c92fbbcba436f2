"""Random requests: none is answered as if the server had failed, and none leaves a traceback."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbd_connect.devcluster import DevCluster
from support.server import PROCEDURE, Server, run_server
from support.tools import write_scope
from support.wire import BINARY, HTTP, Request, connected, framed, http1_bytes, read_http1, send, valid

NOT_OURS = {"internal", "unknown", "data_loss"}

NAMES = [
    b"content-type", b"content-encoding", b"content-length", b"transfer-encoding", b"connect-protocol-version",
    b"connect-timeout-ms", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding", b"accept-encoding", b"te",
    b"connection", b"upgrade", b"expect", b"host", b"origin", b"cookie", b"x-request-id",
]  # fmt: skip
VALUES = [
    b"application/json", b"application/proto", b"application/grpc-web+proto", b"application/grpc-web+json",
    b"application/grpc", b"gzip", b"identity", b"chunked", b"0", b"1", b"99999999S", b"10", b"-1", b"close",
    b"keep-alive", b"upgrade", b"websocket", b"h2c", b"100-continue", b"*", b"",
]  # fmt: skip

names = st.sampled_from(NAMES) | st.from_regex(rb"[a-z-]{1,20}", fullmatch=True) | st.binary(min_size=1, max_size=10)
values = st.sampled_from(VALUES) | st.binary(max_size=50)
headers = st.lists(st.tuples(names, values), max_size=6)
paths = st.sampled_from([b"/" + PROCEDURE.encode(), b"/", b"/healthz", b"*"]) | st.binary(max_size=60)
methods = st.sampled_from([b"POST", b"GET", b"HEAD", b"OPTIONS", b"PRI", b"CONNECT"]) | st.binary(max_size=10)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ["scope", "poolName", "pool_name", "imageName", "snapshotName"]
json_bodies = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), json_values, max_size=5)

fuzzed = settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def server(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for no body that does not come, and whose log holds nothing but what these tests cause."""
    flags = ("--limits-body-timeout=1", "--limits-header-timeout=1", "--limits-idle-timeout=1")
    with run_server(tmp_path_factory.mktemp("fuzz"), write_scope("unguessable", cluster), *flags) as server:
        yield server
        log = server.log.read_text()
        assert "Traceback" not in log
        assert not re.search(r"\b(ERROR|CRITICAL)\b", log)


@st.composite
def bodies(draw: st.DrawFn, transport: str) -> bytes:
    """Draw a body: noise, or a valid one of which a part was replaced."""
    whole = valid(transport).body
    start = draw(st.integers(0, len(whole)))
    noise = draw(st.binary(max_size=200))
    return draw(st.sampled_from([noise, whole[:start] + noise + whole[start + len(noise) :], framed(noise), whole]))


@fuzzed
@given(data=st.data(), transport=st.sampled_from(HTTP), others=headers, path=paths, method=methods)
def test_http_requests(
    server: Server, data: st.DataObject, transport: str, others: list[tuple[bytes, bytes]], path: bytes, method: bytes
) -> None:
    request = valid(transport)
    body = data.draw(bodies(transport))
    answered(server, http1_bytes(Request(transport, [*request.headers, *others], body, method, path)))


@fuzzed
@given(others=headers, body=json_bodies.map(json.dumps) | json_values.map(json.dumps) | st.text())
def test_bodies_for_json(server: Server, others: list[tuple[bytes, bytes]], body: str) -> None:
    request = valid("connect-json")
    answered(server, http1_bytes(Request("connect-json", [*request.headers, *others], body.encode())))


@fuzzed
@given(noise=st.binary(min_size=1, max_size=300))
def test_noise(server: Server, noise: bytes) -> None:
    answered(server, noise + b"\r\n\r\n")


def answered(server: Server, request: bytes) -> None:
    """See that an answer, if there is one, does not say that the server failed."""
    with connected(server.address) as connection:
        connection.sendall(request)
        try:
            status = status_of(connection.recv(65536))
        except ConnectionResetError:
            return
    assert status < 500 or status in {501, 504}, (status, request)


def status_of(answer: bytes) -> int:
    """Read the status, of the last answer where the first only says to go on; 0 where there is none."""
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) ", answer)]
    return max(statuses, default=0)


@fuzzed
@given(data=st.data(), transport=st.sampled_from(BINARY))
def test_messages(server: Server, data: st.DataObject, transport: str) -> None:
    noise = data.draw(st.binary(max_size=300))
    whole = valid("connect-binary").body
    start = data.draw(st.integers(0, len(whole)))
    message = whole[:start] + noise + whole[start + len(noise) :]
    answer = send(server, valid(transport).with_message(message))
    assert answer.code not in NOT_OURS
    assert answer.reason


def test_afterwards_all_is_well(server: Server) -> None:
    with connected(server.address) as connection:
        connection.sendall(http1_bytes(valid("connect-json")))
        assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
    assert send(server, valid("grpc")).reason == "SCOPE_NOT_FOUND"

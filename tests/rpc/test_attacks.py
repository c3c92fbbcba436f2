"""Attacks on purpose, on each listener, and a good client beside each, whose answers and their time are judged.

``make bench-attacks`` measures the same, and more of it.
"""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rbd_connect.devcluster import DevCluster
from support.attacks import attacked, call, calls_beside
from support.clients import CALLS
from support.server import Held, Server, descriptors_of, run_server
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import connected, http1_bytes, read_http1, valid

SECONDS = 2.0
# What is asked of a machine that is shared. It is a few milliseconds where nothing else goes on.
MOST_MEDIAN = 0.5
MOST_SECONDS = 8.0
# Where there is no more room, a connection that has not sent its request yet may give way, also a good client's.
MAY_FAIL = 2
CONNECTIONS = 200
FILES = 800
MOST_GROWTH_BYTES = 64 << 20
MOST_LOG_BYTES = 4 << 20
LIMITS = (
    f"--limits-connections={CONNECTIONS}",
    "--limits-handshakes=150",
    "--limits-watches=16",
    "--limits-streams=64",
)
FEW_FILES = ("prlimit", f"--nofile={FILES}:{FILES}")


@pytest.fixture(scope="module")
def server(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may open few files."""
    folder = tmp_path_factory.mktemp("attacked")
    with run_server(folder, write_scope("test", cluster), *LIMITS, prefix=FEW_FILES) as server:
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def tls(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, ssl.SSLContext]]:
    folder = tmp_path_factory.mktemp("attacked-tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    (folder / "server.key").touch(0o600)
    issued.private_key_pem.write_to_path(folder / "server.key")
    flags = (f"--tls-certificate={folder / 'server.pem'}", f"--tls-key={folder / 'server.key'}")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with run_server(folder, write_scope("test", cluster), *LIMITS, *flags, prefix=FEW_FILES) as server:
        yield server, context
        assert "Traceback" not in server.log.read_text()


def grpc_call(server: Server) -> bool:
    return CALLS["grpc"](server, {"scope": "nowhere"}, "ListPools").reason == "SCOPE_NOT_FOUND"


def is_borne(server: Server, name: str, good: Callable[[], bool]) -> None:
    """Attack, and see that a client is served beside it, and what it costs the server."""
    assert good()
    before = Held.by(server)
    logged = server.log.stat().st_size
    with attacked(server, name):
        calls = calls_beside(good, SECONDS)
        held = Held.by(server)
    assert calls.failed <= MAY_FAIL
    assert calls.median < MOST_MEDIAN
    assert calls.longest < MOST_SECONDS
    assert held.resident_bytes - before.resident_bytes < MOST_GROWTH_BYTES
    assert held.descriptors < FILES
    assert server.log.stat().st_size - logged < MOST_LOG_BYTES
    wait_until(lambda: descriptors_of(server.process.pid) <= before.descriptors + 5)


@pytest.mark.parametrize(
    "name", ["chunks-of-one-byte", "chunks-of-one-byte-16", "endless-uploads-16", "many-headers-16", "silent-1000"]
)
def test_on_the_listener_for_http(server: Server, name: str) -> None:
    is_borne(server, name, partial(call, server.address))


@pytest.mark.parametrize("name", ["silent-1000", "half-a-handshake-1000", "hello-alone-300"])
def test_on_the_listener_for_https(tls: tuple[Server, ssl.SSLContext], name: str) -> None:
    server, context = tls
    wrap = partial(context.wrap_socket, server_hostname="localhost")
    # Who is at a handshake while hundreds begin theirs may have to begin anew.
    is_borne(server, name, partial(call, server.address, wrap))


@pytest.mark.parametrize("name", ["resets", "watches", "reflections"])
def test_on_the_listener_for_grpc(server: Server, name: str) -> None:
    is_borne(server, name, partial(grpc_call, server))


def test_streams_are_bounded_and_calls_are_not(server: Server) -> None:
    """The address that holds most streams gets no more of them; its checks and its calls are served."""
    with attacked(server, "watches"), grpc.insecure_channel(server.grpc_address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)

        def is_refused() -> bool:
            try:
                next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=30))
            except grpc.RpcError as refused:
                return bool(refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)
            return False

        wait_until(is_refused)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING


def test_descriptors_that_are_used_up_are_told_seldom(cluster: DevCluster, tmp_path: Path) -> None:
    """Who has a connection is served on it meanwhile, and others as soon as there are descriptors."""
    with run_server(tmp_path, write_scope("test", cluster)) as server, connected(server.address) as kept:
        kept.sendall(http1_bytes(valid("connect-json")))
        assert read_http1(kept).reason == "SCOPE_NOT_FOUND"
        most = descriptors_of(server.process.pid)
        subprocess.run(["prlimit", f"--pid={server.process.pid}", f"--nofile={most}:"], check=True)
        with ExitStack() as stack:
            others = [stack.enter_context(connected(server.address)) for _ in range(50)]
            wait_until(lambda: "Too many open files" in server.log.read_text())
            # One that waited has given way by now; this one does not wait.
            subprocess.run(["prlimit", f"--pid={server.process.pid}", f"--nofile={most + 100}:"], check=True)
            for connection in others[-5:]:
                connection.sendall(http1_bytes(valid("connect-json")))
                assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
        assert server.log.read_text().count("Too many open files") < 5

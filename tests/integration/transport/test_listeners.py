"""Where a server listens: on both families, in the file system, and for probes alone; and how it stops to."""

import http.client
import json
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant
from support.server import Server, run_server, start_and_fail
from support.tools import frozen, write_scope
from support.waiting import wait_until
from support.wire import connected, http1_bytes, read_http1, valid

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE = "otterscale.storage.v1.StorageService"
LOOPBACK = ("127.0.0.1", "::1")


def get(address: str, path: str) -> tuple[int, dict[str, Any]]:
    with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def checked(address: str, service: str = SERVICE) -> int:
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20).status)


class TestOneState:
    """HTTP's probes and gRPC's health say the same."""

    def test_of_a_cluster_that_does_not_answer(self, cluster: DevCluster, server: Server) -> None:
        def said() -> tuple[int, int, int]:
            return get(server.address, "/readyz")[0], checked(server.grpc_address), checked(server.grpc_address, "")

        wait_until(lambda: said() == (200, SERVING, SERVING))
        with frozen(cluster.mon):
            wait_until(lambda: said() == (503, NOT_SERVING, NOT_SERVING))
            assert get(server.address, "/healthz")[0] == 200
        wait_until(lambda: said() == (200, SERVING, SERVING))

    def test_who_watches_hears_of_it(self, cluster: DevCluster, server: Server) -> None:
        wait_until(lambda: get(server.address, "/readyz")[0] == 200)
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watched = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=60)
            assert next(watched).status == SERVING
            with frozen(cluster.mon):
                assert next(watched).status == NOT_SERVING
            assert next(watched).status == SERVING


class TestStopping:
    def test_calls_are_taken_while_all_are_told(self, cluster: DevCluster, tmp_path: Path) -> None:
        """For the drain delay; then listeners close. Connections are told that they end."""
        flags = ("--listen-drain-delay=3",)
        with run_server(tmp_path, write_scope("test", cluster), *flags) as server:
            wait_until(lambda: get(server.address, "/readyz")[0] == 200)
            with connected(server.address) as kept:
                kept.sendall(http1_bytes(valid("connect-json")))
                answer = read_http1(kept)
                assert (answer.headers["connection"], answer.headers["keep-alive"]) == (b"keep-alive", b"timeout=75")
                server.process.send_signal(signal.SIGTERM)
                told = time.monotonic()
                wait_until(lambda: get(server.address, "/readyz") == (503, {"status": "stopping"} | scopes(server)))
                assert checked(server.grpc_address) == NOT_SERVING
                kept.sendall(http1_bytes(valid("connect-json")))
                answer = read_http1(kept)
                assert (answer.reason, answer.headers["connection"]) == ("SCOPE_NOT_FOUND", b"close")
                with connected(server.address) as new:
                    new.sendall(http1_bytes(valid("connect-json")))
                    assert read_http1(new).reason == "SCOPE_NOT_FOUND"
            assert server.process.wait(30) == 0
            assert time.monotonic() - told > 2.5

    def test_a_request_that_has_just_come_is_answered(self, cluster: DevCluster, tmp_path: Path) -> None:
        """Also where the server had not accepted its connection yet."""
        with run_server(tmp_path, write_scope("test", cluster)) as server, ExitStack() as stack:
            server.process.send_signal(signal.SIGSTOP)
            connections = [stack.enter_context(connected(server.address)) for _ in range(100)]
            for connection in connections:
                connection.sendall(http1_bytes(valid("connect-json")))
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGCONT)
            for connection in connections:
                assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
            assert server.process.wait(30) == 0

    def test_a_second_signal_ends_the_delay(self, cluster: DevCluster, tmp_path: Path) -> None:
        code = 128 + signal.SIGTERM
        with run_server(tmp_path, write_scope("test", cluster), "--listen-drain-delay=60", ends_with=code) as server:
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: get(server.address, "/readyz")[0] == 503)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == code

    def test_connections_end_when_they_are_old(self, cluster: DevCluster, tmp_path: Path) -> None:
        """The client hears of it with an answer, and no call is lost by it."""
        with run_server(tmp_path, write_scope("test", cluster), "--limits-connection-age=1") as server:
            with connected(server.address) as connection:
                answers = list(on_one_connection(connection))
                assert answers[-1] == b"close"
                assert set(answers[:-1]) == {b"keep-alive"}
            peers = set()
            with grpc.insecure_channel(server.grpc_address) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                end = time.monotonic() + 4
                while time.monotonic() < end:
                    assert stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=20)
                    peers |= established(server)
            assert len(peers) > 1


def scopes(server: Server) -> dict[str, Any]:
    return {"scopes": {"test": "connected"}} if server else {}


def on_one_connection(connection: socket.socket) -> Iterator[bytes]:
    """Call until the server says that it was the last."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        connection.sendall(http1_bytes(valid("connect-json")))
        last = read_http1(connection).headers["connection"]
        yield last
        if last == b"close":
            assert connection.recv(1) == b""
            return
        time.sleep(0.05)


def established(server: Server) -> set[str]:
    """Give the ports of the clients of the listener for gRPC, as the kernel has them."""
    port = server.grpc_address.rpartition(":")[2]
    words = ["ss", "--no-header", "--numeric", "--tcp", "state", "established", f"( sport = :{port} )"]
    listed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return {line.split()[3] for line in listed.splitlines()}


@pytest.fixture(scope="module")
def probes(cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The listener for probes of a server that asks for tokens, TLS and client certificates."""
    folder = tmp_path_factory.mktemp("probes")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "server.pem")
    (folder / "server.key").touch(0o600)
    issued.private_key_pem.write_to_path(folder / "server.key")
    tokens = Tokens(folder)
    tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    tls = [f"--tls-{name}={folder / file}" for name, file in FILES.items()]
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with run_server(folder, settings, f"--listen-probes={address}", *tls):
        yield address


class TestProbesAlone:
    def test_needs_no_credential_nor_certificate(self, probes: str) -> None:
        assert get(probes, "/healthz") == (200, {"status": "alive"})
        wait_until(lambda: get(probes, "/readyz") == (200, {"status": "ready"}))

    def test_serves_nothing_else(self, probes: str) -> None:
        with connected(probes) as connection:
            connection.sendall(http1_bytes(valid("connect-json")))
            head = connection.recv(65536)
        assert head.startswith(b"HTTP/1.1 404 ")

    def test_is_open_to_the_end(self, cluster: DevCluster, tmp_path: Path) -> None:
        """Who asks whether the process lives must not take one that drains for dead."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        flags = (f"--listen-probes={address}", "--limits-idle-timeout=600")
        with run_server(tmp_path, write_scope("test", cluster), *flags) as server, connected(address) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert idle.recv(65536).startswith(b"HTTP/1.1 200 ")
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == 0


FILES = {"certificate": "server.pem", "key": "server.key", "client-ca": "ca.pem"}


class TestSockets:
    def test_in_the_file_system(self, cluster: DevCluster, tmp_path: Path) -> None:
        paths = {name: tmp_path / f"{name}.sock" for name in ("http", "grpc", "probes")}
        for path in paths.values():  # what a server that was killed leaves
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(str(path))
        flags = [f"--listen-{name}=unix:{path}" for name, path in paths.items()]
        tokens = Tokens(tmp_path)
        tokens.new("alice")
        with run_server(tmp_path, write_scope("test", cluster), *flags) as server:
            assert {stat.S_IMODE(path.stat().st_mode) for path in paths.values()} == {0o660}
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(paths["http"]))
                connection.sendall(http1_bytes(valid("connect-json")))
                assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
            assert checked(f"unix:{paths['grpc']}", "") in {SERVING, NOT_SERVING}
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(paths["probes"]))
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert server.address == f"unix:{paths['http']}"
            for name, path in paths.items():
                failed = start_and_fail(
                    "serve", "--scope", f"a={cluster.conf}", *free(name), f"--listen-{name}=unix:{path}"
                )
                assert failed.returncode == 1
                assert failed.stderr.startswith(
                    f"Error: --listen-{name}: listen.{name}: cannot listen on unix:{path}: another process listens "
                    f"there. `ss -lxp src {path}` names it: stop it. Or choose another address with "
                )
                assert failed.stderr.count("\n") == 1
        assert not any(path.exists() for path in paths.values())

    def test_of_localhost_are_of_both_families(self, cluster: DevCluster, tmp_path: Path) -> None:
        flags = ("--listen-http=localhost:0", "--listen-grpc=localhost:0")
        with run_server(tmp_path, write_scope("test", cluster), *flags) as server:
            port = int(server.address.rpartition(":")[2])
            for host in LOOPBACK:
                with socket.create_connection((host, port), timeout=20) as connection:
                    connection.sendall(http1_bytes(valid("connect-json")))
                    assert read_http1(connection).reason == "SCOPE_NOT_FOUND"
                grpc_port = server.grpc_address.rpartition(":")[2]
                assert checked(f"[{host}]:{grpc_port}" if ":" in host else f"{host}:{grpc_port}", "")

    @pytest.mark.parametrize("other", ["grpc", "probes"])
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])  # noqa: S104 - to be refused
    def test_of_two_listeners_are_not_the_same(self, cluster: DevCluster, other: str, host: str) -> None:
        """Also where one of them has it by another name."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        flags = [f"--listen-http=127.0.0.1:{port}", f"--listen-{other}={host}:{port}", "--insecure"]
        failed = start_and_fail("serve", "--scope", f"a={cluster.conf}", *free(other), *flags)
        assert failed.returncode == 1
        assert failed.stderr == (
            f"Error: --listen-{other}: listen.{other}: {host}:{port} cannot be listened on beside --listen-http: "
            f"listen.http, which is 127.0.0.1:{port}; give each listener a port or a socket of its own.\n"
        )


def free(*but: str) -> list[str]:
    return [f"--listen-{name}=127.0.0.1:0" for name in ("http", "grpc") if name not in but]

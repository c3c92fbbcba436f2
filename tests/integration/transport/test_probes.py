"""/healthz and /readyz, on clusters that are well, frozen, and not there at all."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, grant, wrong_token
from support.issuer import AUDIENCE, ISSUER, Issuer
from support.server import Server, run_server, workers_of
from support.tools import Tools, frozen, write_scope
from support.waiting import wait_until
from support.wire import connected

HOPELESS = (
    "[global]\nfsid = 00000000-0000-0000-0000-000000000000\nmon_host = 127.0.0.1:1\nauth_client_required = none\n"
)


def get(server: Server, path: str, method: str = "GET", *, credential: str | None = None) -> tuple[int, str]:
    headers = "host: localhost\r\nconnection: close\r\n"
    if credential is not None:
        headers += f"authorization: Bearer {credential}\r\n"
    with connected(server.address) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{headers}\r\n".encode())
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()


def says(server: Server, **scopes: str) -> Callable[[], bool]:
    """Say whether /readyz says so of the scopes, with the status that follows from it."""
    is_ready = "connected" in scopes.values()
    expected = {"status": "ready" if is_ready else "not ready", "scopes": scopes}

    def ask() -> bool:
        status, body = get(server, "/readyz")
        return (status, json.loads(body)) == (200 if is_ready else 503, expected)

    return ask


def test_alive_without_a_word_to_ceph(cluster: DevCluster, tools: Tools, tmp_path: Path) -> None:
    cluster.create_user("client.unheard", mon="profile rbd", osd="profile rbd")
    with run_server(tmp_path, write_scope("test", cluster, ['client = "client.unheard"'])) as server:
        assert get(server, "/healthz") == (200, '{"status": "alive"}\n')
        assert get(server, "/healthz", "HEAD") == (200, "")
        assert tools.addresses("client.unheard") == []


def test_ready_and_what_else_is_known_of_each_scope(cluster: DevCluster, tmp_path: Path) -> None:
    """A cluster that does not answer holds nobody up, and one that does again is found out."""
    hopeless = tmp_path / "hopeless.conf"
    hopeless.write_text(HOPELESS)
    settings = (
        "[ceph]\nconnect_timeout = 2\nmon_timeout = 2\n"
        + write_scope("test", cluster)
        + f'[scopes.hopeless]\nconf = "{hopeless}"\n'
    )
    with run_server(tmp_path, settings) as server:
        wait_until(says(server, test="connected", hopeless="not answering"))
        wait_until(says(server, test="connected", hopeless="not connected"))
        with frozen(cluster.mon):
            started = time.monotonic()
            wait_until(says(server, test="not answering", hopeless="not connected"))
            get(server, "/readyz")
            assert time.monotonic() - started < 10
            assert get(server, "/healthz")[0] == 200
            wait_until(lambda: get(server, "/readyz")[0] == 503)
        wait_until(lambda: get(server, "/readyz")[0] == 200)
        assert "Traceback" not in server.log.read_text()


def test_osds_that_are_silent_are_told_at_once_and_end_readiness_when_they_stay_so(
    cluster: DevCluster, server: Server
) -> None:
    wait_until(says(server, test="connected"))
    with frozen(cluster.osd):
        wait_until(lambda: json.loads(get(server, "/readyz")[1])["scopes"] == {"test": "OSDs not answering"})
        silent = time.monotonic()
        assert get(server, "/readyz")[0] == 200
        wait_until(lambda: get(server, "/readyz")[0] == 503, 20)
        assert time.monotonic() - silent > 3
        assert json.loads(get(server, "/readyz")[1])["scopes"] == {"test": "OSDs not answering"}
    wait_until(says(server, test="connected"))


def test_a_probe_that_takes_long_ends_readiness_when_it_takes_too_long(cluster: DevCluster, tmp_path: Path) -> None:
    """A machine that is busy answers later than a probe waits; its calls are as good as anywhere else."""
    with run_server(tmp_path, write_scope("test", cluster)) as server:
        wait_until(says(server, test="connected"))
        (worker,) = workers_of(server)
        os.kill(worker, signal.SIGSTOP)
        try:
            wait_until(lambda: json.loads(get(server, "/readyz")[1])["scopes"] == {"test": "not answering"})
            silent = time.monotonic()
            assert get(server, "/readyz")[0] == 200
            wait_until(lambda: get(server, "/readyz")[0] == 503, 20)
            assert time.monotonic() - silent > 3
        finally:
            os.kill(worker, signal.SIGCONT)
        wait_until(says(server, test="connected"))


def test_other_methods_are_no_probes(server: Server) -> None:
    assert get(server, "/healthz", "POST")[0] == 404
    assert get(server, "/healthz/")[0] == 404


class TestCredentials:
    """Whoever shows one at /readyz is recognised as for a call: in time, and no faster than there."""

    def test_an_issuer_that_does_not_answer_holds_nobody_up(self, cluster: DevCluster, tmp_path: Path) -> None:
        issuer = Issuer()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            jwks = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
            settings = f'[issuers.sso]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks = "{jwks}"\n'
            with run_server(tmp_path, settings + write_scope("test", cluster)) as server:
                wait_until(lambda: get(server, "/readyz")[0] == 200)
                began = time.monotonic()
                status, body = get(server, "/readyz", credential=issuer.token())
                assert time.monotonic() - began < 3
                assert (status, json.loads(body)) == (200, {"status": "ready"})

    def test_wrong_ones_are_no_faster_tried_there(self, cluster: DevCluster, tmp_path: Path) -> None:
        tokens = Tokens(tmp_path)
        token = tokens.new("alice")
        settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
        with run_server(tmp_path, settings) as server:
            wait_until(lambda: get(server, "/readyz")[0] == 200)
            began = time.monotonic()
            for _ in range(10):
                _, body = get(server, "/readyz", credential=wrong_token())
                assert "scopes" not in json.loads(body)
            assert time.monotonic() - began > 10 * 0.05
            _, body = get(server, "/readyz", credential=token)
            assert json.loads(body)["scopes"] == {"test": "connected"}

"""Log and audit whose readers stall, and paths of the audit that are none: no call waits, and the server ends."""

import asyncio
import json
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rbd_connect.devcluster import DevCluster
from support.access import Tokens, bearer, grant
from support.clients import CALLS, request
from support.server import Server, run_server, start_and_fail
from support.strangers import flood
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import TRANSPORTS, connected, send, valid

_CALLS = 14_000
_CONNECTIONS = 250
_QUICK_SECONDS = 2.0  # the machine is shared


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def alive(server: Server) -> bool:
    with connected(server.address) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        return connection.recv(1000).startswith(b"HTTP/1.1 200")


def seconds(function: Callable[[], object]) -> float:
    started = time.monotonic()
    function()
    return time.monotonic() - started


def drained(descriptor: int) -> bytes:
    """Read a pipe until it is closed."""
    content = b""
    while some := os.read(descriptor, 1 << 16):
        content += some
    return content


def test_readers_that_have_stalled_stop_nothing_and_hear_what_they_missed(cluster: DevCluster, tmp_path: Path) -> None:
    """Standard error has the log, and standard output the audit; both are read again at the end alone."""
    tokens = Tokens(tmp_path)
    token = tokens.new("alice")
    settings = tokens.setting + write_scope("test", cluster) + grant("alice", ["*"])
    with pipe() as (reading, writing), run_server(tmp_path, settings, with_audit_file=False, stderr=writing) as server:
        answers = asyncio.run(flood(server, _CALLS, _CONNECTIONS))
        assert answers == {b"http/1.1 401 unauthorized": _CALLS}
        for transport in TRANSPORTS:
            assert seconds(lambda each=transport: send(server, valid(each))) < _QUICK_SECONDS  # type: ignore[misc]
        for call in CALLS.values():
            outcome = call(server, request("rbd", "nowhere", "s"), "DeleteImageSnapshot", bearer(token))
            assert outcome.reason == "IMAGE_NOT_FOUND"
        assert seconds(lambda: alive(server)) < _QUICK_SECONDS
        assert alive(server)
        assert server.process.stdout is not None
        read: list[bytes] = [b"", b""]

        def read_all(place: int, descriptor: int) -> None:
            read[place] = drained(descriptor)

        readers = [
            threading.Thread(target=read_all, args=arguments)
            for arguments in enumerate((reading, server.process.stdout.fileno()))
        ]
        for reader in readers:
            reader.start()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
        for reader in readers:
            reader.join(30)
    log = read[0].decode("ascii")
    lines = [json.loads(line) for line in read[1].splitlines()]
    (dropped,) = [line["dropped"] for line in lines if "dropped" in line]
    assert len(lines) - 1 + dropped == _CALLS + len(TRANSPORTS) + len(CALLS)
    assert "dropped" in lines[-1], "it stands where they should"
    assert sum(map(int, re.findall(r"(\d+) lines of the log were dropped", log))) > 0
    assert f"audit on standard output: {dropped} lines were dropped" in log
    assert log.rstrip().endswith("stopped")


def test_sigterm_ends_a_server_whose_readers_have_stalled(cluster: DevCluster, tmp_path: Path) -> None:
    with (
        pipe() as (_reading, writing),
        run_server(tmp_path, write_scope("test", cluster), with_audit_file=False, stderr=writing) as server,
    ):
        long = {**request("rbd", "nowhere", "s"), "imageName": "i" * 200}
        for _ in range(200):
            CALLS["connect"](server, long, "DeleteImageSnapshot")
        assert seconds(lambda: alive(server)) < _QUICK_SECONDS
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0


def link_to_a_file(path: Path) -> None:
    path.with_name("elsewhere").touch()
    path.symlink_to(path.with_name("elsewhere"))


KINDS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.with_name("elsewhere")),
    "a link to a file": link_to_a_file,
    "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a link to a device": lambda path: path.symlink_to("/dev/full"),
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", KINDS)
class TestWhatIsNoFileForTheAudit:
    def make(self, kind: str, path: Path) -> None:
        KINDS[kind](path)

    def test_is_refused_at_the_start(self, cluster: DevCluster, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "audit"
        self.make(kind, path)
        failed = start_and_fail("serve", "--scope", f"a={cluster.conf}", f"--audit-file={path}")
        assert failed.returncode == 1
        assert failed.stderr.count("\n") == 1
        assert f"audit.file: {path}: cannot be written" in failed.stderr
        assert not path.with_name("elsewhere").exists() or not path.with_name("elsewhere").read_bytes()

    def test_is_not_written_where_it_takes_the_files_place(
        self, cluster: DevCluster, tmp_path: Path, kind: str
    ) -> None:
        """The lines go on to where the file was moved, and the log says why."""
        with run_server(tmp_path, write_scope("test", cluster)) as server:
            old = server.audit.with_suffix(".1")
            server.audit.rename(old)
            self.make(kind, server.audit)
            for call in CALLS.values():
                assert call(server, request("rbd", "nowhere", "s"), "DeleteImageSnapshot").reason == "IMAGE_NOT_FOUND"
            assert alive(server)
            assert len(old.read_bytes().splitlines()) == len(CALLS)
            assert server.log.read_text().count("cannot be written") == 1
            server.audit.rmdir() if kind == "a folder" else server.audit.unlink()
            CALLS["connect"](server, request("rbd", "nowhere", "s"), "DeleteImageSnapshot")
            wait_until(lambda: len(server.audit.read_bytes().splitlines()) == 1)

"""Connections that come all at once, more of them than there is room for: each is served, or ended at once.

The server is stopped while they come, so that it takes them all in one go.
"""

import select
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from rbd_connect.devcluster import DevCluster
from support.attacks import begin_of_tls, call
from support.server import Server, descriptors_of, run_server
from support.tls import Files
from support.tools import write_scope
from support.waiting import wait_until
from support.wire import connected, http1_bytes, valid

ROOM = 40
ROUNDS = 500
HELLO = begin_of_tls()
# Less than what a client has for its headers, after which all connections are ended.
MOST_SECONDS = 8.0


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@contextmanager
def begun(wrap: Callable[..., ssl.SSLSocket], client: socket.socket) -> Iterator[ssl.SSLSocket]:
    """Begin TLS, until all that is left is to send the last of the handshake."""
    with wrap(client, do_handshake_on_connect=False) as secured:
        secured.setblocking(False)  # noqa: FBT003 - the standard library's own
        with suppress(ssl.SSLWantReadError):
            secured.do_handshake()
        select.select([secured], [], [], MOST_SECONDS)
        yield secured


def hears(connection: socket.socket) -> bool:
    """Say whether a client gets bytes; False where its connection is ended. Raises TimeoutError where it is neither."""
    connection.settimeout(MOST_SECONDS)
    try:
        return bool(connection.recv(1))
    except ConnectionError:
        return False


def test_those_that_have_hardly_come(cluster: DevCluster, tmp_path: Path) -> None:
    """Where all others have sent something, each that comes ends the one before."""
    with run_server(tmp_path, write_scope("test", cluster), f"--limits-connections={ROOM}") as server:
        with ExitStack() as stack:
            waiting = [stack.enter_context(connected(server.address)) for _ in range(ROOM)]
            for client in waiting:
                client.sendall(b"POST / HTTP/1.1\r\n")
            wait_until(lambda: descriptors_of(server.process.pid) > ROOM)
            with stopped(server):
                clients = [stack.enter_context(connected(server.address)) for _ in range(3 * ROOM)]
                for client in clients:
                    client.sendall(http1_bytes(valid("connect-json")))
            heard = [hears(client) for client in clients]
        assert any(heard)
        assert not all(heard)
        assert "Traceback" not in server.log.read_text()


def test_one_whose_handshake_has_just_succeeded(cluster: DevCluster, tmp_path: Path) -> None:
    """Its descriptor is another's at once, which must not notice."""
    files = Files.made_in(tmp_path)
    context = ssl.create_default_context(cafile=files.ca)
    wrap = partial(context.wrap_socket, server_hostname="localhost")
    with run_server(tmp_path, write_scope("test", cluster), *files.flags, "--limits-handshakes=1") as server:
        before = descriptors_of(server.process.pid)
        with ExitStack() as stack:
            others = [stack.enter_context(connected(server.address)) for _ in range(ROUNDS)]
            for other in others:
                other.sendall(HELLO[:-1])
            for other in others:
                with connected(server.address) as first, begun(wrap, first) as secured:
                    other.sendall(HELLO[-1:])
                    secured.do_handshake()
                    assert call(server.address, wrap)
        wait_until(lambda: descriptors_of(server.process.pid) <= before)
        assert "Traceback" not in server.log.read_text()

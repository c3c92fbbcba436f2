"""Whether a client that sends no more is still there."""

import socket
from collections.abc import Iterator

import pytest

from rbd_connect.transport.http.disconnects import has_gone


@pytest.fixture(params=["127.0.0.1", "::1"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's end of a connection, and its client's."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as listener:
        client = socket.create_connection(listener.getsockname()[:2])
        server, _ = listener.accept()
        with server, client:
            yield server, client


def test_a_client_that_ended_its_side_is_there_until_it_closes(ends: tuple[socket.socket, socket.socket]) -> None:
    server, client = ends
    assert has_gone(server) is False
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    assert has_gone(server) is False
    client.close()
    assert has_gone(server) is True


def test_of_a_socket_in_the_file_system_it_cannot_be_known() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert has_gone(one) is None

"""The socket of the first listener."""

import socket

from rbd_connect.config.types import Address
from rbd_connect.transport.listening import bind


def test_it_says_that_it_is_tcps() -> None:
    """Or asyncio leaves Nagle's algorithm on, and each call on a kept connection takes 40 ms more."""
    (listener,), _ = bind("http", Address("127.0.0.1", 0))
    with listener:
        assert listener.proto == socket.IPPROTO_TCP

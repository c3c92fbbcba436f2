"""Calls of any method, whose replies are taken in and not read: to read them is no work of the server's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from http.client import HTTPConnection

import grpc
from google.protobuf.message import Message

from rbd_connect.rpc.methods import SERVICE_NAME
from support.server import Server

__all__ = ["WAYS", "Call", "Way", "get", "over_connect"]

_BINARY = {"Content-Type": "application/proto", "Connect-Protocol-Version": "1"}

# Called with a method's name and a request, gives the reply as it came. For one thread.
Call = Callable[[str, Message], bytes]
Way = Callable[[Server], AbstractContextManager[Call]]


@contextmanager
def over_connect(server: Server) -> Iterator[Call]:
    """Call on a connection of its own, with binary messages."""
    with closing(HTTPConnection(server.address)) as connection:
        yield partial(_post, connection)


@contextmanager
def over_grpc(server: Server) -> Iterator[Call]:
    """Call on a channel of its own."""
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield partial(_call, channel)


WAYS: Mapping[str, Way] = {"Connect": over_connect, "gRPC": over_grpc}


def get(connection: HTTPConnection, path: str) -> bytes:
    """Ask by HTTP for what is no method."""
    connection.request("GET", path)
    return _content(connection)


def _post(connection: HTTPConnection, rpc: str, request: Message) -> bytes:
    connection.request("POST", f"/{SERVICE_NAME}/{rpc}", request.SerializeToString(), _BINARY)
    return _content(connection)


def _content(connection: HTTPConnection) -> bytes:
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content
    return content


def _call(channel: grpc.Channel, rpc: str, request: Message) -> bytes:
    return channel.unary_unary(f"/{SERVICE_NAME}/{rpc}", bytes, bytes)(request.SerializeToString())

"""Who makes a gRPC call, as grpc.aio has it."""

from typing import Any
from urllib.parse import unquote

import grpc.aio

from ..access.authentication import Door
from ..caller import REQUEST_ID_HEADER, Caller, request_id_of
from .peer import UNIX

__all__ = ["Context", "caller_of", "host_of", "peer_of"]

Context = grpc.aio.ServicerContext[Any, Any]


def host_of(context: Context) -> str:
    """Give the address of a call's client, without its port."""
    host, _, _ = peer_of(context).rpartition(":")
    return host.strip("[]") or UNIX


def peer_of(context: Context) -> str:
    """Give host:port of a call's client, or what stands for a socket in the file system."""
    # "ipv4:127.0.0.1:4711", and "ipv6:%5B::1%5D:4711": https://grpc.github.io/grpc/core/md_doc_naming.html
    scheme, _, peer = unquote(context.peer()).partition(":")
    return UNIX if scheme == "unix" else peer


def caller_of(context: Context, *, with_tls: bool) -> Caller:
    """Give the caller of a call, who is not identified yet."""

    def values(name: str) -> list[str]:
        return [str(value) for key, value in context.invocation_metadata() or () if key == name]

    return Caller(
        request_id=request_id_of(values(REQUEST_ID_HEADER)),
        transport="grpc",
        peer=peer_of(context),
        door=Door(host_of(context), with_tls=with_tls),
        authorizations=values("authorization"),
    )

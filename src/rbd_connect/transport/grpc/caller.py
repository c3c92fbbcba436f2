"""Who makes a gRPC call, as grpc.aio has it."""

from functools import partial
from ssl import PEM_cert_to_DER_cert
from typing import Any
from urllib.parse import unquote

import grpc.aio

from rbd_connect.rpc.caller import REQUEST_ID_HEADER, Caller, request_id_of
from rbd_connect.transport.peer import UNIX, UNKNOWN, Peer
from rbd_connect.transport.trusted_proxies import Proxies

__all__ = ["Context", "caller_of", "peer_of", "request_id"]

Context = grpc.aio.ServicerContext[Any, Any]


def _certificate(context: Context) -> bytes | None:
    """Give the client's certificate, DER: grpc has one only where it asked for one, and verified it."""
    for pem in context.auth_context().get("x509_pem_cert", ()):
        return PEM_cert_to_DER_cert(pem.decode("ascii"))
    return None


def peer_of(context: Context) -> Peer:
    """Give who is at the other end of a call's connection."""
    # "ipv4:127.0.0.1:4711", and "ipv6:%5B::1%5D:4711": https://grpc.github.io/grpc/core/md_doc_naming.html
    scheme, _, address = unquote(context.peer()).partition(":")
    if scheme == "unix":
        return Peer(UNIX, 0)
    host, _, port = address.rpartition(":")
    # "unknown" is who has gone meanwhile.
    return Peer(host.strip("[]"), int(port)) if port.isdigit() else Peer(UNKNOWN, 0)


def request_id(context: Context) -> str:
    """Give the id of a call."""
    return request_id_of(_values(context, REQUEST_ID_HEADER))


def caller_of(context: Context, proxies: Proxies, *, with_tls: bool) -> Caller:
    """Give the caller of a call, who is not identified yet."""
    certificate = _certificate(context) if with_tls else None
    peer, connection = proxies.caller(
        peer_of(context), partial(_values, context), with_tls=with_tls, certificate=certificate
    )
    return Caller(
        request_id=request_id(context),
        transport="grpc",
        peer=str(peer),
        connection=connection,
        authorizations=_values(context, "authorization"),
    )


def _values(context: Context, name: str) -> list[str]:
    return [str(value) for key, value in context.invocation_metadata() or () if key == name]

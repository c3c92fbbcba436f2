"""Who makes a gRPC call, as grpc.aio has it."""

from ssl import PEM_cert_to_DER_cert
from typing import Any
from urllib.parse import unquote

import grpc.aio

from ..access.authentication import Door
from ..caller import REQUEST_ID_HEADER, Caller, request_id_of

__all__ = ["Context", "caller_of"]

Context = grpc.aio.ServicerContext[Any, Any]


def _certificate(context: Context) -> bytes | None:
    """Give the client's certificate, DER: grpc has one only where it asked for one, and verified it."""
    for pem in context.auth_context().get("x509_pem_cert", ()):
        return PEM_cert_to_DER_cert(pem.decode("ascii"))
    return None


def caller_of(context: Context, *, with_tls: bool) -> Caller:
    """Give the caller of a call, who is not identified yet."""
    # "ipv4:127.0.0.1:4711", and "ipv6:%5B::1%5D:4711": https://grpc.github.io/grpc/core/md_doc_naming.html
    _, _, peer = unquote(context.peer()).partition(":")
    host, _, _ = peer.rpartition(":")

    def values(name: str) -> list[str]:
        return [str(value) for key, value in context.invocation_metadata() or () if key == name]

    return Caller(
        request_id=request_id_of(values(REQUEST_ID_HEADER)),
        transport="grpc",
        peer=peer,
        door=Door(host.strip("[]"), with_tls=with_tls, certificate=_certificate(context) if with_tls else None),
        authorizations=values("authorization"),
    )

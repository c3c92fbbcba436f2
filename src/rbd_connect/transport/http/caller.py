"""Who sends an HTTP request, as ASGI has it."""

from typing import TYPE_CHECKING

from rbd_connect.rpc.caller import REQUEST_ID_HEADER, Caller, request_id_of
from rbd_connect.transport.trusted_proxies import Proxies

if TYPE_CHECKING:
    from asgiref.typing import HTTPScope

    from rbd_connect.transport.peer import Peer

__all__ = ["CERTIFICATE", "caller_of"]

# Among a request's state: the client's certificate, DER.
CERTIFICATE = "client_certificate"


def caller_of(scope: "HTTPScope", proxies: Proxies) -> Caller:
    """Give the caller of a request, who is not identified yet.

    Its address is the connection's, or what a trusted proxy says: what a header says otherwise, anybody can say.
    """

    def values(name: str) -> list[str]:
        return [value.decode("latin-1") for value in _values(scope, name.encode())]

    connected: Peer = scope["state"]["peer"]  # the connection puts it there
    certificate = scope["state"].get(CERTIFICATE)
    peer, connection = proxies.caller(connected, values, with_tls=scope["scheme"] == "https", certificate=certificate)
    content_type = "".join(values("content-type"))
    return Caller(
        request_id=request_id_of(values(REQUEST_ID_HEADER)),
        transport="grpc-web" if content_type.lower().startswith("application/grpc-web") else "connect",
        peer=str(peer),
        connection=connection,
        authorizations=values("authorization"),
    )


def _values(scope: "HTTPScope", name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header == name]

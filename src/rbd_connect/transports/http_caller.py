"""Who sends an HTTP request, as ASGI has it."""

from typing import TYPE_CHECKING

from ..access.authentication import Door
from ..caller import REQUEST_ID_HEADER, Caller, request_id_of

if TYPE_CHECKING:
    from asgiref.typing import HTTPScope

    from .peer import Peer

__all__ = ["caller_of"]


def caller_of(scope: "HTTPScope") -> Caller:
    """Give the caller of a request, who is not identified yet.

    His address is the connection's: what a header says of it, anybody can say.
    """
    peer: Peer = scope["state"]["peer"]  # the connection puts it there
    content_type = b"".join(_values(scope, b"content-type"))
    return Caller(
        request_id=request_id_of([value.decode("latin-1") for value in _values(scope, REQUEST_ID_HEADER.encode())]),
        transport="grpc-web" if content_type.lower().startswith(b"application/grpc-web") else "connect",
        peer=str(peer),
        door=Door(peer.host, with_tls=scope["scheme"] == "https"),
        authorizations=[value.decode("latin-1") for value in _values(scope, b"authorization")],
    )


def _values(scope: "HTTPScope", name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header == name]

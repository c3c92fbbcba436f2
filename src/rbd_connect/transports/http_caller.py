"""Who sends an HTTP request, as ASGI has it."""

from typing import TYPE_CHECKING

from ..access.authentication import Door
from ..caller import REQUEST_ID_HEADER, Caller, request_id_of

if TYPE_CHECKING:
    from asgiref.typing import HTTPScope

__all__ = ["CERTIFICATE", "caller_of"]

# Among a request's state: the client's certificate, DER.
CERTIFICATE = "client_certificate"


def caller_of(scope: "HTTPScope") -> Caller:
    """Give the caller of a request, who is not identified yet.

    His address is the connection's: what a header says of it, anybody can say.
    """
    host, port = scope["client"] or ("", 0)
    content_type = b"".join(_values(scope, b"content-type"))
    return Caller(
        request_id=request_id_of([value.decode("latin-1") for value in _values(scope, REQUEST_ID_HEADER.encode())]),
        transport="grpc-web" if content_type.lower().startswith(b"application/grpc-web") else "connect",
        peer=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        door=Door(host, with_tls=scope["scheme"] == "https", certificate=scope.get("state", {}).get(CERTIFICATE)),
        authorizations=[value.decode("latin-1") for value in _values(scope, b"authorization")],
    )


def _values(scope: "HTTPScope", name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header == name]

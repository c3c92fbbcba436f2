"""Without authentication, callers are on this machine, and call by a name of this machine's.

A page of another site can have a name of its own lead to 127.0.0.1 (DNS rebinding), and its browser then takes the
server for that site's. Only Host tells. https://en.wikipedia.org/wiki/DNS_rebinding
"""

import re
from typing import TYPE_CHECKING

from rbd_connect.config.types import is_loopback
from rbd_connect.rpc import deadline as rpc
from rbd_connect.transport.http.caller import caller_of
from rbd_connect.transport.http.errors import send_failure

from . import protocol_errors
from .peer import UNIX

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

    from rbd_connect.config.settings import Settings

    from .trusted_proxies import Proxies

__all__ = ["is_local_name", "local_only"]

_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]@/]*))(?::[0-9]*)?")
_LOCALHOST = "localhost"


def is_local_name(host: str) -> bool:
    """Say whether a header Host, or an :authority, names this machine: localhost, what ends so, a loopback address.

    Browsers look up no name that ends in localhost: https://www.rfc-editor.org/rfc/rfc6761#section-6.3
    """
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    if match["six"]:
        return is_loopback(match["six"])
    name = match["name"].lower().removesuffix(".")
    # A browser always says a name.
    return not name or name == _LOCALHOST or name.endswith(f".{_LOCALHOST}") or is_loopback(name)


def local_only(app: "ASGI3Application", settings: "Settings", proxies: "Proxies") -> "ASGI3Application":
    """Serve callers on this machine alone, where nobody has to say who calls; unless that is meant (``insecure``)."""
    if settings.with_authentication or settings.insecure:
        return app

    async def served(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        assert scope["type"] == "http"  # noqa: S101 - nothing else comes here
        caller = caller_of(scope, proxies)
        host = b",".join(value for name, value in scope["headers"] if name == b"host").decode("latin-1")
        if is_loopback(caller.connection.host) and (caller.connection.host == UNIX or is_local_name(host)):
            await app(scope, receive, send)
        else:
            await send_failure(scope, send, rpc.refused(protocol_errors.not_local(), caller.request_id))

    return served

"""/healthz and /readyz, for whoever decides whether the process is to be restarted, or to be sent calls."""

import json
from typing import TYPE_CHECKING

from ..readiness import Readiness, State

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

__all__ = ["with_probes"]


def with_probes(app: "ASGI3Application", readiness: Readiness) -> "ASGI3Application":
    """Answer GET and HEAD on the two paths, and leave the rest to ``app``.

    /healthz: 200, and touches no Ceph. /readyz: what is known of each scope; 200 if one is connected at least, so that
    a cluster that is down does not take those from the callers that are up; else 503.
    """

    async def probed(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await app(scope, receive, send)
            return
        match scope["path"]:
            case "/healthz":
                await _send_json(send, 200, {"status": "alive"})
            case "/readyz":
                states = await readiness.states()
                is_ready = State.CONNECTED in states.values()
                scopes = {name: state.value for name, state in states.items()}
                status = "ready" if is_ready else "not ready"
                await _send_json(send, 200 if is_ready else 503, {"status": status, "scopes": scopes})
            case _:
                await app(scope, receive, send)

    return probed


async def _send_json(send: "ASGISendCallable", status: int, content: object) -> None:
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})

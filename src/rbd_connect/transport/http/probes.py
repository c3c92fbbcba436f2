"""/healthz and /readyz, for whoever decides whether the process is to be restarted, or to be sent calls."""

import asyncio
import json
from typing import TYPE_CHECKING

from rbd_connect.auth.grants import Granted
from rbd_connect.dispatch.readiness import Readiness
from rbd_connect.rpc.pipeline import Pipeline
from rbd_connect.transport.trusted_proxies import Proxies

from .caller import caller_of

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

__all__ = ["Probes"]

# A probe's answer takes no longer than this: who asks has little patience.
_SECONDS = 0.5


class Probes:
    """Answers to GET and HEAD on the two paths, which need no credential.

    /healthz: 200, and touches no Ceph. /readyz: 200 if a scope is connected at least and its OSDs answer, so that a
    cluster that is down does not take those from the callers that are up, and the server is not told to stop; else 503.
    Of each scope in which something is granted to the caller, it says what is known; to strangers it names none.
    """

    def __init__(self, readiness: Readiness, pipeline: Pipeline, proxies: Proxies) -> None:
        self._proxies = proxies
        self._readiness = readiness
        self._pipeline = pipeline

    def before(self, app: "ASGI3Application") -> "ASGI3Application":
        """Answer them, and leave the rest to ``app``."""

        async def probed(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
            if not (scope["type"] == "http" and await self._answer(scope, send, with_scopes=True)):
                await app(scope, receive, send)

        return probed

    def alone(self) -> "ASGI3Application":
        """Answer them and nothing else, and name no scope to anybody."""

        async def probed(scope: "Scope", _receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
            assert scope["type"] == "http"  # noqa: S101 - nothing else is served
            if not await self._answer(scope, send, with_scopes=False):
                await _send_json(send, 404, {"paths": ["/healthz", "/readyz"]})

        return probed

    async def _answer(self, scope: "HTTPScope", send: "ASGISendCallable", *, with_scopes: bool) -> bool:
        """Answer a probe. Say whether it is one."""
        if scope["method"] not in {"GET", "HEAD"}:
            return False
        match scope["path"]:
            case "/healthz":
                await _send_json(send, 200, {"status": "alive"})
            case "/readyz":
                await self._send_readiness(scope if with_scopes else None, send)
            case _:
                return False
        return True

    async def _send_readiness(self, scope: "HTTPScope | None", send: "ASGISendCallable") -> None:
        seen, granted = await asyncio.gather(self._readiness.look(_SECONDS), self._granted(scope))
        status = "ready" if seen.is_ready else "stopping" if self._readiness.is_draining else "not ready"
        content: dict[str, object] = {"status": status}
        shown = {name: state.value for name, state in seen.states.items() if granted and granted.sees_scope(name)}
        if shown:
            content["scopes"] = shown
        await _send_json(send, 200 if seen.is_ready else 503, content)

    async def _granted(self, scope: "HTTPScope | None") -> Granted | None:
        """Give what is granted to who asks; nothing to strangers."""
        return None if scope is None else await self._pipeline.granted(caller_of(scope, self._proxies), _SECONDS)


async def _send_json(send: "ASGISendCallable", status: int, content: object) -> None:
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})

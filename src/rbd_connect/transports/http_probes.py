"""/healthz and /readyz, for whoever decides whether the process is to be restarted, or to be sent calls."""

import json
from typing import TYPE_CHECKING

from ..access.identity import UnauthenticatedError
from ..access.policy import Policy
from ..readiness import Readiness, State
from .http_caller import caller_of

if TYPE_CHECKING:
    from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

__all__ = ["Probes"]


class Probes:
    """Answers to GET and HEAD on the two paths, which need no credential.

    /healthz: 200, and touches no Ceph. /readyz: 200 if a scope is connected at least, so that a cluster that is down
    does not take those from the callers that are up; else 503. Of each scope in which something is granted to the
    caller, it says what is known; to strangers it names none.
    """

    def __init__(self, readiness: Readiness, policy: Policy) -> None:
        self._readiness = readiness
        self._policy = policy

    def before(self, app: "ASGI3Application") -> "ASGI3Application":
        """Answer them, and leave the rest to ``app``."""

        async def probed(scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
            if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
                await app(scope, receive, send)
                return
            match scope["path"]:
                case "/healthz":
                    await _send_json(send, 200, {"status": "alive"})
                case "/readyz":
                    await self._send_readiness(scope, send)
                case _:
                    await app(scope, receive, send)

        return probed

    async def _send_readiness(self, scope: "HTTPScope", send: "ASGISendCallable") -> None:
        states = await self._readiness.states()
        is_ready = State.CONNECTED in states.values()
        content: dict[str, object] = {"status": "ready" if is_ready else "not ready"}
        shown = await self._shown(scope, states)
        if shown:
            content["scopes"] = shown
        await _send_json(send, 200 if is_ready else 503, content)

    async def _shown(self, scope: "HTTPScope", states: dict[str, State]) -> dict[str, str]:
        caller = caller_of(scope)
        try:
            identity = await self._policy.identity(caller.authorizations, caller.door)
        except UnauthenticatedError:
            return {}
        granted = self._policy.granted(identity)
        return {name: state.value for name, state in states.items() if granted.sees_scope(name)}


async def _send_json(send: "ASGISendCallable", status: int, content: object) -> None:
    body = json.dumps(content, ensure_ascii=False).encode() + b"\n"
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
